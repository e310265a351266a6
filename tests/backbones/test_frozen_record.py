"""A delta is completed with its own base, or refused."""
import copy
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch
from deltas import (
    MICRO,
    based,
    make_base,
    micro,
    move,
    same_state,
    save_delta,
    with_head,
)
from helpers import TUNERS, image

from mona_mm.backbones import frozen
from mona_mm.checkpoint import digest, read_checkpoint
from mona_mm.checkpoint.convert import convert_file
from mona_mm.errors import CheckpointError


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / 'base.pth')


def load(model, path, strict=True):
    state = read_checkpoint(str(path))['state_dict']
    return model.load_state_dict(state, strict=strict)


def delta(tmp_path, base, tuner='Mona', name='delta.pth', **kwargs):
    model = move(with_head(based(tuner, base, **kwargs)))
    return model, save_delta(model, tmp_path / name)


@pytest.mark.parametrize('tuner', TUNERS)
def test_delta_alone_gives_the_whole_model_back(tuner, tmp_path, base):
    model, path = delta(tmp_path, base, tuner)
    stored = read_checkpoint(str(path))['state_dict']
    names = {f'backbone.{n}' for n in model.backbone.frozen.names}
    computed = {k for k in model.state_dict() if k.endswith('_index')}
    assert set(stored) == set(model.state_dict()) - names - computed
    fresh = with_head(based(tuner))
    found = load(fresh, path)
    assert not found.missing_keys and not found.unexpected_keys
    assert same_state(fresh, model)
    with torch.no_grad():
        pairs = zip(fresh.backbone(image()), model.backbone(image()))
        assert all(torch.equal(a, b) for a, b in pairs)


def test_lenient_loading_reports_nothing_missing(tmp_path, base):
    _, path = delta(tmp_path, base)
    found = load(with_head(based()), path, strict=False)
    assert found.missing_keys == [] and found.unexpected_keys == []


def test_base_in_place_is_kept_without_reading_its_file(tmp_path, base):
    model, path = delta(tmp_path, base)
    fresh = with_head(based(base=base))
    base.unlink()
    load(fresh, path)
    assert same_state(fresh, model)


def test_other_base_in_place_is_replaced_by_the_recorded_one(tmp_path, base):
    model, path = delta(tmp_path, base)
    fresh = with_head(based(base=make_base(tmp_path / 'other.pth', seed=5)))
    load(fresh, path)
    assert same_state(fresh, model)


def test_changed_base_in_place_is_not_mistaken_for_the_recorded(
        tmp_path, base):
    model, path = delta(tmp_path, base)
    fresh = with_head(based(base=base))
    with torch.no_grad():
        fresh.backbone.stages[2].blocks[0].norm1.weight[3] += 1
    load(fresh, path)
    assert same_state(fresh, model)


def test_every_place_that_was_looked_at_is_named(
        tmp_path, base, monkeypatch):
    _, path = delta(tmp_path, base)
    base.rename(tmp_path / 'moved.pth')
    monkeypatch.setenv('MONA_MM_BASES', str(tmp_path / 'bases'))
    configured = tmp_path / 'configured.pth'
    fresh = with_head(micro(init_cfg=dict(
        type='Pretrained', checkpoint=str(configured))))
    with pytest.raises(CheckpointError) as error:
        load(fresh, path, strict=False)
    for place in (path, base, configured, tmp_path / 'bases/base.pth'):
        assert str(place) in str(error.value)
    assert 'MONA_MM_BASES' in str(error.value)


def test_base_of_other_content_is_refused_by_its_hash(tmp_path, base):
    _, path = delta(tmp_path, base)
    make_base(base, seed=9)
    with pytest.raises(CheckpointError, match='holds another base'):
        load(with_head(based()), path, strict=False)


@pytest.mark.parametrize('where', ['cwd', 'init_cfg', 'folder'])
def test_base_is_found_wherever_it_may_be(
        where, tmp_path, base, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'new').mkdir()
    model, path = delta(tmp_path, 'base.pth')
    moved = base.rename(tmp_path / 'new/base.pth')
    fresh = based()
    if where == 'cwd':
        monkeypatch.chdir(tmp_path / 'new')
    elif where == 'init_cfg':
        fresh = micro(init_cfg=dict(type='Pretrained', checkpoint=str(moved)))
    else:
        monkeypatch.setenv('MONA_MM_BASES', str(moved.parent))
    fresh = with_head(fresh)
    load(fresh, path)
    assert same_state(fresh, model)


