"""Is the run that goes on the run that was saved?"""
import copy
import hashlib
import inspect
import json
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.runner import Runner
from torch import Tensor, nn

from mona_mm.config import backbone_of, class_of, name_of
from mona_mm.errors import CheckpointError
from mona_mm.registry import HOOKS
from mona_mm.text import some

from ..optim import DeltaOptimWrapperConstructor

#: Backbone settings that a resumed run may change: they leave the weights
#: and what they compute alone, or are compared by what was loaded.
_FREE = ('type', 'tuner', 'init_cfg', 'with_cp', 'allow_random_base')

#: What a fingerprint of somebody else raises.
_BROKEN = (AttributeError, KeyError, TypeError, ValueError)

@HOOKS.register_module()
class FingerprintHook(Hook):
    """Refuse to resume with another tuner, base or optimizer groups.

    The tuner's arguments, the backbone's config, a checksum of the frozen
    weights and the names in every optimizer group go into the checkpoint's
    ``meta``, and are compared when it is resumed: optimizers match their
    state by position, so another model could get it wrongly. A plain
    ``load_from`` is not concerned.
    """

    priority = 'VERY_HIGH'  # before other hooks (EMA) load by key

    def before_train(self, runner: Runner) -> None:
        """Take the fingerprint; what it covers does not change later."""
        self.own = fingerprint(runner)

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Put it into the checkpoint."""
        checkpoint['meta']['fingerprint'] = self.own

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare, if the checkpoint is resumed.

        Raises:
            CheckpointError: With every difference; or if what it has to say
                is broken.
        """
        if not runner._resume or 'optimizer' not in checkpoint:
            return
        saved = checkpoint['meta'].get('fingerprint')
        try:
            found = (_differences(saved, fingerprint(runner)) if saved else
                     _other_counts(checkpoint['optimizer'], runner))
            kept = list(_kept_settings(checkpoint['optimizer'], runner))
        except _BROKEN as error:
            raise _broken(runner._load_from, error) from error
        _refuse(found, runner._load_from)
        for line in kept:
            runner.logger.warning(line)


def check_same_run(cfg: Config, model: nn.Module, checkpoint: Dict[str, Any],
                   path: str) -> None:
    """Compare what is known before a run is set up: all but the base.

    Args:
        cfg (Config): Of the run that would go on.
        model (nn.Module): Its model; it needs no numbers.
        checkpoint (dict): What the file holds.
        path (str): The file.

    Raises:
        CheckpointError: With every difference.
    """
    meta = checkpoint.get('meta')
    saved = meta.get('fingerprint') if isinstance(meta, dict) else None
    if not saved or 'optimizer' not in checkpoint:
        return
    own = dict(
        tuner=_tuner(_tuned(model)), backbone=_backbone(cfg), base=None)
    groups = _planned_groups(cfg, model)
    try:
        own['groups'] = saved['groups'] if groups is None else groups
        found = _differences(saved, own)
    except _BROKEN as error:
        raise _broken(path, error) from error
    _refuse(found, path)


def _broken(path: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f'{path}: its fingerprint or its optimizer is broken '
        f'({type(error).__name__}: {error})')


def _refuse(found: List[str], path: str) -> None:
    if found:
        raise CheckpointError(
            f'cannot resume from {path}, it was trained differently:\n- ' +
            '\n- '.join(found) + '\nResume with the config of that run, or '
            'start a new one from its weights with --cfg-options '
            'load_from=... and without --resume')


def _planned_groups(cfg: Config, model: nn.Module) -> Optional[list]:
    """The groups that our constructor will make; None of any other."""
    wrapper = copy.deepcopy(cfg.optim_wrapper)
    kind = class_of(wrapper.pop('constructor', None),
                    OPTIM_WRAPPER_CONSTRUCTORS)
    if not (isinstance(kind, type)
            and issubclass(kind, DeltaOptimWrapperConstructor)):
        return None
    rules = wrapper.pop('paramwise_cfg', None)
    return list(_named_groups(model, kind(wrapper, rules).groups(model)))


def fingerprint(runner: Runner) -> Dict[str, Any]:
    """Describe what a resumed run has to share, as plain data.

    Args:
        runner (Runner): With its model and optimizer built.

    Returns:
        dict: ``tuner``, ``backbone``, ``base`` (None without a loaded frozen
        base) and ``groups``.
    """
    model = runner.model
    model = model.module if is_model_wrapper(model) else model
    tuned = _tuned(model)
    return dict(
        tuner=_tuner(tuned),
        backbone=_backbone(runner.cfg),
        base=_checksum(tuned),
        groups=list(_named_groups(model,
                                  _param_groups(runner.optim_wrapper))))


def _tuned(model: nn.Module) -> Optional[nn.Module]:
    return next(
        (m for m in model.modules() if hasattr(m, 'delta_parameters')), None)


