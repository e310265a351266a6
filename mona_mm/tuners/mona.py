"""Mona: multi-cognitive visual adapter (paper, section 3.3)."""
from typing import Optional, Sequence, Tuple

import torch
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from mona_mm.ops import runs_line_by_line
from mona_mm.ops.fold import Foldable
from mona_mm.ops.launch import say_once, usable
from mona_mm.ops.mona import MonaParams, MonaSpec, mona
from mona_mm.ops.mona_folded import FoldedMona, fold_mona, mona_folded
from mona_mm.ops.mona_fused import (
    Shared,
    combine_all,
    draw_seeds,
    mona_fused,
    uncovered,
)
from mona_mm.ops.precision import compute_dtype
from mona_mm.ops.scaled_norm import DownParams
from mona_mm.registry import TUNERS

from .base import Tuner, check_positive_int, check_rate


class MonaConv(nn.Module):
    """The filters of Mona (paper, section 3.3, equations 4 and 5).

    ``z = z + mean_i(DW_i(z))``, then ``z = z + PW(z)``.

    Args:
        dims (int): Number of channels, the bottleneck's width.
        kernel_sizes (Sequence[int]): Sizes of the depth-wise filters, odd.
    """

    def __init__(self, dims: int, kernel_sizes: Sequence[int]) -> None:
        super().__init__()
        for i, size in enumerate(kernel_sizes, 1):
            conv = nn.Conv2d(dims, dims, size, padding=size // 2, groups=dims)
            self.add_module(f'conv{i}', conv)
        self.projector = nn.Conv2d(dims, dims, 1)

    @property
    def filters(self) -> Tuple[nn.Conv2d, ...]:
        """The depth-wise convolutions, in the order of their names."""
        return tuple(m for n, m in self._modules.items() if n != 'projector')

    def forward(self, x: Tensor) -> Tensor:
        """Filter a map of shape (B, C, H, W); the shape is kept."""
        filters = self.filters
        x = x + sum(conv(x) for conv in filters) / len(filters)
        return x + self.projector(x)


class MonaLayer(Foldable):
    """One Mona adapter.

    ``x + project2(dropout(gelu(conv(project1(norm(x)*gamma + x*gammax)))))``

    The layer is not the identity at the start, unless ``linear_init`` asks
    for that.

    Args:
        dims (int): C, the width of the residual stream.
        bottleneck_dims (int): n, the inner width.
        kernel_sizes (Sequence[int]): Sizes of the depth-wise filters.
        scaled_norm (bool): Whether ``norm``, ``gamma`` and ``gammax`` exist;
            without them the projection sees x itself.
        drop_rate (float): Dropout before the up-projection.
        linear_init (str): How linear layers start, see :class:`Mona`.

    Attributes:
        line_by_line (bool): Run the layer as published, one operation
            after the other, instead of :func:`mona_mm.ops.mona.mona`, which
            computes the same and keeps less.
    """

    takes_norm = True
    line_by_line = False

    def __init__(self, dims: int, bottleneck_dims: int,
                 kernel_sizes: Sequence[int], scaled_norm: bool,
                 drop_rate: float,
                 linear_init: str = 'trunc_normal') -> None:
        super().__init__()
        self.scaled_norm = scaled_norm
        if scaled_norm:
            self.norm = nn.LayerNorm(dims)
            self.gamma = nn.Parameter(torch.full((dims, ), 1e-6))
            self.gammax = nn.Parameter(torch.ones(dims))
        self.project1 = nn.Linear(dims, bottleneck_dims)
        self.adapter_conv = MonaConv(bottleneck_dims, kernel_sizes)
        self.dropout = nn.Dropout(drop_rate)
        self.project2 = nn.Linear(bottleneck_dims, dims)
        if linear_init != 'pytorch':
            for linear in (self.project1, self.project2):
                trunc_normal_(linear.weight, std=.02)
                nn.init.zeros_(linear.bias)
        if linear_init == 'identity':
            nn.init.zeros_(self.project2.weight)

    def forward(self,
                x: Tensor,
                hw_shape: Tuple[int, int],
                next_norm: Optional[nn.LayerNorm] = None,
                branch: Optional[Tensor] = None,
                shared: Optional[Shared] = None):
        """Adapt the residual stream.

        Args:
            x (Tensor): (B, N, C) with N = H * W.
            hw_shape (tuple[int, int]): (H, W).
            next_norm (nn.LayerNorm, optional): A norm that follows and does
                not train.
            branch (Tensor, optional): (B, N, C), added to x first, by the
                factors of ``shared``; only if the layer :meth:`joins`.
            shared (Shared, optional): What the layers of this pass made
                together.

        Returns:
            Tensor | tuple: (B, N, C); with ``next_norm`` a tuple of that and
            its norm.
        """
        if self._runs_folded():
            y = mona_folded(x, hw_shape, self.folded)
        elif runs_line_by_line(self):
            y = self.formula(x, hw_shape)
        else:
            y, t = self._run(x, hw_shape, next_norm, branch, shared)
            return y if next_norm is None else (y, t)
        return y if next_norm is None else (y, next_norm(y))

    def formula(self, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        """The layer as published, line by line: the specification."""
        y = self.norm(x) * self.gamma + x * self.gammax \
            if self.scaled_norm else x
        y = self.project1(y)
        y = y.transpose(1, 2).unflatten(2, hw_shape)
        y = self.adapter_conv(y)
        y = y.flatten(2).transpose(1, 2)
        return x + self.project2(self.dropout(F.gelu(y)))

    def parameters_in_order(self) -> MonaParams:
        """What :func:`mona_mm.ops.mona.mona` takes."""
        norm, modules = (None, ) * 4, self._modules  # quicker than getattr
        if self.scaled_norm:
            own = modules['norm']
            norm = own.weight, own.bias, self.gamma, self.gammax
        down, up = modules['project1'], modules['project2']
        convs = modules['adapter_conv']
        point = convs._modules['projector']
        return MonaParams(
            DownParams(*norm, down.weight, down.bias), up.weight, up.bias,
            point.weight, point.bias,
            tuple(t for c in convs.filters for t in (c.weight, c.bias)))

    def joins(self, x: Tensor) -> Optional[MonaParams]:
        """What kernels need to run the layer, None if they do not run it.

        They take the addition before the layer over, too.

        Args:
            x (Tensor): (B, N, C).
        """
        if not usable(x) or runs_line_by_line(self) or self._runs_folded():
            return None
        params = self.parameters_in_order()
        why = uncovered(x, compute_dtype(x), params)
        if why is None:
            return params
        say_once('Mona runs by PyTorch\'s own kernels, the Triton kernels do '
                 f'not cover it: {why}')
        return None

    def _runs_folded(self) -> bool:
        return self.folded is not None and not torch.is_grad_enabled()

    def _run(self, x: Tensor, hw_shape: Tuple[int, int],
             next_norm: Optional[nn.LayerNorm], branch: Optional[Tensor],
             shared: Optional[Shared]):
        spec = MonaSpec(
            tuple(hw_shape), self.dropout.p if self.training else 0.,
            self.norm.eps if self.scaled_norm else 0., compute_dtype(x),
            next_norm.eps if next_norm is not None else 0.)
        norm = next_norm and (next_norm.weight, next_norm.bias)
        if shared is None and (params := self.joins(x)) is not None:
            with torch.no_grad():
                shared = Shared(params, combine_all([params]))
        if shared is not None and spec.drop_rate and shared.seeds is None:
            shared = shared._replace(
                seeds=draw_seeds(shared.row + 1, x.device))
        if shared is not None:
            return mona_fused(x, branch, spec, shared, norm)
        return mona(x, spec, self.parameters_in_order(), norm)

    def make_folded(self) -> FoldedMona:
        """Filters and skips as one depth-wise and one point-wise step."""
        eps = self.norm.eps if self.scaled_norm else 0.
        return fold_mona(self.parameters_in_order(), eps)


@TUNERS.register_module()
class Mona(Tuner):
    """Mona: two adapters per block, on the residual stream.

    One stands after each residual addition, outside drop-path; the
    pretrained parameters are all frozen.

    Args:
        bottleneck_dims (int): n, the inner width. Defaults to 64.
        kernel_sizes (Sequence[int]): Odd sizes of the depth-wise filters.
            Defaults to (3, 5, 7).
        scaled_norm (bool): Whether the input goes through the scaled
            layer norm (paper, equation 3). Defaults to True.
        drop_rate (float): Dropout rate. Defaults to 0.1.
        linear_init (str): How linear layers start: ``'trunc_normal'`` (0.02,
            zero bias) as published, ``'pytorch'`` (PyTorch's
            default) as in STAR-MMRotate, ``'identity'`` (as published, but
            the second at zero, so that the layer changes nothing at first:
            ours, for comparison); the paper says Kaiming uniform.
            Convolutions keep PyTorch's default. Defaults to
            ``'trunc_normal'``.

    Raises:
        ValueError: If an argument is out of its range.
    """

    colour = '#d55e00'

    sites = ('after_attn', 'after_ffn')
    free = ('drop_rate', 'linear_init')
    foreign_names = {
        'my_module_1': 'after_attn',
        'my_module_2': 'after_ffn',
    }

    def __init__(self,
                 bottleneck_dims: int = 64,
                 kernel_sizes: Sequence[int] = (3, 5, 7),
                 scaled_norm: bool = True,
                 drop_rate: float = 0.1,
                 linear_init: str = 'trunc_normal') -> None:
        check_positive_int('Mona', 'bottleneck_dims', bottleneck_dims)
        check_rate('Mona', 'drop_rate', drop_rate)
        if not (isinstance(kernel_sizes, (list, tuple)) and kernel_sizes
                and all(isinstance(s, int) and s > 0 and s % 2
                        for s in kernel_sizes)):
            raise ValueError(
                'Mona: kernel_sizes must be a non-empty sequence of odd '
                f'positive integers, but got {kernel_sizes!r}')
        if linear_init not in ('trunc_normal', 'pytorch', 'identity'):
            raise ValueError("Mona: linear_init must be 'trunc_normal', "
                             "'pytorch' or 'identity', but got "
                             f'{linear_init!r}')
        self.bottleneck_dims = bottleneck_dims
        self.kernel_sizes = tuple(kernel_sizes)
        self.scaled_norm = scaled_norm
        self.drop_rate = drop_rate
        self.linear_init = linear_init

    def build(self, site: str, dims: int) -> MonaLayer:
        """Make one :class:`MonaLayer` of width ``dims``."""
        return MonaLayer(dims, self.bottleneck_dims, self.kernel_sizes,
                         self.scaled_norm, self.drop_rate, self.linear_init)
