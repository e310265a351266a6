"""The metafiles hold what is published, and what the configs do otherwise."""
import re
from collections import Counter

import pytest
import torch
import yaml
from conftest import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mona_mm.errors import ConfigError
from mona_mm.ledger.cells import TABLES, load_cells
from mona_mm.ledger.naming import METHODS, method_of, parse

CELLS = {cell.name: cell for cell in load_cells() if cell.config}
ORDER = ('', '-fixed', '-bitfit', '-normtuning', '-partial', '-adapter',
         '-lora', '-adaptformer', '-lorand', '-mona')
ROWS = {  # the paper's tables 1 to 3, in the order of its methods
    ('cascade-mask-rcnn_swin-b{}_3x_coco', 'box AP'):
    (52.4, 48.0, 50.1, 50.1, 50.6, 52.1, 50.4, 51.7, 51.0, 53.4),
    ('cascade-mask-rcnn_swin-b{}_3x_coco', 'mask AP'):
    (45.1, 41.6, 43.6, 43.5, 43.7, 45.0, 43.9, 44.6, 43.9, 46.0),
    ('retinanet_swin-l{}_1x_voc', 'AP50'):
    (83.7, 83.8, 85.4, 85.5, 85.5, 86.7, 85.4, 86.6, 86.8, 87.3),
    ('upernet_swin-l{}_160k_ade20k', 'mIoU'):
    (51.18, 46.84, 48.37, 47.89, 47.44, 50.78, 50.34, 50.83, 50.76, 51.36),
    ('swin-l{}_100e_flowers102', 'Top 1 Accuracy'):
    (99.5772, 99.3007, 99.5772, 99.5284, 99.6585, 99.5934, 99.5446, 99.5609,
     99.5531, 99.6764),
    ('swin-l{}_100e_oxfordpets', 'Top 1 Accuracy'):
    (94.6579, 94.2219, 95.3393, 95.2303, 95.3938, 95.3393, 95.1485, 95.2576,
     95.2315, 95.4765),
    ('swin-l{}_100e_voc2007', 'Top 1 Accuracy'):
    (84.1276, 85.0162, 85.6018, 85.5210, 84.9354, 87.0355, 85.7028, 86.2884,
     85.9526, 86.9709),
}
SINGLES = {  # top-5, tables 4 and 5, the ablation, DOTA and STAR, others
    ('swin-l-mona_100e_flowers102', 'Top 5 Accuracy'): 99.8536,
    ('swin-l-mona_100e_oxfordpets', 'Top 5 Accuracy'): 99.9182,
    ('swin-l-mona_100e_voc2007', 'Top 5 Accuracy'): 99.5057,
    ('retinanet_swin-l-mona-b32_1x_voc', 'AP50'): 86.8,
    ('retinanet_swin-l-mona-b128_1x_voc', 'AP50'): 87.1,
    ('retinanet_swin-t_1x_voc', 'AP50'): 80.1,
    ('retinanet_swin-t-mona_1x_voc', 'AP50'): 83.5,
    ('retinanet_swin-b_1x_voc', 'AP50'): 81.6,
    ('retinanet_swin-b-mona_1x_voc', 'AP50'): 86.5,
    ('retinanet_swin-l-mona-noscale_1x_voc', 'AP50'): 86.9,
    ('retinanet_swin-l-mona-k7_1x_voc', 'AP50'): 86.7,
    ('retinanet_swin-l-mona-k333_1x_voc', 'AP50'): 86.8,
    ('oriented-rcnn_swin-b_1x_dota', 'mAP'): 78.31,
    ('oriented-rcnn_swin-b-mona_1x_dota', 'mAP'): 78.44,
    ('oriented-rcnn_swin-b_1x_star', 'AP50'): 38.63,
    ('oriented-rcnn_swin-b-mona_1x_star', 'AP50'): 39.45,
    ('upernet_swin-l-mona_80k_loveda', 'mIoU'): 53.8,
    ('upernet_swin-l-mona_80k_potsdam', 'mIoU'): 78.6,
    ('swin-l-mona_20e_imagenet-r', 'Top 1 Accuracy'): 72.7,
}
PUBLISHED = {**SINGLES, **{
    (stem.format(word), metric): value
    for (stem, metric), values in ROWS.items()
    for word, value in zip(ORDER, values)}}


