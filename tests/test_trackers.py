"""What TensorBoard, MLflow and Weights & Biases receive of a real run."""
import json
import re
import struct
from importlib.util import find_spec

import pytest
from paths import ROOT

from mona_mm.engine import launch
from mona_mm.errors import ConfigError
from mona_mm.research.shapes import make_shapes

CONFIG = ROOT / 'configs/quickstart/retinanet_swin-nano-mona_shapes.py'
#: Inserted parameters learn three times as fast as the head.
OPTIONS = {
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 1,
    'train_dataloader.batch_size': 2,
    'default_hooks.logger.interval': 1,
    'default_hooks.visualization.draw': True,
    'default_hooks.visualization.interval': 1,
    'optim_wrapper.paramwise_cfg.delta_lr_mult': 3.,
}


def needs(name):
    return pytest.mark.skipif(find_spec(name) is None, reason=(
        f'{name} is not installed'))


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp('workspace')
    make_shapes(folder / 'data/shapes', train=4, val=1, per_class=1,
                val_per_class=1)
    return folder


def train(work_dir, **backend):
    """Train with a tracker; return the numbers of the run's own log."""
    words = launch.argparse.Namespace(
        config=str(CONFIG), work_dir=str(work_dir), launcher='none',
        local_rank=0, tuner=None, cfg_options={
            **OPTIONS, 'visualizer.vis_backends': [
                dict(type='LocalVisBackend'), backend]})
    cfg = launch.load_config(words)
    # In a process of its own it is the only one.
    cfg.experiment_name = cfg.visualizer.name = backend['type']
    launch.run(cfg, lambda runner: runner.train())
    (log, ) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


def expected(lines) -> dict:
    """{name: numbers in order} that a tracker has to have."""
    names = ('loss', 'loss_cls', 'lr', 'group1_lr', 'group2_lr',
             'pascal_voc/mAP')
    found = {n: [line[n] for line in lines if n in line] for n in names}
    assert all(found.values())
    # What is inserted, with and without decay; then neck and head.
    assert found['lr'] == found['group1_lr'] == pytest.approx(
        [3 * rate for rate in found['group2_lr']])
    return found


def test_tensorboard(workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(workspace)
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,
    )
    wanted = expected(train(tmp_path / 'run', type='TensorboardVisBackend'))
    (events, ) = (tmp_path / 'run').glob('*/vis_data/events.*')
    found = EventAccumulator(str(events)).Reload()
    for name, values in wanted.items():
        assert [e.value for e in found.Scalars(name)] == pytest.approx(
            values, rel=1e-6), name
    pictures = found.Images('val_img')
    assert pictures and pictures[0].encoded_image_string[:4] == b'\x89PNG'


@needs('mlflow')
def test_mlflow_in_files(workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(workspace)
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    wanted = expected(train(tmp_path / 'run', type='mona_mm.MLflowVisBackend'))
    import mlflow
    (run, ) = mlflow.search_runs(output_format='list')
    client = mlflow.MlflowClient()
    for name, values in wanted.items():
        found = client.get_metric_history(run.info.run_id, name)
        assert [m.value for m in found] == pytest.approx(values), name
    names = {f.path for f in client.list_artifacts(run.info.run_id)}
    assert 'config.py' in names
    assert any(re.fullmatch(r'val_img_\d+\.png', name) for name in names)


@needs('wandb')
def test_wandb_offline(workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(workspace)
    wanted = expected(train(tmp_path / 'run', type='WandbVisBackend',
                            init_kwargs=dict(mode='offline')))
    import wandb
    wandb.teardown()  # the run is over before its last lines are in the file
    (path, ) = (tmp_path / 'run').rglob('run-*.wandb')
    found = recorded(path)
    for name, values in wanted.items():
        assert [line[name] for line in found
                if name in line] == pytest.approx(values), name
    assert any('val_img' in key for line in found for key in line)
    assert list(path.parent.rglob('*.png'))


def recorded(path) -> list:
    """The history in the file of an offline run.

    It is a log of LevelDB's form: blocks of 32 KiB, in them pieces of records
    with a checksum (4 bytes), a length (2) and a kind (whole, first, middle,
    last); before it 7 bytes that say whose it is.
    """
    from wandb.proto.wandb_internal_pb2 import Record
    data, place, whole, lines = path.read_bytes(), 7, b'', []
    assert data.startswith(b':W&B')
    while place + 7 <= len(data):
        if -place % 2**15 < 7:  # no room for a head: the next block
            place += -place % 2**15
            continue
        length, kind = struct.unpack('<HB', data[place + 4:place + 7])
        place += 7 + length
        whole += data[place - length:place]
        if kind in (1, 4):
            record, whole = Record.FromString(whole), b''
            if record.WhichOneof('record_type') == 'history':
                lines.append({item.key or '.'.join(item.nested_key):
                              json.loads(item.value_json)
                              for item in record.history.item})
    return lines


@pytest.mark.parametrize('key', ['vis_backends', 'vis_backends.0.type'])
def test_variable_that_a_config_copies_is_refused(tmp_path, key):
    words = launch.argparse.Namespace(
        config=str(CONFIG), work_dir=str(tmp_path), launcher='none',
        local_rank=0, tuner=None, cfg_options={key: 'TensorboardVisBackend'})
    with pytest.raises(ConfigError, match=re.escape(
            f'into `visualizer`; use visualizer.{key}=...')):
        launch.load_config(words)
