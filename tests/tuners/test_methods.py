"""What single methods promise beyond what all share."""
import pytest
import torch
from helpers import image, nano, plain_nano
from torch import nn

from mona_mm.checkpoint.describe import tuner_differences
from mona_mm.tuners import build_tuner


def test_lora_starts_as_the_plain_swin():
    lora = nano('LoRA').eval()
    plain = plain_nano()
    plain.eval()
    lora.load_state_dict(plain.state_dict(), strict=False)
    for a, b in zip(lora(image()), plain(image())):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_lora_update_is_scaled_by_alpha_over_rank_on_its_targets():
    linear = nn.Linear(6, 18).double()
    tuner = build_tuner(dict(type='LoRA', rank=2, alpha=3, targets=('q', 'v')))
    layer = tuner.adapt('qkv', linear).double()
    nn.init.normal_(layer.lora_B)
    a, b = layer.lora_A, layer.lora_B
    update = torch.zeros(18, 6, dtype=torch.double)
    update[:6], update[12:] = b[:6] @ a[:2], b[6:] @ a[2:]
    x = torch.randn(2, 5, 6, dtype=torch.double)
    expected = nn.functional.linear(
        x, linear.weight + 3 / 2 * update, linear.bias)
    torch.testing.assert_close(layer(x), expected)


def test_lora_never_writes_into_the_base_when_the_mode_changes():
    net = nano('LoRA')
    for p in net.delta_parameters().values():
        nn.init.normal_(p)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.train(), net(image()), net.eval(), net(image()), net.train()
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_adaptformer_adds_a_tenth_and_can_learn_the_factor():
    fixed = build_tuner(dict(type='AdaptFormer', drop_rate=0.))
    layer = fixed.build('beside_ffn', 8)
    x = torch.randn(1, 4, 8)
    inner = nn.functional.gelu(layer.down_proj(x))
    torch.testing.assert_close(
        layer(x, (2, 2)), .1 * layer.up_proj(inner))
    learnt = build_tuner(dict(type='AdaptFormer', learnable_scale=True))
    assert learnt.build('beside_ffn', 8).scale.requires_grad
    assert not isinstance(layer.scale, nn.Parameter)


def test_adapter_is_a_bottleneck_with_a_skip():
    layer = build_tuner(dict(type='Adapter', drop_rate=0.)).build(
        'attn_out', 8)
    x = torch.randn(1, 4, 8)
    inner = nn.functional.gelu(layer.down_proj(x))
    torch.testing.assert_close(layer(x, (2, 2)), x + layer.up_proj(inner))


def test_lorand_weight_is_the_sum_of_its_branches_products():
    layer = build_tuner(dict(
        type='LoRand', branches=3, kernel_dims=2, bottleneck_dims=4)).build(
            'ffn_out', 8).double()
    x = torch.randn(1, 4, 8, dtype=torch.double)

    def linear(part, x):
        return sum(
            x @ a @ g @ b
            for a, g, b in zip(part.left, part.kernel, part.right)
        ) + part.bias

    inner = nn.functional.gelu(linear(layer.down_proj, x))
    torch.testing.assert_close(
        layer(x, (2, 2)), x + linear(layer.up_proj, inner))


@pytest.mark.parametrize('blocks, first', [(1, 'stages.3.blocks.1'),
                                           (3, 'stages.2.blocks.1')])
def test_partial_counts_blocks_from_the_end(blocks, first):
    net = nano(dict(type='Partial', num_blocks=blocks))
    trained = {k for k, p in net.named_parameters() if p.requires_grad}
    assert min(k[:17] for k in trained) == first
    assert not any(k.startswith('norm') for k in trained)


@pytest.mark.parametrize('tuner, named', [
    (dict(type='LoRA', rank=0), 'rank'),
    (dict(type='LoRA', targets=('q', 'x')), 'targets'),
    (dict(type='LoRA', targets=()), 'targets'),
    (dict(type='Adapter', bottleneck_dims=-1), 'bottleneck_dims'),
    (dict(type='AdaptFormer', drop_rate=1), 'drop_rate'),
    (dict(type='LoRand', branches=0), 'branches'),
    (dict(type='Mona', linear_init='kaiming'), 'linear_init'),
    (dict(type='LoRand', kernel_dims=1.5), 'kernel_dims'),
    (dict(type='LoRand', bottleneck_dims=1.5), 'bottleneck_dims'),
    (dict(type='Partial', num_blocks=0), 'num_blocks'),
])
def test_bad_arguments_are_named_with_their_value(tuner, named):
    with pytest.raises(ValueError, match=named) as error:
        build_tuner(tuner)
    assert repr(tuner[named]) in str(error.value)


def test_checkpoints_of_full_tuning_that_name_frozen_parts_still_fit():
    """``frozen`` was an argument of Full; the backbone has it today."""
    for frozen in ([], ['patch_embed']):
        assert not tuner_differences(
            dict(type='Full', frozen=frozen), build_tuner(dict(type='Full')))
