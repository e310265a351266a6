"""Small tensors side by side: each member of an archive costs 200 bytes."""
from collections import defaultdict
from typing import Any, Dict, List

import torch
from torch import Tensor

from mona_mm.compat import metadata_of

from .record import FILE_KEY

#: Bytes; above this the archive's overhead does not matter.
_SMALL = 16 * 1024


def pack(state: Dict[str, Tensor]) -> None:
    """Let small tensors share one storage, which is saved as one member.

    Args:
        state (dict[str, Tensor]): Its values are replaced by equal ones.
    """
    groups: Dict[tuple, List[str]] = defaultdict(list)
    for name, value in state.items():
        if 0 < value.numel() * value.element_size() <= _SMALL:
            groups[value.dtype, value.device].append(name)
    for names in groups.values():
        flat = torch.cat([state[n].detach().reshape(-1) for n in names])
        parts = flat.split([state[n].numel() for n in names])
        for name, part in zip(names, parts):
            state[name] = part.view(state[name].shape)


def unpack(state: Dict[str, Tensor]) -> None:
    """Give every tensor of a file of ours a storage of its own again.

    Whoever pickles, or keeps, one of them would have all of them.
    """
    if FILE_KEY not in metadata_of(state).get('', {}):
        return
    for name, value in state.items():
        if value.numel() * value.element_size() < (
                value.untyped_storage().nbytes()):
            state[name] = value.clone()


def share_text(checkpoint: Dict[str, Any]) -> None:
    """Save the config once, where mmengine has two equal copies of it."""
    text = (checkpoint.get('meta') or {}).get('cfg')
    hub = checkpoint.get('message_hub') or {}
    info = hub.get('runtime_info') or {}
    if text is not None and info.get('cfg') == text:
        checkpoint['message_hub'] = dict(
            hub, runtime_info=dict(info, cfg=text))
