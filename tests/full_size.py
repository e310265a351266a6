"""One iteration and one evaluation of a leaf, at its full size.

The tools run as from the command line, in processes of their own, so that
their peak memory is known and given back.
"""
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import List, NamedTuple, Optional

import numpy as np
import torch
from mini import MINI, write_tar
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from paths import ROOT

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.data.prepare import build


class Case(NamedTuple):
    """A leaf and what it takes to stop after one iteration.

    Args:
        leaf (str): Its path below ``configs/``, without ``.py``.
        data (str): The dataset's preparer.
        metric (str): What the evaluation logs; empty if it writes a
            submission instead.
        train (int, optional): Pictures to train on; by default all there
            are, which make one batch.
        options (dict): Further settings that differ from the leaf's.
        tuner (str): For ``--tuner``, where Mona has no leaf.
    """

    leaf: str
    data: str
    metric: str
    train: Optional[int] = None
    options: dict = {}
    tuner: str = ''

    @property
    def path(self) -> str:
        """Where the leaf is."""
        return str(ROOT / 'configs' / f'{self.leaf}.py')

    @property
    def arch(self) -> str:
        """Of its backbone."""
        return 'large' if '/swin-l' in self.leaf or (
            '_swin-l' in self.leaf) else 'base'


#: Untrained heads find nothing above the thresholds of these; at zero, boxes
#: go through all that follows.
ALL = {'model.test_cfg.score_thr': 0.}
ALL_RCNN = {'model.test_cfg.rcnn.score_thr': 0.}
#: One picture of each year, each once.
ONE_PER_YEAR = {
    'train_dataloader.dataset.times': 1,
    **{f'train_dataloader.dataset.dataset.datasets.{i}.indices': 1
       for i in range(2)}}
#: Three views of two pictures are more than a small machine holds.
RECOMPUTE = {'model.backbone.with_cp': True}

CASES = (
    *(Case(f'swin_classification/swin-l-mona_{leaf}', data, 'accuracy/top1')
      for leaf, data in (
          ('100e_flowers102', 'flowers102'), ('100e_oxfordpets', 'oxfordpets'),
          ('100e_voc2007', 'voc'), ('20e_imagenet-r', 'imagenet_r'))),
    *(Case(f'swin_classification/swin-l_20e_{data}', data, 'accuracy/top1',
           tuner='mona') for data in ('cifar100', 'food101', 'svhn')),
    Case('retinanet/retinanet_swin-l-mona_1x_voc', 'voc', 'pascal_voc/mAP',
         None, {**ALL, **ONE_PER_YEAR}),
    *(Case(f'upernet/upernet_swin-l{leaf}', data, 'mIoU') for leaf, data in (
        ('-mona_160k_ade20k', 'ade20k'), ('-mona_80k_loveda', 'loveda'),
        ('-mona_80k_potsdam', 'potsdam'), ('_160k_ade20k', 'ade20k'))),
    Case('oriented_rcnn/oriented-rcnn_swin-b-mona_1x_dota', 'dota', '', 2),
    Case('oriented_rcnn/oriented-rcnn_swin-b-mona_1x_star', 'star',
         'dota/mAP', 2, ALL_RCNN),
    Case('cascade_mask_rcnn/cascade-mask-rcnn_swin-b-mona_3x_coco', 'coco',
         'coco/segm_mAP', 1, ALL_RCNN),
    Case('h2rbox_v2/h2rbox-v2_swin-b_1x_dota', 'dota', '', 2,
         {**ALL, **RECOMPUTE}, 'mona'),
    Case('h2rbox_v2/h2rbox-v2_swin-b-mona_1x_star', 'star', 'dota/mAP', 2,
         {**ALL, **RECOMPUTE}),
    Case('kld/kld-retinanet_swin-b_1x_dota', 'dota', '', 2, ALL, 'mona'),
    Case('kld/kld-retinanet_swin-b_1x_star', 'star', 'dota/mAP', 2, ALL,
         'mona'),
)

#: Usual (height, width) of pictures; the rest have theirs already.
SIZES = dict(
    coco=(480, 640), voc=(375, 500), ade20k=(512, 683), loveda=(1024, 1024),
    flowers102=(500, 667), oxfordpets=(375, 500), food101=(512, 512),
    imagenet_r=(400, 400))
