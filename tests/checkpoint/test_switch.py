"""Several deltas share one base and are changed in place."""
import pytest
import torch
from deltas import based, make_base, micro, move, save_delta, with_head
from helpers import TUNERS, image

from mona_mm.checkpoint.switch import DeltaSwitch
from mona_mm.errors import CheckpointError, ConfigError
from mona_mm.registry import TUNERS as REGISTRY
from mona_mm.tuners import Tuner


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / 'base.pth')


def outputs(net):
    with torch.no_grad():
        return net.eval()(image(1, 3, 64, 64))


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second))


def trained(tmp_path, base, tuner, seed):
    model = move(with_head(based(tuner, base)), seed)
    save_delta(model, tmp_path / f'{seed}.pth')
    return model, str(tmp_path / f'{seed}.pth')


@pytest.mark.parametrize('tuner', [t for t in TUNERS if t != 'Full'])
def test_deltas_change_places_and_off_is_the_plain_base(
        tuner, tmp_path, base):
    (first, one), (second, two) = (
        trained(tmp_path, base, tuner, seed) for seed in (1, 2))
    plain = based('Fixed', base)
    expected = {'one': outputs(first.backbone),
                'two': outputs(second.backbone), None: outputs(plain)}
    net = first.backbone
    identities = [id(p) for p in net.parameters()]
    switch = DeltaSwitch(net)
    switch.load('one', one)
    switch.load('two', two)
    assert switch.names == ('one', 'two')
    for name in ('two', None, 'one', None, 'two', 'one'):
        switch.use(name)
        assert equal(outputs(net), expected[name])
    assert [id(p) for p in net.parameters()] == identities


def test_whole_model_changes_its_head_too(tmp_path, base):
    (model, one), (second, two) = (
        trained(tmp_path, base, 'Mona', seed) for seed in (1, 2))
    switch = DeltaSwitch(model)
    switch.load('one', one)
    switch.load('two', two)
    switch.use('two')
    assert equal(model.head.state_dict().values(),
                 second.head.state_dict().values())
    switch.use(None)
    assert equal(model.head.state_dict().values(),
                 second.head.state_dict().values())


def test_two_models_share_one_backbone(tmp_path, base):
    (first, one), (second, two) = (
        trained(tmp_path, base, 'Mona', seed) for seed in (1, 2))
    expected = outputs(second.backbone)
    second.backbone = first.backbone
    switch = DeltaSwitch(first.backbone)
    switch.load('two', two)
    switch.use('two')
    assert equal(outputs(second.backbone), expected)


def test_delta_of_another_base_tuner_or_kind_is_refused(tmp_path, base):
    model, one = trained(tmp_path, base, 'Mona', 1)
    switch = DeltaSwitch(model)
    other, path = trained(
        tmp_path, make_base(tmp_path / 'other.pth', seed=4), 'Mona', 2)
    with pytest.raises(CheckpointError, match='2.pth.*on another base'):
        switch.load('other', path)
    _, path = trained(tmp_path, base, 'LoRA', 3)
    with pytest.raises(CheckpointError, match="3.pth.*tuner.type is 'LoRA'"):
        switch.load('other', path)
    save_delta(model, tmp_path / 'full.pth', full=True)
    with pytest.raises(CheckpointError, match='extract_delta'):
        switch.load('other', str(tmp_path / 'full.pth'))
    torch.save(model.state_dict(), tmp_path / 'plain.pth')
    with pytest.raises(CheckpointError, match='plain.pth.*records 0'):
        switch.load('other', str(tmp_path / 'plain.pth'))
    del model.head[1]
    save_delta(model, tmp_path / 'headless.pth')
    with pytest.raises(CheckpointError, match='headless.pth.*head.1'):
        switch = DeltaSwitch(trained(tmp_path, base, 'Mona', 1)[0])
        switch.load('headless', str(tmp_path / 'headless.pth'))
    assert switch.names == ()


def test_name_that_was_not_loaded_is_refused(base):
    switch = DeltaSwitch(based('Mona', base))
    with pytest.raises(ConfigError, match="'x' was loaded; there are none"):
        switch.use('x')


def test_model_without_a_frozen_base_is_refused(base):
    with pytest.raises(ConfigError, match='has 0'):
        DeltaSwitch(torch.nn.Linear(1, 1))
    with pytest.raises(ConfigError, match='Full freezes nothing'):
        DeltaSwitch(based('Full', base))
    with pytest.raises(CheckpointError, match='source is known'):
        DeltaSwitch(micro(allow_random_base=True))


def test_tuner_that_zeros_do_not_switch_off_is_refused(base):

    class Doubling(torch.nn.Module):

        def forward(self, x, hw_shape):
            return 2 * x

    class Louder(torch.nn.LayerNorm):

        def forward(self, x):
            return 2 * super().forward(x)

    class Stubborn(Tuner):
        sites, may_do_nothing = ('ffn_out', ), True

        def build(self, site, dims):
            return Doubling()

    class Wrapping(Tuner):
        may_do_nothing = True

        def wrap(self, name, module):
            if isinstance(module, torch.nn.LayerNorm):
                module.__class__ = Louder
            return module

    assert 'Stubborn' not in REGISTRY.module_dict
    with pytest.raises(ConfigError, match="Wrapping cannot be.*'norm'"):
        DeltaSwitch(based(Wrapping(), base))
    with pytest.raises(ConfigError, match="Stubborn.*'ffn_out'"):
        DeltaSwitch(based(Stubborn(), base))
