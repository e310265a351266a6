"""From a checkpoint of a run to a file to hand out."""
import os
import os.path as osp

from mona_mm.errors import CheckpointError

from .digest import file_digest
from .files import whole_state, write_checkpoint
from .io import read_checkpoint
from .pack import pack
from .record import records

_ENDINGS = ('.pth', '.pt', '.safetensors')


def publish(source: str, out: str) -> str:
    """Keep the weights and ``meta``, and put the hash into the file's name.

    Args:
        source (str): A checkpoint, full or delta.
        out (str): The file to write. The first eight hex digits of its
            sha256 are added: ``mona.pth`` becomes ``mona-0123abcd.pth``.

    Returns:
        str: The path of the file.

    Raises:
        CheckpointError: If the source cannot be read, or ``out`` does not
            end as a checkpoint's name does.
    """
    stem, ending = osp.splitext(out)
    if ending not in _ENDINGS:
        raise CheckpointError(f'{out!r}: expected a name that ends with '
                              f'{", ".join(_ENDINGS)}')
    content = read_checkpoint(source)
    meta = dict(content.get('meta') or {})
    meta.pop('run_state', None)  # only for going on with the run
    state = whole_state(content, source)
    if records(state):  # our reader takes them apart again
        pack(state)
    kept = dict(meta=meta, state_dict=state)
    partial = f'{stem}.{os.getpid()}{ending}'
    try:
        write_checkpoint(kept, partial)
        final = f'{stem}-{file_digest(partial)[:8]}{ending}'
        os.replace(partial, final)
    finally:
        if osp.exists(partial):
            os.remove(partial)
    return final