def test_base_of_a_url_is_downloaded_or_taken_from_the_folder(
        tmp_path, base, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        host = f'127.0.0.1:{server.server_port}'
        monkeypatch.setenv('MONA_MM_BASE_HOSTS', host)
        url = f'http://{host}/base.pth'
        model, path = delta(tmp_path, url)
        (cached, ) = (tmp_path / 'hub').rglob('base.pth')
        cached.unlink()
        fresh = with_head(based())
        load(fresh, path)
        assert same_state(fresh, model) and cached.exists()
        server.shutdown()
    cached.unlink()
    with pytest.raises(CheckpointError, match=f'cannot download {url}'):
        load(with_head(based()), path)
    monkeypatch.setenv('MONA_MM_BASES', str(tmp_path))
    load(with_head(based()), path)


def test_prefix_and_final_norm_of_the_base_are_recorded(tmp_path):
    state = micro('Fixed').state_dict()
    state = {f'net.{k}': v for k, v in state.items()
             if not k.startswith('norm')}
    state.update({'net.norm.weight': torch.full((64, ), 7.),
                  'net.norm.bias': torch.full((64, ), 7.)})
    torch.save(state, tmp_path / 'base.pth')
    net = micro('Fixed', map_final_norm=True)
    net.load_base(str(tmp_path / 'base.pth'), 'net')
    model = with_head(net)
    path = save_delta(model, tmp_path / 'delta.pth')
    fresh = with_head(based('Fixed'))
    load(fresh, path)
    assert same_state(fresh, model)


@pytest.mark.parametrize('theirs, ours, told', [
    (dict(type='LoRA', targets=('q', 'v')),
     dict(type='LoRA', targets=('q', 'k')),
     r"tuner.targets is \['q', 'v'\] in the checkpoint, \['k', 'q'\]"),
    (dict(type='LoRA', rank=4), dict(type='LoRA', rank=8),
     'tuner.rank is 4 in the checkpoint, 8'),
    (dict(type='LoRA', alpha=1), dict(type='LoRA', alpha=2),
     'tuner.alpha is 1 in the checkpoint, 2'),
    (dict(type='AdaptFormer', scale=.1), dict(type='AdaptFormer', scale=.2),
     'tuner.scale is 0.1 in the checkpoint, 0.2'),
    (dict(type='Mona'), dict(type='Mona', scaled_norm=False),
     'tuner.scaled_norm is True in the checkpoint, False'),
    (dict(type='BitFit'), dict(type='NormTuning'),
     "tuner.type is 'BitFit' in the checkpoint, 'NormTuning'"),
    (dict(type='Fixed'), dict(type='Mona'), "tuner.type is 'Fixed'"),
    (dict(type='Partial'), dict(type='Partial', num_blocks=2),
     'tuner.num_blocks is 1 in the checkpoint, 2'),
])
def test_another_tuner_is_refused_and_the_difference_named(
        theirs, ours, told, tmp_path, base):
    _, path = delta(tmp_path, base, theirs)
    with pytest.raises(CheckpointError, match=told) as error:
        load(with_head(based(ours, base)), path, strict=False)
    assert str(path) in str(error.value)


@pytest.mark.parametrize('theirs, ours', [
    (dict(type='LoRA', targets=('q', 'v')),
     dict(type='LoRA', targets=['v', 'q'])),
    (dict(type='Mona', drop_rate=.1), dict(type='Mona', drop_rate=.3)),
])
def test_differences_without_a_meaning_are_accepted(
        theirs, ours, tmp_path, base):
    model, path = delta(tmp_path, base, theirs)
    fresh = with_head(based(ours))
    load(fresh, path)
    assert same_state(fresh, model)


@pytest.mark.parametrize('change, told', [
    (dict(window_size=5), 'window_sizes is'),
    (dict(arch=dict(MICRO, num_heads=[1, 1, 2, 4])), 'num_heads is'),
    (dict(arch=dict(MICRO, depths=[1, 1, 3, 1])), 'depths is'),
    (dict(out_indices=(1, 2, 3)), 'out_indices is'),
])
@pytest.mark.parametrize('tuner', ['Mona', 'Full'])
def test_another_backbone_is_refused_and_the_difference_named(
        tuner, change, told, tmp_path, base):
    from mona_mm.backbones import TunedSwinTransformer
    _, path = delta(tmp_path, base, tuner)
    other = TunedSwinTransformer(
        **{**dict(arch=MICRO, tuner=dict(type=tuner)), **change})
    with pytest.raises(CheckpointError, match=told):
        load(with_head(other), path, strict=False)


def test_copy_into_a_plain_dict_is_refused_even_on_a_loaded_base(
        tmp_path, base):
    _, path = delta(tmp_path, base)
    state = dict(read_checkpoint(str(path))['state_dict'])
    with pytest.raises(CheckpointError, match='nor the record of it'):
        with_head(based(base=base)).load_state_dict(state, strict=False)


@pytest.mark.parametrize('spoil, told', [
    (lambda s: s.pop('backbone.stages.0.blocks.0.after_attn.gamma'),
     '1 tensors are missing in it: stages.0.blocks.0.after_attn.gamma'),
    (lambda s: s.update({'backbone.stages.0.blocks.0.after_attn.gamma':
                         torch.ones(8)}), 'not the ones that were saved'),
    (lambda s: s.update({'backbone.odd': torch.ones(1)}),
     'not the ones that were saved'),
    (lambda s: s._metadata['backbone']['mona_mm'].update(format=2),
     'format 2.*update mona_mm'),
    (lambda s: s._metadata['backbone']['mona_mm'].pop('base'), 'is broken'),
    (lambda s: s._metadata['backbone'].update(mona_mm='yes'), 'is broken'),
])
def test_state_dict_that_was_changed_is_refused(spoil, told, tmp_path, base):
    _, path = delta(tmp_path, base)
    state = torch.load(path)['state_dict']
    spoil(state)
    with pytest.raises(CheckpointError, match=told):
        with_head(based(base=base)).load_state_dict(state, strict=False)


def test_what_came_to_train_later_is_stored_as_well(tmp_path, base):
    model = with_head(based(base=base))
    late = model.backbone.stages[1].blocks[0].norm1.weight
    late.requires_grad_(True)
    path = save_delta(move(model), tmp_path / 'delta.pth')
    late.requires_grad_(False)
    again = save_delta(model, tmp_path / 'again.pth')
    for file in (path, again):
        assert 'backbone.stages.1.blocks.0.norm1.weight' in read_checkpoint(
            str(file))['state_dict']
        fresh = with_head(based())
        load(fresh, file)
        assert same_state(fresh, model)
    plain, plain_path = delta(tmp_path, base, name='plain.pth')
    load(fresh, plain_path)
    assert same_state(fresh, plain)


def test_base_from_a_full_checkpoint_has_no_source(tmp_path, base):
    source = with_head(based(base=base))
    torch.save(source.state_dict(), tmp_path / 'full.pth')
    fresh = with_head(based())
    fresh.load_state_dict(torch.load(tmp_path / 'full.pth'))
    assert fresh.backbone.base is None
    path = save_delta(fresh, tmp_path / 'saved.pth')
    again = with_head(based())
    base.unlink()
    load(again, path)
    assert same_state(again, source)


def test_full_checkpoint_of_the_base_in_place_keeps_its_source(
        tmp_path, base):
    source = with_head(based(base=base))
    fresh = with_head(based(base=base))
    fresh.load_state_dict(source.state_dict())
    assert fresh.backbone.base == source.backbone.base is not None


def test_copy_of_a_model_loads_on_its_own(tmp_path, base):
    model, path = delta(tmp_path, base)
    fresh = copy.deepcopy(with_head(based()))
    load(fresh, path)
    assert same_state(fresh, model)


def test_half_precision_model_keeps_its_base(tmp_path, base):
    model, path = delta(tmp_path, base)
    fresh = with_head(based(base=base)).bfloat16()
    base.unlink()
    load(fresh, path)
    own = fresh.state_dict()
    assert all(torch.equal(own[k], v.to(own[k].dtype))
               for k, v in model.state_dict().items())


def test_frozen_tensors_are_hashed_when_loaded_and_not_again(
        tmp_path, base, monkeypatch):
    hashed, count = [], digest.base_digests
    for module in (digest, frozen):
        monkeypatch.setattr(module, 'base_digests', lambda tensors: (
            hashed.append(len(tensors)), count(tensors))[1])
    model, path = delta(tmp_path, base)
    number = len(model.backbone.frozen.names)
    assert sum(hashed) == number
    load(model, path)
    for _ in range(3):
        save_delta(model, path)
    assert sum(hashed) == number
    fresh = with_head(based())
    load(fresh, path)
    save_delta(fresh, path)
    assert sum(hashed) == 2 * number
    with torch.no_grad():
        fresh.backbone.norm0.weight.add_(1)
    save_delta(fresh, path)
    assert sum(hashed) == 2 * number + 1
    again = with_head(based())
    load(again, path)
    assert same_state(again, fresh)


def test_delta_in_the_place_of_a_base_is_refused(tmp_path, base):
    _, path = delta(tmp_path, base)
    with pytest.raises(CheckpointError, match='delta.pth is a delta.*'
                       'name that one in init_cfg'):
        based(base=path)
    with pytest.raises(CheckpointError, match='tools/merge_delta.py'):
        convert_file(str(path), str(tmp_path / 'out.pth'))
