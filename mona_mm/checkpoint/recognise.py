"""Which tuner a checkpoint belongs to, found from the names in it."""
import re
from typing import Dict, Iterator, List, Optional, Tuple

import torch
from torch import nn

from mona_mm.tuners import Tuner, build_tuner, known_tuners

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
_QKV = 'attn.w_msa.qkv.'
_BLOCK = re.compile(r'(stages\.\d+\.blocks\.\d+)\.(.+)')


def recognise(state: StateDict) -> Tuple[Optional[Tuner], Dict[str, str]]:
    """Find the tuner that places most, and {key: our name} with it."""
    foreign = [k for k in state if not PLAIN.fullmatch(k)]
    best, most = None, 0
    for tuner in map(_default, known_tuners()):
        known = inserted(tuner)
        names = (inner_name(rename_path(k, tuner.released_names))
                 for k in foreign)
        placed = [n for n in names if n in known]
        if len(placed) > most and _fills(tuner, placed):
            best, most = tuner, len(placed)
    names = {k: k for k in state}
    if best:
        names.update((k, rename_path(k, best.released_names))
                     for k in foreign)
    return best, names


def _default(name: str) -> Tuner:
    return build_tuner(dict(type=name))


def inserted(tuner: Tuner) -> set:
    """Names within a block of what a tuner inserts."""
    return {_normalised(n) for s in tuner.sites for n in _at(tuner, s)}


def _at(tuner: Tuner, site: str) -> Iterator[str]:
    with torch.device('meta'):
        if site == 'qkv':
            names = tuner.adapt_qkv(nn.Linear(8, 24)).state_dict()
            return (_QKV + n for n in names if n not in ('weight', 'bias'))
        return (f'{site}.{n}' for n in tuner.build(site, 8).state_dict())


def _fills(tuner: Tuner, names: List[str]) -> bool:
    paths = tuple(_QKV if s == 'qkv' else f'{s}.' for s in tuner.sites)
    return all(any(n.startswith(p) for n in names) for p in paths)


def inner_name(key: str) -> Optional[str]:
    """A key's name within its block; None outside the blocks."""
    match = _BLOCK.fullmatch(key)
    return _normalised(match[2]) if match else None


def _normalised(name: str) -> str:
    """Forget which of Mona's filters it is: a config chooses their number."""
    return re.sub(r'(\.adapter_conv\.conv)\d+', r'\1', name)
