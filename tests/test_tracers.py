"""What looks into a backbone by tracing: TorchScript, ONNX, FLOP counters."""
import io
import logging
from functools import partial

import pytest
import torch
from helpers import TUNERS, image
from mmcv.cnn import get_model_complexity_info as mmcv_complexity_info
from mmdet.structures import DetDataSample
from mmengine import Config
from mmengine.analysis import get_model_complexity_info
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from paths import ROOT

import mona_mm
from mona_mm.backbones import TunedSwinTransformer

#: With padded and shifted windows: maps of 9 x 13 and 5 x 7.
ARCH, SIZE = dict(embed_dims=8, depths=[2, 1], num_heads=[1, 2]), (36, 52)
CONFIGS = sorted((ROOT / 'configs/quickstart').glob('*_shapes.py'))
FORMS = ['fast', 'line by line', 'folded']
SOME_SLOW = [
    pytest.param(t, f, marks=[] if f == 'fast' or (t, f) == ('Mona', 'folded')
                 else pytest.mark.slow) for t in TUNERS for f in FORMS]
pytestmark = pytest.mark.filterwarnings('ignore')


def build(tuner, form):
    torch.manual_seed(0)
    net = TunedSwinTransformer(
        arch=ARCH, tuner=dict(type=tuner), window_size=4, out_indices=(0, 1),
        allow_random_base=True, line_by_line=form == 'line by line').eval()
    for param in net.parameters():
        if not param.any():
            torch.nn.init.normal_(param, std=.3)
    return mona_mm.fuse(net) if form == 'folded' else net


@pytest.mark.parametrize('tuner, form', SOME_SLOW)
def test_a_trace_holds_for_other_batch_sizes(tuner, form):
    """Saved and loaded; mmpretrain's own Swin is wrong there."""
    net, file = build(tuner, form), io.BytesIO()
    with torch.no_grad():
        traced = torch.jit.trace(net, image(1, 3, *SIZE), check_trace=False)
        torch.jit.save(traced, file)
        file.seek(0)
        loaded = torch.jit.load(file)
        for batch in (1, 3):
            x = image(batch, 3, *SIZE, seed=batch)
            for a, b in zip(loaded(x), net(x)):
                assert a.shape == b.shape
                assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize('tuner, form', SOME_SLOW)
def test_onnx_by_torchscript_holds_for_other_batch_sizes(tuner, form):
    pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    net, file = build(tuner, form), io.BytesIO()
    torch.onnx.export(
        net, (image(1, 3, *SIZE), ), file, dynamo=False, opset_version=17,
        input_names=['x'], dynamic_axes={'x': {0: 'batch'}})
    session = runtime.InferenceSession(file.getvalue())
    x = image(3, 3, *SIZE)
    for a, b in zip(session.run(None, {'x': x.numpy()}), net(x)):
        b = b.detach()
        assert a.shape == tuple(b.shape)
        assert (torch.from_numpy(a) - b).abs().max() <= 1e-4 * b.abs().max()


def counted(net, *inputs):
    """What mmengine counts: (FLOPs, parameters)."""
    logging.disable(logging.WARNING)
    try:
        found = get_model_complexity_info(
            net, None, inputs=inputs or (image(1, 3, *SIZE), ),
            show_table=False, show_arch=False)
        return found['flops'], found['params']
    finally:
        logging.disable(logging.NOTSET)


def flops_of(net, *inputs):
    return counted(net, *inputs)[0]


@pytest.mark.parametrize('tuner', TUNERS)
def test_flops_are_those_of_the_written_form(tuner):
    net = build(tuner, 'fast')
    flops, parameters = counted(net)
    assert (flops, parameters) == counted(build(tuner, 'line by line'))
    assert flops > 0
    assert parameters == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize('tuner', TUNERS)
def test_flops_by_hooks_are_those_of_the_written_form(tuner):
    """mmrotate's tool counts with mmcv, by hooks on every layer."""
    fast, lines = (mmcv_complexity_info(
        build(tuner, form), (3, *SIZE), print_per_layer_stat=False,
        as_strings=False) for form in ('fast', 'line by line'))
    assert fast == lines
    # It knows layers by their very class; all of SSF's are subclasses.
    assert fast[0] > 0 or tuner == 'SSF'


@pytest.mark.slow
@pytest.mark.parametrize('tuner', TUNERS)
def test_flops_of_a_folded_model_are_no_more(tuner):
    flops, parameters = counted(build(tuner, 'folded'))
    written, trained = counted(build(tuner, 'line by line'))
    assert 0 < flops <= written
    assert parameters == trained


@pytest.mark.slow
@pytest.mark.parametrize('config', CONFIGS, ids=[c.stem for c in CONFIGS])
def test_flops_of_whole_models_are_counted(config):
    """As mmdet's, mmseg's and mmpretrain's get_flops.py do."""
    config = Config.fromfile(config)
    init_default_scope(config.default_scope)
    model = revert_sync_batchnorm(MODELS.build(config.model)).eval()
    if config.default_scope in ('mmdet', 'mmrotate'):
        sample = DetDataSample(metainfo=dict(
            img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1, 1),
            batch_input_shape=(64, 64)))
        model.forward = partial(model.forward, data_samples=[sample])
    assert flops_of(model, image(1, 3, 64, 64)) > 0


def test_flops_of_an_adapter_are_counted_by_hand():
    """Two adapters a block, each 2 C n multiply-adds a token, n = 64."""
    more = flops_of(build('Adapter', 'fast')) - flops_of(
        build('Fixed', 'fast'))
    tokens = (9 * 13, 5 * 7)
    assert more == sum(t * depth * 2 * 2 * dims * 64 for t, depth, dims in zip(
        tokens, ARCH['depths'], (8, 16)))
