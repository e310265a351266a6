"""Reading checkpoint files: safely, and with errors that name the file."""
import logging
import os
import os.path as osp
from typing import Any, Dict, List, Set

import torch
from mmengine.logging import print_log
from torch import Tensor

from mona_mm.errors import CheckpointError

from .cache import fetch, forget
from .npz import read_npz
from .pack import unpack
from .record import check_state
from .safetensors import read_safetensors
from .unpickle import NotPlain, read_torch

#: Environment variable: 1 lets checkpoints run code, as torch.load used to.
TRUST = 'MONA_MM_TRUST_CHECKPOINTS'
_trusted: Set[str] = set()


def read_checkpoint(source: str,
                    map_location: Any = 'cpu') -> Dict[str, Any]:
    """Read a checkpoint: tensors, plain data and mmengine's log buffers.

    Nothing in the file is executed: a pickle that needs other classes is
    refused, unless the user vouches for it (:func:`trust`, or the environment
    variable ``MONA_MM_TRUST_CHECKPOINTS``). The checksums of the archive's
    members are verified, because ``torch.load`` accepts flipped bits
    silently, and so is the record that our own checkpoints carry.

    Args:
        source (str): A path, or an http(s) URL, of a file of ``torch.save``
            or a ``.safetensors`` or ``.npz`` file.
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
        elif path.endswith('.npz'):
            content = read_npz(path, map_location)
        else:
            content = _read(path, map_location, source)
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


def peek(path: str) -> Dict[str, Any]:
    """Read a file of ``torch.save`` without the values of its tensors.

    Args:
        path (str): A file; its checksums are not looked at.

    Raises:
        CheckpointError: As :func:`read_checkpoint`.
    """
    content = _read(fetch(path), 'meta', path, tensors=False)
    if not isinstance(content, dict):
        raise CheckpointError(f'it holds a {type(content).__name__}')
    return content


def states(content: Dict[str, Any]) -> List[Dict[str, Tensor]]:
    """The state dicts in what a file holds, that of averaged weights too."""
    inner = [
        content[key] for key in ('state_dict', 'model', 'ema_state_dict')
        if isinstance(content.get(key), dict)
    ]
    return inner or [content]


def trust(source: str) -> None:
    """Vouch for one file: what it holds may run when it is read.

    Args:
        source (str): A path, or what else names it.
    """
    _trusted.add(_identity(source))


def trusted(source: str) -> bool:
    """Whether the user vouches for a file, or for all of this process."""
    return os.environ.get(TRUST, '') not in ('', '0') or (
        _identity(source) in _trusted)


def _identity(source: str) -> str:
    source = os.fspath(source)
    return source if '://' in source else osp.realpath(
        osp.expanduser(source))


def _read(path: str, map_location: Any, source: str,
          tensors: bool = True) -> Any:
    try:
        return read_torch(path, map_location, tensors)
    except NotPlain as error:
        if not trusted(source):
            raise CheckpointError(
                f'it is no plain checkpoint ({error}); only tensors and plain '
                'data are read, because anything else can run code. If you '
                f'trust it, set the environment variable {TRUST}=1 (tools: '
                '--trust-checkpoint, for the checkpoint that is named)'
            ) from error
        print_log(
            f'{path} holds more than plain data and is read, because it is '
            'trusted', logger='current', level=logging.WARNING)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file raises anything
        raise CheckpointError(
            'it cannot be read: it is damaged, incomplete or no file of '
            f'torch.save ({type(error).__name__}: {error}); fetch it again'
        ) from error
    return torch.load(path, map_location=map_location, weights_only=False)
