"""The base that comes with the package."""
import json

import pytest
import torch
from helpers import shipped_base
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from paths import ROOT

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.checkpoint import cache, fetch
from mona_mm.checkpoint.digest import file_digest
from mona_mm.errors import CheckpointError, ConfigError
from mona_mm.research.base import MAX_BYTES, ship

NANO = Config.fromfile(ROOT / 'configs/_base_/models/swin-nano.py').nano
FOLDER = ROOT / 'mona_mm/bases'
ARCH = {k: v for k, v in NANO.arch.items() if k != '_delete_'}


def test_config_names_the_file_of_the_record_and_nothing_else_is_there():
    record = json.loads((FOLDER / 'swin-nano_shapes.json').read_text())
    assert NANO.init_cfg.checkpoint == f'mona_mm://{record["file"]}'
    assert {p.name for p in FOLDER.iterdir()} == {
        record['file'], 'swin-nano_shapes.json'}
    path = FOLDER / record['file']
    assert path.stat().st_size == record['bytes'] <= MAX_BYTES
    assert file_digest(str(path))[:8] in path.name
    state = torch.load(path, weights_only=True)['state_dict']
    floats = [v for v in state.values() if v.is_floating_point()]
    assert {v.dtype for v in floats} == {torch.float16}
    assert sum(v.numel() for v in floats) == record['parameters']


def test_backbone_starts_from_it_wherever_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = TunedSwinTransformer(
        arch=ARCH, window_size=NANO.window_size, out_indices=(),
        tuner=dict(type='Mona', bottleneck_dims=16),
        init_cfg=dict(NANO.init_cfg))
    net.init_weights()
    state = net.state_dict()
    for name, value in shipped_base().items():
        assert torch.equal(state[name], value), name
    assert net.base.source == NANO.init_cfg.checkpoint
    # mmengine's own way to read a checkpoint finds it, too.
    found = load_checkpoint(net, NANO.init_cfg.checkpoint)
    assert set(found['state_dict']) == set(shipped_base())


def test_another_file_of_its_name_is_refused(tmp_path, monkeypatch):
    name = NANO.init_cfg.checkpoint.removeprefix(cache.SHIPPED)
    torch.save(dict(state_dict=shipped_base()), tmp_path / name)
    monkeypatch.setattr(cache, '_BASES', str(tmp_path))
    with pytest.raises(CheckpointError, match='install mona_mm again'):
        fetch(NANO.init_cfg.checkpoint)


def test_name_of_no_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(CheckpointError, match=r'mona_mm/bases/other\.pth'):
        fetch('mona_mm://other.pth')
    with pytest.raises(CheckpointError, match=r'mona_mm/bases/passwd'):
        fetch('mona_mm://../../etc/passwd')


@pytest.fixture
def work(tmp_path):
    """What a pre-training leaves, after 3 of 5 iterations."""
    torch.manual_seed(0)
    net = TunedSwinTransformer(
        arch=dict(embed_dims=8, depths=[1] * 4, num_heads=[1, 1, 2, 2]),
        window_size=4, out_indices=(), allow_random_base=True)
    folder = tmp_path / 'work'
    (folder / '20260101_000000/vis_data').mkdir(parents=True)
    torch.save(dict(
        meta=dict(iter=3), state_dict={
            **{f'backbone.{k}': v for k, v in net.state_dict().items()},
            'decode_head.conv_seg.weight': torch.zeros(2, 4, 1, 1)}),
        folder / 'iter_3.pth')
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_3.pth'))
    (folder / 'run.json').write_text(json.dumps(dict(
        config='configs/quickstart/x.py', changed=[], seed=1, total=5,
        unit='iter', wall_seconds=9., sessions=1, device='cpu', ended='now',
        versions={})))
    (folder / '20260101_000000/vis_data/scalars.json').write_text(
        '{"loss": 1.0, "iter": 2, "step": 2, "time": 0.1}\n'
        '{"mIoU": 12.5, "step": 2}\n'
        '{"loss": 1.0, "iter": 4, "step": 4, "time": 0.1}\n'
        '{"mIoU": 13.5, "step": 4}\n')
    (folder / 'x.py').write_text(
        "model = dict(backbone=dict(init_cfg=dict(\n"
        "    type='Pretrained', checkpoint='mona_mm://first-01234567.pth')))\n")
    (tmp_path / 'pictures').mkdir()
    (tmp_path / 'pictures/meta.json').write_text(json.dumps(dict(
        generator='g', version=2, arguments={}, sha256='0')))
    return folder, net


def test_backbone_is_shipped_in_half_precision_with_what_made_it(
        work, tmp_path):
    folder, net = work
    out = tmp_path / 'bases'
    out.mkdir()
    (out / 'small-00000000.pth').touch()  # an earlier one
    first = dict(file='first-01234567.pth', seed=7)
    (out / 'first.json').write_text(json.dumps(first))
    path = ship(str(folder), 'small', [str(tmp_path / 'pictures')], out)
    assert {p.name for p in out.iterdir()} == {
        path.name, 'small.json', 'first.json'}
    state = torch.load(path, weights_only=True)['state_dict']
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(state[name], value.half()), name
    assert not any('decode_head' in name for name in state)
    record = json.loads((out / 'small.json').read_text())
    assert record['iterations'] == 3 and record['planned'] == '5 iters'
    assert [v['mIoU'] for v in record['validations']] == [12.5]
    assert record['validations'][0]['iter'] == 2
    assert record['started_from'] == first
    (out / 'first.json').unlink()
    ship(str(folder), 'small', [str(tmp_path / 'pictures')], out)
    record = json.loads((out / 'small.json').read_text())
    assert record['started_from'] == 'first-01234567.pth'


def test_base_that_is_too_large_is_not_shipped(work, tmp_path, monkeypatch):
    monkeypatch.setattr('mona_mm.research.base.MAX_BYTES', 1000)
    with pytest.raises(ConfigError, match='expected 1,000 at most'):
        ship(str(work[0]), 'small', [str(tmp_path / 'pictures')],
             tmp_path / 'bases')
    assert not list((tmp_path / 'bases').iterdir())
    with pytest.raises(ConfigError, match='last_checkpoint'):
        ship(str(tmp_path), 'small', [])
