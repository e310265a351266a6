"""What tensors hold, as a short text that tells any two apart."""
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, Mapping

import torch
from torch import Tensor

#: Elements below which starting threads takes longer than hashing.
_FEW = 4_000_000


def tensor_digest(tensor: Tensor) -> str:
    """The sha256 of a tensor's dtype, shape and bytes, in hex."""
    tensor = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(
        f'{tensor.dtype} {tuple(tensor.shape)}\n'.encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def tensor_digests(tensors: Mapping[str, Tensor]) -> Dict[str, str]:
    """The digest of every tensor; of large ones several at a time."""
    if sum(t.numel() for t in tensors.values()) < _FEW:
        return {k: tensor_digest(v) for k, v in tensors.items()}
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return dict(zip(tensors, pool.map(tensor_digest, tensors.values())))


def base_digests(tensors: Mapping[str, Tensor]) -> Dict[str, str]:
    """The digest of every tensor's float32 content.

    A base is the same base in every precision that a model runs in.
    """
    return tensor_digests({
        k: v.float() if v.is_floating_point() else v
        for k, v in tensors.items()
    })


def joined(digests: Mapping[str, str]) -> str:
    """One digest of many named ones, whatever their order."""
    lines = ''.join(f'{k} {digests[k]}\n' for k in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def state_digest(tensors: Mapping[str, Tensor]) -> str:
    """One digest of names, dtypes, shapes and bytes, whatever the order."""
    return joined(tensor_digests(tensors))
