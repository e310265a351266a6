"""Key layouts of checkpoints, mapped to OpenMMLab's.

The layouts themselves belong to the backbone families, which register them;
here is what all have in common.
"""
import re
from contextlib import suppress
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

from torch import Tensor

from mona_mm.errors import CheckpointError
from mona_mm.registry import LAYOUTS

StateDict = Dict[str, Tensor]
#: (pattern, replacement), as ``re.sub`` takes them.
Rules = Tuple[Tuple[str, Union[str, Callable[['re.Match[str]'], str]]], ...]


class Layout:
    """How a code base names the tensors of one backbone family."""

    #: What messages and ``convert_checkpoint --from`` call it.
    name = ''
    #: A regular expression of keys that no other layout has.
    mark = ''
    #: (pattern, replacement) in turn, from its names to mm's.
    rules: Rules = ()
    #: The same from mm's names; none if nobody has written that.
    back: Rules = ()

    def knows(self, keys: Iterable[str]) -> bool:
        """Whether a backbone's keys, without prefix, are in this layout."""
        return any(re.search(self.mark, key) for key in keys)

    def to_mm(self, state: StateDict) -> StateDict:
        """Give a backbone's tensors the names and the form of mm's.

        Raises:
            CheckpointError: If that cannot be done, as when two tensors would
                get the same name.
        """
        return rename_keys(state, lambda key: substitute(key, self.rules))

    def from_mm(self, state: StateDict) -> Optional[StateDict]:
        """Undo :meth:`to_mm`; None if nobody has written that."""
        return {substitute(k, self.back): v
                for k, v in state.items()} if self.back else None


class Names:
    """A family's names, for who converts files without building a backbone.

    A family registers its own in ``LAYOUTS``. All names are mm's, without
    the prefix of the backbone.
    """

    #: What messages call the family.
    family = ''
    #: The file layouts besides mm's; the first that knows the keys counts.
    layouts: Tuple[Layout, ...] = ()
    #: The layout in which the code that the paper released names the base.
    release: Optional[Layout] = None
    #: Matches the pretrained tensors, in full.
    plain: 're.Pattern[str]'
    #: Matches a tensor in a block: path of the block, name within it.
    block: 're.Pattern[str]'
    #: Where the linears are that tuners adapt: {site: path in the block}.
    linears: Dict[str, str] = {}
    #: Endings of buffers that are computed, not learnt.
    derived: Tuple[str, ...] = ()
    #: Whether output norms have the number of their stage, which is the
    #: first number in the name of a block.
    numbered = False
    #: Beginnings of what pretrained files hold beside the backbone.
    heads: Tuple[str, ...] = ('head.', )

    def place_final_norm(self, state: StateDict) -> StateDict:
        """Name a classifier's final norm as the mm libraries' files do.

        With :attr:`numbered` it is called after the last stage: ``norm3``.
        """
        if not self.numbered:
            return state
        stages = [int(re.search(r'\d+', m[1])[0])
                  for m in map(self.block.fullmatch, state) if m]
        own = f'norm{max(stages)}.'
        if any(k.startswith(own) for k in state):
            return state
        return rename_keys(state, lambda k: re.sub(r'^norm\.', own, k))

    def missing(self, names: Iterable[str]) -> List[str]:
        """What some blocks have and others lack."""
        return uneven(filter(None, map(self.block.fullmatch, names)))

    def buffers(self, state: StateDict) -> StateDict:
        """The computed buffers that :attr:`release` expects in a file."""
        return {}


def all_names() -> List[Names]:
    """The names of all families."""
    LAYOUTS.import_from_location()
    return [cls() for cls in LAYOUTS.module_dict.values()]


def recognise_family(state: StateDict
                     ) -> Optional[Tuple[Names, Optional[Layout], StateDict]]:
    """Find the family, and its layout, that places most of a backbone.

    One key alone tells little: several families have ``stages.0.blocks``.

    Args:
        state (dict[str, Tensor]): Of a backbone, without prefix.

    Returns:
        tuple, optional: The family's names, the layout (None: mm's) and the
        tensors under mm names; None if nobody knows any of them.

    Raises:
        CheckpointError: If that layout cannot read the tensors.
    """
    best, most, failed = None, 0, None
    for names in all_names():
        for layout in (None, *names.layouts):
            if not (layout.knows(state) if layout else any(
                    map(names.block.fullmatch, state))):
                continue
            error, placed = None, state
            try:
                placed = layout.to_mm(state) if layout else state
            except CheckpointError as caught:
                error, placed = caught, {}
                for key, value in state.items():  # what it is for all that
                    with suppress(CheckpointError):
                        placed.update(layout.to_mm({key: value}))
            fitting = sum(map(bool, map(names.plain.fullmatch, placed)))
            if fitting > most:
                best, most, failed = (names, layout, placed), fitting, error
    if failed is not None:
        raise failed
    return best


