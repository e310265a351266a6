"""A base that is shared out over two processes trains like a whole one."""
import json
import os
import re

import pytest
import runs
import torch
from families import FAMILIES, refuses, tiny
from forked import fork_two, in_two
from helpers import TUNERS, image, loss_of
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import MMFullyShardedDataParallel
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import FlexibleRunner
from torch import nn

from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.digest import whole
from mona_mm.checkpoint.record import KEY
from mona_mm.compat import metadata_of
from mona_mm.engine import preflight
from mona_mm.engine.device import init_cpu_group
from mona_mm.engine.shard import set_shard, shard
from mona_mm.errors import ConfigError
from mona_mm.tuners.base import tuner_class


@HOOKS.register_module(force=True)
class GradNorms(Hook):
    """Appends the norm of all gradients, by iteration, to a file."""

    def after_train_iter(self, runner, *args, **kwargs):
        found = runner.message_hub.get_scalar('train/grad_norm').current()
        with open(f'{runner.work_dir}/norms{runner.rank}.txt', 'a') as file:
            file.write(f'{runner.iter} {float(found)!r}\n')


@MODELS.register_module(force=True)
class HalfClassifier(runs.TinyClassifier):
    """Computes its backbone, and nothing else, in bfloat16."""

    def features(self, inputs):
        with torch.autocast('cpu', torch.bfloat16):
            return super().features(inputs).float()


@MODELS.register_module(force=True)
class ScaledClassifier(runs.TinyClassifier):
    """Has a parameter that is a number, as some heads do."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.scale = nn.Parameter(torch.tensor(1.))

    def features(self, inputs):
        return super().features(inputs) * self.scale


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return runs.save_base(tmp_path_factory.mktemp('base') / 'base.pth')


def config(folder, base, **options) -> dict:
    """9 iterations of two processes: 3 epochs."""
    folder.mkdir(exist_ok=True)
    cfg = runs.config(
        folder, base, by_epoch=False, tuner='Mona',
        hook=dict(interval=3, save_best='accuracy', rule='greater'),
        randomness=dict(seed=7, diff_rank_seed=True),
        custom_imports=dict(imports=['runs']),
        custom_hooks=[dict(type='RankLosses'), dict(type='GradNorms')],
        log_level='INFO', **options)
    cfg['default_hooks']['delta'] = dict(type='mona_mm.DeltaCheckpointHook')
    cfg['optim_wrapper']['clip_grad'] = dict(max_norm=1.)
    return cfg


@pytest.fixture(scope='module')
def plain(base, tmp_path_factory):
    """What two processes with the whole model each (DDP) have made."""
    folder = tmp_path_factory.mktemp('plain')
    assert fork_two(config(folder, base)) == [0, 0]
    return folder


@pytest.fixture(scope='module')
def shared(base, tmp_path_factory):
    """The same, shared out; it checks that what should train does."""
    folder = tmp_path_factory.mktemp('shared')
    cfg = config(folder, base)
    cfg['custom_hooks'].append(
        dict(type='mona_mm.TrainabilityCheckHook', after=3))
    assert fork_two(cfg, shard='float32') == [0, 0]
    return folder


def numbers(folder, name='losses', rank=0):
    lines = (folder / f'{name}{rank}.txt').read_text().splitlines()
    return {int(i): float(v) for i, v in map(str.split, lines)}


def log(folder) -> str:
    return ''.join(p.read_text() for p in sorted(folder.glob('*/*.log')))


def same(found, expected, what, **tolerance):
    """The tensors in two files, wherever they are, and all else of a kind."""
    assert type(found) is type(expected), what
    if isinstance(expected, dict):
        assert list(found) == list(expected), what
        for key in expected:
            same(found[key], expected[key], f'{what}.{key}', **tolerance)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), what
        for i, pair in enumerate(zip(found, expected)):
            same(*pair, f'{what}.{i}', **tolerance)
    elif isinstance(expected, torch.Tensor):
        assert found.device == expected.device, what
        torch.testing.assert_close(found, expected, msg=lambda m: (
            f'{what}: {m}'), **tolerance)


CLOSE = dict(rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', ['losses', 'norms'])
@pytest.mark.parametrize('rank', [0, 1])
def test_losses_and_norms_of_gradients_are_those_of_ddp(
        plain, shared, rank, name):
    found, expected = (numbers(f, name, rank) for f in (shared, plain))
    assert list(found) == list(range(9))
    assert found == pytest.approx(expected, rel=1e-4)
    assert len(set(expected.values())) == 9


def test_checkpoint_is_that_of_ddp(plain, shared):
    found, expected = (read_checkpoint(str(f / 'iter_9.pth'))
                       for f in (shared, plain))
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        if part in expected:
            same(found[part], expected[part], part, **CLOSE)
    assert len(expected['optimizer']['state']) > 60
    assert set(found['meta']) == set(expected['meta'])
    # The frozen base is recorded and not in it; all else says the same.
    records = [metadata_of(c['state_dict'])['backbone'][KEY]
               for c in (found, expected)]
    assert records[0]['base'] == records[1]['base'] is not None
    assert not any('w_msa' in name for name in found['state_dict'])
    best = [[p.name for p in f.glob('best_*')] for f in (shared, plain)]
    assert len(best[0]) == 1 and best[0] == best[1]


def test_every_process_holds_a_part_and_what_trains_has_moved(shared):
    held = re.search(r'over 2 processes: ([\d.]+) MiB of ([\d.]+) MiB',
                     log(shared))
    own, total = map(float, held.groups())
    assert own <= total / 2 + 0.1  # rounded, each
    assert 'after 3 steps every parameter that should train has moved' in log(
        shared)


def test_checkpoint_loads_into_a_model_of_one_process(
        base, plain, shared, tmp_path):
    """As tools/test.py does: the metric is the one of DDP's checkpoint."""
    found = []
    for i, folder in enumerate((shared, plain)):
        cfg = config(tmp_path / str(i), base)
        cfg.update(load_from=str(folder / 'iter_9.pth'),
                   test_dataloader=cfg['val_dataloader'], test_cfg=dict(),
                   test_evaluator=cfg['val_evaluator'])
        runner = runs.start(cfg)
        found.append(runner.test()['accuracy'])
        assert runner.model.backbone.base.source == base
    assert found[0] == found[1]


