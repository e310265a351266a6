"""An error about a checkpoint names the options with which it would fit."""
import argparse
import inspect
import shlex

import pytest
import torch
from deltas import MICRO, micro
from helpers import TUNERS
from mmengine.config import Config

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.config import tuner_fragments
from mona_mm.engine import fit, launch
from mona_mm.errors import CheckpointError
from mona_mm.tuners.base import tuner_class

CONFIG = """model = dict(backbone=dict(
    type='mona_mm.TunedSwinTransformer', arch={arch}, tuner={tuner}))
"""
HEAD = """default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mona_mm.TunedSwinTransformer', arch={arch},
        out_indices=(3, )),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes={classes}, in_channels=64))
"""


def fragment(kind) -> dict:
    tuners = [Config.fromfile(p).tuner for p in tuner_fragments().values()]
    return next((dict(t) for t in tuners if t.type == kind), dict(type=kind))


def unusual(kind) -> dict:
    """A method's settings, with one changed that a checkpoint depends on."""
    tuner = fragment(kind)
    for name, parameter in inspect.signature(tuner_class(kind)
                                             ).parameters.items():
        value = tuner.get(name, parameter.default)
        if type(value) is int and name not in tuner_class(kind).free:
            return dict(tuner, **{name: 2 * value})
    return tuner


def options(record, backbone) -> list:
    with pytest.raises(CheckpointError) as error:
        backbone.frozen.check(record)
    told = str(error.value)
    assert 'It would fit with: ' in told
    return shlex.split(told.split('It would fit with: ')[1])


def repaired(folder, words, tuner, arch=MICRO):
    """The backbone of a config, with options on top."""
    path = folder / 'config.py'
    path.write_text(CONFIG.format(arch=arch, tuner=tuner))
    parser = argparse.ArgumentParser()
    launch.add_common_arguments(parser)
    cfg = launch.load_config(parser.parse_args([str(path), *words]))
    kwargs = dict(cfg.model.backbone)
    kwargs.pop('type')
    return TunedSwinTransformer(**kwargs)


@pytest.mark.parametrize('kind', TUNERS)
def test_options_of_the_error_make_any_tuner_fit_any_config(kind, tmp_path):
    for saved in (fragment(kind), unusual(kind)):
        record = micro(saved).frozen.record((), True)
        for other in dict.fromkeys(['Mona', 'LoRA', kind]):
            configured = fragment(other)
            backbone = micro(configured)
            if saved == configured:
                backbone.frozen.check(record)
                continue
            words = options(record, backbone)
            assert ('--tuner' in words) == (other != kind)
            repaired(tmp_path, words, configured).frozen.check(record)


@pytest.mark.parametrize('kwargs', [
    dict(out_indices=(3, )), dict(out_indices=(1, 2, 3)),
    dict(window_size=4), dict(pad_small_map=False), dict(in_channels=4),
    dict(in_channels=4, fit_channels='mean')])
def test_options_of_the_error_make_the_backbone_fit(kwargs, tmp_path):
    record = micro('LoRA', **kwargs).frozen.record((), True)
    words = options(record, micro('LoRA'))
    assert words[0] == '--cfg-options' and len(words) == 1 + len(kwargs)
    repaired(tmp_path, words, fragment('LoRA')).frozen.check(record)


def test_another_arch_is_called_by_its_name_or_its_numbers(tmp_path):
    tiny = TunedSwinTransformer('tiny', tuner=dict(type='Fixed'))
    words = options(tiny.frozen.record((), True), micro('Fixed'))
    assert words == ['--cfg-options', 'model.backbone.arch=tiny']
    wider = dict(MICRO, embed_dims=16, num_heads=[1, 1, 2, 4])
    record = TunedSwinTransformer(
        wider, tuner=dict(type='Fixed')).frozen.record((), True)
    words = options(record, micro('Fixed'))
    assert words == ['--cfg-options', 'model.backbone.arch.embed_dims=16',
                     'model.backbone.arch.num_heads=[1,1,2,4]']
    repaired(tmp_path, words, dict(type='Fixed')).frozen.check(record)


@pytest.mark.parametrize('odd', [
    dict(window_sizes=7), dict(window_sizes=[[7], {}]), dict(depths=None),
    dict(out_indices=[]), dict(arch={}), dict(pad_small_map='x' * 5000)])
def test_record_of_somebody_else_is_refused_without_options(odd):
    record = micro('Mona').frozen.record((), True)
    record.backbone.update(odd)
    with pytest.raises(CheckpointError, match='another tuner or b') as error:
        micro('Mona').frozen.check(record)
    assert 'It would fit' not in str(error.value)


def test_tuner_of_a_users_own_is_named_without_options():
    record = micro('Mona').frozen.record((), True)._replace(
        tuner=dict(type='TheirOwn', width=3))
    with pytest.raises(CheckpointError, match="'TheirOwn'") as error:
        micro('Mona').frozen.check(record)
    assert 'It would fit' not in str(error.value)


def test_another_head_is_named_with_the_options_of_the_files_own_config(
        tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(HEAD.format(arch=MICRO, classes=3))
    cfg = Config.fromfile(path)
    saved = dict(meta=dict(cfg=cfg.pretty_text),
                 state_dict=fit.outline(cfg).to_empty(device='cpu'
                                                      ).state_dict())
    torch.save(saved, tmp_path / 'three.pth')
    path.write_text(HEAD.format(arch=MICRO, classes=5))
    cfg = Config.fromfile(path)
    with pytest.raises(CheckpointError, match='of another shape') as error:
        fit.check_for_test(cfg, str(tmp_path / 'three.pth'))
    words = shlex.split(str(error.value).split('Its own config has: ')[1])
    assert words == ['--cfg-options', 'model.head.num_classes=3']
    key, value = words[1].split('=')
    cfg.merge_from_dict({key: int(value)})
    fit.check_for_test(cfg, str(tmp_path / 'three.pth'))
