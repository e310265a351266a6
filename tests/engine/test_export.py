"""Exported graphs compute what PyTorch computes, or are not kept."""
import runpy

import pytest
import torch
from paths import ROOT

from mona_mm.config import read_config
from mona_mm.engine import export
from mona_mm.errors import ConfigError

QUICK = ROOT / 'configs/quickstart'
SIZE = (64, 96)
WHAT = {
    'swin-nano-mona': (['logits'], ''),
    'upernet_swin-nano-mona': (['logits'], ''),
    'retinanet_swin-nano-mona': (
        [f'level{i}_{k}' for k in (0, 1) for i in range(3)],
        'decoding of boxes and NMS'),
    'cascade-mask-rcnn_swin-nano-mona': (
        [f'map{i}' for i in range(5)]
        + [f'rpn{i}_{k}' for k in (0, 1) for i in range(5)], 'RoIAlign'),
}


pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """(config, checkpoint in full) of a task, made once."""
    made = {}

    def make(name: str):
        if name not in made:
            from mona_mm.checkpoint.models import build
            cfg = read_config(str(QUICK / f'{name}_shapes.py'))
            cfg.model.backbone.update(init_cfg=None, allow_random_base=True)
            torch.manual_seed(0)
            path = tmp_path_factory.mktemp(name) / 'full.pth'
            torch.save(dict(state_dict=build(cfg).state_dict()), path)
            made[name] = cfg, str(path)
        return made[name]
    return make


@pytest.mark.parametrize('name, kind', [
    pytest.param(name, kind, marks=[] if (
        name.startswith('retinanet') and kind in ('onnx', 'torchscript'))
        else pytest.mark.slow)
    for name in WHAT for kind in export.FORMATS])
def test_file_holds_what_pytorch_computes(trained, tmp_path, name, kind):
    """For a batch that was not traced; read back here once more."""
    pytest.importorskip('onnxruntime')
    cfg, checkpoint = trained(name)
    out = str(tmp_path / f'model{export.FORMATS[kind][1]}')
    if name.startswith('upernet') and kind == 'onnx-trace':
        with pytest.raises(ConfigError, match='adaptive_avg_pool2d'):
            export.export(cfg, checkpoint, out, kind, SIZE)
        assert not list(tmp_path.iterdir())
        return
    lines = export.export(cfg, checkpoint, out, kind, SIZE)
    names, left = WHAT[name]
    assert f'output {", ".join(names)}' in lines
    assert left in '\n'.join(lines)
    assert [p.name for p in tmp_path.iterdir()] == [out.rpartition('/')[2]]

    from mona_mm.checkpoint.models import build
    model = build(cfg)
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    images = torch.randint(256, (4, 3, *SIZE)).float()
    with torch.no_grad():
        want = export.Graph(model)(images)
        found = export._read(kind, out)(images)
    for a, b in zip(want, found, strict=True):
        b = torch.as_tensor(b)
        assert (a - b).abs().max() <= 1e-4 * a.abs().max()


def test_normalisation_is_part_of_the_graph(trained):
    """Against the library's own preprocessor and forward."""
    from mona_mm.checkpoint.models import build
    cfg, checkpoint = trained('swin-nano-mona')
    model = build(cfg)
    images = torch.randint(256, (2, 3, *SIZE)).float()
    with torch.no_grad():
        ready = model.data_preprocessor(dict(inputs=images))['inputs']
        want = model(ready, mode='tensor')
        found, = export.Graph(model)(images)
    assert torch.allclose(found, want, atol=1e-6)


def test_file_that_computes_something_else_is_not_kept(trained, tmp_path,
                                                       monkeypatch):
    cfg, checkpoint = trained('swin-nano-mona')

    def wrong(kind, graph, images, path, dynamic_size):
        torch.jit.save(torch.jit.trace(
            torch.nn.Sequential(graph, Twice()), images,
            check_trace=False), path)
    monkeypatch.setattr(export, '_write', wrong)
    with pytest.raises(ConfigError, match='logits differs from PyTorch'):
        export.export(cfg, checkpoint, str(tmp_path / 'a.pt'), 'torchscript',
                      SIZE)
    assert not list(tmp_path.iterdir())


class Twice(torch.nn.Module):
    """Doubles."""

    def forward(self, outputs):
        """Give twice what came."""
        return tuple(2 * x for x in outputs)


@pytest.mark.parametrize('out, kind, told', [
    ('a.pth', 'onnx', 'ends with .onnx'),
    ('nowhere/a.onnx', 'onnx', 'its folder does not exist'),
    ('a.engine', 'tensorrt', 'expected one of onnx')])
def test_odd_arguments_are_named(tmp_path, out, kind, told):
    with pytest.raises(ConfigError, match=told):
        export.export(None, 'x', str(tmp_path / out), kind, SIZE)


@pytest.mark.slow
def test_size_that_a_graph_cannot_leave_open_is_told(trained, tmp_path):
    cfg, checkpoint = trained('swin-nano-mona')
    with pytest.raises(ConfigError, match='does not run .* at .128, 160'):
        export.export(cfg, checkpoint, str(tmp_path / 'a.pt2'),
                      'torch-export', SIZE, dynamic_size=True)


def test_tool_says_what_the_file_takes_and_gives(trained, tmp_path, capsys):
    cfg, checkpoint = trained('swin-nano-mona')
    main = runpy.run_path(str(ROOT / 'tools/export.py'))['main']
    main([str(QUICK / 'swin-nano-mona_shapes.py'), checkpoint,
          str(tmp_path / 'a.pt'), '--format', 'torchscript', '--shape', '64',
          '64', '--cfg-options', 'model.backbone.allow_random_base=True',
          'model.backbone.init_cfg=None'])
    out = capsys.readouterr().out
    assert 'input  images (B, 3, 64 x 64)' in out and 'output logits' in out
