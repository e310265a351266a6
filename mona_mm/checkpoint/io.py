"""Reading checkpoint files: safely, and with errors that name the file."""
import os
import os.path as osp
import pickle
import re
import zipfile
from typing import Any, Dict
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier
from mmengine.logging import HistoryBuffer

from mona_mm.errors import CheckpointError


def fetch(source: str) -> str:
    """Return the local path of a checkpoint, downloading a URL once.

    Downloads go to PyTorch's hub cache, where mmengine puts them too; the
    hash at the end of a name such as ``swin-4f79f7c0.pth`` is verified.

    Args:
        source (str): A path, or an http(s) URL.

    Raises:
        CheckpointError: If the path does not exist or the download fails.
    """
    if urlparse(source).scheme in ('http', 'https'):
        return _download(source)
    path = osp.expanduser(source)
    if not osp.isfile(path):
        raise CheckpointError(
            f'checkpoint {source!r} does not exist (looked for '
            f'{osp.abspath(path)}); give the path of a .pth file, or a URL')
    return path


def read_checkpoint(source: str) -> Dict[str, Any]:
    """Read a checkpoint: tensors, plain data and mmengine's log buffers.

    Nothing in the file is executed: a pickle that needs other classes is
    refused. The checksums of the archive's members are verified, because
    ``torch.load`` accepts flipped bits silently.

    Args:
        source (str): A path, or an http(s) URL.

    Returns:
        dict: What the file holds, on the CPU.

    Raises:
        CheckpointError: If the file is missing, damaged, unsafe or not a
            dict.
    """
    path = fetch(source)
    _check_archive(path, source)
    try:
        with torch.serialization.safe_globals(_plain_globals()):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(source, error)) from error
    except Exception as error:  # a damaged pickle raises anything
        raise CheckpointError(
            f'checkpoint {source!r} cannot be read ({error}); it is '
            'incomplete or no file of torch.save: fetch it again') from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f'checkpoint {source!r} holds a {type(content).__name__}, not a '
            'dict of weights')
    return content


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


def _check_archive(path: str, source: str) -> None:
    if not zipfile.is_zipfile(path):
        return  # the format before torch 1.6, or no checkpoint at all
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        broken = error
    if broken:
        raise CheckpointError(f'checkpoint {source!r} is damaged ({broken}): '
                              'fetch it again')


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


def _refusal(source: str, error: Exception) -> str:
    needed = re.search(r'GLOBAL (\S+)', str(error))
    reason = f'it needs {needed.group(1)}' if needed else str(error)
    return (f'checkpoint {source!r} is no plain checkpoint ({reason}); only '
            'tensors and plain data are read, because anything else can run '
            'code. If you trust it, load it yourself and save its '
            'state_dict alone')
