"""Whole checkpoints from one key layout to another.

microsoft, ...    the layouts of the families, see :class:`.layouts.Names`
mona              the paper's release: a family's names in the code that it
                  builds on, and in the blocks ``my_module_1``,
                  ``my_module_2`` or ``attn.qkv.lora_A``
star              STAR-MMRotate: OpenMMLab's names, and in the blocks
                  ``mona1``, ``adapter2``, ``lorand1`` or ``adapter``
hst, ...          other code of a method: a family's names, and the method's
                  ``foreign_names``
mm                ours: OpenMMLab's names, and the tuner's sites in the blocks
"""
import re
from collections import Counter, defaultdict
from typing import Dict, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from mona_mm.errors import CheckpointError
from mona_mm.text import some
from mona_mm.tuners import Tuner, known_tuners
from mona_mm.tuners.base import tuner_class

from .files import check_not_itself, write_checkpoint
from .io import read_checkpoint
from .layouts import (
    Names,
    StateDict,
    all_names,
    below,
    recognise_family,
    rename_keys,
    rename_path,
    unwrap,
)
from .recognise import inner_name, inserted, recognise
from .record import needs_base

TARGETS = ('mm', 'mona')

#: The release's modules, and STAR-MMRotate's, in a block.
_OF_RELEASE = re.compile(r'(.+\.)?(my_module_\d\..+|lora_[AB])')
_STAR = re.compile(r'^(?:my_module|mona|adapter|lorand)_?([12]?)\.')
_FACTOR = re.compile(r'(.+)\.param_dict\.([AgB])(\d+)')
_FACTORS = {'A': 'left', 'g': 'kernel', 'B': 'right'}
#: LoRand is not in the release; STAR-MMRotate calls its parts like Adapter's.
_LORAND = {
    'my_module_1': 'attn_out',
    'my_module_2': 'ffn_out',
    'project1': 'down_proj',
    'project2': 'up_proj',
}


def sources() -> Dict[str, Tuple[str, ...]]:
    """What ``--from`` takes: {layout: those that a file may look to be in}.

    The methods that insert nothing leave no trace in the names.
    """
    found = dict(mona=('mona', ), star=('star', 'mm'),
                 **{name: (name, ) for name in _foreign()})
    for names in all_names():
        if names.release:
            found['mona'] += (names.release.name, )
        for layout in names.layouts:
            # A layout that refines another one looks like it in old files.
            found[layout.name] = (*found.get(layout.name, ()), *(
                one.name for one in (layout, *names.layouts)
                if isinstance(layout, type(one))))
    return found


