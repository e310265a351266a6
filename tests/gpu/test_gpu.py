"""On a GPU: numerics, the four libraries under AMP, NCCL, checkpoints, costs.

``MONA_MM_GPU_TESTS_ON=cpu`` runs the same on a CPU, as far as it goes there.
"""
import math
import os
import runpy

import numpy as np
import pytest
import torch
from helpers import TUNERS, image, loss_of, nano
from mmdet.apis import inference_detector, init_detector
from test_training import (  # noqa: F401
    FAMILIES,
    SHORT,
    _forget_scope,
    _inside,
    config_of,
    main_of,
    metrics_of,
    run_distributed,
    workspace,
)

from mona_mm.checkpoint import read_checkpoint

DEVICE = os.environ.get('MONA_MM_GPU_TESTS_ON', 'cuda')
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == 'cuda' and not torch.cuda.is_available(),
                       reason='torch finds no CUDA device here')]


@pytest.fixture(autouse=True)
def _exact_float32():
    before = (torch.backends.cuda.matmul.allow_tf32,
              torch.backends.cudnn.allow_tf32)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    yield
    (torch.backends.cuda.matmul.allow_tf32,
     torch.backends.cudnn.allow_tf32) = before


def outcome(tuner, dtype, *, line_by_line, cast=None):
    """Outputs and gradients, in float64, of a net with odd map sizes."""
    torch.manual_seed(0)
    net = nano(tuner, drop_path_rate=0., line_by_line=line_by_line)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, p in sorted(net.named_parameters()):  # nothing at its init
            p += 0.05 * torch.randn(p.shape, generator=generator)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.
    net = net.to(DEVICE, dtype).train()
    with torch.autocast(DEVICE, cast or torch.bfloat16, enabled=bool(cast)):
        outputs = net(image(2, 3, 90, 122).to(DEVICE, dtype))
    loss = loss_of([o.double().cpu() for o in outputs])
    if loss.requires_grad:
        loss.backward()
    return ([o.detach().double().cpu() for o in outputs],
            {n: p.grad.double().cpu() for n, p in net.named_parameters()
             if p.grad is not None})


def distance(found, reference) -> float:
    """The larger relative error: of the outputs, of all gradients."""
    def relative(a, b):
        top = sum((x - y).square().sum() for x, y in zip(a, b))
        return float((top / sum(y.square().sum() for y in b)).sqrt())
    assert found[1].keys() == reference[1].keys()
    gradients = [[of[1][n] for n in sorted(reference[1])]
                 for of in (found, reference)]
    return max(relative(found[0], reference[0]),
               relative(*gradients) if gradients[0] else 0.)


@pytest.mark.parametrize('tuner', TUNERS)
def test_fast_forms_compute_what_is_written(tuner):
    reference = outcome(tuner, torch.float64, line_by_line=True)
    assert distance(outcome(tuner, torch.float64, line_by_line=False),
                    reference) < 1e-12
    assert distance(outcome(tuner, torch.float32, line_by_line=False),
                    reference) < 1e-4
    errors = [
        distance(outcome(tuner, torch.float32, line_by_line=written,
                         cast=torch.bfloat16), reference)
        for written in (False, True)]
    assert errors[0] < max(2 * errors[1], 1e-6)


def options(dtype, epochs=1):
    """Two steps an epoch, with mixed precision."""
    short = dict(SHORT, **{
        'train_cfg.max_epochs': epochs, 'optim_wrapper.dtype': dtype,
        'optim_wrapper.type': 'AmpOptimWrapper'})
    return [f'{key}={value}' for key, value in short.items()]


def losses(folder) -> list:
    log, = folder.glob('*/vis_data/scalars.json')
    return [float(line.split('"loss": ')[1].split(',')[0])
            for line in log.read_text().splitlines() if '"loss"' in line]


# float16 overflows in rotated losses, here as in the libraries.
PRECISIONS = [(f, d) for f in FAMILIES for d in ('bfloat16', 'float16')
              if (f, d) != ('oriented-rcnn', 'float16')]


@pytest.mark.parametrize('family, dtype', PRECISIONS)
def test_every_library_trains_tests_and_resumes_with_mixed_precision(
        root, tmp_path, family, dtype):
    config, train = config_of(root, family), main_of(root, 'train')
    folder = tmp_path / 'train'
    words = [config, '--work-dir', str(folder)]
    train([*words, '--cfg-options', *options(dtype, epochs=2)])
    assert all(map(math.isfinite, losses(folder)))
    assert metrics_of(config, tmp_path / 'test', folder / 'epoch_2.pth')
    trained = read_checkpoint(str(folder / 'epoch_2.pth'))['state_dict']
    for name in ('epoch_2.pth', 'last_checkpoint'):
        (folder / name).unlink()
    train([*words, '--resume', str(folder / 'epoch_1.pth'),
           '--cfg-options', *options(dtype, epochs=2)])
    again = read_checkpoint(str(folder / 'epoch_2.pth'))['state_dict']
    assert again.keys() == trained.keys()
    for key, value in trained.items():
        # Sums on a GPU come in any order, and AdamW's first steps have the
        # size of the learning rate, whatever the gradient's.
        assert torch.allclose(again[key].float(), value.float(), rtol=1e-2,
                              atol=1e-2), key


def test_one_process_trains_through_the_launcher(root, tmp_path):
    done = run_distributed(
        root, 'dist_train.sh', config_of(root, 'upernet'), '1', '--work-dir',
        str(tmp_path), '--cfg-options', *options('bfloat16'))
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'epoch_1.pth').exists()
    assert 'Distributed training: True' in done.stdout


def test_a_checkpoint_of_one_device_works_on_the_other(root, tmp_path):
    config = config_of(root, 'retinanet')
    main_of(root, 'train')([config, '--work-dir', str(tmp_path),
                            '--cfg-options', *options('bfloat16')])
    picture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    path = str(tmp_path / 'epoch_1.pth')
    found = []
    for device in (DEVICE, 'cpu'):
        model = init_detector(config, path, device=device)
        with torch.no_grad():
            maps = model.backbone(torch.from_numpy(picture).permute(
                2, 0, 1)[None].float().to(device) / 255)
        found.append([m.cpu() for m in maps])
        assert inference_detector(model, picture).pred_instances is not None
    for here, there in zip(*found):
        assert (here - there).abs().max() <= 1e-4 * there.abs().max()


def test_the_costs_are_printed(root, capsys):
    main = runpy.run_path(str(root / 'tools/benchmark.py'))['main']
    words = ['--device', DEVICE, '--against', 'full', '--runs', '4']
    if DEVICE == 'cuda':
        words += ['--arch', 'base', '--sizes', '8x512,2x224', '--dtype',
                  'bfloat16', '--new-shapes', '5', '--only',
                  'time,memory,launches,shapes']
    else:
        words += ['--sizes', '1x64', '--new-shapes', '2', '--only',
                  'time,shapes']
    with capsys.disabled():
        print()
        main(words)
