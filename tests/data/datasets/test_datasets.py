"""Datasets of our own: labels, splits, and what is wrong with files."""
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from paths import ROOT
from scipy.io import savemat

from mona_mm.data.datasets import RULES, SVHN, ImageNetR, VOC2007SingleLabel
from mona_mm.errors import ConfigError


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmpretrain')


def test_types_are_found_by_their_prefix_under_any_scope():
    for scope in ('mmdet', 'mmseg', 'mmpretrain', 'mmrotate'):
        init_default_scope(scope)
        cls = DATASETS.get('mona_mm.STARDataset')
        assert cls.__module__ == 'mona_mm.data.datasets.star'


def object_(name, side, difficult=0, at=1):
    end = at + side - 1
    return (f'<object><name>{name}</name><difficult>{difficult}</difficult>'
            f'<bndbox><xmin>{at}</xmin><ymin>{at}</ymin><xmax>{end}</xmax>'
            f'<ymax>{end}</ymax></bndbox></object>')


@pytest.fixture
def voc(tmp_path):
    for folder in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (tmp_path / folder).mkdir(parents=True)

    def write(*objects):
        (tmp_path / 'Annotations/000001.xml').write_text(
            f'<annotation>{"".join(objects)}</annotation>')
        (tmp_path / 'ImageSets/Main/test.txt').write_text('000001\n')
        return str(tmp_path)

    return write


@pytest.mark.parametrize('rule, expected', [
    ('largest_box', 'cat'),  # 6 x 6 = 36 against 25
    ('first', 'dog'),
    ('most_objects', 'dog'),  # two of them
    ('most_area', 'dog'),  # 25 + 25
])
def test_rule_picks_the_label_of_an_image(voc, rule, expected):
    root = voc(object_('dog', 5), object_('cat', 6), object_('dog', 5))
    dataset = VOC2007SingleLabel(data_root=root, split='test', rule=rule)
    (item, ) = list(dataset)
    assert dataset.metainfo['classes'][item['gt_label']] == expected
    assert item['img_path'].endswith('JPEGImages/000001.jpg')
    assert dataset.get_cat_ids(0) == [item['gt_label']]


def test_every_rule_is_tested_above():
    marks = test_rule_picks_the_label_of_an_image.pytestmark
    assert {case[0] for case in marks[0].args[1]} == set(RULES)


def test_difficult_objects_count_only_where_there_are_no_others(voc):
    for objects, expected in (
            ((object_('dog', 9, difficult=1), object_('cat', 2)), 'cat'),
            ((object_('dog', 9, difficult=1), ), 'dog')):
        dataset = VOC2007SingleLabel(data_root=voc(*objects), split='test')
        assert dataset.metainfo['classes'][dataset[0]['gt_label']] == expected


def test_unknown_rule_and_image_without_objects_are_refused(voc):
    root = voc()
    with pytest.raises(ConfigError, match="rule='best'.*largest_box"):
        VOC2007SingleLabel(data_root=root, split='test', rule='best')
    with pytest.raises(ConfigError, match='000001.xml names no object'):
        VOC2007SingleLabel(data_root=root, split='test')


def write_svhn(folder, split='train', labels=(1, 10, 9)):
    images = np.arange(len(labels) * 32 * 32 * 3, dtype=np.uint32) % 256
    images = images.astype(np.uint8).reshape(32, 32, 3, len(labels))
    savemat(folder / f'{split}_32x32.mat',
            dict(X=images, y=np.array(labels)[:, None]))
    return images


def test_svhn_gives_bgr_pictures_and_calls_ten_zero(tmp_path):
    images = write_svhn(tmp_path)
    dataset = SVHN(data_root=str(tmp_path), split='train')
    assert [item['gt_label'] for item in dataset] == [1, 0, 9]
    assert (dataset[2]['img'] == images[:, :, ::-1, 2]).all()


def test_svhn_refuses_other_splits_and_missing_or_damaged_files(tmp_path):
    with pytest.raises(ConfigError, match="split='val'.*extra"):
        SVHN(data_root=str(tmp_path), split='val')
    with pytest.raises(ConfigError, match='test_32x32.mat'):
        SVHN(data_root=str(tmp_path), split='test')
    (tmp_path / 'test_32x32.mat').write_bytes(b'x' * 300)
    with pytest.raises(ConfigError, match='cannot be read'):
        SVHN(data_root=str(tmp_path), split='test')
    savemat(tmp_path / 'test_32x32.mat',
            dict(X=np.zeros((32, 32, 3, 2), np.uint8), y=np.ones((3, 1))))
    with pytest.raises(ConfigError, match='holds 3 labels'):
        SVHN(data_root=str(tmp_path), split='test')


