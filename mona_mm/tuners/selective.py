"""Methods that insert nothing and only choose pretrained parameters."""
from typing import Optional

from torch import nn

from mona_mm.registry import TUNERS

from .base import Tuner, check_positive_int


@TUNERS.register_module()
class Full(Tuner):
    """Full fine-tuning: every pretrained parameter trains."""

    colour = '#000000'

    #: Older checkpoints name it; today the backbone has ``keep_frozen``.
    free = ('frozen', )

    def trains(self, name: str, param: nn.Parameter, owner: nn.Module,
               from_end: Optional[int]) -> bool:
        """All of them."""
        return True


@TUNERS.register_module()
class Fixed(Tuner):
    """The backbone stays as pretrained; only neck and head train.

    The output norms keep their initial values (weight 1, bias 0), as
    published.
    """

    colour = '#777777'
    may_do_nothing = True


@TUNERS.register_module()
class BitFit(Tuner):
    """Every parameter with ``bias`` in its name trains (arXiv 2106.10199).

    As published, that includes the relative position bias tables.
    """

    colour = '#e69f00'

    def trains(self, name: str, param: nn.Parameter, owner: nn.Module,
               from_end: Optional[int]) -> bool:
        """Those with ``bias`` in their name."""
        return 'bias' in name


@TUNERS.register_module()
class NormTuning(Tuner):
    """Every parameter of a norm trains.

    These are the norms of blocks, patch embedding, downsampling and outputs.
    """

    colour = '#56b4e9'

    def trains(self, name: str, param: nn.Parameter, owner: nn.Module,
               from_end: Optional[int]) -> bool:
        """Those that a norm holds."""
        return isinstance(owner, self.facts.norms)


@TUNERS.register_module()
class Partial(Tuner):
    """The last blocks train; the output norms stay frozen, as published.

    Args:
        num_blocks (int): How many blocks, counted from the end. Defaults to
            1, the paper's Partial-1.

    Raises:
        ValueError: If ``num_blocks`` is no positive integer.
    """

    display_name = 'Partial-1'
    colour = '#882255'

    def __init__(self, num_blocks: int = 1) -> None:
        check_positive_int('Partial', 'num_blocks', num_blocks)
        self.num_blocks = num_blocks

    def trains(self, name: str, param: nn.Parameter, owner: nn.Module,
               from_end: Optional[int]) -> bool:
        """Those of the last ``num_blocks`` blocks."""
        return from_end is not None and from_end < self.num_blocks
