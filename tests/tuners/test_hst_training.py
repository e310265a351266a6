"""HST trains for real: small, but on pictures, through the tools."""
import math
import os
import re
import runpy
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from mmpretrain.models import VisionTransformer
from paths import ROOT

pytestmark = pytest.mark.slow

ARCH = dict(embed_dims=48, num_layers=8, num_heads=3, feedforward_channels=96)
DIMS = [16, 24, 32, 48]
#: {task: (config of one's own data, what sees the maps, epochs, metric)}
TASKS = {
    'cascade': ('cascade-mask-rcnn_swin-nano-mona_fruits-nuts',
                dict(neck=dict(in_channels=DIMS)), 8, 'coco/segm_mAP'),
    'upernet': ('upernet_swin-nano-mona_fruits-nuts',
                dict(decode_head=dict(in_channels=DIMS),
                     auxiliary_head=dict(in_channels=32)), 12, 'mIoU'),
}


@pytest.fixture(scope='module')
def workspace(real_data, tmp_path_factory):
    """A folder with the data, and a base that was never trained."""
    folder = tmp_path_factory.mktemp('hst')
    (folder / 'data').mkdir()
    for name in ('BCCD', 'fruits_nuts'):
        if not (real_data / name).is_dir():
            pytest.skip(f'needs {name}, looked for in {real_data}')
        (folder / 'data' / name).symlink_to(real_data / name)
    text = (ROOT / 'docs/own_data.md').read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for script in re.findall(r'```python\n(.*?)```', text, re.DOTALL):
            exec(script, {})
    torch.manual_seed(0)
    torch.save(VisionTransformer(ARCH, img_size=128).state_dict(),
               folder / 'base.pth')
    return folder


@pytest.fixture(autouse=True)
def _inside(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    yield
    DefaultScope._instance_dict.clear()


def write_config(task, folder, **options) -> str:
    name, model, epochs, _ = TASKS[task]
    backbone = dict(
        _delete_=True, type='mona_mm.TunedVisionTransformer', arch=ARCH,
        img_size=128, init_cfg=dict(type='Pretrained', checkpoint='base.pth'),
        tuner=dict(type='HST', side_dims=DIMS, side_heads=(2, 2, 4, 4)))
    cfg = Config(dict(
        model=dict(model, backbone=backbone, data_preprocessor=dict(
            mean=[127.5] * 3, std=[127.5] * 3)),
        train_cfg=dict(max_epochs=epochs, val_interval=epochs),
        default_hooks=dict(checkpoint=dict(interval=epochs)),
        randomness=dict(seed=0), **options))
    path = folder / f'{task}.py'
    path.write_text(f'_base_ = [{str(ROOT / "configs/own_data" / name)!r} '
                    f'".py"]\n{cfg.pretty_text}')
    return str(path)


def call(tool, *words) -> dict:
    """Run a tool as from the command line; what it logged."""
    main = runpy.run_path(str(ROOT / f'tools/{tool}.py'))['main']
    main([*map(str, words)])
    return MessageHub.get_current_instance().log_scalars


@pytest.mark.parametrize('task', TASKS)
def test_learns_fruits_and_its_delta_gives_the_same_metric(task, tmp_path):
    config = write_config(task, tmp_path)
    *_, epochs, metric = TASKS[task]
    log = call('train', config, '--work-dir', tmp_path / 'run')
    losses = log['train/loss'].data[0]
    tenth = max(len(losses) // 10, 1)
    assert all(map(math.isfinite, losses))
    assert losses[-tenth:].mean() < .6 * losses[:tenth].mean()
    reached = log[f'val/{metric}'].current()
    print(f'{task}: loss {losses[:tenth].mean():.3f} -> '
          f'{losses[-tenth:].mean():.3f}, {metric} {reached}')
    # Background alone is one of four classes: at most 25 points of mIoU.
    assert reached > (30 if metric == 'mIoU' else .03)
    delta = tmp_path / f'run/epoch_{epochs}.pth'
    state = torch.load(delta, weights_only=False)['state_dict']
    assert not any(k.endswith('attn.qkv.weight') for k in state)
    assert any('.ln1.' in k for k in state)  # norms of the blocks train
    tested = call('test', config, delta, '--work-dir', tmp_path / 'test')
    assert tested[f'test/{metric}'].current() == reached


@pytest.mark.parametrize('options', [
    {}, {'model.backbone.tuner.num_tokens': 0}])
def test_two_processes_train_without_unused_parameters(options, tmp_path):
    config = write_config('upernet', tmp_path)
    env = dict(os.environ, PYTHON=sys.executable, OMP_NUM_THREADS='1',
               PYTHONPATH=str(ROOT))
    done = subprocess.run(
        ['bash', ROOT / 'tools/dist_train.sh', config, '2', '--work-dir',
         tmp_path / 'pair', '--cfg-options', 'train_cfg.max_epochs=1',
         'train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1',
         # Batch norm in the heads needs two pictures on each process.
         'train_dataloader.dataset.indices=4',
         *(f'{k}={v}' for k, v in options.items())],
        env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / 'pair/epoch_1.pth').is_file()
