"""Hierarchical Side-Tuning (HST, arXiv 2310.05393) of a plain ViT.

Every block of the frozen ViT gets M learnable tokens; what becomes of them,
and the patches after the block, guide one block of a light network with four
resolutions, whose maps stand in for the ViT's.

With y_i the patches and t_i the tokens after block i of the ViT, A_s the one
linear bridge of stage s, LN_i a norm per block and R the bilinear resize to
the stage's resolution, a side block does::

    f  = R(A_s(y_i))                          fine-grained branch
    g  = [LN_i(A_s(t_i)), mean(f)]            guide, M + 1 tokens
    x += DP(CrossAttention(LN(x), g))
    x += f
    x += DP(MLP(LN(x)))

The paper resizes first. A_s acts on channels and R on positions with weights
that sum to one, so ``A_s(R(y)) = R(A_s(y))``, bias included; the resize then
moves d_s channels instead of the ViT's C, and the bridge sees 16 times fewer
positions at stride 4.
"""
from collections import OrderedDict
from typing import Optional, Sequence, Tuple

import torch
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mona_mm.ops import runs_line_by_line
from mona_mm.ops.lean_linear import gelu_linear, norm_linear
from mona_mm.registry import TUNERS

from .base import BlockOutput, Tuner, check_positive_int, check_rate


class MetaTokens(nn.Module):
    """The learnable tokens of one block of the ViT.

    Args:
        dims (int): C, the width of the ViT.
        num_tokens (int): M.
    """

    def __init__(self, dims: int, num_tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(1, num_tokens, dims))
        nn.init.xavier_uniform_(self.embedding)

    def forward(self, batch: int) -> Tensor:
        """Give each of ``batch`` images the tokens: (B, M, C)."""
        return self.embedding.expand(batch, -1, -1)


class CrossAttention(nn.Module):
    """Attention of a stage's tokens to the few of a guide.

    Args:
        dims (int): d, the width of the stage.
        num_heads (int): Number of heads.
    """

    def __init__(self, dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dims, dims)
        self.k = nn.Linear(dims, dims)
        self.v = nn.Linear(dims, dims)
        self.proj = nn.Linear(dims, dims)

    def forward(self, q: Tensor, guide: Tensor) -> Tensor:
        """Attend from queries (B, N, d) to a guide (B, M + 1, d)."""
        q, k, v = (
            t.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for t in (q, self.k(guide), self.v(guide)))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).flatten(2))


class SideBlock(nn.Module):
    """One block of the side network, see the formulas of this file.

    Args:
        dims (int): d, the width of the stage.
        num_heads (int): Of its attention.
        mlp_ratio (int): Of its MLP.
        drop_path_rate (float): Stochastic depth.

    Attributes:
        line_by_line (bool): Run the formulas as they are written, instead of
            in a form that keeps less.
    """

    line_by_line = False

    def __init__(self, dims: int, num_heads: int, mlp_ratio: int,
                 drop_path_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=1e-6)
        self.attn = CrossAttention(dims, num_heads)
        self.norm2 = nn.LayerNorm(dims, eps=1e-6)
        self.mlp = nn.Sequential(OrderedDict(
            fc1=nn.Linear(dims, mlp_ratio * dims),
            act=nn.GELU(),
            fc2=nn.Linear(mlp_ratio * dims, dims)))
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor, guide: Tensor, fine: Tensor) -> Tensor:
        """Run the block.

        Args:
            x (Tensor): (B, N, d), the stage's tokens.
            guide (Tensor): (B, M + 1, d).
            fine (Tensor): (B, N, d), the fine-grained branch.

        Returns:
            Tensor: (B, N, d).
        """
        plain = runs_line_by_line(self)
        q = self.attn.q(self.norm1(x)) if plain else norm_linear(
            x, self.norm1, self.attn.q)
        x = x + self.drop_path(self.attn(q, guide)) + fine
        if plain:
            return x + self.drop_path(self.mlp(self.norm2(x)))
        inner = norm_linear(x, self.norm2, self.mlp.fc1)
        return x + self.drop_path(gelu_linear(inner, self.mlp.fc2))


