"""Checkpoints change their layout, and nothing else."""
import runpy
import sys

import pytest
import torch
from helpers import nano, plain_nano
from mmcv.cnn.bricks.transformer import PatchMerging

from mona_mm.checkpoint.convert import convert

RELEASED = ('full', 'mona', 'adapter', 'adaptformer', 'lora')
TO_RELEASE = ('Full', 'Mona', 'Adapter', 'AdaptFormer', 'LoRA')
TO_TIMM = (
    ('patch_embed.projection.', 'patch_embed.proj.'),
    ('.attn.w_msa.', '.attn.'),
    ('.ffn.layers.0.0.', '.mlp.fc1.'),
    ('.ffn.layers.1.', '.mlp.fc2.'),
    ('stages.', 'layers.'),
)
#: What STAR-MMRotate calls the modules at our sites.
STAR = {
    'Mona': (('after_attn', 'mona1'), ('after_ffn', 'mona2')),
    'Adapter': (('attn_out', 'adapter1'), ('ffn_out', 'adapter2'),
                ('down_proj', 'project1'), ('up_proj', 'project2')),
    'AdaptFormer': (('beside_ffn', 'adapter'), ('down_proj', 'project1'),
                    ('up_proj', 'project2')),
    'LoRand': (('attn_out', 'lorand1'), ('ffn_out', 'lorand2'),
               ('down_proj', 'project1'), ('up_proj', 'project2')),
}


@pytest.fixture(scope='module')
def tool(root):
    return str(root / 'tools' / 'convert_checkpoint.py')


