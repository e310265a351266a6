"""What Convpass, Adapter+, DoRA, SSF, VPT and Rein promise on backbones."""
import copy

import pytest
import torch
from deltas import save_delta, with_head
from families import library, tiny
from helpers import image, on_meta, tuners_of
from mmcv.cnn.bricks import DropPath
from torch import nn

import mona_mm
import mona_mm.backbones as backbones
from mona_mm.backbones import TunedSwinTransformer, TunedVisionTransformer
from mona_mm.backbones.swin.layouts import SwinNames
from mona_mm.backbones.vit.layouts import ViTNames
from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.layouts import rename_path
from mona_mm.checkpoint.merge import merged_tensors
from mona_mm.checkpoint.recognise import recognise
from mona_mm.errors import CheckpointError
from mona_mm.tuners.adapterplus import AdapterPlus
from mona_mm.tuners.convpass import Convpass
from mona_mm.tuners.dora import DoRALinear
from mona_mm.tuners.rein import ReinLayer

SWIN, VIT = 'TunedSwinTransformer', 'TunedVisionTransformer'
CLASSES = (SWIN, VIT, 'TunedSwinTransformerV2', 'TunedConvNeXt',
           'TunedPyramidVisionTransformer')
FURTHER = ('AdapterPlus', 'Convpass', 'DoRA', 'Rein', 'SSF', 'VPT')
ON = [(name, tuner) for name in CLASSES for tuner in FURTHER
      if tuner in tuners_of(getattr(backbones, name))]
#: Every linear layer of a block.
ALL = ('q', 'k', 'v', 'proj', 'fc1', 'fc2')


def run(net, x=None):
    net.eval()  # returns None in some libraries
    with torch.no_grad():
        return net(image(1, 3, 64, 96) if x is None else x)


def lively(name, tuner, plain):
    """A float64 backbone in which what was inserted matters."""
    net = tiny(name, tuner)
    net.load_state_dict(plain.state_dict(), strict=False)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for param in net.delta_parameters().values():
            param += .2 * torch.randn(param.shape, generator=generator)
    return net.double()


#: Blocks' widths, summed and summed squared by distinct width, and the
#: number of blocks. Swin-T: 2 x 96, 2 x 192, 6 x 384, 2 x 768.
TINY = (96, 192, 384, 768)
SWIN_T = (2 * 96 + 2 * 192 + 6 * 384 + 2 * 768, 12)
VIT_B = (12 * 768, 12)
VIT_L = (24 * 1024, 24)


def rein(sums, widths, m=100, r=16):
    """Tokens m r + r C, and by width two linear layers and the scale."""
    return (r * sums[0] + m * r * sums[1]
            + sum(2 * (c * c + c) + 1 for c in widths))


@pytest.mark.parametrize('arch, tuner, count', [
    # Two layers of 2 x 8 C + C + 8, and the convolution's 8 x 8 x 9 + 8.
    ('tiny', 'Convpass', 2 * (17 * SWIN_T[0] + 592 * 12)),
    ('base', 'Convpass', 2 * (17 * VIT_B[0] + 592 * 12)),
    # 2 x 8 C + 8 + C, and a scale by channel.
    ('tiny', 'AdapterPlus', 18 * SWIN_T[0] + 8 * 12),
    ('base', 'AdapterPlus', 18 * VIT_B[0] + 8 * 12),
    # Two thirds with A (64 C), B (64 C) and a magnitude by row (C).
    ('tiny', 'DoRA', 2 * 129 * SWIN_T[0]),
    ('base', 'DoRA', 2 * 129 * VIT_B[0]),
    # Two by channel: norms 1 + 1, qkv 3, proj 1, fc1 4, fc2 1; the patch
    # embedding and its norm; the norm of 4 C and the reduction to 2 C of
    # downsampling; four norms of the outputs.
    ('tiny', 'SSF', 2 * (11 * SWIN_T[0] + 2 * 96 + 6 * (96 + 192 + 384)
                         + sum(TINY))),
    # The final norm.
    ('base', 'SSF', 2 * (11 * VIT_B[0] + 768 + 768)),
    ('base', 'VPT', 10 * VIT_B[0]),
    ('tiny', 'Rein', rein(SWIN_T, TINY)),
    # Published for DINOv2-L with the link to queries: 2.99 M. The link has
    # linear layers 1024 -> 256 and 3 x 256 -> 256, 459,264 parameters.
    ('large', 'Rein', 2_990_081 - 459_264),
    ('large', 'Rein', rein(VIT_L, [1024])),
])
def test_counts_follow_from_the_shapes(arch, tuner, count):
    cls = TunedSwinTransformer if arch == 'tiny' else TunedVisionTransformer
    with on_meta():
        share = cls(arch=arch, tuner=dict(type=tuner)).share()
    assert share.trained == share.inserted == count


