"""What the families of the registry say of their names, and comparing."""
import pytest
import torch

from mona_mm.backbones import TunedBackbone
from mona_mm.backbones.sites import TunedBlock
from mona_mm.checkpoint.compare import compare, odd_values
from mona_mm.checkpoint.convert import sources
from mona_mm.checkpoint.layouts import all_names, base_state
from mona_mm.errors import CheckpointError
from mona_mm.registry import MODELS

NAMES = {type(names).__name__: names for names in all_names()}


def families():
    """Every registered backbone whose family has registered names."""
    MODELS.import_from_location()
    found = {cls for cls in MODELS.module_dict.values()
             if isinstance(cls, type) and issubclass(cls, TunedBackbone)}
    layouts = {names.layouts: names for names in NAMES.values()}
    return {cls: layouts[cls.layouts] for cls in found
            if cls.layouts in layouts}


def test_the_converter_takes_every_layout_of_every_family():
    known = sources()
    for names in NAMES.values():
        for layout in names.layouts:
            assert layout.name in known[layout.name]


def test_a_backbones_own_names_are_in_no_other_layout():
    assert len(set(map(id, families().values()))) == len(NAMES)
    for cls, names in families().items():
        with torch.device('meta'):
            net = cls(allow_random_base=True)
        state = {k: v for k, v in net.state_dict().items()
                 if not k.endswith(net.derived)
                 and k not in net.delta_names}
        assert base_state(state).layout == 'mm'
        strange = [k for k in state if not names.plain.fullmatch(k)
                   and k not in net.frozen.optional]
        assert not strange, cls
        blocks = [m for m in net.modules() if isinstance(m, TunedBlock)]
        for site, path in names.linears.items():
            assert isinstance(blocks[0].get_submodule(path),
                              torch.nn.Linear), site


@pytest.mark.parametrize('names', NAMES.values(), ids=NAMES)
def test_what_a_layout_writes_it_reads(names):
    if names.release is None:
        pytest.skip('nobody published this family in another layout')
    cls = next(c for c, n in families().items() if n is names)
    net = cls(tuner=dict(type='Full'))
    state = {k: v for k, v in net.state_dict().items()
             if not k.endswith(net.derived)}
    there = names.release.from_mm(state)
    assert names.release.knows(there) and there.keys() != state.keys()
    again = names.release.to_mm(there)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[k], v) for k, v in state.items())


def test_two_tensors_of_one_name_are_refused():
    names = next(n for n in NAMES.values() if n.release)
    block = 'layers.0.blocks.0.mlp.fc1.weight'
    twice = {block: torch.zeros(1), block.replace(
        'layers', 'stages').replace('mlp.fc1', 'ffn.layers.0.0'):
        torch.zeros(1)}
    with pytest.raises(CheckpointError, match='both stand for'):
        names.release.to_mm(twice)


def test_differences_of_two_state_dicts():
    own = dict(a=torch.zeros(2), b=torch.zeros(3), c=torch.zeros(1))
    assert not compare(own, own)
    assert not compare(own, dict(a=own['a'], c=own['c']), optional={'b'})
    found = compare(own, dict(a=torch.zeros(5), d=torch.zeros(1)), {'c'})
    assert (found.missing, found.unexpected) == (['b'], ['d'])
    assert found.shapes == ['a (5,) instead of (2,)']
    assert str(found) == ('1 tensors missing (b), 1 unexpected (d), '
                          '1 of another shape (a (5,) instead of (2,))')


def test_values_that_no_weight_has():
    own = dict(a=torch.zeros(2), n=torch.zeros(1, dtype=torch.long))
    assert not odd_values(own, dict(a=torch.full((2, ), 1e38), n=own['n']))
    assert odd_values(own, dict(a=torch.tensor([1, float('nan')])))
    assert odd_values(own, dict(a=torch.zeros(2, dtype=torch.cfloat)))
    # A sum that overflows, of values that are finite.
    assert not odd_values(own, dict(a=torch.full((2, ), 3e38)))
