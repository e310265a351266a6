"""Tests of the generated shapes set: its formats, safety and determinism."""

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hostile import small_files
from mmengine.config import Config
from paths import ROOT

import mona_mm.research.shapes as shapes
from mona_mm.research.shapes import (
    PALETTE,
    SOURCE_CLASSES,
    TARGET_CLASSES,
    make_shapes,
)
from mona_mm.research.shapes.formats import (
    SplitWriter,
    mask_box,
    mask_polygons,
)
from mona_mm.research.shapes.scene import (
    MIN_VISIBLE,
    render_scene,
    render_single,
)

SMALL = dict(train=6, val=3, size=96, per_class=2, source_per_class=2,
             varied_per_class=3, val_per_class=1)
TINY = dict(train=1, val=1, size=32, per_class=1, source_per_class=0,
            varied_per_class=0, val_per_class=0)
ADE = {'train': 'training', 'val': 'validation'}
VOC_LISTS = {'train': 'trainval', 'val': 'test'}


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small set that the reading tests share."""
    folder = tmp_path_factory.mktemp('sets') / 'shapes'
    make_shapes(folder, **SMALL)
    return folder


def contents(root: Path) -> dict[str, bytes]:
    """Return every file's bytes by relative path."""
    return {path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob('*') if path.is_file()}


def coco(root: Path, split: str) -> dict[str, list[dict[str, Any]]]:
    """Return the COCO annotations of each image by its stem."""
    path = root / f'coco/annotations/instances_{split}.json'
    data = json.loads(path.read_text())
    return {Path(image['file_name']).stem: [
        item for item in data['annotations']
        if item['image_id'] == image['id']] for image in data['images']}


def voc(root: Path, stem: str) -> list[tuple[str, list[int]]]:
    """Return the class and 1-based corners of each VOC object."""
    path = root / f'VOCdevkit/VOC2007/Annotations/{stem}.xml'
    return [(node.findtext('name'), [
        int(node.findtext(f'bndbox/{key}'))
        for key in ('xmin', 'ymin', 'xmax', 'ymax')])
        for node in ElementTree.parse(path).iter('object')]


def dota(root: Path, split: str, stem: str) -> list[tuple[str, np.ndarray]]:
    """Return the class and (4, 2) corners of each oriented box."""
    path = root / f'dota/{split}/labelTxt/{stem}.txt'
    rows = [line.split() for line in path.read_text().splitlines()]
    assert all(len(row) == 10 and row[9] == '0' for row in rows)
    return [(row[8], np.array(row[:8], float).reshape(4, 2)) for row in rows]


def ade(root: Path, split: str, stem: str) -> np.ndarray:
    """Return the label image of one picture."""
    path = root / f'ade/annotations/{ADE[split]}/{stem}.png'
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def fill(polygon: list[int], shape: tuple[int, int]) -> np.ndarray:
    """Fill a polygon by the even-odd rule at the pixel centres."""
    y, x = np.mgrid[:shape[0], :shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    points = np.array(polygon, float).reshape(-1, 2)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0),
                                  strict=True):
        if y0 != y1:
            crosses = (y0 <= y) != (y1 <= y)
            at = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
            inside ^= crosses & (x < at)
    return inside


