"""Is the run that goes on the run that was saved?"""
import copy
import hashlib
import json
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.runner import Runner
from torch import nn

from mona_mm.checkpoint.describe import (
    defaults,
    describe_backbone,
    describe_tuner,
    unlike,
)
from mona_mm.checkpoint.digest import whole
from mona_mm.checkpoint.models import tuned_backbone, unwrapped
from mona_mm.compat import resumes, started_from
from mona_mm.config import backbone_of, class_of
from mona_mm.errors import CheckpointError
from mona_mm.registry import HOOKS
from mona_mm.text import some

from ..optim import DeltaOptimWrapperConstructor, wrappers_of

#: Of what a fingerprint holds. The first one, which did not say so, had only
#: the settings that a config gave, as JSON.
FORMAT = 2
#: What a fingerprint of somebody else raises.
_BROKEN = (AttributeError, KeyError, TypeError, ValueError)


@HOOKS.register_module()
class FingerprintHook(Hook):
    """Refuse to resume with another tuner, base or optimizer groups.

    The tuner's and the backbone's settings (given or by default; those that
    a backbone calls ``free`` change nothing), a checksum of the frozen
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
        if not resumes(runner) or 'optimizer' not in checkpoint:
            return
        saved = checkpoint['meta'].get('fingerprint')
        try:
            found = (_differences(saved, fingerprint(runner),
                                  tuned_backbone(unwrapped(runner.model)))
                     if saved else
                     _other_counts(checkpoint['optimizer'], runner))
            kept = list(_kept_settings(checkpoint['optimizer'], runner))
        except _BROKEN as error:
            raise _broken(started_from(runner), error) from error
        _refuse(found, started_from(runner))
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
    own = dict(_described(cfg, model), base=None)
    groups = _planned_groups(cfg, model)
    try:
        own['groups'] = saved['groups'] if groups is None else groups
        found = _differences(saved, own, tuned_backbone(model))
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
        dict: ``format``, ``tuner``, ``backbone``, ``base`` (None without a
        loaded frozen base) and ``groups``.
    """
    model = unwrapped(runner.model)
    groups = _named_groups(model, _param_groups(runner))
    return dict(_described(runner.cfg, model), format=FORMAT,
                base=_checksum(tuned_backbone(model)), groups=list(groups))


def _described(cfg: Config, model: nn.Module) -> Dict[str, Any]:
    tuned, given = tuned_backbone(model), backbone_of(cfg)
    cls = type(tuned) if tuned is not None else class_of(
        given.get('type'), MODELS, cfg.get('default_scope'))
    return dict(tuner=tuned and describe_tuner(tuned.tuner),
                backbone=describe_backbone(cls, given))


def _checksum(tuned: Optional[nn.Module]) -> Optional[str]:
    """Sum up the frozen weights' bits: the same on every device."""
    if tuned is None or not tuned.base_loaded:
        return None
    digest = hashlib.sha256()
    for name, param in sorted(tuned.base_parameters().items()):
        if not param.requires_grad:
            numbers = whole(param).contiguous().flatten()
            kind = torch.int32 if param.element_size() == 4 else torch.uint8
            bits = int(numbers.view(kind).sum(dtype=torch.int64))
            digest.update(f'{name} {bits};'.encode())
    return digest.hexdigest()[:16]


def _named_groups(model: nn.Module, groups: Iterable[dict]
                  ) -> Iterator[List[Tuple[str, int]]]:
    names = {id(p): n for n, p in model.named_parameters()}
    for group in groups:
        yield [(names.get(id(p), '?'), p.numel()) for p in group['params']]


def _param_groups(runner: Runner) -> List[dict]:
    return [group for wrapper in wrappers_of(runner)
            for group in wrapper.optimizer.param_groups]  # not mmengine's own


def _differences(saved: dict, own: dict,
                 tuned: Optional[nn.Module]) -> List[str]:
    then = {part: saved[part] for part in ('tuner', 'backbone')}
    if 'format' not in saved:
        then = {part: settings and {
            name: value if name == 'type' else json.loads(value)
            for name, value in settings.items()}
            for part, settings in then.items()}
    found = []
    usual = {} if tuned is None else defaults(type(tuned.tuner))
    if unlike(then['tuner'] or {}, own['tuner'] or {}, usual):
        found.append(f'tuner: {_shown(then["tuner"])} then, '
                     f'{_shown(own["tuner"])} now')
    free = getattr(tuned, 'free', ())
    found += [
        f'model.backbone.{key}: {json.dumps(before)} then, '
        f'{json.dumps(now)} now'
        for key, (before, now) in unlike(
            then['backbone'], own['backbone'],
            {} if tuned is None else defaults(type(tuned))).items()
        if key not in free]
    if None not in (saved['base'], own['base']) and (
            saved['base'] != own['base']) and not found:
        found.append('the frozen base: other weights came from init_cfg')
    return found + _other_groups(saved['groups'], own['groups'])


def _shown(tuner: Optional[dict]) -> str:
    if tuner is None:
        return 'none'
    arguments = ', '.join(f'{k}={json.dumps(v)}' for k, v in tuner.items()
                          if k != 'type')
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
    before, now = (dict(sum(groups, [])) for groups in (saved, own))
    told = (('only then', [n for n in before if n not in now]),
            ('only now', [n for n in now if n not in before]),
            ('of another size', [n for n, size in before.items()
                                 if now.get(n, size) != size]))
    return [what + ''.join(f'; {which}: {some(names, 4)}'
                           for which, names in told if names)]


def _other_counts(optimizer: dict, runner: Runner) -> List[str]:
    """What can be said of a checkpoint without a fingerprint."""
    if 'param_groups' not in optimizer:
        return []
    then = [len(group['params']) for group in optimizer['param_groups']]
    now = [len(group['params']) for group in _param_groups(runner)]
    return [] if then == now else [
        f'optimizer groups of {then} parameters then, of {now} now'
    ]


def _kept_settings(optimizer: dict, runner: Runner) -> Iterator[str]:
    """Settings of the config that resuming has no use for.

    mmengine takes the optimizer's groups from the checkpoint, whole.
    """
    for i, (then, own) in enumerate(
            zip(optimizer.get('param_groups', []), _param_groups(runner))):
        rate = 'initial_lr' if 'initial_lr' in then else 'lr'
        for key in (rate, 'weight_decay', 'betas', 'momentum'):
            before, wanted = then.get(key), own.get(key)
            if None not in (before, wanted) and before != wanted:
                yield (f'parameter group {i}: {key} stays {before} as in the '
                       f'checkpoint; the {wanted} of the config has no effect '
                       'on a resumed run')
