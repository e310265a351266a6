"""Comparisons from an arch, or from configs."""
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

from mmengine.config import Config

from mona_mm.backbones import require_tuned, tuned_class, tuned_types
from mona_mm.checkpoint.describe import defaults
from mona_mm.config import backbone_of
from mona_mm.engine.launch import read_config
from mona_mm.errors import ConfigError
from mona_mm.registry import MODELS

from .methods import choose_tuners, own_tuner
from .subjects import FULL, PLAIN, Comparison

Arch = Union[str, dict]
#: The optimizer where no config names one; the rules are our schedules'.
_OPTIM_WRAPPER = dict(
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0))))
_NOT_SHARED = ('tuner', 'init_cfg', 'allow_random_base')


def from_arch(arch: Arch,
              methods: Optional[Sequence[str]] = None,
              against: Sequence[str] = (FULL, PLAIN),
              drop_path: Optional[float] = None,
              with_cp: bool = False,
              *,
              family: str) -> List[Comparison]:
    """Compare methods on a backbone of some size.

    Args:
        arch (str | dict): As the backbone's argument of that name.
        methods (Sequence[str], optional): Defaults to Mona.
        against (Sequence[str]): See :meth:`Comparison.add_subjects`.
        drop_path (float, optional): Defaults to 0.3.
        with_cp (bool): Recompute blocks in the backward pass.
        family (str): The backbone's type.

    Raises:
        ConfigError: If the family, the arch or a method is unknown.
    """
    cls = tuned_class(dict(type=family))
    if cls is None:
        raise ConfigError(f'--family {family!r}: expected one of '
                          f'{tuned_types()}')
    zoo = getattr(cls, 'zoo', {})
    if 'arch' not in defaults(cls):
        raise ConfigError(f'--family {family!r}: its sizes have no names; '
                          'give a config')
    if isinstance(arch, str):
        arch = arch.lower()
        if arch not in zoo:
            raise ConfigError(f'--arch {arch!r}: expected one of '
                              f'{", ".join(n for n in zoo if len(n) > 1)}')
    backbone = dict(
        type=family,
        arch=arch,
        drop_path_rate=0.3 if drop_path is None else drop_path,
        with_cp=with_cp)
    size = arch if isinstance(arch, str) else 'custom'
    return [Comparison(
        f'{cls.plain_class.__name__} {size}', backbone, _OPTIM_WRAPPER,
        choose_tuners(methods or ['mona'], cls)).add_subjects(against)]


def from_configs(paths: Sequence[str],
                 methods: Optional[Sequence[str]] = None,
                 against: Sequence[str] = (FULL, PLAIN),
                 drop_path: Optional[float] = None,
                 with_cp: bool = False) -> List[Comparison]:
    """Compare the backbones of configs; those that share one share a table.

    Args:
        paths (Sequence[str]): Config files.
        methods (Sequence[str], optional): In place of the configs' tuners.
        against (Sequence[str]): See :meth:`Comparison.add_subjects`.
        drop_path (float, optional): In place of the configs'.
        with_cp (bool): Recompute blocks in the backward pass, whatever the
            configs say.

    Raises:
        ConfigError: If a config does not exist or has no tuned backbone, or
            a method is unknown.
    """
    groups: Dict[str, Comparison] = {}
    for path in paths:
        cfg = read_config(path)
        described = described_backbone(path, cfg)
        # What may differ inside one table is left out.
        backbone = {k: v for k, v in described.items() if k not in _NOT_SHARED}
        # A class that is called after a method differs in its default alone.
        backbone['type'] = MODELS.get(
            described['type']).general or described['type']
        arguments = defaults(MODELS.get(backbone['type']))
        backbone.setdefault('drop_path_rate', arguments['drop_path_rate'])
        if 'with_cp' in arguments:
            backbone['with_cp'] = with_cp or backbone.get('with_cp', False)
        elif with_cp:
            raise ConfigError(f'--with-cp: {backbone["type"]} has no such '
                              'argument')
        if drop_path is not None:
            backbone['drop_path_rate'] = drop_path
        optim = _OPTIM_WRAPPER
        if wrapper := cfg.get('optim_wrapper'):
            optim = dict(
                optimizer=wrapper['optimizer'].to_dict(),
                paramwise_cfg=dict(wrapper.get('paramwise_cfg') or {}))
        group = groups.setdefault(
            repr((backbone, optim['paramwise_cfg'])),
            Comparison('', backbone, optim))
        group.configs.append(path)
        tuners = choose_tuners(methods, MODELS.get(
            backbone['type'])) if methods else own_tuner(described)
        for label, tuner in tuners.items():
            if tuner not in group.tuners.values():
                # Another setting of a method is numbered.
                number = 1 + sum(
                    k.split(' #')[0] == label for k in group.tuners)
                group.tuners[label if number == 1 else
                             f'{label} #{number}'] = tuner
    for group in groups.values():
        stems = ', '.join(Path(config).stem for config in group.configs)
        group.name = f'Backbone of {stems}'
        group.add_subjects(against)
    return list(groups.values())


def described_backbone(path: str, cfg: Config) -> dict:
    """A config's backbone, under one name for all forms of a config.

    Args:
        path (str): What errors name.
        cfg (Config): The config.

    Raises:
        ConfigError: If the backbone takes no tuner.
    """
    cls = require_tuned(cfg, path)
    described = backbone_of(cfg).to_dict()
    if cls.__module__.startswith('mona_mm.'):
        described['type'] = f'mona_mm.{cls.__name__}'
    return described
