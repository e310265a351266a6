"""STAR: objects in satellite images, 48 classes, rotated boxes."""
from colorsys import hsv_to_rgb
from typing import List, Tuple

from mmengine.logging import print_log
from mmrotate.datasets import DOTADataset

from mona_mm.registry import DATASETS

CLASSES = (
    'ship', 'boat', 'crane', 'goods_yard', 'tank', 'storehouse', 'breakwater',
    'dock', 'airplane', 'boarding_bridge', 'runway', 'taxiway', 'terminal',
    'apron', 'gas_station', 'truck', 'car', 'truck_parking', 'car_parking',
    'bridge', 'cooling_tower', 'chimney', 'vapor', 'smoke', 'genset',
    'coal_yard', 'lattice_tower', 'substation', 'wind_mill',
    'cement_concrete_pavement', 'toll_gate', 'flood_dam', 'gravity_dam',
    'ship_lock', 'ground_track_field', 'basketball_court',
    'engineering_vehicle', 'foundation_pit', 'intersection',
    'soccer_ball_field', 'tennis_court', 'tower_crane',
    'unfinished_building', 'arch_dam', 'roundabout', 'baseball_diamond',
    'stadium', 'containment_vessel')


def _palette(count: int) -> List[Tuple[int, int, int]]:
    """Colours around the circle, neighbours in the list far apart."""
    golden = 0.618034
    return [
        tuple(round(255 * v) for v in hsv_to_rgb(i * golden % 1, 0.75, 0.95))
        for i in range(count)
    ]


@DATASETS.register_module()
class STARDataset(DOTADataset):
    """STAR (arXiv 2406.09410), with labels written as DOTA's.

    Args:
        drop_empty (bool): Leave pictures without objects out in testing
            too, as STAR-MMRotate does: what is found there is then no false
            positive. Defaults to True.
        **kwargs: See mmrotate's ``DOTADataset``; ``ann_file`` is a folder.
    """

    METAINFO = dict(classes=CLASSES, palette=_palette(len(CLASSES)))

    def __init__(self, drop_empty: bool = True, **kwargs) -> None:
        self.drop_empty = drop_empty
        super().__init__(**kwargs)

    def filter_data(self) -> List[dict]:
        """Filter as mmrotate does, and drop what is empty in testing."""
        found = super().filter_data()
        if not (self.test_mode and self.drop_empty):
            return found
        kept = [data for data in found if data['instances']]
        if len(kept) < len(found):
            print_log(
                f'STAR: {len(found) - len(kept)} of {len(found)} pictures of '
                f'{self.ann_file} have no objects and are left out '
                '(drop_empty)', logger='current')
        return kept
