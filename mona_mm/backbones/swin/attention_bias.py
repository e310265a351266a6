"""Relative position bias and shift mask as one additive mask."""
from typing import Optional, Tuple

import torch
from mmpretrain.models.utils import WindowMSA
from torch import Tensor
from torch.nn import functional as F

from mona_mm.ops.cache import tensor_bytes
from mona_mm.ops.windows import shift_masks


class AttentionBias:
    """The additive mask of one block; kept while its table is frozen.

    It has one entry per kind of window (see :mod:`mona_mm.ops.windows`), so
    its size does not depend on the image's. It is made again when the table
    was written to, moved or replaced, and with :meth:`clear`; a table that
    trains is read every time.
    """

    def __init__(self) -> None:
        self._key: Optional[tuple] = None
        self._value: Optional[Tensor] = None

    def __call__(self, w_msa: WindowMSA, shift: int, kinds: Tuple[int, ...],
                 dtype: torch.dtype) -> Tensor:
        """The mask.

        Args:
            w_msa (WindowMSA): The attention module, with its bias table.
            shift (int): The block's shift.
            kinds (tuple[int, ...]): The kinds of windows that occur.
            dtype (torch.dtype): Of queries and keys.

        Returns:
            Tensor: (kinds, heads, P, P), P the places of a window.
        """
        table = w_msa.relative_position_bias_table
        if table.requires_grad or table.is_inference():
            return _make(w_msa, shift, kinds, dtype)
        key = (table.data_ptr(), table._version, table.device, table.dtype,
               shift, kinds, dtype)
        if key != self._key:
            with torch.inference_mode(False), torch.no_grad():
                self._value = _make(w_msa, shift, kinds, dtype)
            self._key = key
        return self._value

    @property
    def nbytes(self) -> int:
        """What is kept."""
        return tensor_bytes(self._value)

    def clear(self) -> None:
        """Forget the mask."""
        self._key = self._value = None

    def __deepcopy__(self, memo) -> 'AttentionBias':
        return AttentionBias()

    def __reduce__(self):
        return AttentionBias, ()


def _make(w_msa: WindowMSA, shift: int, kinds, dtype) -> Tensor:
    window = w_msa.window_size[0]
    index = w_msa.relative_position_index
    bias = w_msa.relative_position_bias_table[index.flatten()]
    bias = bias.view(*index.shape, -1).permute(2, 0, 1).unsqueeze(0)
    if shift:
        masks = shift_masks(window, shift, bias.device)[list(kinds)]
        bias = bias + masks.to(bias.dtype)
    bias = bias.to(dtype).contiguous()
    if bias.is_cuda:  # rows of whole 16 bytes, or SDPA copies it every time
        places = bias.shape[-1]
        bias = F.pad(bias, (0, -places % 8))[..., :places]
    return bias
