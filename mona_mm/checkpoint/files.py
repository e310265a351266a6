"""Writing checkpoint files: whole or not at all."""
import os.path as osp
from collections import OrderedDict
from typing import Any, Dict

import torch

from mona_mm.compat import metadata_of, set_metadata
from mona_mm.errors import CheckpointError, UserError
from mona_mm.text import free_bytes, mib, write_atomically

from .layouts import unwrap
from .record import FILE_KEY
from .safetensors import write_safetensors


def write_checkpoint(content: Dict[str, Any], path: str) -> None:
    """Write a checkpoint; the file is there in full, or as it was before.

    Args:
        content (dict): With ``state_dict``.
        path (str): A name that ends with ``.safetensors`` gets that format
            (the state dict, its record and ``meta``), others get torch's.

    Raises:
        CheckpointError: If it cannot be written.
    """
    try:
        with write_atomically(path, durable=True) as partial:
            if str(path).endswith('.safetensors'):
                write_safetensors(content, partial)
            else:
                # By a path, the archive would hold its temporary name, and
                # the same content would have another hash every time.
                with open(partial, 'wb') as file:
                    torch.save(content, file)
    except CheckpointError as error:
        raise CheckpointError(f'cannot write {path!r}: {error}') from error
    except UserError as error:
        raise CheckpointError(str(error)) from error
    except RuntimeError as error:  # torch.save's word for a full disk, too
        raise CheckpointError(
            f'cannot write {path!r}: {error}; '
            f'{mib(free_bytes(path))} are free there') from error


def check_not_itself(source: str, out: str) -> None:
    """Raise CheckpointError if a tool would overwrite what it reads."""
    if osp.exists(source) and osp.realpath(source) == osp.realpath(out):
        raise CheckpointError(f'{out!r} is the input itself; give another '
                              'name for the output')


def whole_state(content: Dict[str, Any], source: str) -> OrderedDict:
    """The state dict of a file's content, with its record if it has one."""
    given = content.get('state_dict', content)
    metadata = metadata_of(given)
    recorded = FILE_KEY in metadata.get('', {})  # may be rightly empty
    state = OrderedDict(given if recorded else unwrap(content, source))
    set_metadata(state, metadata)
    return state
