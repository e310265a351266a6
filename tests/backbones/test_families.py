"""What holds for every backbone family, enumerated from the registry."""
import copy
import pickle

import pytest
import torch
from deltas import move, same_state, save_delta, with_head
from families import FAMILIES, TINY, library, refuses, tiny
from helpers import image, loss_of, on_meta
from mmengine.config import Config
from mmengine.registry import DefaultScope
from paths import ROOT

import mona_mm.backbones as backbones
from mona_mm.backbones.counting import count_backbone
from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.merge import merge_delta
from mona_mm.checkpoint.models import build
from mona_mm.checkpoint.switch import DeltaSwitch
from mona_mm.doctor.config import check_config
from mona_mm.doctor.finding import WRONG
from mona_mm.engine.launch import read_config
from mona_mm.registry import MODELS
from mona_mm.research.benchmark import Options, Size, benchmark, from_configs
from mona_mm.tuners.base import known_tuners, tuner_class

#: One class per family: the paper's name for Swin adds nothing here.
CLASSES = [n for n in FAMILIES if n != 'SwinTransformerMona']
#: Close enough for float32: of the largest value, or of one.
EXACT = dict(rtol=1e-6, atol=1e-6)


@pytest.fixture(autouse=True)
def _forget_scope():
    yield
    DefaultScope._instance_dict.clear()


