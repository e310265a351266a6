"""VPT-deep (ECCV 2022, arXiv 2203.12119): prompts for every block."""
import math

import torch
from torch import Tensor, nn

from mona_mm.registry import TUNERS

from .base import Tuner, check_positive_int, check_rate


class Prompts(nn.Module):
    """Learnt tokens, the same for every image.

    They start at Xavier uniform over a patch and the width: within
    ``sqrt(6 / (3 p^2 + C))``.

    Args:
        num_tokens (int): M, their number.
        dims (int): C, the width of the block.
        patch_size (int): p, the side of a patch.
        drop_rate (float): Dropout on the tokens.
    """

    def __init__(self, num_tokens: int, dims: int, patch_size: int,
                 drop_rate: float) -> None:
        super().__init__()
        limit = math.sqrt(6 / (3 * patch_size**2 + dims))
        self.prompts = nn.Parameter(torch.empty(num_tokens, dims))
        nn.init.uniform_(self.prompts, -limit, limit)
        self.dropout = nn.Dropout(drop_rate)

    def forward(self, batch: int) -> Tensor:
        """The tokens of a batch, (B, M, C)."""
        return self.dropout(self.prompts.expand(batch, -1, -1))


@TUNERS.register_module()
class VPT(Tuner):
    """Learnt tokens that enter every block with the sequence and leave it.

    They change what the attention of a plain ViT sees from the start, as
    published. Swin's windows are not offered.

    Args:
        num_tokens (int): Per block. Defaults to 10.
        drop_rate (float): Dropout on the tokens. Defaults to 0.

    Raises:
        ValueError: If an argument is out of its range.
    """

    display_name = 'VPT-deep'
    sites = ('tokens', )

    def __init__(self, num_tokens: int = 10, drop_rate: float = 0.) -> None:
        check_positive_int('VPT', 'num_tokens', num_tokens)
        check_rate('VPT', 'drop_rate', drop_rate)
        self.num_tokens, self.drop_rate = num_tokens, drop_rate

    def tokens(self, dims: int) -> Prompts:
        """Make one block's tokens of width ``dims``."""
        return Prompts(self.num_tokens, dims, self.facts.patch_size,
                       self.drop_rate)
