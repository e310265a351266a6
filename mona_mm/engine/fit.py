"""Does a checkpoint fit a config? Asked before a run writes anything."""
import copy
import shlex
from typing import Any, Dict

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mona_mm.checkpoint import read_checkpoint, unwrap
from mona_mm.checkpoint.compare import compare
from mona_mm.checkpoint.delta import check_places
from mona_mm.checkpoint.models import config_for, tuned_backbones
from mona_mm.checkpoint.record import Record, records
from mona_mm.config import flat, name_of
from mona_mm.engine.quiet import quiet
from mona_mm.errors import CheckpointError, ConfigError

from .resumable.same_run import check_same_run

#: Settings in an error; with more, it is simply another model.
_MOST = 8


def outline(cfg: Config) -> nn.Module:
    """Build a config's model without memory for its weights, if it can be.

    Args:
        cfg (Config): Stays as it is.
    """
    described = cfg.model
    while 'module' in described and 'backbone' not in described:
        described = described.module  # test-time augmentation is around it
    described = copy.deepcopy(described)
    if cfg.get('data_preprocessor') is not None:  # as the Runner does
        described.setdefault('data_preprocessor',
                             copy.deepcopy(cfg.data_preprocessor))
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        try:
            with torch.device('meta'), quiet():
                return MODELS.build(copy.deepcopy(described))
        except (NotImplementedError, RuntimeError):
            # One that needs numbers to be built; another error comes again.
            return MODELS.build(described)


def check_for_test(cfg: Config, path: str) -> None:
    """Check that a checkpoint fits the config's model, all of it.

    Loading is left to the Runner, whose hooks (EMA) expect it in their time.

    Args:
        cfg (Config): Of the test.
        path (str): The checkpoint.

    Raises:
        CheckpointError: If a tensor is missing, unexpected, or of another
            shape: the numbers would not be the checkpoint's.
    """
    content = read_checkpoint(path)
    model = outline(cfg)
    backbones = dict(tuned_backbones(model))
    # What a delta checkpoint leaves out and loading puts back.
    refilled = {
        f'{where}.{name}'.lstrip('.')
        for where, record in _records(model, content, path).items()
        if record.base for name in backbones[where].frozen.names}
    computed = tuple(ending for backbone in backbones.values()
                     for ending in backbone.derived)
    own, given = ({k: v for k, v in state.items() if not k.endswith(computed)}
                  for state in (model.state_dict(), unwrap(content, path)))
    if misfit := compare(own, given, refilled):
        raise CheckpointError(
            f'{path} is not a checkpoint of this config: {misfit}'
            f'{_other_settings(cfg, content, path)}')


def check_for_training(cfg: Config, path: str) -> None:
    """Check that training can start, or go on, from a checkpoint.

    Weights to start from may be of another head. What is resumed has to be
    of the same run, as :class:`FingerprintHook` has it; it looks again, at
    the base as well, once all is loaded.

    Args:
        cfg (Config): With ``resume``.
        path (str): The checkpoint.

    Raises:
        CheckpointError: If it is missing, damaged, no checkpoint, or does
            not fit.
    """
    content = read_checkpoint(path)
    unwrap(content, path)
    hooks = [*(cfg.get('default_hooks') or {}).values(),
             *(cfg.get('custom_hooks') or [])]
    watched = any(name_of(hook.get('type')) == 'FingerprintHook'
                  for hook in hooks if hook)
    if not (records(content.get('state_dict')) or watched):
        return
    model = outline(cfg)
    _records(model, content, path)
    if cfg.get('resume') and watched:
        check_same_run(cfg, model, content, path)


def _records(model: nn.Module, content: Dict[str, Any],
             path: str) -> Dict[str, Record]:
    """The records of a checkpoint, all of which the model agrees with."""
    found = records(content.get('state_dict', content))
    check_places(model, found)
    agreed = {}
    for where, backbone in tuned_backbones(model):
        if where not in found:
            continue
        try:
            backbone.frozen.check(found[where])
            backbone.frozen.check_somewhere(found[where])
        except CheckpointError as error:
            raise CheckpointError(f'{path} is not a checkpoint of this '
                                  f'config: {error}') from error
        agreed[where] = found[where]
    return agreed


def _other_settings(cfg: Config, content: Dict[str, Any], path: str) -> str:
    """The options that would make the model that of a file's own config."""
    try:
        then = config_for(content, path)
    except ConfigError:  # it holds none, or one that is not looked into
        return ''
    before, now = (flat(c.to_dict().get('model'), 'model')
                   for c in (then, cfg))
    other = {key: value for key, value in before.items()
             if now.get(key) != value and key in now
             and '.init_cfg.' not in key}
    if not other or len(other) > _MOST or any(
            name.endswith('.type') for name in other):
        return ''
    words = shlex.join(['--cfg-options', *(
        f'{key}={value}' for key, value in other.items())])
    return f'. Its own config has: {words}'
