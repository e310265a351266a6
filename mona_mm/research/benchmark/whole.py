"""Whole training iterations of a config's model, on random pictures.

The pictures go through the config's own training pipeline, so that their
sizes change from one iteration to the next as they do in training; only
reading from disk is replaced. Neck, head, losses, preprocessor, optimizer
and mixed precision are the config's.
"""
import copy
import gc
from statistics import median
from time import perf_counter
from typing import Callable, Dict, List, Optional, Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import (
    FUNCTIONS,
    MODELS,
    TRANSFORMS,
    init_default_scope,
)

from mona_mm.config import class_of, datasets, library_of, name_of
from mona_mm.engine.device import adapt_to_cpu
from mona_mm.engine.launch import read_config
from mona_mm.errors import ConfigError

from .measure import MIB, number, table
from .methods import choose_tuners, own_tuner
from .options import Options, environment
from .step import Ratio, ratio

_FULL = 'Full'
#: What reads from disk; the rest of a pipeline runs as it is.
_READERS = ('LoadImageFromFile', 'LoadSegAnnotations')


class Subject:
    """A model of a config with one method, and its optimizer.

    Args:
        path (str): The config's file.
        tuner (dict): Its method.
        options (Options): Device and seed.
    """

    def __init__(self, path: str, tuner: dict, options: Options) -> None:
        cfg = _config(path)
        backbone = cfg.model.backbone
        backbone.tuner = dict(tuner)  # update() would merge the two
        backbone.update(init_cfg=None, allow_random_base=True)
        if options.place.type == 'cpu':
            adapt_to_cpu(cfg)
        torch.manual_seed(options.seed)
        model = MODELS.build(cfg.model)
        model.init_weights()
        self.place, self.model = options.place, model.to(options.place)
        self.model.train()
        self.wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)

    def __call__(self, batch: dict) -> float:
        """Train on a batch; the milliseconds that it took."""
        batch = copy.deepcopy(batch)
        self._wait()
        begin = perf_counter()
        self.model.train_step(batch, self.wrapper)
        self._wait()
        return 1e3 * (perf_counter() - begin)

    def _wait(self) -> None:
        if self.place.type == 'cuda':
            torch.cuda.synchronize()


def models_from_configs(paths: Sequence[str],
                        methods: Optional[Sequence[str]] = None
                        ) -> Dict[str, Dict[str, dict]]:
    """What :func:`whole` compares.

    Args:
        paths (Sequence[str]): Config files.
        methods (Sequence[str], optional): Defaults to the config's own; Full
            stands beside them in any case.

    Returns:
        dict: Tuners by name, by config.

    Raises:
        ConfigError: If a config or a method cannot be used.
    """
    found = {}
    for path in paths:
        cfg = _config(path)
        tuners = choose_tuners(methods) if methods else own_tuner(
            cfg.model.backbone)
        found[path] = {**choose_tuners(['full']), **tuners}
    return found


def whole(models: Dict[str, Dict[str, dict]], options: Options,
          show: Callable[[str], object] = print) -> dict:
    """Time iterations of whole models, in turns on the same pictures.

    Args:
        models (dict): Of :func:`models_from_configs`.
        options (Options): Rounds, seed and device; precision and batch size
            are the config's.
        show (Callable): Gets pieces of text. Defaults to ``print``.

    Returns:
        dict: ``environment`` and, by config and method, ``first_ms``,
        ``iteration_ms`` (one per round), ``peak_mib`` on a GPU, and the
        ``ratio`` to Full.
    """
    result = dict(environment=environment(options.place), configs={})
    here = result['environment']
    show(f'# Whole iterations\n\n- {here["date"]}, {here["device"]}, '
         f'{here["threads"]} threads; {options.runs} rounds after '
         f'{options.warmup} that do not count, subjects in turns')
    for path, tuners in models.items():
        batches = random_batches(path, options.runs + options.warmup + 1,
                                 options.seed)
        found = _measure(path, tuners, batches, options)
        result['configs'][path] = found
        show(_table(path, found, batches))
    return result


