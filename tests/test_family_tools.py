"""What users do with a trained Swin works with every family: enumerated.

The tools run as from the command line, on a run of a quickstart's config on
the family's smallest network.
"""
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from families import refuses
from forked import in_two
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from paths import ROOT
from test_matrix import CLASSES, compose, workspace  # noqa: F401
from test_training import SHORT

from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.models import build
from mona_mm.checkpoint.switch import DeltaSwitch
from mona_mm.doctor.__main__ import main as doctor
from mona_mm.engine import launch
from mona_mm.research.sweep import expand
from mona_mm.tuners.base import known_tuners, tuner_class

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _inside(workspace, monkeypatch):  # noqa: F811
    monkeypatch.chdir(workspace)
    yield
    DefaultScope._instance_dict.clear()


def call(root, tool, *words) -> dict:
    """Run a tool; what a Runner in it logged."""
    runpy.run_path(str(root / f'tools/{tool}.py'))['main'](
        [str(word) for word in words])
    return MessageHub.get_current_instance().log_scalars


def short(**options) -> list:
    return ['--cfg-options', *(
        f'{k}={v}' for k, v in {**SHORT, **options}.items())]


class Trained:
    """A config of a family, and the work dir of a run with Mona."""

    def __init__(self, root, name, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.config = folder / 'config.py'
        compose(root, 'upernet', name, 'Mona').dump(self.config)
        log = call(root, 'train', self.config, '--work-dir', folder / 'run',
                   *short())
        self.metric = log['val/mIoU'].current()
        self.delta = folder / 'run/epoch_1.pth'

    def model(self, path) -> torch.nn.Module:
        model = build(Config.fromfile(self.config))
        model.load_state_dict(read_checkpoint(str(path))['state_dict'])
        return model


@pytest.fixture(scope='module', params=CLASSES)
def trained(root, request, workspace, tmp_path_factory):  # noqa: F811
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        return Trained(root, request.param,
                       tmp_path_factory.mktemp(request.param))


def scores(model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        return model.eval()(torch.randn(1, 3, 96, 128, generator=generator))


def test_delta_is_tested_and_the_run_is_recorded(root, trained, tmp_path):
    log = call(root, 'test', trained.config, trained.delta, '--work-dir',
               tmp_path)
    assert log['test/mIoU'].current() == pytest.approx(
        trained.metric, abs=1e-12, nan_ok=True)
    found = json.loads((trained.folder / 'run/run.json').read_text())
    assert found['finished'] and found['tuner']['type'] == 'Mona'
    backbone = trained.model(trained.delta).backbone
    total = sum(p.numel() for p in backbone.parameters())
    trains = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    assert found['trained'] == trains > 0
    assert found['share'] == pytest.approx(trains / total)


def test_merged_and_extracted_again_it_is_the_same(root, trained, tmp_path):
    merged, again = tmp_path / 'merged.pth', tmp_path / 'delta.pth'
    call(root, 'merge_delta', trained.config, trained.delta, merged)
    call(root, 'extract_delta', merged, again, '--config', trained.config)
    model = trained.model(trained.delta)
    names = {f'backbone.{n}' for n in model.backbone.base_parameters()}
    assert names <= read_checkpoint(str(merged))['state_dict'].keys()
    assert not names & read_checkpoint(str(again))['state_dict'].keys()
    for path in (merged, again):
        assert torch.equal(scores(trained.model(path)), scores(model))


def test_switched_it_is_the_task_or_the_base(trained):
    model = trained.model(trained.delta)
    task = scores(model)
    switch = DeltaSwitch(model.backbone)
    switch.load('task', str(trained.delta))
    switch.use(None)
    cfg = Config.fromfile(trained.config)
    cfg.model.backbone.tuner = dict(type='Fixed')
    plain = build(cfg)
    plain.load_state_dict({
        k: v for k, v in model.state_dict().items()
        if k in plain.state_dict()})
    torch.testing.assert_close(scores(model), scores(plain))
    assert not torch.equal(scores(model), task)
    switch.use('task')
    assert torch.equal(scores(model), task)


def test_inferencers_give_what_the_model_gives(root, trained, tmp_path):
    from mmseg.apis import MMSegInferencer, inference_model, init_model
    picture = np.random.RandomState(0).randint(0, 255, (128, 128, 3), np.uint8)
    call(root, 'merge_delta', trained.config, trained.delta,
         tmp_path / 'merged.pth')
    found = [
        MMSegInferencer(str(trained.config), str(path), device='cpu')(
            picture, return_datasamples=True).seg_logits.data
        for path in (trained.delta, tmp_path / 'merged.pth')]
    model = init_model(str(trained.config), str(trained.delta), device='cpu')
    found.append(inference_model(model, picture).seg_logits.data)
    assert found[0].std() > 0
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def test_inferencer_alone_reads_the_config_in_the_file(trained):
    from mmseg.apis import MMSegInferencer
    picture = np.full((128, 128, 3), 127, np.uint8)
    found = [
        MMSegInferencer(config, str(trained.delta), device='cpu')(
            picture, return_datasamples=True).seg_logits.data
        for config in (str(trained.config), None)]
    torch.testing.assert_close(*found)


def test_tools_count_estimate_and_measure_it(root, trained, capsys, tmp_path):
    backbone = trained.model(trained.delta).backbone
    inserted = sum(p.numel() for p in backbone.delta_parameters().values())
    call(root, 'count_params', trained.config, '--json')
    counted, = json.loads(capsys.readouterr().out).values()
    assert counted['trained'] == inserted
    assert counted['total'] == sum(p.numel() for p in backbone.parameters())
    assert doctor([str(trained.config), '--size', '128', '128',
                   '--work-dir', str(tmp_path)]) in (0, 1)
    told = capsys.readouterr().out
    ours = told.partition('Config ')[2]
    assert 'WRONG' not in ours
    assert f'fits {trained.name}' in ours and 'memory' in ours
    call(root, 'benchmark', trained.config, '--sizes', '1x64',
         '--area-sizes', '64,96', '--runs', '1', '--warmup', '0', '--device',
         'cpu', '--only', 'time,saved', '--json', tmp_path / 'measured.json')
    assert 'Mona' in capsys.readouterr().out
    assert json.loads((tmp_path / 'measured.json').read_text())


def test_sweep_takes_the_methods_that_fit(trained, tmp_path):
    jobs = expand([str(trained.config)], work_dir=str(tmp_path))
    assert len(jobs) == sum(not refuses(trained.name, tuner_class(kind))
                            for kind in known_tuners())


def test_resumed_run_is_the_run_that_was_never_interrupted(
        root, trained, tmp_path):
    words = short(**{'train_cfg.max_epochs': 2, 'randomness.seed': 3,
                     'model.backbone.drop_path_rate': .3})
    call(root, 'train', trained.config, '--work-dir', tmp_path / 'whole',
         *words)
    (tmp_path / 'again').mkdir()
    (tmp_path / 'again/epoch_1.pth').write_bytes(
        (tmp_path / 'whole/epoch_1.pth').read_bytes())
    call(root, 'train', trained.config, '--work-dir', tmp_path / 'again',
         '--resume', *words)
    whole, again = (
        read_checkpoint(str(tmp_path / where / 'epoch_2.pth'))
        for where in ('whole', 'again'))
    assert whole['state_dict'].keys() == again['state_dict'].keys()
    for key, value in whole['state_dict'].items():
        assert torch.equal(value, again['state_dict'][key]), key


@pytest.mark.parametrize('tuner', ['lora', 'partial'])
def test_other_methods_by_option(root, trained, tmp_path, tuner):
    kind = {'lora': 'LoRA', 'partial': 'Partial'}[tuner]
    words = ['--tuner', tuner, '--work-dir', tmp_path, *short()]
    if refuses(trained.name, tuner_class(kind)):
        with pytest.raises(ValueError, match='cannot be served'):
            call(root, 'train', trained.config, *words)
        return
    call(root, 'train', trained.config, *words)
    with pytest.raises(Exception, match=f'--tuner {tuner}'):
        call(root, 'test', trained.config, tmp_path / 'epoch_1.pth')
    call(root, 'test', trained.config, tmp_path / 'epoch_1.pth', '--tuner',
         tuner, '--work-dir', tmp_path / 'test')


@pytest.mark.parametrize('tuner', ['mona', 'full'])
def test_two_processes_train_it_and_agree(root, trained, tmp_path, tuner):
    """Without a search for unused parameters, which would hide them."""
    config = tmp_path / 'probed.py'
    config.write_text(f"_base_ = ['{trained.config}']\n"
                      "custom_imports = dict(imports=['probe'])\n"
                      "custom_hooks = [dict(type='ProbeHook')]\n")
    train = runpy.run_path(str(root / 'tools/train.py'))['main']
    words = short(**{'train_cfg.max_epochs': 2})
    assert in_two(lambda: train([
        str(config), '--launcher', 'pytorch', '--tuner', tuner, '--work-dir',
        str(tmp_path), *words])) == [0, 0]
    first, second = (torch.load(tmp_path / f'rank{r}.pth') for r in (0, 1))
    assert first['find_unused_parameters'] is False
    for key, value in first['after'].items():
        if 'running_' not in key:  # BN statistics are each process's own
            assert torch.equal(value, second['after'][key]), key
        moved = not torch.equal(value, first['before'][key])
        if key in first['trained'] or key in first['frozen']:
            assert moved == (key in first['trained']), key


@pytest.mark.parametrize('config', sorted(
    path.stem for path in (ROOT / 'configs/quickstart').glob('*nano_shapes.py')
    if Config.fromfile(path).model.backbone.get('allow_random_base')))
def test_delta_on_a_random_base_keeps_that_base(root, config, tmp_path):
    words = [root / f'configs/quickstart/{config}.py', '--tuner', 'mona']
    log = call(root, 'train', *words, '--work-dir', tmp_path, *short())
    reached = log['val/pascal_voc/mAP'].current()
    log = call(root, 'test', *words[:1], tmp_path / 'epoch_1.pth', *words[1:],
               '--work-dir', tmp_path / 'test')
    assert log['test/pascal_voc/mAP'].current() == reached
    model = build(launch.read_config(str(words[0])))
    names = {f'backbone.{k}' for k in model.backbone.state_dict()}
    kept = read_checkpoint(str(tmp_path / 'epoch_1.pth'))['state_dict'].keys()
    assert names <= kept | {k for k in names if k.endswith(
        model.backbone.derived)}
