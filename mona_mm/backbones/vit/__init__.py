"""Vision Transformer (arXiv 2010.11929) with tuners at its sites."""
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import torch
from mmpretrain.models.backbones.vision_transformer import (
    TransformerEncoderLayer,
    VisionTransformer,
)
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from mona_mm.registry import MODELS
from mona_mm.tuners import EXTRAS, SITES, Tuner

from ..family import TunedFamily, resize_grid
from ..step import Step
from ..tuned import Slot
from .blocks import TunedViTBlock
from .layouts import HEADS, ViTNames, resize_kernel

__all__ = ['TunedVisionTransformer']


@MODELS.register_module()
class TunedVisionTransformer(TunedFamily, VisionTransformer):
    """mmpretrain's Vision Transformer, tuned by any registered method.

    State-dict keys of the pretrained part and outputs are mmpretrain's; but
    for the default of ``out_type``, its arguments mean what they mean there.
    Blocks behind the last output are neither run nor tuned.

    Args:
        arch (str | dict): mmpretrain's: ``'base'``, ``'large'``,
            ``'deit-small'`` (ViT-S of DeiT, DINOv2 and augreg; ``'small'`` is
            an older network there, 8 blocks of width 768), ..., or a dict
            with ``embed_dims``, ``num_layers``, ``num_heads`` and
            ``feedforward_channels``.
        img_size (int | tuple): Together with ``patch_size`` the grid of the
            position embedding; best that of the base file (DINOv2: 518),
            images may have any size. Defaults to 224.
        patch_size (int): Of the patch embedding. Defaults to 16.
        out_indices (Sequence[int] | int): Blocks to output, negative ones
            from the end, one may stand several times. Defaults to -1.
        out_type (str): ``'featmap'`` (maps for dense tasks), or for
            classifiers ``'cls_token'``, ``'avg_featmap'`` and ``'raw'``.
            Defaults to ``'featmap'``.
        with_cls_token (bool): Defaults to True. Without it that of a file is
            left out.
        num_registers (int): Register tokens behind the class token, without
            positions (arXiv 2309.16588). Defaults to 0.
        window_size (int): Side of the windows that patches attend in, but in
            ``global_blocks`` (ViTDet, arXiv 2203.16527). Class and register
            tokens attend to, and are attended by, everything. 0: all blocks
            are global. Defaults to 0.
        global_blocks (Sequence[int], optional): By default the last one of
            each quarter of the blocks.
        drop_path_rate (float): Stochastic depth, active in frozen blocks too.
            Defaults to 0.
        final_norm (bool): Apply the final norm to the last block's output.
            Defaults to True. Without it that of a file is left out.
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant,
            so a frozen input is fine). Defaults to False.
        fit_patch (bool): Resize the patch kernel of a base for another patch
            size (DINOv2's 14 to 16, bicubically, as Rein does). Without it
            such a base is refused. Defaults to False.
        map_final_norm (bool): With ``out_type='avg_featmap'``, load a file's
            final norm into the norm of the average. MAE's fine-tuning does
            not. Defaults to False.
        **kwargs: See :class:`~mona_mm.backbones.family.TunedFamily` and
            mmpretrain's ``VisionTransformer``
            (``pre_norm`` and ``layer_cfgs=dict(act_cfg=dict(
            type='mmpretrain.QuickGELU'))`` for CLIP,
            ``layer_scale_init_value`` for DINOv2).

    Raises:
        ValueError: If ``frozen_stages`` is given, or the tuner asks for a
            site that the blocks do not offer, or an argument is out of its
            range.
    """

    stem = 'patch_embed.projection.weight'
    sites = (*SITES, *EXTRAS)
    layouts = ViTNames.layouts
    plain_class = VisionTransformer
    family, zoo = 'vit', VisionTransformer.arch_zoo
    arch_facts = ('embed_dims', 'num_layers', 'num_heads',
                  'feedforward_channels')
    own_facts = ('patch_size', 'img_size', 'with_cls_token', 'final_norm',
                 'out_indices', 'out_type')
    usual_facts = dict(TunedFamily.usual_facts, fit_patch=False,
                       num_registers=0, window_size=0)

    def __init__(self,
                 arch: Union[str, dict] = 'base',
                 *,
                 patch_size: int = 16,
                 out_indices: Union[int, Sequence[int]] = -1,
                 out_type: str = 'featmap',
                 num_registers: int = 0,
                 window_size: int = 0,
                 global_blocks: Optional[Sequence[int]] = None,
                 with_cp: bool = False,
                 fit_patch: bool = False,
                 **kwargs) -> None:
        self.num_registers, self.window_size = num_registers, window_size
        self.patch_size, self.fit_patch = patch_size, fit_patch
        self.with_cp, self._asked = with_cp, (out_indices, global_blocks)
        super().__init__(
            arch=arch,
            patch_size=patch_size,
            out_indices=-1,
            out_type=out_type,
            **kwargs)

    def prepare(self) -> None:
        """Count the outputs, and add what mmpretrain's class lacks."""
        self.num_heads, self.feedforward_channels = (
            self.arch_settings[k] for k in self.arch_facts[2:])
        out_indices, global_blocks = self._asked
        self.out_indices = self._indices('out_indices', out_indices)
        if self.num_registers:
            self.register_tokens = nn.Parameter(
                torch.zeros(1, self.num_registers, self.embed_dims))
        if global_blocks is None:
            quarter = max(self.num_layers // 4, 1)
            global_blocks = range(quarter - 1, self.num_layers, quarter)
        self.global_blocks = self._indices('global_blocks', global_blocks)
        if self.num_registers or self.window_size or list(
                self.out_indices) != sorted(set(self.out_indices)):
            self.plain_class = None  # mmpretrain's has none of that

    def _indices(self, name: str, given) -> Tuple[int, ...]:
        """Indices of blocks, none of them negative."""
        given = (given, ) if isinstance(given, int) else tuple(given)
        if any(not -self.num_layers <= i < self.num_layers for i in given):
            raise ValueError(
                f'{type(self).__name__}: {name} must be indices of its '
                f'{self.num_layers} blocks, but got {list(given)}')
        return tuple(i % self.num_layers for i in given)

    @property
    def depth(self) -> int:
        """How many blocks are run: those up to the last output."""
        return max(self.out_indices) + 1

    def block_slots(self) -> Iterator[Slot]:
        """The blocks that are run, in order."""
        for i in range(self.depth):
            yield Slot(f'layers.{i}', self.layers, i)

    def tune_block(self, block: TransformerEncoderLayer,
                   tuner: Tuner) -> TunedViTBlock:
        """Rebuild one block with the tuner's modules at its sites."""
        i = next(i for i, b in enumerate(self.layers) if b is block)
        return TunedViTBlock(
            block, tuner,
            window_size=0 if i in self.global_blocks else self.window_size,
            with_cp=self.with_cp,
            patches_end=self.out_type == 'cls_token' and i + 1 == self.depth
            and 'side' not in tuner.sites)

    @classmethod
    def plain_arguments(cls, given: Mapping[str, Any]) -> Dict[str, Any]:
        """mmpretrain writes into ``out_indices`` if one is negative."""
        found = super().plain_arguments(given)
        if not isinstance(found.get('out_indices', -1), int):
            found['out_indices'] = list(found['out_indices'])
        return found

    def unused(self, tuner: Tuner) -> List[str]:
        """Blocks behind the last output, and norms that nothing follows."""
        found = [f'layers.{i}.' for i in range(self.depth, self.num_layers)]
        beside = 'side' in tuner.sites  # it replaces what follows
        if self.final_norm and (found or beside):
            found.append('ln1.')
        if self.out_type == 'avg_featmap' and beside:
            found.append('ln2.')
        return found

    def part_of(self, name: str) -> str:
        """The part that a parameter is counted with: its block."""
        parts = name.split('.')
        if parts[0] == 'layers':
            return f'block {parts[1]}'
        return {'ln1': 'final norm', 'ln2': 'norm of the average'}.get(
            parts[0], parts[0])

    def output_norms(self) -> Dict[int, str]:
        """The norm of the average; the final norm belongs to the base."""
        if self.out_type == 'avg_featmap':
            return {self.depth - 1: 'ln2'}
        return {}

    def place(self, tensors: Dict[str, Tensor], map_final_norm: bool
              ) -> Tuple[Dict[str, Tensor], List[str]]:
        """Decide what of a file is loaded, and what is rightly left out.

        Args:
            tensors (dict[str, Tensor]): Under mm names.
            map_final_norm (bool): Whether the final norm becomes that of the
                average.

        Returns:
            tuple[dict[str, Tensor], list[str]]: What to load, and the names
            of the rest: heads, decoders, text towers, and what the arguments
            of this backbone say that it does without.
        """
        placed: Dict[str, Tensor] = {}
        left: List[str] = []
        averages = self.out_type == 'avg_featmap'
        for name, value in tensors.items():
            if name.startswith('ln1.') and not self.final_norm:
                norm = name.replace('ln1.', 'ln2.')
                if map_final_norm and averages and norm not in tensors:
                    placed[norm] = value
                else:
                    left.append(name)
            elif name.startswith(HEADS) or (
                    name.startswith('ln2.') and not averages) or (
                    name == 'cls_token' and not self.with_cls_token):
                left.append(name)
            else:
                placed[name] = value
        pos = placed.get('pos_embed')
        if (not self.with_cls_token and 'cls_token' in tensors
                and pos is not None and pos.ndim == 3):
            placed['pos_embed'] = pos[:, 1:]
        return placed, left

    def fit(self, name: str, given: Tensor,
            own: Tensor) -> Tuple[Tensor, str]:
        """Resize positions of another grid and, if asked to, the kernel.

        Args:
            name (str): Of the tensor.
            given (Tensor): The file's.
            own (Tensor): This backbone's.

        Returns:
            tuple[Tensor, str]: What to load (as given if it does not fit),
            and a line for the log if it was changed.
        """
        if given.shape == own.shape:
            return given, ''
        grid = self.patch_resolution
        if name == 'pos_embed' and (found := resize_grid(
                given, own, grid, self.interpolate_mode)) is not None:
            side = round((given.shape[1] - self.num_extra_tokens)**0.5)
            return found, (
                f'pos_embed: interpolated from {side} x {side} to {grid[0]} x '
                f'{grid[1]}, because img_size is not the one that the base '
                'was trained with; with model.backbone.img_size='
                f'{side * self.patch_size} it is kept as it is, and images '
                'may still have any size')
        if (name == self.stem and self.fit_patch and given.ndim == 4
                and given.shape[:2] == own.shape[:2]):
            return resize_kernel(given, own.shape[2:], self.interpolate_mode
                                 ), (
                f'{name}: patch size {given.shape[-1]} resized to '
                f'{own.shape[-1]} ({self.interpolate_mode})')
        return given, ''

    def facts(self) -> Dict[str, Any]:
        """What a checkpoint must agree with, beyond shapes."""
        block = self.layers[0]
        layers = getattr(block.ffn, 'layers', None)
        act = 'SwiGLU' if layers is None else type(layers[0][1]).__name__
        unusual = dict(
            pre_norm=(not isinstance(self.pre_norm, nn.Identity), False),
            qkv_bias=(block.attn.qkv.bias is not None, True),
            ffn=(type(block.ffn).__name__, 'FFN'),
            activation=(act, 'GELU'),
            norm_eps=(block.ln1.eps, 1e-6))
        found = {k: v for k, (v, usual) in unusual.items() if v != usual}
        if self.window_size:
            found['global_blocks'] = list(self.global_blocks)
        return dict(
            super().facts(), **found,
            layer_scale=not isinstance(block.attn.gamma1, nn.Identity))

    def arguments(self, facts: Dict[str, Any]) -> Dict[str, Any]:
        """The arguments behind facts: an arch by its name if it has one."""
        usual = dict(pre_norm=False, qkv_bias=True, global_blocks=None)
        return dict(super().arguments(facts),
                    **{k: facts.get(k, v) for k, v in usual.items()})

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Extract features.

        Args:
            x (Tensor): Images, (B, in_channels, H, W), of any size: the
                positions are interpolated, and the right and lower border is
                filled up to whole patches.

        Returns:
            tuple[Tensor, ...]: One for each of ``out_indices``, in their
            order: with ``out_type='featmap'`` (B, C, H / patch_size,
            W / patch_size); or the maps of the tuner's side network.

        Raises:
            RuntimeError: In training or inside a Runner, if the frozen base
                was never loaded.
        """
        self.frozen.require()
        step = Step([s.container[s.index] for s in self.block_slots()])
        try:
            return self.beside(x, lambda images: self._extract(images, step))
        finally:
            step.open = False

    def _extract(self, images: Tensor, step: Step) -> Tuple[Tensor, ...]:
        x, hw_shape = self.patch_embed(images)
        before = self.num_extra_tokens + self.num_registers
        if self.cls_token is not None:
            x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1)
        x = x + resize_pos_embed(
            self.pos_embed, self.patch_resolution, hw_shape,
            mode=self.interpolate_mode,
            num_extra_tokens=self.num_extra_tokens)
        if self.num_registers:  # they have no positions
            first = self.num_extra_tokens
            registers = self.register_tokens.expand(len(x), -1, -1)
            x = torch.cat((x[:, :first], registers, x[:, first:]), dim=1)
        x = self.pre_norm(self.drop_after_pos(x))
        found = {}
        for i, block in zip(range(self.depth), self.layers):
            x = block(x, hw_shape, before, step)
            if self.final_norm and i + 1 == self.num_layers:
                x = self.ln1(x)
            if i in self.out_indices:
                found[i] = self._formed(x, hw_shape)
        return tuple(found[i] for i in self.out_indices)

    def _formed(self, x: Tensor, hw: Tuple[int, int]) -> Tensor:
        """Give (B, T + N, C) the form that ``out_type`` says."""
        if self.out_type == 'raw':
            return x
        if self.out_type == 'cls_token':
            return x[:, 0]
        patches = x[:, self.num_extra_tokens + self.num_registers:]
        if self.out_type == 'avg_featmap':
            return self.ln2(patches.mean(dim=1))
        return patches.transpose(1, 2).unflatten(2, hw)
