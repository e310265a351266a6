"""Checkpoints of NumPy's archives, as Google publishes its ViTs."""
import zipfile
from typing import Any, Dict

import numpy as np
import torch
from torch import Tensor

from mona_mm.errors import CheckpointError

from .unpickle import budget


def read_npz(path: str, map_location: Any = 'cpu') -> Dict[str, Any]:
    """Read an archive of numeric arrays; pickled ones are refused.

    Args:
        path (str): A file.
        map_location (str | torch.device | Callable): Where tensors go, as
            in ``torch.load``; of the callables, those that ignore it.

    Returns:
        dict: ``state_dict``, with one tensor per array.

    Raises:
        CheckpointError: If the file is damaged, or holds an object.
    """
    state: Dict[str, Tensor] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(m.file_size for m in archive.infolist())
        if size > budget(path):  # a few kilobytes unpack to gigabytes
            raise CheckpointError(f'{size} bytes would come out of it')
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                state[name] = torch.from_numpy(np.ascontiguousarray(
                    file[name]))
    except Exception as error:  # a damaged archive raises anything
        raise CheckpointError(
            'it is no archive of numeric arrays, damaged or incomplete '
            f'({type(error).__name__}: {error}): fetch it again') from error
    if isinstance(map_location, (str, torch.device)):
        state = {name: value.to(map_location)
                 for name, value in state.items()}
    return dict(state_dict=state)
