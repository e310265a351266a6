"""Real runs of every task family, from config to metric."""
import argparse
import math
import os
import pickle
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import new_name, shipped_base
from mmengine.registry import DefaultScope

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.engine import evaluate, fit, launch, preflight
from mona_mm.research.shapes import make_shapes
from mona_mm.research.sweep import of_task

FAMILIES = ('retinanet', 'cascade-mask-rcnn', 'upernet', 'oriented-rcnn', '')
#: Two steps and one evaluation.
SHORT = {
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 1,
    'train_dataloader.batch_size': 2,
    'default_hooks.logger.interval': 1,
}


def config_of(root, family, suffix='-mona') -> str:
    name = '_'.join(filter(None, [family, f'swin-nano{suffix}_shapes.py']))
    return str(root / 'configs/quickstart' / name)


def with_tuner(root, family, tuner) -> tuple:
    """A family's config, and what ``--tuner`` says to it."""
    return of_task(config_of(root, family, ''), tuner.lower())


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    """A folder with tiny data where configs expect them."""
    folder = tmp_path_factory.mktemp('workspace')
    make_shapes(folder / 'data/shapes', train=8, val=2, per_class=1,
                val_per_class=1)
    return folder


@pytest.fixture(autouse=True)
def _inside(workspace, monkeypatch):
    monkeypatch.chdir(workspace)


def arguments(config, work_dir, **options):
    config, tuner = config if isinstance(config, tuple) else (config, None)
    return argparse.Namespace(
        config=config, work_dir=str(work_dir), launcher='none', local_rank=0,
        tuner=tuner, cfg_options=options)


def cfg_for(config, work_dir, **options):
    cfg = launch.load_config(arguments(config, work_dir, **options))
    cfg.experiment_name = new_name(os.path.basename(work_dir))
    return cfg


def train(config, work_dir, **options):
    """Train; return (backbone before, backbone after, metrics, losses)."""
    cfg = cfg_for(config, work_dir, **{**SHORT, **options})
    preflight.preflight(cfg, ('train', 'val'))
    seen = {}

    def job(runner):
        backbone = runner.model.backbone
        seen['before'] = {
            k: p.clone() for k, p in backbone.delta_parameters().items()}
        runner.train()
        hub = runner.message_hub.log_scalars
        seen['backbone'] = backbone
        seen['losses'] = [
            float(v) for v in hub['train/loss'].data[0]]
        seen['metrics'] = {
            k.removeprefix('val/'): float(v.current())
            for k, v in hub.items() if k.startswith('val/')
            and not k.endswith('time')}

    launch.run(cfg, job)
    return argparse.Namespace(**seen)


def metrics_of(config, work_dir, checkpoint):
    cfg = cfg_for(config, work_dir)
    cfg.load_from = str(checkpoint)
    found = {}

    fit.check_for_test(cfg, str(checkpoint))
    launch.run(cfg, lambda runner: found.update(runner.test()))
    return found


def check_moves(run):
    base = shipped_base()
    state = run.backbone.state_dict()
    released = {
        k for k, p in run.backbone.base_parameters().items()
        if p.requires_grad}
    for key, value in base.items():
        moved = not torch.equal(state[key], value)
        assert moved == (key in released), key
    for key, value in run.before.items():
        assert not torch.equal(state[key], value), f'{key} did not move'


@pytest.mark.parametrize('family, tuner', [
    # All methods in all of them are in test_matrix.py; of these one inserts
    # and one releases.
    *((family, 'Mona') for family in FAMILIES),
    ('', 'LoRA'), ('', 'NormTuning')])
def test_family_trains_and_its_checkpoint_reproduces_the_metric(
        root, family, tuner, tmp_path):
    config = with_tuner(root, family, tuner)
    run = train(config, tmp_path / 'train')
    assert run.losses and all(map(math.isfinite, run.losses))
    check_moves(run)
    again = metrics_of(config, tmp_path / 'test',
                         tmp_path / 'train/epoch_1.pth')
    assert run.metrics
    for key, value in run.metrics.items():
        assert again[key] == pytest.approx(value, abs=1e-12, nan_ok=True), key


def test_checkpoint_of_another_tuner_is_refused_for_testing(root, tmp_path):
    train(with_tuner(root, 'upernet', 'fixed'), tmp_path / 'fixed')
    with pytest.raises(Exception, match="tuner.type is 'Fixed'") as error:
        metrics_of(config_of(root, 'upernet'), tmp_path / 'test',
                     tmp_path / 'fixed/epoch_1.pth')
    assert 'is not a checkpoint of this config' in str(error.value)
    assert '--tuner fixed' in str(error.value)
    assert not (tmp_path / 'test').exists()


def test_training_on_a_base_that_was_never_loaded_stops(root, tmp_path):
    with pytest.raises(RuntimeError, match='never loaded'):
        train(config_of(root, 'upernet'), tmp_path / 'a',
              **{'model.backbone.init_cfg': None})