def picture(name, batch=1):
    side = TINY[name].side
    return image(batch, 3, side, side + side // 2)


def outputs(net):
    net.eval()
    with torch.no_grad():
        return net(image(1, 3, 64, 64))


def close(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        top = other.abs().max()
        torch.testing.assert_close(one / top, other / top, **EXACT)


def base_file(name, folder):
    """A base in the library's own layout, and its network."""
    plain = library(name)
    torch.save(dict(state_dict=plain.state_dict()), folder / 'base.pth')
    return plain, dict(type='Pretrained',
                       checkpoint=str(folder / 'base.pth'))


def based(name, folder):
    """(a network with Mona on that base, as if it had trained; the base)"""
    plain, init_cfg = base_file(name, folder)
    net = tiny(name, init_cfg=init_cfg, allow_random_base=False)
    net.init_weights()
    return move(net), plain


def config_file(name, folder, tuner='Mona', init_cfg=None):
    """A classifier of the family, ready to be read."""
    cls = getattr(backbones, name)
    cfg = Config.fromfile(
        ROOT / 'configs/quickstart/swin-nano_shapes.py')
    cfg.model.backbone = dict(
        type=f'mona_mm.{name}', tuner=dict(type=tuner), **TINY[name].args)
    cfg.model.backbone.init_cfg = init_cfg
    net = tiny(name, 'Fixed')
    cfg.model.head.in_channels = net(picture(name))[-1].shape[1]
    assert isinstance(net, cls)
    cfg.dump(folder / f'{tuner.lower()}.py')
    return str(folder / f'{tuner.lower()}.py')


def test_every_registered_family_states_its_smallest_network():
    assert set(TINY) == set(FAMILIES)
    for name in FAMILIES:
        assert getattr(backbones, name) is MODELS.get(f'mona_mm.{name}')


@pytest.mark.parametrize('name', CLASSES)
class TestPlain:
    """Without a tuner's doing, it is the library's network."""

    @pytest.mark.parametrize('line_by_line', [False, True])
    def test_fixed_equals_the_librarys_class(self, name, line_by_line):
        plain, net = library(name), tiny(name, 'Fixed')
        state = plain.state_dict()
        net.load_state_dict(state, strict=True)
        assert set(net.state_dict()) == set(state)
        net.line_by_line = line_by_line
        x = picture(name, 2)
        with torch.no_grad():
            close(net.eval()(x), plain(x))

    def test_gradients_equal_the_librarys(self, name):
        plain, net = library(name), tiny(name, 'Full')
        net.load_state_dict(plain.state_dict(), strict=True)
        for one in (plain, net):
            one.eval()
            loss_of(one(picture(name))).backward()
        for (key, a), b in zip(sorted(plain.named_parameters()), (
                p for _, p in sorted(net.named_parameters()))):
            top = a.grad.abs().max()
            torch.testing.assert_close(
                b.grad / top, a.grad / top, rtol=1e-4, atol=1e-5, msg=key)

    def test_outputs_are_the_maps_that_were_asked_for(self, name):
        every = tiny(name, 'Fixed', allow_random_base=True)
        maps = every.eval()(picture(name))
        assert all(m.ndim == 4 for m in maps)
        last = len(every.out_indices) - 1
        chosen = (every.out_indices[0], every.out_indices[last])
        net = tiny(name, 'Fixed', out_indices=chosen).eval()
        net.load_state_dict(every.state_dict(), strict=False)
        few = net(picture(name))
        assert [f.shape for f in few] == [
            maps[i].shape for i in (0, last)]

    def test_mode_returns_the_backbone_itself(self, name):
        net = tiny(name)
        assert net.train() is net and net.eval() is net

    def test_base_in_its_librarys_layout_loads_in_full(self, name, tmp_path):
        plain, init_cfg = base_file(name, tmp_path)
        net = tiny(name, init_cfg=init_cfg, allow_random_base=False)
        net.init_weights()
        state = net.state_dict()
        outside = tuple(f'{n}.' for n in net.output_norms().values())
        for key, value in plain.state_dict().items():
            if not key.startswith(outside) or len(outside) > 1:
                assert torch.equal(state[key], value), key

    def test_missing_tensor_is_told(self, name, tmp_path):
        plain, init_cfg = base_file(name, tmp_path)
        state = plain.state_dict()
        gone = [k for k, _ in plain.named_parameters()][3]
        del state[gone]
        torch.save(state, init_cfg['checkpoint'])
        net = tiny(name, init_cfg=init_cfg, allow_random_base=False)
        with pytest.raises(Exception, match=gone.replace('.', r'\.')):
            net.init_weights()


@pytest.mark.parametrize('tuner', known_tuners())
@pytest.mark.parametrize('name', CLASSES)
def test_method_works_or_is_refused_with_both_lists(name, tuner):
    cls = getattr(backbones, name)
    if refuses(name, tuner_class(tuner)):
        with pytest.raises(ValueError) as error:
            tiny(name, tuner)
        for lists in (cls.sites, tuner_class(tuner).sites):
            assert all(repr(site) in str(error.value) for site in lists)
        return
    net = tiny(name, tuner, drop_path_rate=.2).train()
    loaded = net.load_state_dict(library(name).state_dict(), strict=False)
    # PyTorch's batch norm sets its counter where a file has none.
    assert set(loaded.missing_keys) == {
        n for n in net.delta_names if not n.endswith('batches_tracked')}
    assert loaded.unexpected_keys == []
    maps = net(picture(name, 2))
    if any(m.requires_grad for m in maps):
        loss_of(maps).backward()
    for key, param in net.named_parameters():
        assert (param.grad is not None) == param.requires_grad, key
        assert param.requires_grad or key not in net.delta_names, key


@pytest.mark.parametrize('name', CLASSES)
class TestMona:
    """What every family does with one method that inserts modules."""

    def test_initialising_leaves_what_was_inserted(self, name):
        net = tiny(name)
        before = {k: p.clone() for k, p in net.delta_parameters().items()}
        net.init_weights()
        after = net.delta_parameters()
        assert before and all(torch.equal(before[k], after[k])
                              for k in before)

    def test_fast_form_is_the_written_one(self, name):
        net = move(tiny(name))
        fast = outputs(net)
        net.line_by_line = True
        for one, other in zip(fast, outputs(net)):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize('tuner', ['Mona', 'NormTuning'])
    def test_recomputing_blocks_gives_the_same_gradients(self, name, tuner):
        net, saving = (tiny(name, tuner, drop_path_rate=.2, with_cp=cp)
                       for cp in (False, True))
        saving.load_state_dict(net.state_dict(), strict=True)
        for one in (net, saving):
            torch.manual_seed(5)
            loss_of(one.train()(picture(name, 2))).backward()
        for (key, a), b in zip(net.named_parameters(), saving.parameters()):
            if a.requires_grad:
                torch.testing.assert_close(b.grad, a.grad, msg=key)

    def test_copy_and_pickle_keep_the_outputs(self, name):
        net = tiny(name).eval()
        expected = outputs(net)
        for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            close(outputs(twin), expected)

    def test_builds_on_the_meta_device(self, name):
        with on_meta():
            assert all(p.is_meta for p in tiny(name).parameters())

    def test_bfloat16_base_gives_the_same_up_to_its_rounding(self, name):
        net = tiny(name)
        half = tiny(name, base_dtype='bfloat16')
        half.load_state_dict(net.state_dict())
        for one, other in zip(outputs(half), outputs(net)):
            assert one.dtype == torch.float32
            assert (one - other).abs().max() < .05 * other.abs().max()

    def test_other_number_of_channels(self, name, tmp_path):
        _, init_cfg = base_file(name, tmp_path)
        net = tiny(name, init_cfg=init_cfg, in_channels=4,
                   fit_channels='mean', allow_random_base=False)
        net.init_weights()
        side = TINY[name].side
        assert net.eval()(image(1, 4, side, side))[-1].ndim == 4

    def test_part_of_it_can_be_kept_frozen(self, name):
        stem = getattr(backbones, name).stem.rpartition('.')[0]
        net = tiny(name, 'Full', keep_frozen=(stem, ))
        assert {k for k, p in net.named_parameters()
                if not p.requires_grad} == {
            k for k, _ in net.named_parameters() if k.startswith(stem)}

    def test_what_no_output_depends_on_does_not_train(self, name):
        if not hasattr(getattr(backbones, name), 'unused'):
            pytest.skip('trains it, as its library does')
        first = tiny(name).out_indices[0]
        net = tiny(name, 'Full', out_indices=(first, )).train()
        loss_of(net(picture(name))).backward()
        for key, param in net.named_parameters():
            assert (param.grad is not None) == param.requires_grad, key

    def test_delta_checkpoint_brings_it_back(self, name, tmp_path):
        net, _ = based(name, tmp_path)
        model = with_head(net)
        path = save_delta(model, tmp_path / 'delta.pth')
        content = read_checkpoint(str(path))['state_dict']
        kept = {k for k in content if k.startswith('backbone.')}
        assert kept == {f'backbone.{k}' for k in net.delta_names}
        fresh = with_head(tiny(name, allow_random_base=False))
        fresh.load_state_dict(content)
        assert same_state(fresh, model)
        close(outputs(fresh.backbone), outputs(net))

    def test_deltas_change_places_on_one_base(self, name, tmp_path):
        net, plain = based(name, tmp_path)
        one = outputs(net)
        save_delta(net, tmp_path / 'one.pth')
        save_delta(move(net, 2), tmp_path / 'two.pth')
        two = outputs(net)
        switch = DeltaSwitch(net)
        for label in ('one', 'two'):
            switch.load(label, str(tmp_path / f'{label}.pth'))
        for label, expected in (('one', one), ('two', two),
                                (None, outputs(plain))):
            switch.use(label)
            close(outputs(net), expected)

    def test_checkpoint_that_inserts_nothing_merges_into_the_librarys(
            self, name, tmp_path):
        _, init_cfg = base_file(name, tmp_path)
        config = config_file(name, tmp_path, 'Partial', init_cfg)
        model = build(read_config(config))
        model.backbone.init_weights()
        delta = save_delta(move(model), tmp_path / 'delta.pth')
        lines = merge_delta(config, str(delta), str(tmp_path / 'out.pth'))
        assert lines[0].startswith('plain')
        state = read_checkpoint(str(tmp_path / 'out.pth'))['state_dict']
        plain = library(name)
        plain.load_state_dict({
            k.removeprefix('backbone.'): v for k, v in state.items()
            if k.startswith('backbone.')}, strict=False)
        close(outputs(plain), outputs(model.backbone))

    def test_count_says_what_trains_by_stage_and_site(self, name, tmp_path):
        found = count_backbone(
            Config.fromfile(config_file(name, tmp_path)))
        share = tiny(name).share()
        assert found['trained'] == share.trained == share.inserted
        assert found['frozen'] == share.frozen
        assert sum(found['by_stage'].values()) == share.inserted
        sites = tuner_class('Mona').sites
        assert set(found['by_site']) == set(sites) & set(
            getattr(backbones, name).sites)

    def test_doctor_finds_nothing_wrong_with_the_backbone(
            self, name, tmp_path):
        _, init_cfg = base_file(name, tmp_path)
        cfg = Config.fromfile(config_file(name, tmp_path, 'Mona', init_cfg))
        cfg.work_dir = str(tmp_path / 'work')
        found = {f.subject: f for f in check_config(cfg)}
        assert f'fits {name}' in found['base'].text
        assert 'Mona: ' in found['backbone'].text
        assert found['backbone'].level != WRONG

    def test_benchmark_compares_it_with_its_library(self, name, tmp_path):
        comparison, = from_configs([config_file(name, tmp_path)])
        tuned = comparison.tuned(dict(type='Mona'))
        plain = comparison.plain()
        assert isinstance(plain, getattr(backbones, name).plain_class)
        assert sum(p.numel() for p in plain.parameters()) == sum(
            p.numel() for p in tuned.base_parameters().values())


def test_facts_name_arguments_that_build_the_same():
    for name in CLASSES:
        net = tiny(name)
        cfg = Config(dict(model=dict(backbone=dict(type=f'mona_mm.{name}'))))
        options = net.arguments(net.facts())
        cfg.merge_from_dict({
            f'model.backbone.{k}': v for k, v in options.items()})
        built = MODELS.build(dict(cfg.model.backbone))
        assert built.facts() == net.facts()


@pytest.mark.slow
@pytest.mark.parametrize('name', CLASSES)
def test_benchmark_measures_it(name, tmp_path):
    comparison, = from_configs([config_file(name, tmp_path)])
    result = benchmark([comparison], Options(
        sizes=[Size(1, 64, 64)], area_sizes=(64, 96, 128), runs=1, warmup=0,
        device='cpu'))
    assert result
