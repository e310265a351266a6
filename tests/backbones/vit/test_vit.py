"""The ViT family: mmpretrain's class, with tuners."""
import copy
import pickle

import pytest
import torch
from helpers import image, loss_of, tuners_of
from mmpretrain.models import VisionTransformer
from torch import nn
from vits import NANO, nano_vit, plain_vit, shake

from mona_mm.backbones import TunedVisionTransformer
from mona_mm.tuners import LINEARS, SITES, Tuner
from mona_mm.tuners.base import tuner_class

TUNERS = tuners_of(TunedVisionTransformer)
MODULES = [s for s in SITES if s not in LINEARS]
#: Kinds of ViT: arguments that mmpretrain has too.
KINDS = {
    'plain': dict(),
    'dinov2': dict(patch_size=14, img_size=42, layer_scale_init_value=.3),
    'clip': dict(pre_norm=True, layer_cfgs=dict(
        act_cfg=dict(type='mmpretrain.QuickGELU')),
        norm_cfg=dict(type='LN', eps=1e-5)),
    'giant': dict(layer_scale_init_value=.3,
                  layer_cfgs=dict(ffn_type='swiglu_fused')),
    'no bias': dict(qkv_bias=False),
}


def tensors(outputs):
    return [t for o in outputs for t in (o if isinstance(o, tuple) else [o])]


@pytest.mark.parametrize('kind, out_type', [
    *(('plain', t) for t in ('featmap', 'cls_token', 'avg_featmap')),
    *((kind, 'raw') for kind in KINDS)])
def test_fixed_is_mmpretrains_vit(kind, out_type):
    kwargs = dict(KINDS[kind], out_type=out_type, drop_path_rate=.3)
    plain = plain_vit(out_indices=[1, 3], **kwargs)
    shake(plain)
    for line_by_line in (True, False):
        fixed = nano_vit('Fixed', out_indices=(1, -1),
                         line_by_line=line_by_line, **kwargs)
        fixed.load_state_dict(plain.state_dict(), strict=True)
        for mode in (False, True):
            plain.train(mode), fixed.train(mode)
            for size in ((64, 64), (42, 42), (50, 90)):
                results = []
                for net in (plain, fixed):
                    torch.manual_seed(3)  # drop-path draws
                    results.append(net(image(2, 3, *size)))
                for a, b in zip(*results):
                    if line_by_line:
                        assert torch.equal(a, b)
                    else:
                        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


def test_maps_without_class_token_are_mmpretrains():
    plain = plain_vit(with_cls_token=False)
    shake(plain)
    fixed = nano_vit('Fixed', with_cls_token=False)
    fixed.load_state_dict(plain.state_dict(), strict=True)
    x = image(1, 3, 40, 64)
    torch.testing.assert_close(fixed(x), plain(x), atol=1e-6, rtol=1e-6)
    with pytest.raises(ValueError, match='with_cls_token'):
        nano_vit('Fixed', with_cls_token=False, out_type='cls_token')


@pytest.mark.parametrize('name, width, depth, heads', [
    ('base', 768, 12, 12), ('large', 1024, 24, 16),
    ('deit-small', 384, 12, 6), ('dinov2-small', 384, 12, 6),
    ('small', 768, 8, 8)])  # an older network: mmpretrain's name for it
def test_archs_are_mmpretrains(name, width, depth, heads):
    with torch.device('meta'):
        plain = VisionTransformer(arch=name)
        net = TunedVisionTransformer(arch=name, tuner=dict(type='Fixed'))
    assert {k: v.shape for k, v in net.state_dict().items()} == {
        k: v.shape for k, v in plain.state_dict().items()}
    assert (net.embed_dims, net.num_layers) == (width, depth)
    assert net.layers[0].attn.num_heads == heads
    assert (net.facts()['arch'] if 'arch' in net.facts() else None) is None
    named = net.arguments(net.facts())
    assert TunedVisionTransformer.arch_zoo[named['arch']] == (
        TunedVisionTransformer.arch_zoo[name])


def test_outputs_are_in_the_order_of_their_indices():
    net = nano_vit('Fixed', out_indices=(-1, 1, 1, -4)).eval()
    x = image(1, 3, 48, 64)
    last, second, again, first = net(x)
    assert net.out_indices == (3, 1, 1, 0)
    assert torch.equal(second, again)
    plain = plain_vit(out_indices=[0, 1, 3])
    plain.load_state_dict(net.state_dict())
    for a, b in zip(plain(x), (first, second, last)):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)
    with pytest.raises(ValueError, match=r'indices of its 4 blocks.*\[4\]'):
        nano_vit(out_indices=(4, ))
    with pytest.raises(ValueError, match='global_blocks'):
        nano_vit(window_size=2, global_blocks=[-5])


