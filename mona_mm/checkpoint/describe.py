"""Tuners and backbones as plain data, and where two of them differ."""
import inspect
from typing import Any, Dict, List, Mapping


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