def test_published_values_are_these_and_no_others():
    found = {(cell.name, metric): value for cell in CELLS.values()
             for metric, value in cell.published.items()}
    assert found == PUBLISHED


def test_values_of_others_stand_beside_the_papers():
    found = {(cell.name, metric, value) for cell in CELLS.values()
             for _, values in cell.also for metric, value in values.items()}
    assert found == {
        ('cascade-mask-rcnn_swin-b-mona_3x_coco', 'box AP', 52.9),
        ('cascade-mask-rcnn_swin-b-mona_3x_coco', 'box AP', 48.9),
        ('cascade-mask-rcnn_swin-b-mona_3x_coco', 'mask AP', 44.4),
        ('retinanet_swin-l-mona_1x_voc', 'AP50', 86.9),
        ('upernet_swin-l-mona_160k_ade20k', 'mIoU', 51.6),
        ('upernet_swin-l_160k_ade20k', 'mIoU', 51.03)}


def test_pvt_is_published_without_a_config():
    cells = [cell for cell in load_cells() if not cell.config]
    assert {cell.backbone for cell in cells} == {'PVT-Large'}
    assert {cell.method: cell.published['AP50'] for cell in cells} == {
        'Full': 76.1, 'AdaptFormer': 79.2, 'LoRand': 79.3, 'Mona': 80.3}


def test_publisher_is_the_paper_others_or_nobody():
    others = ('_loveda', '_potsdam', '_imagenet-r')
    for name, cell in CELLS.items():
        expected = 'nobody' if not cell.published else (
            'other papers' if name.endswith(others) else 'the paper')
        assert cell.by == expected, name


def test_tables_of_the_paper_are_complete():
    found = Counter(t for cell in load_cells() if cell.published
                    for t in cell.tables)
    # Table 1 has ten methods, 2 ten on two datasets, 3 ten on three; table
    # 4 three bottlenecks, 5 two methods on three backbones.
    assert [found[f'Table {i}'] for i in range(1, 6)] == [10, 20, 30, 3, 6]
    assert found['Structure ablation'] == 4  # Mona and three without
    assert found['DOTA and STAR'] == 4
    assert {t for cell in load_cells() for t in cell.tables} == set(TABLES)


def test_method_is_the_one_in_the_configs_name():
    for cell in CELLS.values():
        assert cell.method in METHODS
        assert parse(cell.config).method == cell.method, cell.name


@pytest.mark.parametrize('name', [
    n for n, cell in CELLS.items() if n.count('-mona_')])
def test_processes_are_those_of_the_configs_batch(name):
    cell = CELLS[name]
    cfg = Config.fromfile(ROOT / cell.config)
    assert cfg.auto_scale_lr.base_batch_size == (
        cell.processes * cfg.train_dataloader.batch_size)


def test_counts_are_those_of_the_readmes():
    for cell in CELLS.values():
        path = ROOT / cell.config
        row, = (line for line in (path.parent / 'README.md').read_text(
            ).splitlines() if line.endswith(f']({path.name}) |'))
        share = f' ({100 * cell.share:.2f} %)'.replace('100.00', '100')
        expected = f'{cell.trained:,}' + share * bool(cell.trained)
        assert row.split(' | ')[1] == expected, cell.name


