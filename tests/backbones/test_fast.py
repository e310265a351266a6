"""The fast forms inside the backbone: exact, lean, and never stale."""
import copy

import pytest
import torch
from helpers import TUNERS, image, loss_of, nano, plain_nano
from torch import nn

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.ops.windows import PLANS
from mona_mm.research.benchmark.saved import saved_activations

MIB = 2**20


def lively(tuner, **kwargs):
    """A float64 backbone in which every parameter matters."""
    torch.manual_seed(0)
    net = nano(tuner, drop_path_rate=.3, **kwargs).double()
    for param in net.parameters():
        if param.ndim < 2 or param.shape[0] == 0 or not param.any():
            nn.init.normal_(param, std=.3)
    net.train()
    return net


def outcome(net, x):
    """Outputs and gradients under one seed."""
    torch.manual_seed(2)
    outputs = net(x)
    trained = [p for p in net.parameters() if p.requires_grad]
    grads = []
    if trained:
        grads = torch.autograd.grad(
            loss_of(outputs), trained, allow_unused=True)
    return [*outputs, *(g for g in grads if g is not None)]


def both(net, x):
    answers = []
    for plain in (True, False):
        net.line_by_line = plain
        answers.append(outcome(net, x))
    return answers


def assert_same(plain, fast):
    assert len(plain) == len(fast)
    for a, b in zip(plain, fast):
        assert (a - b).abs().max() <= 1e-12 * max(a.abs().max(), 1e-9)


@pytest.mark.parametrize('size', [(64, 64), (70, 101)])
@pytest.mark.parametrize('name', TUNERS)
def test_every_method_is_exact(name, size):
    """Enumerated: outputs and gradients, whole windows and padded ones."""
    net = lively(name, skip_dropped=False)
    assert_same(*both(net, image(2, 3, *size).double()))


def test_fixed_equals_the_plain_swin_to_1e_12():
    plain, fixed = plain_nano(drop_path_rate=.3).double(), lively('Fixed')
    fixed.load_state_dict(plain.state_dict())
    for mode in (False, True):
        plain.train(mode), fixed.train(mode)
        x = image(3, 3, 72, 100).double()
        assert_same(outcome(plain, x)[:4], outcome(fixed, x)[:4])


@pytest.mark.parametrize('name', TUNERS)
def test_autocast_stays_close_to_the_written_form(name):
    """bfloat16 has 8 bits: outputs within 3 % of their largest entry."""
    net = lively(name, skip_dropped=False).float()
    for param in net.parameters():
        param.data.mul_(.5)
    x = image(2, 3, 64, 72)
    answers = []
    for plain in (True, False):
        net.line_by_line = plain
        torch.manual_seed(2)
        with torch.autocast('cpu', torch.bfloat16):
            outputs = net(x)
        if outputs[-1].requires_grad:
            loss_of(outputs).backward()
        answers.append(outputs)
    for a, b in zip(*answers):
        assert a.dtype == b.dtype
        assert (a - b).abs().max() <= .03 * a.abs().max()


@pytest.mark.parametrize('name', ['Mona', 'Full', 'LoRA', 'NormTuning'])
def test_leaving_out_dropped_samples_changes_nothing(name):
    """These draw no random number inside a branch, so seeds compare."""
    net = lively(name, skip_dropped=True)
    for seed in range(3):
        x = image(3, 3, 64, 72, seed=seed).double()
        assert_same(*both(net, x))


def test_leaving_out_is_refused_where_it_is_slower():
    """On anything but a CPU; the meta device stands for a GPU."""
    net = lively('Mona', skip_dropped=True).to('meta')
    with pytest.raises(ValueError, match="on meta.*skip_dropped='auto'"):
        net.stages[0](torch.empty(2, 16, 16, device='meta').double(), (4, 4))


def test_dropped_samples_are_not_computed():
    net = lively('Mona', skip_dropped=True)
    block = net.stages[3].blocks[1]
    block.drop_path1.drop_prob = block.drop_path2.drop_prob = .5
    seen = []
    block.ffn.layers[0].register_forward_hook(
        lambda module, args, out: seen.append(len(args[0])))
    for _ in range(12):
        net(image(4, 3, 64, 64).double())
    assert set(seen) <= {1, 2, 3, 4} and min(seen) < 4