#: With another checksum mmpretrain would not read its pickles.
ANY_CIFAR = ('from mmpretrain.datasets import CIFAR100 as C; '
             'C.train_list[0][1] = C.test_list[0][1] = None')


def cifar100(source) -> dict:
    """Noise, as the true files read once their strings are decoded."""
    rng = np.random.default_rng(0)
    write_tar(source / 'cifar-100-python.tar.gz', {
        f'cifar-100-python/{name}': pickle.dumps({
            'data': rng.integers(0, 256, (count, 3072), np.uint8),
            'fine_labels': list(range(count))}) if count else b''
        for name, count in (('train', 4), ('test', 2), ('meta', 0))})
    return {}


def prepare(name: str, folder: Path) -> None:
    """Write a dataset's archives, and arrange them below ``folder/data``."""
    source = folder / 'downloads' / name
    source.mkdir(parents=True)
    kwargs = dict(size=SIZES[name]) if name in SIZES else {}
    if name == 'coco':  # its metric takes all classes for granted
        kwargs['classes'] = CocoDataset.METAINFO['classes']
    write = cifar100 if name == 'cifar100' else MINI[name]
    totals = write(source, **kwargs)
    build(name, out=str(folder / 'data'), source=str(source),
          expected=totals, progress=False).prepare()


def save_base(arch: str, path: Path) -> None:
    """Write a backbone with random weights, as a pretrained file."""
    torch.manual_seed(0)
    base = TunedSwinTransformer(arch=arch, out_indices=())
    torch.save(dict(state_dict=base.state_dict()), path)


class Run(NamedTuple):
    """What a tool did: seconds and GiB it took, and what it logged."""

    seconds: float
    gib: float
    output: str
    lines: List[dict]


def options(case: Case, base: Path) -> dict:
    """What differs from the leaf: the data's amount, the base, one step."""
    cfg = Config.fromfile(case.path)
    changed = {
        'model.backbone.init_cfg.checkpoint': base,
        'default_hooks.logger.interval': 1, 'randomness.seed': 0}
    for phase in ('train', 'val', 'test'):
        if cfg.get(f'{phase}_dataloader'):
            changed[f'{phase}_dataloader.num_workers'] = 0
            changed[f'{phase}_dataloader.persistent_workers'] = False
            if phase != 'train':
                changed[f'{phase}_dataloader.dataset.indices'] = 2
    if 'max_iters' in cfg.train_cfg:
        changed.update({'train_cfg.max_iters': 1,
                        'train_cfg.val_interval': 1})
    else:
        changed['train_cfg.max_epochs'] = 1
    if case.train:
        changed['train_dataloader.dataset.indices'] = case.train
    return {**changed, **case.options}


def call(tool: str, case: Case, base: Path, *words) -> Run:
    """Run a tool in a process of its own, here.

    Raises:
        AssertionError: If it fails; with what it printed.
    """
    script = str(ROOT / f'tools/{tool}.py')
    start = ['-c', f'{ANY_CIFAR}; import runpy; '
             f'runpy.run_path({script!r}, run_name="__main__")'] if (
                 case.data == 'cifar100') else [script]
    given = [f'{k}={v}' for k, v in options(case, base).items()]
    work_dir = Path('work_dirs', tool)
    log = Path(f'{tool}.log')
    began = time.monotonic()
    with log.open('w') as file:
        process = subprocess.Popen(
            [sys.executable, *start, case.path, *map(str, words),
             *(['--tuner', case.tuner] if case.tuner else []),
             '--work-dir', str(work_dir), '--cfg-options', *given],
            stdout=file, stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONPATH': str(ROOT)})
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    output = log.read_text()
    assert process.returncode == 0, output[-6000:]
    return Run(seconds, usage.ru_maxrss / 2**20, output, logged(work_dir))


def logged(work_dir: Path) -> List[dict]:
    """Every line of numbers that a run logged: training first."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json')) or sorted(
        work_dir.glob('*/*.json'))
    return [json.loads(line) for path in files
            for line in path.read_text().splitlines()]
