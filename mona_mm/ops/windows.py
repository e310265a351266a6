"""Where every token sits when a map is cut into (shifted) windows.

Padding, cyclic shift and window partition are one gather; its inverse is
another. Windows are sorted by kind: those inside first, then those that the
shift wraps around at the right, at the bottom, and in the corner. All windows
of a kind have the same attention mask, so masks need no space per window and
do not depend on the size of the image.
"""
from typing import NamedTuple, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from .cache import BoundedCache

#: Plans of the shapes seen last. A plan has about 16 bytes per token.
PLANS = BoundedCache(max_bytes=64 * 2**20)


class WindowPlan(NamedTuple):
    """How a batch of maps is cut.

    Attributes:
        index (Tensor): (places, ), the token at every place of every window;
            0 where there is none.
        inverse (Tensor): (B * N, ), the place of every token.
        empty (Tensor): The places without a token.
        kinds (tuple[int, ...]): The kinds of windows that occur: 0 inside, 1
            right, 2 bottom, 3 corner (without a shift all are inside).
        counts (tuple[int, ...]): Windows of those kinds, B included.
    """
    index: Tensor
    inverse: Tensor
    empty: Tensor
    kinds: Tuple[int, ...]
    counts: Tuple[int, ...]


def plan_windows(batch: int, hw_shape: Tuple[int, int], window: int,
                 shift: int, device: torch.device) -> WindowPlan:
    """Plan the windows of a batch of maps, or take the plan from the cache.

    Args:
        batch (int): B.
        hw_shape (tuple[int, int]): (H, W); whole windows are made by padding
            at the right and bottom.
        window (int): Side of a window.
        shift (int): How far the map is rolled up and left before it is cut;
            with 0 there is one kind of windows, else four.
        device (torch.device): Where the plan is used.
    """
    key = (batch, tuple(hw_shape), window, shift, device)
    return PLANS.get(key, lambda: _plan(*key))


def _plan(batch, hw_shape, window, shift, device) -> WindowPlan:
    # On the host, whatever the ambient mode and default device are.
    with torch.inference_mode(False), torch.device('cpu'):
        cut = _cut_tokens(hw_shape, window, shift)
        kinds = (cut, )
        if shift:  # inside, right, bottom, corner
            kinds = (cut[:-1, :-1], cut[:-1, -1:], cut[-1:, :-1],
                     cut[-1:, -1:])
        present = tuple(i for i, k in enumerate(kinds) if k.numel())
        kinds = [kinds[i].reshape(1, -1, window**2) for i in present]
        first = torch.arange(batch).view(-1, 1, 1) * hw_shape[0] * hw_shape[1]
        index = torch.cat(
            [torch.where(k < 0, k, k + first).flatten() for k in kinds])
        taken = torch.nonzero(index >= 0).flatten()
        inverse = torch.empty_like(taken)
        inverse[index[taken]] = taken
        empty = torch.nonzero(index < 0).flatten()
        return WindowPlan(
            index.clamp_(min=0).to(device), inverse.to(device),
            empty.to(device), present,
            tuple(batch * k.shape[1] for k in kinds))


def _cut_tokens(hw_shape, window: int, shift: int) -> Tensor:
    """Token numbers (rows, cols, window, window) of one map, -1: none."""
    height, width = hw_shape
    rows, cols = (-(-size // window) for size in hw_shape)
    y, x = ((torch.arange(n * window) + shift) % (n * window)
            for n in (rows, cols))
    token = y[:, None] * width + x
    token[(y >= height)[:, None] | (x >= width)] = -1
    return token.view(rows, window, cols, window).transpose(1, 2)


def shift_masks(window: int, shift: int, device: torch.device) -> Tensor:
    """Additive masks of the four kinds, (4, 1, window**2, window**2).

    Tokens that the roll brought together from opposite borders get -100, as
    in the published models.
    """
    near = torch.zeros(window, dtype=torch.long, device=device)
    far = (torch.arange(window, device=device) >= window - shift).long()
    labels = torch.stack([(2 * y[:, None] + x).flatten()
                          for y in (near, far) for x in (near, far)])
    differ = labels[:, None, :] != labels[:, :, None]
    return torch.where(differ, -100., 0.).unsqueeze(1)


def windows_to_trace(hw_shape: Tuple[int, int], window: int, shift: int,
                     device: torch.device):
    """The windows of one map, as constants for a tracer.

    Returns:
        tuple: The token at every place (places, ), H * W where there is none;
        the place of every token (H * W, ); and the additive mask of every
        window (windows, window**2, window**2), None without a shift.
    """
    # In NumPy throughout: what a tracer makes of tensors must not come into
    # a cache, and what a cache holds would be no constant of the trace.
    height, width = hw_shape
    rows, cols = (-(-size // window) for size in hw_shape)
    y, x = ((np.arange(n * window) + shift) % (n * window)
            for n in (rows, cols))
    token = y[:, None] * width + x
    token[(y >= height)[:, None] | (x >= width)] = height * width
    index = token.reshape(rows, window, cols, window).swapaxes(1, 2).ravel()
    taken = np.flatnonzero(index < height * width)
    inverse = np.empty(height * width, np.int64)
    inverse[index[taken]] = taken

    def constant(values) -> Tensor:
        return torch.from_numpy(values).to(device)

    mask = None
    if shift:  # as shift_masks: where the roll brought borders together
        far_y, far_x = (
            (np.arange(n * window) >= n * window - shift).reshape(n, window)
            for n in (rows, cols))
        labels = (2 * far_y[:, None, :, None]
                  + far_x[None, :, None, :]).reshape(rows * cols, -1)
        differ = labels[:, None, :] != labels[:, :, None]
        mask = constant(np.where(differ, np.float32(-100), np.float32(0)))
    return constant(index), constant(inverse), mask


def cut(tokens: Tensor, plan: WindowPlan,
        empty: Optional[Tensor] = None) -> Tensor:
    """Gather (B * N, D) into places (P, D); empty places get ``empty``."""
    rows = tokens.index_select(0, plan.index)
    if plan.empty.numel():
        rows[plan.empty] = 0 if empty is None else empty.to(rows.dtype)
    return rows


def paste(rows: Tensor, plan: WindowPlan) -> Tensor:
    """Put places (P, D) back to tokens (B * N, D)."""
    return rows.index_select(0, plan.inverse)
