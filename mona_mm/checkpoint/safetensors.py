"""Checkpoints in the safetensors format, with our record in the header."""
import json
import os
from collections import OrderedDict
from typing import Any, Dict, Mapping

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mona_mm.compat import metadata_of, set_metadata
from mona_mm.errors import CheckpointError

from .record import KEY
from .unpickle import NotPlain, check_plain


def read_safetensors(path: str, map_location: Any = 'cpu') -> Dict[str, Any]:
    """Read a file: ``dict(state_dict=...)``, and what else we put into it.

    Args:
        path (str): A file.
        map_location (str | torch.device | Callable): Where tensors go, as
            in ``torch.load``; of the callables, those that ignore it.

    Raises:
        CheckpointError: If the header lies or the file is incomplete.
    """
    state: 'OrderedDict[str, Tensor]' = OrderedDict()
    try:
        with safe_open(path, framework='pt') as file:
            extra = file.metadata() or {}
            for name in file.keys():
                # A copy: the file is mapped, and may be replaced later.
                state[name] = file.get_tensor(name).clone()
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f'it is no safetensors file, damaged or incomplete ({error}): '
            'fetch it again') from error
    if isinstance(map_location, (str, torch.device)):
        for name, value in state.items():
            state[name] = value.to(map_location)
    return _unpack(state, extra)


def write_safetensors(content: Mapping[str, Any], path: str) -> None:
    """Write the state dict of a checkpoint, with its record and ``meta``.

    Of ``meta`` that is kept which JSON can hold.

    Args:
        content (Mapping): ``dict(state_dict=..., meta=...)``.
        path (str | os.PathLike): The file to write.

    Raises:
        CheckpointError: If the format has no name for a tensor's dtype.
    """
    state = content['state_dict']
    extra = dict(
        metadata=metadata_of(state),
        meta=_json_only(content.get('meta') or {}))
    for name, value in state.items():
        if value.is_complex() or value.is_quantized:
            raise CheckpointError(f'{name} is {value.dtype}, which '
                                  'safetensors cannot hold')
    # Copies, because the format refuses tensors that share their memory.
    tensors = {
        k: v.detach().cpu().clone(memory_format=torch.contiguous_format)
        for k, v in state.items()
    }
    save_file(tensors, os.fspath(path),
              {'format': 'pt', KEY: json.dumps(extra)})


def _unpack(state: 'OrderedDict[str, Tensor]', extra: Any) -> Dict[str, Any]:
    if KEY not in extra:
        return dict(state_dict=state)
    try:
        found = json.loads(extra[KEY])
        check_plain(found)
        set_metadata(state, OrderedDict(found['metadata']))
        return dict(meta=dict(found['meta']), state_dict=state)
    except (ValueError, KeyError, TypeError, RecursionError,
            NotPlain) as error:
        raise CheckpointError('the record in it is broken '
                              f'({type(error).__name__}: {error})') from error


def _json_only(meta: Mapping[str, Any]) -> Dict[str, Any]:
    kept = {}
    for key, value in meta.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            continue
        kept[key] = value
    return kept
