"""docs/security.md promises what tests hold."""
import ast
import re


def test_every_test_that_a_promise_names_is_there(root):
    named = re.findall(r'`((?:\w+/)*\w+\.py)::(\w+)`', (
        root / 'docs/security.md').read_text())
    assert named
    for path, name in named:
        tree = ast.parse((root / 'tests' / path).read_text())
        assert name in {getattr(node, 'name', '') for node in tree.body}, (
            path, name)


def test_every_promise_names_a_test(root):
    """What stands in a list is a promise."""
    text = (root / 'docs/security.md').read_text()
    promises = re.findall(r'^- .*(?:\n  .*)*', text, re.M)
    assert promises
    assert not [p for p in promises if '.py::' not in p]