@pytest.fixture
def run(tool, tmp_path):
    """Convert what is given through the tool; return what it wrote."""
    main = runpy.run_path(tool)['main']

    def run_(content, *options):
        torch.save(content, tmp_path / 'in.pth')
        main([str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth'), *options])
        return torch.load(tmp_path / 'out.pth', weights_only=True)

    return run_


@pytest.fixture
def refused(tool, tmp_path, monkeypatch):
    """Run the tool as a program that must fail; return its message."""

    def run_(content, *options, out='out.pth'):
        torch.save(content, tmp_path / 'in.pth')
        before = sorted(tmp_path.rglob('*'))
        monkeypatch.setattr(sys, 'argv', [
            tool, str(tmp_path / 'in.pth'), str(tmp_path / out), *options])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(tool, run_name='__main__')
        assert sorted(tmp_path.rglob('*')) == before
        assert stop.value.code not in (0, None)
        return str(stop.value.code)

    return run_


def learnt(state):
    return {k: v for k, v in state.items()
            if not k.endswith('relative_position_index')}


def own(tuner='Full', **kwargs):
    return learnt(nano(tuner, **kwargs).state_dict())


def renamed(state, pairs):
    named = {}
    for key, value in state.items():
        for ours, theirs in pairs:
            key = key.replace(ours, theirs)
        named[key] = value
    return named


def same(found, expected):
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype, key
        assert torch.equal(found[key], value), key


def microsoft_state():
    """Random weights under Microsoft's names, with a classifier on top."""
    state = renamed(learnt(plain_nano(out_indices=()).state_dict()), TO_TIMM)
    state = {k: torch.randn(v.shape) for k, v in state.items()}
    state.update({
        'norm.weight': torch.randn(128), 'norm.bias': torch.randn(128),
        'head.weight': torch.randn(5, 128), 'head.bias': torch.randn(5),
        'layers.0.blocks.1.attn_mask': torch.zeros(4, 49, 49),
        'layers.0.blocks.0.attn.relative_position_index':
            torch.zeros(49, 49, dtype=torch.long),
    })
    return state


def timm_state():
    """The same since timm 0.9: merging opens a stage; the head has a fc."""
    state = {k.replace('head.', 'head.fc.'): v
             for k, v in microsoft_state().items()}
    for i in (2, 1, 0):
        old, new = f'layers.{i}.downsample.', f'layers.{i + 1}.downsample.'
        state = {k.replace(old, new): v for k, v in state.items()}
    return state


def timm_merging(x, norm_weight, norm_bias, reduction):
    """timm's patch merging: (B, H, W, C) to (B, H / 2, W / 2, 2 C)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c)
    x = x.permute(0, 1, 3, 4, 2, 5).flatten(3)
    x = torch.nn.functional.layer_norm(x, (4 * c, ), norm_weight, norm_bias)
    return x @ reduction.T


def microsoft_merging(x, norm_weight, norm_bias, reduction):
    """Microsoft's, which names the four neighbours one by one."""
    x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2],
                   x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
    x = torch.nn.functional.layer_norm(
        x, x.shape[-1:], norm_weight, norm_bias)
    return x @ reduction.T


@pytest.mark.parametrize('make, merging, shift', [
    (timm_state, timm_merging, 1),
    (microsoft_state, microsoft_merging, 0),
], ids=['timm', 'microsoft'])
@pytest.mark.parametrize('stage', [0, 1, 2])
def test_patch_merging_computes_the_same_after_conversion(
        run, make, merging, shift, stage):
    state, c = make(), 16 * 2**stage
    out = run(state)['state_dict']
    ours = PatchMerging(c, 2 * c)
    path = f'stages.{stage}.downsample.'
    ours.load_state_dict({k.removeprefix(path): v for k, v in out.items()
                          if k.startswith(path)})
    x = torch.randn(2, 6, 4, c)
    names = ('norm.weight', 'norm.bias', 'reduction.weight')
    expected = merging(x, *(state[f'layers.{stage + shift}.downsample.{n}']
                            for n in names))
    found, hw_shape = ours(x.flatten(1, 2), (6, 4))
    assert hw_shape == (3, 2)
    torch.testing.assert_close(found, expected.flatten(1, 2),
                               rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('make', [microsoft_state, timm_state])
def test_plain_swin_keeps_every_other_tensor_under_our_names(run, make):
    state = make()
    out = run(state)['state_dict']
    theirs = {t: o for o, t in zip(
        own(out_indices=()), renamed(own(out_indices=()), TO_TIMM),
        strict=True)}
    for name, ours in theirs.items():
        if '.downsample.' not in name:
            assert torch.equal(out[ours], state[name]), ours
    assert set(out) == {*theirs.values(), 'norm3.weight', 'norm3.bias'}


@pytest.mark.parametrize('make', [microsoft_state, timm_state])
def test_final_norm_is_the_last_norm_and_the_head_is_named_as_dropped(
        run, make, capsys):
    state = make()
    out = run(state)['state_dict']
    assert torch.equal(out['norm3.weight'], state['norm.weight'])
    line, = capsys.readouterr().out.splitlines()
    for name in ('head', 'relative_position_index', 'attn_mask'):
        assert name in line
    assert '4 dropped' in line


@pytest.mark.parametrize('layout', ['auto', 'timm'])
def test_older_timm_files_have_patch_merging_where_microsoft_has(
        run, layout):
    state = microsoft_state()
    old = {k.replace('head.', 'head.fc.'): v for k, v in state.items()}
    same(run(old, '--from', layout)['state_dict'],
         run(state)['state_dict'])


@pytest.mark.parametrize('make', [microsoft_state, timm_state])
@pytest.mark.parametrize('map_final_norm', [False, True])
def test_converted_base_loads_like_the_file_itself(
        run, tmp_path, make, map_final_norm):
    run(make())
    loaded = []
    for name in ('in.pth', 'out.pth'):
        net = nano(map_final_norm=map_final_norm, allow_random_base=False)
        net.load_base(str(tmp_path / name))
        loaded.append({k: net.state_dict()[k] for k in own()})
    same(*loaded)


def test_file_with_a_prefix_and_nothing_else_is_a_backbone(run):
    state = timm_state()
    prefixed = {f'backbone.{k}': v for k, v in state.items()}
    same(run(dict(model=prefixed))['state_dict'],
         {f'backbone.{k}': v for k, v in run(state)['state_dict'].items()})


@pytest.mark.parametrize('method', RELEASED)
def test_release_files_come_back_bit_for_bit(run, reference, method):
    path = reference / f'swin-nano_{method}.pth'
    state = torch.load(path, weights_only=True)['model']
    ours = run(dict(model=state))
    same(run(ours, '--to', 'mona')['state_dict'], state)


@pytest.mark.parametrize('tuner', TO_RELEASE)
def test_our_files_come_back_bit_for_bit(run, tuner):
    state = {k: torch.randn(v.shape) for k, v in own(tuner).items()}
    released = run(state, '--to', 'mona')
    assert not any(k.startswith('stages.') for k in released['state_dict'])
    same(run(released)['state_dict'], state)


def test_mona_with_other_filters_and_widths_comes_back(run):
    tuner = dict(type='Mona', bottleneck_dims=8, kernel_sizes=[3] * 4,
                 scaled_norm=False)
    state = own(tuner)
    same(run(run(state, '--to', 'mona'))['state_dict'], state)


def test_detector_keeps_its_neck_and_heads(run, reference, capsys):
    path = reference / 'swin-nano_mona.pth'
    backbone = torch.load(path, weights_only=True)['model']
    others = {'neck.fpn_convs.0.conv.weight': torch.randn(4, 4, 3, 3),
              'bbox_head.retina_cls.bias': torch.randn(9),
              'roi_head.layers.0.weight': torch.randn(2)}
    whole = {**{f'backbone.{k}': v for k, v in backbone.items()}, **others}
    content = dict(state_dict=whole, meta=dict(CLASSES=('a', 'b')),
                   optimizer={})
    found = run(content)
    out = found['state_dict']
    same({k: v for k, v in out.items() if not k.startswith('backbone.')},
         others)
    assert {k.removeprefix('backbone.') for k in out if k not in others
            } == set(own('Mona'))
    assert found['meta'] == dict(CLASSES=('a', 'b'))
    line, = capsys.readouterr().out.splitlines()
    assert 'mona layout, tuner Mona: 381 tensors converted, 3' in line
    assert 'relative_position_index x 8' in line
    same(run(dict(state_dict=out), '--to', 'mona')['state_dict'], whole)


def test_only_output_norm_of_a_whole_model_is_kept(run):
    state = own('Mona', out_indices=(3, ))
    whole = {f'backbone.{k}': v for k, v in state.items()}
    whole['head.fc.weight'] = torch.randn(3, 128)
    same(run(run(whole, '--to', 'mona'))['state_dict'], whole)


def unstacked(state):
    """LoRand's factors, branch by branch, as STAR-MMRotate holds them."""
    split = {}
    for key, value in state.items():
        path, _, leaf = key.rpartition('.')
        letter = dict(left='A', kernel='g', right='B').get(leaf)
        if letter is None:
            split[key] = value
        else:
            split.update({f'{path}.param_dict.{letter}{i}': v
                          for i, v in enumerate(value)})
    return split


@pytest.mark.parametrize('tuner', STAR)
@pytest.mark.parametrize('layout', ['auto', 'star'])
def test_star_names_become_ours(run, tuner, layout, capsys):
    cfg = dict(type=tuner)
    if tuner == 'LoRand':
        cfg['branches'] = 11  # two digits: A10 comes after A9
    state = own(cfg)
    star = unstacked(renamed(state, STAR[tuner]))
    whole = {**{f'backbone.{k}': v for k, v in star.items()},
             'neck.w': torch.ones(1)}
    out = run(dict(state_dict=whole), '--from', layout)['state_dict']
    same(out, {**{f'backbone.{k}': v for k, v in state.items()},
               'neck.w': torch.ones(1)})
    assert f'star layout, tuner {tuner}:' in capsys.readouterr().out


@pytest.mark.parametrize('ours, star', [('after_attn', 'my_module_1'),
                                        ('after_attn', 'mona_1')])
def test_other_spellings_of_a_module_are_understood(run, ours, star):
    second = ('after_ffn', star.replace('1', '2'))
    state = own('Mona')
    same(run(renamed(state, [(ours, star), second]))['state_dict'], state)


@pytest.mark.parametrize('tuner', ['LoRA', 'Full'])
def test_star_methods_without_modules_have_our_names_already(run, tuner):
    state = own(tuner)
    same(run(state, '--from', 'star')['state_dict'], state)


def converted_release(tuner):
    return convert(own(tuner), target='mona').tensors


@pytest.mark.parametrize('key', [
    'layers.1.blocks.0.my_module_1.oddity',
    'layers.1.blocks.0.my_module_3.project1.weight',
    'layers.1.blocks.0.attn.qkv.lora_A',
    'layers.0.blocks.1.attn.logit_scale',
    'absolute_pos_embed',
])
def test_tensor_without_a_place_is_named_and_nothing_is_written(
        refused, key):
    state = converted_release('Mona')
    state[key] = torch.zeros(1)
    message = refused(state)
    assert message.startswith('error: ') and 'no place' in message
    assert message.endswith(f': {key}')


@pytest.mark.parametrize('tuner, key', [
    ('Mona', 'layers.2.blocks.1.my_module_2.gammax'),
    ('LoRA', 'layers.0.blocks.0.attn.qkv.lora_B'),
    ('Full', 'layers.2.blocks.0.norm2.bias'),
    ('Full', 'layers.1.downsample.norm.weight'),
])
def test_tensor_that_other_blocks_have_is_missed(refused, tuner, key):
    state = converted_release(tuner)
    del state[key]
    message = refused(state)
    assert '1 tensors are missing' in message
    assert key.rpartition('.')[2] in message


def test_branch_that_other_factors_have_is_missed(refused):
    star = unstacked(renamed(own('LoRand'), STAR['LoRand']))
    del star['stages.0.blocks.0.lorand1.project1.param_dict.g0']
    assert 'down_proj.kernel: expected the branches 0 to 1' in refused(star)


def test_patch_merging_of_another_width_is_named(refused):
    state = microsoft_state()
    state['layers.0.downsample.norm.weight'] = torch.ones(63)
    assert "stages.0.downsample.norm.weight' cannot be" in refused(state)


def test_two_modules_for_one_site_are_refused(refused):
    star = renamed(own('Mona'), STAR['Mona'])
    star['stages.0.blocks.0.my_module_1.gamma'] = torch.ones(16)
    assert 'both stand for' in refused(star)


@pytest.mark.parametrize('tuner, reason', [
    ('LoRand', 'LoRand is not in the release'),
    (dict(type='AdaptFormer', learnable_scale=True), r'beside_ffn.scale'),
])
def test_what_the_release_lacks_has_no_way_back(refused, tuner, reason):
    assert reason in refused(own(tuner), '--to', 'mona')


def test_star_has_no_way_to_the_release(refused):
    star = renamed(own('Mona'), STAR['Mona'])
    assert 'STAR-MMRotate' in refused(star, '--to', 'mona')


@pytest.mark.parametrize('layout', ['microsoft', 'timm', 'mona'])
def test_file_in_another_layout_than_stated_is_refused(refused, layout):
    assert "the file is in the layout 'mm'" in refused(
        own('Mona'), '--from', layout)


def test_file_of_another_network_is_refused(refused):
    state = {f'{name}.conv1.weight': torch.zeros(1)
             for name in ('layer1.0', 'layers.a', 'stages.b')}
    message = refused(state)
    assert 'Swin Transformer' in message
    assert "['layer1', 'layers', 'stages']" in message


def test_input_is_not_overwritten(refused):
    assert 'the input itself' in refused(own(), out='./in.pth')


def test_folder_that_cannot_be_made_is_named(refused):
    message = refused(own(), out='in.pth/out.pth')
    assert 'cannot write' in message and 'in.pth/out.pth' in message


def test_failed_conversion_leaves_the_old_output_alone(refused, tmp_path):
    (tmp_path / 'out.pth').write_text('old')
    refused({**own(), 'oddity': torch.ones(1)})
    assert (tmp_path / 'out.pth').read_text() == 'old'


def test_conversion_does_not_change_its_input():
    state = converted_release('Mona')
    before = {k: v.clone() for k, v in state.items()}
    convert(state)
    same(state, before)


def test_release_gets_its_position_index_and_it_is_not_called_dropped(
        run, capsys):
    out = run(own('Mona'), '--to', 'mona')['state_dict']
    index = out['layers.0.blocks.0.attn.relative_position_index']
    # From the first position of a 7 x 7 window to itself: row (6, 6) of
    # 13 x 13; to the last: row (0, 0); from the last to the first: the last.
    assert index.shape == (49, 49)
    assert [index[0, 0], index[0, 48], index[48, 0]] == [84, 0, 168]
    assert ' 0 dropped (none)' in capsys.readouterr().out


def test_classifier_inside_a_whole_models_backbone_is_not_lost(refused):
    whole = {f'backbone.{k}': v for k, v in microsoft_state().items()}
    whole['neck.w'] = torch.ones(1)
    message = refused(whole)
    for name in ('norm.weight', 'norm.bias', 'head.weight', 'head.bias'):
        assert name in message
