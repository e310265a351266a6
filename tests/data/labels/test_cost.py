"""What it costs to look at labels: `pytest -s -m slow` prints it."""
import json
import time

import pytest
import sets
from mmdet.datasets import CocoDataset
from test_look import config

from mona_mm.engine.preflight import preflight

PICTURES, BOXES = 100_000, 800_000


def seconds(cfg) -> float:
    start = time.process_time()
    assert not preflight(cfg, ('train', 'val'))
    return time.process_time() - start


@pytest.mark.slow
def test_a_coco_file_of_cocos_size_takes_a_few_seconds_at_most(tmp_path):
    names = CocoDataset.METAINFO['classes']
    for i in range(16):
        sets.picture(tmp_path / f'images/{i:012d}.jpg')
    with open(tmp_path / 'big.json', 'w') as file:
        json.dump(dict(
            images=[dict(id=i, file_name=f'{i:012d}.jpg', width=sets.WIDTH,
                         height=sets.HEIGHT) for i in range(PICTURES)],
            annotations=[dict(
                id=i, image_id=i % PICTURES, category_id=1 + i % len(names),
                bbox=[3.25 + i % 20, 7.5, 20.25, 10.125], area=205.03125,
                iscrowd=0) for i in range(BOXES)],
            categories=[dict(id=i, name=n) for i, n in enumerate(names, 1)]),
            file)
    given = dict(type='CocoDataset', data_root=str(tmp_path),
                 ann_file='big.json', data_prefix=dict(img='images'),
                 pipeline=[dict(type='LoadImageFromFile')])
    took = seconds(config(given, given, heads=len(names), val_evaluator=dict(
        type='CocoMetric', ann_file=str(tmp_path / 'big.json'))))
    print(f'\nCOCO, {PICTURES:,} pictures, {BOXES:,} boxes: {took:.2f} s')
    assert took < 3


@pytest.mark.slow
@pytest.mark.parametrize('layout, files', [('dota', 20_000), ('xml', 20_000)])
def test_label_files_by_the_thousand_take_a_few_seconds_at_most(
        layout, files, tmp_path):
    given = getattr(sets, layout)(tmp_path, 'a')
    folder, stem = dict(dota=('a/labelTxt', '0.txt'),
                        xml=('Annotations', 'a0.xml'))[layout]
    text = (tmp_path / folder / stem).read_text()
    for i in range(files):
        (tmp_path / folder / f'f{i}{stem[-4:]}').write_text(text)
    if layout == 'xml':
        (tmp_path / 'a.txt').write_text(
            'a0\na1\n' + ''.join(f'f{i}\n' for i in range(files)))
    took = seconds(config(dict(given, metainfo=dict(classes=sets.NAMES))))
    print(f'\n{layout}, {files:,} files: {took:.2f} s')
    assert took < 6