@pytest.mark.parametrize('saved_by, goes_on', [
    ('shared', 'float32'), ('plain', 'float32'),
    pytest.param('shared', None, marks=pytest.mark.slow)])
def test_run_goes_on_whoever_saved_it(
        base, request, tmp_path, saved_by, goes_on):
    folder = request.getfixturevalue(saved_by)
    assert fork_two(config(tmp_path, base), str(folder / 'iter_6.pth'),
                    goes_on) == [0, 0]
    for rank in (0, 1):
        found, whole = (numbers(f, rank=rank) for f in (tmp_path, folder))
        assert list(found) == [6, 7, 8]
        assert found == pytest.approx({i: whole[i] for i in found}, rel=1e-4)
    same(*(read_checkpoint(str(f / 'iter_9.pth'))['optimizer']
           for f in (tmp_path, folder)), 'optimizer', **CLOSE)


def test_base_without_a_known_file_is_saved_too(base, tmp_path):
    cfg = config(tmp_path, base)
    cfg['train_cfg'] = dict(by_epoch=True, max_epochs=1, val_interval=9)
    backbone = cfg['model']['backbone']
    backbone.update(init_cfg=None, allow_random_base=True)
    cfg['default_hooks']['checkpoint'].pop('save_best')
    assert fork_two(cfg, shard='float32') == [0, 0]
    state = read_checkpoint(str(tmp_path / 'iter_3.pth'))['state_dict']
    frozen = [n for n in state if n.endswith('w_msa.qkv.weight')]
    assert len(frozen) == 2
    assert all(type(value) is torch.Tensor for value in state.values())


def test_base_that_was_never_loaded_is_refused_before(base, tmp_path, capfd):
    cfg = config(tmp_path, base)
    cfg['model']['backbone']['init_cfg'] = None
    assert fork_two(cfg, shard='float32') == [1, 1]
    assert 'the frozen base was never loaded' in capfd.readouterr().err
    assert not (tmp_path / 'losses0.txt').exists()


def test_bfloat16_trains_what_one_process_with_autocast_does(base, tmp_path):
    """The base in bfloat16, and the backbone alone under autocast."""
    assert fork_two(config(tmp_path / 'two', base),
                    shard='bfloat16') == [0, 0]
    cfg = config(tmp_path / 'ddp', base)
    cfg['model']['backbone']['base_dtype'] = 'bfloat16'
    cfg['model']['type'] = 'HalfClassifier'
    assert fork_two(cfg) == [0, 0]
    found, expected = (numbers(tmp_path / name) for name in ('two', 'ddp'))
    assert found == pytest.approx(expected, rel=1e-3)
    content = read_checkpoint(str(tmp_path / 'two/iter_9.pth'))
    state = content['state_dict']
    assert {v.dtype for v in state.values()} == {torch.float32}
    assert not any('w_msa' in name for name in state)


#: Every family, and a method whose blocks look into each other.
FEW = [*((f, 'Mona', False) for f in FAMILIES if f != 'SwinTransformerMona'),
       ('TunedSwinTransformer', 'Rein', False)]
#: Every method, and blocks that are recomputed in the backward pass.
MANY = [*(('TunedSwinTransformer', t, False) for t in TUNERS),
        *((f, t, True) for f in FAMILIES for t in ('Mona', 'LoRA')
          if not refuses(f, tuner_class(t)))]


