"""Small sets of two classes, 'cat' and 'dog', in every layout."""
import json
from pathlib import Path

import cv2
import numpy as np

NAMES = ('cat', 'dog')
#: Corners and name of an object of each class, in pictures of 48 x 32.
OBJECTS = (('cat', 2, 2, 12, 10), ('dog', 20, 8, 40, 28))
WIDTH, HEIGHT = 48, 32


def picture(path, pixels=None) -> None:
    """Write a picture, by default of 48 x 32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    cv2.imwrite(str(path), pixels)


def coco(root: Path, part: str, names=NAMES, boxes=True, **entry) -> dict:
    """COCO: ``names`` are the categories; ``entry`` changes every box."""
    for i in range(2):
        picture(root / part / f'{i}.png')
    (root / f'{part}.json').write_text(json.dumps(dict(
        info=dict(description='two classes'),
        images=[dict(id=i, file_name=f'{i}.png', width=WIDTH, height=HEIGHT)
                for i in range(2)],
        annotations=[
            dict(dict(id=2 * i + j, image_id=i, category_id=j + 1, iscrowd=0,
                      bbox=[x, y, a - x, b - y], area=(a - x) * (b - y)),
                 **entry)
            for i in range(2) for j, (_, x, y, a, b) in enumerate(OBJECTS)
        ] if boxes else [],
        categories=[dict(id=i, name=n) for i, n in enumerate(names, 1)])))
    return dict(type='mmdet.CocoDataset', data_root=str(root),
                ann_file=f'{part}.json', data_prefix=dict(img=part))


def xml(root: Path, part: str, names=NAMES, objects=OBJECTS) -> dict:
    """Pascal VOC: the objects are called ``names``."""
    called = dict(zip(NAMES, names))
    for i in range(2):
        picture(root / f'JPEGImages/{part}{i}.jpg')
        path = root / f'Annotations/{part}{i}.xml'
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'<annotation><size><width>{WIDTH}</width><height>{HEIGHT}'
            '</height></size>' + ''.join(
                f'<object><name>{called.get(n, n)}</name><difficult>0'
                f'</difficult><part><name>ear</name></part><bndbox>'
                f'<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{a}</xmax>'
                f'<ymax>{b}</ymax></bndbox></object>'
                for n, x, y, a, b in objects) + '</annotation>')
    (root / f'{part}.txt').write_text(f'{part}0\n{part}1\n')
    return dict(type='mmdet.XMLDataset', data_root=str(root),
                ann_file=f'{part}.txt', data_prefix=dict(sub_data_root=''))


def xml_classes(root: Path, part: str, names=NAMES) -> dict:
    """Pascal VOC, read as classes of whole pictures."""
    xml(root, part, names)
    return dict(type='mmpretrain.VOC', data_root=str(root), split='',
                image_set_path=f'{part}.txt',
                data_prefix=dict(img_path='JPEGImages',
                                 ann_path='Annotations'))


def dota(root: Path, part: str, names=NAMES, lines=()) -> dict:
    """DOTA: the objects are called ``names``; more ``lines`` follow."""
    called = dict(zip(NAMES, names))
    for i in range(2):
        picture(root / part / f'images/{i}.png')
        path = root / part / f'labelTxt/{i}.txt'
        path.parent.mkdir(exist_ok=True)
        path.write_text(''.join(
            f'{x} {y} {a} {y} {a} {b} {x} {b} {called[n]} 0\n'
            for n, x, y, a, b in OBJECTS) + ''.join(
                f'{line}\n' for line in lines))
    return dict(type='mmrotate.DOTADataset', data_root=str(root),
                ann_file=f'{part}/labelTxt',
                data_prefix=dict(img_path=f'{part}/images'))


def masks(root: Path, part: str, values=(1, 2), dtype=np.uint8) -> dict:
    """ADE20K's layout: the classes are written as ``values``."""
    for i in range(3):
        picture(root / f'images/{part}/{i}.jpg')
        labels = np.full((HEIGHT, WIDTH), values[0], dtype)
        for value, (_, x, y, a, b) in zip(values[1:], OBJECTS[1:]):
            labels[y:b, x:a] = value
        picture(root / f'annotations/{part}/{i}.png', labels)
    return dict(
        type='mmseg.BaseSegDataset', data_root=str(root),
        reduce_zero_label=True,
        data_prefix=dict(img_path=f'images/{part}',
                         seg_map_path=f'annotations/{part}'),
        pipeline=[dict(type='LoadImageFromFile'),
                  dict(type='mmseg.LoadAnnotations', reduce_zero_label=True)])


def folders(root: Path, part: str, names=NAMES) -> dict:
    """One folder per class."""
    for name in names:
        picture(root / part / name / '0.png')
    return dict(type='mmpretrain.CustomDataset', data_root=str(root),
                data_prefix=part)


def listed(root: Path, part: str, labels=(0, 1)) -> dict:
    """A list of pictures and the numbers of their classes."""
    for i, _ in enumerate(labels):
        picture(root / part / f'{i}.png')
    (root / f'{part}.txt').write_text(''.join(
        f'{i}.png {label}\n' for i, label in enumerate(labels)))
    return dict(type='mmpretrain.CustomDataset', data_root=str(root),
                data_prefix=part, ann_file=f'{part}.txt')


def own_json(root: Path, part: str, names=NAMES) -> dict:
    """OpenMMLab's own JSON."""
    picture(root / f'{part}.png')
    (root / f'{part}.json').write_text(json.dumps(dict(
        metainfo=dict(classes=names),
        data_list=[dict(img_path=f'{part}.png', gt_label=1)])))
    return dict(type='mmpretrain.BaseDataset', data_root=str(root),
                ann_file=f'{part}.json')
