"""Swin Transformer V2 (arXiv 2111.09883) with tuners at its sites."""
from typing import Iterator, Sequence, Union

from mmpretrain.models.backbones.swin_transformer_v2 import (
    SwinBlockV2,
    SwinTransformerV2,
)

from mona_mm.registry import MODELS
from mona_mm.tuners import SITES, Tuner

from ..family import NumberedNorms, TunedFamily
from ..tuned import Slot
from .blocks import TunedSwinBlockV2
from .layouts import SwinV2Names

__all__ = ['TunedSwinTransformerV2']


@MODELS.register_module()
class TunedSwinTransformerV2(NumberedNorms, TunedFamily, SwinTransformerV2):
    """mmpretrain's Swin Transformer V2, tuned by any registered method.

    Args:
        arch (str | dict): ``'tiny'``, ``'base'`` and so on, or a dict with
            ``embed_dims``, ``depths``, ``num_heads`` and
            ``extra_norm_every_n_blocks``. Defaults to ``'tiny'``.
        out_indices (Sequence[int]): Stages to output. Defaults to all four.
        drop_path_rate (float): Stochastic depth. Defaults to 0.1.
        window_size (int | Sequence[int]): Side of the windows, of every
            stage. Defaults to 8.
        pretrained_window_sizes (Sequence[int]): Those that the base was
            trained with, if they are others: they scale the coordinates of
            the position bias. Defaults to zeros, the same ones.
        pad_small_map (bool): Pad maps smaller than the window, as dense
            tasks do. Defaults to True.
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant,
            so a frozen input is fine). Defaults to False.
        **kwargs: See :class:`~mona_mm.backbones.family.TunedFamily` and
            mmpretrain's ``SwinTransformerV2``.
    """

    stem = 'patch_embed.projection.weight'
    sites = (*SITES, 'side')
    layouts, derived = SwinV2Names.layouts, SwinV2Names.derived
    plain_class = SwinTransformerV2
    family, zoo = 'swin_v2', SwinTransformerV2.arch_zoo
    arch_facts = ('embed_dims', 'depths', 'num_heads',
                  'extra_norm_every_n_blocks')
    own_facts = ('pretrained_window_sizes', 'out_indices')

    def __init__(self,
                 arch: Union[str, dict] = 'tiny',
                 *,
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 window_size: Union[int, Sequence[int]] = 8,
                 pretrained_window_sizes: Sequence[int] = (0, 0, 0, 0),
                 pad_small_map: bool = True,
                 **kwargs) -> None:
        self.pretrained_window_sizes = list(pretrained_window_sizes)
        super().__init__(
            arch=arch,
            out_indices=tuple(out_indices),
            window_size=window_size,
            pretrained_window_sizes=pretrained_window_sizes,
            pad_small_map=pad_small_map,
            **kwargs)

    def block_slots(self) -> Iterator[Slot]:
        """The blocks up to the last output, in order."""
        for s, stage in enumerate(self.stages[:max(self.out_indices) + 1]):
            for b in range(len(stage.blocks)):
                yield Slot(f'stages.{s}.blocks.{b}', stage.blocks, b)

    def tune_block(self, block: SwinBlockV2,
                   tuner: Tuner) -> TunedSwinBlockV2:
        """Rebuild one block with the tuner's modules at its sites."""
        return TunedSwinBlockV2(block, tuner)

    def facts(self) -> dict:
        """What a checkpoint must agree with, beyond shapes."""
        return dict(
            super().facts(), window_sizes=list(self.window_sizes),
            pad_small_map=self.stages[0].blocks[0].attn.pad_small_map)

    def arguments(self, facts: dict) -> dict:
        """The arguments behind facts."""
        return dict(super().arguments(facts),
                    window_size=facts.get('window_sizes'),
                    pad_small_map=facts.get('pad_small_map'))

    def _delete_reinit_params(self, state_dict, prefix: str, *args) -> None:
        """Use the computed buffers of this backbone, whatever a file has.

        mmpretrain's hook of this name deletes them, so that every strict
        load complains.
        """
        for name, buffer in self.named_buffers():
            if name.endswith(self.derived) and prefix + name in state_dict:
                state_dict[prefix + name] = buffer
