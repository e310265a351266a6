"""Reading checkpoint files: safely, and with errors that name the file."""
import hashlib
import logging
import os
import os.path as osp
import re
import stat
from functools import lru_cache
from typing import Any, Dict, List, Optional, Set
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier
from mmengine.logging import print_log
from torch import Tensor

from mona_mm.errors import CheckpointError

from .pack import unpack
from .record import check_state
from .safetensors import read_safetensors
from .unpickle import NotPlain, read_torch

#: Environment variable: 1 lets checkpoints run code, as torch.load used to.
TRUST = 'MONA_MM_TRUST_CHECKPOINTS'
_trusted: Set[str] = set()
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
    if osp.exists(path) and not osp.isfile(path):
        raise CheckpointError(
            f'checkpoint {source!r} is no regular file but a '
            f'{kind_of(path)}; give the path of a .pth file, or a URL')
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


def kind_of(path: str) -> str:
    """What a path is that is no regular file, in words."""
    kinds = dict(folder=stat.S_ISDIR, pipe=stat.S_ISFIFO,
                 socket=stat.S_ISSOCK, device=stat.S_ISCHR)
    mode = os.stat(path).st_mode
    return next((k for k, test in kinds.items() if test(mode)), 'device')


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
    refused, unless the user vouches for it (:func:`trust`, or the environment
    variable ``MONA_MM_TRUST_CHECKPOINTS``). The checksums of the archive's
    members are verified, because ``torch.load`` accepts flipped bits
    silently, and so is the record that our own checkpoints carry.

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
            content = _read(path, map_location, source)
        if not isinstance(content, dict):
            raise CheckpointError(f'holds a {type(content).__name__}, not a '
                                  'dict of weights')
        for state in states(content):
            check_state(state, source)
            unpack(state)
    except CheckpointError as error:
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
