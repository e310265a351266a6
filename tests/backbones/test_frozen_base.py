"""A base is loaded completely, or loudly not at all."""
import pytest
import torch
from helpers import NANO, image, nano, plain_nano, save_plain_base
from mmengine.logging import MessageHub

from mona_mm.errors import CheckpointError


def load(path, **kwargs):
    net = nano(init_cfg=dict(type='Pretrained', checkpoint=str(path)),
               allow_random_base=False, **kwargs)
    net.init_weights()
    return net


def same_base(net, state):
    own = net.state_dict()
    norms = tuple(net.output_norms().values())
    return all(
        torch.equal(own[k], v) for k, v in state.items()
        if not k.startswith(norms))


@pytest.mark.parametrize('wrap', [
    lambda s: s,
    lambda s: dict(state_dict=s),
    lambda s: dict(model=s),
    lambda s: dict(state_dict={f'backbone.{k}': v for k, v in s.items()}),
    lambda s: dict(state_dict={f'module.backbone.{k}': v
                               for k, v in s.items()}),
    lambda s: dict(state_dict={
        **{f'backbone.{k}': v for k, v in s.items()},
        'head.fc.weight': torch.zeros(3, 128)}),
], ids=['bare', 'state_dict', 'model', 'prefix', 'wrapped', 'with head'])
def test_mm_layouts_load_completely(tmp_path, wrap):
    state = plain_nano(out_indices=()).state_dict()
    torch.save(wrap(state), tmp_path / 'base.pth')
    net = load(tmp_path / 'base.pth')
    assert net.base_loaded and same_base(net, state)


def test_missing_and_unexpected_tensors_are_named(tmp_path):
    state = plain_nano(out_indices=()).state_dict()
    del state['stages.2.blocks.1.ffn.layers.1.bias']
    state['stages.0.blocks.0.oddity'] = torch.zeros(1)
    torch.save(state, tmp_path / 'base.pth')
    with pytest.raises(CheckpointError) as error:
        load(tmp_path / 'base.pth')
    assert 'stages.2.blocks.1.ffn.layers.1.bias' in str(error.value)
    assert 'stages.0.blocks.0.oddity' in str(error.value)


@pytest.mark.parametrize('change, said', [
    (lambda v: v.to(torch.complex64), 'is complex64'),
    (lambda v: v > 0, 'is bool'),
    (lambda v: v.to(torch.int8), 'is int8'),
    (lambda v: v * float('nan'), 'has values that are NaN or infinite'),
    (lambda v: v.half() / 0, 'has values that are NaN or infinite'),
    (lambda v: v.to_sparse(), 'is a sparse tensor'),
    (lambda v: torch.quantize_per_tensor(v, .1, 0, torch.qint8),
     'is a quantized tensor'),
    (lambda v: v.to('meta'), 'is a meta tensor'),
])
def test_base_that_is_no_finite_numbers_is_refused_by_name(
        tmp_path, change, said):
    state = plain_nano(out_indices=()).state_dict()
    name = 'stages.1.blocks.0.ffn.layers.1.weight'
    state[name] = change(state[name])
    torch.save(dict(state_dict=state), tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match='odd.pth') as error:
        load(tmp_path / 'odd.pth')
    assert f'{name} ' in str(error.value) and said in str(error.value)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16,
                                   torch.float64])
def test_base_of_another_precision_is_loaded(tmp_path, dtype):
    state = plain_nano(out_indices=()).state_dict()
    state = {k: v.to(dtype) if v.is_floating_point() else v
             for k, v in state.items()}
    torch.save(dict(state_dict=state), tmp_path / 'base.pth')
    net = load(tmp_path / 'base.pth')
    assert same_base(net, {k: v.float() if v.is_floating_point() else v
                           for k, v in state.items()})


def test_frozen_base_inside_a_checkpoint_is_finite_numbers_too(tmp_path):
    net = nano('LoRA')
    state = net.state_dict()
    name = 'stages.0.blocks.0.attn.w_msa.proj.weight'
    state[name] = state[name] * float('nan')
    with pytest.raises(CheckpointError, match=f'{name} has values'):
        nano('LoRA').load_state_dict(state)


def test_file_of_another_architecture_is_refused(tmp_path):
    wider = dict(NANO, embed_dims=32)
    state = type(plain_nano())(arch=wider, out_indices=()).state_dict()
    torch.save(state, tmp_path / 'base.pth')
    with pytest.raises(CheckpointError, match=r'\(32,\) instead of \(16,\)'):
        load(tmp_path / 'base.pth')


def test_deeper_architecture_is_refused(tmp_path):
    deeper = dict(NANO, depths=[2, 2, 4, 2])
    state = type(plain_nano())(arch=deeper, out_indices=()).state_dict()
    torch.save(state, tmp_path / 'base.pth')
    with pytest.raises(CheckpointError, match=r'stages\.2\.blocks\.2'):
        load(tmp_path / 'base.pth')


