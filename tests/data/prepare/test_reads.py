"""What is prepared is what the configs and the documents speak of."""
import re
from pathlib import Path

import pytest
from mini import MINI
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from paths import ROOT

from mona_mm.data.labels.look import looked_at
from mona_mm.data.prepare import PREPARERS, build

#: {config's dataset: (preparer, scope, training images, test images)}, for
#: the miniatures; None: a checksum of the true files is in mm's own class.
READS = {
    'coco_instance': ('coco', 'mmdet', 3, 2),
    'voc0712': ('voc', 'mmdet', 3 * (2 + 2), 1),
    'voc2007_cls': ('voc', 'mmpretrain', 2, 1),
    'ade20k': ('ade20k', 'mmseg', 2, 1),
    # Four tiles per picture; all but the one at 0, 76 hold an object.
    'dota': ('dota', 'mmrotate', 2 * 3, 4),
    'star': ('star', 'mmrotate', 3, 1),
    'flowers102': ('flowers102', 'mmpretrain', 2 + 2, 3),
    'oxfordpets': ('oxfordpets', 'mmpretrain', 3, 2),
    'cifar100': ('cifar100', 'mmpretrain', None, None),
    'food101': ('food101', 'mmpretrain', 3, 3),
    'svhn': ('svhn', 'mmpretrain', 6, 4),
    'imagenet_r': ('imagenet_r', 'mmpretrain', 2 * 4, 2 * 1),
    'loveda': ('loveda', 'mmseg', 2, 1),
    'potsdam': ('potsdam', 'mmseg', 4, 4),
}


def base(name) -> Config:
    return Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')


#: Small sets that are read as their publishers lay them out.
AS_THEY_COME = ('bccd', 'fruits_nuts_masks')


def test_every_dataset_of_the_configs_has_a_preparer():
    bases = {p.stem for p in (ROOT / 'configs/_base_/datasets').glob('*.py')
             if not p.stem.startswith('shapes')
             and p.stem not in AS_THEY_COME
             and '\n_base_ = ' not in p.read_text()}  # the same data again
    assert bases == set(READS)
    assert {r[0] for r in READS.values()} == set(PREPARERS)


@pytest.mark.parametrize('name', READS)
def test_config_looks_where_the_dataset_is_put(name):
    folder = Path('data') / PREPARERS[READS[name][0]].folder
    assert folder in (Path(base(name).data_root),
                      *Path(base(name).data_root).parents)


@pytest.mark.parametrize('name', [n for n in READS if READS[n][2]])
def test_config_reads_the_prepared_miniature(name, tmp_path, monkeypatch):
    preparer, scope, *counts = READS[name]
    source = tmp_path / 'downloads'
    source.mkdir()
    # The dataset's classes are in the file, or it would be refused.
    named = dict(classes=CocoDataset.METAINFO['classes'])
    totals = MINI[preparer](source, **named if preparer == 'coco' else {})
    build(preparer, out=str(tmp_path / 'data'), source=str(source),
          expected=totals, progress=False).prepare()
    monkeypatch.chdir(tmp_path)
    init_default_scope(scope)
    cfg = base(name)
    cfg.default_scope = scope
    for phase in ('train', 'test'):
        for leaf in looked_at(cfg, phase, ()):
            assert not leaf.problems and not leaf.notes
    for loader, count in zip(
            (cfg.train_dataloader, cfg.test_dataloader), counts):
        dataset = DATASETS.build(loader.dataset)
        assert len(dataset) == count
        assert dataset[0]['inputs'].shape[0] == 3


def test_data_readme_has_a_row_for_every_dataset():
    text = (ROOT / 'data/README.md').read_text()
    for name, preparer in PREPARERS.items():
        (row, ) = re.findall(rf'^\| `{name}` \|.*$', text, re.MULTILINE)
        assert f'`{preparer.folder}/`' in row
        assert preparer.page and preparer.licence
        if name not in ('dota', 'star'):
            size = sum(a.gigabytes for a in preparer.archives)
            assert float(row.split('|')[4]) == pytest.approx(size, rel=.1)


def test_weights_page_lists_every_file_that_configs_start_from():
    text = (ROOT / 'docs/weights.md').read_text()
    for path in (ROOT / 'configs').glob('*/*.py'):
        code = path.read_text().replace("'\n            '", '')
        for url in re.findall(r"checkpoint='(https:[^']+)'", code):
            assert f'({url})' in text, path
            hashed = re.search(r'-([0-9a-f]{8})\.pth', url)
            assert not hashed or f'`{hashed.group(1)}`' in text
