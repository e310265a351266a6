"""Would this config run here?"""
import copy
import warnings
from typing import Iterator, Optional, Sequence

from mmengine.config import Config
from torch import nn

from mona_mm.backbones.counting import count_backbone
from mona_mm.checkpoint.cache import SHIPPED, cached, is_url
from mona_mm.checkpoint.candidates import pretrained_cfg
from mona_mm.checkpoint.models import tuned_backbone
from mona_mm.config import backbone_of
from mona_mm.engine.device import adapt_to_cpu
from mona_mm.engine.fit import outline
from mona_mm.engine.preflight import check_folders, preflight
from mona_mm.errors import ConfigError, UserError

from .finding import NOTE, OK, WRONG, Finding
from .memory import estimate


def check_config(cfg: Config, size: Optional[Sequence[int]] = None
                 ) -> Iterator[Finding]:
    """Look at data, classes, base, what trains and the memory it takes.

    Args:
        cfg (Config): As ``tools/train.py`` would load it.
        size (Sequence[int], optional): (H, W) to estimate the memory for;
            by default what the training pipeline makes.
    """
    yield from _files(cfg)
    for note in adapt_to_cpu(copy.deepcopy(cfg)):
        yield Finding(NOTE, 'device', note)
    try:
        model = outline(cfg)
    except Exception as error:  # whatever a model's constructor raises
        yield Finding(WRONG, 'model', f'cannot be built: '
                      f'{type(error).__name__}: {error}')
        return
    yield from _base(cfg, model)
    yield from _trains(cfg, model)
    try:
        text = estimate(cfg, model, _backbone(model), size)
    except Exception as error:  # a backbone that does not run without data
        text = f'not estimated ({type(error).__name__}: {error})'
    yield Finding(NOTE, 'memory', text)


def _files(cfg: Config) -> Iterator[Finding]:
    try:
        notes = preflight(cfg, ('train', 'val'))
        yield Finding(OK, 'data', 'files are there; classes agree in label '
                      'files, datasets, evaluators and heads')
        for note in notes:
            yield Finding(NOTE, 'data', note)
    except ConfigError as error:
        for line in str(error).split('\n- ')[1:]:
            yield Finding(WRONG, 'data', line)
    try:
        check_folders(cfg)
        yield Finding(OK, 'work dir', f'{cfg.work_dir} can be written')
    except ConfigError as error:
        yield Finding(WRONG, 'work dir', str(error))


def _base(cfg: Config, model: nn.Module) -> Iterator[Finding]:
    init_cfg = pretrained_cfg(backbone_of(cfg).get('init_cfg'))
    source = (init_cfg or {}).get('checkpoint')
    backbone = tuned_backbone(model)
    if backbone is None:
        yield Finding(NOTE, 'base', f'{type(_backbone(model)).__name__} is no '
                      'backbone of mona_mm: its loading is not checked')
    elif source is None:
        frozen = bool(backbone.frozen.names) and not backbone.allow_random_base
        yield Finding(
            WRONG if frozen else NOTE, 'base',
            'init_cfg names no file' + (
                ': the frozen base would stay random; set --cfg-options '
                'model.backbone.init_cfg.type=Pretrained '
                'model.backbone.init_cfg.checkpoint=PATH' if frozen else ''))
    elif '://' in source and not source.startswith(SHIPPED) and not (
            is_url(source) and cached(source)):
        yield Finding(NOTE, 'base', f'{source} is downloaded, and checked, '
                      'when training starts')
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # that meta tensors stay empty
                backbone.load_base(source, init_cfg.get('prefix'))
            yield Finding(OK, 'base',
                          f'{source} fits {type(backbone).__name__}')
        except UserError as error:
            yield Finding(WRONG, 'base', str(error))


def _backbone(model: nn.Module) -> Optional[nn.Module]:
    found = [m for name, m in model.named_modules()
             if name.rpartition('.')[2] == 'backbone']
    return found[0] if found else None


def _trains(cfg: Config, model: nn.Module) -> Iterator[Finding]:
    params = list(model.parameters())
    trained = sum(p.numel() for p in params if p.requires_grad)
    yield Finding(OK, 'model', f'{trained:,} of '
                  f'{sum(p.numel() for p in params):,} parameters train')
    if tuned_backbone(model) is None:
        return
    row = count_backbone(cfg)
    yield Finding(
        OK, 'backbone', f'{row["tuner"]}: {row["inserted"]:,} inserted and '
        f'{row["released"]:,} pretrained parameters train, {row["frozen"]:,} '
        f'are frozen ({row["share"]:.2%} trains)')