def test_testing_on_a_base_that_was_never_loaded_stops(root, tmp_path):
    cfg = cfg_for(config_of(root, 'upernet'), tmp_path)
    with pytest.raises(RuntimeError, match='never loaded'):
        launch.run(cfg, lambda runner: runner.test())


def test_base_of_another_architecture_stops_before_training(root, tmp_path):
    wide = TunedSwinTransformer(
        arch=dict(embed_dims=64, depths=[2, 2, 4, 1], num_heads=[1, 2, 4, 8]))
    torch.save(wide.state_dict(), tmp_path / 'wide.pth')
    with pytest.raises(RuntimeError, match=r'wide\.pth.*instead of'):
        train(config_of(root, 'upernet'), tmp_path / 'a', **{
            'model.backbone.init_cfg.checkpoint': str(tmp_path / 'wide.pth')})


@pytest.mark.parametrize('tool, words, told', [
    ('train', ['configs/nowhere.py'], "'configs/nowhere.py' does not exist"),
    ('train', ['{config}', '--cfg-options',
               'train_dataloader.dataset.data_root=nowhere/'],
     "data_root 'nowhere/' does not exist"),
    ('train', ['{config}', '--cfg-options', 'model.decode_head.num_classes=9'],
     'model.decode_head.num_classes=9, but the 7 classes'),
    ('train', ['{config}', '--cfg-options',
               'model.backbone.tuner.type=Monna'], "unknown type 'Monna'"),
    ('train', ['{config}', '--cfg-options',
               'model.backbone.tuner.bottleneck_dims=0'],
     'bottleneck_dims must be an integer of at least 1, but got 0'),
    ('test', ['{config}', 'lost.pth'], "'lost.pth' does not exist"),
    ('test', ['{config}', '{config}'], 'cannot be read|no plain checkpoint'),
])
def test_tool_says_what_is_wrong_and_fails(root, tmp_path, tool, words, told):
    words = [w.format(config=config_of(root, 'upernet')) for w in words]
    with pytest.raises(Exception, match=told):
        main_of(root, tool)([*words, '--work-dir', str(tmp_path)])


def main_of(root, tool):
    """The main function of a script in tools/."""
    return runpy.run_path(str(root / f'tools/{tool}.py'))['main']


