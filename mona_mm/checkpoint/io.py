"""Reading checkpoint files: safely, and with errors that name the file."""
import logging
import os
import os.path as osp
import pickle
import re
import struct
import zipfile
import zlib
from typing import Any, Dict, List

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from torch import Tensor

from mona_mm.errors import CheckpointError

from .cache import fetch, forget
from .pack import unpack
from .record import check_state
from .safetensors import read_safetensors

#: Environment variable: 1 lets checkpoints run code, as torch.load used to.
TRUST = 'MONA_MM_TRUST_CHECKPOINTS'


def read_checkpoint(source: str,
                    map_location: Any = 'cpu') -> Dict[str, Any]:
    """Read a checkpoint: tensors, plain data and mmengine's log buffers.

    Nothing in the file is executed: a pickle that needs other classes is
    refused, unless the environment variable ``MONA_MM_TRUST_CHECKPOINTS`` is
    1. The checksums of the archive's members are verified, because
    ``torch.load`` accepts flipped bits silently, and so is the record that
    our own checkpoints carry.

    Args:
        source (str): A path, or an http(s) URL, of a file of ``torch.save``
            or a ``.safetensors`` file.
        map_location (str | torch.device | Callable): Where tensors go.

    Returns:
        dict: What the file holds.

    Raises:
        CheckpointError: If the file is missing, damaged, unsafe or not a
            dict.
    """
    path = fetch(source)
    try:
        if path.endswith('.safetensors'):
            content = read_safetensors(path, map_location)
        else:
            _check_archive(path)
            content = _unpickle(path, map_location)
        if not isinstance(content, dict):
            raise CheckpointError(f'holds a {type(content).__name__}, not a '
                                  'dict of weights')
        for state in states(content):
            check_state(state, source)
            unpack(state)
    except CheckpointError as error:
        forget(source)
        raise CheckpointError(f'checkpoint {source!r}: {error}') from error
    return content


def states(content: Dict[str, Any]) -> List[Dict[str, Tensor]]:
    """The state dicts in what a file holds, that of averaged weights too."""
    inner = [
        content[key] for key in ('state_dict', 'model', 'ema_state_dict')
        if isinstance(content.get(key), dict)
    ]
    return inner or [content]


def trusted() -> bool:
    """Whether the user vouches for all checkpoints of this process."""
    return os.environ.get(TRUST, '') not in ('', '0')


def _unpickle(path: str, map_location: Any) -> Any:
    try:
        with torch.serialization.safe_globals(_plain_globals()):
            return torch.load(
                path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        if not trusted():
            raise CheckpointError(_refusal(error)) from error
        print_log(
            f'{path} holds more than plain data and is trusted, because '
            f'{TRUST} is set', logger='current', level=logging.WARNING)
    except Exception as error:  # a damaged pickle raises anything
        raise CheckpointError(
            f'it cannot be read ({type(error).__name__}: {error}); it is '
            'incomplete or no file of torch.save: fetch it again') from error
    return torch.load(path, map_location=map_location, weights_only=False)


def _check_archive(path: str) -> None:
    if not zipfile.is_zipfile(path):
        return  # the format before torch 1.6, or no checkpoint at all
    try:
        with zipfile.ZipFile(path) as archive:
            packed = sum(m.file_size for m in archive.infolist())
            if packed > osp.getsize(path):  # torch.save never compresses
                raise CheckpointError(
                    f'it is damaged: {packed} bytes would come out of a file '
                    f'of {osp.getsize(path)}')
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError,
            RuntimeError, zlib.error, ValueError, struct.error) as error:
        if isinstance(error, CheckpointError):
            raise
        broken = error
    if broken:
        raise CheckpointError(f'it is damaged ({broken}): fetch it again')


def _plain_globals() -> list:
    """What mmengine's own checkpoints need beyond tensors, and no more."""
    core = getattr(np, '_core', None) or np.core
    kinds = (np.uint32, np.float32, np.float64, np.int32, np.int64)
    return [
        HistoryBuffer, (_statistic, 'builtins.getattr'), np.ndarray, np.dtype,
        *(type(np.dtype(kind)) for kind in kinds),
        *((getattr(core.multiarray, name), f'numpy.{module}.multiarray.{name}')
          for module in ('core', '_core')  # NumPy 1's name, and NumPy 2's
          for name in ('_reconstruct', 'scalar'))
    ]


def _statistic(owner: Any, name: str) -> Any:
    """Stand in for ``getattr``, which log buffers use to name their methods.

    The real one would let a file reach anything.
    """
    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'it asks for getattr of {owner!r}')


def _refusal(error: Exception) -> str:
    needed = re.search(r'GLOBAL (\S+)', str(error))
    reason = f'it needs {needed.group(1)}' if needed else str(error)
    return (f'it is no plain checkpoint ({reason}); only tensors and plain '
            'data are read, because anything else can run code. If you trust '
            'it, set the environment variable '
            f'{TRUST}=1 (tools: --trust-checkpoint)')
