"""PVT: its layouts against mmdet's own conversion and timm, and counts."""
import subprocess
import sys

import pytest
import torch
from families import TINY, library, tiny
from helpers import TUNERS, image, on_meta
from mmdet.models.backbones.pvt import pvt_convert
from paths import ROOT

from mona_mm.backbones import (
    TunedPyramidVisionTransformer,
    TunedPyramidVisionTransformerV2,
)
from mona_mm.backbones.pvt.layouts import PVTNames
from mona_mm.checkpoint.convert import convert
from mona_mm.errors import CheckpointError

V1, V2 = 'TunedPyramidVisionTransformer', 'TunedPyramidVisionTransformerV2'
CLASSES = {V1: TunedPyramidVisionTransformer,
           V2: TunedPyramidVisionTransformerV2}


def known(state):
    return [layout.name for layout in PVTNames.layouts if layout.knows(state)]


def official_names(state, v2):
    """mmdet's names to those of the authors' code, written out."""
    found = {}
    for key, value in state.items():
        _, stage, part, *rest = key.split('.')
        number = int(stage) + 1
        tail = '.'.join(rest)
        if part == '0':
            name = f'patch_embed{number}.' + tail.replace(
                'projection', 'proj')
        elif part == '2':
            name = f'norm{number}.{tail}'
        elif tail == '0.pos_embed':
            name = f'pos_embed{number}'
        else:
            block, _, inner = tail.partition('.')
            block = f'block{number}.{int(block) - (not v2)}.'
            if inner.startswith('attn.attn.in_proj_'):
                kind = inner.removeprefix('attn.attn.in_proj_')
                dims = len(value) // 3
                found[f'{block}attn.q.{kind}'] = value[:dims]
                found[f'{block}attn.kv.{kind}'] = value[dims:]
                continue
            name = block + inner.replace('attn.attn.out_proj', 'attn.proj')
            for ours, theirs in (
                    ('ffn.layers.0', 'mlp.fc1'),
                    ('ffn.layers.1', 'mlp.dwconv.dwconv'),
                    ('ffn.layers.3', 'mlp.fc2'), ('ffn.layers.4', 'mlp.fc2')):
                name = name.replace(ours, theirs)
            if '.mlp.fc' in name and name.endswith('weight'):
                value = value.flatten(1)
        found[name] = value
    return found


def classifier(state, dims, v2):
    """What the authors' files hold on top."""
    more = {'head.weight': torch.zeros(5, dims), 'head.bias': torch.zeros(5)}
    if not v2:
        more.update({'norm.weight': torch.ones(dims),
                     'norm.bias': torch.zeros(dims),
                     'cls_token': torch.zeros(1, 1, dims)})
        grid = state['pos_embed4']
        state = dict(state, pos_embed4=torch.cat(
            [torch.full_like(grid[:, :1], 9), grid], 1))
    return {**state, **more}


def load(name, state, folder, **kwargs):
    torch.save(state, folder / 'base.pth')
    net = tiny(name, init_cfg=dict(
        type='Pretrained', checkpoint=str(folder / 'base.pth')),
        allow_random_base=False, **kwargs)
    net.init_weights()
    return net


@pytest.mark.parametrize('name', CLASSES)
def test_official_file_loads_as_mmdet_converts_it(name, tmp_path):
    # mmdet looks for 7 x 7 places and the class token in the last grid.
    size = {} if name == V2 else dict(pretrain_img_size=224)
    state = library(name, **size).state_dict()
    theirs = classifier(official_names(state, name == V2), 64, name == V2)
    assert known(theirs) == ['official'] and known(state) == []
    converted = pvt_convert(theirs)
    ours = convert(theirs)
    assert ours.layout == 'official'
    assert set(ours.tensors) == set(converted)
    assert all(torch.equal(ours.tensors[k], converted[k]) for k in converted)
    net = load(name, theirs, tmp_path, **size)
    own = net.state_dict()
    assert set(converted) == set(state) == set(own) - net.delta_names
    for key, value in converted.items():
        assert torch.equal(own[key], value), key
        assert torch.equal(own[key], state[key]), key


