"""Values in label files, and what pictures hold beside their pixels."""
import json

import cv2
import numpy as np
import pytest
import sets
from PIL import Image
from test_look import config, data, notes_of, refusal

from mona_mm.data.labels import coco
from mona_mm.data.labels.names import difference, recorded_classes

LOAD = dict(type='LoadImageFromFile')


def evaluator(tmp_path, part='a', **made) -> dict:
    sets.coco(tmp_path, part, **made)
    return dict(type='mmdet.CocoMetric', ann_file=f'{tmp_path}/{part}.json')


def test_names_are_compared_label_by_label():
    def told(*lists):
        return difference(*lists, 'here', 'there')

    assert told(('a b', 'C-d'), ('A_B', 'c d')) is None
    assert told(('a', 'b'), ('b', 'a')).endswith(
        "label 0 is 'a' here and 'b' there")
    assert told(('a', 'b'), ('a', 'c')).endswith('only here: b; only there: c')
    assert told(('a', ), ('a', 'c')).endswith('classes: only there: c')
    assert told(('a', 'a'), ('a', )) == 'here has 2 classes, there 1'


@pytest.mark.parametrize('meta, names', [
    (dict(dataset_meta=dict(classes=['a', np.str_('b')])), ('a', 'b')),
    (dict(dataset_meta=dict(CLASSES=('a', ))), ('a', )),
    (dict(CLASSES=('a', 'b')), ('a', 'b')),
    (dict(dataset_meta=dict(palette=[])), None), (dict(), None),
    (dict(dataset_meta=None), None), (None, None)])
def test_classes_of_a_checkpoint_are_found_in_old_and_new_form(meta, names):
    assert recorded_classes(dict(meta=meta)) == names


@pytest.mark.parametrize('text', [
    '{"images": [{"id": 1, "n": "é]},{"}, {"id": 2}], "x": 3}',
    '{"info": {"images": [{"id": 9}]}, "images": [{"id": 1}, {"id": 2}]}',
    '{"x": "\\"images\\": [5]", "images" :\n[ {"id":1} ,\n{"id":2}\n] }',
    json.dumps(dict(images=[dict(id=i, s='ü' * 50_000) for i in (1, 2)]),
               ensure_ascii=False),
    '{"images": []}'])
def test_entries_of_a_file_are_those_that_json_finds(
        text, tmp_path, monkeypatch):
    path = tmp_path / 'a.json'
    path.write_text(text, encoding='utf-8')
    expected = json.loads(text)['images']
    assert coco.entries(str(path), 'images') == expected
    assert coco.entries(str(path), 'images', 1) == expected[:1]


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"images": [{"id": 1}',
                                  '{"images": 3}', 'no'])
