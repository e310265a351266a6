"""Swin V2: its layouts against torchvision and timm, post-norm, counts."""
import pytest
import torch
from families import TINY, library, tiny
from helpers import TUNERS, image, on_meta
from mmpretrain.models.backbones import SwinTransformerV2
from torchvision.models.swin_transformer import (
    PatchMergingV2,
    SwinTransformer,
    SwinTransformerBlockV2,
)

from mona_mm.backbones import TunedSwinTransformerV2
from mona_mm.backbones.swin_v2.layouts import SwinV2Names
from mona_mm.checkpoint.convert import convert, convert_file
from mona_mm.tuners import Tuner

NAME = 'TunedSwinTransformerV2'
ARCH = dict(embed_dims=16, depths=[2, 1, 2, 1], num_heads=[1, 2, 4, 8],
            extra_norm_every_n_blocks=0)


def shaken(net):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for param in net.parameters():
            param.add_(.1 * torch.randn(param.shape, generator=generator))
    return net.eval()


def load(state, folder, tuner='Fixed', **kwargs):
    torch.save(dict(model=state), folder / 'base.pth')
    net = TunedSwinTransformerV2(
        arch=ARCH, tuner=dict(type=tuner), window_size=4,
        map_final_norm=True, init_cfg=dict(
            type='Pretrained', checkpoint=str(folder / 'base.pth')), **kwargs)
    net.init_weights()
    return net.eval()


def agree(found, expected):
    top = expected.abs().max()
    torch.testing.assert_close(found / top, expected / top, rtol=1e-5,
                               atol=2e-6)


def known(state):
    return [one.name for one in SwinV2Names.layouts if one.knows(state)]


def microsoft_names(state):
    """torchvision's names to those of Microsoft's code, written out."""
    found = {}
    for key, value in state.items():
        top, number, *rest = key.split('.')
        if top != 'features':
            found[key] = value  # norm and head
            continue
        number, tail = int(number), '.'.join(rest)
        if number == 0:
            name = 'patch_embed.' + {'0': 'proj', '2': 'norm'}[
                rest[0]] + '.' + rest[1]
        elif number % 2 == 0:
            name = f'layers.{number // 2 - 1}.downsample.{tail}'
        else:
            name = f'layers.{number // 2}.blocks.{tail}'
            name = name.replace('.mlp.0.', '.mlp.fc1.').replace(
                '.mlp.3.', '.mlp.fc2.')
            if name.endswith('attn.qkv.bias'):
                dims = len(value) // 3
                assert not value[dims:2 * dims].any()
                found[name.replace('qkv.bias', 'q_bias')] = value[:dims]
                found[name.replace('qkv.bias', 'v_bias')] = value[2 * dims:]
                continue
        found[name] = value
    return found