def test_blocks_behind_the_last_output_are_plain_frozen_and_not_run():
    net = nano_vit('Full', out_indices=(0, 2))
    assert not any(p.requires_grad for p in (
        *net.layers[3].parameters(), *net.ln1.parameters()))
    net.layers[3].forward = None  # it would raise
    assert len(net(image(1, 3, 32, 32))) == 2
    mona = nano_vit('Mona', out_indices=(0, 2))
    assert {n.split('.')[1] for n in mona.delta_names} == {'0', '1', '2'}
    # Partial-1 trains the last block that runs.
    last = nano_vit('Partial', out_indices=(0, 2))
    assert {n.split('.')[1] for n, p in last.named_parameters()
            if p.requires_grad} == {'2'}


KWARGS = [
    dict(), dict(out_type='cls_token'), dict(out_indices=(0, 2)),
    dict(window_size=3, num_registers=2),
    dict(out_type='avg_featmap', final_norm=False),
    dict(with_cls_token=False, drop_path_rate=.9)]


@pytest.mark.parametrize('name', TUNERS)
class TestEveryTuner:
    """Enumerated from the registry."""

    def test_missing_keys_of_a_plain_checkpoint_are_the_delta_keys(
            self, name):
        net = nano_vit(name)
        answer = net.load_state_dict(plain_vit().state_dict(), strict=False)
        # PyTorch's batch norm sets its counter where a file has none.
        assert set(answer.missing_keys) == {
            n for n in net.delta_names if not n.endswith('batches_tracked')}
        assert answer.unexpected_keys == []

    @pytest.mark.parametrize('kwargs', KWARGS, ids=str)
    def test_gradients_reach_what_trains_and_nothing_else(self, name, kwargs):
        """Distributed training hangs on a parameter that gets none."""
        if 'out_indices' in kwargs and 'side' in tuner_class(name).sites:
            pytest.skip('the side network gives the maps, after all blocks')
        net = nano_vit(name, **kwargs).train()
        outputs = net(image(2, 3, 70, 90))
        if not any(p.requires_grad for p in net.parameters()):
            assert not any(o.requires_grad for o in outputs)
            return
        loss_of(outputs).backward()
        for key, param in net.named_parameters():
            assert (param.grad is not None) == param.requires_grad, key

    def test_delta_parameters_survive_init_weights(self, name):
        net = nano_vit(name)
        before = {k: p.clone() for k, p in net.delta_parameters().items()}
        net.init_weights()
        after = net.delta_parameters()
        assert all(torch.equal(before[k], after[k]) for k in before)

    def test_checkpointing_gives_the_same_gradients(self, name):
        plain = nano_vit(name, drop_path_rate=.2).train()
        saving = nano_vit(name, drop_path_rate=.2, with_cp=True).train()
        saving.load_state_dict(plain.state_dict())
        if not any(p.requires_grad for p in plain.parameters()):
            return
        for net in (plain, saving):
            torch.manual_seed(5)
            loss_of(net(image(2, 3, 48, 64))).backward()
        for (key, a), b in zip(plain.named_parameters(),
                               saving.parameters()):
            if a.requires_grad:
                torch.testing.assert_close(b.grad, a.grad, msg=key)

    def test_copy_and_pickle_keep_the_outputs(self, name):
        net = nano_vit(name).eval()
        expected = net(image())
        for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert all(
                torch.equal(a, b) for a, b in zip(twin(image()), expected))

    def test_line_by_line_computes_the_same(self, name):
        net = nano_vit(name, window_size=3, num_registers=1).eval()
        shake(net)
        fast = net(image(1, 3, 50, 90))
        net.line_by_line = True
        torch.testing.assert_close(net(image(1, 3, 50, 90)), fast,
                                   atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_traces_without_a_graph_break():
    net = nano_vit('Mona', arch=dict(NANO, num_layers=1), window_size=3,
                   num_registers=1, drop_path_rate=.1).eval()
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    x = image(1, 3, 64, 64)
    for a, b in zip(compiled(x), net(x)):
        torch.testing.assert_close(a, b)


def meta(tuner, arch='base', **kwargs):
    with torch.device('meta'):
        return TunedVisionTransformer(
            arch=arch, tuner=dict(type=tuner), **kwargs)


#: Of ViT-B/16: m the width, L the blocks, N the positions.
M, L, N = 768, 12, 14 * 14 + 1
BLOCK = (4 * M + 3 * M * M + 3 * M + M * M + M  # norms, qkv, proj
         + 2 * 4 * M * M + 4 * M + M)  # MLP of four times the width
PLAIN = M + N * M + (16 * 16 * 3 * M + M) + L * BLOCK + 2 * M
n = 64


@pytest.mark.parametrize('name, trained', [
    ('Full', PLAIN), ('Fixed', 0),
    # Biases of the patch embedding, of norms, qkv, proj and MLP.
    ('BitFit', M + L * (2 * M + 3 * M + M + 4 * M + M) + M),
    ('NormTuning', L * 4 * M + 2 * M), ('Partial', BLOCK),
    # Two bottlenecks per block; one; two low-rank updates of qkv.
    ('Adapter', 2 * L * (2 * n * M + n + M)),
    ('AdaptFormer', L * (2 * n * M + n + M)),
    ('LoRA', L * 2 * (n * M + M * n)),
    # Two layers per block: norm and scales 4m, projections down and up,
    # depth-wise filters of 9 + 25 + 49 and three biases, a point-wise one.
    ('Mona', 2 * L * (4 * M + 2 * n * M + n + M
                      + (9 + 25 + 49 + 3) * n + n * n + n)),
])
def test_counts_of_vit_b_follow_from_its_shapes(name, trained):
    share = meta(name).share()
    assert share.trained == trained
    assert share.frozen + share.released == PLAIN == 85_798_656
    if name == 'Mona':  # (2n + 5)m + n^2 + 88n per layer
        assert trained == 24 * (133 * 768 + 4_096 + 88 * 64) == 2_684_928


@pytest.mark.parametrize('arch, total', [
    # (518 / 14)^2 + 1 positions, layer scale, kernels of 14 x 14: without
    # the mask token, 384 and 768 more.
    ('dinov2-small', 22_056_192), ('base', 86_579_712 - 1_536 + 768 * 2)])
def test_dinov2_has_the_parameters_of_its_release(arch, total):
    net = meta('Fixed', arch, patch_size=14, img_size=518,
               layer_scale_init_value=1e-5)
    width = net.embed_dims
    block = 12 * width**2 + 13 * width + 2 * width  # layer scale twice
    assert net.share().frozen == total == (
        width + 1370 * width + 14 * 14 * 3 * width + width
        + 12 * block + 2 * width)


def test_large_counts():
    m, depth = 1024, 24
    block = 12 * m * m + 13 * m
    assert meta('Fixed', 'large').share().frozen == (
        m + 197 * m + 768 * m + m + depth * block + 2 * m)
    assert meta('Mona', 'large').share().inserted == 48 * (
        133 * m + 4_096 + 5_632)


class Probe(nn.Module):
    """Of all sites another function of its input, and what it saw."""

    def __init__(self, dims, **says):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dims))
        for name, value in says.items():
            setattr(self, name, value)

    def forward(self, x, hw_shape, tokens=0):
        assert x.shape[1] == tokens + hw_shape[0] * hw_shape[1]
        return torch.tanh(x) * self.weight


