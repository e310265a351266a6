"""Hierarchical Side-Tuning (arXiv 2310.05393) on a plain ViT."""
import runpy

import numpy as np
import pytest
import torch
from helpers import image, loss_of, on_meta
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from paths import ROOT

from mona_mm.backbones import TunedVisionTransformer
from mona_mm.checkpoint import base_state
from mona_mm.tuners import build_tuner

#: The golden network's: four blocks, one per stage of the side network.
ARCH = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192)
TINY = dict(type='HST', side_dims=(8, 12, 16, 24), side_heads=(2, 2, 4, 4))
CLASSIFY, DENSE = (32, 48, 64, 72), (64, 128, 256, 384)


def vit(arch=ARCH, **tuner) -> TunedVisionTransformer:
    return TunedVisionTransformer(
        arch=arch, img_size=64, tuner=dict(TINY, **tuner),
        allow_random_base=True)


def trained(net) -> dict:
    return {k: p for k, p in net.named_parameters() if p.requires_grad}


@pytest.fixture(scope='module')
def golden(reference):
    file = np.load(reference / 'hst-nano.npz')
    return {k: file[k] if k == 'grad_names' else torch.from_numpy(
        file[k]).float() for k in file.files}


@pytest.fixture(scope='module')
def converted(reference, tmp_path_factory):
    """The published weights, brought under our names by the tool."""
    main = runpy.run_path(str(ROOT / 'tools/convert_checkpoint.py'))['main']
    out = tmp_path_factory.mktemp('converted') / 'hst.pth'
    main([str(reference / 'hst-nano.pth'), str(out), '--from', 'hst'])
    return torch.load(out, weights_only=True)['state_dict']


@pytest.fixture(scope='module')
def published(converted):
    net = vit()
    net.load_state_dict(converted)
    return net.eval()


def test_converted_file_holds_everything(published, converted):
    assert set(converted) == set(published.state_dict())


def test_published_file_loads_as_a_base_too(published, reference):
    net = vit()
    net.load_base(str(reference / 'hst-nano.pth'))
    expected = published.state_dict()
    assert all(torch.equal(v, expected[k])
               for k, v in net.state_dict().items())


def test_outputs_agree_to_1e_5(published, golden):
    outs = published(golden['x'])
    assert len(outs) == 4
    for i, out in enumerate(outs):
        expected = golden[f'out{i}']
        assert (out - expected).abs().max() <= 1e-5 * expected.abs().max()
    neck = MODELS.build(dict(type='mmpretrain.GlobalAveragePooling'))
    torch.testing.assert_close(
        neck(outs)[-1], golden['pooled'], rtol=1e-5, atol=1e-6)


def test_gradient_norms_agree_to_1e_4(published, golden):
    published.zero_grad()
    outs = published(golden['x'])
    sum((o * golden[f'cotangent{i}']).sum()
        for i, o in enumerate(outs)).backward()
    named = {k: torch.zeros(4) for k in golden['grad_names']}
    ours = base_state(named, renames=published.tuner.foreign_names,
                      layouts=published.layouts).tensors
    grads = {k: p.grad for k, p in trained(published).items()}
    assert set(ours) == set(grads)
    for key, expected in zip(ours, golden['grad_norms']):
        # A bias of keys shifts all scores of a query alike: its gradient is
        # zero but for rounding.
        assert grads[key].norm().item() == pytest.approx(
            float(expected), rel=1e-4, abs=1e-6), key


def side_parameters(width, depth, dims, tokens=1, ratio=4) -> int:
    """Parameters of the side network, counted from the paper's layers."""

    def linear(a, b):
        return a * b + b

    def norm(d):
        return 2 * d

    each = depth // 4
    d = dims[0]
    total = 27 * d + norm(d) + (4 * d * d + d) + norm(d)  # stem
    for before, d in zip(dims, dims[1:]):
        total += 9 * before * d + d + norm(d)
    for d in dims:
        block = (norm(d) + 4 * linear(d, d) + norm(d)
                 + linear(d, ratio * d) + linear(ratio * d, d))
        total += linear(width, d) + each * block + norm(d)
        total += each * norm(d) * bool(tokens)
    return total