def torchvisions():
    """torchvision's network, whose keys have no bias, as Microsoft's."""
    theirs = shaken(SwinTransformer(
        [4, 4], ARCH['embed_dims'], ARCH['depths'], ARCH['num_heads'],
        [4, 4], num_classes=5, block=SwinTransformerBlockV2,
        downsample_layer=PatchMergingV2))
    with torch.no_grad():
        for key, value in theirs.named_parameters():
            if key.endswith('qkv.bias'):  # keys have none
                value[len(value) // 3:2 * len(value) // 3] = 0
    return theirs


def test_microsofts_layout_gives_torchvisions_features(tmp_path):
    theirs = torchvisions()
    state = microsoft_names(theirs.state_dict())
    assert known(state) == ['microsoft']
    # Where a map is no larger than the window torchvision does not shift.
    net = load(state, tmp_path, pad_small_map=False)
    x = image(2, 3, 128, 256)
    with torch.no_grad():
        expected = theirs.norm(theirs.features(x)).permute(0, 3, 1, 2)
        agree(net(x)[-1], expected)


def microsoft_file(folder):
    """A file as Microsoft's code writes it, and torchvision's network."""
    theirs = torchvisions()
    state = microsoft_names(theirs.state_dict())
    for i, depth in enumerate(ARCH['depths']):
        for j in range(depth):
            block = f'layers.{i}.blocks.{j}'
            index = state[f'{block}.attn.relative_position_index']
            state[f'{block}.attn.relative_position_index'] = index.view(16, 16)
            if j % 2:  # of shifted windows, for pictures of 128 pixels
                windows = (32 >> i) ** 2 // 16
                state[f'{block}.attn_mask'] = torch.zeros(windows, 16, 16)
    attn = {k.split('.attn.')[1] for k in state if '.attn.' in k}
    assert attn == {
        'qkv.weight', 'q_bias', 'v_bias', 'logit_scale', 'cpb_mlp.0.weight',
        'cpb_mlp.0.bias', 'cpb_mlp.2.weight', 'proj.weight', 'proj.bias',
        'relative_coords_table', 'relative_position_index'}
    assert state.keys() >= {
        'patch_embed.proj.weight', 'patch_embed.norm.bias',
        'layers.0.blocks.1.attn_mask', 'layers.0.blocks.1.mlp.fc2.bias',
        'layers.2.downsample.reduction.weight',
        'layers.2.downsample.norm.bias', 'norm.weight', 'head.weight'}
    torch.save(dict(model=state), folder / 'swinv2.pth')
    return folder / 'swinv2.pth', theirs


@pytest.mark.parametrize('layout', ['auto', 'microsoft'])
def test_converted_microsoft_file_fits_mmpretrains_network(tmp_path, layout):
    source, theirs = microsoft_file(tmp_path)
    out = tmp_path / 'out.pth'
    result = convert_file(str(source), str(out), layout)
    assert (result.layout, result.tuner, result.passed) == (
        'microsoft', 'none', 0)
    assert {k.split('.')[-1] if 'head' not in k else k
            for k in result.dropped} == {
        'relative_coords_table', 'relative_position_index', 'attn_mask',
        'head.weight', 'head.bias'}
    net = SwinTransformerV2(
        arch=ARCH, window_size=4, out_indices=(3, ), pad_small_map=False)
    left = net.load_state_dict(torch.load(out)['state_dict'], strict=False)
    assert not left.unexpected_keys
    assert all('.relative_' in k for k in left.missing_keys)  # buffers
    x = image(2, 3, 128, 256)
    with torch.no_grad():
        net.eval()
        agree(net(x)[-1],
              theirs.norm(theirs.features(x)).permute(0, 3, 1, 2))


def test_converted_microsoft_file_is_a_base(tmp_path):
    source, _ = microsoft_file(tmp_path)
    convert_file(str(source), str(tmp_path / 'out.pth'))
    nets = [load(torch.load(path)[key], tmp_path) for path, key in (
        (source, 'model'), (tmp_path / 'out.pth', 'state_dict'))]
    first, second = (net.state_dict() for net in nets)
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_timm_file_gives_timms_features(tmp_path):
    pytest.importorskip('timm', reason='an optional extra')
    from timm.models.swin_transformer_v2 import SwinTransformerV2
    theirs = shaken(SwinTransformerV2(
        img_size=(128, 128), embed_dim=16, depths=ARCH['depths'],
        num_heads=ARCH['num_heads'], window_size=4, num_classes=5))
    assert known(theirs.state_dict()) == ['timm']
    net = load(theirs.state_dict(), tmp_path, pad_small_map=False)
    x = image(2, 3, 128, 128)
    with torch.no_grad():
        agree(net(x)[-1], theirs.forward_features(x).permute(0, 3, 1, 2))


def test_microsofts_names_and_back():
    state = {k: v for k, v in library(
        NAME, out_indices=(3, )).state_dict().items()
        if 'relative' not in k}
    there = SwinV2Names.layouts[0].from_mm(state)
    assert known(there) == ['microsoft'] and known(state) == []
    back = convert(there).tensors  # which numbers the final norm
    assert set(back) == set(state)
    assert all(torch.equal(back[k], state[k]) for k in state)


def test_buffers_of_another_window_are_computed_anew(tmp_path):
    theirs = library(NAME, window_size=8).state_dict()
    torch.save(theirs, tmp_path / 'base.pth')
    net = tiny(NAME, init_cfg=dict(
        type='Pretrained', checkpoint=str(tmp_path / 'base.pth')),
        allow_random_base=False)
    buffers = {k: v.clone() for k, v in net.named_buffers()}
    net.init_weights()
    assert buffers and all(
        torch.equal(v, buffers[k]) for k, v in net.named_buffers())
    loaded = net.load_state_dict({
        **net.state_dict(),
        **{k: v for k, v in theirs.items() if 'relative' in k}})
    assert not loaded.missing_keys and not loaded.unexpected_keys


@pytest.mark.parametrize('skip', [True, False])
def test_dropped_branch_adds_nothing(skip):
    # mmpretrain drops before the norm, so that its bias would stay.
    block = tiny(NAME, 'Fixed', drop_path_rate=0.5).stages[3].blocks[1]
    block.train().skip_dropped = skip
    block.extra_norm = False
    with torch.no_grad():
        block.norm1.bias.fill_(7)
        block.norm2.weight.zero_()  # so that the second branch is zero
        x = image(64, 4, 128)
        branch = block.norm1(block.attn(x, (2, 2)))
        added = block(x, (2, 2)) - x
    dropped = (added == 0).flatten(1).all(1)
    assert 10 < dropped.sum() < 54
    torch.testing.assert_close(added[~dropped], 2 * branch[~dropped])


def test_sites_stand_around_the_norm_of_a_branch():
    seen = {}

    class Spy(torch.nn.Module):

        def __init__(self, site):
            super().__init__()
            self.site, self.scale = site, torch.nn.Parameter(torch.ones(1))

        def forward(self, x, hw_shape):
            seen.setdefault(self.site, x)
            return x * 0 if self.site.startswith('beside') else x

    class Spies(Tuner):
        sites = ('attn_in', 'attn_out', 'beside_attn', 'after_attn')

        def build(self, site, dims):
            spy = Spy(site)
            spy.takes_normed = site == 'beside_attn'
            return spy

    block = tiny(NAME, Spies()).eval().stages[0].blocks[0]
    x = image(1, 64, 16)
    with torch.no_grad():
        block(x, (8, 8))
        branch = block.norm1(block.attn(x, (8, 8)))
    assert torch.equal(seen['attn_in'], x)
    assert torch.equal(seen['beside_attn'], x)  # nothing there is normed
    torch.testing.assert_close(seen['attn_out'], branch)
    torch.testing.assert_close(seen['after_attn'], x + branch)


def test_lora_updates_queries_and_values_beside_their_biases():
    net = tiny(NAME, dict(type='LoRA', rank=4)).eval()
    w_msa = net.stages[0].blocks[0].attn.w_msa
    plain = library(NAME).stages[0].blocks[0].attn.w_msa
    with torch.no_grad():
        for param in w_msa.parameters():
            param.add_(.1 * torch.randn_like(param))
    qkv = w_msa.qkv
    update = torch.zeros(48, 16)
    down, up = qkv.lora_A.split(4), qkv.lora_B.split(16)
    for i, a, b in zip((0, 2), down, up):
        update[16 * i:16 * (i + 1)] = qkv.scale * b @ a
    state = {k: v for k, v in w_msa.state_dict().items() if 'lora' not in k}
    state['qkv.weight'] = state['qkv.weight'] + update
    plain.load_state_dict(state)
    x = image(3, 16, 16)
    torch.testing.assert_close(w_msa(x), plain(x))


def test_pretrained_windows_scale_the_position_bias():
    args = TINY[NAME].args
    sizes = [8, 8, 8, 4]
    plain = library(NAME, pretrained_window_sizes=sizes)
    net = tiny(NAME, 'Fixed', pretrained_window_sizes=sizes).eval()
    net.load_state_dict(plain.state_dict())
    with torch.no_grad():
        agree(net(image())[-1], plain(image())[-1])
    assert net.facts()['pretrained_window_sizes'] == sizes
    assert args['window_size'] == 4


BASE = dict(embed_dims=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32],
            extra_norm_every_n_blocks=0)


