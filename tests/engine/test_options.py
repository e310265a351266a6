"""The values of --cfg-options arrive as they were given."""
import argparse
import re

import pytest
from mmengine.config import DictAction

from mona_mm.engine import launch
from mona_mm.engine.options import parse

#: What mmengine's own documentation and help show, and numbers and names.
AS_MMENGINE = [
    '1', '1.5', '1e-3', 'true', 'False', 'None', 'a', 'a=b', '', '1,2,3',
    'a,b', 'a,', '[1,2]', '(1,2)', '(1,)', '(1)', '[]', '()', '[[]]',
    '[(1,2),(3,4)]', '[(1, 2, 3), [a, b], c]', "['a','b']", "('cat',)",
    "'abc'", '"[1,2]"', '0,[1,2]', 'True,False', '{a:1}'
]


@pytest.mark.parametrize('text', AS_MMENGINE)
def test_values_without_spaces_inside_are_read_as_mmengine_does(text):
    expected = DictAction._parse_iterable(text)
    assert parse(text) == expected
    assert type(parse(text)) is type(expected)


@pytest.mark.parametrize('text, expected', [
    ('/data/my pictures/VOC', '/data/my pictures/VOC'),
    ("('hot dog', 'cup')", ('hot dog', 'cup')),
    ('(hot dog, cup)', ('hot dog', 'cup')),
    ('[ a b , 1 ]', ['a b', 1]),
    ('/data/my pictures (old, new)/VOC', '/data/my pictures (old, new)/VOC'),
    ("('salt, pepper', 'a (b')", ('salt, pepper', 'a (b')),
    ("(it's, don't)", ("it's", "don't")),
    ("it's", "it's"),
])
def test_spaces_quotes_and_commas_inside_a_value_are_kept(text, expected):
    assert parse(text) == expected


def options(*words):
    parser = argparse.ArgumentParser()
    launch.add_common_arguments(parser)
    return parser.parse_args(['config.py', '--cfg-options', *words])


def test_options_of_the_tools_keep_spaces_and_add_up():
    given = options('a.root=/my data', 'b=1', '--cfg-options', 'c=[x y]')
    assert given.cfg_options == {'a.root': '/my data', 'b': 1, 'c': ['x y']}


@pytest.mark.parametrize('word, told', [
    ('pictures', "expected KEY=VALUE, .*but got 'pictures'"),
    ('a=[1,2', r"expected KEY=VALUE, .*but got 'a=\[1,2'"),
    ("a=('b, c)", r'expected KEY=VALUE, .*but got "a='),
])
def test_word_that_is_no_option_is_named(word, told, capsys):
    with pytest.raises(SystemExit):
        options(word)
    assert re.search(told, ' '.join(
        capsys.readouterr().err.split()))
