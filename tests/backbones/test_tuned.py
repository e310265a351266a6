"""What holds for every tuner on the Swin backbone."""
import copy
import pickle

import pytest
import torch
from helpers import TUNERS, image, loss_of, nano, on_meta, plain_nano

from mona_mm.backbones import SwinTransformerMona, TunedSwinTransformer
from mona_mm.tuners import Tuner


def meta(arch, **tuner):
    with on_meta():
        return TunedSwinTransformer(arch=arch, tuner=tuner)


#: Trained parameters in the backbone: Swin-T, Swin-B, Swin-L, run from the
#: released definitions.
RELEASED = {
    'Full': (27_520_698, 86_745_016, 194_998_164),
    'Fixed': (0, 0, 0),
    'BitFit': (76_218, 201_656, 302_484),
    'NormTuning': (26_112, 59_392, 89_088),
    'Partial': (7_091_928, 12_601_632, 28_339_632),
    'Adapter': (1_140_864, 3_107_328, 4_659_456),
    'LoRA': (1_130_496, 3_080_192, 4_620_288),
    'AdaptFormer': (570_432, 1_553_664, 2_329_728),
    'Mona': (1_408_128, 3_667_456, 5_267_712),
    # Two branches of rank 8, inner width m/2: 49.5 m + 256 per layer, two
    # layers per block; the sum of m over blocks is 4416, 12032, 18048.
    'LoRand': (99 * 4416 + 512 * 12, 1_203_456, 99 * 18048 + 512 * 24),
}
PLAIN = (27_520_698, 86_745_016, 194_998_164)


@pytest.mark.parametrize('name', RELEASED)
@pytest.mark.parametrize('i, arch', enumerate(['tiny', 'base', 'large']))
def test_trained_parameters_are_the_released_ones(name, i, arch):
    share = meta(arch, type=name).share()
    assert share.trained == RELEASED[name][i]
    assert share.frozen + share.released == PLAIN[i]


def test_lorand_reaches_the_papers_count_at_swin_l():
    # Paper, table 2: 0.66 %, which fits an inner width of 64.
    share = meta('large', type='LoRand', bottleneck_dims=64).share()
    assert share.inserted == 1_304_832
    assert f'{100 * share.ratio:.2f}' == '0.66'


@pytest.mark.parametrize('arch, n, inserted', [
    ('tiny', 32, 701_568), ('tiny', 128, 2_968_704),
    ('base', 32, 1_844_736), ('base', 128, 7_607_808),
    ('large', 32, 2_674_944), ('large', 128, 10_748_160),
])
def test_mona_counts_follow_the_bottleneck(arch, n, inserted):
    share = meta(arch, type='Mona', bottleneck_dims=n).share()
    assert share.inserted == inserted


@pytest.mark.parametrize('arch, tuner, printed', [
    ('tiny', dict(type='Mona'), '4.87'),  # table 5
    ('base', dict(type='Mona'), '4.06'),  # table 5
    ('large', dict(type='Mona', bottleneck_dims=32), '1.35'),  # table 4
    ('large', dict(type='Mona', bottleneck_dims=128), '5.22'),  # table 4
    ('base', dict(type='LoRA'), '3.43'),  # table 1
    ('large', dict(type='LoRA'), '2.31'),  # tables 2, 3
    ('large', dict(type='Adapter'), '2.33'),
    ('large', dict(type='AdaptFormer'), '1.18'),
])
def test_share_is_the_papers_to_the_digit(arch, tuner, printed):
    assert f'{100 * meta(arch, **tuner).share().ratio:.2f}' == printed


def test_fixed_line_by_line_is_bit_identical_to_the_plain_swin():
    plain, fixed = plain_nano(drop_path_rate=.3), nano(
        'Fixed', drop_path_rate=.3, line_by_line=True)
    fixed.load_state_dict(plain.state_dict(), strict=True)
    for mode in (False, True):
        plain.train(mode), fixed.train(mode)
        results = []
        for net in (plain, fixed):
            torch.manual_seed(3)  # drop-path draws
            results.append(net(image(2, 3, 72, 100)))
        assert all(torch.equal(a, b) for a, b in zip(*results))


