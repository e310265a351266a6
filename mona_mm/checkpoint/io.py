"""Reading checkpoint files: safely, and with errors that name the file."""
import hashlib
import logging
import os
import os.path as osp
import pickle
import re
import struct
import zipfile
import zlib
from functools import lru_cache
from typing import Any, Dict, List, Optional
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier
from mmengine.logging import HistoryBuffer, print_log
from torch import Tensor

from mona_mm.errors import CheckpointError

from .pack import unpack
from .record import check_state
from .safetensors import read_safetensors

#: Environment variable: 1 lets checkpoints run code, as torch.load used to.
TRUST = 'MONA_MM_TRUST_CHECKPOINTS'
_NAMED_HASH = re.compile(r'-([a-f0-9]{8,64})\.(?:pth|safetensors)$')


def fetch(source: str) -> str:
    """Return the local path of a checkpoint, downloading a URL once.

    Downloads go to PyTorch's hub cache, where mmengine puts them too. The
    hash at the end of a name such as ``swin-4f79f7c0.pth`` is compared with
    the file. For a URL, downloaded now or before, it must be the file's; for
    a path another one is a warning, because mmengine's ``published_keys``
    names files by a hash that is not quite theirs. (Eight digits without a
    letter in a file that is there already are taken for a date.)

    Args:
        source (str): A path, or an http(s) URL.

    Raises:
        CheckpointError: If the path does not exist, the download fails, or
            the file behind a URL is not the one that its name says.
    """
    source = os.fspath(source)
    remote = urlparse(source).scheme in ('http', 'https')
    path = _download(source) if remote else osp.expanduser(source)
    if not osp.isfile(path):
        raise CheckpointError(
            f'checkpoint {source!r} does not exist (looked for '
            f'{osp.abspath(path)}); give the path of a .pth file, or a URL')
    told = _other_hash(path)
    if told and remote:
        raise CheckpointError(f'{told}: it is damaged or another file. Remove '
                              'it, to have it fetched again')
    if told:
        print_log(f'{told}; was it changed?', logger='current',
                  level=logging.WARNING)
    return path


def _other_hash(path: str) -> Optional[str]:
    """What is wrong with the hash in a file's name, if anything is."""
    named = _NAMED_HASH.search(osp.basename(path))
    if not named or named.group(1).isdigit():
        return None
    status = os.stat(path)
    found = _sha256(path, status.st_mtime_ns, status.st_size)
    if found.startswith(named.group(1)):
        return None
    return (f'{path}: its name says that its SHA-256 hash starts with '
            f'{named.group(1)}, but it starts with {found[:8]}')


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


@lru_cache(maxsize=64)
def _sha256(path: str, mtime: int, size: int) -> str:
    """Hash a file, once per process as long as it does not change."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _download(url: str) -> str:
    name = osp.basename(urlparse(url).path)
    path = osp.join(torch.hub.get_dir(), 'checkpoints', name)
    digest = re.search(r'-([a-f0-9]{8,})\.', name)
    try:
        first = os.environ.get('LOCAL_RANK', '0') == '0'  # of this machine
        if first and not osp.isfile(path):
            os.makedirs(osp.dirname(path), exist_ok=True)
            torch.hub.download_url_to_file(
                url, path, hash_prefix=digest and digest.group(1))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f'cannot download {url} ({error}); fetch it by hand and give its '
            f'path, or put it at {path}') from error
    finally:
        barrier()
    if not osp.isfile(path):
        raise CheckpointError(f'{url} was not downloaded to {path}')
    return path


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
