"""SSF (NeurIPS 2022, arXiv 2210.08823): scale and shift every operation."""
from typing import Dict, List, Optional, Tuple

import torch
from mmcv.cnn.bricks import wrappers
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mona_mm.ops import runs_line_by_line
from mona_mm.ops.fold import Foldable
from mona_mm.ops.frozen import (
    LINEAR_TYPES,
    CastOnce,
    Forgetful,
    MixedLinear,
    accelerated,
    mixed_linear,
)
from mona_mm.ops.precision import compute_dtype, no_autocast
from mona_mm.registry import TUNERS

from .base import LINEARS, Tuner

_STD = .02


class Scaled(Foldable):
    """A pretrained operation, then ``y * scale + shift`` by channel.

    The operation is linear in its weight and bias together, so this is the
    operation itself with ``scale * weight`` and ``scale * bias + shift``.
    """

    def take(self, module: nn.Module) -> None:
        """Take a pretrained module's tensors over, and make our own.

        ``scale`` starts at N(1, 0.02), ``shift`` at N(0, 0.02).
        """
        self.weight, self.bias = module.weight, module.bias
        self.scale = nn.Parameter(
            torch.empty(len(module.weight), device=module.weight.device))
        self.shift = nn.Parameter(torch.empty_like(self.scale))
        nn.init.normal_(self.scale, mean=1, std=_STD)
        nn.init.normal_(self.shift, std=_STD)

    def neutral(self) -> Dict[str, Tensor]:
        """A factor of one; the shift is zero."""
        return dict(scale=torch.ones_like(self.scale))

    def scaled(self,
               dtype: Optional[torch.dtype] = None) -> Tuple[Tensor, Tensor]:
        """Weight and bias that do it all."""
        weight, bias, scale, shift = (
            None if t is None else t.to(dtype or self.scale.dtype)
            for t in (self.weight, self.bias, self.scale, self.shift))
        rows = scale.view(-1, *[1] * (weight.ndim - 1))
        return (rows * weight,
                shift if bias is None else torch.addcmul(shift, scale, bias))

    def in_use(self) -> Tuple[Tensor, Tensor]:
        """Weight and bias for a forward pass."""
        return self.scaled() if self.folded is None else self.folded

    def make_folded(self) -> Tuple[Tensor, Tensor]:
        """Weight and bias that do it all."""
        return self.scaled()

    def merged(self) -> Optional[Dict[str, Tensor]]:
        """Weight and bias of a plain module that computes the same."""
        if self.bias is None:
            return None
        return dict(zip(('weight', 'bias'), self.scaled(torch.double)))


