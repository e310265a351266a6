"""Comparisons from an arch, or from configs."""
from os.path import basename, splitext
from typing import Dict, List, Optional, Sequence, Union

from mmengine.config import Config

from mona_mm.backbones import tuned_class
from mona_mm.checkpoint.describe import defaults
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
              with_cp: bool = False) -> List[Comparison]:
    """Compare methods on a Swin Transformer.

    Args:
        arch (str | dict): As of ``TunedSwinTransformer``.
        methods (Sequence[str], optional): Defaults to Mona.
        against (Sequence[str]): See :meth:`Comparison.add_subjects`.
        drop_path (float, optional): Defaults to 0.3.
        with_cp (bool): Recompute blocks in the backward pass.

    Raises:
        ConfigError: If the arch or a method is unknown.
    """
    arch = _known_arch(arch)
    backbone = dict(
        type='mona_mm.TunedSwinTransformer',
        arch=arch,
        drop_path_rate=0.3 if drop_path is None else drop_path,
        with_cp=with_cp)
    comparison = Comparison(
        f'Swin {arch if isinstance(arch, str) else "custom"}', backbone,
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
            'tuner; expected mona_mm.TunedSwinTransformer or another of '
            'mona_mm')
    described = found.to_dict()
    if cls.__module__.startswith('mona_mm.'):
        # By one name, so that configs of all forms share a table.
        described['type'] = f'mona_mm.{cls.__name__}'
    return described


def _shared(described: dict, drop_path: Optional[float],
            with_cp: bool) -> dict:
    """A backbone's config without what may differ inside one table."""
    backbone = {k: v for k, v in described.items() if k not in _NOT_SHARED}
    # The paper's name differs in its default tuner alone.
    if backbone['type'] == 'mona_mm.SwinTransformerMona':
        backbone['type'] = 'mona_mm.TunedSwinTransformer'
    usual = defaults(MODELS.get(backbone['type']))
    backbone.setdefault('drop_path_rate', usual['drop_path_rate'])
    backbone['with_cp'] = with_cp or backbone.get('with_cp', False)
    if drop_path is not None:
        backbone['drop_path_rate'] = drop_path
    return backbone


def _own_tuner(described: dict) -> Dict[str, dict]:
    tuner = described.get('tuner') or dict(
        type='Mona' if described['type'].endswith('Mona') else 'Full')
    return {name_of(tuner['type']): tuner}


def _optim_wrapper(cfg: Config) -> dict:
    found = cfg.get('optim_wrapper')
    if not found:
        return _OPTIM_WRAPPER
    return dict(
        optimizer=found['optimizer'].to_dict(),
        paramwise_cfg=dict(found.get('paramwise_cfg') or {}))


def _known_arch(arch: Arch) -> Arch:
    zoo = library_class(MODELS.get('mona_mm.TunedSwinTransformer')).arch_zoo
    if not isinstance(arch, str):
        return arch
    if arch.lower() not in zoo:
        raise ConfigError(f'--arch {arch!r}: expected one of '
                          f'{", ".join(n for n in zoo if len(n) > 1)}')
    return arch.lower()