@pytest.fixture
def renditions(tmp_path):
    for name in ('n02', 'n01'):
        (tmp_path / name).mkdir()
        for i in range(2):
            (tmp_path / name / f'art_{i}.jpg').touch()
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'meta/train.txt').write_text('n01/art_0.jpg\nn02/art_1.jpg\n')
    return tmp_path


def test_imagenet_r_labels_follow_the_folders_order(renditions):
    dataset = ImageNetR(data_root=str(renditions), split='train')
    assert dataset.metainfo['classes'] == ('n01', 'n02')
    assert [item['gt_label'] for item in dataset] == [0, 1]
    assert dataset[1]['img_path'] == str(renditions / 'n02/art_1.jpg')
    assert len(ImageNetR(data_root=str(renditions), split='all')) == 4


def test_imagenet_r_without_lists_says_what_writes_them(renditions):
    with pytest.raises(ConfigError, match='prepare_data.py imagenet_r'):
        ImageNetR(data_root=str(renditions), split='test')
    with pytest.raises(ConfigError, match="split='dev'"):
        ImageNetR(data_root=str(renditions), split='dev')
    with pytest.raises(ConfigError, match='nowhere'):
        ImageNetR(data_root=str(renditions / 'nowhere'))


def test_star_has_48_classes_and_reads_dotas_label_format(tmp_path):
    init_default_scope('mmrotate')
    (tmp_path / 'annfiles').mkdir()
    (tmp_path / 'annfiles/a.txt').write_text(
        '1 2 3 4 5 6 7 8 roundabout 0\n1 1 2 1 2 2 1 2 tank 2\n')
    dataset = DATASETS.build(dict(
        type='mona_mm.STARDataset', data_root=str(tmp_path),
        ann_file='annfiles/', data_prefix=dict(img_path='images/')))
    classes = dataset.metainfo['classes']
    assert len(classes) == len(set(classes)) == 48
    assert len(set(dataset.metainfo['palette'])) == 48
    first, second = dataset.get_data_info(0)['instances']
    # The two classes that H2RBox-v2 treats as round: 44 and 4.
    assert first['bbox_label'] == 44 and second['bbox_label'] == 4
    assert first['bbox'] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize('options, expected', [
    (dict(test_mode=True), {'full'}),
    (dict(test_mode=True, drop_empty=False), {'full', 'empty'}),
    (dict(filter_cfg=dict(filter_empty_gt=True)), {'full'}),
    (dict(filter_cfg=dict(filter_empty_gt=False)), {'full', 'empty'})])
def test_star_drops_pictures_without_objects_in_testing_too(
        tmp_path, options, expected):
    init_default_scope('mmrotate')
    (tmp_path / 'annfiles').mkdir()
    (tmp_path / 'annfiles/full.txt').write_text('1 2 3 4 5 6 7 8 tank 0\n')
    (tmp_path / 'annfiles/empty.txt').write_text('')
    dataset = DATASETS.build(dict(
        type='mona_mm.STARDataset', data_root=str(tmp_path),
        ann_file='annfiles/', data_prefix=dict(img_path='images/'),
        **options))
    assert {dataset.get_data_info(i)['img_id']
            for i in range(len(dataset))} == expected


def test_star_keeps_pictures_whose_labels_nobody_has(tmp_path):
    init_default_scope('mmrotate')
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images/a.png').write_bytes(b'')
    dataset = DATASETS.build(dict(
        type='mona_mm.STARDataset', data_root=str(tmp_path),
        data_prefix=dict(img_path='images/'), test_mode=True))
    assert len(dataset) == 1


@pytest.mark.parametrize('name', ['svhn', 'imagenet_r', 'voc2007_cls'])
def test_config_reads_what_the_dataset_reads(name, tmp_path, monkeypatch):
    """A sample runs through the config's pipelines."""
    import cv2
    cfg = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')
    monkeypatch.chdir(tmp_path)
    root = tmp_path / cfg.data_root
    root.mkdir(parents=True)
    if name == 'svhn':
        for split in ('train', 'test'):
            write_svhn(root, split)
    for path in ('n01/a.jpg', 'JPEGImages/1.jpg'):
        (root / path).parent.mkdir()
        cv2.imwrite(str(root / path), np.zeros((300, 400, 3), np.uint8))
    for path, text in (
            ('meta/train.txt', 'n01/a.jpg\n'),
            ('meta/test.txt', 'n01/a.jpg\n'),
            ('ImageSets/Main/trainval.txt', '1\n'),
            ('ImageSets/Main/test.txt', '1\n'),
            ('Annotations/1.xml', f'<a>{object_("dog", 5)}</a>')):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        dataset = DATASETS.build(loader.dataset)
        assert dataset[0]['inputs'].shape == (3, 224, 224)
