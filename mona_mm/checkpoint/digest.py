"""What tensors hold, as a short text that tells any two apart."""
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, Mapping, Optional, Tuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

#: Elements below which starting threads takes longer than hashing.
_FEW = 4_000_000
#: {tensor: (version, digest)}.
_remembered = WeakTensorKeyDictionary()


def file_digest(path: str) -> str:
    """The sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece; all processes that share it have to ask."""
    gather = getattr(tensor, 'full_tensor', None)  # of a DTensor
    return tensor.detach() if gather is None else gather().detach()


def version_of(tensor: Tensor) -> Optional[int]:
    """How often it was written to; None where PyTorch does not count."""
    return None if tensor.is_inference() else tensor._version


def tensor_digest(tensor: Tensor) -> str:
    """The sha256 of a tensor's dtype, shape and bytes, in hex."""
    version, digest = _remembered.get(tensor, (None, ''))
    if version is not None and version == version_of(tensor):
        return digest
    tensor = tensor.detach().cpu().contiguous()
    found = hashlib.sha256(f'{tensor.dtype} {tuple(tensor.shape)}\n'.encode())
    found.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def tensor_digests(tensors: Mapping[str, Tensor]) -> Dict[str, str]:
    """The digest of every tensor; of large ones several at a time."""
    if sum(t.numel() for t in tensors.values()) < _FEW:
        return {k: tensor_digest(v) for k, v in tensors.items()}
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return dict(zip(tensors, pool.map(tensor_digest, tensors.values())))


def remember(tensors: Mapping[str, Tensor],
             digests: Mapping[str, str]) -> None:
    """Note digests of tensors that will soon be asked for again."""
    for name, tensor in tensors.items():
        _remembered[tensor] = version_of(tensor), digests[name]


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


class KnownDigests:
    """Digests of parameters that hardly ever change.

    PyTorch counts the writes to every tensor, so only what was written to
    since the last time is read again.
    """

    def __init__(self) -> None:
        #: {name: (its tensor, writes to it, digest)}
        self._known: Dict[str, Tuple[int, Optional[int], str]] = {}
        #: {name: (digest of what is stored, of what was loaded)}
        self._rounded: Dict[str, Tuple[str, str]] = {}

    def of(self, tensors: Mapping[str, Tensor]) -> Dict[str, str]:
        """:func:`base_digests` of tensors; of rounded ones as loaded."""
        found = base_digests({
            n: whole(t) for n, t in tensors.items()
            if version_of(t) is None
            or self._known.get(n, ())[:2] != (id(t), version_of(t))
        })
        for name, digest in found.items():
            rounded, loaded = self._rounded.get(name, (None, None))
            found[name] = loaded if digest == rounded else digest
        self.note(tensors, found)
        return {n: self._known[n][2] for n in tensors}

    def note(self, tensors: Mapping[str, Tensor],
             digests: Mapping[str, str]) -> None:
        """Take digests for those that tensors have now."""
        self._known.update((n, (id(tensors[n]), version_of(tensors[n]), d))
                           for n, d in digests.items())

    def note_rounding(self, tensors: Mapping[str, Tensor],
                      given: Mapping[str, Tensor]) -> None:
        """Remember what becomes of values that are stored in fewer bits.

        They are still the base that was loaded.

        Args:
            tensors (Mapping[str, Tensor]): Where they will be stored.
            given (Mapping[str, Tensor]): What will be copied there.
        """
        wide = {n: v for n, v in given.items()
                if v.dtype.itemsize > tensors[n].dtype.itemsize}
        stored = base_digests(
            {n: v.to(tensors[n].dtype) for n, v in wide.items()})
        self._rounded.update(
            (n, (stored[n], d)) for n, d in base_digests(wide).items())