def _foreign() -> Dict[str, type]:
    """Tuners by the code, other than the release, that names them."""
    return {cls.foreign_source: cls for cls in map(
        tuner_class, known_tuners()) if cls.foreign_source != 'mona'}


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
        kinds = Counter(re.sub(r'\d+', '*', k) for k in self.dropped)
        dropped = some([k if n == 1 else f'{k} x {n}'
                        for k, n in kinds.items()], 20)
        return (f'{self.layout} layout, tuner {self.tuner}: '
                f'{self.converted} tensors converted, {self.passed} outside '
                f'the backbone passed through, {len(self.dropped)} dropped '
                f'({dropped})')


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
    ``head`` is dropped, and its final norm is named as in OpenMMLab's own
    conversions. Computed buffers are always dropped; those that the release
    registers are computed anew.

    Args:
        state (dict[str, Tensor]): Of a whole model or a backbone.
        layout (str): A key of :func:`sources`, or ``'auto'``.
        target (str): One of :data:`TARGETS`.

    Raises:
        CheckpointError: If the layout is another one, or tensors cannot be
            placed or are missing; the message names them.
    """
    prefix = 'backbone.' if any(
        k.startswith('backbone.') for k in state) else ''
    outside = {k: v for k, v in state.items() if not k.startswith(prefix)}
    given = below(state, prefix)
    found = recognise_family(given)
    if found is None:
        raise CheckpointError(
            'no backbone in it of a family whose names are known '
            f'({", ".join(one.family for one in all_names())}): its keys '
            f'start with {sorted({k.split(".")[0] for k in given})[:8]}')
    names, known, _ = found
    dropped = [k for k in given if k.endswith(names.derived)]
    inside = {k: v for k, v in given.items() if k not in set(dropped)}

    tensors = known.to_mm(inside) if known else inside
    own = {id(v): k for k, v in inside.items()}
    heads = [k for k in tensors
             if not outside and k.startswith(names.heads)]
    dropped += [own.get(id(tensors[k]), k) for k in heads]
    if not outside:
        tensors = names.place_final_norm(
            {k: v for k, v in tensors.items() if k not in set(heads)})
    layout = _check_layout(tensors, names, known.name if known else 'mm',
                           layout)
    tuner, tensors = _ours(tensors, own, names)
    if target == 'mona':
        made = {k.split('.')[-1] for k in names.buffers(tensors)}
        dropped = [k for k in dropped if k.split('.')[-1] not in made]
        tensors = _to_release(tensors, tuner, layout, names)
    tensors = {prefix + k: v for k, v in tensors.items()}
    return Conversion({**tensors, **outside}, layout, _name(tuner),
                      len(inside) - len(heads), len(outside),
                      tuple(prefix + k for k in dropped))


def _check_layout(state: StateDict, names: Names, found: str,
                  asked: str) -> str:
    """The layout, told more closely by what is in the blocks."""
    inner = [m[2] for m in map(names.block.fullmatch, state) if m]
    if found == 'mm':
        found = 'star' if any(map(_STAR.match, inner)) else 'mm'
    elif any(map(_OF_RELEASE.fullmatch, inner)):
        found = 'mona'
    else:
        found = next((name for name, cls in _foreign().items() if any(
            k != rename_path(k, cls.foreign_names) for k in state)), found)
    if asked == 'auto':
        return found
    if found not in sources()[asked]:
        raise CheckpointError(f'the file is in the layout {found!r}, not '
                              f'{asked!r}, by its keys')
    return asked


def _ours(state: StateDict, given: Dict[int, str],
          names: Names) -> Tuple[Optional[Tuner], StateDict]:
    """Find the tuner, give all our names, and check that nothing lacks.

    Args:
        state (dict[str, Tensor]): Under mm names.
        given (dict[int, str]): The file's own name of each tensor, by id.
        names (Names): Those of the family.
    """

    def like_release(key: str) -> str:
        """STAR-MMRotate's modules, called like the release's."""
        match = names.block.fullmatch(key)
        return key if match is None else f'{match[1]}.' + _STAR.sub(
            lambda m: f'my_module_{m[1] or 1}.', match[2], count=1)

    state = _gather_factors(rename_keys(state, like_release))
    tuner, renamed = recognise(state, names)
    known = inserted(tuner, names) if tuner else set()
    beside = ('side.', ) if tuner and 'side' in tuner.sites else ()
    unplaced = [
        given.get(id(state[k]), k) for k, name in renamed.items()
        if not names.plain.fullmatch(name) and not name.startswith(beside)
        and inner_name(name, names) not in known
    ]
    if unplaced:
        raise CheckpointError(
            f'{len(unplaced)} tensors have no place in a {names.family} '
            f'(tuner recognised: {_name(tuner)}): {some(unplaced, 40)}')
    if missing := names.missing(renamed.values()):
        raise CheckpointError(
            f'{len(missing)} tensors are missing which other blocks have, in '
            f"OpenMMLab's names: {some(missing, 40)}")
    return tuner, {renamed[k]: v for k, v in state.items()}


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


def _to_release(state: StateDict, tuner: Optional[Tuner], layout: str,
              names: Names) -> StateDict:
    """Give a backbone the release's names."""
    if layout == 'star':
        raise CheckpointError('a STAR-MMRotate file cannot be written in the '
                              "release's layout; convert it --to mm")
    if names.release is None:
        raise CheckpointError(f'the release has no {names.family}')
    renames = {v: k for k, v in tuner.foreign_names.items()} if tuner else {}
    if tuner and set(tuner.sites) - set(names.linears) - set(renames):
        raise CheckpointError(
            f'{type(tuner).__name__} is not in the release, so its layout '
            'has no names for it')
    return names.release.from_mm({**{
        k if names.plain.fullmatch(k) else rename_path(k, renames): v
        for k, v in state.items()
    }, **names.buffers(state)})