@pytest.mark.parametrize('cases', [
    FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=['few', 'many'])
def test_gradients_are_those_of_one_process(tmp_path, cases):

    def job():
        init_cpu_group('pytorch')
        found = {str(case): compare(*case) for case in cases}
        (tmp_path / f'{os.environ["RANK"]}.json').write_text(
            json.dumps(found))

    assert in_two(job) == [0, 0]
    for rank in (0, 1):
        found = json.loads((tmp_path / f'{rank}.json').read_text())
        assert len(found) == len(cases) >= 7
        for case, (tensors, distance) in found.items():
            assert tensors > 1 or 'Fixed' in case, case
            assert distance < 1e-4, case


class Weighed(nn.Module):
    """A backbone, and a loss in which something always trains."""

    def __init__(self, backbone) -> None:
        super().__init__()
        self.backbone, self.weight = backbone, nn.Parameter(torch.ones(3))

    def forward(self, images):
        return loss_of(self.backbone(images)) * self.weight.sum()


def compare(family, tuner, with_cp) -> list:
    """(trained tensors, greatest relative distance of their gradients)."""
    torch.manual_seed(3)
    net = tiny(family, tuner, with_cp=with_cp)
    for param in net.delta_parameters().values():
        nn.init.normal_(param, std=.1)
    model = Weighed(net).train()
    before = grads(model)
    shard(model, 'cpu')
    after = grads(model)
    assert before.keys() == after.keys()
    return [len(after), max(
        float((after[n].view_as(g) - g).norm() / g.norm().clamp(1e-6))
        for n, g in before.items())]


def grads(model) -> dict:
    model.zero_grad()
    torch.manual_seed(5)  # of dropout and drop-path
    model(image(2, 3, 64, 96)).backward()
    return {n: whole(p.grad).clone() for n, p in model.named_parameters()
            if p.grad is not None}


def usual(tmp_path, base) -> Config:
    return Config(dict(config(tmp_path, base), launcher='pytorch'))


@pytest.mark.parametrize('change, told', [
    (dict(launcher='none'), 'for several processes'),
    (dict(runner_type='FlexibleRunner'), "runner_type is 'FlexibleRunner'"),
    (dict(runner_type=FlexibleRunner), "runner_type is 'FlexibleRunner'"),
    (dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel')),
     "names another wrapper, 'MMFullyShardedDataParallel'"),
    (dict(find_unused_parameters=True), 'find_unused_parameters is set'),
    (dict(compile=True), 'compile is set'),
    ({'optim_wrapper.type': 'AmpOptimWrapper'}, '--shard bfloat16'),
    (dict(custom_hooks=[dict(type='EMAHook')]), 'EMAHook averages a copy'),
    ({'model.backbone.type': 'mmpretrain.SwinTransformer'},
     "'SwinTransformer' is none of mona_mm"),
])
def test_what_does_not_go_with_it_is_refused(base, tmp_path, change, told):
    cfg = usual(tmp_path, base)
    cfg.merge_from_dict(change)
    with pytest.raises(ConfigError, match=told):
        set_shard(cfg, 'float32')


def test_loss_that_must_be_scaled_is_refused_in_bfloat16(base, tmp_path):
    cfg = usual(tmp_path, base)
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='float16')
    with pytest.raises(ConfigError, match='dtype is float16'):
        set_shard(cfg, 'bfloat16')
    cfg.optim_wrapper.update(dtype='bfloat16', loss_scale='dynamic')
    set_shard(cfg, 'bfloat16')
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert cfg.model.backbone.base_dtype == 'bfloat16'
    assert not {'dtype', 'loss_scale'} & set(cfg.optim_wrapper)


@pytest.mark.parametrize('change', [
    dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel')),
    dict(model_wrapper_cfg=dict(type=MMFullyShardedDataParallel)),
    dict(strategy=dict(type='FSDPStrategy'))])
def test_fsdp_of_mmengine_is_refused_and_this_is_named(
        base, tmp_path, change):
    cfg = usual(tmp_path, base)
    cfg.merge_from_dict(change)
    with pytest.raises(ConfigError, match='train with --shard'):
        preflight.preflight(cfg, ('train', 'val'))


@pytest.mark.slow
def test_parameter_that_is_a_number_is_saved_as_one_and_goes_on(
        base, tmp_path):
    cfg = config(tmp_path, base)
    cfg['model']['type'] = 'ScaledClassifier'
    assert fork_two(cfg, shard='float32') == [0, 0]
    whole = read_checkpoint(str(tmp_path / 'iter_9.pth'))
    assert whole['state_dict']['scale'].shape == ()
    assert whole['state_dict']['scale'] != 1
    assert fork_two(cfg, str(tmp_path / 'iter_6.pth'), 'float32') == [0, 0]
    again = read_checkpoint(str(tmp_path / 'iter_9.pth'))
    for part in ('state_dict', 'optimizer'):
        same(again[part], whole[part], part, **CLOSE)
