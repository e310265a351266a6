"""From a method's name to its tuner config."""
from typing import Dict, List, Sequence

from mmengine.config import Config

from mona_mm.config import tuner_fragments
from mona_mm.errors import ConfigError
from mona_mm.tuners import known_tuners


def choose_tuners(names: Sequence[str]) -> Dict[str, dict]:
    """Look up tuner configs by name.

    Args:
        names (Sequence[str]): Names in ``configs/_base_/tuners`` or
            registered names, in any case, with or without ``-``;
            ``['all']`` is every method.

    Returns:
        dict[str, dict]: Tuner configs by name: the registered one, or where
        a file is another setting of a method, the file's.

    Raises:
        ConfigError: If a name is unknown; the message lists the known ones.
    """
    known = _known()
    if list(names) == ['all']:
        return known
    return {name: known[name] for name in _resolve(names, list(known))}


def _known() -> Dict[str, dict]:
    fragments = {}
    for stem, path in tuner_fragments().items():
        tuner = Config.fromfile(path).get('tuner').to_dict()
        kind = tuner['type'].removeprefix('mona_mm.')
        name = kind if _plain(kind) == _plain(stem) else stem
        fragments[name] = tuner
    for kind in known_tuners():
        fragments.setdefault(kind, dict(type=kind))
    return dict(sorted(fragments.items()))


def _resolve(names: Sequence[str], known: List[str]) -> List[str]:
    by_plain = {_plain(k): k for k in known}
    unknown = [n for n in names if _plain(n) not in by_plain]
    if unknown or not names:
        raise ConfigError(
            f'unknown method {", ".join(unknown) or "(none given)"}; expected '
            f'of {", ".join(known)}, or all alone')
    return list(dict.fromkeys(by_plain[_plain(n)] for n in names))


def _plain(name: str) -> str:
    return name.lower().replace('-', '').replace('_', '')
