"""A loss that is no number stops training where it happens."""
import math

import pytest
import runs
import torch

from mona_mm.engine.watch.nonfinite import NonFiniteLoss, NonFiniteLossHook


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return runs.save_base(tmp_path_factory.mktemp('base') / 'base.pth')


@runs.MODELS.register_module(force=True)
class Explodes(runs.TinyClassifier):
    """Its loss is infinite in some steps (the first is 0), or from one on."""

    def __init__(self, steps=(), since=math.inf, **kwargs) -> None:
        super().__init__(**kwargs)
        self.steps, self.since, self.count = steps, since, 0

    def forward(self, inputs, label, mode='loss'):
        found = super().forward(inputs, label, mode)
        if mode == 'loss':
            wrong = self.count in self.steps or self.count >= self.since
            self.count += 1
            found['loss'] = found['loss'] + (math.inf if wrong else 0)
        return found


def run(folder, base, options, **wrong):
    cfg = runs.config(folder, base, by_epoch=False, hook=dict(interval=4))
    cfg['model'].update(type='Explodes', **wrong)
    cfg['default_hooks']['finite_loss'].update(options)
    runner = runs.start(cfg)
    runner.train()
    return runner


def test_stops_with_iteration_rate_and_last_good_checkpoint(base, tmp_path):
    with pytest.raises(NonFiniteLoss) as error:
        run(tmp_path, base, {}, since=9)
    told = str(error.value)
    assert 'the loss is inf at iteration 10 (epoch 2, lr 0.01)' in told
    assert f'last good checkpoint: {tmp_path}/iter_8.pth' in told
    assert not (tmp_path / 'iter_12.pth').exists()


def test_looking_seldom_never_saves_a_broken_model(base, tmp_path):
    with pytest.raises(NonFiniteLoss, match='iter_4.pth'):
        run(tmp_path, base, dict(interval=7), since=7)
    assert [p.name for p in tmp_path.glob('*.pth')] == ['iter_4.pth']


@pytest.mark.parametrize('patience, wrong, stops', [
    (1, (5, 7), False), (1, (5, 6), True), (2, (5, 6), False)])
def test_patience_counts_wrong_values_in_a_row(
        base, tmp_path, patience, wrong, stops):
    options = dict(patience=patience)
    if stops:
        with pytest.raises(NonFiniteLoss, match='iteration 7'):
            run(tmp_path, base, options, steps=wrong)
    else:
        run(tmp_path, base, options, steps=wrong)


def test_warning_goes_on(base, tmp_path):
    run(tmp_path, base, dict(action='warn'), since=16)
    text = ''.join(p.read_text() for p in tmp_path.glob('*/*.log'))
    assert text.count('the loss is inf') == 1
    assert len(runs.losses(tmp_path)) == 18


def test_overflowing_gradients_with_a_finite_loss_are_no_error(
        base, tmp_path):
    cfg = runs.config(tmp_path, base)

    class Overflow(runs.Hook):
        def before_train(self, runner):
            runner.model.head.bias.register_hook(
                lambda grad: torch.full_like(grad, math.inf)
                if runner.iter == 3 else grad)
    runner = runs.start(dict(cfg, optim_wrapper=dict(
        optimizer=dict(type='SGD', lr=0.))))
    runner.register_hook(Overflow())
    runner.register_hook(_SkipInfinite())
    runner.train()
    assert len(runs.losses(tmp_path)) == 18


class _SkipInfinite(runs.Hook):
    """Skips a step with infinite gradients, as a loss scaler does."""

    def before_train(self, runner):
        optimizer = runner.optim_wrapper.optimizer
        step = optimizer.step

        def careful(*args, **kwargs):
            grads = [p.grad for g in optimizer.param_groups
                     for p in g['params'] if p.grad is not None]
            if all(bool(g.isfinite().all()) for g in grads):
                return step(*args, **kwargs)
        optimizer.step = careful


@pytest.mark.parametrize('wrong', [
    dict(interval=0), dict(patience=-1), dict(action='ignore')])
def test_wrong_argument_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NonFiniteLossHook(**wrong)
