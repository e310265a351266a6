"""Base files in every layout, against a forward pass of their own tensors."""
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import image
from torch.nn import functional as F
from vits import nano_vit, plain_vit, shake

from mona_mm.backbones import TunedVisionTransformer
from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.convert import convert, convert_file
from mona_mm.errors import CheckpointError

WIDTH, HEADS, HIDDEN, DEPTH, GRID = 32, 2, 64, 4, 4


def draw(*shape):
    return .2 * torch.randn(*shape)


def forward(x, w, act=F.gelu, eps=1e-6):
    """A ViT as its papers have it: (B, tokens, C) behind the last norm.

    Args:
        x: Images.
        w: ``patch`` (kernel, bias), ``tokens`` (T, C) with their positions
            added, ``pos`` (N, C) of patches, ``pre``, ``norm`` (or None) and
            ``blocks`` of dicts: n1, n2 norms, qkv, out, fc1, fc2 (weights
            (out, in) and biases), and layer scales s1, s2 if any.
    """
    t = F.conv2d(x, *w.patch, stride=16).flatten(2).mT + w.pos
    t = torch.cat([w.tokens.expand(len(x), -1, -1), t], 1)

    def norm(t, pair):
        """A layer norm, or none."""
        mean, var = t.mean(-1, True), t.var(-1, unbiased=False, keepdim=True)
        return (t - mean) / (var + eps).sqrt() * pair[0] + pair[1]

    t = norm(t, w.pre) if w.pre else t
    for b in w.blocks:
        n = norm(t, b['n1'])
        q, k, v = (F.linear(n, *b[name]).unflatten(-1, (HEADS, -1)).transpose(
            1, 2) for name in 'qkv')
        a = (q @ k.mT / math.sqrt(WIDTH // HEADS)).softmax(-1) @ v
        t = t + b.get('s1', 1) * F.linear(
            a.transpose(1, 2).flatten(2), *b['out'])
        n = norm(t, b['n2'])
        t = t + b.get('s2', 1) * F.linear(
            act(F.linear(n, *b['fc1'])), *b['fc2'])
    return norm(t, w.norm) if w.norm else t


def linear(state, name, wide, narrow, out=None):
    state[f'{name}.weight'] = draw(narrow, wide)
    state[f'{name}.bias'] = draw(narrow)
    return state[f'{name}.weight'], state[f'{name}.bias']


def norm(state, name):
    state[f'{name}.weight'], state[f'{name}.bias'] = (
        1 + draw(WIDTH), draw(WIDTH))
    return state[f'{name}.weight'], state[f'{name}.bias']


def patch(state, name, bias=True):
    state[f'{name}.weight'] = draw(WIDTH, 3, 16, 16)
    if bias:
        state[f'{name}.bias'] = draw(WIDTH)
    return state[f'{name}.weight'], state.get(f'{name}.bias')


def timm_blocks(state, scale=None):
    """Blocks of timm and Meta; ``scale`` is the ending of layer scales."""
    blocks = []
    for i in range(DEPTH):
        p = f'blocks.{i}.'
        qkv = linear(state, p + 'attn.qkv', WIDTH, 3 * WIDTH)
        b = dict(
            n1=norm(state, p + 'norm1'), n2=norm(state, p + 'norm2'),
            out=linear(state, p + 'attn.proj', WIDTH, WIDTH),
            fc1=linear(state, p + 'mlp.fc1', WIDTH, HIDDEN),
            fc2=linear(state, p + 'mlp.fc2', HIDDEN, WIDTH))
        b.update(zip('qkv', zip(*(t.chunk(3) for t in qkv))))
        for j in (1, 2) if scale else ():
            b[f's{j}'] = state[p + scale.format(j)] = draw(WIDTH)
        blocks.append(b)
    return blocks


def timm(**state):
    """timm's plain ViT, with a classifier."""
    state.update(cls_token=draw(1, 1, WIDTH),
                 pos_embed=draw(1, 1 + GRID**2, WIDTH))
    kernel = patch(state, 'patch_embed.proj')
    blocks = timm_blocks(state)
    final = norm(state, 'norm')
    linear(state, 'head', WIDTH, 5)
    pos = state['pos_embed'][0]
    return state, SimpleNamespace(
        patch=kernel, tokens=state['cls_token'][0] + pos[:1], pos=pos[1:],
        pre=None, norm=final, blocks=blocks)


def mae(**state):
    """MAE's: with the decoder and its own mask token."""
    state, w = timm(mask_token=draw(1, 1, 16),
                    decoder_pos_embed=draw(1, 17, 16))
    linear(state, 'decoder_embed', WIDTH, 16)
    norm(state, 'decoder_blocks.0.norm1')
    del state['head.weight'], state['head.bias']
    return state, w


def dinov2(registers=0, chunks=False):
    """Meta's DINOv2: layer scale, mask token, register tokens."""
    state, w = timm(mask_token=draw(1, WIDTH))
    for i, b in enumerate(w.blocks):
        for j in (1, 2):
            b[f's{j}'] = state[f'blocks.{i}.ls{j}.gamma'] = draw(WIDTH)
    if registers:
        state['register_tokens'] = draw(1, registers, WIDTH)
        w.tokens = torch.cat([w.tokens, state['register_tokens'][0]])
    if chunks:  # as its training code saves: blocks.<chunk>.<block>
        state = {k.replace('blocks.', f'blocks.{int(k[7]) // 2}.')
                 if k.startswith('blocks.') else k: v
                 for k, v in state.items()}
    return state, w


def timm_registers():
    """timm's DINOv2 with registers: positions of patches alone."""
    state, w = dinov2()
    del state['mask_token']
    state['pos_embed'] = state['pos_embed'][:, 1:]
    state['reg_token'] = draw(1, 2, WIDTH)
    w.tokens = torch.cat([state['cls_token'][0], state['reg_token'][0]])
    return state, w


def deit_distilled():
    """DeiT with a distillation token behind the class token."""
    state, w = timm()
    state['dist_token'] = draw(1, 1, WIDTH)
    state['pos_embed'] = draw(1, 2 + GRID**2, WIDTH)
    pos = state['pos_embed'][0]
    w.tokens = torch.cat([state['cls_token'][0], state['dist_token'][0]]
                         ) + pos[:2]
    w.pos = pos[2:]
    linear(state, 'head_dist', WIDTH, 5)
    return state, w


def deit3():
    """DeiT III: layer scales of another name, no position of the class."""
    state, w = timm()
    state['pos_embed'] = state['pos_embed'][:, 1:]
    w.tokens = state['cls_token'][0]
    for i, b in enumerate(w.blocks):
        for j in (1, 2):
            b[f's{j}'] = state[f'blocks.{i}.gamma_{j}'] = draw(WIDTH)
    return state, w


def hugging_face(prefix, names, scale):
    state = {}
    e = prefix + 'embeddings.'
    state[e + 'cls_token'] = draw(1, 1, WIDTH)
    state[e + 'mask_token'] = draw(1, WIDTH)
    state[e + 'position_embeddings'] = draw(1, 1 + GRID**2, WIDTH)
    kernel = patch(state, e + 'patch_embeddings.projection')
    blocks = []
    for i in range(DEPTH):
        p = f'{prefix}encoder.layer.{i}.'
        b = dict(
            n1=norm(state, p + names['n1']), n2=norm(state, p + names['n2']),
            out=linear(state, p + 'attention.output.dense', WIDTH, WIDTH),
            fc1=linear(state, p + names['fc1'], WIDTH, HIDDEN),
            fc2=linear(state, p + names['fc2'], HIDDEN, WIDTH))
        for name in ('value', 'query', 'key'):  # in any order
            b[name[0]] = linear(state, f'{p}attention.attention.{name}',
                                WIDTH, WIDTH)
        for j in (1, 2) if scale else ():
            b[f's{j}'] = state[f'{p}layer_scale{j}.lambda1'] = draw(WIDTH)
        blocks.append(b)
    final = norm(state, prefix + 'layernorm')
    linear(state, 'classifier', WIDTH, 5)
    pos = state[e + 'position_embeddings'][0]
    return state, SimpleNamespace(
        patch=kernel, tokens=state[e + 'cls_token'][0] + pos[:1],
        pos=pos[1:], pre=None, norm=final, blocks=blocks)


def hf_dinov2(prefix='dinov2.'):
    return hugging_face(prefix, dict(
        n1='norm1', n2='norm2', fc1='mlp.fc1', fc2='mlp.fc2'), True)


def hf_vit():
    return hugging_face('vit.', dict(
        n1='layernorm_before', n2='layernorm_after',
        fc1='intermediate.dense', fc2='output.dense'), False)


def clip():
    """CLIP, with its text tower."""
    state = {}
    v = 'visual.'
    state[v + 'class_embedding'] = draw(WIDTH)
    state[v + 'positional_embedding'] = draw(1 + GRID**2, WIDTH)
    state[v + 'proj'] = draw(WIDTH, 16)
    state['logit_scale'], state['text_projection'] = draw(1)[0], draw(16, 16)
    state['positional_embedding'] = draw(7, 16)
    state['token_embedding.weight'] = draw(9, 16)
    linear(state, 'transformer.resblocks.0.mlp.c_fc', 16, 64)
    norm(state, 'ln_final')
    kernel = patch(state, v + 'conv1', bias=False)
    pre, final = norm(state, v + 'ln_pre'), norm(state, v + 'ln_post')
    blocks = []
    for i in range(DEPTH):
        p = f'{v}transformer.resblocks.{i}.'
        state[p + 'attn.in_proj_weight'] = draw(3 * WIDTH, WIDTH)
        state[p + 'attn.in_proj_bias'] = draw(3 * WIDTH)
        b = dict(
            n1=norm(state, p + 'ln_1'), n2=norm(state, p + 'ln_2'),
            out=linear(state, p + 'attn.out_proj', WIDTH, WIDTH),
            fc1=linear(state, p + 'mlp.c_fc', WIDTH, HIDDEN),
            fc2=linear(state, p + 'mlp.c_proj', HIDDEN, WIDTH))
        b.update(zip('qkv', zip(
            state[p + 'attn.in_proj_weight'].chunk(3),
            state[p + 'attn.in_proj_bias'].chunk(3))))
        blocks.append(b)
    pos = state[v + 'positional_embedding']
    return state, SimpleNamespace(
        patch=kernel, tokens=state[v + 'class_embedding'][None] + pos[:1],
        pos=pos[1:], pre=pre, norm=final, blocks=blocks)


def augreg():
    """Google's arrays: kernels are (in, out), heads are an axis."""
    arrays = {}

    def dense(name, *shape, bias):
        arrays[f'{name}/kernel'] = draw(*shape)
        arrays[f'{name}/bias'] = draw(*bias)
        kernel = arrays[f'{name}/kernel']
        wide = math.prod(bias)
        return kernel.reshape(-1, wide).T, arrays[f'{name}/bias'].flatten()

    def scaled(name):
        arrays[f'{name}/scale'], arrays[f'{name}/bias'] = (
            1 + draw(WIDTH), draw(WIDTH))
        return arrays[f'{name}/scale'], arrays[f'{name}/bias']

    arrays['cls'] = draw(1, 1, WIDTH)
    arrays['embedding/kernel'] = draw(16, 16, 3, WIDTH)
    arrays['embedding/bias'] = draw(WIDTH)
    arrays['Transformer/posembed_input/pos_embedding'] = draw(
        1, 1 + GRID**2, WIDTH)
    blocks = []
    for i in range(DEPTH):
        p = f'Transformer/encoderblock_{i}/'
        m = p + 'MultiHeadDotProductAttention_1/'
        b = dict(n1=scaled(p + 'LayerNorm_0'), n2=scaled(p + 'LayerNorm_2'))
        for name in ('query', 'key', 'value'):
            b[name[0]] = dense(m + name, WIDTH, HEADS, WIDTH // HEADS,
                               bias=(HEADS, WIDTH // HEADS))
        b['out'] = dense(m + 'out', HEADS, WIDTH // HEADS, WIDTH,
                         bias=(WIDTH, ))
        b['fc1'] = dense(p + 'MlpBlock_3/Dense_0', WIDTH, HIDDEN,
                         bias=(HIDDEN, ))
        b['fc2'] = dense(p + 'MlpBlock_3/Dense_1', HIDDEN, WIDTH,
                         bias=(WIDTH, ))
        blocks.append(b)
    final = scaled('Transformer/encoder_norm')
    dense('head', WIDTH, 5, bias=(5, ))
    dense('pre_logits', WIDTH, WIDTH, bias=(WIDTH, ))
    pos = arrays['Transformer/posembed_input/pos_embedding'][0]
    return arrays, SimpleNamespace(
        # A convolution: out, in, height, width.
        patch=(arrays['embedding/kernel'].permute(3, 2, 0, 1),
               arrays['embedding/bias']),
        tokens=arrays['cls'][0] + pos[:1], pos=pos[1:], pre=None, norm=final,
        blocks=blocks)


def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


SCALED = dict(layer_scale_init_value=1e-5)
FILES = {
    'timm': (timm, {}, {}),
    'mae': (mae, {}, {}),
    'dinov2': (dinov2, SCALED, {}),
    'dinov2, chunks': (lambda: dinov2(chunks=True), SCALED, {}),
    'dinov2, registers': (lambda: dinov2(4), dict(SCALED, num_registers=4),
                          {}),
    'timm, registers': (timm_registers, dict(SCALED, num_registers=2), {}),
    'deit, distilled': (deit_distilled, dict(num_registers=1), {}),
    'deit3': (deit3, SCALED, {}),
    'hf dinov2': (hf_dinov2, SCALED, {}),
    'hf dinov2, bare': (lambda: hf_dinov2(''), SCALED, {}),
    'hf vit': (hf_vit, dict(norm_cfg=dict(type='LN', eps=1e-12)),
               dict(eps=1e-12)),
    'clip': (clip, dict(
        pre_norm=True, norm_cfg=dict(type='LN', eps=1e-5),
        layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU'))),
        dict(act=quick_gelu, eps=1e-5)),
    'augreg': (augreg, {}, {}),
}


def save(state, path, kind='state_dict'):
    if path.suffix == '.npz':
        np.savez(path, **{k: v.numpy() for k, v in state.items()})
    else:
        torch.save({kind: state} if kind else state, path)
    return str(path)


def load(path, tuner='Mona', **kwargs):
    net = nano_vit(tuner, allow_random_base=False, init_cfg=dict(
        type='Pretrained', checkpoint=path), **kwargs)
    net.init_weights()
    return net.eval()


@pytest.mark.parametrize('name', FILES)
def test_file_computes_what_its_own_network_does(name, tmp_path):
    make, kwargs, how = FILES[name]
    state, w = make()
    path = save(state, tmp_path / ('a.npz' if name == 'augreg' else 'a.pth'),
                kind='' if name == 'clip' else 'model')
    x = image(2, 3, 64, 64)
    expected = forward(x, w, **how)
    for _ in range(2):  # in its layout, and then in mm's
        net = load(path, 'Fixed', out_type='raw', **kwargs)
        torch.testing.assert_close(net(x)[0], expected, atol=2e-5, rtol=2e-5)
        path = save(net.state_dict(), tmp_path / 'mm.pth')


@pytest.mark.parametrize('name', ['timm', 'dinov2', 'mae'])
def test_timm_layout_goes_back(name):
    timm_layout = TunedVisionTransformer.layouts[0]
    state, _ = FILES[name][0]()
    assert timm_layout.knows(state)
    back = timm_layout.from_mm(timm_layout.to_mm(state))
    assert set(back) == set(state)
    assert all(torch.equal(back[k], state[k]) for k in state)


def test_heads_and_final_norm_are_left_out_and_said(tmp_path, caplog):
    state, _ = timm()
    path = save(state, tmp_path / 'timm.pth', 'model')
    net = load(path, final_norm=False)
    assert 'ln1.weight' not in net.state_dict()
    assert torch.equal(net.cls_token, state['cls_token'])


@pytest.mark.parametrize('map_final_norm', [True, False])
def test_norm_of_the_average_starts_anew_unless_asked(tmp_path,
                                                      map_final_norm):
    state, _ = timm()
    path = save(state, tmp_path / 'timm.pth')
    net = load(path, out_type='avg_featmap', final_norm=False,
               map_final_norm=map_final_norm)
    expected = state['norm.weight'] if map_final_norm else torch.ones(WIDTH)
    assert torch.equal(net.ln2.weight, expected)
    state['fc_norm.weight'] = state.pop('norm.weight') + 1  # fine-tuned
    state['fc_norm.bias'] = state.pop('norm.bias')
    net = load(save(state, tmp_path / 'tuned.pth'), out_type='avg_featmap',
               final_norm=False, map_final_norm=map_final_norm)
    assert torch.equal(net.ln2.weight, state['fc_norm.weight'])


def test_class_token_of_a_file_is_left_out_if_there_is_none(tmp_path):
    state, w = timm()
    net = load(save(state, tmp_path / 'timm.pth'), with_cls_token=False)
    assert torch.equal(net.pos_embed[0], w.pos)


@pytest.mark.parametrize('hw', [(5, 5), (3, 7)])
def test_positions_are_resized_apart_from_the_class_tokens(tmp_path, hw):
    state, w = timm()
    net = load(save(state, tmp_path / 'timm.pth'),
               img_size=(16 * hw[0], 16 * hw[1]))
    grid = w.pos.view(1, GRID, GRID, WIDTH).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, hw, mode='bicubic', align_corners=False)
    torch.testing.assert_close(
        net.pos_embed[0, 1:], expected.flatten(2)[0].T)
    assert torch.equal(net.pos_embed[0, 0], state['pos_embed'][0, 0])


def test_patches_of_14_pixels_become_16_when_asked(tmp_path):
    state, w = timm()
    state['patch_embed.proj.weight'] = draw(WIDTH, 3, 14, 14)
    path = save(state, tmp_path / 'timm.pth')
    with pytest.raises(CheckpointError, match='patch_embed.projection'):
        load(path)
    net = load(path, fit_patch=True)
    torch.testing.assert_close(
        net.patch_embed.projection.weight,
        F.interpolate(state['patch_embed.proj.weight'], (16, 16),
                      mode='bicubic', align_corners=False))
    assert net.facts()['fit_patch'] is True


def drop(state, key):
    del state[key]


def add(state, key):
    state[key] = draw(WIDTH)


@pytest.mark.parametrize('change, told', [
    (lambda s: drop(s, 'blocks.2.mlp.fc1.bias'), 'layers.2.ffn.layers.0.0'),
    (lambda s: add(s, 'blocks.2.ls1.gamma'), 'layers.2.attn.gamma1.weight'),
    (lambda s: add(s, 'blocks.4.norm1.weight'), 'layers.4.ln1.weight'),
    (lambda s: add(s, 'register_tokens'), 'register_tokens'),
    (lambda s: drop(s, 'norm.weight'), 'ln1.weight'),
    (lambda s: s['cls_token'].fill_(math.nan), 'cls_token'),
])
def test_every_tensor_is_accounted_for(tmp_path, change, told):
    state, _ = timm()
    change(state)
    with pytest.raises(CheckpointError, match=told):
        load(save(state, tmp_path / 'timm.pth'))


def test_a_part_of_query_key_and_value_is_refused(tmp_path):
    state, _ = hf_dinov2()
    del state['dinov2.encoder.layer.1.attention.attention.key.weight']
    with pytest.raises(CheckpointError, match='layers.1.attn.qkv.weight: key '
                       'missing'):
        load(save(state, tmp_path / 'hf.pth'), **SCALED)


def test_an_archive_with_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / 'a.npz', cls=np.array([dict()], dtype=object))
    with pytest.raises(CheckpointError, match='no archive of numeric'):
        read_checkpoint(str(tmp_path / 'a.npz'))
    (tmp_path / 'b.npz').write_bytes(b'PK\3\4 no archive')
    with pytest.raises(CheckpointError, match='no archive of numeric'):
        read_checkpoint(str(tmp_path / 'b.npz'))


def test_mmpretrains_own_file_of_a_classifier_fits(tmp_path):
    plain = plain_vit(out_type='cls_token')
    shake(plain)
    state = {f'backbone.{k}': v for k, v in plain.state_dict().items()}
    state.update({'head.layers.head.weight': draw(5, WIDTH)})
    net = load(save(state, tmp_path / 'mm.pth'), 'Fixed',
               out_type='cls_token')
    torch.testing.assert_close(net(image()), plain(image()), atol=1e-6,
                               rtol=1e-6)


@pytest.mark.parametrize('name', ['hf dinov2', 'clip', 'augreg'])
def test_convert_tool_writes_mms_names_without_heads(tmp_path, name):
    make, kwargs, how = FILES[name]
    state, w = make()
    path = save(state, tmp_path / ('a.npz' if name == 'augreg' else 'a.pth'))
    result = convert_file(path, str(tmp_path / 'mm.pth'))
    assert result.layout == name.split()[0] and result.tuner == 'none'
    assert result.dropped
    net = plain_vit(out_type='raw', **kwargs)
    net.load_state_dict(read_checkpoint(str(tmp_path / 'mm.pth'))[
        'state_dict'], strict=True)
    x = image(2, 3, 64, 64)
    torch.testing.assert_close(net(x)[0], forward(x, w, **how), atol=2e-5,
                               rtol=2e-5)


def test_mms_own_names_are_not_taken_for_another_familys():
    state = plain_vit().state_dict()
    result = convert(state)
    assert result.layout == 'mm' and set(result.tensors) == set(state)
