"""Methods that insert nothing and only choose pretrained parameters."""
from typing import Optional, Sequence, Union

from torch import nn

from mona_mm.registry import TUNERS

from .base import Tuner, check_positive_int


@TUNERS.register_module()
class Full(Tuner):
    """Full fine-tuning: every pretrained parameter trains.

    Args:
        frozen (str | Sequence[str]): Parameters whose names start with one of
            these stay frozen all the same (the release keeps
            ``patch_embed`` frozen on Pascal VOC). Defaults to ().
    """

    def __init__(self, frozen: Union[str, Sequence[str]] = ()) -> None:
        self.frozen = (frozen, ) if isinstance(frozen, str) else tuple(frozen)

    def trains(self, name: str, param: nn.Parameter,
               from_end: Optional[int]) -> bool:
        """All but the ``frozen`` ones."""
        return not name.startswith(self.frozen) if self.frozen else True


@TUNERS.register_module()
class Fixed(Tuner):
    """The backbone stays as pretrained; only neck and head train.

    The output norms keep their initial values (weight 1, bias 0), as
    released.
    """


@TUNERS.register_module()
class BitFit(Tuner):
    """Every parameter with ``bias`` in its name trains (arXiv 2106.10199).

    As released, that includes the relative position bias tables.
    """

    def trains(self, name: str, param: nn.Parameter,
               from_end: Optional[int]) -> bool:
        """Those with ``bias`` in their name."""
        return 'bias' in name


@TUNERS.register_module()
class NormTuning(Tuner):
    """Every parameter with ``norm`` in its name trains.

    These are the norms of blocks, patch embedding, downsampling and outputs.
    """

    def trains(self, name: str, param: nn.Parameter,
               from_end: Optional[int]) -> bool:
        """Those with ``norm`` in their name."""
        return 'norm' in name


@TUNERS.register_module()
class Partial(Tuner):
    """The last blocks train; the output norms stay frozen, as released.

    Args:
        num_blocks (int): How many blocks, counted from the end. Defaults to
            1, the paper's Partial-1.

    Raises:
        ValueError: If ``num_blocks`` is no positive integer.
    """

    def __init__(self, num_blocks: int = 1) -> None:
        check_positive_int('Partial', 'num_blocks', num_blocks)
        self.num_blocks = num_blocks

    def trains(self, name: str, param: nn.Parameter,
               from_end: Optional[int]) -> bool:
        """Those of the last ``num_blocks`` blocks."""
        return from_end is not None and from_end < self.num_blocks