@pytest.mark.parametrize('arch, width, depth, dims, expected', [
    ('base', 768, 12, CLASSIFY, 764_840), ('base', 768, 12, DENSE, 10_404_096),
    ('large', 1024, 24, CLASSIFY, 1_360_544),
    ('large', 1024, 24, DENSE, 19_136_320)])
def test_counts_are_the_published(arch, width, depth, dims, expected):
    with on_meta():
        share = TunedVisionTransformer(
            arch=arch, tuner=dict(type='HST', side_dims=dims)).share()
    assert share.released == depth * 2 * 2 * width  # two norms per block
    assert share.inserted == depth * width + side_parameters(
        width, depth, dims)
    assert share.trained == expected


@pytest.mark.parametrize('leaf, millions', [
    ('cascade-mask-rcnn_vit-b-hst_3x_coco', 68.36),
    ('mask-rcnn_vit-b-hst_1x_coco', 30.52),
    ('upernet_vit-b-hst_160k_ade20k', 39.86)])
def test_whole_models_train_as_many_as_published(leaf, millions):
    cfg = Config.fromfile(ROOT / f'configs/hst/{leaf}.py')
    init_default_scope(cfg.default_scope)
    cfg.model.data_preprocessor.pop('size', None)
    with on_meta():
        model = MODELS.build(cfg.model)
    count = sum(p.numel() for p in trained(model).values())
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize('tokens', [0, 1, 3])
@pytest.mark.parametrize('norms', [True, False])
def test_trains_norms_of_the_blocks_and_what_it_inserts(norms, tokens):
    net = vit(num_tokens=tokens, train_norms=norms)
    share = net.share()
    assert share.released == (4 * 2 * 2 * 48 if norms else 0)
    assert share.inserted == 4 * tokens * 48 + side_parameters(
        48, 4, TINY['side_dims'], tokens)
    assert all('.ln' in k for k in trained(net) if k not in net.delta_names)


@pytest.mark.parametrize('used', [(0, 1, 2, 3), (3, )])
@pytest.mark.parametrize('tokens', [0, 2])
def test_every_trained_parameter_has_a_gradient(tokens, used):
    # Distributed training waits for all of them. Classifiers use one map.
    net = vit(num_tokens=tokens)
    maps = net(image())
    loss_of([maps[i] for i in used]).backward()
    # The last stages' norms of earlier maps are on the way to the last one.
    assert [k for k, p in trained(net).items() if p.grad is None] == []


