"""Parameter groups: whose parameters, with which settings."""
import pytest
import torch
from helpers import nano
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from torch import nn

CONSTRUCTOR = 'mona_mm.DeltaOptimWrapperConstructor'


class Model(nn.Module):
    """A tuned backbone and a head, as in a detector."""

    def __init__(self, tuner='Mona'):
        super().__init__()
        self.backbone = nano(tuner)
        self.head = nn.Sequential(nn.Linear(128, 8), nn.LayerNorm(8))


def build(model, **paramwise):
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor=CONSTRUCTOR,
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=.05),
            paramwise_cfg=paramwise))
    return wrapper.optimizer.param_groups


def settings(model, groups):
    """{parameter name: (lr, weight_decay)}"""
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        names[id(p)]: (g['lr'], g['weight_decay'])
        for g in groups for p in g['params']
    }


def test_exactly_the_trained_parameters_reach_the_optimizer_once():
    model = Model()
    given = [id(p) for g in build(model) for p in g['params']]
    assert sorted(given) == sorted(
        id(p) for p in model.parameters() if p.requires_grad)


def test_equal_settings_share_one_group():
    assert len(build(Model())) == 1
    groups = build(Model(), norm_decay_mult=0., delta_lr_mult=2.)
    # {delta, others} x {norm, not norm}
    assert len(groups) == 4


def test_delta_lr_mult_reaches_the_inserted_parameters_alone():
    model = Model(dict(type='Mona'))
    found = settings(model, build(model, delta_lr_mult=5.))
    delta = {f'backbone.{n}' for n in model.backbone.delta_names}
    for name, (lr, _) in found.items():
        assert lr == pytest.approx(5e-3 if name in delta else 1e-3), name


def test_delta_lr_mult_multiplies_what_custom_keys_set():
    model = Model()
    found = settings(model, build(
        model, delta_lr_mult=5.,
        custom_keys=dict(backbone=dict(lr_mult=.1))))
    key = 'backbone.stages.0.blocks.0.after_attn.gamma'
    assert found[key][0] == pytest.approx(1e-3 * .1 * 5)
    assert found['head.0.weight'][0] == 1e-3


def test_norm_rule_by_name_covers_monas_own_norm_as_released():
    model = Model()
    found = settings(model, build(
        model, custom_keys=dict(norm=dict(decay_mult=0.))))
    assert found['backbone.stages.0.blocks.0.after_attn.norm.weight'][1] == 0
    assert found['head.0.weight'][1] == .05


def test_longest_key_wins_and_cancels_the_norm_rule():
    # The release's ADE20K recipe: an extra `backbone` key.
    model = Model()
    found = settings(model, build(model, custom_keys=dict(
        norm=dict(decay_mult=0.), backbone=dict(lr_mult=1.))))
    key = 'backbone.stages.0.blocks.0.after_attn.norm.weight'
    assert found[key] == (1e-3, .05)


def test_bias_and_norm_multipliers_hold_as_in_mmengine():
    model = Model('Full')
    found = settings(model, build(
        model, norm_decay_mult=0., bias_decay_mult=.5))
    assert found['head.1.weight'][1] == 0
    assert found['head.0.bias'][1] == .025
    assert found['head.0.weight'][1] == .05


def test_log_has_one_line_per_group_and_none_per_parameter(caplog):
    logger = MMLogger.get_instance(f'groups-{id(caplog)}')
    logger.addHandler(caplog.handler)
    groups = build(Model(), norm_decay_mult=0., delta_lr_mult=2.)
    lines = [r.getMessage() for r in caplog.records]
    assert len([li for li in lines if 'parameter group' in li]) == len(groups)
    assert not [li for li in lines
                if 'requires_grad' in li or 'paramwise_options' in li]


@pytest.mark.parametrize('given, fused', [
    ({}, True), (dict(foreach=True), None), (dict(fused=False), False)])
def test_step_is_fused_unless_the_config_names_another(given, fused):
    optimizer = dict(type='AdamW', lr=1e-3, **given)
    wrapper = build_optim_wrapper(
        Model(), dict(constructor=CONSTRUCTOR, optimizer=optimizer))
    assert wrapper.optimizer.defaults['fused'] is fused


def test_fused_step_moves_parameters_like_the_plain_one():
    moved = []
    for fused in (True, False):
        torch.manual_seed(0)
        model = Model()
        wrapper = build_optim_wrapper(model, dict(
            constructor=CONSTRUCTOR,
            optimizer=dict(type='AdamW', lr=1e-3, fused=fused)))
        for _ in range(3):
            loss = sum((p**2).sum() for p in model.parameters())
            wrapper.update_params(loss)
        moved.append([p.detach() for p in model.parameters()])
    for a, b in zip(*moved):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_model_in_which_nothing_trains_is_refused():
    model = nn.ModuleDict(dict(backbone=nano('Fixed')))
    with pytest.raises(ValueError, match='no parameter of the model trains'):
        build(model)


@pytest.mark.parametrize('bad', [0, -1, 'five'])
def test_bad_delta_lr_mult_is_named(bad):
    with pytest.raises(ValueError, match='delta_lr_mult') as error:
        build(Model(), delta_lr_mult=bad)
    assert repr(bad) in str(error.value)


def test_one_step_moves_the_trained_and_leaves_the_frozen():
    model = Model()
    before = {n: p.clone() for n, p in model.named_parameters()}
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor=CONSTRUCTOR,
            optimizer=dict(type='AdamW', lr=1e-3),
            paramwise_cfg=dict(delta_lr_mult=2.)))
    features = model.backbone(torch.randn(2, 3, 64, 64))
    loss = sum((f * torch.randn_like(f)).sum() for f in features)
    loss = loss + model.head(features[-1].mean((2, 3))).square().sum()
    wrapper.update_params(loss)
    for name, param in model.named_parameters():
        moved = not torch.equal(param, before[name])
        assert moved == param.requires_grad, name
