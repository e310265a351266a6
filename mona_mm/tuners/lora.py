"""LoRA (arXiv 2106.09685), as Mona's published code has it."""
import math
from typing import Dict, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mona_mm.ops import runs_line_by_line
from mona_mm.ops.fold import Foldable
from mona_mm.ops.frozen import (
    CastOnce,
    Forgetful,
    MixedLinear,
    accelerated,
    mixed_linear,
)
from mona_mm.ops.low_rank import low_rank_linear
from mona_mm.ops.precision import compute_dtype
from mona_mm.registry import TUNERS

from .base import Tuner, check_positive_int

_TARGETS = ('q', 'k', 'v')


class LoRALinear(Forgetful, Foldable, MixedLinear):
    """A qkv layer (C -> 3C) with low-rank updates of some of its thirds.

    ``W_t + (alpha / rank) B_t A_t`` for every target t; ``weight`` and
    ``bias`` keep their names and are never written to. A starts at Kaiming
    uniform (sqrt 5), B at zero, so the start is the pretrained
    layer.

    Args:
        linear (nn.Linear): The pretrained layer; its tensors are taken over.
        rank (int): Rank of each update.
        alpha (float): The updates are scaled by ``alpha / rank``.
        targets (Sequence[str]): Of ``'q'``, ``'k'``, ``'v'``.

    Attributes:
        line_by_line (bool): Run :meth:`formula` instead of
            :func:`mona_mm.ops.low_rank.low_rank_linear`.
    """

    bias_of_zeros = True
    line_by_line = False

    def __init__(self, linear: nn.Linear, rank: int, alpha: float,
                 targets: Sequence[str]) -> None:
        super().__init__(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            device='meta')
        self.weight, self.bias = linear.weight, linear.bias
        self.casts = CastOnce()
        self.rank, self.scale = rank, alpha / rank
        self.targets = tuple(t for t in _TARGETS if t in targets)
        device = linear.weight.device
        count, dims = len(self.targets), linear.out_features // 3
        self.lora_A = nn.Parameter(
            torch.empty(count * rank, linear.in_features, device=device))
        self.lora_B = nn.Parameter(
            torch.zeros(count * dims, rank, device=device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, C) to (B, N, 3C)."""
        if self.folded is not None:
            return mixed_linear(x, self.folded, self.bias)
        base = (self.weight, self.bias)
        trains = any(p is not None and p.requires_grad for p in base)
        if runs_line_by_line(self) or trains:
            return self.formula(x)
        parts = tuple(_TARGETS.index(t) for t in self.targets)
        down, up = self.lora_A, self.lora_B
        if accelerated(x):  # one cast each; the backward pass needs none
            dtype = compute_dtype(x)
            base = (self.casts(t, dtype) for t in base)
            x, down, up = (t.to(dtype) for t in (x, down, up))
        return low_rank_linear(x, *base, down, up, self.scale, parts,
                               len(_TARGETS))

    def formula(self, x: Tensor) -> Tensor:
        """The layer line by line: the specification."""
        wide = mixed_linear(x, self.weight, self.bias)
        thirds = list(wide.chunk(3, dim=-1))
        low = F.linear(x, self.lora_A).split(self.rank, dim=-1)
        ups = self.lora_B.chunk(len(self.targets))
        for target, a, b in zip(self.targets, low, ups):
            i = _TARGETS.index(target)
            thirds[i] = thirds[i] + self.scale * F.linear(a, b)
        return torch.cat(thirds, dim=-1)

    def make_folded(self) -> Tensor:
        """The weight (3C, C) with the updates added."""
        return self._added(self.lora_B.dtype)

    def merged(self) -> Dict[str, Tensor]:
        """The weight of a plain layer that computes the same."""
        return dict(weight=self._added(torch.double))

    def _added(self, dtype: torch.dtype) -> Tensor:
        weight = self.weight.detach().to(dtype, copy=True)
        thirds = weight.chunk(3)
        count = len(self.targets)
        for target, a, b in zip(self.targets,
                                self.lora_A.detach().to(dtype).chunk(count),
                                self.lora_B.detach().to(dtype).chunk(count)):
            thirds[_TARGETS.index(target)].addmm_(b, a, alpha=self.scale)
        return weight


@TUNERS.register_module()
class LoRA(Tuner):
    """Low-rank updates of the query and value projections.

    Args:
        rank (int): Rank of each update. Defaults to 64.
        alpha (float): The updates are scaled by ``alpha / rank``. Defaults
            to 1.
        targets (Sequence[str]): Of ``'q'``, ``'k'``, ``'v'``. Defaults to
            ('q', 'v').

    Raises:
        ValueError: If an argument is out of its range.
    """

    colour = '#009e73'

    sites = ('qkv', )

    def __init__(self,
                 rank: int = 64,
                 alpha: float = 1,
                 targets: Sequence[str] = ('q', 'v')) -> None:
        check_positive_int('LoRA', 'rank', rank)
        if not targets or set(targets) - set(_TARGETS):
            raise ValueError('LoRA: targets must name some of q, k, v, but '
                             f'got {targets!r}')
        self.rank, self.alpha = rank, alpha
        self.targets = tuple(targets)

    def adapt(self, site: str, linear: nn.Linear) -> LoRALinear:
        """Wrap the qkv layer, keeping its ``weight`` and ``bias``."""
        return LoRALinear(linear, self.rank, self.alpha, self.targets)
