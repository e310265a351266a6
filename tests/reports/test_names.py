"""Names of configs and methods, and the looks that belong to them."""
from itertools import combinations

import numpy as np
import pytest

from mona_mm.errors import ConfigError
from mona_mm.registry import TUNERS
from mona_mm.reports.curves import places
from mona_mm.reports.names import display_name, methods, parse, place
from mona_mm.reports.styles import method_styles, named_method, styles_of
from mona_mm.tuners import Tuner

#: The paper's tables, in their order.
PAPER = ('Full', 'Fixed', 'BitFit', 'NormTuning', 'Partial-1', 'Adapter',
         'LoRA', 'AdaptFormer', 'LoRand', 'Mona')
#: What readers with a colour deficiency see, in linear RGB (Machado,
#: Oliveira and Fernandes, 2009, severity 1).
SEEN = dict(
    normal=np.eye(3),
    protanope=[[.152286, 1.052583, -.204868], [.114503, .786281, .099216],
               [-.003882, -.048116, 1.051998]],
    deuteranope=[[.367322, .860646, -.227968], [.280085, .672501, .047413],
                 [-.011820, .042940, .968881]],
    tritanope=[[1.255528, -.076749, -.178779], [-.078411, .930809, .147602],
               [.004733, .691367, .303900]])


def labels_of(*folders, seeds=False):
    return [label for _, label in places(folders, seeds, panels=False)]


def test_labels_are_what_tells_the_paths_apart():
    assert labels_of('w/a/x', 'w/b/x') == ['a', 'b']
    assert labels_of('w/voc/a', 'w/voc/b', 'w/ade/a') == [
        'voc/a', 'voc/b', 'ade/a']
    assert labels_of('w/a', 'w/a/b') == ['a', 'b']
    assert labels_of('w/one') == ['one']


def test_configs_that_differ_in_the_method_become_methods():
    assert labels_of(
        'w/retinanet_swin-l-mona_1x_voc', 'w/retinanet_swin-l_1x_voc',
        'w/retinanet_swin-l-partial_1x_voc') == ['Mona', 'Full', 'Partial-1']


def test_configs_that_differ_otherwise_keep_their_names():
    names = ['swin-b-mona_voc', 'swin-l-mona_voc']
    assert labels_of(*(f'w/{name}' for name in names)) == names


def test_seeds_are_left_out():
    assert labels_of('w/mona/seed1', 'w/mona/seed2', 'w/lora_seed1',
                     seeds=True) == ['Mona', 'Mona', 'LoRA']


def test_folders_become_panels():
    assert places(['w/voc/mona/seed1', 'w/ade/x-mona_y/seed1', 'w/ade/x_y'],
                  seeds=True, panels=True) == [
                      ('voc', 'Mona'), ('ade', 'Mona'), ('ade', 'Full')]


def test_folder_that_is_given_twice_is_named():
    with pytest.raises(ConfigError, match='w/a/ is given twice'):
        places(['w/b', 'w/a/', 'w/a'], False, False)


@pytest.mark.parametrize('label, method', [
    ('LoRA', 'lora'), ('lorand', 'lorand'), ('partial_1', 'partial'),
    ('Norm-Tuning', 'normtuning'), ('LoRA, rank 4', 'lora'),
    ('voc/Mona', 'mona'), ('monalisa', None), ('Mona and LoRA', None)])
def test_method_of_a_label(label, method):
    assert named_method(label) == method


def test_methods_are_written_as_in_the_paper():
    assert tuple(map(display_name, methods()))[:10] == PAPER
    assert display_name('mine') == 'mine'


@pytest.fixture
def novel():
    """A method that somebody adds: its class is all there is."""
    TUNERS.register_module(module=type('Novel', (Tuner, ), {}))
    yield
    TUNERS.module_dict.pop('Novel')


def test_new_method_has_a_name_and_a_look_without_a_list(novel):
    assert display_name('novel') == 'Novel'
    leaf = parse('fcos_vit-b-novel-r4_1x_coco.py')
    assert (leaf.task, leaf.method, leaf.variant) == (
        'fcos_vit-b_1x_coco', 'novel', 'r4')
    style = styles_of(['Mona', 'Novel'])['Novel']
    assert style == method_styles()['novel']
    assert style.colour not in {
        s.colour for name, s in method_styles().items() if name != 'novel'}


