"""Figures of the released code, to print beside ours.

All of them are constants, not taken here: measured on the released
definitions of the methods (backbone alone, float32, train mode, drop-path
0.3), counted as :mod:`mona_mm.research.benchmark.saved` counts.
"""
from typing import Optional

from .options import Size

#: MiB of saved activations, by (arch, size) and method.
SAVED_MIB = {
    ('tiny', '2x224'): dict(
        full=207.5, Mona=221.1, LoRA=141.1, Adapter=159.4, AdaptFormer=114.9),
    ('tiny', '1x512'): dict(
        full=574.5, Mona=597.9, LoRA=398.9, Adapter=436.7, AdaptFormer=320.7),
    ('base', '2x224'): dict(
        full=437.2, Mona=443.2, LoRA=293.3, Adapter=325.6, AdaptFormer=249.0),
    ('base', '1x512'): dict(
        full=1216.4, Mona=1206.4, LoRA=833.0, Adapter=899.0,
        AdaptFormer=699.0),
}
_SHORT = dict(t='tiny', b='base')
DROP_PATH_RATE = 0.3


def released_saved_mib(backbone: dict, dtype: str, size: Size,
                       method: str) -> Optional[float]:
    """MiB that the released form of a method keeps.

    Args:
        backbone (dict): The backbone's config.
        dtype (str): The precision of the run.
        size (Size): The image batch.
        method (str): Label of the subject.

    Returns:
        float, optional: ``None`` unless exactly this was measured. A
        backbone with ``with_cp`` is set against the released one without.
    """
    arch = backbone['arch']
    if dtype != 'float32' or not isinstance(arch, str):
        return None
    if backbone['drop_path_rate'] != DROP_PATH_RATE:
        return None
    row = SAVED_MIB.get((_SHORT.get(arch, arch), str(size)), {})
    whole = method == 'Full' or method.startswith('full (')
    return row.get('full' if whole else method)
