"""Methods that insert nothing and only choose pretrained parameters."""
from typing import Optional, Sequence

from torch import nn

from mona_mm.registry import TUNERS
from .base import Tuner


@TUNERS.register_module()
class Full(Tuner):
    """Full fine-tuning: every pretrained parameter trains.

    Args:
        frozen (Sequence[str]): Parameters whose names start with one of
            these stay frozen all the same (the release keeps
            ``patch_embed`` frozen on Pascal VOC). Defaults to ().
    """

    def __init__(self, frozen: Sequence[str] = ()) -> None:
        self.frozen = tuple(frozen)

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
