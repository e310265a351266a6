"""Would this config run here?"""
import copy
import warnings
from typing import Iterator, Optional

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mona_mm.checkpoint.cache import cached, is_url
from mona_mm.counting import count_backbone
from mona_mm.engine.device import adapt_to_cpu
from mona_mm.engine.preflight import check_folders, preflight
from mona_mm.errors import ConfigError, UserError

from .finding import NOTE, OK, WRONG, Finding
from .memory import estimate


def check_config(cfg: Config) -> Iterator[Finding]:
    """Look at data, classes, base, what trains and the memory it takes.

    Args:
        cfg (Config): As ``tools/train.py`` would load it.
    """
    yield from _files(cfg)
    for note in adapt_to_cpu(copy.deepcopy(cfg)):
        yield Finding(NOTE, 'device', note)
    try:
        model = _on_meta(cfg)
    except Exception as error:  # whatever a model's constructor raises
        yield Finding(WRONG, 'model', f'cannot be built: '
                      f'{type(error).__name__}: {error}')
        return
    yield from _base(cfg, model)
    yield from _trains(cfg, model)
    yield _memory(cfg, model)


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


def _on_meta(cfg: Config) -> nn.Module:
    """Build the model without memory; the config stays as it is."""
    model = copy.deepcopy(cfg.model)
    if 'data_preprocessor' in model:
        model.data_preprocessor.pop('size', None)
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    with torch.device('meta'):
        return MODELS.build(model)


def _base(cfg: Config, model: nn.Module) -> Iterator[Finding]:
    source = _source(cfg)
    backbone = model.backbone
    if not hasattr(backbone, 'load_base'):
        yield Finding(NOTE, 'base', f'{type(backbone).__name__} is no backbone'
                      ' of mona_mm: its loading is not checked')
    elif source is None:
        frozen = backbone._has_frozen_base and not backbone.allow_random_base
        yield Finding(
            WRONG if frozen else NOTE, 'base',
            'init_cfg names no file' + (
                ': the frozen base would stay random; set --cfg-options '
                'model.backbone.init_cfg.type=Pretrained '
                'model.backbone.init_cfg.checkpoint=PATH' if frozen else ''))
    elif '://' in source and not (is_url(source) and cached(source)):
        yield Finding(NOTE, 'base', f'{source} is downloaded, and checked, '
                      'when training starts')
    else:
        yield _fits(backbone, source, cfg)


def _source(cfg: Config) -> Optional[str]:
    init_cfg = cfg.model.backbone.get('init_cfg')
    return init_cfg.get('checkpoint') if isinstance(init_cfg, dict) else None


def _fits(backbone: nn.Module, source: str, cfg: Config) -> Finding:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # that meta tensors stay empty
            backbone.load_base(source, cfg.model.backbone.init_cfg.get(
                'prefix'))
    except UserError as error:
        return Finding(WRONG, 'base', str(error))
    return Finding(OK, 'base', f'{source} fits {type(backbone).__name__}')


def _trains(cfg: Config, model: nn.Module) -> Iterator[Finding]:
    params = list(model.parameters())
    trained = sum(p.numel() for p in params if p.requires_grad)
    yield Finding(OK, 'model', f'{trained:,} of '
                  f'{sum(p.numel() for p in params):,} parameters train')
    if not hasattr(model.backbone, 'share'):
        return
    row = count_backbone(cfg)
    yield Finding(
        OK, 'backbone', f'{row["tuner"]}: {row["inserted"]:,} inserted and '
        f'{row["released"]:,} pretrained parameters train, {row["frozen"]:,} '
        f'are frozen ({row["share"]:.2%} trains)')


def _memory(cfg: Config, model: nn.Module) -> Finding:
    try:
        return Finding(NOTE, 'memory', estimate(cfg, model))
    except Exception as error:  # a backbone that does not run without data
        return Finding(NOTE, 'memory', f'not estimated '
                       f'({type(error).__name__}: {error})')
