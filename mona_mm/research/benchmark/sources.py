"""Comparisons from an arch, or from configs."""
import inspect
from os.path import basename, splitext
from typing import Dict, List, Optional, Sequence, Union

from mmengine.config import Config

from mona_mm.backbones import tuned_class, tuned_types
from mona_mm.config import backbone_of, name_of
from mona_mm.engine.launch import read_config
from mona_mm.errors import ConfigError
from mona_mm.registry import MODELS

from .methods import choose_tuners
from .subjects import FULL, PLAIN, Comparison, library_class

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
    library = library_class(cls)
    if isinstance(arch, str):
        arch = arch.lower()
        if arch not in library.arch_zoo:
            raise ConfigError(
                f'--arch {arch!r}: expected one of '
                f'{", ".join(n for n in library.arch_zoo if len(n) > 1)}')
    backbone = dict(
        type=family,
        arch=arch,
        drop_path_rate=0.3 if drop_path is None else drop_path,
        with_cp=with_cp)
    comparison = Comparison(
        f'{library.__name__} '
        f'{arch if isinstance(arch, str) else "custom"}', backbone,
        _OPTIM_WRAPPER, choose_tuners(methods or ['mona']))
    return [comparison.add_subjects(against)]


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
    named = choose_tuners(methods) if methods else None
    groups: Dict[str, Comparison] = {}
    for path in paths:
        described = _backbone(path, read_config(path))
        backbone = _shared(described, drop_path, with_cp)
        optim = _optim_wrapper(read_config(path))
        group = groups.setdefault(
            repr((backbone, optim['paramwise_cfg'])),
            Comparison('', backbone, optim))
        group.configs.append(path)
        for label, tuner in (named or _own_tuner(described)).items():
            _add_tuner(group.tuners, label, tuner)
    for group in groups.values():
        stems = [splitext(basename(c))[0] for c in group.configs]
        group.name = f'Backbone of {", ".join(stems)}'
        group.add_subjects(against)
    return list(groups.values())


def _add_tuner(tuners: Dict[str, dict], label: str, tuner: dict) -> None:
    """Add a tuner unless it is there; another setting is numbered."""
    if tuner in tuners.values():
        return
    number = sum(k.split(' #')[0] == label for k in tuners) + 1
    tuners[label if number == 1 else f'{label} #{number}'] = tuner


def _backbone(path: str, cfg: Config) -> dict:
    found = backbone_of(cfg)
    cls = tuned_class(found, cfg.get('default_scope'))
    if cls is None:
        raise ConfigError(
            f'the backbone {name_of(found.get("type"))!r} of {path} takes no '
            f'tuner; expected one of {tuned_types()}')
    described = found.to_dict()
    if cls.__module__.startswith('mona_mm.'):
        # By one name, so that configs of all forms share a table.
        described['type'] = f'mona_mm.{cls.__name__}'
    return described


def _shared(described: dict, drop_path: Optional[float],
            with_cp: bool) -> dict:
    """A backbone's config without what may differ inside one table."""
    backbone = {k: v for k, v in described.items() if k not in _NOT_SHARED}
    cls = MODELS.get(backbone['type'])
    if cls.general:  # called after a method, its default tuner
        backbone['type'] = cls.general
        cls = MODELS.get(cls.general)
    arguments = {name: parameter for base in reversed(cls.__mro__)
                 for name, parameter in
                 inspect.signature(base).parameters.items()}
    backbone.setdefault('drop_path_rate', arguments['drop_path_rate'].default)
    if 'with_cp' in arguments:
        backbone['with_cp'] = with_cp or backbone.get('with_cp', False)
    elif with_cp:
        raise ConfigError(f'--with-cp: {cls.__name__} has no such argument')
    if drop_path is not None:
        backbone['drop_path_rate'] = drop_path
    return backbone


def _own_tuner(described: dict) -> Dict[str, dict]:
    tuner = described.get('tuner') or MODELS.get(
        described['type']).default_tuner
    return {name_of(tuner['type']): tuner}


def _optim_wrapper(cfg: Config) -> dict:
    found = cfg.get('optim_wrapper')
    if not found:
        return _OPTIM_WRAPPER
    return dict(
        optimizer=found['optimizer'].to_dict(),
        paramwise_cfg=dict(found.get('paramwise_cfg') or {}))
