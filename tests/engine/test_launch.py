"""From the command line to a config."""
import argparse
import os

import pytest
from helpers import TUNERS
from mmengine.config import Config

from mona_mm.checkpoint import candidates, io
from mona_mm.engine import launch
from mona_mm.engine.device import adapt_to_cpu
from mona_mm.errors import CheckpointError, ConfigError


def parse(*words):
    parser = argparse.ArgumentParser()
    launch.add_common_arguments(parser)
    return parser.parse_args(words)


def test_missing_config_is_named_and_close_names_are_offered(
        root, monkeypatch):
    monkeypatch.chdir(root)
    wrong = 'configs/retinanet/retinanet_swin-l-monna_1x_voc.py'
    with pytest.raises(ConfigError, match='does not exist; did you mean '
                       'configs/retinanet/retinanet_swin-l-mona_1x_voc.py'):
        launch.load_config(parse(wrong))


def test_config_that_does_not_parse_is_named(tmp_path):
    (tmp_path / 'bad.py').write_text('model = dict(\n')
    with pytest.raises(ConfigError, match='bad.py.*does not parse'):
        launch.load_config(parse(str(tmp_path / 'bad.py')))


def test_text_base_in_a_pure_python_config_is_an_error_of_the_config(
        tmp_path):
    (tmp_path / 'bad.py').write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n    from .lost import *\n')
    with pytest.raises(ConfigError, match='bad.py.*ConfigParsingError.*lost'):
        launch.load_config(parse(str(tmp_path / 'bad.py')))


def test_option_on_the_unused_tuner_variable_is_refused(tmp_path):
    (tmp_path / 'a.py').write_text("tuner = dict(type='Mona')\n")
    with pytest.raises(ConfigError, match=r'model\.backbone\.tuner\.rank'):
        launch.load_config(
            parse(str(tmp_path / 'a.py'), '--cfg-options', 'tuner.rank=32'))


@pytest.mark.parametrize('word', [
    'foo', '=1', 'a b=1', '', 'a=[1,2',
    f'a={"[" * 5000}{"]" * 5000}'])
def test_option_that_is_no_key_and_value_is_explained(word, capsys):
    with pytest.raises(SystemExit):
        parse('config.py', '--cfg-options', 'a.b=1', word)
    assert 'expected KEY=VALUE' in capsys.readouterr().err


@pytest.mark.parametrize('word', ['a.b=1', 'a.0=1', 'b.9.c=1', 'c.d=1'])
def test_option_that_does_not_fit_the_config_is_explained(word, tmp_path):
    (tmp_path / 'a.py').write_text("a, b, c = 1, [dict(c=2)], 'text'\n")
    with pytest.raises(ConfigError, match=f'{word[0]}.*do not fit .*a.py'):
        launch.load_config(
            parse(str(tmp_path / 'a.py'), '--cfg-options', word))


def test_hosts_of_bases_have_to_be_allowed(tmp_path, monkeypatch):
    monkeypatch.setenv('MONA_MM_BASE_HOSTS', 'one.org')
    monkeypatch.setattr(candidates, '_allowed', set())
    (tmp_path / 'a.py').write_text('a = 1\n')
    launch.load_config(parse(str(tmp_path / 'a.py'), '--base-host', 'two.org',
                             '--base-host', '127.0.0.1:80'))
    for host in ('one.org', 'two.org', '127.0.0.1:80'):
        candidates.check_address(f'http://{host}/a.pth')
    with pytest.raises(CheckpointError, match='--base-host three.org'):
        candidates.check_address('http://three.org/a.pth')
    assert os.environ['MONA_MM_BASE_HOSTS'] == 'one.org'  # as it was


def test_trust_in_checkpoints_has_to_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv('MONA_MM_TRUST_CHECKPOINTS', '0')
    monkeypatch.setattr(io, '_trusted', set())
    (tmp_path / 'a.py').write_text("load_from = 'a.pth'\n")
    launch.load_config(parse(str(tmp_path / 'a.py')))
    assert not io.trusted('a.pth')
    launch.load_config(parse(str(tmp_path / 'a.py'), '--trust-checkpoint'))
    assert io.trusted('a.pth') and io.trusted('./a.pth')
    assert not io.trusted('base.pth')


