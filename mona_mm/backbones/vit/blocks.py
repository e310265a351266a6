"""The ViT block: frozen parts in their fast form, and the tuner's sites."""
from typing import Optional, Tuple

from mmcv.cnn.bricks import DropPath
from mmcv.cnn.bricks.transformer import FFN
from mmengine.model import BaseModule
from mmpretrain.models.backbones.vision_transformer import (
    TransformerEncoderLayer,
)
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn

from mona_mm.ops import runs_line_by_line
from mona_mm.ops.frozen import CastOnce, Forgetful
from mona_mm.tuners import Tuner

from ..sites import TunedBlock
from ..step import Share, Step
from .attention import attend, attend_in_windows, split_heads

#: Sites behind the attention: what stands there changes the tokens that it
#: sees, and no others.
BEHIND = ('attn_out', 'beside_attn', 'after_attn', 'ffn_in', 'ffn_out',
          'beside_ffn', 'after_ffn')


class TunedViTBlock(TunedBlock, Forgetful, BaseModule):
    """A ViT block rebuilt from its own children, with sites.

    ``ln1``, ``attn``, ``ln2`` and ``ffn`` keep their names, so pretrained
    weights fit; drop-path moves out of ``attn`` and ``ffn``, so that
    something can stand between their layer scale and it.

    Args:
        block (TransformerEncoderLayer): The plain block; it must not be used
            afterwards.
        tuner (Tuner): What to insert.
        window_size (int): Side of the windows that patches attend in; 0:
            they attend globally. Defaults to 0.
        with_cp (bool): Recompute the block in the backward pass. Defaults to
            False.
        patches_end (bool): Of the block's output only the class token is
            used: what sees patches alone is not inserted behind the
            attention, where it could never learn. Defaults to False.

    Attributes:
        line_by_line (bool): Run mmpretrain's attention and MLP as they are
            written, instead of the fast form. The mathematics is the same.
    """

    branches = dict(attn=('ln1', 'attn'), ffn=('ln2', 'ffn'))

    def __init__(self,
                 block: TransformerEncoderLayer,
                 tuner: Tuner,
                 window_size: int = 0,
                 with_cp: bool = False,
                 patches_end: bool = False) -> None:
        super().__init__()
        self.window_size, self.with_cp = window_size, with_cp
        self.ln1, self.attn = block.ln1, block.attn
        self.ln2, self.ffn = block.ln2, block.ffn
        self.drop_path1, self.attn.out_drop = (self.attn.out_drop,
                                               nn.Identity())
        self.drop_path2, self.ffn.dropout_layer = (self.ffn.dropout_layer,
                                                   nn.Identity())
        self.ffn.add_identity = False  # the sum is the block's
        for path in (self.drop_path1, self.drop_path2):
            if isinstance(path, DropPath):  # compilers know no NumPy scalars
                path.drop_prob = float(path.drop_prob)
        fc1, fc2 = ('layers.0.0', 'layers.1') if type(
            self.ffn) is FFN else ('w12', 'w3')
        self.linears = dict(qkv='attn.qkv', proj='attn.proj',
                            fc1=f'ffn.{fc1}', fc2=f'ffn.{fc2}')
        self.insert(tuner, self.attn.embed_dims)
        for site in BEHIND if patches_end else ():
            if site in self.occupied and not getattr(
                    getattr(self, site), 'takes_tokens', False):
                delattr(self, site)
        self.occupied = frozenset(name for name, _ in self.named_children())
        self.casts = CastOnce()

    def init_weights(self) -> None:
        """Start the MLP as mmpretrain's ViT does."""
        super().init_weights()
        for site in ('fc1', 'fc2'):
            linear = self.get_submodule(self.linears[site])
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)

    def forward(self,
                x: Tensor,
                hw_shape: Tuple[int, int],
                before: int = 0,
                step: Optional[Step] = None) -> Tensor:
        """Run the block.

        Args:
            x (Tensor): (B, T + N, C) with N = H * W, tokens first.
            hw_shape (tuple[int, int]): (H, W).
            before (int): T, class and register tokens. Defaults to 0.
            step (Step, optional): What the blocks of this pass make together;
                without it the block makes its own.

        Returns:
            Tensor: (B, T + N, C).
        """
        share = (step or Step([self])).of(self, x)
        x, extra = self.enter(x)
        x = self.recompute(self._run, x, hw_shape, extra + before, share)
        return self.leave(x, hw_shape, extra, before)

    def joining(self, x: Tensor) -> Tuple[None, None]:
        """No site takes the addition of a branch over (see :class:`Step`)."""
        return None, None

    def _run(self, x: Tensor, hw_shape: Tuple[int, int], before: int,
             share: Share) -> Tensor:

        def attend(t: Tensor) -> Tensor:
            """Attention and its layer scale."""
            return self._attend(t, hw_shape, before)

        for part, norm, run, path, scale in (
                ('attn', self.ln1, attend, self.drop_path1, share.scales[0]),
                ('ffn', self.ln2, self._mix, self.drop_path2,
                 share.scales[1])):

            def branch(x, normed, part=part, norm=norm, run=run):
                """All of this half before drop-path, of some samples."""
                return self.branch(part, x, normed, hw_shape, norm, run,
                                   before)

            x = self.plus(part, x, None, hw_shape, norm, branch, path, before,
                          scale)
            x = self.at(f'after_{part}', x, hw_shape, before)
        return x

    def _attend(self, t: Tensor, hw_shape: Tuple[int, int],
                before: int) -> Tensor:
        attn, fast = self.attn, not runs_line_by_line(self)
        standard = type(attn) is MultiheadAttention and not attn.v_shortcut
        if not self.window_size and not (fast and standard):
            return attn(t)
        linear = self.casts.linear if fast else nn.Module.__call__
        drop_rate = attn.attn_drop if self.training else 0.
        qkv = linear(attn.qkv, t)
        if self.window_size:
            empty = None
            if any(side % self.window_size for side in hw_shape):
                empty = attn.qkv(t.new_zeros(1, t.shape[-1]))[0]
            out = attend_in_windows(qkv, empty, hw_shape, self.window_size,
                                    attn.num_heads, before, drop_rate)
        else:
            out = attend(*split_heads(qkv, attn.num_heads), drop_rate)
        return attn.gamma1(attn.proj_drop(linear(attn.proj, out)))

    def _mix(self, t: Tensor) -> Tensor:
        if runs_line_by_line(self) or type(self.ffn) is not FFN:
            return self.ffn(t)
        return self.ffn.gamma2(self.casts.layers(self.ffn.layers, t))
