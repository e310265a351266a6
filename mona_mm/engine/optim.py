"""Parameter groups for a model with a tuned backbone."""
import logging
from typing import List

from mmengine.logging import print_log
from mmengine.optim import (
    DefaultOptimWrapperConstructor,
    OptimWrapper,
    OptimWrapperDict,
)
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.optim import SGD, Adam, AdamW

from mona_mm.checkpoint.models import tuned_backbones, unwrapped
from mona_mm.config import means
from mona_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .quiet import quiet

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
        """The parameter groups of a model, with their counts by role.

        Args:
            model (nn.Module): Not wrapped.

        Raises:
            ValueError: If nothing in it trains.
        """
        roles = {}  # by identity; what is not in it is neck's and heads'
        for _, backbone in tuned_backbones(model):
            for param in backbone.base_parameters().values():
                roles[id(param)] = PRETRAINED
            for param in backbone.delta_parameters().values():
                roles[id(param)] = DELTA
        ruled: List[dict] = []  # one per trained parameter
        # A line for every setting, and a warning for every frozen parameter,
        # are hundreds here; ours is one line per group.
        with quiet(logging.WARNING):
            self.add_params(ruled, model)
        seen, merged = set(), {}
        for group in ruled:
            (param, ) = group['params']
            if id(param) in seen:
                continue  # a shared parameter is reached by two names
            seen.add(id(param))
            role = roles.get(id(param), NEW)
            settings = {
                key: value for key, value in {
                    'lr': self.base_lr, 'weight_decay': self.base_wd, **group
                }.items() if value is not None
                and key not in ('params', 'lr_mult', 'decay_mult')
            }
            if role == DELTA and 'lr' in settings:
                settings['lr'] *= self.delta_lr_mult
            # Equal settings are one group, in the order of the first.
            one = merged.setdefault(
                repr(sorted(settings.items())),
                dict(settings, params=[], counts={}))
            one['params'].append(param)
            tensors, numbers = one['counts'].get(role, (0, 0))
            one['counts'][role] = tensors + 1, numbers + param.numel()
        if not merged:
            raise ValueError('no parameter of the model trains: there is '
                             'nothing to optimize')
        return list(merged.values())


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


def wrappers_of(runner) -> List[OptimWrapper]:
    """The optimizer wrappers of a Runner, which has one or several."""
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(
        wrapper, OptimWrapperDict) else [wrapper]