class Shifted(nn.Linear):
    """A linear layer that does not map zeros to its bias."""

    def __init__(self, linear):
        super().__init__(linear.in_features, linear.out_features,
                         device='meta')
        self.weight, self.bias = linear.weight, linear.bias
        self.shift = nn.Parameter(torch.randn(linear.out_features))

    def forward(self, x):
        return super().forward(x) + self.shift


class Prompts(nn.Module):
    """Extra tokens of one block."""

    def __init__(self, dims, count=3):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, dims))

    def forward(self, batch):
        return self.weight.expand(batch, -1, -1)


class Beside(nn.Module):
    """A network beside the backbone, of two blocks' outputs."""

    wants = {1, 3}

    def __init__(self, dims):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dims))

    def forward(self, images, outputs):
        assert len(outputs) == 2
        return tuple(
            (o.x + o.tokens.mean(1, keepdim=True) * self.weight).transpose(
                1, 2).unflatten(2, o.hw_shape) for o in outputs)


class Everywhere(Tuner):
    """Something at every place of a block, and beside the backbone."""

    def __init__(self, sites=(*SITES, 'tokens', 'side'), **says):
        self.sites, self.says = tuple(sites), says

    def build(self, site, dims):
        return Probe(dims, **self.says)

    def adapt(self, site, linear):
        return Shifted(linear)

    def tokens(self, dims):
        return Prompts(dims)

    def side(self, backbone):
        return Beside(backbone.embed_dims)


