"""Datasets are arranged from their archives, and faults in them are found."""
import io
import json
import runpy
import shutil
import tarfile
import zipfile

import cv2
import mat4py
import numpy as np
import pytest
from mini import MINI, picture, write_tar, write_zip

from mona_mm.data.prepare import PREPARERS, aerial, build
from mona_mm.data.prepare.classification import split
from mona_mm.data.prepare.extract import extract
from mona_mm.errors import ConfigError


def prepared(name, folder):
    """A miniature dataset, arranged."""
    source = folder / 'downloads'
    source.mkdir()
    totals = MINI[name](source)
    preparer = build(name, out=str(folder / 'data'), source=str(source),
                     expected=totals, progress=False)
    preparer.prepare()
    return preparer


def contents(folder):
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes())
            for p in sorted(folder.rglob('*')) if p.is_file()}


def test_every_dataset_has_a_miniature():
    assert set(MINI) == set(PREPARERS)


@pytest.mark.parametrize('name', MINI)
def test_archives_become_the_layout_and_stay_as_they_were(name, tmp_path):
    source = tmp_path / 'downloads'
    source.mkdir()
    totals = MINI[name](source)
    before = contents(source)
    preparer = build(name, out=str(tmp_path / 'data'), source=str(source),
                     expected=totals, progress=False)
    assert 'does not exist' in preparer.verify()[0]
    preparer.prepare()
    assert preparer.verify() == []
    assert contents(source) == before


@pytest.mark.parametrize('name', MINI)
def test_second_run_fills_the_gap_and_rewrites_nothing_else(name, tmp_path):
    preparer = prepared(name, tmp_path)
    before = contents(preparer.root)
    # Lists, and labels of whole pictures, are written anew.
    lists = ('train.txt', 'val.txt', 'test.txt', 'test0.txt')
    kept = {k: v for k, v in before.items() if not k.endswith(lists)}
    gone = max(k for k in kept if 'raw' not in k)
    (tmp_path / gone).unlink()
    preparer.prepare()
    assert preparer.verify() == []
    after = contents(preparer.root)
    assert set(after) == set(before)
    assert after[gone][1] == before[gone][1]
    # The labels of a patch are written with its picture.
    beside = gone.replace('/images/', '/annfiles/').replace('.png', '.txt')
    for path in set(kept) - {gone, beside}:
        assert after[path] == kept[path], path


def remove(path):
    return lambda root: (root / path).unlink()


