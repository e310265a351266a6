"""From a full checkpoint to one that leaves the frozen bases out."""
from collections import OrderedDict
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

import torch
from torch import Tensor, nn

from mona_mm.errors import CheckpointError

from .digest import joined, tensor_digests
from .layouts import below
from .models import tuned_backbones
from .pack import pack, share_text
from .record import FILE_KEY, KEY, Record, file_record, source_of


class _Half(NamedTuple):
    """One of the state dicts of a checkpoint.

    Attributes:
        state (OrderedDict[str, Tensor]): Is changed in place.
        lead (str): What its keys begin with, before the model's names.
    """
    state: Dict[str, Tensor]
    lead: str


def check_places(model: nn.Module, found: Mapping[str, Record]) -> None:
    """Refuse a delta of a backbone that a model does not have.

    Args:
        model (nn.Module): The model.
        found (Mapping[str, Record]): The records of a checkpoint, by path.

    Raises:
        CheckpointError: If there is one.
    """
    there = dict(tuned_backbones(model))
    for path, record in found.items():
        if record.base and path not in there:
            raise CheckpointError(
                f'{source_of(record)} leaves out the frozen base of '
                f'{path or "its backbone"}, and the model has no tuned '
                'backbone there that could refill it. For a plain '
                'backbone, make one file of both with tools/merge_delta.py')


def slim(checkpoint: Dict[str, Any], model: nn.Module,
         full: bool = False) -> List[str]:
    """Take out of a checkpoint what loading can put back, and record it.

    What stays is all that trained: inserted and released parameters, neck
    and head, and every buffer that is not computed. Out go the frozen
    tensors that are bit for bit those of a base with a known source, and
    computed buffers. Averaged weights (``ema_state_dict``) lose the same.

    Args:
        checkpoint (dict): With ``state_dict``; changed in place.
        model (nn.Module): The model it was taken from, not wrapped.
        full (bool): Leave the frozen bases in; the record is still made.

    Returns:
        list[str]: Paths of backbones whose base had to stay in, because
        nobody knows where it came from.
    """
    halves = [_Half(_ordered(checkpoint, 'state_dict'), '')]
    if 'ema_state_dict' in checkpoint:
        halves.append(_Half(_ordered(checkpoint, 'ema_state_dict'),
                            'module.'))
    whole = []
    backbones = dict(tuned_backbones(model))
    for path, backbone in backbones.items():
        prefix = f'{path}.' if path else ''
        base = backbone.frozen
        names = frozenset() if full else _same(base.refillable(), halves,
                                               prefix)
        if base.names and base.source is None and not full:
            whole.append(path or type(model).__name__)
        for half in halves:
            _drop(half, prefix, names | base.computed)
    if backbones:
        _record(halves, backbones, checkpoint, full)
        for half in halves:
            pack(half.state)
        share_text(checkpoint)
    return whole


def _ordered(checkpoint: Dict[str, Any], key: str) -> Dict[str, Tensor]:
    """Its own dict, with its own metadata: neither is the model's."""
    state = checkpoint[key]
    copy = OrderedDict(state)
    copy._metadata = OrderedDict(
        (k, dict(v)) for k, v in getattr(state, '_metadata', {}).items())
    checkpoint[key] = copy
    return copy


def _same(names, halves: Sequence[_Half], prefix: str) -> frozenset:
    """Those names whose averaged value is the plain one, too."""
    if len(halves) == 1:
        return frozenset(names)
    plain, averaged = halves
    return frozenset(
        n for n in names
        if torch.equal(plain.state[prefix + n].cpu(),
                       averaged.state[averaged.lead + prefix + n].cpu()))


def _drop(half: _Half, prefix: str, names) -> None:
    inside = half.lead + prefix
    for name in names:
        half.state.pop(inside + name, None)
    metadata = half.state._metadata
    for path in [p for p in metadata if p.startswith(inside)]:
        if metadata[path] == dict(version=1):  # what no entry means as well
            del metadata[path]


def _record(halves: Sequence[_Half], backbones: Dict[str, nn.Module],
            checkpoint: Dict[str, Any], full: bool) -> None:
    digests = [tensor_digests(half.state) for half in halves]
    for path, backbone in backbones.items():
        prefix = f'{path}.' if path else ''
        stored = tuple(
            joined(below(found, half.lead + prefix))
            for half, found in zip(halves, digests))
        base = backbone.frozen
        complete = full or base.source is None
        for half in halves:
            entry = half.state._metadata.setdefault(
                (half.lead + path).rstrip('.'), {})
            entry[KEY] = base.record(stored, complete).to_dict()
    config = (checkpoint.get('meta') or {}).get('cfg')
    for half, found in zip(halves, digests):
        half.state._metadata.setdefault('', {})[FILE_KEY] = file_record(
            len(half.state), [joined(found)], config)
