"""No family takes the files of another for its own."""
import pytest
from families import FAMILIES, TINY
from mmengine.registry import MODELS

from mona_mm.checkpoint.layouts import all_names


@pytest.mark.parametrize('name', FAMILIES)
def test_mms_own_names_are_in_no_familys_other_layouts(name):
    cls = MODELS.get(f'mona_mm.{name}')
    plain = cls.plain_class(**cls.plain_arguments(TINY[name].args))
    keys = list(plain.state_dict())
    assert not [
        (names.family, layout.name) for names in all_names()
        for layout in names.layouts if layout.knows(keys)]
