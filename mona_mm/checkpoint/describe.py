"""Tuners and backbones as plain data, and where two of them differ."""
import inspect
import shlex
from typing import TYPE_CHECKING, Any, Dict, List, Mapping

from mmengine.config import Config

from mona_mm.config import name_of, tuner_fragments

if TYPE_CHECKING:
    from .record import Record


def describe_tuner(tuner) -> Dict[str, Any]:
    """A tuner's type and arguments, as plain data."""
    return dict(
        type=type(tuner).__name__,
        **{
            name: _plain(getattr(tuner, name))
            for name in inspect.signature(type(tuner)).parameters
            if hasattr(tuner, name)
        })


def tuner_differences(recorded: Mapping[str, Any], tuner) -> List[str]:
    """Say where a recorded tuner computes something else than this one.

    Arguments that act in training alone (:attr:`Tuner.free`) may differ, and
    one that a file does not know has its default.
    """
    own = describe_tuner(tuner)
    if recorded.get('type') != own['type']:
        return [_differ('tuner.type', recorded.get('type'), own['type'])]
    parameters = inspect.signature(type(tuner)).parameters
    defaults = {k: _plain(p.default) for k, p in parameters.items()}
    return [
        _differ(f'tuner.{name}', *values) for name, values in
        ((n, (_plain(recorded.get(n, defaults.get(n))),
              own.get(n, defaults.get(n))))
         for n in sorted({*recorded, *own} - set(tuner.free)))
        if values[0] != values[1]
    ]


def differences(recorded: Mapping[str, Any],
                own: Mapping[str, Any]) -> List[str]:
    """Say where a recorded backbone differs from this one."""
    return [
        _differ(name, recorded.get(name), _plain(own.get(name)))
        for name in sorted({*recorded, *own})
        if _plain(recorded.get(name)) != _plain(own.get(name))
    ]


def remedy(record: 'Record', backbone) -> str:
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
        if _plain(here.get(key)) != _plain(value)
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
        name, before, cls = _fragment(recorded.get('type'))
        if name is None:  # a tuner of the user's own
            return [], {}
        words = ['--tuner', name]
    parameters = inspect.signature(cls).parameters
    return words, {
        f'tuner.{key}': recorded.get(key, parameters[key].default)
        for key in parameters
        if key not in cls.free and _plain(recorded.get(
            key, parameters[key].default)) != _plain(
                before.get(key, parameters[key].default))
    }


def _fragment(kind: Any):
    """Name, settings and class of the fragment of a registered tuner."""
    from mona_mm.tuners.base import known_tuners, tuner_class
    for name, path in tuner_fragments().items():
        tuner = Config.fromfile(path).get('tuner')
        if name_of(tuner['type']) == kind and kind in known_tuners():
            return name, tuner, tuner_class(kind)
    return None, {}, None


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


def _plain(value: Any) -> Any:
    """As JSON has it; the order of names does not matter anywhere."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        values = [_plain(v) for v in value]
        names = values and all(isinstance(v, str) for v in values)
        return sorted(values) if names else values
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)