def truncate(path):
    def fault(root):
        data = (root / path).read_bytes()
        (root / path).unlink()  # it may be a link to the original
        (root / path).write_bytes(data[:len(data) // 2])
    return fault


def replace(path, old, new):
    def fault(root):
        text = (root / path).read_text()
        assert old in text
        (root / path).unlink()
        (root / path).write_text(text.replace(old, new))
    return fault


def swap_ids(root):
    path = root / 'setid.mat'
    path.unlink()
    mat4py.savemat(str(path), dict(trnid=[1, 2], valid=[2, 4],
                                   tstid=[5, 6, 7]))


def stray_object(root):
    path = root / 'annotations/instances_val2017.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['image_id'] = 99
    path.write_text(json.dumps(content))


P = 'trainval/{0}/train0__1024__176___76.{1}'
S = 'train/{0}/train0__1024__176___76.{1}'
#: dataset: (fault, words of its message)
FAULTS = [
    ('coco', remove('train2017/000000000001.jpg'), '000000000001.jpg'),
    ('coco', truncate('val2017/000000000000.jpg'), '000000000000.jpg'),
    ('coco', remove('annotations/instances_val2017.json'), 'val2017.json'),
    ('coco', truncate('annotations/instances_val2017.json'), 'cannot be'),
    ('coco', stray_object, 'objects of no picture: 1'),
    ('voc', remove('VOC2007/JPEGImages/000003.jpg'), '000003.jpg'),
    ('voc', truncate('VOC2012/JPEGImages/000004.jpg'), '000004.jpg'),
    ('voc', truncate('VOC2007/Annotations/000001.xml'), '000001.xml'),
    ('voc', remove('VOC2012/Annotations/000005.xml'), '000005.xml'),
    ('voc', replace('VOC2007/Annotations/000001.xml', 'dog', 'hound'),
     'unknown classes hound'),
    ('voc', replace('VOC2007/ImageSets/Main/trainval.txt', '000002\n', ''),
     'trainval.txt: 1, expected 2'),
    ('voc', remove('VOC2007/ImageSets/Main/test.txt'), 'test.txt'),
    ('ade20k', remove('ADEChallengeData2016/annotations/training/'
                      'ADE_training_00000001.png'), 'ADE_training_00000001'),
    ('ade20k', truncate('ADEChallengeData2016/annotations/validation/'
                        'ADE_validation_00000000.png'), 'damaged'),
    ('ade20k', remove('ADEChallengeData2016/images/training/'
                      'ADE_training_00000000.jpg'), '1, expected 2'),
    ('flowers102', remove('jpg/image_00007.jpg'), 'image_00007.jpg'),
    ('flowers102', truncate('jpg/image_00001.jpg'), 'image_00001.jpg'),
    ('flowers102', remove('setid.mat'), 'setid.mat'),
    ('flowers102', truncate('imagelabels.mat'), 'cannot be read'),
    ('flowers102', swap_ids, 'in two splits or in none: 2'),
    ('oxfordpets', remove('images/Beagle_4.jpg'), 'Beagle_4.jpg'),
    ('oxfordpets', remove('annotations/test.txt'), 'test.txt'),
    ('oxfordpets', replace('annotations/test.txt', 'Beagle_4', 'Beagle_1'),
     'in both splits: images/Beagle_1.jpg'),
    ('oxfordpets', replace('annotations/trainval.txt', 'Beagle_2 1 2 1\n',
                           ''), '2, expected 3'),
    ('cifar100', truncate('cifar-100-python/train'), 'MD5'),
    ('cifar100', remove('cifar-100-python/meta'), 'meta'),
    ('food101', remove('images/waffles/2.jpg'), '2.jpg'),
    ('food101', truncate('images/waffles/0.jpg'), '0.jpg'),
    ('food101', remove('meta/train.txt'), 'train.txt'),
    ('food101', replace('meta/test.txt', 'apple_pie/2\n', ''),
     'classes: 1, expected 2'),
    ('svhn', remove('train_32x32.mat'), 'train_32x32.mat'),
    ('svhn', truncate('test_32x32.mat'), 'test_32x32.mat'),
    ('imagenet_r', remove('n00000001/art_3.jpg'), 'n00000001/art_3.jpg'),
    ('imagenet_r', truncate('n00000000/art_0.jpg'), 'art_0.jpg'),
    ('imagenet_r', remove('meta/test.txt'), 'test.txt'),
    ('imagenet_r', replace('meta/train.txt', 'n00000000', 'n00000001'),
     'only in'),
    ('loveda', remove('ann_dir/train/1.png'), 'only in'),
    ('loveda', truncate('img_dir/val/0.png'), '0.png'),
    ('loveda', remove('img_dir/train/0.png'), '1, expected 2'),
    ('potsdam', remove('ann_dir/train/2_10_0_0.png'), '2_10_0_0'),
    ('potsdam', truncate('img_dir/val/2_13_88_88.png'), '2_13_88_88'),
    ('dota', remove(P.format('images', 'png')), 'train0__1024__176___76'),
    ('dota', truncate(P.format('images', 'png')), 'damaged'),
    ('dota', remove(P.format('annfiles', 'txt')), 'only in images'),
    ('dota', replace('trainval/annfiles/train0__1024__0___0.txt', 'ship',
                     'boat'), 'unknown classes boat'),
    ('dota', replace('trainval/annfiles/train0__1024__0___0.txt', '10 20',
                     'ten 20'), 'line 1'),
    ('dota', remove('val.txt'), 'val.txt, pictures: 0, expected 1'),
    ('dota', truncate('test/images/test0__1024__0___0.png'), 'damaged'),
    ('star', remove(S.format('images', 'png')), 'train0__1024__176___76'),
    ('star', remove('test/annfiles/test0.txt'), 'only in images (test0)'),
    ('star', truncate('test/images/test0.png'), 'test0.png'),
    ('star', replace('test/annfiles/test0.txt', 'boat', 'canoe'),
     'unknown classes canoe'),
]


def test_every_dataset_has_faults():
    assert {name for name, *_ in FAULTS} == set(PREPARERS)


@pytest.mark.parametrize('name', MINI)
def test_verify_finds_each_planted_fault(name, tmp_path):
    preparer = prepared(name, tmp_path)
    whole = preparer.root
    for i, (_, fault, words) in enumerate(f for f in FAULTS if f[0] == name):
        preparer.root = tmp_path / str(i)
        shutil.copytree(whole, preparer.root)
        fault(preparer.root)
        problems = preparer.verify()
        assert words in '\n'.join(problems), (words, problems)


@pytest.mark.parametrize('name', [n for n in MINI if n not in (
    'dota', 'star')])
def test_missing_archives_are_all_named_with_their_source(name, tmp_path):
    preparer = build(name, out=str(tmp_path), progress=False)
    with pytest.raises(ConfigError) as error:
        preparer.prepare()
    for archive in preparer.archives:
        assert archive.name in str(error.value)
        assert (archive.url or preparer.by_hand) in str(error.value)


@pytest.mark.parametrize('name', ['dota', 'star', 'potsdam'])
def test_what_must_be_asked_for_is_not_downloaded(name, tmp_path):
    with pytest.raises(ConfigError, match='cannot be downloaded'):
        build(name, out=str(tmp_path), progress=False).download()


def test_archive_with_another_checksum_is_refused(tmp_path):
    MINI['oxfordpets'](tmp_path)
    with pytest.raises(ConfigError, match='5c4f3ee8e5d25df40f4fd59a7f44e54c'):
        build('oxfordpets', out=str(tmp_path / 'data'),
              source=str(tmp_path), progress=False).prepare()
    assert not (tmp_path / 'data').exists()


def test_picture_without_labels_is_refused(tmp_path):
    MINI['dota'](tmp_path)
    (tmp_path / 'val/labels.zip').unlink()
    preparer = build('dota', out=str(tmp_path / 'data'),
                     source=str(tmp_path), progress=False,
                     expected=dict(train=1, val=1, test=1))
    with pytest.raises(ConfigError, match='val0'):
        preparer.prepare()


@pytest.mark.parametrize('name', [
    '../evil', 'a/../../evil', '/evil', 'C:\\evil', '..\\evil'])
@pytest.mark.parametrize('write', [write_zip, write_tar])
def test_member_that_leads_outside_is_refused(name, write, tmp_path):
    archive = tmp_path / ('a.zip' if write is write_zip else 'a.tar')
    write(archive, {'fine.txt': b'1', name: b'2'})
    root = tmp_path / 'deep/root'
    with pytest.raises(ConfigError, match='outside'):
        extract(archive, root, lambda member: member, progress=False)
    assert not list(tmp_path.rglob('*evil*'))


def test_links_in_archives_are_passed_over(tmp_path):
    archive = tmp_path / 'a.tar'
    with tarfile.open(archive, 'w') as file:
        link = tarfile.TarInfo('door')
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        file.addfile(link)
        info = tarfile.TarInfo('door/evil')
        info.size = 1
        file.addfile(info, io.BytesIO(b'1'))
    extract(archive, tmp_path / 'root', lambda m: m, progress=False)
    assert not (tmp_path / 'evil').exists()
    assert not (tmp_path / 'root/door').is_symlink()


def test_link_that_is_already_there_is_not_followed(tmp_path):
    write_zip(tmp_path / 'a.zip', {'door/evil': b'1'})
    (tmp_path / 'root').mkdir()
    (tmp_path / 'outside').mkdir()
    (tmp_path / 'root/door').symlink_to(tmp_path / 'outside')
    with pytest.raises(ConfigError, match='leads out of'):
        extract(tmp_path / 'a.zip', tmp_path / 'root', lambda m: m,
                progress=False)
    assert not list((tmp_path / 'outside').iterdir())


@pytest.mark.parametrize('suffix', ['zip', 'tar', 'tgz'])
def test_archive_that_ends_early_is_named(suffix, tmp_path):
    path = tmp_path / f'a.{suffix}'
    noise = np.random.default_rng(0).bytes(50_000)
    (write_zip if suffix == 'zip' else write_tar)(path, {'big': noise})
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(ConfigError, match='fetch it again|ends early'):
        extract(path, tmp_path / 'root', lambda m: m, progress=False)
    assert not (tmp_path / 'root/big').exists()


def test_extraction_goes_on_where_it_stopped(tmp_path):
    write_zip(tmp_path / 'a.zip', {'one': b'1', 'two': b'22'})
    root = tmp_path / 'root'
    assert extract(tmp_path / 'a.zip', root, lambda m: m, False) == 2
    (root / 'two').write_bytes(b'2')  # as if interrupted
    assert extract(tmp_path / 'a.zip', root, lambda m: m, False) == 1
    assert (root / 'two').read_bytes() == b'22'


def test_patches_hold_the_picture_and_its_labels(tmp_path):
    root = prepared('dota', tmp_path).root
    whole = cv2.imread(str(tmp_path / 'data/dota_raw/train/images/'
                           'train0.png'))
    # 1200 x 1100: starts 0 and 1200 - 1024, 0 and 1100 - 1024.
    patches = sorted(p.stem for p in (root / 'trainval/images').glob('tr*'))
    assert patches == [
        f'train0__1024__{x}___{y}' for x in (0, 176) for y in (0, 76)]
    patch = cv2.imread(str(root / 'trainval/images' / f'{patches[-1]}.png'))
    assert (patch == whole[76:, 176:]).all()
    labels = {p: (root / f'trainval/annfiles/{p}.txt').read_text()
              for p in patches}
    # Half of the second object is in the left patches: less than 0.7.
    assert labels['train0__1024__0___0'] == (
        '10 20 50 20 50 60 10 60 ship 0\n')
    assert labels['train0__1024__176___76'] == (
        '824 24 872 24 872 64 824 64 ship 0\n')
    assert labels['train0__1024__0___76'] == ''


def test_object_that_a_border_cuts_becomes_difficult():
    label = aerial.Label((0, 0, 10, 0, 10, 10, 0, 10), 'ship', '0')
    # 8 of its 10 columns are inside.
    assert aerial.share_inside(label, (2, 0, 99, 99)) == pytest.approx(0.8)
    assert aerial.window_labels([label], (2, 0, 99, 99)) == [
        '-2 0 8 0 8 10 -2 10 ship 2']
    assert aerial.window_labels([label], (4, 0, 99, 99)) == []  # 0.6


def test_share_of_a_turned_square():
    # A square on its tip, area 200; x < 0 cuts it in half.
    label = aerial.Label((0, -10, 10, 0, 0, 10, -10, 0), 'ship', '0')
    assert aerial.share_inside(label, (0, -99, 99, 99)) == pytest.approx(.5)
    # The corner x > 5 is a triangle of base 10 and height 5.
    assert aerial.share_inside(label, (5, -99, 99, 99)) == pytest.approx(
        25 / 200)


def test_whole_pictures_of_star_keep_their_labels_to_the_digit(tmp_path):
    source = tmp_path / 'downloads'
    MINI['star'](source)
    lines = '20000.125 2 3 4 5 6 7 30000.0625 boat 1\n'
    write_zip(source / 'test/labels.zip', {
        'object-TXT/test0.txt': f'imagesource:x\ngsd:1\n{lines}'})
    preparer = build('star', out=str(tmp_path / 'data'), source=str(source),
                     expected=dict(train=1, test=1), progress=False)
    preparer.prepare()
    assert (preparer.root / 'test/annfiles/test0.txt').read_text() == lines


def test_small_picture_is_filled_up(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(picture('.png', 500, 700))
    aerial.cut(dict(a=path), {}, tmp_path / 'out', progress=False)
    patch = cv2.imread(str(tmp_path / 'out/images/a__1024__0___0.png'))
    assert patch.shape == (1024, 1024, 3)
    assert (patch[:500, :700] == cv2.imread(str(path))).all()
    assert (patch[500:] == (104, 116, 124)).all()


def test_potsdam_colours_become_labels_and_unknown_ones_are_ignored(
        tmp_path):
    root = prepared('potsdam', tmp_path).root
    # Tiles of 512 of 600 x 600: the second starts at 88.
    tile = cv2.imread(str(root / 'ann_dir/train/2_10_0_88.png'), -1)
    assert tile.shape == (512, 512)
    assert (tile[:212] == 2).all()  # building: the second colour
    assert (tile[212:] == 0).all()


def test_imagenet_r_split_is_a_fifth_of_each_class_and_never_changes():
    names = [f'n{c}/{i}.jpg' for c in range(3) for i in range(10)]
    train, test = split(names)
    assert sorted(train + test) == names
    for c in range(3):
        assert len([n for n in test if n.startswith(f'n{c}/')]) == 2
    assert split(names[::-1]) == (train, test)


def test_command_prepares_then_finds_the_totals_of_a_part_wrong(
        tmp_path, root, monkeypatch, capsys):
    (tmp_path / 'dl').mkdir()
    MINI['ade20k'](tmp_path / 'dl')
    monkeypatch.setattr('sys.argv', [
        'prepare_data.py', 'ade20k', '--source', str(tmp_path / 'dl'),
        '--out', str(tmp_path / 'data')])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(root / 'tools/prepare_data.py'),
                       run_name='__main__')
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert '2, expected 20,210' in out
    assert (tmp_path / 'data/ade/ADEChallengeData2016/images').is_dir()


def test_nested_archive_folders_do_not_matter_to_voc(tmp_path):
    place = build('voc', out=str(tmp_path)).place
    archive = build('voc', out=str(tmp_path)).archives[0]
    assert place(archive, 'TrainVal/VOCdevkit/VOC2007/JPEGImages/1.jpg') == (
        'VOC2007/JPEGImages/1.jpg')
    assert place(archive, 'VOCdevkit/VOC2007/SegmentationClass/1.png') is None


def test_zip_is_recognised_by_content_not_by_name(tmp_path):
    path = tmp_path / 'a.tar'
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('one', b'1')
    assert extract(path, tmp_path / 'root', lambda m: m, False) == 1