class ScaledNorm(Scaled, nn.LayerNorm):
    """A layer norm over (..., C); nothing more is kept for its backward pass.

    Args:
        norm (nn.LayerNorm): The pretrained norm.

    Attributes:
        feeds (tuple[ScaledLinear]): The linear layer without a bias that
            takes this norm's output, if there is one. Its shift has a place
            in this norm's bias when it is merged.
    """

    feeds: Tuple['ScaledLinear', ...] = ()

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__(norm.normalized_shape, norm.eps, device='meta')
        self.take(norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to the same."""
        return F.layer_norm(x, self.normalized_shape, *self.in_use(), self.eps)

    def merged(self) -> Dict[str, Tensor]:
        """Weight and bias of a plain norm that computes the same.

        With ``feeds``, ``W (n + d) = W n + t`` where d solves ``W d = t``:
        W has fewer rows than columns, so there is one.
        """
        found = super().merged()
        for linear in self.feeds:
            weight, shift = linear.scaled(torch.double)
            place = torch.linalg.lstsq(weight.cpu(), shift.cpu()[:, None])
            found['bias'] += place.solution[:, 0].to(weight.device)
        return found


class ScaledConv(Scaled, nn.Conv2d):
    """A convolution of maps (B, C, H, W).

    Args:
        conv (nn.Conv2d): The pretrained convolution.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(
            conv.in_channels, conv.out_channels, conv.kernel_size,
            conv.stride, conv.padding, conv.dilation, conv.groups,
            conv.bias is not None, device='meta')
        self.take(conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, D, H', W')."""
        return F.conv2d(x, *self.in_use(), self.stride, self.padding,
                        self.dilation, self.groups)


class ScaledLinear(Forgetful, Scaled, MixedLinear):
    """A linear layer, (..., C) to (..., D).

    Args:
        linear (nn.Linear): The pretrained layer.

    Attributes:
        line_by_line (bool): Run :meth:`formula` instead of the form that
            keeps the smaller of input and output alone.
        fed (bool): Whether a :class:`ScaledNorm` feeds it.
    """

    line_by_line = False
    fed = False

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            device='meta')
        self.take(linear)
        self.casts = CastOnce()

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., D)."""
        if self.folded is not None:
            return mixed_linear(x, *self.folded)
        base = (self.weight, self.bias)
        if runs_line_by_line(self) or any(
                t is not None and t.requires_grad for t in base):
            return self.formula(x)
        dtype = compute_dtype(x)
        if accelerated(x):  # one cast each; the backward pass needs none
            base = (self.casts(t, dtype) for t in base)
        return _ScaledLinear.apply(x, *base, self.scale, self.shift, dtype)

    def formula(self, x: Tensor) -> Tensor:
        """The layer line by line: the specification."""
        y = mixed_linear(x, self.weight, self.bias)
        return y * self.scale.to(y.dtype) + self.shift.to(y.dtype)

    def merged(self) -> Optional[Dict[str, Tensor]]:
        """The plain layer's; the norm before holds a shift without place."""
        if self.bias is None and self.fed:
            return dict(weight=self.scaled(torch.double)[0])
        return super().merged()


class _ScaledLinear(torch.autograd.Function):
    """``y = scale * (x W^T + b) + shift`` with W and b frozen.

    ::

        dx = (dy * scale) W      dshift = sum dy
        dscale = sum dy * (x W^T + b) = sum_C (dy^T x) * W + b sum dy

    Of the two forms of dscale the first keeps the product, D numbers a token,
    and the second the input, C numbers: whichever is less is kept.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, scale, shift, dtype):
        ctx.dtype, ctx.in_dtype, ctx.in_shape = dtype, x.dtype, x.shape
        with no_autocast(x.device):
            tokens = x.reshape(-1, x.shape[-1]).to(dtype)
            product = F.linear(tokens, weight.to(dtype),
                               None if bias is None else bias.to(dtype))
            out = torch.addcmul(shift.to(dtype), product, scale.to(dtype))
        ctx.by_input = weight.shape[1] < weight.shape[0]
        ctx.save_for_backward(tokens if ctx.by_input else product, weight,
                              bias, scale)
        ctx.shift_dtype = shift.dtype
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        kept, weight, bias, scale = ctx.saved_tensors
        dtype = ctx.dtype
        x_grad = None
        with no_autocast(grad.device):
            grad = grad.reshape(-1, grad.shape[-1]).to(dtype)
            total = grad.sum(0, dtype=scale.dtype)
            if ctx.by_input:
                crossed = grad.t() @ kept
                scale_grad = (crossed * weight.to(dtype)).sum(
                    1, dtype=scale.dtype)
                if bias is not None:
                    scale_grad.addcmul_(bias.to(dtype).to(scale), total)
            else:
                scale_grad = (grad * kept).sum(0, dtype=scale.dtype)
            if ctx.needs_input_grad[0]:
                x_grad = (grad * scale.to(dtype)) @ weight.to(dtype)
                x_grad = x_grad.to(ctx.in_dtype).view(ctx.in_shape)
        return x_grad, None, None, scale_grad, total.to(ctx.shift_dtype), None


_FORMS = {
    **dict.fromkeys(LINEAR_TYPES, ScaledLinear),
    nn.LayerNorm: ScaledNorm,
    **dict.fromkeys((nn.Conv2d, wrappers.Conv2d), ScaledConv)
}


@TUNERS.register_module()
class SSF(Tuner):
    """A factor and an offset for every channel after every operation.

    After the patch embedding, every norm, the four linear layers of every
    block, and downsampling. It starts near the base, not at it, as
    published. It folds into the frozen weights of Swin and ViT. (Where a layer
    without a bias is not fed by a norm, as in Swin V2, its shift does not.)

    Raises:
        TypeError: If a backbone has operations of a kind that it does not
            know.
    """

    sites = LINEARS

    def start(self, facts) -> None:
        """Forget the backbone before."""
        super().start(facts)
        self._by_parent: Dict[str, List[Scaled]] = {}

    def adapt(self, site: str, linear: nn.Linear) -> ScaledLinear:
        """Scale a linear layer of a block."""
        return ScaledLinear(linear)

    def wrap(self, name: str, module: nn.Module) -> Scaled:
        """Scale a norm, the patch embedding or downsampling."""
        # By the exact class: another one may compute something else.
        if (type(module) not in _FORMS or module.weight is None
                or getattr(module, 'padding_mode', 'zeros') != 'zeros'):
            raise TypeError(
                f'SSF: {name} is {module}, which it cannot scale; it can '
                f'scale {", ".join(sorted({k.__name__ for k in _FORMS}))} '
                'with a weight')
        made = _FORMS[type(module)](module)
        beside = self._by_parent.setdefault(name.rpartition('.')[0], [])
        for norm, linear in ((a, b) for a in (made, *beside)
                             for b in (made, *beside)):
            if (isinstance(norm, ScaledNorm)
                    and isinstance(linear, ScaledLinear)
                    and linear.bias is None
                    and norm.normalized_shape == (linear.in_features, )):
                norm.feeds, linear.fed = (linear, ), True
        beside.append(made)
        return made
