"""What the mm libraries call a metric, and what the paper calls it."""
from typing import NamedTuple


class Metric(NamedTuple):
    """One metric of a run.

    Attributes:
        key (str): Its name in a run's log.
        name (str): Its name in the metafiles, which is the paper's.
        scale (float): What makes a percentage of the logged value.
        tier (int): Where no cell of the paper says what is shown, it is
            what a run has of the lowest tier.
    """

    key: str
    name: str
    scale: float
    tier: int = 0


#: The first line with a key names it where no cell of the paper does.
METRICS = (
    Metric('coco/bbox_mAP', 'box AP', 100),
    Metric('coco/segm_mAP', 'mask AP', 100),
    Metric('pascal_voc/mAP', 'AP50', 100),
    Metric('mIoU', 'mIoU', 1),
    Metric('dota/mAP', 'AP50', 100),
    Metric('dota/mAP', 'mAP', 100),  # of DOTA's evaluation server
    Metric('accuracy/top1', 'Top 1 Accuracy', 1),
    Metric('accuracy/top5', 'Top 5 Accuracy', 1, tier=1),
)


def metric_of(key: str, wanted=()) -> Metric:
    """The metric of a logged key.

    Args:
        key (str): As in the log.
        wanted (Container[str]): The paper's names of a cell's metrics,
            which decide where a key has several.

    Returns:
        Metric: Under its key and as logged if it is not known.
    """
    found = [m for m in METRICS if m.key == key]
    return next((m for m in found if m.name in wanted),
                found[0] if found else Metric(key, key, 1, tier=2))