def test_method_below_another_has_its_own_name():
    parent = type('Parent', (Tuner, ), dict(display_name='P', colour='#1'))
    child = type('Child', (parent, ), {})
    assert (parent.display_name, child.display_name) == ('P', 'Child')
    assert parent.colour == '#1' != child.colour


@pytest.mark.parametrize('stem, expected', [
    ('retinanet_swin-nano-mona-b8_shapes',
     ('retinanet_swin-nano_shapes', 'Swin-nano', 'mona', 'b8')),
    ('swin-nano-lora_shapes', ('swin-nano_shapes', 'Swin-nano', 'lora', '')),
    ('upernet_swin-l_160k_ade20k',
     ('upernet_swin-l_160k_ade20k', 'Swin-L', 'full', '')),
    ('kld-retinanet_swin-b-partial_1x_star',
     ('kld-retinanet_swin-b_1x_star', 'Swin-B', 'partial', '')),
    ('swin-l_20e_imagenet-r', ('swin-l_20e_imagenet-r', 'Swin-L', 'full', '')),
    ('h2rbox-v2_swin-b_1x_dota',
     ('h2rbox-v2_swin-b_1x_dota', 'Swin-B', 'full', '')),
    ('my_model', ('my_model', 'Model', 'full', ''))])
def test_name_of_a_config_is_taken_apart(stem, expected):
    leaf = parse(f'/x/{stem}.py')
    assert (leaf.task, leaf.backbone, leaf.method, leaf.variant) == expected
    assert leaf.stem(leaf.word) == stem


def test_variants_stand_behind_their_method_by_number():
    rows = [('Swin-L', 'Mona', v) for v in ('b128', 'b32', '', 'k7', 'b8')]
    rows += [('Swin-L', m, '') for m in reversed(PAPER[:-1])]
    rows += [('Swin-T', 'Mona', '')]  # the smaller backbone is first
    ordered = [(m, v) for _, m, v in sorted(rows, key=lambda r: place(*r))]
    assert ordered == [('Mona', '')] + [(m, '') for m in PAPER] + [
        ('Mona', v) for v in ('b8', 'b32', 'b128', 'k7')]


def test_method_looks_the_same_in_any_company():
    everyone = styles_of(PAPER + ('mona-small', 'other'))
    for name in PAPER:
        assert styles_of(['x', name])[name] == everyone[name]


def test_legend_is_in_the_papers_order_with_variants_behind():
    labels = ['other', 'mona-small', *reversed(PAPER), 'lora-4']
    assert list(styles_of(labels)) == [
        *PAPER[:7], 'lora-4', *PAPER[7:], 'mona-small', 'other']


def test_mona_stands_out_and_full_is_black_and_dashed():
    widths = {name: style.width for name, style in method_styles().items()}
    assert all(widths['mona'] > 1.5 * widths[m] for m in widths
               if m != 'mona')
    full = method_styles()['full']
    assert full.colour == '#000000' and full.dash[1]


@pytest.mark.parametrize('labels', [
    PAPER, [f'mona-{i}' for i in range(15)], [f'own{i}' for i in range(25)],
    PAPER + ('mona-a', 'mona-b', 'lora-a', 'x', 'y'), ['Mona', 'mona']])
def test_no_two_lines_look_the_same(labels):
    looks = [(s.colour, s.dash) for s in styles_of(labels).values()]
    assert len(set(looks)) == len(labels)


@pytest.mark.parametrize('eyes', SEEN)
def test_lines_of_one_dash_differ_for_all_eyes(eyes):
    for one, two in combinations(list(method_styles().values())[:10], 2):
        if one.dash == two.dash:
            apart = _lab(one.colour, eyes) - _lab(two.colour, eyes)
            assert np.linalg.norm(apart) > 15  # 2.3 is just noticeable


def _lab(colour, eyes):
    """CIE L*a*b* of what is seen of an sRGB colour."""
    rgb = np.array([int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= .04045, rgb / 12.92,
                      ((rgb + .055) / 1.055)**2.4)
    seen = np.clip(np.array(SEEN[eyes]) @ linear, 0, 1)
    to_xyz = np.array([[.4124, .3576, .1805], [.2126, .7152, .0722],
                       [.0193, .1192, .9505]])
    xyz = to_xyz @ seen / to_xyz.sum(1)
    x, y, z = np.where(xyz > .008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