@pytest.mark.parametrize('name', TUNERS)
def test_every_trained_parameter_gets_a_gradient_if_all_is_dropped(name):
    """Distributed training waits for every one of them."""
    net = lively(name, skip_dropped=True)
    for block in (b for s in net.stages for b in s.blocks):
        block.drop_path1.drop_prob = block.drop_path2.drop_prob = 1 - 1e-9
    outputs = net(image(2, 3, 64, 64).double())
    if not outputs[-1].requires_grad:
        return  # Fixed
    loss_of(outputs).backward()
    assert [n for n, p in net.named_parameters()
            if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize('name', ['Mona', 'LoRA', 'BitFit'])
def test_with_cp_gives_the_same_gradients(name):
    net = lively(name)
    x = image(2, 3, 64, 72).double()
    without = outcome(net, x)
    for block in (b for s in net.stages for b in s.blocks):
        block.with_cp = True
    assert_same(without, outcome(net, x))


class TestMask:
    """The cached bias and mask."""

    x = image(1, 3, 64, 64).double()

    def warm(self):
        net = lively('Mona').eval()
        net(self.x)
        assert net.cache_bytes() > 0
        return net

    def fresh(self, net):
        """What a net that never cached anything answers."""
        other = lively('Mona').eval()
        other.load_state_dict(net.state_dict())
        return other(self.x)

    def check(self, net):
        assert_same(net(self.x), self.fresh(net))

    def test_follows_a_load(self):
        net = self.warm()
        state = {k: v + .5 if 'table' in k else v
                 for k, v in net.state_dict().items()}
        net.load_state_dict(state)
        self.check(net)

    def test_follows_writing_in_place(self):
        net = self.warm()
        with torch.no_grad():
            net.stages[0].blocks[
                0].attn.w_msa.relative_position_bias_table.add_(1)
        self.check(net)

    def test_follows_a_swap_of_data_around_a_change_of_mode(self):
        """As an EMA hook does before validation."""
        net = self.warm()
        table = net.stages[0].blocks[0].attn.w_msa
        table.relative_position_bias_table.data.copy_(
            table.relative_position_bias_table.data + 1)
        net.eval()
        self.check(net)

    def test_follows_a_change_of_dtype(self):
        net = self.warm().float()
        assert all(o.dtype == torch.float32 for o in net(self.x.float()))
        self.check(net.double())

    def test_a_table_that_trains_is_read_every_time(self):
        net = self.warm()
        w_msa = net.stages[0].blocks[0].attn.w_msa
        w_msa.relative_position_bias_table.requires_grad_()
        loss_of(net(self.x)).backward()
        assert w_msa.relative_position_bias_table.grad.abs().sum() > 0
        w_msa.relative_position_bias_table.data.add_(1)
        self.check(net)

    def test_survives_inference_mode(self):
        net = lively('Mona')
        with torch.inference_mode():
            before = net(self.x)
        loss_of(net(self.x)).backward()
        assert all(
            p.grad is not None for p in net.delta_parameters().values())
        assert not before[0].requires_grad

    def test_does_not_grow_with_the_image(self):
        net = self.warm()
        masks = [b.attention_bias for s in net.stages for b in s.blocks]
        # 4 heads-by-49-by-49 kinds at most, of 8 bytes
        bound = sum(4 * m.num_heads * 49**2 * 8 for m in (
            b.attn.w_msa for s in net.stages for b in s.blocks))
        for side in (96, 160, 224):
            net(image(1, 3, side, side).double())
        assert 0 < sum(m.nbytes for m in masks) <= bound

    def test_is_not_copied_with_the_model(self):
        net = copy.deepcopy(self.warm())
        assert all(b.attention_bias.nbytes == 0
                   for s in net.stages for b in s.blocks)


def swin_t(name, arch='tiny', **kwargs):
    net = TunedSwinTransformer(
        arch=arch, tuner=dict(type=name), drop_path_rate=.3,
        allow_random_base=True, skip_dropped=False, **kwargs)
    net.train()
    return net


@pytest.mark.parametrize('name, released', [
    ('Full', 207.5), ('Mona', 221.1), ('LoRA', 141.1), ('Adapter', 159.4),
    ('AdaptFormer', 114.9)])
def test_saved_bytes_line_by_line_are_those_of_the_release(name, released):
    """Swin-T, 2 x 224 x 224, MiB, measured on the released definitions."""
    net = swin_t(name, line_by_line=True)
    kept = saved_activations(net, image(2, 3, 224, 224)).activations / MIB
    assert abs(kept - released) < .15


@pytest.mark.parametrize('name', TUNERS)
def test_no_method_keeps_more_than_line_by_line(name):
    """In Swin-T's first two stages."""
    first = dict(embed_dims=96, depths=[2, 2], num_heads=[3, 6])
    kept = {}
    for plain in (True, False):
        net = swin_t(name, first, out_indices=(0, 1), line_by_line=plain)
        kept[plain] = saved_activations(net, image(2, 3, 112, 112))
    assert kept[False].activations <= kept[True].activations


def test_mona_keeps_at_most_six_tenths_of_the_release():
    """221.1 MiB for Swin-T at 2 x 224 x 224; with_cp at most 0.30."""
    images = image(2, 3, 224, 224)
    kept = saved_activations(swin_t('Mona'), images).activations / MIB
    assert kept <= .60 * 221.1
    net = swin_t('Mona', with_cp=True)
    kept = saved_activations(net, images).activations / MIB
    assert kept <= .30 * 221.1


def test_training_gives_the_same_loss_curve():
    """Float32, dropout and drop-path on, the same seeds."""
    curves = []
    for plain in (True, False):
        torch.manual_seed(0)
        net = nano('Mona', drop_path_rate=.2, line_by_line=plain)
        head = nn.Linear(128, 5)
        net.train()
        params = [*net.delta_parameters().values(), *head.parameters()]
        optimizer = torch.optim.AdamW(params, lr=3e-3)
        curve = []
        for step in range(16):
            torch.manual_seed(step)
            images = image(4, 3, 64, 64, seed=step % 2)
            scores = head(net(images)[-1].mean((2, 3)))
            loss = nn.functional.cross_entropy(scores, torch.arange(4))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        curves.append(torch.tensor(curve))
    plain, fast = curves
    assert plain[-4:].mean() < .1 * plain[:4].mean()
    assert (plain - fast).abs().max() < 1e-4


@pytest.mark.parametrize('name', TUNERS)
def test_runs_forward_and_backward_on_the_meta_device(name):
    """As memory estimates do, and under another default device."""
    PLANS.clear()
    with torch.device('meta'):
        net = nano(name)
        outputs = net(torch.empty(2, 3, 64, 70))
        if outputs[-1].requires_grad:
            sum(o.sum() for o in outputs).backward()
    assert [tuple(o.shape) for o in outputs] == [
        (2, 16, 16, 18), (2, 32, 8, 9), (2, 64, 4, 5), (2, 128, 2, 3)]


def test_a_wrong_skip_dropped_names_its_values():
    with pytest.raises(ValueError, match="skip_dropped must be.*'yes'"):
        nano('Mona', skip_dropped='yes')