@pytest.mark.parametrize('tuner', ['Convpass', 'DoRA', dict(
    type='DoRA', targets=ALL)], ids=str)
@pytest.mark.parametrize('name', [SWIN, VIT])
def test_starts_exactly_at_the_base(name, tuner):
    """However the base comes: its weights are loaded after building."""
    nets = [tiny(name, t) for t in ('Fixed', tuner)]
    state = library(name).state_dict()
    for net in nets:
        net.load_state_dict(state, strict=False)
    for a, b in zip(*map(run, nets)):
        assert torch.equal(a, b)


def test_magnitudes_are_the_checkpoints_if_it_has_them(tmp_path):
    """A base gives new ones, a delta brings its own."""
    plain = library(SWIN)
    torch.save(dict(state_dict=plain.state_dict()), tmp_path / 'base.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'base.pth'))

    def based():
        net = tiny(SWIN, 'DoRA', init_cfg=init_cfg, allow_random_base=False)
        net.init_weights()
        return net

    net = based()
    for module in net.modules():
        if isinstance(module, DoRALinear):
            q, _, v = module.weight.chunk(3)
            torch.testing.assert_close(
                module.magnitude, torch.cat((q, v)).norm(dim=1))
    with torch.no_grad():
        for param in net.delta_parameters().values():
            param += .1
    path = save_delta(with_head(net), tmp_path / 'delta.pth')
    fresh = with_head(tiny(SWIN, 'DoRA', allow_random_base=False))
    fresh.load_state_dict(read_checkpoint(str(path))['state_dict'])
    for a, b in zip(run(fresh.backbone), run(net)):
        assert torch.equal(a, b)
    again = with_head(based())  # the base first, then the delta
    again.load_state_dict(read_checkpoint(str(path))['state_dict'])
    for a, b in zip(run(again.backbone), run(net)):
        assert torch.equal(a, b)


@pytest.mark.parametrize('tuner', ['LoRA', 'DoRA', 'SSF', dict(
    type='DoRA', targets=ALL)], ids=str)
@pytest.mark.parametrize('name', [SWIN, VIT])
def test_merged_weights_compute_the_same_in_the_librarys_class(name, tuner):
    """And folded ones, here."""
    plain = library(name)
    net = lively(name, tuner, plain)
    before = run(copy.deepcopy(plain))
    state = {k: v for k, v in net.state_dict().items()
             if k not in net.delta_names}
    state.update(merged_tensors(net))
    plain.load_state_dict(state, strict=True)
    x = image(1, 3, 64, 96).double()
    ours, theirs, folded = run(net, x), run(plain.double(), x), run(
        mona_mm.fuse(net), x)
    for a, b, c, old in zip(ours, theirs, folded, before):
        # The plain class held float32, and so do the merged weights.
        assert (a - b).abs().max() <= 1e-5 * a.abs().max()
        assert (a - c).abs().max() <= 1e-12 * a.abs().max()
        assert (a - old).abs().max() > 1e-3 * a.abs().max()


@pytest.mark.parametrize('name, tuner', [
    on for on in ON if on[1] not in ('DoRA', 'SSF')])
def test_what_is_more_than_weights_does_not_merge(name, tuner):
    with pytest.raises(CheckpointError, match=f'what {tuner} inserts'):
        merged_tensors(tiny(name, tuner))


def test_a_shift_without_a_place_does_not_merge():
    """Swin V2 reduces before it norms, and its qkv has no bias."""
    with pytest.raises(CheckpointError, match=r'what SSF.*qkv\.s'):
        merged_tensors(tiny('TunedSwinTransformerV2', 'SSF'))


@pytest.mark.parametrize('name, tuner', ON)
def test_trains_under_autocast_and_is_saved(name, tuner, tmp_path):
    """Every inserted parameter gets a gradient, and comes back."""
    plain = library(name)
    torch.save(dict(state_dict=plain.state_dict()), tmp_path / 'base.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'base.pth'))
    net = tiny(name, tuner, init_cfg=init_cfg, allow_random_base=False,
               drop_path_rate=0.)
    for module in net.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.
    net.init_weights()
    model = with_head(net).train()
    deltas = net.delta_parameters()
    optimizer = torch.optim.SGD(deltas.values(), lr=1e-3)
    for _ in range(2):  # behind a zero nothing moves in the first step
        optimizer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16):
            maps = net(image(2, 3, 64, 96))
        sum(m.float().square().mean() for m in maps).backward()
        optimizer.step()
    for key, param in deltas.items():
        assert param.grad.isfinite().all() and param.grad.any(), key
    path = save_delta(model, tmp_path / 'delta.pth')
    content = read_checkpoint(str(path))['state_dict']
    assert {k for k in content if k.startswith('backbone.')} == {
        f'backbone.{k}' for k in net.delta_names}
    fresh = with_head(tiny(name, tuner, allow_random_base=False))
    fresh.load_state_dict(content)
    for a, b in zip(run(fresh.backbone), run(net)):
        assert torch.equal(a, b)


class TestSharedLayersOfRein:

    def layers(self, net):
        return [m for m in net.modules() if isinstance(m, ReinLayer)]

    def test_are_stored_once_by_width(self):
        net = tiny(SWIN, 'Rein')
        own = [k for k in net.state_dict() if '.shared.' in k]
        assert len(own) == 5 * 4  # two weights, two biases, one scale
        assert {k.split('.shared.')[0] for k in own} == {
            f'stages.{s}.blocks.0.after_ffn' for s in range(4)}
        params = [id(p) for p in net.parameters()]
        assert len(params) == len(set(params))

    def test_of_a_copy_are_the_copys(self):
        net = tiny(VIT, 'Rein')
        twin = copy.deepcopy(net)
        shared = {id(layer._shared[0]) for layer in self.layers(twin)}
        assert len(shared) == 1 and shared.isdisjoint(
            id(m) for m in net.modules())
        before = run(net)
        nn.init.ones_(self.layers(twin)[0].shared.scale)
        assert all(torch.equal(a, b) for a, b in zip(run(net), before))
        assert not torch.equal(run(twin)[0], before[0])

    def test_follow_a_change_of_dtype(self):
        net = tiny(VIT, 'Rein').double()
        assert run(net, image(1, 3, 64, 64).double())[0].dtype == torch.double


def test_prompts_join_the_sequence_of_every_block_and_leave_it():
    net = tiny(VIT, 'VPT').eval()
    seen = []
    for block in net.layers:
        block.ln1.register_forward_hook(
            lambda module, args, out: seen.append(args[0].shape[1]))
        block.register_forward_hook(
            lambda module, args, out: seen.append(out.shape[1]))
    run(net)
    patches = 1 + 4 * 6
    assert seen == [10 + patches, patches] * 4
    prompts = [block.tokens.prompts for block in net.layers]
    assert len({id(p) for p in prompts}) == 4


def test_branch_and_bypass_are_dropped_apart():
    """Convpass: each with a draw of its own, as published."""
    net = tiny(SWIN, 'Convpass', drop_path_rate=.1)
    block = net.stages[3].blocks[1].train()
    block.drop_path1.drop_prob = .5
    nn.init.normal_(block.beside_attn.up_proj.weight)
    block.beside_attn.dropout.p = 0.
    block.drop_path2.drop_prob = 0.
    block.beside_ffn.scale = 0.
    block.ffn.layers[1].weight.data.zero_()
    block.ffn.layers[1].bias.data.zero_()
    x = torch.randn(1, 12, 128).expand(64, -1, -1)
    with torch.no_grad():
        found = {tuple(y.flatten()[:3].tolist()) for y in
                 (block(x, (3, 4)) * 1e3).round()}
    assert len(found) == 4  # neither, either one, both


@pytest.mark.parametrize('tuner', ['Adapter', 'AdapterPlus', 'Convpass',
                                   'DoRA', 'LoRA', 'Mona', 'Rein'])
@pytest.mark.parametrize('name, names', [(SWIN, SwinNames()),
                                         (VIT, ViTNames())])
def test_a_file_is_recognised_by_its_names(name, names, tuner):
    """LoRA's names are DoRA's as well."""
    found, _ = recognise(tiny(name, tuner).state_dict(), names)
    assert type(found).__name__ == tuner


@pytest.mark.parametrize('tuner, theirs, ours', [
    (Convpass, 'adapter_mlp.adapter_conv.weight', 'beside_ffn.conv.weight'),
    (AdapterPlus, 'adapter.bottleneck.1.bias', 'after_ffn.down_proj.bias'),
    (AdapterPlus, 'adapter.scaling', 'after_ffn.scale')])
def test_names_of_the_published_code(tuner, theirs, ours):
    renamed = rename_path(f'blocks.1.{theirs}', tuner.foreign_names)
    assert renamed == f'blocks.1.{ours}'
