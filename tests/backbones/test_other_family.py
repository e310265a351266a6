"""A family that mona_mm has never heard of works like any other."""
import json
import runpy

import pytest
import torch
from helpers import TUNERS, image
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmpretrain.models import VisionTransformer
from other_family import OtherTransformer
from runs import config, start

from mona_mm.checkpoint import read_checkpoint
from mona_mm.engine.launch import set_tuner
from mona_mm.reports.names import name_run
from mona_mm.tuners import Tuner, build_tuner

ARCH = dict(embed_dims=32, num_layers=3, num_heads=2, feedforward_channels=48)
SIZE = dict(arch=ARCH, img_size=32, patch_size=8)
FITTING = [name for name in TUNERS
           if set(build_tuner(dict(type=name)).sites)
           <= set(OtherTransformer.sites)]


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    """A classifier of the library's, in its own file."""
    torch.manual_seed(1)
    plain = VisionTransformer(**SIZE, out_type='featmap')
    plain.init_weights()
    state = {f'backbone.{k}': v for k, v in plain.state_dict().items()}
    path = tmp_path_factory.mktemp('base') / 'vit.pth'
    torch.save(dict(state_dict={**state, 'head.fc.bias': torch.ones(2)}), path)
    return path


def other(tuner, base=None):
    kwargs = dict(allow_random_base=True) if base is None else dict(
        init_cfg=dict(type='Pretrained', checkpoint=str(base)))
    net = OtherTransformer(tuner=tuner, **SIZE, **kwargs)
    net.init_weights()
    return net


def library(base):
    net = VisionTransformer(**SIZE, out_type='featmap')
    net.load_state_dict({
        k.removeprefix('backbone.'): v
        for k, v in torch.load(base)['state_dict'].items()
        if k.startswith('backbone.')})
    net.eval()  # gives None
    return net


def test_it_computes_what_the_library_does(base):
    x = image(2, 3, 32, 48)
    for a, b in zip(other(dict(type='Fixed'), base).eval()(x),
                    library(base)(x)):
        torch.testing.assert_close(a, b)


def test_norm_tuning_knows_its_norms():
    net = other(dict(type='NormTuning'))
    trained = {n for n, p in net.named_parameters() if p.requires_grad}
    assert trained == {f'{ln}.{end}' for end in ('weight', 'bias') for ln in (
        'ln1', *(f'layers.{i}.ln{j}' for i in range(3) for j in (1, 2)))}


@pytest.mark.parametrize('name', FITTING)
def test_every_method_trains_and_its_delta_comes_back(name, base, tmp_path):
    """By a Runner; the file holds nothing of the frozen base."""
    cfg = config(tmp_path, str(base), iters=2, by_epoch=False,
                 hook=dict(interval=2))
    cfg['model']['backbone'] = dict(
        type='other_family.OtherTransformer', tuner=dict(type=name), **SIZE,
        drop_path_rate=.2,
        init_cfg=dict(type='Pretrained', checkpoint=str(base)))
    cfg['default_hooks']['delta'] = dict(type='mona_mm.DeltaCheckpointHook')
    runner = start(cfg)
    runner.model.backbone.init_weights()
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    runner.train()
    net, after = runner.model.backbone, runner.model.state_dict()
    trained = {f'backbone.{n}' for n, p in net.named_parameters()
               if p.requires_grad}
    assert all(torch.equal(before[k], after[k]) for k in after
               if k.startswith('backbone.') and k not in trained)
    assert not trained or any(
        not torch.equal(before[k], after[k]) for k in trained)
    path = str(tmp_path / 'iter_2.pth')
    stored = read_checkpoint(path)['state_dict']
    assert trained <= set(stored)
    assert not {f'backbone.{n}' for n in net.frozen.names} & set(stored)
    again = start(dict(cfg, work_dir=str(tmp_path / 'again'))).model
    load_checkpoint(again, path, strict=True)
    for a, b in zip(again.backbone.eval()(image(1, 3, 32, 32)),
                    net.eval()(image(1, 3, 32, 32))):
        assert torch.equal(a, b)


class Seen(torch.nn.Module):
    """Notes what it is given; adds one to the patches."""

    def __init__(self, whole):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.takes_tokens = whole

    def forward(self, x, hw_shape, tokens=0):
        self.seen = x.shape[1], tuple(hw_shape), tokens
        return x + self.weight


class Prompts(torch.nn.Module):

    def __init__(self, dims):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(2, dims))

    def forward(self, batch):
        return self.weight.expand(batch, -1, -1)


