"""Whole checkpoints from one key layout to another.

microsoft, timm   see :mod:`.layouts`
mona              the paper's release: Microsoft's names, and in the blocks
                  ``my_module_1``, ``my_module_2`` or ``attn.qkv.lora_A``
star              STAR-MMRotate: OpenMMLab's names, and in the blocks
                  ``mona1``, ``adapter2``, ``lorand1`` or ``adapter``
mm                ours: OpenMMLab's names, and the tuner's sites in the blocks
"""
import re
from collections import Counter, defaultdict
from typing import Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from mona_mm.errors import CheckpointError
from mona_mm.text import some
from mona_mm.tuners import LINEARS, Tuner

from .files import check_not_itself, write_checkpoint
from .io import read_checkpoint
from .layouts import (
    StateDict,
    from_mm,
    layout_of,
    rename_keys,
    rename_path,
    to_mm,
    unwrap,
)
from .recognise import PLAIN, inner_name, inserted, recognise
from .record import needs_base

#: Layouts that a file may be in, and what ``--from`` accepts for each: the
#: methods that insert nothing leave no trace in the names.
SOURCES = {
    'microsoft': ('microsoft', ),
    'timm': ('timm', 'microsoft'),
    'mona': ('mona', 'microsoft'),
    'star': ('star', 'mm'),
}
TARGETS = ('mm', 'mona')

_INDEX, _TABLE = 'relative_position_index', 'relative_position_bias_table'
_DERIVED = (_INDEX, 'attn_mask')
_STAGE = re.compile(r'stages\.(\d+)\.')
_STAR = re.compile(r'(stages\.\d+\.blocks\.\d+)\.'
                   r'(?:my_module|mona|adapter|lorand)_?([12]?)\.')
_FACTOR = re.compile(r'(.+)\.param_dict\.([AgB])(\d+)')
_FACTORS = {'A': 'left', 'g': 'kernel', 'B': 'right'}
#: LoRand is not in the release; STAR-MMRotate calls its parts like Adapter's.
_LORAND = {
    'my_module_1': 'attn_out',
    'my_module_2': 'ffn_out',
    'project1': 'down_proj',
    'project2': 'up_proj',
}


class Conversion(NamedTuple):
    """A converted state dict, and what became of its tensors.

    Attributes:
        tensors (dict[str, Tensor]): The whole model's, or the backbone's.
        layout (str): The layout that was found.
        tuner (str): Name of the tuner that was recognised, or ``'none'``.
        converted (int): How many tensors of the backbone were taken over.
        passed (int): How many outside the backbone were left as they are.
        dropped (tuple[str, ...]): Keys that are left out.
    """
    tensors: StateDict
    layout: str
    tuner: str
    converted: int
    passed: int
    dropped: Tuple[str, ...]

    def __str__(self) -> str:
        dropped = some(_counted(self.dropped), 20)
        return (f'{self.layout} layout, tuner {self.tuner}: '
                f'{self.converted} tensors converted, {self.passed} outside '
                f'the backbone passed through, {len(self.dropped)} dropped '
                f'({dropped})')


class _Found(NamedTuple):
    """A backbone under our names."""
    tensors: StateDict
    layout: str
    tuner: Optional[Tuner]


def convert_file(source: str,
                 out: str,
                 layout: str = 'auto',
                 target: str = 'mm') -> Conversion:
    """Convert a checkpoint file; nothing is written if that fails.

    Args:
        source (str): A path or URL.
        out (str): The file to write: ``dict(state_dict=...)``, with the
            ``meta`` of the source if it has one.
        layout (str): See :func:`convert`.
        target (str): See :func:`convert`.

    Raises:
        CheckpointError: If the source cannot be read or converted, or the
            file not be written.
    """
    check_not_itself(source, out)
    content = read_checkpoint(source)
    if base := needs_base(content.get('state_dict')):
        raise CheckpointError(
            f'{source} is a delta checkpoint, without its base {base.source}:'
            ' write both as one file first, with tools/merge_delta.py')
    try:
        result = convert(unwrap(content, source), layout, target)
    except CheckpointError as error:
        raise CheckpointError(f'{source}: {error}') from error
    written = dict(state_dict=result.tensors)
    if isinstance(content.get('meta'), dict):
        written['meta'] = content['meta']
    write_checkpoint(written, out)
    return result