def test_trust_is_for_the_work_dirs_checkpoints_if_none_is_named(
        tmp_path, monkeypatch):
    monkeypatch.setattr(io, '_trusted', set())
    (tmp_path / 'a.py').write_text('a = 1\n')
    (tmp_path / 'epoch_1.pth').write_bytes(b'')
    args = parse(str(tmp_path / 'a.py'), '--trust-checkpoint', '--work-dir',
                 str(tmp_path))
    launch.load_config(args)
    assert not io.trusted(str(tmp_path / 'epoch_1.pth'))
    args.resume = 'auto'
    launch.load_config(args)
    assert io.trusted(str(tmp_path / 'epoch_1.pth'))
    assert not io.trusted(str(tmp_path / 'base.pth'))


def test_work_dir_defaults_to_the_name_of_the_config(tmp_path):
    (tmp_path / 'my_config.py').write_text('a = 1\n')
    cfg = launch.load_config(parse(str(tmp_path / 'my_config.py')))
    assert cfg.work_dir == 'work_dirs/my_config'


def test_amp_replaces_the_plain_wrapper_and_no_other():
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    launch.set_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    cfg = Config(dict(optim_wrapper=dict(type='ApexOptimWrapper')))
    with pytest.raises(ConfigError, match='ApexOptimWrapper'):
        launch.set_amp(cfg)


def test_auto_scale_lr_without_a_base_batch_size_is_refused():
    with pytest.raises(ConfigError, match='base_batch_size'):
        launch.set_auto_scale_lr(Config(dict()))


def test_gpu_recipe_is_adapted_to_the_cpu_in_one_line(monkeypatch):
    monkeypatch.setattr('mona_mm.engine.device.get_device', lambda: 'cpu')
    norm = dict(type='SyncBN', requires_grad=True)
    cfg = Config(dict(
        launcher='pytorch',
        optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic'),
        model=dict(heads=[dict(norm_cfg=norm)], neck=dict(norm_cfg=norm))))
    (line, ) = adapt_to_cpu(cfg)
    assert 'float32' in line and 'BN' in line
    assert cfg.optim_wrapper == dict(type='OptimWrapper')
    assert cfg.model.heads[0].norm_cfg.type == 'BN'
    assert cfg.model.neck.norm_cfg.type == 'BN'
    assert cfg.model_wrapper_cfg.device_ids is None


def test_gpu_recipe_is_left_alone_where_there_is_an_accelerator(monkeypatch):
    monkeypatch.setattr('mona_mm.engine.device.get_device', lambda: 'cuda')
    cfg = Config(dict(optim_wrapper=dict(type='AmpOptimWrapper')))
    assert adapt_to_cpu(cfg) == []
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'


@pytest.mark.parametrize('name', TUNERS)
def test_tuner_option_puts_any_method_on_a_config(root, name):
    config = root / 'configs/retinanet/retinanet_swin-l-mona_1x_voc.py'
    cfg = launch.load_config(parse(str(config), '--tuner', name.lower()))
    assert cfg.model.backbone.tuner.type == name
    # Recorded where a dumped config is read from, under a name of its own.
    dumped = Config.fromstring(cfg.dump(), '.py')
    assert dumped.model.backbone.tuner == cfg.model.backbone.tuner
    assert cfg.work_dir.endswith(f'mona_1x_voc_{name.lower()}')


def test_tuner_option_takes_a_file_and_options_on_top(root, tmp_path):
    (tmp_path / 'mine.py').write_text("tuner = dict(type='LoRA', rank=4)\n")
    config = root / 'configs/retinanet/retinanet_swin-l_1x_voc.py'
    cfg = launch.load_config(
        parse(str(config), '--tuner', str(tmp_path / 'mine.py'),
              '--cfg-options', 'model.backbone.tuner.rank=8'))
    assert cfg.model.backbone.tuner == dict(type='LoRA', rank=8)


def test_unknown_tuner_option_lists_the_known_ones(root):
    config = root / 'configs/retinanet/retinanet_swin-l_1x_voc.py'
    with pytest.raises(ConfigError, match='monna.*adapter.*mona'):
        launch.load_config(parse(str(config), '--tuner', 'monna'))


def test_tuner_option_on_a_plain_backbone_is_refused(tmp_path):
    (tmp_path / 'a.py').write_text(
        "model = dict(backbone=dict(type='ResNet'))\n")
    with pytest.raises(ConfigError, match="'ResNet' takes no tuner"):
        launch.load_config(parse(str(tmp_path / 'a.py'), '--tuner', 'lora'))