class Beside(torch.nn.Module):

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, images, outputs):
        self.outputs = outputs
        return tuple(self.weight * o.x for o in outputs)


class All(Tuner):
    sites = ('after_attn', 'beside_ffn', 'tokens', 'side')

    def __init__(self, whole=False):
        self.whole = whole

    def build(self, site, dims):
        return Seen(self.whole)

    def tokens(self, dims):
        return Prompts(dims)

    def side(self, backbone):
        return Beside()


@pytest.mark.parametrize('whole', [False, True])
def test_tokens_that_are_no_patches(whole, base):
    """Extra tokens come first, the class token next, then 4 x 6 patches."""
    net = other(All(whole), base).eval()
    maps = net(image(2, 3, 32, 48))
    assert [m.shape for m in maps] == [(2, 24, 32)] * 3
    for block, out in zip(net.layers, net.side.outputs):
        for site in ('after_attn', 'beside_ffn'):
            assert getattr(block, site).seen == (
                (27, (4, 6), 3) if whole else (24, (4, 6), 0))
        assert out.hw_shape == (4, 6) and out.tokens.shape == (2, 2, 32)
    # The last block by the library's parts.
    plain, x = library(base).layers[2], torch.randn(2, 25, 32)
    seq = torch.cat((net.layers[2].tokens(2), x), 1)
    first = 0 if whole else 3
    h = seq + plain.attn(plain.ln1(seq))
    h[:, first:] += 1
    y = plain.ffn(plain.ln2(h), identity=h)
    y[:, first:] += h[:, first:] + 1
    net.layers[2].hw_shape = 4, 6
    torch.testing.assert_close(net.layers[2](x), y[:, 2:])


def write_config(path, tuner):
    path.write_text('\n'.join([
        "custom_imports = dict(imports=['other_family'])",
        f'model = dict(backbone=dict(type="other_family.OtherTransformer", '
        f'tuner=dict(type={tuner!r}), arch={ARCH!r}, img_size=32, '
        'patch_size=8))']))
    return str(path)


def test_it_is_counted(root, tmp_path, capsys):
    main = runpy.run_path(str(root / 'tools/count_params.py'))['main']
    path = write_config(tmp_path / 'a.py', 'LoRA')
    main([path, '--json'])
    row = json.loads(capsys.readouterr().out)[path]
    # A: 2 x 64 x 32, B: 2 x 32 x 64; three blocks.
    assert row['by_site'] == dict(qkv=3 * 8192)
    assert row['by_stage'] == dict(layers=3 * 8192)
    assert row['total'] == 3 * 8192 + sum(
        p.numel() for p in VisionTransformer(**SIZE).parameters())


def test_it_is_measured(root, tmp_path, capsys):
    main = runpy.run_path(str(root / 'tools/benchmark.py'))['main']
    main([write_config(tmp_path / 'a.py', 'Mona'), '--sizes', '1x32',
          '--only', 'saved,time', '--runs', '1', '--warmup', '0',
          '--device', 'cpu', '--json', str(tmp_path / 'out.json')])
    assert 'Mona' in capsys.readouterr().out
    comparison, = json.loads((tmp_path / 'out.json').read_text())[
        'comparisons']
    saved = comparison['sizes']['1x32']['saved']['subjects']
    assert saved['Mona']['activations_mib'] > 0
    assert saved['full (mmpretrain)']['activations_mib'] > 0


def test_any_method_goes_on_its_configs(tmp_path):
    cfg = Config.fromfile(write_config(tmp_path / 'a.py', 'Full'))
    set_tuner(cfg, 'mona')
    assert cfg.model.backbone.type == 'other_family.OtherTransformer'
    assert cfg.model.backbone.tuner.type.endswith('Mona')


@pytest.mark.parametrize('backbone', ['other-b', 'other-v2-b', 'othervit-b16'])
def test_reports_name_it(backbone):
    leaf = name_run(f'configs/retinanet/retinanet_{backbone}-mona_1x_voc.py',
                    'Mona')
    assert (leaf.method, leaf.task) == (
        'mona', f'retinanet_{backbone}_1x_voc')
    leaf = name_run(f'configs/retinanet/retinanet_{backbone}_1x_voc.py',
                    'Full')
    assert (leaf.method, leaf.task) == (
        'full', f'retinanet_{backbone}_1x_voc')
    assert leaf.tail == '_1x_voc'