def convert(state: StateDict,
            layout: str = 'auto',
            target: str = 'mm') -> Conversion:
    """Convert a state dict.

    Of a whole model (with ``backbone.`` in its keys) everything outside the
    backbone passes through unchanged. Of a backbone alone the classifier's
    ``head`` is dropped, and its final ``norm`` becomes the last stage's, as
    in OpenMMLab's own conversions. Computed buffers are always dropped; the
    release's ``relative_position_index`` is computed anew.

    Args:
        state (dict[str, Tensor]): Of a whole model or a backbone.
        layout (str): A key of :data:`SOURCES`, or ``'auto'``.
        target (str): One of :data:`TARGETS`.

    Raises:
        CheckpointError: If the layout is another one, or tensors cannot be
            placed or are missing; the message names them.
    """
    prefix = 'backbone.' if any(
        k.startswith('backbone.') for k in state) else ''
    outside = {k: v for k, v in state.items() if not k.startswith(prefix)}
    inside = {
        k[len(prefix):]: v
        for k, v in state.items() if k.startswith(prefix)
    }
    inside, dropped = _drop(inside, whole=bool(outside))
    found = _find(inside, layout, whole=bool(outside))
    tensors = found.tensors
    if target == 'mona':
        tensors = _to_mona(found)
        dropped = [k for k in dropped if not k.endswith(_INDEX)]
    tensors = {prefix + k: v for k, v in tensors.items()}
    return Conversion({**tensors, **outside}, found.layout,
                      _name(found.tuner), len(inside), len(outside),
                      tuple(prefix + k for k in dropped))


def _drop(state: StateDict, whole: bool) -> Tuple[StateDict, List[str]]:
    """Split off what no backbone holds, and what it computes itself."""
    dropped = [
        k for k in state
        if k.endswith(_DERIVED) or (not whole and k.startswith('head.'))
    ]
    gone = set(dropped)
    return {k: v for k, v in state.items() if k not in gone}, dropped


def _find(state: StateDict, asked: str, whole: bool) -> _Found:
    """Bring a backbone under our names, and check that all of it is there."""
    layout = _check_layout(state, asked)
    given = {id(v): k for k, v in state.items()}
    state = to_mm(state, layout_of(state))
    if not whole:
        state = _number_final_norm(state)
    state = _gather_factors(_rename_star(state))
    tuner, renamed = recognise(state)
    known = inserted(tuner) if tuner else set()
    unplaced = [
        given.get(id(state[k]), k) for k, name in renamed.items()
        if not PLAIN.fullmatch(name) and inner_name(name) not in known
    ]
    if unplaced:
        raise CheckpointError(
            f'{len(unplaced)} tensors have no place in a Swin Transformer '
            f'(tuner recognised: {_name(tuner)}): {some(unplaced, 40)}')
    if missing := _missing(renamed.values()):
        raise CheckpointError(
            f'{len(missing)} tensors are missing which other blocks have, in '
            f"OpenMMLab's names: {some(missing, 40)}")
    tensors = {renamed[k]: v for k, v in state.items()}
    return _Found(tensors, layout, tuner)


def _check_layout(state: StateDict, asked: str) -> str:
    found = layout_of(state)
    if found == 'mm':
        if not any(map(_STAGE.match, state)):
            raise CheckpointError(
                'no Swin Transformer in it: no key starts with layers. or '
                f'stages.; they start with {_roots(state)}')
        found = 'star' if any(map(_STAR.match, state)) else 'mm'
    elif any(re.search(r'\.my_module_\d|\.lora_[AB]$', k) for k in state):
        found = 'mona'
    if asked == 'auto':
        return found
    if found not in SOURCES[asked]:
        raise CheckpointError(f'the file is in the layout {found!r}, not '
                              f'{asked!r}, by its keys')
    return asked


def _number_final_norm(state: StateDict) -> StateDict:
    own = f'norm{max(int(m[1]) for m in map(_STAGE.match, state) if m)}.'
    if any(k.startswith(own) for k in state):
        return state
    return rename_keys(state, lambda k: re.sub(r'^norm\.', own, k))


