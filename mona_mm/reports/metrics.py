"""What the mm libraries call a metric, and what the paper calls it."""
from dataclasses import dataclass
from typing import Dict, Mapping, Optional


@dataclass(frozen=True)
class Metric:
    """One metric of a run.

    Args:
        key (str): Its name in a run's log.
        name (str): Its name in the metafiles, which is the paper's.
        scale (float): What makes a percentage of the logged value.
    """

    key: str
    name: str
    scale: float


#: The first line with a key names it where no cell of the paper does.
METRICS = (
    Metric('coco/bbox_mAP', 'box AP', 100),
    Metric('coco/segm_mAP', 'mask AP', 100),
    Metric('pascal_voc/mAP', 'AP50', 100),
    Metric('mIoU', 'mIoU', 1),
    Metric('dota/mAP', 'AP50', 100),
    Metric('dota/mAP', 'mAP', 100),  # of DOTA's evaluation server
    Metric('accuracy/top1', 'Top 1 Accuracy', 1),
    Metric('accuracy/top5', 'Top 5 Accuracy', 1),
)
#: Shown where a cell of the paper has it, and nowhere else.
_SECOND = ('Top 5 Accuracy', )


def find(key: str) -> Optional[Metric]:
    """The metric of a logged key, or None if it is not known."""
    return next((m for m in METRICS if m.key == key), None)


def percent(name: str, values: Mapping[str, float]) -> Optional[float]:
    """A metric of a run in per cent, by the paper's name.

    Args:
        name (str): As in the metafiles.
        values (Mapping[str, float]): Logged values by key.

    Returns:
        float | None: None where the run has no such metric.
    """
    found = (m for m in METRICS if m.name == name and m.key in values)
    metric = next(found, None)
    return metric and values[metric.key] * metric.scale


def named(values: Mapping[str, float]) -> Dict[str, float]:
    """A run's main metrics by the paper's names, in per cent.

    Args:
        values (Mapping[str, float]): Logged values by key.

    Returns:
        dict[str, float]: Keys that are not known stand under their own name
        and as logged, unless there are known ones.
    """
    known = {find(key).name: percent(find(key).name, values)
             for key in values if find(key)}
    main = {k: v for k, v in known.items() if k not in _SECOND}
    return main or known or dict(values)