def test_file_that_is_not_cocos_is_named(text, tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(text)
    with pytest.raises(coco.NotCoco, match='a.json'):
        coco.entries(str(path), 'images')


@pytest.mark.parametrize('change, told', [
    (dict(area=0), 'none of the first 4 boxes counts'),
    (dict(bbox=[.1, .1, .5, .5]), 'such as [0.1, 0.1, 0.5, 0.5]'),
    (dict(bbox=[1, 1, 0, 9]), 'such as [1, 1, 0, 9]')])
def test_boxes_that_the_library_leaves_out_silently_are_named(
        change, told, tmp_path):
    assert told in refusal(config(data('coco', tmp_path, 'a', **change)))
    assert not notes_of(config(data('coco', tmp_path, 'b'),
                               data('coco', tmp_path, 'a', **change)))


def test_annotation_without_an_area_is_named(tmp_path):
    given = data('coco', tmp_path, 'a')
    path = tmp_path / 'a.json'
    path.write_text(path.read_text().replace('"area"', '"size"', 1))
    assert 'annotation 0 has no area' in refusal(config(given))


def test_labels_of_no_category_are_said(tmp_path):
    made = data('coco', tmp_path, 'a', category_id=7)
    assert 'category_id 7 are left out' in refusal(config(made))
    path = tmp_path / 'a.json'
    path.write_text(path.read_text().replace('"category_id": 7',
                                             '"category_id": 1', 1))
    assert 'the categories are 1, 2' in notes_of(config(made))


def test_set_without_boxes_is_accepted(tmp_path):
    assert not notes_of(config(data('coco', tmp_path, 'a', boxes=False)))


def test_evaluators_file_is_the_datasets_or_says_the_same(tmp_path):
    given = data('coco', tmp_path, 'a')
    cfg = config(given, given, val_evaluator=evaluator(tmp_path))
    assert not notes_of(cfg)
    text = (tmp_path / 'a.json').read_text()
    (tmp_path / 'copy.json').write_text(text)
    cfg.val_evaluator.ann_file = f'{tmp_path}/copy.json'
    assert not notes_of(cfg)
    (tmp_path / 'other.json').write_text(text.replace('1.png', '7.png'))
    cfg.val_evaluator.ann_file = f'{tmp_path}/other.json'
    told = refusal(cfg)
    assert 'other.json is not the file of the dataset' in told
    assert "only in the dataset's (1.png)" in told
    assert "only in the evaluator's (7.png)" in told
    cfg.val_evaluator.ann_file = f'{tmp_path}/lost.json'
    assert "lost.json' does not exist" in refusal(cfg)


@pytest.mark.parametrize('form', [
    lambda e: e, lambda e: [dict(type='mmengine.DumpResults',
                                 out_file_path='x.pkl'), e],
    lambda e: dict(type='Evaluator', metrics=[e]),
    lambda e: dict(type='mmdet.MultiDatasetsEvaluator', metrics=[e],
                   dataset_prefixes=['a'])])
def test_evaluators_categories_are_compared_in_every_form(form, tmp_path):
    given = data('coco', tmp_path, 'a')
    wrong = evaluator(tmp_path, 'b', names=('dog', 'cat'))
    cfg = config(given, given, val_evaluator=form(wrong))
    told = refusal(cfg)
    assert 'val_evaluator: CocoMetric' in told
    assert "label 0 is 'cat' here and 'dog' there" in told
    # Of another layout than its data
    folder = data('xml', tmp_path / 'x', 'a')
    cfg.val_dataloader.dataset = folder
    assert "label 0 is 'cat' here and 'dog' there" in refusal(cfg)


def test_top_k_above_the_classes_is_refused_before_training(tmp_path):
    given = data('folders', tmp_path, 'a')
    cfg = config(given, given, scope='mmpretrain', val_evaluator=[
        dict(type='Accuracy', topk=(1, 5))])
    told = refusal(cfg)
    assert 'top-5 accuracy' in told and 'there are 2' in told
    cfg.val_evaluator[0].topk = (1, 2)
    assert not notes_of(cfg)


@pytest.mark.parametrize('key, off', [
    ('persistent_workers', 'False'), ('prefetch_factor', 'None')])
def test_workers_that_are_not_there_are_named(key, off, tmp_path):
    given = data('folders', tmp_path, 'a')
    cfg = config(given, given)
    cfg.val_dataloader.update({key: 2, 'num_workers': 0})
    assert f'--cfg-options val_dataloader.{key}={off}' in refusal(cfg)
    cfg.val_dataloader.num_workers = 1
    assert not notes_of(cfg)


@pytest.mark.parametrize('lines, told', [
    (['imagesource:GoogleEarth', 'gsd:0.1'], "line 3: 'imagesource:Goo"),
    (['1 1 2 1 2 2 1 2 cat'], "line 3: '1 1 2 1 2 2 1 2 cat'"),
    ([''], "line 3: ''"), (['1 1 2 1 2 2 1 2 cat x'], 'cat x')])
def test_line_that_dota_cannot_read_is_named(lines, told, tmp_path):
    made = data('dota', tmp_path, 'a', lines=lines)
    message = refusal(config(made))
    assert told in message and 'labelTxt/0.txt' in message
    assert 'difficulty' in message


@pytest.mark.parametrize('corners, flat', [
    ('5 5 5 5 5 5 5 5', True), ('1 1 9 1 9 1 1 1', True),
    ('1 1 9 9 5 5 2 2', True), ('1 1 9 9 9 1 1 9', False),
    ('0 0 0.5 0 0.5 0.5 0 0.5', False)])
def test_rotated_boxes_without_area_are_named_with_their_remedy(
        corners, flat, tmp_path):
    made = data('dota', tmp_path, 'a', lines=[f'{corners} cat 0'])
    told = notes_of(config(made))
    assert ('labelTxt/0.txt, line 3 (' + corners in told) == flat
    assert ('mmdet.FilterAnnotations' in told) == flat
    made['pipeline'] = [dict(type='mmdet.FilterAnnotations')]
    assert not notes_of(config(made))


def test_boxes_without_area_in_xml_are_named_unless_left_out(tmp_path):
    made = data('xml', tmp_path, 'a', objects=[
        *sets.OBJECTS, ('dog', 5, 5, 5, 9)])
    assert 'Annotations/a0.xml (dog: 5 5 5 9)' in notes_of(config(made))
    made['filter_cfg'] = dict(bbox_min_size=1)
    assert not notes_of(config(made))


@pytest.mark.parametrize('values, reduce, told', [
    ((0, 255), True, 'no pixel is labelled'),
    ((1, 9), True, 'has the value 9, but there are 2 classes, whose values '
     'are 1 to 2'),
    ((0, 2), False, 'has the value 2, but there are 2 classes, whose values '
     'are 0 to 1'),
    ((1, 300), True, 'has the value 300')])
def test_values_of_masks_beyond_the_classes_are_refused(
        values, reduce, told, tmp_path):
    made = data('masks', tmp_path, 'a', values=values,
                dtype=np.uint16 if max(values) > 255 else np.uint8)
    made['reduce_zero_label'] = reduce
    made['pipeline'][1]['reduce_zero_label'] = reduce
    assert told in refusal(config(made))


@pytest.mark.parametrize('values, reduce', [
    ((1, 2), True), ((0, 1), False), ((0, 1), True), ((0, 0), False),
    ((2, 255), True)])
def test_values_of_masks_within_the_classes_are_accepted(
        values, reduce, tmp_path):
    made = data('masks', tmp_path, 'a', values=values)
    made['reduce_zero_label'] = reduce
    made['pipeline'][1]['reduce_zero_label'] = reduce
    notes_of(config(made))


def test_mask_of_0_and_255_that_trains_the_background_alone_is_said(
        tmp_path):
    made = data('masks', tmp_path, 'a', values=(0, 255))
    made['reduce_zero_label'] = False
    made['pipeline'][1]['reduce_zero_label'] = False
    told = notes_of(config(made))
    assert 'hold the values 0, 255' in told
    assert "only 'cat' is labelled" in told


def test_mask_in_colours_and_a_lost_one_are_named(tmp_path):
    made = data('masks', tmp_path, 'a')
    path = tmp_path / 'annotations/a/0.png'
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    assert 'of shape (8, 8, 3); expected one channel' in refusal(config(made))
    path.unlink()
    assert f'{path} of ' in refusal(config(made))


def test_zero_label_said_twice_and_differently_is_refused(tmp_path):
    made = data('masks', tmp_path, 'a')
    made['pipeline'][1]['reduce_zero_label'] = False
    assert 'reduce_zero_label' in refusal(config(made))


def turned(path) -> None:
    """A JPEG of 48 x 32 that asks to be turned by a quarter."""
    exif = Image.Exif()
    exif[274] = 6
    Image.new('RGB', (48, 32)).save(path, exif=exif)


@pytest.mark.parametrize('layout, name', [
    ('coco', 'a/0.png'), ('xml', 'JPEGImages/a0.jpg'),
    ('masks', 'images/a/0.jpg'), ('dota', 'a/images/0.png')])
def test_pictures_that_are_turned_on_loading_are_said(
        layout, name, tmp_path):
    made = data(layout, tmp_path, 'a')
    path = tmp_path / name
    turned(path.with_suffix('.jpg'))
    if path.suffix != '.jpg':
        path.with_suffix('.jpg').rename(path)
    made['pipeline'] = [dict(LOAD), *made.get('pipeline', [])[1:]]
    told = notes_of(config(made))
    assert f'{path} has the EXIF orientation 6: stored 48 x 32' in told
    assert 'loaded as 32 x 48' in told
    assert "color_type='color_ignore_orientation'" in told
    made['pipeline'][0]['color_type'] = 'color_ignore_orientation'
    assert not notes_of(config(made))


def test_orientation_that_the_labels_know_of_is_no_fault(tmp_path):
    made = dict(data('coco', tmp_path, 'a'), pipeline=[LOAD])
    path = tmp_path / 'a.json'
    path.write_text(path.read_text().replace(
        '"width": 48, "height": 32', '"width": 32, "height": 48'))
    for i in range(2):
        turned(tmp_path / f'a/{i}.jpg')
        (tmp_path / f'a/{i}.jpg').rename(tmp_path / f'a/{i}.png')
    assert not notes_of(config(made))


def test_a_class_does_not_turn_with_its_picture(tmp_path):
    made = dict(data('folders', tmp_path, 'a'), pipeline=[LOAD])
    turned(tmp_path / 'a/cat/0.jpg')
    (tmp_path / 'a/cat/0.jpg').rename(tmp_path / 'a/cat/0.png')
    assert not notes_of(config(made))


def test_labels_for_another_size_are_said(tmp_path):
    made = dict(data('coco', tmp_path, 'a'), pipeline=[LOAD])
    sets.picture(tmp_path / 'a/1.png', np.zeros((16, 24, 3), np.uint8))
    told = notes_of(config(made))
    assert 'a.json are 48 x 32, but' in told and '1.png is 24 x 16' in told


@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('shape', [(32, 48), (32, 48, 3)])
def test_pictures_of_more_than_8_bits_are_said(suffix, shape, tmp_path):
    made = dict(data('folders', tmp_path, 'a'), pipeline=[LOAD])
    (tmp_path / 'a/cat/0.png').unlink()
    path = tmp_path / f'a/cat/0.{suffix}'
    cv2.imwrite(str(path), np.full(shape, 4095, np.uint16))
    told = notes_of(config(made))
    assert f'{path} has 16 bits per channel' in told
    assert 'values up to 4,095 become 0 to 15' in told  # 4095 >> 8
    made['pipeline'] = [dict(LOAD, color_type='unchanged')]
    assert not notes_of(config(made))


def test_picture_that_is_not_there_is_named_with_its_labels(tmp_path):
    made = dict(data('dota', tmp_path, 'a'), pipeline=[LOAD])
    (tmp_path / 'a/images/1.png').unlink()
    told = refusal(config(made))
    assert 'images/1.png does not exist' in told and '1.txt is for' in told


def test_pictures_of_a_set_without_labels_are_looked_for(tmp_path):
    made = dict(data('dota', tmp_path, 'a'), ann_file='', pipeline=[LOAD])
    assert not notes_of(config(made))
    assert 'no *.tif in' in refusal(config(dict(made, img_suffix='tif')))