def _rename_star(state: StateDict) -> StateDict:
    """Call STAR-MMRotate's modules like the release's."""
    return rename_keys(
        state, lambda k: _STAR.sub(
            lambda m: f'{m[1]}.my_module_{m[2] or 1}.', k))


def _gather_factors(state: StateDict) -> StateDict:
    """Stack the factors of LoRand's branches, as ours holds them.

    ``project1.param_dict.A0``, ``A1``, ... become ``down_proj.left``.
    """
    branches: Dict[str, Dict[int, Tensor]] = defaultdict(dict)
    rest = {}
    for key, value in state.items():
        if match := _FACTOR.fullmatch(key):
            name = rename_path(f'{match[1]}.{_FACTORS[match[2]]}', _LORAND)
            branches[name][int(match[3])] = value
        else:
            rest[key] = value
    if not branches:
        return state
    count = max(len(b) for b in branches.values())
    for name, found in branches.items():
        if sorted(found) != list(range(count)):
            raise CheckpointError(
                f'{name}: expected the branches 0 to {count - 1}, but the '
                f'file has {sorted(found)}')
        rest[name] = torch.stack([found[i] for i in range(count)])
    return {rename_path(k, _LORAND): v for k, v in rest.items()}


def _name(tuner: Optional[Tuner]) -> str:
    return type(tuner).__name__ if tuner else 'none'


def _missing(names) -> List[str]:
    """What some blocks, or some patch mergings, have and others lack."""
    parts: Dict[str, set] = defaultdict(set)
    for name in names:
        if m := re.match(r'(stages\.\d+\.(?:blocks\.\d+|downsample))\.(.+)',
                         name):
            parts[m[1]].add(m[2])
    stages = sorted({int(p.split('.')[1]) for p in parts})
    if any(p.endswith('downsample') for p in parts):
        parts.update({p: parts[p] for p in
                      (f'stages.{i}.downsample' for i in stages[:-1])})
    missing = []
    for kind in ('blocks', 'downsample'):
        same = {p: own for p, own in parts.items() if f'.{kind}' in p}
        every = set().union(*same.values())
        missing += [f'{p}.{n}' for p, own in same.items()
                    for n in sorted(every - own)]
    return missing


def _to_mona(found: _Found) -> StateDict:
    """Give a backbone the release's names."""
    tuner = found.tuner
    if found.layout == 'star':
        raise CheckpointError('a STAR-MMRotate file cannot be written in the '
                              "release's layout; convert it --to mm")
    renames = {v: k for k, v in tuner.foreign_names.items()} if tuner else {}
    if tuner and set(tuner.sites) - set(LINEARS) - set(renames):
        raise CheckpointError(
            f'{type(tuner).__name__} is not in the release, so its layout '
            'has no names for it')
    tensors = from_mm({
        k if PLAIN.fullmatch(k) else rename_path(k, renames): v
        for k, v in found.tensors.items()
    })
    tensors.update({
        k.replace(_TABLE, _INDEX): _position_index(v)
        for k, v in tensors.items() if k.endswith(_TABLE)
    })
    return tensors


def _position_index(table: Tensor) -> Tensor:
    """Compute which row of a bias table each pair of positions uses.

    Args:
        table (Tensor): ((2 w - 1)^2, heads) of a window of side w.

    Returns:
        Tensor: (w * w, w * w), as the release registers it.
    """
    span = round(len(table)**0.5)
    side = (span + 1) // 2
    at = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    apart = at[:, None] - at[None] + side - 1
    return apart[..., 0] * span + apart[..., 1]


def _counted(keys: Tuple[str, ...]) -> List[str]:
    """Names for a message; computed buffers are counted by kind."""
    kinds = Counter(k.split('.')[-1] for k in keys if k.endswith(_DERIVED))
    rest = [k for k in keys if not k.endswith(_DERIVED)]
    return [f'{kind} x {n}' for kind, n in kinds.items()] + rest


def _roots(state: StateDict) -> List[str]:
    return sorted({k.split('.')[0] for k in state})[:8]