@pytest.mark.slow
def test_counts_are_those_of_the_built_backbones():
    known = {}
    for cell in CELLS.values():
        cfg = Config.fromfile(ROOT / cell.config)
        backbone = cfg.model.backbone
        assert method_of(backbone.tuner.type) == cell.method
        key = str(backbone)
        if key not in known:
            init_default_scope(cfg.default_scope)
            with torch.device('meta'):
                known[key] = MODELS.build(backbone).share()
        share = known[key]
        assert cell.trained == share.trained, cell.name
        assert cell.share == pytest.approx(share.ratio, abs=1e-8), cell.name


def files_behind(path):
    """A config and all that it inherits from."""
    text = path.read_text()
    bases = re.search(r'_base_ = \[?([^\]]*?)\]?\n[^ ]', text + '\nx', re.S)
    found = re.findall(r"'([^']+\.py)'", bases.group(1)) if bases else []
    return [path] + [f for base in found
                     for f in files_behind(path.parent / base)]


# Classification of the paper 33, DOTA and STAR 32, VOC on Swin-T and -B 4;
# other benchmarks 6 x 3 and KLD on DOTA 3; H2RBox-v2 2 x 3.
@pytest.mark.parametrize('comment, word, cells', [
    ('Assumed', 'assumed', 33 + 32 + 4), ('Recipe ours', 'recipe ours', 21),
    ('earlier\n# form', 'earlier form', 6)])
def test_deviation_that_a_config_states_is_in_its_metafile(
        comment, word, cells):
    told = 0
    for cell in CELLS.values():
        texts = [f.read_text() for f in files_behind(ROOT / cell.config)]
        if any(comment in text for text in texts):
            told += 1
            assert word in ' '.join(cell.deviations), cell.name
    assert told == cells


@pytest.mark.parametrize('name, word', [
    ('swin-l-mona_100e_voc2007', "the paper's table names twice"),
    ('swin-l-mona-paper_100e_voc2007', "twice the release's"),
    ('upernet_swin-l-mona-fair_160k_ade20k', "the baselines' learning rate"),
    ('retinanet_swin-l_1x_voc', 'patch embedding is frozen'),
    ('retinanet_swin-l-lorand_1x_voc', 'release has no LoRand'),
    ('retinanet_swin-l-adapter_1x_voc', 'one argument too many'),
    ('swin-l-lora_100e_voc2007', 'not registered'),
    ('oriented-rcnn_swin-b-lorand_1x_star', 'has four'),
    ('oriented-rcnn_swin-b-mona_1x_dota', 'trunc_normal'),
    ('oriented-rcnn_swin-b-adapter_1x_dota', 'before drop-path'),
    ('oriented-rcnn_swin-b_1x_star', 'tested once'),
    ('cascade-mask-rcnn_swin-b_3x_coco', 'test-dev'),
    ('swin-l-mona_20e_imagenet-r', 'no training split')])
def test_deviation_of_the_documents_is_in_the_metafile(name, word):
    assert word in ' '.join(CELLS[name].deviations)


def test_cell_on_the_releases_recipe_has_no_deviation():
    for name in ('retinanet_swin-l-mona_1x_voc',
                 'upernet_swin-l-mona_160k_ade20k',
                 'upernet_swin-l_160k_ade20k'):
        assert CELLS[name].deviations == ()


def test_missing_key_of_a_metafile_is_named_with_the_file(tmp_path):
    (tmp_path / 'a.yml').write_text(yaml.safe_dump(dict(
        Collections=[], Models=[{
            'Name': 'swin-l_1x_a', 'Config': 'swin-l_1x_a.py',
            'In Collection': 'A', 'Metadata': {'Method': 'Full'}}])))
    (tmp_path / 'model-index.yml').write_text('Import: [a.yml]\n')
    with pytest.raises(ConfigError, match=r'a\.yml: a model lacks'):
        load_cells(tmp_path)


def test_project_without_an_index_is_told(tmp_path):
    with pytest.raises(ConfigError, match='model-index.yml.*checkout'):
        load_cells(tmp_path)
