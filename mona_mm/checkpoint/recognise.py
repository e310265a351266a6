"""Which tuner a checkpoint belongs to, found from the names in it."""
import re
from typing import Dict, Iterator, List, Optional, Tuple

import torch
from torch import nn

from mona_mm.tuners import LINEARS, Facts, Tuner, build_tuner, known_tuners

from .layouts import StateDict, rename_path

#: Names of a plain Swin in mm layout.
PLAIN = re.compile(
    r'patch_embed\.(projection|norm)\.(weight|bias)'
    r'|norm\d+\.(weight|bias)'
    r'|stages\.\d+\.downsample\.(norm\.(weight|bias)|reduction\.weight)'
    r'|stages\.\d+\.blocks\.\d+\.('
    r'norm[12]\.(weight|bias)'
    r'|attn\.w_msa\.((qkv|proj)\.(weight|bias)|relative_position_bias_table)'
    r'|ffn\.layers\.(0\.0|1)\.(weight|bias))')
_LINEARS = dict(
    qkv='attn.w_msa.qkv.', proj='attn.w_msa.proj.', fc1='ffn.layers.0.0.',
    fc2='ffn.layers.1.')
_BLOCK = re.compile(r'(stages\.\d+\.blocks\.\d+)\.(.+)')


def recognise(state: StateDict) -> Tuple[Optional[Tuner], Dict[str, str]]:
    """Find the tuner that places most, and {key: our name} with it."""
    foreign = [k for k in state if not PLAIN.fullmatch(k)]
    best, most = None, 0
    for tuner in map(_default, known_tuners()):
        known = inserted(tuner)
        names = (inner_name(rename_path(k, tuner.foreign_names))
                 for k in foreign)
        placed = [n for n in names if n in known]
        if len(placed) > most and _fills(tuner, placed):
            best, most = tuner, len(placed)
    names = {k: k for k in state}
    if best:
        names.update((k, rename_path(k, best.foreign_names))
                     for k in foreign)
    return best, names


def _default(name: str) -> Tuner:
    tuner = build_tuner(dict(type=name))
    tuner.start(Facts(depth=12, patch_size=4, norms=(nn.LayerNorm, )))
    return tuner


def inserted(tuner: Tuner) -> set:
    """Names within a block of what a tuner inserts."""
    return {_normalised(n) for s in tuner.sites for n in _at(tuner, s)}


def _at(tuner: Tuner, site: str) -> Iterator[str]:
    with torch.device('meta'):
        if site in LINEARS:
            names = tuner.adapt(site, nn.Linear(8, 24)).state_dict()
            return (_LINEARS[site] + n for n in names
                    if n not in ('weight', 'bias'))
        if site == 'side':  # outside of the blocks
            return iter(())
        made = tuner.tokens(8) if site == 'tokens' else tuner.build(site, 8)
        return (f'{site}.{n}' for n in made.state_dict())


def _fills(tuner: Tuner, names: List[str]) -> bool:
    paths = tuple(_LINEARS.get(s, f'{s}.') for s in tuner.sites
                  if s != 'side')
    return all(any(n.startswith(p) for n in names) for p in paths)


def inner_name(key: str) -> Optional[str]:
    """A key's name within its block; None outside the blocks."""
    match = _BLOCK.fullmatch(key)
    return _normalised(match[2]) if match else None


def _normalised(name: str) -> str:
    """Forget which of Mona's filters it is: a config chooses their number."""
    return re.sub(r'(\.adapter_conv\.conv)\d+', r'\1', name)