def _tuner(tuned: Optional[nn.Module]) -> Optional[Dict[str, str]]:
    if tuned is None:
        return None
    tuner = tuned.tuner
    arguments = inspect.signature(type(tuner)).parameters
    return dict(
        type=type(tuner).__name__,
        **{
            name: _plain(getattr(tuner, name))
            for name in arguments if hasattr(tuner, name)
        })


def _backbone(cfg: Config) -> Dict[str, str]:
    return {
        key: _plain(value)
        for key, value in backbone_of(cfg).items() if key not in _FREE
    }


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=name_of)


def _checksum(tuned: Optional[nn.Module]) -> Optional[str]:
    """Sum up the frozen weights' bits: the same on every device."""
    if tuned is None or not getattr(tuned, 'base_loaded', False):
        return None
    digest = hashlib.sha256()
    for name, param in sorted(tuned.base_parameters().items()):
        if not param.requires_grad:
            digest.update(f'{name} {_bits(param.detach())};'.encode())
    return digest.hexdigest()[:16]


def _bits(tensor: Tensor) -> int:
    flat = tensor.contiguous().flatten()
    kind = torch.int32 if tensor.element_size() == 4 else torch.uint8
    return int(flat.view(kind).sum(dtype=torch.int64))


def _named_groups(model: nn.Module, groups: Iterable[dict]
                  ) -> Iterator[List[Tuple[str, int]]]:
    names = {id(p): n for n, p in model.named_parameters()}
    for group in groups:
        yield [(names.get(id(p), '?'), p.numel()) for p in group['params']]


def _param_groups(wrapper) -> Iterator[dict]:
    wrappers = wrapper.values() if isinstance(
        wrapper, OptimWrapperDict) else [wrapper]
    for one in wrappers:
        yield from one.optimizer.param_groups  # without mmengine's own


def _differences(saved: dict, own: dict) -> List[str]:
    found = []
    if saved['tuner'] != own['tuner']:
        found.append(f'tuner: {_shown(saved["tuner"])} then, '
                     f'{_shown(own["tuner"])} now')
    found += [
        f'model.backbone.{key}: {value} then, {own["backbone"][key]} now'
        for key, value in saved['backbone'].items()
        if own['backbone'].get(key, value) != value
    ]
    if None not in (saved['base'], own['base']) and (
            saved['base'] != own['base']) and not found:
        found.append('the frozen base: other weights came from init_cfg')
    return found + _other_groups(saved['groups'], own['groups'])


def _shown(tuner: Optional[dict]) -> str:
    if tuner is None:
        return 'none'
    arguments = ', '.join(f'{k}={v}' for k, v in tuner.items() if k != 'type')
    return f'{tuner["type"]}({arguments})'


def _other_groups(saved: list, own: list) -> List[str]:
    saved, own = ([[tuple(p) for p in group] for group in groups]
                  for groups in (saved, own))
    if saved == own:
        return []
    if len(saved) != len(own):
        what = f'{len(saved)} optimizer groups then, {len(own)} now'
    elif sorted(sum(saved, [])) == sorted(sum(own, [])):
        what = 'the same parameters, but in other optimizer groups'
    else:
        what = 'other parameters in the optimizer'
    return [what + _moved(saved, own)]


def _moved(saved: list, own: list) -> str:
    before, now = (dict(sum(groups, [])) for groups in (saved, own))
    told = (('only then', [n for n in before if n not in now]),
            ('only now', [n for n in now if n not in before]),
            ('of another size', [n for n, size in before.items()
                                 if now.get(n, size) != size]))
    return ''.join(f'; {what}: {some(names, 4)}' for what, names in told
                   if names)


def _other_counts(optimizer: dict, runner: Runner) -> List[str]:
    """What can be said of a checkpoint without a fingerprint."""
    if 'param_groups' not in optimizer:
        return []
    then = [len(group['params']) for group in optimizer['param_groups']]
    now = [len(group['params'])
           for group in _param_groups(runner.optim_wrapper)]
    return [] if then == now else [
        f'optimizer groups of {then} parameters then, of {now} now'
    ]


def _kept_settings(optimizer: dict, runner: Runner) -> Iterator[str]:
    """Settings of the config that resuming has no use for.

    mmengine takes the optimizer's groups from the checkpoint, whole.
    """
    now = list(_param_groups(runner.optim_wrapper))
    for i, (then, own) in enumerate(
            zip(optimizer.get('param_groups', []), now)):
        rate = 'initial_lr' if 'initial_lr' in then else 'lr'
        for key in (rate, 'weight_decay', 'betas', 'momentum'):
            before, wanted = then.get(key), own.get(key)
            if None not in (before, wanted) and before != wanted:
                yield (f'parameter group {i}: {key} stays {before} as in the '
                       f'checkpoint; the {wanted} of the config has no effect '
                       'on a resumed run')