def test_class_tokens_place_is_left_out_at_any_size(tmp_path):
    state = library(V1).state_dict()  # its last grid has 2 x 2 places
    theirs = classifier(official_names(state, False), 64, False)
    net = load(V1, theirs, tmp_path)
    grid = 'layers.3.1.0.pos_embed'
    assert torch.equal(net.state_dict()[grid], state[grid])


def test_position_grids_of_another_size_are_interpolated(tmp_path, caplog):
    state = library(V1, pretrain_img_size=128).state_dict()
    net = load(V1, state, tmp_path)
    grid = 'layers.0.1.0.pos_embed'
    # 32 x 32 places to 16 x 16.
    picture = state[grid].transpose(1, 2).view(1, 8, 32, 32)
    expected = torch.nn.functional.interpolate(
        picture, size=(16, 16), mode='bicubic', align_corners=False)
    torch.testing.assert_close(
        net.state_dict()[grid], expected.flatten(2).transpose(1, 2))


@pytest.mark.parametrize('linear', [False, True])
def test_timm_file_of_v2_gives_timms_features(linear, tmp_path):
    timm = pytest.importorskip('timm', reason='an optional extra')
    pvt_v2 = pytest.importorskip('timm.models.pvt_v2')
    assert timm
    args = TINY[V2].args
    theirs = pvt_v2.PyramidVisionTransformerV2(
        depths=args['num_layers'], num_heads=args['num_heads'],
        embed_dims=[8 * h for h in args['num_heads']],
        mlp_ratios=(8, 8, 4, 4), sr_ratios=(8, 4, 2, 1), linear=linear,
        num_classes=5)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for param in theirs.parameters():
            param.add_(.1 * torch.randn(param.shape, generator=generator))
    theirs.eval()
    if linear:  # the linear variant of v2, which mmdet does not have
        with pytest.raises(CheckpointError, match='does not fit'):
            load(V2, theirs.state_dict(), tmp_path, tuner='Fixed')
        return
    assert known(theirs.state_dict()) == ['timm']
    net = load(V2, theirs.state_dict(), tmp_path, tuner='Fixed').eval()
    x = image(2, 3, 64, 96)
    with torch.no_grad():
        found, expected = net(x)[-1], theirs.forward_features(x)
    top = expected.abs().max()
    torch.testing.assert_close(found / top, expected / top, rtol=1e-5,
                               atol=2e-6)


def test_queries_without_keys_are_told(tmp_path):
    theirs = official_names(library(V2).state_dict(), True)
    del theirs['block2.0.attn.kv.weight']
    with pytest.raises(CheckpointError, match=r'block2\.0\.attn\.q\.weight'):
        load(V2, theirs, tmp_path)


def test_projection_is_a_site_and_takes_effect():

    class Doubled(torch.nn.Linear):

        def forward(self, x):
            return 2 * super().forward(x)

    from mona_mm.tuners import Tuner

    class Double(Tuner):
        sites = ('proj', )
        may_do_nothing = True

        def adapt(self, site, linear):
            new = Doubled(linear.in_features, linear.out_features)
            new.load_state_dict(linear.state_dict())
            return new

    x = image(1, 3, 64, 64)
    plain, net = tiny(V1, 'Fixed').eval(), tiny(V1, Double()).eval()
    net.load_state_dict(plain.state_dict())
    twice = tiny(V1, 'Fixed').eval()
    twice.load_state_dict({
        k: 2 * v if '.out_proj.' in k else v
        for k, v in plain.state_dict().items()})
    for line_by_line in (False, True):
        net.line_by_line = line_by_line
        for one, other in zip(net(x), twice(x)):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def expected_counts(widths, depths, ratios, reductions, grids, kernels, v2):
    """Trained parameters per method, from the widths."""
    blocks = [(c, r, s) for c, d, r, s in zip(widths, depths, ratios,
                                              reductions) for _ in range(d)]

    def block(c, r, s):
        reduced = s * s * c * c + c + 2 * c if s > 1 else 0
        depthwise = 9 * r * c + r * c if v2 else 0
        return (4 * c + 3 * c * c + 3 * c + c * c + c + reduced
                + 2 * r * c * c + r * c + c + depthwise)

    before = [3, *widths[:-1]]
    embed = sum(k * k * a * c + c + 2 * c
                for k, a, c in zip(kernels, before, widths))
    grids = 0 if v2 else sum(g * g * c for g, c in zip(grids, widths))
    after = sum(2 * c for c in widths) if v2 else 0
    n = 64
    return {
        'Full': sum(block(*b) for b in blocks) + embed + grids + after,
        'Fixed': 0,
        # Two norms, 3C and C of attention, rC and C of the MLP; then the
        # reduction with its norm, the depth-wise convolution.
        'BitFit': sum(2 * c + 4 * c + r * c + c + (2 * c if s > 1 else 0)
                      + (r * c if v2 else 0) for c, r, s in blocks) + sum(
            2 * c for c in widths) + after // 2,
        'NormTuning': sum(4 * c + (2 * c if s > 1 else 0)
                          for c, _, s in blocks) + sum(
            2 * c for c in widths) + after,
        'Partial': block(*blocks[-1]),
        'Adapter': sum(2 * (2 * n * c + n + c) for c, _, _ in blocks),
        'AdaptFormer': sum(2 * n * c + n + c for c, _, _ in blocks),
        'LoRand': sum(99 * c + 512 for c, _, _ in blocks),
        'Mona': sum(2 * ((2 * n + 5) * c + n * n + 88 * n)
                    for c, _, _ in blocks),
    }


