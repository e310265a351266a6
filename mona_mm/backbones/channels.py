"""A base that was trained on pictures of another number of channels."""
from typing import Optional

import torch
from torch import Tensor

from mona_mm.errors import CheckpointError

HOW = ('mean', 'repeat', 'zero')


def check_how(owner: str, how: Optional[str]) -> None:
    """Raise ValueError unless ``how`` is one of the three, or None."""
    if how is not None and how not in HOW:
        raise ValueError(f'{owner}: fit_channels must be one of '
                         f'{", ".join(map(repr, HOW))}, but got {how!r}')


def fit_stem(weight: Tensor, channels: int, how: Optional[str]) -> Tensor:
    """Fit the first convolution of a base to another number of channels.

    With the file's kernels w_1 ... w_n and m channels wanted:

    - ``'mean'``: all m kernels are (w_1 + ... + w_n) / m.
    - ``'repeat'``: w_1 ... w_n, w_1 ... again until there are m (m > n); a
      kernel that stands k times is divided by k.
    - ``'zero'``: w_1 ... w_n and then zeros (m > n).

    The sum of the kernels stays, so with the first two a picture whose
    channels are all alike gives what it gave before; with the third the
    first n channels do, and the others count for nothing until the stem is
    trained.

    Args:
        weight (Tensor): (C, n, H, W).
        channels (int): m.
        how (str, optional): One of the three.

    Returns:
        Tensor: (C, m, H, W).

    Raises:
        CheckpointError: If they differ and ``how`` is None, or m < n and it
            is not ``'mean'``.
    """
    given = weight.shape[1]
    if given == channels:
        return weight
    if how == 'mean':
        mean = weight.sum(1, keepdim=True) / channels
        return mean.expand(-1, channels, -1, -1).contiguous()
    if how is None or given > channels:
        told = '' if how is None else (
            f'; {how!r} needs at least as many channels as the base has')
        ways = HOW if given < channels else ('mean', )
        raise CheckpointError(
            f'it was trained on pictures with {given} channels, and the '
            f'backbone has in_channels={channels}{told}. Choose how it is '
            'fitted: --cfg-options ' + ' or '.join(
                f'model.backbone.fit_channels={way}' for way in ways) +
            ' (or take a base for as many channels)')
    if how == 'zero':
        new = weight.new_zeros(
            (len(weight), channels - given, *weight.shape[2:]))
        return torch.cat([weight, new], dim=1)
    source = torch.arange(channels) % given
    times = torch.bincount(source)[source].to(weight.dtype)
    return weight[:, source] / times.view(1, -1, 1, 1)