@pytest.mark.parametrize('size', [(64, 64), (96, 64), (80, 112), (32, 32)])
def test_maps_have_the_strides_of_a_pyramid(size):
    maps = vit().eval()(image(2, 3, *size))
    for out, dims, stride in zip(maps, TINY['side_dims'], (4, 8, 16, 32)):
        assert out.shape == (2, dims, *(-(-s // stride) for s in size))
        assert out.is_contiguous()


def kept_by(net, *inputs):
    """Shapes of what is kept for the backward pass, but for parameters."""
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    shapes = {}

    def pack(tensor):
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            shapes[place] = tuple(tensor.shape), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        net(*inputs)
    return [shape for shape, _ in shapes.values()]


def test_keeps_of_a_frozen_vit_only_the_patches_that_the_bridges_read():
    # Widths that the side network does not have: C, qkv, MLP, one head.
    wide = dict(embed_dims=80, num_layers=4, num_heads=4,
                feedforward_channels=100)
    net = vit(arch=wide, num_tokens=0, train_norms=False).train()
    kept = [s for s in kept_by(net, image()) if s[-1] in (80, 240, 100, 20)]
    assert kept == [(2 * 4 * 4, 80)] * 4


def test_gradients_of_the_tokens_are_exact_while_the_norms_are_frozen():
    grads = []
    for norms in (True, False):
        torch.manual_seed(0)
        net = vit(train_norms=norms)
        loss_of(net(image())).backward()
        grads.append({k: p.grad for k, p in net.delta_parameters().items()})
    assert grads[0].keys() == grads[1].keys()
    for key, expected in grads[0].items():
        torch.testing.assert_close(grads[1][key], expected)


def test_fast_form_equals_the_line_by_line_one_and_keeps_less():
    results = []
    for plain in (True, False):
        torch.manual_seed(0)
        net = vit().train()
        net.line_by_line = plain
        out = net(image())
        loss_of(out).backward()
        kept = sum(np.prod(s) for s in kept_by(net.side.stages[0][0], *(
            image(2, n, 8).requires_grad_() for n in (256, 2, 256))))
        results.append((out, {k: p.grad for k, p in trained(net).items()},
                        kept))
    (outs, grads, many), (fast_outs, fast_grads, few) = results
    for a, b in zip(fast_outs, outs):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    for key, expected in grads.items():
        torch.testing.assert_close(
            fast_grads[key], expected, rtol=1e-4, atol=1e-5 * max(
                1, float(expected.abs().max())))
    # Of (B, N, d): two normed inputs, and four times that of GELU's output.
    assert many - few >= 6 * 2 * 256 * 8


def test_recomputed_blocks_give_the_same_gradients():
    grads = []
    for recompute in (False, True):
        torch.manual_seed(0)
        net = vit(with_cp=recompute)
        loss_of(net(image())).backward()
        grads.append({k: p.grad for k, p in trained(net).items()})
    for key, expected in grads[0].items():
        torch.testing.assert_close(grads[1][key], expected)


def test_bfloat16_autocast_stays_near_float32():
    net = vit().eval()
    exact = net(image())
    with torch.autocast('cpu', torch.bfloat16):
        near = net(image())
        loss_of([m.float() for m in near]).backward()
    for a, b in zip(near, exact):  # bfloat16 has 8 bits
        assert (a.float() - b).norm() <= 2**-5 * b.norm()
    assert all(p.grad.isfinite().all() for p in trained(net).values())


def test_drop_path_grows_over_the_side_blocks_and_ends_at_the_rate():
    net = vit(arch=dict(ARCH, num_layers=8), drop_path_rate=.7)
    rates = [b.drop_path.drop_prob for s in net.side.stages for b in s]
    assert rates == pytest.approx([.7 * i / 7 for i in range(8)])


def test_head_is_a_linear_classifier_of_batch_normalised_features():
    head = MODELS.build(dict(
        type='mona_mm.BatchNormLinearClsHead', num_classes=3, in_channels=2))
    assert sum(p.numel() for p in head.parameters()) == 2 * 3 + 3
    x = torch.tensor([[1., 10.], [3., 20.]])
    # Means 2 and 15, deviations 1 and 5.
    normed = torch.tensor([[-1., -1.], [1., 1.]])
    torch.testing.assert_close(
        head.train()((None, x)), head.fc(normed), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('wrong, told', [
    (dict(num_tokens=-1), 'num_tokens.*at least 1, but got -1'),
    (dict(side_dims=(8, 16)), 'side_dims must be four integers'),
    (dict(side_dims=(8, 12, 16, 0)), 'side_dims.*at least 1, but got 0'),
    (dict(side_heads=(3, 4, 8, 12)), 'multiple of its side_heads'),
    (dict(mlp_ratio=1.5), 'mlp_ratio.*but got 1.5'),
    (dict(drop_path_rate=1), r'drop_path_rate.*in \[0, 1\), but got 1')])
def test_argument_out_of_range_is_refused(wrong, told):
    with pytest.raises(ValueError, match=f'HST: .*{told}'):
        build_tuner(dict(type='HST', **wrong))


def test_depth_that_no_four_stages_share_is_refused():
    with pytest.raises(ValueError, match='multiple of 4.*but it is 6'):
        vit(arch=dict(ARCH, num_layers=6))
