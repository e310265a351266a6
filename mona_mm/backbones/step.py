"""What the blocks of one forward pass draw and build together.

On a GPU the number of launches decides. Drop-path, the seeds of dropout and
Mona's combined filters are dozens of small ones if every block makes its own:
here they are a few for all blocks.
"""
from typing import NamedTuple, Optional, Sequence, Tuple

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from mona_mm.ops import runs_line_by_line
from mona_mm.ops.cache import BoundedCache
from mona_mm.ops.launch import interpreted
from mona_mm.ops.mona import MonaParams
from mona_mm.ops.mona_fused import Shared, combine_all, draw_seeds

_RATES = BoundedCache(max_bytes=2**16)


class Share(NamedTuple):
    """A block's part, for its two branches.

    Attributes:
        scales (tuple[Tensor | None, Tensor | None]): (B, 1, 1) factors on
            the branches: drop-path. None: the block draws its own.
        joined (tuple[Shared | None, Shared | None]): For the modules that
            take the addition of the branch over.
    """
    scales: Tuple[Optional[Tensor], Optional[Tensor]] = (None, None)
    joined: Tuple[Optional[Shared], Optional[Shared]] = (None, None)


class Step:
    """The parts of all blocks in one forward pass.

    Random numbers come from the device's generator, so a run that is resumed
    draws what it would have drawn.

    Args:
        blocks (Sequence[nn.Module]): With ``drop_path1``, ``drop_path2`` and
            ``joining(x)``: for both branches the parameters of the Mona
            layer that takes its addition over, or None.

    Attributes:
        open (bool): Whether the forward pass goes on. Weights move on after
            it; what recomputes it in the backward pass may still use it.
    """

    def __init__(self, blocks: Sequence[nn.Module] = ()) -> None:
        self.blocks = blocks
        self.open = True
        self._rows = {id(block): 2 * i for i, block in enumerate(blocks)}
        self._scales: Optional[Tensor] = None
        self._seeds: Optional[Tensor] = None
        self._views: Optional[dict] = None
        self._filters: dict = {}

    def of(self, block: nn.Module, x: Tensor) -> Share:
        """The part of one block for its input (B, N, C).

        It is empty on a CPU, where every block draws its own, and for a
        block that runs as it is written.
        """
        if runs_line_by_line(block) or (
                x.device.type == 'cpu' and not interpreted()):
            return Share()
        if id(block) not in self._rows:  # inside a wrapper, or copied
            return Step([block]).of(block, x)
        with torch.no_grad():
            row = self._rows[id(block)]
            scales = self._scales_in(x)
            joined = tuple(
                None if params is None else self._join(params, x, row + i)
                for i, params in enumerate(block.joining(x)))
        if scales is None:
            return Share(joined=joined)
        return Share(
            tuple(scales[row + i] if type(path) is DropPath else None
                  for i, path in enumerate(
                      (block.drop_path1, block.drop_path2))), joined)

    def _scales_in(self, x: Tensor) -> Optional[Sequence[Tensor]]:
        """The factors in the dtype of the stream, drawn at the first call."""
        if self._views is None:
            self._views = {}
            keeps = tuple(
                1 - path.drop_prob
                if type(path) is DropPath and path.training else 1.
                for block in self.blocks
                for path in (block.drop_path1, block.drop_path2))
            if min(keeps) < 1:
                keep = _RATES.get((x.device, keeps), lambda: torch.tensor(
                    keeps, device=x.device).view(-1, 1))
                draw = torch.rand(len(keeps), len(x), device=x.device)
                self._scales = (draw < keep) / keep
        if self._scales is None:
            return None
        if x.dtype not in self._views:
            scales = self._scales.to(x.dtype)[:, :, None, None]
            self._views[x.dtype] = scales.unbind()
        return self._views[x.dtype]

    def _join(self, params: MonaParams, x: Tensor, row: int) -> Shared:
        if self._seeds is None and any(b.training for b in self.blocks):
            self._seeds = draw_seeds(2 * len(self.blocks), x.device)
        if not self._filters:
            layers = [
                p for block in self.blocks if not block.alone
                for p in block.joining(x)
                if p is not None and p.structure == params.structure
            ]
            if layers:
                self._combine(layers)
        key = params.filters[0]
        if key not in self._filters:
            self._combine([params])
        return Shared(params, *self._filters[key], self._seeds, self._scales,
                      row)

    def _combine(self, layers: Sequence[MonaParams]) -> None:
        combined = combine_all(layers)
        self._filters.update((params.filters[0], (combined, i))
                             for i, params in enumerate(layers))

    def __reduce__(self):
        return Step, (), dict(open=False)
