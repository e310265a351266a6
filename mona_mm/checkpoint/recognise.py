"""Which tuner a checkpoint belongs to, found from the names in it."""
import re
from typing import Dict, Iterator, Optional, Tuple

import torch
from torch import nn

from mona_mm.tuners import LINEARS, Facts, Tuner, build_tuner, known_tuners

from .layouts import Names, StateDict, rename_path


def recognise(state: StateDict, names: Names
              ) -> Tuple[Optional[Tuner], Dict[str, str]]:
    """Find the tuner that places most, and {key: our name} with it.

    Args:
        state (dict[str, Tensor]): Of a backbone, in mm's names.
        names (Names): Those of its family.
    """
    foreign = [k for k in state if not names.plain.fullmatch(k)]
    best, most = None, (0, 0)
    for tuner in map(_default, known_tuners()):
        known = inserted(tuner, names)
        inner = (inner_name(rename_path(k, tuner.foreign_names), names)
                 for k in foreign)
        placed = [n for n in inner if n in known]
        paths = [f'{names.linears.get(s, s)}.' for s in tuner.sites
                 if s != 'side']
        # Of two that place as much, the one that lacks less (LoRA's names
        # are DoRA's, too).
        rank = len(placed), -len(known - set(placed))
        if placed and rank > most and all(
                any(n.startswith(path) for n in placed) for path in paths):
            best, most = tuner, rank
    found = {k: k for k in state}
    if best:
        found.update((k, rename_path(k, best.foreign_names))
                     for k in foreign)
    return best, found


def _default(name: str) -> Tuner:
    tuner = build_tuner(dict(type=name))
    tuner.start(Facts(depth=12, patch_size=4, norms=(nn.LayerNorm, )))
    return tuner


def inserted(tuner: Tuner, names: Names) -> set:
    """Names within a block of what a tuner inserts."""
    return {_normalised(n) for s in tuner.sites
            for n in _inserted_at(tuner, s, names)}


def _inserted_at(tuner: Tuner, site: str, names: Names) -> Iterator[str]:
    with torch.device('meta'):
        if site in LINEARS:
            made = tuner.adapt(site, nn.Linear(8, 24))
        elif site == 'side':  # outside of the blocks
            return
        else:
            made = tuner.tokens(8) if site == 'tokens' else tuner.build(
                site, 8)
    for name in made.state_dict():
        if site not in LINEARS or name not in ('weight', 'bias'):
            yield f'{names.linears.get(site, site)}.{name}'


def inner_name(key: str, names: Names) -> Optional[str]:
    """A key's name within its block; None outside the blocks."""
    match = names.block.fullmatch(key)
    return _normalised(match[2]) if match else None


def _normalised(name: str) -> str:
    """Forget which of Mona's filters it is: a config chooses their number."""
    return re.sub(r'(\.adapter_conv\.conv)\d+', r'\1', name)