def test_tool_ends_with_one_line_and_a_status_for_the_users_errors(root):
    done = subprocess.run(
        [sys.executable, root / 'tools/train.py', 'configs/nowhere.py'],
        capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(
        "error: config 'configs/nowhere.py' does not exist")
    assert 'Traceback' not in done.stderr


def test_test_writes_predictions_and_pictures_with_augmentation(
        root, tmp_path):
    config = tmp_path / 'with_tta.py'
    config.write_text(
        f"_base_ = ['{config_of(root, 'retinanet')}']\n"
        "tta_pipeline = [dict(type='LoadImageFromFile'), dict(\n"
        "    type='TestTimeAug', transforms=[\n"
        "        [dict(type='Resize', scale=(128, 128), keep_ratio=True)],\n"
        "        [dict(type='RandomFlip', prob=p) for p in (1., 0.)],\n"
        "        [dict(type='LoadAnnotations', with_bbox=True)],\n"
        "        [dict(type='PackDetInputs', meta_keys=(\n"
        "            'img_id', 'img_path', 'ori_shape', 'img_shape',\n"
        "            'scale_factor', 'flip', 'flip_direction'))]])]\n")
    train(str(config), tmp_path / 'train')
    main_of(root, 'test')([
        str(config), str(tmp_path / 'train/epoch_1.pth'), '--work-dir',
        str(tmp_path / 'test'), '--tta', '--out', str(tmp_path / 'out.pkl'),
        '--show-dir', 'pictures'])
    with open(tmp_path / 'out.pkl', 'rb') as file:
        found = pickle.load(file)
    assert len(found) == 2
    assert {'bboxes', 'scores', 'labels'} <= set(found[0]['pred_instances'])
    # As in the libraries: below the time stamp of the work dir.
    assert len(list((tmp_path / 'test').glob('*/pictures/*.jpg'))) == 2
    log, = (tmp_path / 'test').glob('*/*.log')
    assert f'pictures are in {log.parent / "pictures"}' in log.read_text()


@pytest.mark.parametrize('family, absolute', [
    ('upernet', False), ('', False), ('', True)])
def test_pictures_go_below_the_time_stamp_unless_the_folder_is_absolute(
        root, tmp_path, family, absolute):
    cfg = cfg_for(config_of(root, family), tmp_path / 'work', **{
        'model.backbone.allow_random_base': True})
    folder = tmp_path / 'elsewhere' if absolute else Path('pictures')
    evaluate.set_show(cfg, False, str(folder))
    where = launch.run(cfg, lambda runner: runner.test() and runner.log_dir)
    expected = Path(where, folder)  # an absolute one wins
    if family:  # mmseg's visualizer has a folder of its own in it
        expected = expected / 'vis_data/vis_image'
    names = {p.name for p in expected.glob('*.png')}
    assert names and not Path('pictures').exists()
    if family:  # of make_shapes above
        assert len(names) == 2


@pytest.mark.parametrize('tuner', ['mona', 'lora'])
def test_a_folded_model_predicts_the_same(root, tmp_path, tuner):
    config, option = with_tuner(root, '', tuner)
    train((config, option), tmp_path / 'train')
    scores = []
    for words in ([], ['--fuse']):
        out = tmp_path / f'{len(words)}.pkl'
        main_of(root, 'test')([
            config, str(tmp_path / 'train/epoch_1.pth'), '--work-dir',
            str(tmp_path / 'test'), '--out', str(out), *words,
            *([f'--tuner={option}'] if option else [])])
        with open(out, 'rb') as file:
            scores.append([p['pred_score'] for p in pickle.load(file)])
    plain, folded = scores
    assert len(plain) == len(folded) > 0
    for a, b in zip(plain, folded):
        assert (a - b).abs().max() < 1e-5


def test_checkpoint_with_averaged_weights_is_tested_on_them(root, tmp_path):
    config = tmp_path / 'ema.py'
    config.write_text(f"_base_ = ['{config_of(root, 'upernet')}']\n"
                      "custom_hooks = [dict(type='EMAHook', momentum=.5)]\n")
    run = train(str(config), tmp_path / 'train')
    again = metrics_of(str(config), tmp_path / 'test',
                         tmp_path / 'train/epoch_1.pth')
    assert again['mIoU'] == pytest.approx(run.metrics['mIoU'], nan_ok=True)


def test_augmentation_without_a_pipeline_is_refused(root):
    with pytest.raises(Exception, match='no tta_pipeline'):
        main_of(root, 'test')(
            [config_of(root, 'retinanet'), 'any.pth', '--tta'])


@pytest.mark.parametrize('library', ['mmdet', *(
    pytest.param(library, marks=pytest.mark.slow)
    for library in ('mmseg', 'mmpretrain', 'mmrotate'))])
def test_scope_prefix_alone_finds_the_backbone_in_every_library(library):
    code = (
        'import sys\n'
        'from mmengine.registry import MODELS, init_default_scope\n'
        f'init_default_scope({library!r})\n'
        "assert 'mona_mm' not in sys.modules\n"
        "net = MODELS.build(dict(type='mona_mm.SwinTransformerMona',\n"
        '    arch=dict(embed_dims=8, depths=[1], num_heads=[1]),\n'
        '    out_indices=(0, )))\n'
        "assert type(net.tuner).__name__ == 'Mona'\n")
    subprocess.run([sys.executable, '-c', code], check=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def run_distributed(root, script, *words):
    env = dict(
        os.environ, PYTHON=sys.executable, PORT=str(free_port()),
        OMP_NUM_THREADS='1', PYTHONPATH=str(root / 'tests'))
    return subprocess.run(
        ['bash', root / f'tools/{script}', *words], env=env, text=True,
        capture_output=True, timeout=1200)


def test_two_processes_train_delta_alone_and_agree(root, tmp_path):
    config = tmp_path / 'probed.py'
    config.write_text(
        f"_base_ = ['{config_of(root, 'upernet')}']\n"
        "custom_imports = dict(imports=['probe'])\n"
        "custom_hooks = [dict(type='ProbeHook')]\n"
        "model = dict(decode_head=dict(norm_cfg=dict(type='SyncBN')))\n")
    options = [f'{k}={v}' for k, v in SHORT.items()]
    done = run_distributed(
        root, 'dist_train.sh', str(config), '2', '--amp', '--work-dir',
        str(tmp_path), '--cfg-options', *options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count('no accelerator: mixed precision runs as float32'
                             ' and SyncBN runs as BN') == 1
    first, second = (torch.load(tmp_path / f'rank{r}.pth') for r in (0, 1))
    assert first['after'].keys() == second['after'].keys()
    for key, value in first['after'].items():
        if 'running_' not in key:  # BN statistics are each process's own
            assert torch.equal(value, second['after'][key]), key
        moved = not torch.equal(value, first['before'][key])
        if key in first['trained'] or key in first['frozen']:
            assert moved == (key in first['trained']), key
    assert first['find_unused_parameters'] is False
    tested = run_distributed(
        root, 'dist_test.sh', str(config), str(tmp_path / 'epoch_1.pth'), '2',
        '--work-dir', str(tmp_path / 'test'))
    assert tested.returncode == 0, tested.stderr[-3000:]
    alone = metrics_of(str(config), tmp_path / 'alone',
                         tmp_path / 'epoch_1.pth')
    assert float(miou(tested.stdout)) == pytest.approx(alone['mIoU'])


def miou(text: str) -> str:
    return text.split(' mIoU: ')[-1].split()[0]


@pytest.fixture(autouse=True)
def _forget_scope():
    yield
    DefaultScope._instance_dict.clear()
