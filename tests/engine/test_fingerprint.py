"""Going on with another model than was saved is refused by name."""
import inspect
import json

import pytest
import runs
import torch

from mona_mm.backbones import TunedBackbone
from mona_mm.checkpoint.describe import defaults, describe_tuner
from mona_mm.errors import CheckpointError
from mona_mm.registry import MODELS
from mona_mm.tuners import known_tuners
from mona_mm.tuners.base import tuner_class


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return runs.save_base(tmp_path_factory.mktemp('base') / 'base.pth')


@pytest.fixture(scope='module')
def saved(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp('saved')
    runs.start(config(folder, base)).train()
    return folder / 'epoch_3.pth'


def config(folder, base, tuner='LoRA', **options):
    cfg = runs.config(folder, base, hook=dict(interval=3))
    cfg['model']['backbone']['tuner'] = dict(type=tuner, **options)
    return cfg


def refusal(cfg, path) -> str:
    with pytest.raises(CheckpointError) as error:
        runs.start(cfg, str(path)).train()
    assert str(path) in str(error.value)
    return str(error.value)


def test_another_method_is_named(base, saved, tmp_path):
    told = refusal(config(tmp_path, base, 'Mona'), saved)
    assert 'tuner: LoRA(rank=' in told and 'Mona(bottleneck_dims=' in told
    assert 'lora_A' in told  # in the optimizer only then
    assert 'load_from' in told  # what to do instead


def test_another_setting_of_the_method_is_named(base, saved, tmp_path):
    told = refusal(config(tmp_path, base, alpha=99.), saved)
    assert 'alpha=99.0' in told and 'optimizer' not in told


def test_defaults_written_out_are_the_same_method(base, saved, tmp_path):
    from mona_mm.tuners.lora import LoRA
    runs.start(config(tmp_path, base, rank=LoRA().rank), str(saved)).train()


def test_another_base_is_noticed_by_its_weights(saved, tmp_path):
    path = runs.save_base(tmp_path / 'other.pth')
    state = torch.load(path)
    state['stages.0.blocks.0.norm1.weight'][0] += 1e-6
    torch.save(state, path)
    told = refusal(config(tmp_path / 'a', path), saved)
    assert 'the frozen base: other weights' in told


def test_same_base_in_another_place_is_the_same(saved, tmp_path):
    path = runs.save_base(tmp_path / 'moved.pth')
    runs.start(config(tmp_path / 'a', path), str(saved)).train()


def test_another_backbone_setting_is_named(base, saved, tmp_path):
    cfg = config(tmp_path, base)
    cfg['model']['backbone']['drop_path_rate'] = 0.1
    assert 'model.backbone.drop_path_rate: 0.3 then, 0.1 now' in refusal(
        cfg, saved)


def test_a_setting_that_is_added_or_removed_is_named(base, saved, tmp_path):
    cfg = config(tmp_path, base)
    del cfg['model']['backbone']['drop_path_rate']  # 0.1, the default, now
    assert 'model.backbone.drop_path_rate: 0.3 then, 0.1 now' in refusal(
        cfg, saved)
    cfg = config(tmp_path, base)
    cfg['model']['backbone']['drop_rate'] = 0.2
    assert 'model.backbone.drop_rate: 0.0 then, 0.2 now' in refusal(
        cfg, saved)


def test_a_default_of_the_backbone_written_out_is_the_same(base, saved,
                                                           tmp_path):
    cfg = config(tmp_path, base)
    cfg['model']['backbone'].update(drop_rate=0., pad_small_map=True)
    runs.start(cfg, str(saved)).train()


def test_what_changes_nothing_may_change(base, saved, tmp_path):
    cfg = config(tmp_path, base)
    cfg['model']['backbone'].update(line_by_line=True, with_cp=True,
                                    skip_dropped=False)
    runs.start(cfg, str(saved)).train()


def test_what_a_backbone_calls_free_is_one_of_its_arguments():
    for cls in (c for c in MODELS.module_dict.values()
                if isinstance(c, type) and issubclass(c, TunedBackbone)):
        assert set(cls.free) <= set(defaults(cls)), cls


@pytest.mark.parametrize('kind', known_tuners())
def test_every_argument_of_a_tuner_is_described(kind):
    cls = tuner_class(kind)
    needed = {p.name: 1 for p in inspect.signature(cls).parameters.values()
              if p.default is p.empty}
    assert describe_tuner(cls(**needed)).keys() == {'type', *defaults(cls)}


def test_fingerprints_of_before_are_compared_too(base, saved, tmp_path):
    """They held what the config gave, as JSON, and nothing else."""
    content = torch.load(saved, weights_only=False)
    print_ = content['meta']['fingerprint']
    del print_['format']
    print_['tuner'] = {k: v if k == 'type' else json.dumps(v)
                       for k, v in print_['tuner'].items()}
    given = config(tmp_path, base)['model']['backbone']
    print_['backbone'] = {k: json.dumps(v) for k, v in given.items()
                          if k not in ('type', 'tuner', 'init_cfg')}
    print_['backbone']['line_by_line'] = 'true'
    torch.save(content, tmp_path / 'old.pth')
    cfg = config(tmp_path / 'b', base)
    cfg['model']['backbone']['drop_rate'] = 0.2
    assert 'model.backbone.drop_rate: 0.0 then, 0.2 now' in refusal(
        cfg, tmp_path / 'old.pth')
    runs.start(config(tmp_path / 'c', base), str(tmp_path / 'old.pth')).train()


def test_other_optimizer_groups_are_named(base, saved, tmp_path):
    cfg = config(tmp_path, base)
    cfg['optim_wrapper']['paramwise_cfg'] = dict(delta_lr_mult=2.)
    told = refusal(cfg, saved)
    assert '1 optimizer groups then, 2 now' in told
    cfg = config(tmp_path, base)
    cfg['model']['head'] = 4
    told = refusal(cfg, saved)
    assert 'of another size: head.weight, head.bias' in told


def test_checkpoint_without_a_fingerprint_is_compared_by_counts(
        base, saved, tmp_path):
    content = torch.load(saved, weights_only=False)
    del content['meta']['fingerprint']
    torch.save(content, tmp_path / 'old.pth')
    told = refusal(config(tmp_path, base, 'Mona'), tmp_path / 'old.pth')
    # Two blocks with lora_A and lora_B, and the head's weight and bias.
    assert 'optimizer groups of [6] parameters then, of [' in told


def test_averaged_weights_do_not_hide_the_difference(base, saved, tmp_path):
    cfg = config(tmp_path, base, 'Mona')
    cfg['custom_hooks'].append(dict(type='EMAHook'))
    assert 'tuner: LoRA' in refusal(cfg, saved)


def test_plain_load_from_may_differ(base, saved, tmp_path):
    cfg = config(tmp_path, base)
    cfg['model']['backbone']['drop_path_rate'] = 0.1
    cfg['optim_wrapper']['paramwise_cfg'] = dict(delta_lr_mult=2.)
    runs.start(dict(cfg, load_from=str(saved))).train()
    assert len(runs.losses(tmp_path)) == 18


def test_rate_that_resuming_ignores_is_told(base, saved, tmp_path):
    cfg = config(tmp_path, base)
    cfg['optim_wrapper']['optimizer'].update(lr=5e-4, betas=(0.8, 0.999))
    runs.start(cfg, str(saved)).train()
    text = ''.join(p.read_text() for p in tmp_path.glob('*/*.log'))
    assert 'lr stays 0.01 as in the checkpoint; the 0.0005 of the' in text
    assert 'betas stays (0.9, 0.999)' in text


def test_same_settings_are_not_told(base, saved, tmp_path):
    runs.start(config(tmp_path, base), str(saved)).train()
    text = ''.join(p.read_text() for p in tmp_path.glob('*/*.log'))
    assert 'stays' not in text