@pytest.mark.parametrize('name', TUNERS)
class TestEveryTuner:
    """Enumerated from the registry."""

    def test_missing_keys_of_a_plain_checkpoint_are_the_delta_keys(
            self, name):
        net = nano(name)
        answer = net.load_state_dict(plain_nano().state_dict(), strict=False)
        assert set(answer.missing_keys) == set(net.delta_names)
        assert answer.unexpected_keys == []

    def test_output_shapes_are_those_of_the_plain_swin(self, name):
        x, net = image(1, 3, 60, 84), nano(name)
        assert [o.shape for o in net(x)] == [
            o.shape for o in plain_nano()(x)]

    def test_gradients_reach_what_trains_and_nothing_else(self, name):
        net = nano(name).train()
        outputs = net(image())
        if not any(p.requires_grad for p in net.parameters()):
            assert not any(o.requires_grad for o in outputs)
            return
        loss_of(outputs).backward()
        for key, param in net.named_parameters():
            assert (param.grad is not None) == param.requires_grad, key
        for key, param in net.delta_parameters().items():
            assert param.requires_grad, key

    def test_delta_parameters_survive_init_weights(self, name):
        net = nano(name)
        before = {k: p.clone() for k, p in net.delta_parameters().items()}
        net.init_weights()
        after = net.delta_parameters()
        assert all(torch.equal(before[k], after[k]) for k in before)

    def test_state_dict_round_trip_reproduces_the_outputs(self, name):
        first, second = nano(name).eval(), nano(name).eval()
        second.load_state_dict(first.state_dict(), strict=True)
        for a, b in zip(first(image()), second(image())):
            assert torch.equal(a, b)

    def test_checkpointing_gives_the_same_gradients(self, name):
        plain = nano(name, drop_path_rate=.2).train()
        saving = nano(name, drop_path_rate=.2, with_cp=True).train()
        saving.load_state_dict(plain.state_dict())
        if not any(p.requires_grad for p in plain.parameters()):
            return
        for net in (plain, saving):
            torch.manual_seed(5)
            loss_of(net(image())).backward()
        for (key, a), b in zip(plain.named_parameters(),
                               saving.parameters()):
            if a.requires_grad:
                torch.testing.assert_close(b.grad, a.grad, msg=key)

    def test_copy_and_pickle_keep_the_outputs(self, name):
        net = nano(name).eval()
        expected = net(image())
        for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert all(
                torch.equal(a, b) for a, b in zip(twin(image()), expected))

    def test_builds_on_the_meta_device(self, name):
        with torch.device('meta'):
            net = nano(name)
        assert all(p.is_meta for p in net.parameters())


@pytest.mark.parametrize('name', [
    t if t == 'Mona' else pytest.param(t, marks=pytest.mark.slow)
    for t in TUNERS])
def test_traces_without_a_graph_break(name):
    """With padded and shifted windows, and a step between stages."""
    net = TunedSwinTransformer(
        arch=dict(embed_dims=16, depths=[2, 1], num_heads=[1, 2]),
        out_indices=(0, 1), tuner=dict(type=name),
        allow_random_base=True).eval()
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    x = image(1, 3, 40, 64)
    for a, b in zip(compiled(x), net(x)):
        torch.testing.assert_close(a, b)


def test_mona_backbone_defaults_to_mona_and_takes_another_tuner():
    arch = dict(embed_dims=16, depths=[1, 1], num_heads=[1, 2])
    net = SwinTransformerMona(arch=arch, out_indices=(0, 1))
    assert type(net.tuner).__name__ == 'Mona'
    net = SwinTransformerMona(
        arch=arch, out_indices=(1, ), tuner=dict(type='Fixed'))
    assert type(net.tuner).__name__ == 'Fixed'


def test_train_returns_the_backbone_itself():
    net = nano()
    assert net.train() is net and net.eval() is net


def test_frozen_stages_is_refused_because_the_tuner_decides():
    with pytest.raises(ValueError, match='frozen_stages'):
        nano(frozen_stages=1)


def test_arguments_of_mmdets_swin_are_refused_with_where_they_go():
    with pytest.raises(TypeError, match=(
            r'TunedSwinTransformer: unknown argument embed_dims, depths; it '
            r'takes .*\bwindow_size\b.*; arch=dict\(...\) takes '
            r'depths, embed_dims, num_heads')):
        nano(embed_dims=24, depths=(2, 2, 2, 2))


@pytest.mark.parametrize('keep', [('patch_embed', ), 'patch_embed'])
@pytest.mark.parametrize('name', TUNERS)
def test_named_parts_stay_frozen_with_every_tuner(name, keep):
    net, free = nano(name, keep_frozen=keep), nano(name)
    trained, usual = ({k for k, p in model.named_parameters()
                       if p.requires_grad} for model in (net, free))
    assert trained == {k for k in usual if not k.startswith('patch_embed.')}
    assert trained != usual or name not in ('Full', 'BitFit', 'NormTuning')


def test_part_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="starts with 'patch_embd'.*norm0.*"
                       'patch_embed, stages'):
        nano('Full', keep_frozen=('patch_embd', ))


def test_site_that_blocks_do_not_offer_is_refused_with_both_lists():

    class Elsewhere(Tuner):
        sites = ('before_norm', 'after_ffn')

    with pytest.raises(ValueError) as error:
        nano(Elsewhere())
    assert "['before_norm', 'after_ffn']" in str(error.value)
    assert "'after_attn'" in str(error.value)
