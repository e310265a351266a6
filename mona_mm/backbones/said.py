"""What a family says of itself: all that the rest of the house knows of it."""
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
)

from torch import Tensor, nn

from mona_mm.checkpoint.describe import defaults
from mona_mm.checkpoint.layouts import Layout
from mona_mm.tuners import Tuner


class Slot(NamedTuple):
    """Where one block of a backbone sits.

    Attributes:
        path (str): Name of the block within the backbone.
        container (nn.ModuleList): The list that holds it.
        index (int): Its index there.
    """
    path: str
    container: nn.ModuleList
    index: int


class Family:
    """The questions that a backbone family answers.

    It names the :attr:`sites` that its blocks offer, lists its blocks in
    :meth:`block_slots`, and rebuilds one in :meth:`tune_block` (as a
    :class:`~mona_mm.backbones.sites.TunedBlock`). About its pretrained files
    it says the :attr:`layouts`, what of them it takes (:meth:`place`), how
    tensors of another size are fitted (:meth:`fit`), and what else is here;
    :class:`~mona_mm.backbones.frozen.FrozenBase` does the rest.
    """

    #: Sites that the family's blocks offer, and extras.
    sites: Tuple[str, ...] = ()
    #: Where blocks have one branch alone: {site of the other one: its place
    #: at the one that is there}. A tuner that asks for both gets the latter.
    twins: Dict[str, str] = {}
    #: Layouts of its pretrained files, besides OpenMMLab's.
    layouts: Tuple[Layout, ...] = ()
    #: The library's class that the same pretrained tensors fit.
    plain_class: Optional[type] = None
    #: Endings of buffers that are computed, not learnt.
    derived: Tuple[str, ...] = ()
    #: Beginnings of what files hold beside the backbone.
    heads: Tuple[str, ...] = ('head.', )
    #: Name of the weight that sees the pictures.
    stem = ''
    in_channels = 3
    fit_channels: Optional[str] = None
    allow_random_base = False
    map_final_norm = False
    #: The tuner of a config that names none.
    default_tuner: Dict[str, Any] = dict(type='Full')
    #: For a class that is called after a method: the type under which a
    #: config may name any other.
    general = ''
    #: MiB of activations that published code of a method keeps, by (arch,
    #: batch x side) and method, to compare with.
    saved_mib: Dict[Tuple[str, str], Dict[str, float]] = {}
    #: Classes of the family's norms.
    norms: Tuple[type, ...] = (
        nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d,
        nn.BatchNorm3d, nn.SyncBatchNorm, nn.InstanceNorm1d,
        nn.InstanceNorm2d, nn.InstanceNorm3d)

    #: Arguments that change nothing of what a run computes, or of which the
    #: outcome is compared (the base): a resumed run may have others, and in
    #: reports they are no deviation.
    free: Tuple[str, ...] = ('allow_random_base', 'init_cfg', 'line_by_line',
                             'skip_dropped', 'with_cp')

    @classmethod
    def plain_arguments(cls, given: Mapping[str, Any]) -> Dict[str, Any]:
        """The arguments with which :attr:`plain_class` is the same network.

        Args:
            given (Mapping[str, Any]): Those of this class.
        """
        ours, theirs = defaults(cls), defaults(cls.plain_class)
        found = {k: usual for k, usual in ours.items()
                 if k in theirs and usual != theirs[k]}
        found.update((k, v) for k, v in given.items() if k in theirs)
        found.pop('init_cfg', None)
        return found

    def block_slots(self) -> Iterator[Slot]:
        """The blocks in order, from input to output."""
        raise NotImplementedError

    def tune_block(self, block: nn.Module, tuner: Tuner) -> nn.Module:
        """Rebuild a block from its own children under the same names."""
        raise NotImplementedError

    def part_of(self, name: str) -> str:
        """The part of the backbone that a parameter is counted with.

        Args:
            name (str): Of the parameter.

        Returns:
            str: By default the first component of the name.
        """
        return name.partition('.')[0]

    def output_norms(self) -> Dict[int, str]:
        """Names of the norms on the outputs, by output index."""
        return {}

    def place(self, tensors: Dict[str, Tensor], map_final_norm: bool
              ) -> Tuple[Dict[str, Tensor], List[str]]:
        """Decide what of a pretrained file is loaded.

        Args:
            tensors (dict[str, Tensor]): Of the file, under mm names.
            map_final_norm (bool): Whether a classifier's final norm is to
                become that of the last output.

        Returns:
            tuple[dict[str, Tensor], list[str]]: What is loaded, and the keys
            that are rightly left out. By default those of :attr:`heads`.
        """
        placed = {k: v for k, v in tensors.items()
                  if not k.startswith(self.heads)}
        return placed, [k for k in tensors if k not in placed]

    def fit(self, name: str, given: Tensor,
            own: Tensor) -> Tuple[Tensor, str]:
        """Fit a pretrained tensor of another size.

        Args:
            name (str): Its name.
            given (Tensor): The file's.
            own (Tensor): The backbone's.

        Returns:
            tuple[Tensor, str]: A tensor of ``own``'s shape and a line for
            the log; or, where that cannot be done, ``given`` and ''.
        """
        return given, ''

    def facts(self) -> Dict[str, Any]:
        """What a checkpoint must agree with, beyond shapes."""
        return dict(family=type(self).__name__)

    def arguments(self, facts: Dict[str, Any]) -> Dict[str, Any]:
        """What of a config makes a backbone of these facts, as far as known.

        Args:
            facts (dict): Of a backbone of the same family, from a file.
        """
        return {}