@pytest.mark.parametrize('name', ['norm', 'norm3'])
def test_final_norm_of_a_classifier_is_left_out(tmp_path, name):
    state = plain_nano(out_indices=()).state_dict()
    state[f'{name}.weight'] = torch.full((128, ), 7.)
    state[f'{name}.bias'] = torch.full((128, ), 7.)
    torch.save(state, tmp_path / 'base.pth')
    net = load(tmp_path / 'base.pth')
    # Released behaviour: the output norms keep weight 1 and bias 0.
    assert torch.equal(net.norm3.weight, torch.ones(128))
    assert torch.equal(net.norm3.bias, torch.zeros(128))
    net = load(tmp_path / 'base.pth', map_final_norm=True)
    assert torch.equal(net.norm3.weight, torch.full((128, ), 7.))
    assert torch.equal(net.norm0.weight, torch.ones(16))


def test_output_norms_of_a_dense_model_are_loaded(tmp_path):
    state = plain_nano().state_dict()
    state['norm1.weight'] = torch.full((32, ), 3.)
    torch.save(state, tmp_path / 'base.pth')
    net = load(tmp_path / 'base.pth')
    assert torch.equal(net.norm1.weight, torch.full((32, ), 3.))


def test_bias_tables_of_another_window_size_are_resized(tmp_path):
    save_plain_base(tmp_path / 'base.pth', out_indices=(), window_size=5)
    table = load(tmp_path / 'base.pth').stages[0].blocks[0].attn.w_msa
    assert table.relative_position_bias_table.shape == (13 * 13, 1)


@pytest.mark.parametrize('window', [5, 7])
def test_bias_tables_are_not_resized_without_a_word(
        window, tmp_path, monkeypatch):
    save_plain_base(tmp_path / 'base.pth', out_indices=(), window_size=window)
    told = []
    monkeypatch.setattr('mona_mm.backbones.frozen.print_log',
                        lambda text, **_: told.append(text))
    load(tmp_path / 'base.pth')
    resized = [t for t in told if 'interpolated' in t]
    assert len(resized) == (window == 5)
    assert not resized or 'from window 5 to window 7' in resized[0]


def test_loaded_base_survives_a_second_init_weights(tmp_path):
    state = save_plain_base(tmp_path / 'base.pth', out_indices=())
    net = nano()
    net.load_state_dict(state, strict=False)
    net.init_weights()
    assert same_base(net, state)


def test_state_dict_with_half_of_the_base_is_refused():
    state = plain_nano().state_dict()
    half = {k: v for k, v in state.items() if not k.startswith('stages.3')}
    with pytest.raises(CheckpointError, match=r'only a part.*stages\.3'):
        nano().load_state_dict(half, strict=False)


@pytest.mark.parametrize('how', ['state dict', 'base'])
def test_half_of_what_a_tuner_inserts_is_refused(how, tmp_path):
    state = nano().state_dict()
    half = {k: v for k, v in state.items() if '.after_ffn.' not in k}
    torch.save(half, tmp_path / 'half.pth')
    with pytest.raises(CheckpointError, match='Mona inserts.*after_ffn'):
        if how == 'base':
            load(tmp_path / 'half.pth')
        else:
            nano().load_state_dict(half, strict=False)


def test_state_dict_of_another_backbone_is_refused():
    resnet = {'conv1.weight': torch.zeros(64, 3, 7, 7)}
    with pytest.raises(CheckpointError, match='holds no .*conv1.weight'):
        nano().load_state_dict(resnet, strict=False)


def test_state_dict_without_any_backbone_key_is_refused():
    with pytest.raises(CheckpointError, match="starts with 'backbone.'"):
        torch.nn.ModuleDict(dict(backbone=nano())).load_state_dict(
            plain_nano().state_dict(), strict=False)


class TestNeverLoadedBase:
    """A frozen base without weights must not be used unawares."""

    @pytest.fixture(autouse=True)
    def _no_runner(self):
        MessageHub.get_instance(f'no-runner-{id(self)}')

    def test_stops_training(self):
        with pytest.raises(RuntimeError, match='never loaded'):
            nano(allow_random_base=False).train()(image())

    def test_stops_evaluation_inside_a_runner(self):
        hub = MessageHub.get_instance(f'runner-{id(self)}')
        hub.update_info('experiment_name', 'test')
        with pytest.raises(RuntimeError, match='allow_random_base'):
            nano(allow_random_base=False).eval()(image())

    def test_warns_once_in_a_bare_evaluation(self):
        net = nano(allow_random_base=False).eval()
        with pytest.warns(UserWarning, match='never loaded') as caught:
            net(image()), net(image())
        assert len(caught) == 1

    def test_is_accepted_when_asked_for(self, recwarn):
        nano(allow_random_base=True).train()(image())
        assert not [w for w in recwarn if 'never loaded' in str(w.message)]

    def test_is_no_matter_when_everything_trains(self):
        assert nano('Full', allow_random_base=False).train()(image())

    def test_is_mended_by_loading_a_state_dict(self):
        net = nano(allow_random_base=False)
        net.load_state_dict(plain_nano().state_dict(), strict=False)
        assert net.train()(image())
