"""From names of methods, or from a config, to tuner configs."""
from typing import Dict, Optional, Sequence

from mmengine.config import Config
from mmengine.registry import MODELS

from mona_mm.backbones.tuned import lacking
from mona_mm.config import name_of, tuner_fragments
from mona_mm.errors import ConfigError
from mona_mm.tuners import build_tuner, known_tuners


def choose_tuners(names: Sequence[str],
                  family: Optional[type] = None) -> Dict[str, dict]:
    """Look up tuner configs by name.

    Args:
        names (Sequence[str]): Names in ``configs/_base_/tuners`` or
            registered names, in any case, with or without ``-``;
            ``['all']`` is every method.
        family (type, optional): The class of the backbone: of all methods,
            those that it has the sites for.

    Returns:
        dict[str, dict]: Tuner configs by name: the registered one, or where
        a file is another setting of a method, the file's.

    Raises:
        ConfigError: If a name is unknown; the message lists the known ones.
    """

    def letters(name: str) -> str:
        return name.lower().replace('-', '').replace('_', '')

    known = {}
    for stem, path in tuner_fragments().items():
        tuner = Config.fromfile(path).get('tuner').to_dict()
        kind = name_of(tuner['type'])
        known[kind if letters(kind) == letters(stem) else stem] = tuner
    for kind in known_tuners():
        known.setdefault(kind, dict(type=kind))
    known = dict(sorted(known.items()))
    if list(names) == ['all']:
        return {name: tuner for name, tuner in known.items()
                if family is None or not lacking(family, build_tuner(tuner))}
    found = {letters(name): name for name in known}
    unknown = [name for name in names if letters(name) not in found]
    if unknown or not names:
        raise ConfigError(
            f'unknown method {", ".join(unknown) or "(none given)"}; expected '
            f'of {", ".join(known)}, or all alone')
    return {found[letters(n)]: known[found[letters(n)]] for n in names}


def own_tuner(backbone: dict) -> Dict[str, dict]:
    """The tuner of a backbone's config, by its bare name.

    Args:
        backbone (dict): Where it names no tuner, its class has a default.
    """
    tuner = backbone.get('tuner') or MODELS.get(
        backbone['type']).default_tuner
    return {name_of(tuner['type']): dict(tuner)}