def uneven(matches: Iterable['re.Match[str]'],
           parts: Iterable[str] = ()) -> List[str]:
    """What some of the like parts of a backbone have and others lack.

    Args:
        matches (Iterable[re.Match]): Of names: the part, the name within it.
        parts (Iterable[str]): Further parts that there must be.
    """
    found: Dict[str, Set[str]] = {part: set() for part in parts}
    for match in matches:
        found.setdefault(match[1], set()).add(match[2])
    every = set().union(*found.values())
    return [f'{part}.{name}' for part, own in found.items()
            for name in sorted(every - own)]


class BaseState(NamedTuple):
    """A backbone's tensors under mm names.

    Attributes:
        tensors (dict[str, Tensor]): Without the ``backbone.`` prefix.
        layout (str): The name of the file's layout, or ``'mm'``.
        left (tuple[str, ...]): Keys outside the backbone (heads), left out.
    """
    tensors: StateDict
    layout: str
    left: Tuple[str, ...]


def unwrap(content: Mapping[str, Any],
           source: str = 'checkpoint') -> StateDict:
    """Find the state dict in what a checkpoint file holds.

    Args:
        content (Mapping): The file's content: a state dict, or a dict with
            one under ``state_dict`` or ``model``.
        source (str): Named in errors.

    Raises:
        CheckpointError: If there is no state dict in it.
    """
    for key in ('state_dict', 'model'):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = {
        k.removeprefix('module.'): v
        for k, v in content.items() if isinstance(v, Tensor)
    }
    if not tensors:
        raise CheckpointError(
            f'{source}: no weights in it; expected a state dict, bare or '
            "under 'state_dict' or 'model', but found the keys "
            f'{sorted(map(str, content))[:8]}')
    return tensors


def base_state(state: StateDict,
               prefix: Optional[str] = None,
               renames: Mapping[str, str] = {},
               layouts: Optional[Sequence[Layout]] = None) -> BaseState:
    """Bring a backbone's tensors under mm names.

    Args:
        state (dict[str, Tensor]): Of a backbone, or of a whole model.
        prefix (str, optional): Where the backbone is in it. By default
            ``'backbone.'`` if any key has it, else the top.
        renames (Mapping[str, str]): Path components to rename on top, for
            instance how other code calls a tuner's modules.
        layouts (Sequence[Layout], optional): Those of the backbone's
            family. By default the family is found, too.

    Raises:
        CheckpointError: If nothing has the given prefix, or two tensors
            would get the same name.
    """
    if prefix is None:
        found = any(k.startswith('backbone.') for k in state)
        prefix = 'backbone.' if found else ''
    elif prefix and not prefix.endswith('.'):
        prefix += '.'
    inside = below(state, prefix)
    if not inside:
        raise CheckpointError(
            f'no key starts with {prefix!r}; the keys start with '
            f'{sorted({k.split(".")[0] for k in state})}')
    left = tuple(k for k in state if not k.startswith(prefix))
    if layouts is None:
        _, layout, tensors = recognise_family(inside) or (None, None, inside)
    else:
        layout = next((one for one in layouts if one.knows(inside)), None)
        tensors = layout.to_mm(inside) if layout else inside
    tensors = rename_keys(tensors, lambda key: rename_path(key, renames))
    return BaseState(tensors, layout.name if layout else 'mm', left)


def below(state: Mapping[str, Any], prefix: str) -> Dict[str, Any]:
    """The entries whose keys start with a prefix, without it."""
    return {
        k[len(prefix):]: v
        for k, v in state.items() if k.startswith(prefix)
    }


def rename_keys(state: StateDict,
                new_name: Callable[[str], str]) -> StateDict:
    """Rename every tensor.

    Args:
        state (dict[str, Tensor]): Is not changed.
        new_name (Callable): From key to key.

    Raises:
        CheckpointError: If two tensors would get the same name.
    """
    renamed, old = {}, {}
    for key, value in state.items():
        name = new_name(key)
        if name in renamed:
            raise CheckpointError(f'{old[name]!r} and {key!r} both stand for '
                                  f'{name!r}')
        renamed[name], old[name] = value, key
    return renamed


def rename_path(key: str, renames: Mapping[str, str]) -> str:
    """Rename components of a dotted name, or some in a row."""
    if not renames:
        return key
    theirs = '|'.join(map(re.escape, renames))
    return re.sub(rf'(?<![^.])(?:{theirs})(?![^.])',
                  lambda match: renames[match[0]], key)


def substitute(key: str, rules: Rules) -> str:
    """Apply regular expressions, (pattern, replacement), in turn."""
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
