"""Rein (CVPR 2024, arXiv 2312.04265), written from the paper's formulas."""
import math
from typing import Dict, Sequence, Tuple

import torch
from torch import Tensor, nn

from mona_mm.registry import TUNERS

from .base import Tuner, check_positive_int


class ReinShared(nn.Module):
    """What all layers of one width have together.

    Args:
        dims (int): C, their width.
        scale (float): Where the factor on the refinement starts.
    """

    def __init__(self, dims: int, scale: float) -> None:
        super().__init__()
        self.token_proj = nn.Linear(dims, dims)
        self.feature_proj = nn.Linear(dims, dims)
        self.scale = nn.Parameter(
            self.token_proj.weight.new_full((), float(scale)))


class ReinLayer(nn.Module):
    """Refine features f by what learnt tokens T say of them (section 3.2)::

        T = A B                      (m, C), of rank r
        S = softmax(f T^T / sqrt C)  (B, N, m)
        d = S[1:] (T[1:] W_T + b_T)  without the first token, so that its
                                     weights may sum to less than 1
        f + scale ((d + f) W_f + b_f)

    A and B start uniform within ``sqrt(6 / (3 p^2 + C))``.

    Args:
        dims (int): C, the width of the block.
        num_tokens (int): m.
        rank (int): r.
        patch_size (int): p, the side of a patch.
        shared (ReinShared): Both linear layers, and the factor.
        owns (bool): Whether this layer is the one whose parameters they are;
            in state dicts they are there once.
    """

    def __init__(self, dims: int, num_tokens: int, rank: int, patch_size: int,
                 shared: ReinShared, owns: bool) -> None:
        super().__init__()
        limit = math.sqrt(6 / (3 * patch_size**2 + dims))
        self.token_A = nn.Parameter(torch.empty(num_tokens, rank))
        self.token_B = nn.Parameter(torch.empty(rank, dims))
        for factor in (self.token_A, self.token_B):
            nn.init.uniform_(factor, -limit, limit)
        if owns:
            self.shared = shared
        # In a tuple it is no child; a copy of the backbone copies it once.
        self._shared = (shared, )

    def forward(self, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        """Map (B, N, C) to the same; (H, W) is not used."""
        shared = self._shared[0]
        tokens = self.token_A @ self.token_B
        alike = (x @ tokens.t() / math.sqrt(x.shape[-1])).softmax(dim=-1)
        found = alike[..., 1:] @ shared.token_proj(tokens[1:])
        return x + shared.scale * shared.feature_proj(found + x)


@TUNERS.register_module()
class Rein(Tuner):
    """Learnt tokens refine the patches after every block.

    Class tokens stay as they are. The link of the tokens to the queries of a
    mask classification head is not part of it. It starts near the base
    (``scale``), not at it, as published. Where widths differ by stage, every
    width has its own linear layers.

    Args:
        num_tokens (int): Per block. Defaults to 100.
        rank (int): Of the tokens. Defaults to 16.
        scale (float): Where the learnt factor starts. Defaults to 0.001.

    Raises:
        ValueError: If an argument is out of its range.
    """

    sites = ('after_ffn', )
    free = ('scale', )

    def __init__(self,
                 num_tokens: int = 100,
                 rank: int = 16,
                 scale: float = 0.001) -> None:
        check_positive_int('Rein', 'num_tokens', num_tokens)
        check_positive_int('Rein', 'rank', rank)
        if num_tokens < 2:
            raise ValueError('Rein: num_tokens must be at least 2, because '
                             'the first one refines nothing, but got '
                             f'{num_tokens!r}')
        self.num_tokens, self.rank, self.scale = num_tokens, rank, scale

    def start(self, facts) -> None:
        """Forget the linear layers of the backbone before."""
        super().start(facts)
        self._shared: Dict[int, ReinShared] = {}

    def shared(self) -> Sequence[nn.Module]:
        """The linear layers, in the first block of their width."""
        return tuple(self._shared.values())

    def build(self, site: str, dims: int) -> ReinLayer:
        """Make one :class:`ReinLayer` of width ``dims``."""
        owns = dims not in self._shared
        if owns:
            self._shared[dims] = ReinShared(dims, self.scale)
        return ReinLayer(dims, self.num_tokens, self.rank,
                         self.facts.patch_size, self._shared[dims], owns)