def random_batches(path: str, count: int, seed: int) -> List[dict]:
    """Batches of random pictures as the config's training would see them.

    Args:
        path (str): A config's file.
        count (int): How many batches.
        seed (int): Of pictures and augmentation.

    Returns:
        list[dict]: What the config's data loader would give.
    """
    cfg = _config(path)
    loader = cfg.train_dataloader
    dataset = next(datasets(loader))[1]
    if 'pipeline' not in dataset:
        raise ConfigError(
            f'--whole: train_dataloader has a {name_of(dataset.get("type"))!r}'
            ' without a pipeline, expected a dataset with one, or a wrapper '
            'of such')
    # mmseg's annotations are a file, the others' are in the sample already.
    readers = _READERS + ('LoadAnnotations', ) * (library_of(cfg) == 'mmseg')
    steps = [t for t in dataset['pipeline']
             if name_of(t['type']) not in readers]
    np.random.seed(seed)
    torch.manual_seed(seed)
    transform = Compose([TRANSFORMS.build(t) for t in steps])
    kind = (loader.get('collate_fn') or {}).get('type', 'pseudo_collate')
    collate = class_of(kind, FUNCTIONS)
    batches = []
    for _ in range(count):
        samples = []
        while len(samples) < loader.get('batch_size', 1):
            sample = transform(_picture(cfg))
            if sample is not None:  # a crop may hold no object
                samples.append(sample)
        batches.append(collate(samples))
    return batches


def _picture(cfg: Config) -> dict:
    """A random picture with what any of the four libraries annotates."""
    height, width = 480, 640  # COCO's usual size
    image = np.random.randint(0, 256, (height, width, 3), np.uint8)
    rotated = library_of(cfg) == 'mmrotate'
    instances = []
    for _ in range(8):
        side = np.random.randint(32, 200)
        x, y = (np.random.randint(0, n - side) for n in (width, height))
        box = [x, y, x + side, y + side]
        corners = [x, y, x + side, y, x + side, y + side, x, y + side]
        instances.append(dict(
            bbox=corners if rotated else box, bbox_label=0, ignore_flag=0,
            mask=[[float(n) for n in corners]]))
    return dict(
        img=image, img_shape=(height, width), ori_shape=(height, width),
        height=height, width=width, img_path='random', img_id=0,
        sample_idx=0, seg_map_path=None, instances=instances, gt_label=0,
        gt_seg_map=np.random.randint(0, 2, (height, width), np.uint8),
        seg_fields=['gt_seg_map'], reduce_zero_label=False)


def _config(path: str) -> Config:
    cfg = read_config(path)
    if 'train_dataloader' not in cfg or 'backbone' not in cfg.model:
        raise ConfigError(f'--whole: {path} needs a model with a backbone '
                          'and a train_dataloader')
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    return cfg


def _measure(path: str, tuners: Dict[str, dict], batches: List[dict],
             options: Options) -> Dict[str, dict]:
    subjects, found = {}, {}
    for label, tuner in tuners.items():
        subject = subjects[label] = Subject(path, tuner, options)
        torch.manual_seed(options.seed)
        found[label] = dict(first_ms=subject(batches[0]), iteration_ms=[],
                            peak_mib=_peak(subject, batches[0]))
    for i, batch in enumerate(batches[1:]):
        for label, subject in subjects.items():
            torch.manual_seed(options.seed + i)
            taken = subject(batch)
            if i >= options.warmup:
                found[label]['iteration_ms'].append(taken)
    for row in found.values():
        against = ratio(row['iteration_ms'], found[_FULL]['iteration_ms'])
        row['ratio'] = against._asdict()
    return found


def _peak(subject: Subject, batch: dict) -> Optional[float]:
    if subject.place.type != 'cuda':
        return None
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    subject(batch)
    return (torch.cuda.max_memory_allocated() - before) / MIB


def _table(path: str, found: Dict[str, dict], batches: List[dict]) -> str:
    rows = []
    for label, row in found.items():
        rows.append([
            label, str(Ratio(**row['ratio'])),
            number(median(row['iteration_ms'])), number(row['first_ms']),
            number(row['peak_mib'])])
    shapes = {tuple(i.shape) for b in batches for i in b['inputs']}
    return table(
        f'{path}: iterations on random pictures of {len(shapes)} shapes',
        ['subject', 'of Full', 'median ms', 'first ms', 'peak MiB'], rows)
