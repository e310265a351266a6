"""The Swin block: frozen parts in their fast form, and the tuner's sites."""
from typing import Optional, Tuple

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmpretrain.models.backbones.swin_transformer import (
    SwinBlock,
    SwinBlockSequence,
)
from mmpretrain.models.utils import ShiftWindowMSA, WindowMSA
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mona_mm.compat import is_watched, recomputing
from mona_mm.ops import is_traced, runs_line_by_line
from mona_mm.ops.frozen import LINEAR_TYPES, CastOnce, Forgetful, MixedLinear
from mona_mm.ops.fused_attention import fits, fused_attention
from mona_mm.ops.mona import MonaParams
from mona_mm.ops.window_attention import window_attention
from mona_mm.ops.windows import plan_windows, windows_to_trace
from mona_mm.tuners import Tuner

from ..sites import TunedBlock
from ..step import Step
from .attention_bias import AttentionBias
from .layouts import SwinNames


class TunedSwinBlock(TunedBlock, Forgetful, BaseModule):
    """A Swin block rebuilt from its own children, with sites.

    ``norm1``, ``attn``, ``norm2`` and ``ffn`` keep their names, so pretrained
    weights fit; drop-path moves out of ``attn`` and ``ffn``, so that
    something can stand before it.

    Args:
        block (SwinBlock): The plain block; it must not be used afterwards.
        tuner (Tuner): What to insert.

    Attributes:
        line_by_line (bool): Run mmpretrain's attention as it is written,
            instead of the fast form. The mathematics is the same.
    """

    linears = SwinNames.linears

    def __init__(self, block: SwinBlock, tuner: Tuner) -> None:
        super().__init__()
        self.with_cp = block.with_cp
        self.norm1, self.attn = block.norm1, block.attn
        self.norm2, self.ffn = block.norm2, block.ffn
        self.drop_path1, self.attn.drop = self.attn.drop, nn.Identity()
        self.drop_path2, self.ffn.dropout_layer = (self.ffn.dropout_layer,
                                                   nn.Identity())
        self.insert(tuner, self.attn.w_msa.embed_dims)
        self.attention_bias = AttentionBias()
        self.casts = CastOnce()

    def forward(self,
                x: Tensor,
                hw_shape: Tuple[int, int],
                normed: Optional[Tensor] = None,
                next_norm: Optional[nn.Module] = None,
                step: Optional[Step] = None):
        """Run the block.

        Args:
            x (Tensor): (B, N, C) with N = H * W.
            hw_shape (tuple[int, int]): (H, W).
            normed (Tensor, optional): ``norm1(x)``, if it is there already.
            next_norm (nn.Module, optional): The norm that will be applied to
                the output.
            step (Step, optional): What the blocks of this pass make together;
                without it the block makes its own.

        Returns:
            Tensor | tuple: The output (B, N, C). With ``next_norm`` a tuple:
            the output, and its norm if the last site makes it, else None.
        """
        share = (step or Step([self])).of(self, x)
        if self.with_cp and torch.is_grad_enabled():
            y, t = checkpoint(
                self._run, x, hw_shape, share, use_reentrant=False)
        else:
            y, t = self._run(x, hw_shape, share, normed, next_norm)
        y = self.leave(y, hw_shape)
        return y if next_norm is None else (y, t)

    def joining(self, x: Tensor) -> Tuple[Optional[MonaParams], ...]:
        """For both branches, the parameters of the site that adds it.

        None where there is no such site.

        Args:
            x (Tensor): (B, N, C), the block's input.
        """
        found = []
        for part, path in (('attn', self.drop_path1),
                           ('ffn', self.drop_path2)):
            module = getattr(self, f'after_{part}', None)
            joins = (
                hasattr(module, 'joins') and not is_watched(module)
                and type(path) in (DropPath, nn.Identity)
                and self.skip_dropped is not True
                and f'beside_{part}' not in self.occupied)
            found.append(module.joins(x) if joins else None)
        return tuple(found)

    def _run(self, x, hw_shape, share, normed=None, next_norm=None):

        def attend(x, normed):
            return self.branch('attn', x, normed, hw_shape, self.norm1,
                               lambda t: self._attend(t, hw_shape))

        def mix(x, normed):
            return self.branch('ffn', x, normed, hw_shape, self.norm2,
                               self._mix)

        for part, branch, norm, path, scale, joined, following in zip(
                ('attn', 'ffn'), (attend, mix), (self.norm1, self.norm2),
                (self.drop_path1, self.drop_path2), share.scales,
                share.joined, (self.norm2, next_norm)):
            if joined is None:
                x = self.plus(part, x, normed, hw_shape, norm, branch, path,
                              scale=scale)
                addition = {}
            else:
                addition = dict(branch=branch(x, normed), shared=joined)
            x, normed = self._then_norm(f'after_{part}', x, hw_shape,
                                        following, **addition)
        return x, normed

    def _then_norm(self, site: str, x: Tensor, hw_shape, norm, **addition):
        """(what stands after the site, and its norm if the site makes it).

        ``addition``: a branch that the site is to add, and its factors.
        """
        module = getattr(self, site, None)
        if (getattr(module, 'takes_norm', False) and _is_constant(norm)
                and not runs_line_by_line(self)):
            return module(x, hw_shape, next_norm=norm, **addition)
        if addition:
            return module(x, hw_shape, **addition), None
        return self.at(site, x, hw_shape), None

    def _mix(self, t: Tensor) -> Tensor:
        layers = self.ffn.layers
        out = layers(t) if runs_line_by_line(self) else (
            self.casts.layers(layers, t))
        return self.ffn.gamma2(out)

    def _attend(self, t: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        attn, w_msa = self.attn, self.attn.w_msa
        if is_traced() and type(attn) is ShiftWindowMSA:
            return _attend_traced(attn, t, hw_shape)
        if runs_line_by_line(self) or not _is_standard(attn):
            return attn(t, hw_shape)
        shift = _shift(attn, hw_shape)
        qkv = self.casts.linear(w_msa.qkv, t)
        if fits(qkv, w_msa.num_heads, hw_shape, attn.window_size):
            empty = w_msa.qkv.bias  # padding: what qkv makes of zeros
            if not _keeps_bias(w_msa.qkv) and any(
                    side % attn.window_size for side in hw_shape):
                empty = w_msa.qkv(t.new_zeros(1, t.shape[-1]))[0]
            out = fused_attention(
                qkv, empty, w_msa.relative_position_bias_table, hw_shape,
                attn.window_size, shift, w_msa.scale)
            return w_msa.proj_drop(self.casts.linear(w_msa.proj, out))
        plan = plan_windows(t.shape[0], hw_shape, attn.window_size, shift,
                            t.device)
        empty = None
        if plan.empty.numel():  # padding: what qkv makes of zeros
            empty = w_msa.qkv(t.new_zeros(1, t.shape[-1]))[0]
        bias = self.attention_bias(w_msa, shift, plan.kinds, qkv.dtype)
        out = window_attention(qkv, empty, bias, plan, w_msa.scale)
        return w_msa.proj_drop(self.casts.linear(w_msa.proj, out))

    def forget(self) -> None:
        """Forget masks and casts."""
        self.attention_bias.clear()
        super().forget()


class TunedSwinStage(BaseModule):
    """The blocks of one resolution, and the downsampling after them.

    Args:
        stage (SwinBlockSequence): Its children are taken over.

    Attributes:
        step (Step, optional): What all blocks of the backbone make together,
            while it is open; a stage that is checkpointed as a whole needs
            it again in the backward pass.
    """

    step: Optional[Step] = None

    def __init__(self, stage: SwinBlockSequence) -> None:
        super().__init__()
        self.blocks, self.downsample = stage.blocks, stage.downsample
        self.out_channels = stage.out_channels

    def forward(self,
                x: Tensor,
                hw_shape: Tuple[int, int],
                do_downsample: bool = True):
        """Map (B, N, C), (H, W) to the next resolution's, or to its own."""
        normed, blocks = None, list(self.blocks)
        step = self.step
        if step is None or not (step.open or recomputing()):
            step = Step(blocks)
        for block, following in zip(blocks, blocks[1:]):
            if following.alone:
                x = block(x, hw_shape, normed, step=step)
            else:
                x, normed = block(x, hw_shape, normed, following.norm1, step)
        x = blocks[-1](x, hw_shape, normed, step=step)
        if self.downsample is not None and do_downsample:
            x, hw_shape = self.downsample(x, hw_shape)
        return x, hw_shape


def _is_constant(norm: Optional[nn.Module]) -> bool:
    """Whether a norm is a layer norm of torch's that does not train."""
    return (type(norm) is nn.LayerNorm and norm.weight is not None
            and norm.bias is not None and not norm.weight.requires_grad
            and not norm.bias.requires_grad and not is_watched(norm))


def _is_standard(attn: nn.Module) -> bool:
    """Whether the fast form computes what the attention module would."""
    w_msa = attn.w_msa
    return (type(attn) is ShiftWindowMSA and type(w_msa) is WindowMSA
            and not (w_msa.attn_drop.p and w_msa.training))


def _keeps_bias(linear: nn.Module) -> bool:
    """Whether a layer maps zeros to its bias."""
    return type(linear) in (*LINEAR_TYPES, MixedLinear) or getattr(
        linear, 'bias_of_zeros', False)


def _attend_traced(attn: ShiftWindowMSA, t: Tensor, hw_shape) -> Tensor:
    """``attn(t, hw_shape)`` in a form that a trace can hold.

    ShiftWindowMSA turns the number of windows into a Python integer, so that
    its trace is wrong for every other batch size, without a word. Here the
    size of the map alone becomes part of the trace.
    """
    hw_shape = tuple(map(int, hw_shape))
    index, inverse, mask = windows_to_trace(
        hw_shape, attn.window_size, _shift(attn, hw_shape), t.device)
    # A token of zeros at the end stands for the padding.
    rows = F.pad(t, (0, 0, 0, 1)).index_select(1, index)
    out = attn.w_msa(
        rows.reshape(-1, attn.window_size**2, t.shape[-1]), mask)
    out = out.reshape(-1, len(index), t.shape[-1]).index_select(1, inverse)
    return attn.drop(out)


def _shift(attn: ShiftWindowMSA, hw_shape: Tuple[int, int]) -> int:
    """The shift for a map, as ShiftWindowMSA decides it.

    Raises:
        ValueError: If the map is smaller than a window and must not be
            padded.
    """
    if attn.pad_small_map or min(hw_shape) > attn.window_size:
        return attn.shift_size
    if min(hw_shape) < attn.window_size:
        raise ValueError(
            f'a map of {tuple(hw_shape)} is smaller than the window '
            f'({attn.window_size}): set pad_small_map=True, or give larger '
            'images')
    return 0