def follow(net, images, says, registers):
    """The picture of the block, from the library's parts, in evaluation."""

    def at(module, x, before):
        """Tokens pass, unless the module takes them."""
        if says.get('takes_tokens'):
            return torch.tanh(x) * module.weight
        y = torch.tanh(x[:, before:]) * module.weight
        return torch.cat([x[:, :before], y], 1)

    def beside(module, x, before):
        y = torch.tanh(x) * module.weight
        if not says.get('takes_tokens'):
            y[:, :before] = 0
        return y

    def attend(attn, x):
        q, k, v = attn.qkv(x).chunk(3, -1)
        heads = [t.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
                 for t in (q, k, v)]
        scores = heads[0] @ heads[1].transpose(-2, -1)
        scores = (scores / heads[0].shape[-1]**.5).softmax(-1)
        out = (scores @ heads[2]).transpose(1, 2).flatten(2)
        return attn.proj(out) * attn.gamma1.weight

    x, hw = net.patch_embed(images)
    pos = net.pos_embed  # the images have its grid
    x = torch.cat([net.cls_token + pos[:, :1],
                   net.register_tokens[:, :registers], x + pos[:, 1:]], 1)
    outs = {}
    for i, b in enumerate(net.layers):
        x = torch.cat([b.tokens.weight[None], x], 1)
        before = 3 + 1 + registers
        n = b.ln1(x)
        aside = beside(b.beside_attn, n if says.get('takes_normed') else x,
                       before)
        t = attend(b.attn, at(b.attn_in, n, before))
        h = at(b.after_attn, x + at(b.attn_out, t, before) + aside, before)
        n = b.ln2(h)
        aside = beside(b.beside_ffn, n if says.get('takes_normed') else h,
                       before)
        t = b.ffn.layers(at(b.ffn_in, n, before)) * b.ffn.gamma2.weight
        x = at(b.after_ffn, h + at(b.ffn_out, t, before) + aside, before)
        extra, x = x[:, :3], x[:, 3:]
        if i in (1, 3):
            y = x[:, 1 + registers:] + extra.mean(
                1, keepdim=True) * net.side.weight
            outs[i] = y.transpose(1, 2).unflatten(2, hw)
    return tuple(outs.values())


@pytest.mark.parametrize('says', [
    {}, dict(takes_normed=True), dict(takes_tokens=True),
    dict(takes_normed=True, takes_tokens=True, in_drop_path=True)], ids=str)
def test_all_places_are_where_the_picture_has_them(says):
    torch.manual_seed(0)
    net = nano_vit(Everywhere(**says), layer_scale_init_value=.5,
                   num_registers=2).double().eval()
    shake(net)
    x = image(1, 3, 64, 64).double()
    outs = net(x)
    loss_of(outs).backward()
    grads = {k: p.grad for k, p in net.delta_parameters().items()}
    net.zero_grad()
    expected = follow(net, x, says, 2)
    loss_of(expected).backward()
    for a, b in zip(outs, expected):
        torch.testing.assert_close(a, b)
    for name, param in net.delta_parameters().items():
        torch.testing.assert_close(grads[name], param.grad, msg=name)


@pytest.mark.parametrize('site', SITES)
def test_pretrained_weights_fit_whatever_stands_at_a_site(site):
    net = nano_vit(Everywhere([site]))
    keys = net.load_state_dict(plain_vit().state_dict(), strict=False)
    assert set(keys.missing_keys) == net.delta_names
    assert not keys.unexpected_keys
    assert len(net.delta_names) == 4  # one per block


def test_linear_sites_of_a_gated_mlp():
    net = nano_vit(Everywhere(['fc1', 'fc2']),
                   layer_cfgs=dict(ffn_type='swiglu_fused'))
    assert net.delta_names == {f'layers.{i}.ffn.{n}.shift'
                               for i in range(4) for n in ('w12', 'w3')}


def test_side_network_leaves_nothing_unused():
    tuner = Everywhere(('tokens', 'side'))
    tuner.trains = lambda *args: True
    net = nano_vit(tuner)
    assert not any(p.requires_grad for p in net.ln1.parameters())
    loss_of(net(image())).backward()
    for key, param in net.named_parameters():
        assert (param.grad is not None) == param.requires_grad, key


