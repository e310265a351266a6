"""Figures of published code, to print beside ours.

All of them are constants that a family states (``saved_mib``), not taken
here: measured on the published definitions of the methods (backbone alone,
float32, train mode, drop-path 0.3), counted as
:mod:`mona_mm.research.benchmark.saved` counts.
"""
from typing import Optional

from .options import Size
from .subjects import Comparison, library_class

DROP_PATH_RATE = 0.3


def published_saved_mib(comparison: Comparison, dtype: str, size: Size,
                        method: str) -> Optional[float]:
    """MiB that the published form of a method keeps.

    Args:
        comparison (Comparison): Of the backbone.
        dtype (str): The precision of the run.
        size (Size): The image batch.
        method (str): Label of the subject.

    Returns:
        float, optional: ``None`` unless exactly this was measured. A
        backbone with ``with_cp`` is set against the published one without.
    """
    arch = comparison.backbone.get('arch')
    if dtype != 'float32' or not isinstance(arch, str):
        return None
    if comparison.drop_path_rate != DROP_PATH_RATE:
        return None
    figures, zoo = comparison.family.saved_mib, library_class(
        comparison.family).arch_zoo
    row = next((row for (name, at), row in figures.items()
                if zoo[name] == zoo.get(arch) and at == str(size)), {})
    whole = method == 'Full' or method.startswith('full (')
    return row.get('full' if whole else method)
