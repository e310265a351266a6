"""Miniature archives in the layouts in which the datasets are published.

Pictures are small by default; ``size`` (height, width) gives them their
true one, and boxes grow with it.
"""
import hashlib
import io
import json
import tarfile
import zipfile

import cv2
import mat4py
import numpy as np
from scipy.io import savemat

from mona_mm.data.prepare.segmentation import COLOURS

SMALL = (36, 48)


def picture(suffix='.jpg', height=SMALL[0], width=SMALL[1], seed=0) -> bytes:
    """An encoded picture of slopes, no two places near each other alike."""
    row, column, channel = np.indices((height, width, 3))
    pixels = (7 * row + 13 * column + 31 * channel + seed) % 251
    return cv2.imencode(suffix, pixels.astype(np.uint8))[1].tobytes()


def mask(height=SMALL[0], width=SMALL[1]) -> bytes:
    """An encoded label map."""
    pixels = np.arange(height * width).reshape(height, width) % 3
    return cv2.imencode('.png', pixels.astype(np.uint8))[1].tobytes()


def write_zip(path, files) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def write_tar(path, files) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 'w:gz' if path.suffix in ('.gz', '.tgz') else 'w'
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            data = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def grown(size, *numbers) -> list:
    """Coordinates of the small picture, in one of another size."""
    return [n * (size[0] // SMALL[0]) for n in numbers]


def coco_json(count, size, classes) -> str:
    """One square per picture, of one class after the other."""
    near, far = grown(size, 4, 24)
    square = [near, near, far, near, far, far, near, far]
    return json.dumps(dict(
        images=[dict(id=i, file_name=f'{i:012d}.jpg', height=size[0],
                     width=size[1]) for i in range(count)],
        annotations=[dict(
            id=i, image_id=i, category_id=1 + i % len(classes),
            bbox=[near, near, far - near, far - near],
            area=(far - near)**2, iscrowd=0, segmentation=[square])
            for i in range(count)],
        categories=[dict(id=i, name=n) for i, n in enumerate(classes, 1)]))


def coco(source, size=SMALL, classes=('person', )):
    splits = dict(train2017=3, val2017=2)
    for split, count in splits.items():
        write_zip(source / f'{split}.zip', {
            f'{split}/{i:012d}.jpg': picture('.jpg', *size, seed=i)
            for i in range(count)})
    write_zip(source / 'annotations_trainval2017.zip', {
        f'annotations/instances_{split}.json': coco_json(count, size, classes)
        for split, count in splits.items()})
    return dict(splits, train2017_objects=3, val2017_objects=2,
                classes=len(classes))


def voc_xml(*objects) -> str:
    """An annotation of (class, x1, y1, x2, y2, difficult)."""
    return '<annotation>' + ''.join(
        f'<object><name>{n}</name><difficult>{d}</difficult><bndbox>'
        f'<xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{e}</ymax>'
        '</bndbox></object>' for n, a, b, c, e, d in objects) + '</annotation>'


def voc(source, size=SMALL):
    one, four, nine = grown(size, 1, 4, 9)
    for year, split, name, ids in (
            (2007, 'trainval', 'VOCtrainval_06-Nov-2007.tar', (1, 2)),
            (2007, 'test', 'VOCtest_06-Nov-2007.tar', (3, )),
            (2012, 'trainval', 'VOCtrainval_11-May-2012.tar', (4, 5))):
        root, files = f'VOCdevkit/VOC{year}', {}
        for i in ids:
            files[f'{root}/JPEGImages/{i:06d}.jpg'] = picture(
                '.jpg', *size, seed=i)
            files[f'{root}/Annotations/{i:06d}.xml'] = voc_xml(
                ('dog', one, one, four, four, 0),
                ('cat', one, one, nine, nine, 0))
            files[f'{root}/SegmentationClass/{i:06d}.png'] = mask(*size)
        files[f'{root}/ImageSets/Main/{split}.txt'] = ''.join(
            f'{i:06d}\n' for i in ids)
        write_tar(source / name, files)
    return {'VOC2007/trainval': 2, 'VOC2007/test': 1, 'VOC2012/trainval': 2}


def ade20k(source, size=SMALL):
    files = {}
    for split, count in (('training', 2), ('validation', 1)):
        for i in range(count):
            name = f'ADEChallengeData2016/{{}}/{split}/ADE_{split}_{i:08d}'
            files[name.format('images') + '.jpg'] = picture(
                '.jpg', *size, seed=i)
            files[name.format('annotations') + '.png'] = mask(*size)
    write_zip(source / 'ADEChallengeData2016.zip', files)
    return dict(training=2, validation=1)


def flowers102(source, size=SMALL):
    write_tar(source / '102flowers.tgz', {
        f'jpg/image_{i:05d}.jpg': picture('.jpg', *size, seed=i)
        for i in range(1, 8)})
    mat4py.savemat(str(source / 'imagelabels.mat'),
                   dict(labels=[1, 2, 1, 2, 1, 2, 1]))
    mat4py.savemat(str(source / 'setid.mat'),
                   dict(trnid=[1, 2], valid=[3, 4], tstid=[5, 6, 7]))
    return dict(pictures=7, train=2, val=2, test=3, classes=2)


def oxfordpets(source, size=SMALL):
    pets = [f'Beagle_{i}' for i in range(1, 6)]
    write_tar(source / 'images.tar.gz', {
        f'images/{n}.jpg': picture('.jpg', *size, seed=i)
        for i, n in enumerate(pets)})
    write_tar(source / 'annotations.tar.gz', {
        'annotations/trainval.txt': ''.join(f'{n} 1 2 1\n' for n in pets[:3]),
        'annotations/test.txt': ''.join(f'{n} 1 2 1\n' for n in pets[3:])})
    return dict(trainval=3, test=2, classes=1)


def cifar100(source):
    files = {n: f'content of {n}'.encode() for n in ('train', 'test', 'meta')}
    write_tar(source / 'cifar-100-python.tar.gz', {
        f'cifar-100-python/{n}': data for n, data in files.items()})
    return {n: hashlib.md5(data).hexdigest() for n, data in files.items()}


def food101(source, size=SMALL):
    write_tar(source / 'food-101.tar.gz', {
        **{f'food-101/images/{c}/{i}.jpg': picture('.jpg', *size, seed=i)
           for c in ('apple_pie', 'waffles') for i in range(3)},
        'food-101/meta/train.txt': 'apple_pie/0\napple_pie/1\nwaffles/0\n',
        'food-101/meta/test.txt': 'apple_pie/2\nwaffles/1\nwaffles/2\n'})
    return dict(train=3, test=3, classes=2)


def svhn(source, counts=(6, 4)):
    for split, count in zip(('train', 'test'), counts):
        pixels = np.random.default_rng(count).integers(
            0, 255, (32, 32, 3, count), np.uint8)
        labels = np.arange(count)[:, None] % 2 * 10 + 1  # 1 and 11 -> 1
        labels[labels == 11] = 10  # the digit 0
        savemat(source / f'{split}_32x32.mat', dict(X=pixels, y=labels))
    return dict(train=counts[0], test=counts[1], classes=2)


def imagenet_r(source, size=SMALL):
    write_tar(source / 'imagenet-r.tar', {
        'imagenet-r/README.txt': 'notes',
        **{f'imagenet-r/n0000000{c}/art_{i}.jpg': picture(
            '.jpg', *size, seed=i)
           for c in range(2) for i in range(5)}})
    return dict(classes=2, pictures=10)


def loveda(source, size=SMALL):
    for split, place, count in (('Train', 'Rural', 2), ('Val', 'Urban', 1)):
        write_zip(source / f'{split}.zip', {
            f'{split}/{place}/{kind}/{i}.png':
            picture('.png', *size) if kind == 'images_png' else mask(*size)
            for i in range(count) for kind in ('images_png', 'masks_png')})
    return dict(train=2, val=1)


def potsdam(source):
    colours = np.zeros((600, 600, 3), np.uint8)
    colours[:300] = COLOURS[1]
    colours[300:, :300] = (17, 3, 5)  # no colour of the legend
    encoded = cv2.imencode('.tif', colours[..., ::-1])[1].tobytes()
    tiles = ('2_10', '2_13')  # training, validation
    write_zip(source / '2_Ortho_RGB.zip', {
        f'2_Ortho_RGB/top_potsdam_{t}_RGB.tif': picture('.tif', 600, 600)
        for t in tiles})
    write_zip(source / '5_Labels_all_noBoundary.zip', {
        f'top_potsdam_{t}_label_noBoundary.tif': encoded for t in tiles})
    return dict(train=4, val=4)


#: An object inside the first patch, and one that its border cuts in half.
DOTA_LINES = ('imagesource:GoogleEarth\ngsd:0.1\n'
              '10 20 50 20 50 60 10 60 {0} 0\n'
              '1000 100 1048 100 1048 140 1000 140 {0} 0\n')


def aerial(source, counts, labelled, name, folder):
    for split, count in counts.items():
        write_zip(source / split / 'part1.zip', {
            f'images/{split}{i}.png': picture('.png', 1100, 1200, seed=i)
            for i in range(count)})
        if split in labelled:
            write_zip(source / split / 'labels.zip', {
                f'{folder}/{split}{i}.txt': DOTA_LINES.format(name)
                for i in range(count)})


def dota(source):
    counts = dict(train=1, val=1, test=1)
    aerial(source, counts, ('train', 'val'), 'ship', 'labelTxt')
    return counts


def star(source):
    counts = dict(train=1, test=1)
    aerial(source, counts, ('train', 'test'), 'boat', 'object-TXT')
    return counts


#: {dataset: writes its archives into a folder and returns the totals}
MINI = dict(
    ade20k=ade20k, cifar100=cifar100, coco=coco, dota=dota,
    flowers102=flowers102, food101=food101, imagenet_r=imagenet_r,
    loveda=loveda, oxfordpets=oxfordpets, potsdam=potsdam, star=star,
    svhn=svhn, voc=voc)