def test_class_token_passes_a_site_that_needs_maps_unchanged():
    class Erase(nn.Module):

        def forward(self, x, hw_shape):
            return 0 * x

    class Eraser(Tuner):
        sites, may_do_nothing = ('after_ffn', ), True

        def build(self, site, dims):
            return Erase()

    arch = dict(NANO, num_layers=1)
    kwargs = dict(arch=arch, out_type='raw', final_norm=False,
                  num_registers=2)
    plain, erased = (nano_vit(t, **kwargs).eval()
                     for t in ('Fixed', Eraser()))
    shake(plain)
    erased.load_state_dict(plain.state_dict())
    a, b = plain(image())[0], erased(image())[0]
    assert torch.equal(a[:, :3], b[:, :3])
    assert (b[:, 3:] == 0).all()


def test_mona_is_not_inserted_where_only_the_class_token_goes_on():
    mona = nano_vit('Mona', out_type='cls_token')
    assert {n.split('.')[1] for n in mona.delta_names} == {'0', '1', '2'}
    # Adapters see all tokens, so they are.
    adapter = nano_vit('Adapter', out_type='cls_token')
    assert {n.split('.')[1] for n in adapter.delta_names} == set('0123')


def test_register_tokens_have_no_position_and_are_no_part_of_maps():
    plain = plain_vit(out_type='raw')
    shake(plain)
    net = nano_vit('Fixed', num_registers=3, out_type='raw').eval()
    state = net.state_dict()
    state.update(plain.state_dict())
    state['register_tokens'] = torch.randn(1, 3, 32)
    net.load_state_dict(state)
    x = image()
    # mmpretrain's blocks on a sequence with the registers in it.
    t, hw = plain.patch_embed(x)
    t = torch.cat([plain.cls_token.expand(2, -1, -1), t], 1)
    t = t + plain.pos_embed
    t = torch.cat([t[:, :1], state['register_tokens'].expand(2, -1, -1),
                   t[:, 1:]], 1)
    for layer in plain.layers:
        t = layer(t)
    expected = plain.ln1(t)
    torch.testing.assert_close(net(x)[0], expected, atol=1e-6, rtol=1e-6)
    net.out_type = 'featmap'
    torch.testing.assert_close(
        net(x)[0], expected[:, 4:].transpose(1, 2).unflatten(2, hw),
        atol=1e-6, rtol=1e-6)


def test_frozen_stages_is_refused_because_the_tuner_decides():
    with pytest.raises(ValueError, match='frozen_stages'):
        nano_vit(frozen_stages=1)


def test_unknown_site_is_refused_with_both_lists():
    with pytest.raises(ValueError) as error:
        nano_vit(Everywhere(['nowhere', 'ffn_in']))
    assert "['nowhere', 'ffn_in']" in str(error.value)
    assert all(s in str(error.value) for s in (*SITES, 'tokens', 'side'))


def test_frozen_weights_can_be_stored_in_bfloat16():
    net = nano_vit('Mona', base_dtype='bfloat16')
    kinds = {n: p.dtype for n, p in net.named_parameters()}
    assert kinds['layers.0.attn.qkv.weight'] == torch.bfloat16
    assert kinds['layers.0.ln1.weight'] == torch.float32
    same = nano_vit('Mona')
    same.load_state_dict(net.state_dict())
    with torch.autocast('cpu', torch.bfloat16):
        a, b = net.eval()(image())[0], same.eval()(image())[0]
    assert torch.equal(a, b)


def test_casts_of_frozen_weights_are_kept_and_counted(monkeypatch):
    net = nano_vit('Mona').eval()
    expected = net(image())[0]
    monkeypatch.setattr('mona_mm.ops.frozen.accelerated', lambda x: True)
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        found = net(image())[0].float()
    # qkv, proj, fc1 and fc2 of four blocks, two bytes each.
    assert net.cache_bytes() == 2 * 4 * (
        3 * 32 * 32 + 96 + 32 * 32 + 32 + 2 * 32 * 64 + 64 + 32)
    torch.testing.assert_close(found, expected, atol=.1, rtol=.1)
    net.train()
    assert net.cache_bytes() == 0


@pytest.mark.parametrize('name', TUNERS)
def test_builds_on_the_meta_device(name):
    with torch.device('meta'):
        assert all(p.is_meta for p in nano_vit(name).parameters())
