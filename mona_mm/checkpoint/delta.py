"""From a full checkpoint to one that leaves the frozen bases out."""
from collections import OrderedDict
from typing import Any, Dict, List, Mapping

import torch
from torch import Tensor, nn

from mona_mm.compat import metadata_of, set_metadata
from mona_mm.errors import CheckpointError

from .digest import joined, tensor_digests
from .layouts import below
from .models import tuned_backbones
from .pack import pack, share_text
from .record import FILE_KEY, KEY, Record, file_record, source_of


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
                'backbone there that could refill it. For a plain backbone, '
                'make one file of both with tools/merge_delta.py')


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
    #: {what keys begin with, before the model's names: state dict}
    halves: Dict[str, Dict[str, Tensor]] = {}
    for key, lead in (('state_dict', ''), ('ema_state_dict', 'module.')):
        if key in checkpoint:  # its own dict, with metadata: not the model's
            half = OrderedDict(checkpoint[key])
            set_metadata(half, OrderedDict(
                (k, dict(v)) for k, v in metadata_of(checkpoint[key]).items()))
            checkpoint[key] = halves[lead] = half
    whole = []
    backbones = {f'{path}.' if path else '': backbone
                 for path, backbone in tuned_backbones(model)}
    for prefix, backbone in backbones.items():
        base = backbone.frozen
        if base.names and base.source is None and not full:
            whole.append(prefix.rstrip('.') or type(model).__name__)
        names = frozenset() if full else base.refillable()
        if len(halves) == 2:  # one whose average is another stays in both
            names = frozenset(n for n in names if torch.equal(*(
                half[lead + prefix + n].cpu()
                for lead, half in halves.items())))
        for lead, half in halves.items():
            inside = lead + prefix
            for name in names | base.computed:
                half.pop(inside + name, None)
            metadata = metadata_of(half)
            for path in [p for p in metadata if p.startswith(inside)]:
                if metadata[path] == dict(version=1):  # as no entry means
                    del metadata[path]
    if backbones:
        _record(halves, backbones, checkpoint, full)
        for half in halves.values():
            pack(half)
        share_text(checkpoint)
    return whole


def _record(halves: Dict[str, Dict[str, Tensor]],
            backbones: Dict[str, nn.Module], checkpoint: Dict[str, Any],
            full: bool) -> None:
    digests = {lead: tensor_digests(half) for lead, half in halves.items()}
    for prefix, backbone in backbones.items():
        stored = tuple(joined(below(digests[lead], lead + prefix))
                       for lead in halves)
        record = backbone.frozen.record(
            stored, full or backbone.frozen.source is None)
        for lead, half in halves.items():
            entry = metadata_of(half).setdefault((lead + prefix)[:-1], {})
            entry[KEY] = record.to_dict()
    config = (checkpoint.get('meta') or {}).get('cfg')
    for lead, half in halves.items():
        metadata_of(half).setdefault('', {})[FILE_KEY] = file_record(
            len(half), [joined(digests[lead])], config)
