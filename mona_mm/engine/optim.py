"""Parameter groups for a model with a tuned backbone."""
import logging
from typing import Dict, List

from mmengine.logging import MMLogger, print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.optim import SGD, Adam, AdamW

from mona_mm.checkpoint.delta import tuned_backbones
from mona_mm.config import means
from mona_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .runner import unwrapped

DELTA, PRETRAINED, NEW = 'delta', 'pretrained', 'neck and head'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DeltaOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, aware of delta and of frozen parameters.

    All rules of ``paramwise_cfg`` (``custom_keys``, ``norm_decay_mult``,
    ``bias_decay_mult`` ...) hold as in mmengine. On top,
    ``delta_lr_mult`` multiplies the learning rate of the parameters that a
    tuner inserted, after those rules; the model says which these are. Frozen
    parameters are left out, and parameters with equal settings share one
    group, so the optimizer sees a handful of groups; Adam, AdamW and SGD
    run their fused step unless the config names another one.

    Args:
        optim_wrapper_cfg (dict): Config of the optimizer wrapper.
        paramwise_cfg (dict, optional): The rules.

    Raises:
        ValueError: If ``delta_lr_mult`` is no positive number, or nothing in
            the model trains.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg=None) -> None:
        paramwise_cfg = dict(paramwise_cfg or {})
        self.delta_lr_mult = paramwise_cfg.pop('delta_lr_mult', 1.0)
        if not (isinstance(self.delta_lr_mult, (int, float))
                and self.delta_lr_mult > 0):
            raise ValueError('paramwise_cfg.delta_lr_mult must be a positive '
                             f'number, but got {self.delta_lr_mult!r}')
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper for a model, wrapped or not."""
        groups = self.groups(unwrapped(model))
        _report(groups)
        for group in groups:
            group.pop('counts')
        optimizer = OPTIMIZERS.build(
            _fast(self.optimizer_cfg, groups),
            default_args=dict(params=groups))
        return OPTIM_WRAPPERS.build(
            dict(dict(type='OptimWrapper'), **self.optim_wrapper_cfg),
            default_args=dict(optimizer=optimizer))

    def groups(self, model: nn.Module) -> List[dict]:
        """The parameter groups of a model, with their counts by role."""
        groups = _merge(self._rated(model))
        if not groups:
            raise ValueError('no parameter of the model trains: there is '
                             'nothing to optimize')
        return groups

    def _rated(self, model: nn.Module) -> List[dict]:
        """One group per trained parameter, with mmengine's rules applied."""
        roles = _roles(model)
        groups: List[dict] = []
        with _quiet():
            self.add_params(groups, model)
        seen, rated = set(), []
        for group in groups:
            (param, ) = group['params']
            if id(param) in seen:
                continue  # a shared parameter is reached by two names
            seen.add(id(param))
            role = roles.get(id(param), NEW)
            settings = {
                'lr': self.base_lr,
                'weight_decay': self.base_wd,
                **group
            }
            for multiplier in ('lr_mult', 'decay_mult'):
                settings.pop(multiplier, None)
            if role == DELTA and settings['lr'] is not None:
                settings['lr'] *= self.delta_lr_mult
            settings['role'] = role
            rated.append(settings)
        return rated


def _fast(cfg: dict, groups: List[dict]) -> dict:
    """Ask for the fused step where optimizer and device have it.

    A config that names an implementation (``fused``, ``foreach``) keeps it.
    """
    cfg = dict(cfg)
    named = {'fused', 'foreach', 'capturable', 'differentiable'} & set(cfg)
    params = [p for g in groups for p in g['params']]
    fits = all(p.device.type in ('cuda', 'cpu') and p.is_floating_point()
               for p in params)
    has = any(means(cfg.get('type'), cls) for cls in (Adam, AdamW, SGD))
    if has and fits and not named:
        cfg['fused'] = True
    return cfg


def _roles(model: nn.Module) -> Dict[int, str]:
    """Whose a parameter is, by identity; others are neck's and heads'."""
    roles = {}
    for _, backbone in tuned_backbones(model):
        for param in backbone.base_parameters().values():
            roles[id(param)] = PRETRAINED
        for param in backbone.delta_parameters().values():
            roles[id(param)] = DELTA
    return roles


def _merge(rated: List[dict]) -> List[dict]:
    """Join parameters with equal settings, keeping the order of the first."""
    merged: Dict[str, dict] = {}
    for settings in rated:
        params, role = settings.pop('params'), settings.pop('role')
        settings = {k: v for k, v in settings.items() if v is not None}
        key = repr(sorted(settings.items()))
        group = merged.setdefault(key, dict(settings, params=[], counts={}))
        group['params'] += params
        numbers = group['counts'].setdefault(role, [0, 0])
        numbers[0] += len(params)
        numbers[1] += sum(p.numel() for p in params)
    return list(merged.values())


def _report(groups: List[dict]) -> None:
    for i, group in enumerate(groups):
        held = ', '.join(f'{role}: {tensors} tensors, {numbers:,} parameters'
                         for role, (tensors, numbers) in
                         group['counts'].items())
        settings = ', '.join(f'{k}={v:g}' if isinstance(v, float) else
                             f'{k}={v}' for k, v in group.items()
                             if k not in ('params', 'counts'))
        print_log(f'parameter group {i} ({settings}): {held}',
                  logger='current')
    if len(groups) > 10:
        print_log(
            f'{len(groups)} parameter groups: custom_keys make that many '
            'different settings, and each costs time in every step',
            logger='current',
            level=logging.WARNING)


class _quiet:
    """Silence mmengine's line for every single parameter.

    It logs each setting and warns of each frozen parameter, which here are
    hundreds; ours is one line per group.
    """

    def __enter__(self) -> None:
        self.logger = MMLogger.get_current_instance()
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *exc) -> None:
        self.logger.setLevel(self.level)