class Reduce(nn.Module):
    """What opens a stage: convolutions that halve the map, and a norm.

    Args:
        conv (nn.Module): (B, c, H, W) -> (B, d, H / 2, W / 2).
        dims (int): d.
    """

    def __init__(self, conv: nn.Module, dims: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.LayerNorm(dims)

    def forward(self, x: Tensor) -> Tuple[Tensor, Tuple[int, int]]:
        """Map (B, c, H, W) to tokens (B, N, d) and their (h, w)."""
        x = self.conv(x)
        return self.norm(x.flatten(2).transpose(1, 2)), tuple(x.shape[2:])


class SideNetwork(nn.Module):
    """Four stages at strides 4, 8, 16 and 32, guided by the ViT's blocks.

    Args:
        in_channels (int): Of the images.
        base_dims (int): C, the width of the ViT.
        depth (int): Number of the ViT's blocks, four times that of a stage.
        dims (Sequence[int]): d_s of the four stages.
        num_heads (Sequence[int]): Heads of the four stages.
        mlp_ratio (int): Inner width of the MLPs over d_s.
        num_tokens (int): M.
        drop_path_rate (float): Of the last block; it grows linearly from 0.
        norm_cfg (dict): The norm of the stem.
        with_cp (bool): Recompute the blocks in the backward pass.
    """

    def __init__(self, in_channels: int, base_dims: int, depth: int,
                 dims: Sequence[int], num_heads: Sequence[int],
                 mlp_ratio: int, num_tokens: int, drop_path_rate: float,
                 norm_cfg: dict, with_cp: bool) -> None:
        super().__init__()
        self.with_cp = with_cp
        stem = nn.Sequential(
            nn.Conv2d(in_channels, dims[0], 3, 2, 1, bias=False),
            build_norm_layer(norm_cfg, dims[0])[1], nn.ReLU(inplace=True),
            nn.Conv2d(dims[0], dims[0], 2, 2))
        halve = [nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(dims, dims[1:])]
        self.reduces = nn.ModuleList(
            Reduce(conv, d) for conv, d in zip([stem, *halve], dims))
        self.bridges = nn.ModuleList(nn.Linear(base_dims, d) for d in dims)
        per_stage = depth // len(dims)
        self.token_norms = nn.ModuleList(
            nn.LayerNorm(dims[i // per_stage])
            for i in range(depth if num_tokens else 0))
        rate = drop_path_rate / max(depth - 1, 1)
        self.stages = nn.ModuleList(
            nn.ModuleList(
                SideBlock(d, h, mlp_ratio, rate * (s * per_stage + j))
                for j in range(per_stage))
            for s, (d, h) in enumerate(zip(dims, num_heads)))
        self.norms = nn.ModuleList(nn.LayerNorm(d, eps=1e-6) for d in dims)
        self.apply(_initialise)

    def forward(self, images: Tensor, outputs: Sequence[BlockOutput]
                ) -> Tuple[Tensor, ...]:
        """Make the maps.

        Args:
            images (Tensor): (B, in_channels, H, W).
            outputs (Sequence[BlockOutput]): Of all blocks of the ViT:
                patches (B, h * w, C), their (h, w), and tokens (B, M, C).

        Returns:
            tuple[Tensor, ...]: (B, d_s, H_s, W_s) with strides 4, 8, 16, 32.
        """
        maps, outputs = [], iter(outputs)
        with_tokens = iter(self.token_norms)
        x = images
        for reduce, bridge, blocks, norm in zip(self.reduces, self.bridges,
                                                self.stages, self.norms):
            x, size = reduce(x)
            for block, output in zip(blocks, outputs):
                fine = _resize(bridge(output.x), output.hw_shape, size)
                guide = fine.mean(1, keepdim=True)
                if output.tokens is not None:
                    meta = next(with_tokens)(bridge(output.tokens))
                    guide = torch.cat((meta, guide), 1)
                if self.with_cp and torch.is_grad_enabled():
                    x = checkpoint(block, x, guide, fine, use_reentrant=False)
                else:
                    x = block(x, guide, fine)
            x = norm(x).transpose(1, 2).unflatten(2, size)
            maps.append(x.contiguous())
        return tuple(maps)


def _resize(x: Tensor, size: Tuple[int, int],
            to: Tuple[int, int]) -> Tensor:
    """Resize tokens (B, h * w, d) bilinearly, to (B, H * W, d)."""
    if tuple(size) == tuple(to):
        return x
    x = x.transpose(1, 2).unflatten(2, tuple(size))
    x = F.interpolate(x, to, mode='bilinear', align_corners=False)
    return x.flatten(2).transpose(1, 2)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode='fan_out',
                                nonlinearity='relu')
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@TUNERS.register_module()
class HST(Tuner):
    """Hierarchical Side-Tuning of a plain ViT.

    The norms of the ViT's blocks train too, so the backward pass crosses the
    ViT. With ``train_norms=False`` it keeps what the tokens' gradients need,
    and without tokens (``num_tokens=0``) nothing of the ViT but the patches
    that the bridges read.

    Args:
        num_tokens (int): M, learnable tokens per block; 0 leaves them out.
            Defaults to 1.
        side_dims (Sequence[int]): d_s, widths of the four stages. Defaults
            to (64, 128, 256, 384), for dense tasks; the paper classifies
            with (32, 48, 64, 72).
        side_heads (Sequence[int]): Attention heads of the four stages.
            Defaults to (2, 4, 8, 12).
        mlp_ratio (int): Inner width of the side network's MLPs over d_s.
            Defaults to 4.
        drop_path_rate (float): Stochastic depth of the side network, linear
            over its blocks; the paper gives the ViT the same. Defaults to 0.
        train_norms (bool): Whether the norms of the ViT's blocks train.
            Defaults to True.
        norm_cfg (dict): The norm of the side network's stem. Defaults to
            ``dict(type='BN')``.
        with_cp (bool): Recompute the side network's blocks in the backward
            pass. Defaults to False.

    Raises:
        ValueError: If an argument is out of its range, or the ViT's depth is
            no multiple of the number of stages.
    """

    colour = '#117733'

    sites = ('tokens', 'side')
    free = ('drop_path_rate', 'norm_cfg', 'with_cp')
    foreign_source = 'hst'
    #: Published names count stages and norms from 1, blocks from 0.
    foreign_names = {
        **{f'm_patch_embed{s + 1}.proj': f'side.reduces.{s}.conv'
           for s in range(1, 4)},
        **{f'{theirs}{s + 1}': f'side.{ours}.{s}' for s in range(4)
           for theirs, ours in (('T_Bridge_', 'bridges'),
                                ('m_patch_embed', 'reduces'),
                                ('m_block', 'stages'), ('m_norm', 'norms'))},
        **{f'm_proj_norm{i + 1}': f'side.token_norms.{i}' for i in range(64)},
        **{f'm_embeddings.{i}': f'layers.{i}.tokens.embedding'
           for i in range(64)},
    }

    def __init__(self,
                 num_tokens: int = 1,
                 side_dims: Sequence[int] = (64, 128, 256, 384),
                 side_heads: Sequence[int] = (2, 4, 8, 12),
                 mlp_ratio: int = 4,
                 drop_path_rate: float = 0.,
                 train_norms: bool = True,
                 norm_cfg: Optional[dict] = None,
                 with_cp: bool = False) -> None:
        if num_tokens != 0:
            check_positive_int('HST', 'num_tokens (if not 0)', num_tokens)
        check_positive_int('HST', 'mlp_ratio', mlp_ratio)
        check_rate('HST', 'drop_path_rate', drop_path_rate)
        for name, values in (('side_dims', side_dims),
                             ('side_heads', side_heads)):
            if not isinstance(values, (list, tuple)) or len(values) != 4:
                raise ValueError(f'HST: {name} must be four integers, one '
                                 f'per stage, but got {values!r}')
            for value in values:
                check_positive_int('HST', name, value)
        if any(d % h for d, h in zip(side_dims, side_heads)):
            raise ValueError(
                'HST: each of side_dims must be a multiple of its side_heads,'
                f' but got {tuple(side_dims)} and {tuple(side_heads)}')
        self.num_tokens, self.train_norms = num_tokens, train_norms
        self.side_dims, self.side_heads = tuple(side_dims), tuple(side_heads)
        self.mlp_ratio, self.drop_path_rate = mlp_ratio, drop_path_rate
        self.norm_cfg, self.with_cp = norm_cfg or dict(type='BN'), with_cp

    def tokens(self, dims: int) -> Optional[MetaTokens]:
        """Make the tokens of one block of width ``dims``."""
        return MetaTokens(dims, self.num_tokens) if self.num_tokens else None

    def side(self, backbone: nn.Module) -> SideNetwork:
        """Make the side network of a backbone with ``embed_dims``."""
        if self.facts.depth % 4:
            raise ValueError(
                'HST: the depth of the ViT must be a multiple of 4, the '
                f'number of stages, but it is {self.facts.depth}')
        return SideNetwork(
            getattr(backbone, 'in_channels', 3), backbone.embed_dims,
            self.facts.depth, self.side_dims, self.side_heads,
            mlp_ratio=self.mlp_ratio, num_tokens=self.num_tokens,
            drop_path_rate=self.drop_path_rate, norm_cfg=self.norm_cfg,
            with_cp=self.with_cp)

    def trains(self, name: str, param: nn.Parameter, owner: nn.Module,
               from_end: Optional[int]) -> bool:
        """Whether it belongs to a norm inside a block."""
        return (self.train_norms and from_end is not None
                and isinstance(owner, self.facts.norms))
