"""Tuners and backbones as plain data, and where two of them differ."""
import inspect
import shlex
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Tuple

from mmengine.config import Config

from mona_mm.config import name_of, tuner_fragments
from mona_mm.tuners.base import known_tuners, tuner_class

from .record import Record


def describe_tuner(tuner) -> Dict[str, Any]:
    """A tuner's type and arguments, as plain data."""
    kind = type(tuner)
    return dict(type=kind.__name__, **{
        name: plain(getattr(tuner, name)) for name in defaults(kind)
        if hasattr(tuner, name)})


def describe_backbone(cls: Optional[type],
                      given: Mapping[str, Any]) -> Dict[str, Any]:
    """The settings of a backbone that matter to a run, as plain data.

    Args:
        cls (type, optional): Its class, whose ``free`` settings are left
            out, as is the base: that one is known by its content.
        given (Mapping[str, Any]): What a config says; of the others it is
            the default, so that one which is added or removed is seen, and
            one that only spells the default out is none.
    """
    left_out = ('type', 'tuner', 'init_cfg', *getattr(cls, 'free', ()))
    known = {**defaults(cls), **given} if isinstance(cls, type) else given
    return {name: plain(value) for name, value in known.items()
            if name not in left_out}


def defaults(cls: type) -> Dict[str, Any]:
    """The arguments of a class and their defaults, inherited ones too.

    Args:
        cls (type): Where its ``__init__`` passes ``**kwargs`` on, those of
            the next class in the order of inheritance count as well.
    """
    found: Dict[str, Any] = {}
    for base in cls.__mro__:
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        for p in list(parameters)[1:]:  # the first is self
            if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD):
                found.setdefault(
                    p.name, None if p.default is p.empty else p.default)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def unlike(then: Mapping[str, Any], now: Mapping[str, Any], usual: Mapping[
        str, Any] = MappingProxyType({})) -> Dict[str, Tuple[Any, Any]]:
    """Where two descriptions differ: {name: (then, now)}.

    Args:
        then (Mapping[str, Any]): One of them.
        now (Mapping[str, Any]): The other.
        usual (Mapping[str, Any]): What a setting is that one of them does
            not know. Defaults to None for all.
    """
    pairs = {name: tuple(plain(side.get(name, usual.get(name)))
                         for side in (then, now))
             for name in sorted({*then, *now})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def tuner_differences(recorded: Mapping[str, Any], tuner) -> List[str]:
    """Say where a recorded tuner computes something else than this one.

    Arguments that act in training alone (:attr:`Tuner.free`) may differ, and
    one that a file does not know has its default.
    """
    own = describe_tuner(tuner)
    if recorded.get('type') != own['type']:
        return [_differ('tuner.type', recorded.get('type'), own['type'])]
    return [_differ(f'tuner.{name}', *values) for name, values in unlike(
        recorded, own, defaults(type(tuner))).items()
        if name not in tuner.free]


def differences(recorded: Mapping[str, Any],
                own: Mapping[str, Any]) -> List[str]:
    """Say where a recorded backbone differs from this one."""
    return [_differ(name, *values)
            for name, values in unlike(recorded, own).items()]


def remedy(record: Record, backbone) -> str:
    """The options with which a config would fit a checkpoint, as a sentence.

    Args:
        record (Record): What the checkpoint says about its backbone.
        backbone (nn.Module): The config's.

    Returns:
        str: To be appended to an error; empty if no options would do.
    """
    own, facts = backbone.facts(), record.backbone
    if own.get('family') != facts.get('family') or not all(
            _is_setting(value) and isinstance(value, type(own.get(key, value)))
            for key, value in facts.items()):
        return ''  # of another family, or by somebody else
    words, settings = _tuner_options(record.tuner, backbone.tuner)
    here = backbone.arguments(own)
    settings.update({
        key: value
        for key, value in backbone.arguments(facts).items()
        if plain(here.get(key)) != plain(value)
    })
    if settings:
        words += ['--cfg-options', *(
            f'model.backbone.{key}={_option(value)}'
            for key, value in settings.items())]
    told = shlex.join(words)
    return f'. It would fit with: {told}' if 0 < len(told) < 1000 else ''


def _tuner_options(recorded: Mapping[str, Any], tuner):
    """The ``--tuner``, if another one is needed, and settings on top."""
    words: List[str] = []
    before = describe_tuner(tuner)
    cls = type(tuner)
    if recorded.get('type') != before['type']:
        kind = recorded.get('type')
        fragments = {
            name: Config.fromfile(path).tuner
            for name, path in tuner_fragments().items()}
        name = next((name for name, tuner in fragments.items()
                     if name_of(tuner['type']) == kind), None)
        if name is None or kind not in known_tuners():  # of the user's own
            return [], {}
        words, before, cls = ['--tuner', name], fragments[name], (
            tuner_class(kind))
    usual = defaults(cls)
    return words, {
        f'tuner.{key}': recorded.get(key, usual[key])
        for key in unlike(recorded, before, usual)
        if key in usual and key not in cls.free
    }


def _is_setting(value: Any) -> bool:
    """Whether a value is one word, or a list of numbers."""
    if isinstance(value, list):
        return bool(value) and all(type(v) in (int, float) for v in value)
    return isinstance(value, (bool, int, float, str))


def _option(value: Any) -> str:
    """A value as ``--cfg-options`` reads it."""
    if isinstance(value, (list, tuple)):
        return f'[{",".join(map(_option, value))}]'
    return str(value)


def _differ(name: str, theirs: Any, ours: Any) -> str:
    return f'{name} is {theirs!r} in the checkpoint, {ours!r} in the model'


def plain(value: Any) -> Any:
    """A setting as JSON has it.

    The order of names does not matter anywhere.
    """
    if isinstance(value, dict):
        return {str(k): name_of(v) if k == 'type' else plain(v)
                for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        values = [plain(v) for v in value]
        names = values and all(isinstance(v, str) for v in values)
        return sorted(values) if names else values
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return name_of(value) if callable(value) else repr(value)