def shoelace(polygon: list[int] | np.ndarray) -> float:
    """Return the signed area, positive for clockwise with y down."""
    x, y = np.array(polygon, float).reshape(-1, 2).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def each_image(root: Path) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Return split, stem and COCO annotations of every image."""
    return [(split, stem, items) for split in ('train', 'val')
            for stem, items in coco(root, split).items()]


def test_same_arguments_give_the_same_bytes_with_any_number_of_processes(
        root: Path, tmp_path: Path) -> None:
    make_shapes(tmp_path / 'again', **SMALL, processes=2)
    assert contents(tmp_path / 'again') == contents(root)


def test_another_seed_gives_other_images(tmp_path: Path) -> None:
    first = make_shapes(tmp_path / 'a', **TINY)
    second = make_shapes(tmp_path / 'b', **TINY, seed=1)
    assert first['sha256'] != second['sha256']


def test_larger_counts_keep_the_images_of_smaller_ones(
        root: Path, tmp_path: Path) -> None:
    more = {key: value + (key != 'size') for key, value in SMALL.items()}
    make_shapes(tmp_path / 'more', **more)
    old, new = contents(root), contents(tmp_path / 'more')
    pictures = [name for name in old if name.endswith(('.jpg', '.png'))]
    assert all(old[name] == new[name] for name in pictures)


def test_meta_describes_the_written_files(root: Path) -> None:
    files = contents(root)
    meta = json.loads(files.pop('meta.json'))
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(files[name])
    assert meta['sha256'] == digest.hexdigest()
    assert meta['arguments'] == dict(SMALL, seed=0)
    assert meta['counts']['train_images'] == 6
    assert meta['counts']['source_train_images'] == 2 * len(SOURCE_CLASSES)
    for split in ('train', 'val'):
        objects = sum(map(len, coco(root, split).values()))
        assert meta['counts'][f'{split}_objects'] == objects


def test_every_layout_lists_the_same_classes(root: Path) -> None:
    for split, stem, items in each_image(root):
        names = Counter(TARGET_CLASSES[i['category_id'] - 1] for i in items)
        assert 1 <= names.total() <= 5
        assert Counter(name for name, _ in voc(root, stem)) == names
        assert Counter(n for n, _ in dota(root, split, stem)) == names
        present = set(np.unique(ade(root, split, stem)).tolist()) - {0, 1}
        assert {TARGET_CLASSES[v - 2] for v in present} == set(names)


def test_every_layout_holds_the_same_pixels(root: Path) -> None:
    for split, stem, _ in each_image(root):
        jpeg = root / f'coco/{split}/{stem}.jpg'
        voc_jpeg = root / f'VOCdevkit/VOC2007/JPEGImages/{stem}.jpg'
        ade_jpeg = root / f'ade/images/{ADE[split]}/{stem}.jpg'
        png = root / f'dota/{split}/images/{stem}.png'
        data = jpeg.read_bytes()
        assert voc_jpeg.read_bytes() == data == ade_jpeg.read_bytes()
        pixels = cv2.imread(str(jpeg))
        assert pixels.shape == (96, 96, 3)
        np.testing.assert_array_equal(cv2.imread(str(png)), pixels)


def test_images_are_copied_where_links_are_refused(
        root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError('no links here')
    monkeypatch.setattr('os.link', refuse)
    make_shapes(tmp_path / 'copied', **SMALL)
    assert contents(tmp_path / 'copied') == contents(root)


def test_voc_lists_name_the_images_of_each_split(root: Path) -> None:
    lists = root / 'VOCdevkit/VOC2007/ImageSets/Main'
    for split, name in VOC_LISTS.items():
        stems = (lists / f'{name}.txt').read_text().split()
        assert stems == list(coco(root, split))
        assert len(stems) == SMALL[split]


def test_voc_boxes_are_the_coco_boxes_counted_from_one(root: Path) -> None:
    for _, stem, items in each_image(root):
        expected = [[x + 1, y + 1, x + w, y + h]
                    for x, y, w, h in (item['bbox'] for item in items)]
        assert [box for _, box in voc(root, stem)] == expected


def test_coco_polygons_fill_the_boxes_areas_and_ade_labels(
        root: Path) -> None:
    for split, stem, items in each_image(root):
        labels = ade(root, split, stem)
        expected = np.zeros_like(labels)
        for item in items:
            mask = np.zeros(labels.shape, bool)
            for polygon in item['segmentation']:
                mask |= fill(polygon, labels.shape)
            y, x = np.nonzero(mask)
            assert item['area'] == mask.sum()
            assert item['iscrowd'] == 0
            assert item['bbox'] == [x.min(), y.min(), np.ptp(x) + 1,
                                    np.ptp(y) + 1]
            assert not expected[mask].any(), 'visible masks overlap'
            expected[mask] = item['category_id'] + 1
        np.testing.assert_array_equal(np.where(labels > 1, labels, 0),
                                      expected)


def test_ade_border_is_the_background_that_touches_an_object(
        root: Path) -> None:
    for split, stem, _ in each_image(root):
        labels = ade(root, split, stem)
        padded = np.pad(labels > 1, 1)
        near = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
        touching = near.any((2, 3)) & (labels < 2)
        np.testing.assert_array_equal(labels == 0, touching)


def test_oriented_boxes_are_clockwise_rectangles_in_the_image(
        root: Path) -> None:
    for split, stem, _ in each_image(root):
        for _, corners in dota(root, split, stem):
            sides = np.roll(corners, -1, 0) - corners
            lengths = np.linalg.norm(sides, axis=1)
            assert shoelace(corners) == pytest.approx(
                lengths[0] * lengths[1], rel=0.01)
            np.testing.assert_allclose(lengths[:2], lengths[2:], atol=0.03)
            assert corners.min() >= 0 and corners.max() <= 96


def test_oriented_boxes_contain_the_visible_masks(root: Path) -> None:
    for split, stem, items in each_image(root):
        boxes = dota(root, split, stem)
        for item, (_, corners) in zip(items, boxes, strict=True):
            mask = np.zeros((96, 96), bool)
            for polygon in item['segmentation']:
                mask |= fill(polygon, mask.shape)
            centres = np.argwhere(mask)[:, ::-1] + 0.5
            for start, end in zip(corners, np.roll(corners, -1, 0),
                                  strict=True):
                side = (end - start) / np.linalg.norm(end - start)
                offset = centres - start
                depth = side[0] * offset[:, 1] - side[1] * offset[:, 0]
                # A pixel counts from half coverage: half a pixel of slack.
                assert depth.min() > -0.5


def test_axis_aligned_and_oriented_boxes_of_a_whole_disc_agree() -> None:
    index = TARGET_CLASSES.index('circle')
    scenes = (render_scene(np.random.default_rng(seed), 96)
              for seed in range(40))
    # The last object painted is the one that nothing hides.
    discs = [scene.objects[-1] for scene in scenes
             if scene.objects[-1].label == index]
    assert discs
    for item in discs:
        x, y, w, h = mask_box(item.mask)
        corners = [[x, y], [x + w, y], [x + w, y + h], [x, y + h]]
        np.testing.assert_allclose(item.corners, corners, atol=1.5)


@pytest.mark.parametrize(('group', 'names', 'train'), [
    ('folders', TARGET_CLASSES, 2), ('source', SOURCE_CLASSES, 2),
    ('varied', SOURCE_CLASSES, 3)])
def test_every_class_folder_is_filled(root: Path, group: str,
                                      names: tuple[str, ...],
                                      train: int) -> None:
    for split, count in (('train', train), ('val', 1)):
        folders = sorted((root / group / split).iterdir())
        assert [folder.name for folder in folders] == sorted(names)
        for folder in folders:
            images = [cv2.imread(str(p)) for p in folder.glob('*.jpg')]
            assert [i.shape for i in images] == [(64, 64, 3)] * count


def test_varied_pictures_have_busier_surroundings_than_calm_ones() -> None:
    calm, varied = (np.mean([render_single(
        np.random.default_rng(seed), name, varied=hard)[:4].std((0, 1))
        for name in SOURCE_CLASSES for seed in range(4)])
        for hard in (False, True))
    assert calm == pytest.approx(3, abs=.5)  # one colour and noise of 3
    assert varied > calm + 1


def test_configs_of_the_pre_training_name_all_source_classes() -> None:
    for part in ('singles', 'varied'):
        cfg = Config.fromfile(
            ROOT / f'configs/quickstart/pretrain_swin-nano_{part}.py')
        assert cfg.model.head.num_classes == len(SOURCE_CLASSES)


def test_objects_stay_mostly_visible() -> None:
    for seed in range(8):
        for item in render_scene(np.random.default_rng(seed), 96).objects:
            share = item.mask.sum() / abs(shoelace(item.corners))
            # A whole outline fills over 0.25 of its box.
            assert MIN_VISIBLE * 0.25 < share < 1.1


def test_source_and_target_classes_are_disjoint() -> None:
    assert len(set(TARGET_CLASSES)) == len(TARGET_CLASSES) == 6
    assert len(set(SOURCE_CLASSES)) == len(SOURCE_CLASSES) == 24
    assert not set(TARGET_CLASSES) & set(SOURCE_CLASSES)
    assert len(set(PALETTE)) == len(TARGET_CLASSES)


def test_polygons_of_a_frame_leave_its_hole_open() -> None:
    mask = np.zeros((7, 7), bool)
    mask[1:6, 1:6] = True
    mask[2:5, 2:5] = False
    polygons = mask_polygons(mask)
    assert sum(abs(shoelace(p)) for p in polygons) == 25 - 9
    filled = sum(fill(p, mask.shape).astype(int) for p in polygons)
    np.testing.assert_array_equal(filled, mask)


@pytest.mark.parametrize('share', [0.2, 0.5, 0.8])
def test_polygons_cover_any_mask_exactly(share: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        mask = rng.random((12, 15)) < share
        polygons = mask_polygons(mask)
        assert min(map(len, polygons)) >= 8
        filled = sum(fill(p, mask.shape).astype(int) for p in polygons)
        np.testing.assert_array_equal(filled, mask)


def test_a_single_pixel_becomes_its_four_edges() -> None:
    mask = np.zeros((4, 5), bool)
    mask[2, 3] = True
    (polygon,) = mask_polygons(mask)
    assert {*zip(polygon[::2], polygon[1::2], strict=True)} == {
        (3, 2), (4, 2), (4, 3), (3, 3)}


def test_a_second_call_writes_nothing_and_says_so(tmp_path: Path) -> None:
    root = tmp_path / 'set'
    first = make_shapes(root, **TINY)
    times = {p: p.stat().st_mtime_ns for p in root.rglob('*')}
    second = make_shapes(root, **TINY)
    assert (first.pop('reused'), second.pop('reused')) == (False, True)
    assert first == second
    assert times == {p: p.stat().st_mtime_ns for p in root.rglob('*')}


def test_other_arguments_are_refused_without_overwrite(
        tmp_path: Path) -> None:
    root = tmp_path / 'set'
    make_shapes(root, **TINY)
    before = contents(root)
    message = re.escape(str(root)) + '.*--overwrite'
    with pytest.raises(FileExistsError, match=message):
        make_shapes(root, **TINY, seed=1)
    assert contents(root) == before


def test_overwrite_replaces_a_set_of_the_generator(tmp_path: Path) -> None:
    make_shapes(tmp_path / 'set', **TINY)
    make_shapes(tmp_path / 'set', **TINY, seed=1, overwrite=True)
    make_shapes(tmp_path / 'fresh', **TINY, seed=1)
    assert contents(tmp_path / 'set') == contents(tmp_path / 'fresh')
    assert {p.name for p in tmp_path.iterdir()} == {'set', 'fresh'}


@pytest.mark.parametrize('name', ['notes.txt', 'meta.json'])
def test_a_foreign_folder_is_never_replaced(tmp_path: Path,
                                            name: str) -> None:
    root = tmp_path / 'mine'
    root.mkdir()
    (root / name).write_text('{}')
    with pytest.raises(FileExistsError, match=re.escape(str(root))):
        make_shapes(root, **TINY, overwrite=True)
    assert contents(root) == {name: b'{}'}


def test_a_failure_leaves_the_old_set_and_no_leftovers(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_shapes(tmp_path / 'set', **TINY)
    before = contents(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError('disk on fire')
    monkeypatch.setattr(shapes, 'render_single', fail)
    for name in ('set', 'new'):
        with pytest.raises(RuntimeError, match='disk on fire'):
            make_shapes(tmp_path / name, **TINY, seed=1, overwrite=True)
    assert contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ['set']


@pytest.mark.parametrize(('name', 'value', 'least'), [
    ('train', -1, 0), ('val', -3, 0), ('size', 31, 32), ('size', 64.0, 32),
    ('per_class', -1, 0), ('source_per_class', '4', 0),
    ('val_per_class', None, 0), ('seed', -1, 0), ('train', True, 0),
    ('processes', 0, 1)])
def test_bad_arguments_are_named_with_what_is_expected(
        tmp_path: Path, name: str, value: object, least: int) -> None:
    expected = f'{name}={value!r}: expected an integer of {least} or more'
    with pytest.raises(ValueError, match=re.escape(expected)):
        make_shapes(tmp_path / 'set', **{**TINY, name: value})
    assert not list(tmp_path.iterdir())


def test_every_object_stays_mostly_visible() -> None:
    # A whole shape fills over 0.3 of its box; 0.7 of it is left.
    for seed in range(20):
        for item in render_scene(np.random.default_rng(seed), 96).objects:
            share = item.mask.sum() / abs(shoelace(item.corners))
            assert 0.7 * 0.3 < share < 1.1


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name='blob': expected one of"):
        render_single(np.random.default_rng(0), 'blob')
    with pytest.raises(ValueError, match="split='test': expected one of"):
        SplitWriter(tmp_path, 'test')


def test_counts_of_zero_give_empty_but_readable_splits(
        tmp_path: Path) -> None:
    make_shapes(tmp_path / 'set', **{**TINY, 'train': 0, 'per_class': 0})
    assert coco(tmp_path / 'set', 'train') == {}
    assert (tmp_path / 'set/dota/train/labelTxt').is_dir()
    assert len(list((tmp_path / 'set/folders/train').iterdir())) == 6


def test_command_reports_success_and_refusal(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[2] / 'tools/make_shapes.py'
    spec = importlib.util.spec_from_file_location('make_shapes_tool', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    root = str(tmp_path / 'set')
    options = [f'--{key.replace("_", "-")}={value}'
               for key, value in TINY.items()]
    assert tool.main([root, *options]) == 0
    assert 'written' in capsys.readouterr().out
    assert tool.main([root, *options]) == 0
    assert 'already there' in capsys.readouterr().out
    assert tool.main([root, *options, '--seed=1']) == 2
    assert root in capsys.readouterr().err
    assert tool.main([root, *options, '--seed=1', '--overwrite']) == 0
    with small_files(100):
        assert tool.main([f'{root}2', *options]) == 2
    assert f'cannot write {root}2: File too large' in capsys.readouterr().err


def test_importing_loads_no_deep_learning_library() -> None:
    code = ('import sys, mona_mm.research.shapes; print(sorted('
            '{"torch", "mmengine", "mmcv", "mmdet"} & set(sys.modules)))')
    found = subprocess.run([sys.executable, '-c', code], text=True,
                           capture_output=True, check=True,
                           cwd=Path(__file__).parents[2])
    assert found.stdout.strip() == '[]'