@pytest.mark.parametrize('arch, tuners', [(ARCH, TUNERS),
                                          (BASE, ['Full', 'Mona'])])
def test_parameters_follow_from_the_widths(arch, tuners):
    depths, heads, dims = (arch[k] for k in (
        'depths', 'num_heads', 'embed_dims'))
    widths = [dims * 2**i for i in range(4)]
    blocks = [(c, h) for c, h, d in zip(widths, heads, depths)
              for _ in range(d)]

    def block(c, h):
        # qkv without bias, those of q and v, proj; the MLP of positions and
        # the heads' temperatures; two norms; C -> 4C -> C.
        return (3 * c * c + 2 * c + c * c + c + 2 * 512 + 512 + 512 * h + h
                + 4 * c + 8 * c * c + 5 * c)

    stem = 4 * 4 * 3 * dims + dims + 2 * dims
    down = sum(4 * a * b + 2 * b for a, b in zip(widths, widths[1:]))
    outputs = sum(2 * c for c in widths)
    total = sum(block(*b) for b in blocks) + stem + down + outputs
    n = 64
    expected = {
        'Full': total,
        'Fixed': 0,
        'BitFit': sum(2 * c + c + 512 + 2 * c + 5 * c for c, _ in blocks)
        + 2 * dims + sum(widths[1:]) + outputs // 2,
        'NormTuning': sum(4 * c for c, _ in blocks) + 2 * dims + sum(
            2 * c for c in widths[1:]) + outputs,
        'Partial': block(*blocks[-1]),
        'Adapter': sum(2 * (2 * n * c + n + c) for c, _ in blocks),
        'AdaptFormer': sum(2 * n * c + n + c for c, _ in blocks),
        'LoRA': sum(4 * 64 * c for c, _ in blocks),
        'LoRand': sum(99 * c + 512 for c, _ in blocks),
        'Mona': sum(2 * ((2 * n + 5) * c + n * n + 88 * n)
                    for c, _ in blocks),
    }
    for tuner in set(expected) & set(tuners):
        with on_meta():
            share = TunedSwinTransformerV2(
                arch=arch, tuner=dict(type=tuner)).share()
        assert share.trained == expected[tuner], tuner
        assert share.frozen + share.released == total, tuner
