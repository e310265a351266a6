"""Building tuners from configs."""
import pytest

from mona_mm.tuners import EXTRAS, SITES, build_tuner, known_tuners


@pytest.mark.parametrize('name', known_tuners())
def test_every_tuner_builds_by_name_and_asks_for_known_sites(name):
    tuner = build_tuner(dict(type=name))
    assert set(tuner.sites) <= {*SITES, *EXTRAS}


def test_unknown_tuner_error_lists_the_known_ones():
    with pytest.raises(KeyError) as error:
        build_tuner(dict(type='Monna'))
    message = str(error.value)
    assert "'Monna'" in message
    assert all(name in message for name in known_tuners())


def test_unknown_argument_error_lists_the_accepted_ones():
    with pytest.raises(TypeError, match='bottleneck.*bottleneck_dims'):
        build_tuner(dict(type='Mona', bottleneck=64))


def test_config_without_type_is_refused():
    with pytest.raises(TypeError, match="expected a dict with a 'type'"):
        build_tuner(dict(bottleneck_dims=64))