@pytest.mark.parametrize('name, dims, heads, depths, tuners', [
    (V1, 8, [1, 2, 5, 8], [1, 2, 1, 1], TUNERS),
    (V2, 8, [1, 2, 5, 8], [1, 1, 2, 1], TUNERS),
    (V1, 64, [1, 2, 5, 8], [3, 8, 27, 3], ['Full', 'Mona'])])
def test_parameters_follow_from_the_widths(name, dims, heads, depths, tuners):
    v2 = name == V2
    expected = expected_counts(
        [dims * h for h in heads], depths, [8, 8, 4, 4], [8, 4, 2, 1],
        [56, 28, 14, 7], [7, 3, 3, 3] if v2 else [4, 2, 2, 2], v2)
    for tuner in set(expected) & set(tuners):
        with on_meta():
            share = CLASSES[name](
                embed_dims=dims, num_heads=heads, num_layers=depths,
                tuner=dict(type=tuner)).share()
        assert share.trained == expected[tuner], tuner
        assert share.frozen + share.released == expected['Full'], tuner


def test_whole_large_network_has_the_published_size():
    # arXiv 2102.12122, table 1: PVT-Large has 61.4 M parameters, among them
    # the classifier's token with its place, final norm and head.
    full = expected_counts([64, 128, 320, 512], [3, 8, 27, 3], [8, 8, 4, 4],
                           [8, 4, 2, 1], [56, 28, 14, 7], [4, 2, 2, 2],
                           False)['Full']
    outside = 2 * 512 + 2 * 512 + 1000 * 512 + 1000
    assert f'{(full + outside) / 1e6:.1f}' == '61.4'


def test_other_families_work_without_mmdet():
    code = (
        'import sys\n'
        'class Hide:\n'
        '    def find_spec(self, name, path=None, target=None):\n'
        "        if name.split('.')[0] == 'mmdet':\n"
        '            raise ModuleNotFoundError(name)\n'
        'import importlib.util\n'
        'found = importlib.util.find_spec\n'
        'importlib.util.find_spec = lambda name, *a: (\n'
        "    None if name == 'mmdet' else found(name, *a))\n"
        'sys.meta_path.insert(0, Hide())\n'
        'import mona_mm.backbones as b\n'
        'from mona_mm.registry import MODELS\n'
        "assert 'mmdet' not in sys.modules\n"
        'assert b.TunedConvNeXt and b.TunedSwinTransformer\n'
        'try:\n'
        "    MODELS.build(dict(type='TunedPyramidVisionTransformer'))\n"
        'except ImportError as error:\n'
        '    print(error)\n')
    done = subprocess.run([sys.executable, '-c', code], text=True,
                          capture_output=True, cwd=ROOT)
    assert 'a PVT builds on mmdet' in done.stdout, done.stderr
