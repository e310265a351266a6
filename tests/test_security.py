"""docs/security.md promises what tests hold."""
import re


def test_every_test_that_the_document_names_is_there(root):
    text = (root / 'docs/security.md').read_text()
    named = re.findall(r'`(?:tests/)?([\w/]*test_\w+\.py)(?:::(\w+))?`', text)
    assert len(named) > 10
    for file, test in named:
        content = (root / 'tests' / file).read_text()
        assert f'def {test or "test_"}' in content, (file, test)


def test_every_promise_names_a_test(root):
    """Promises are paragraphs that begin in bold, and points of lists."""
    text = (root / 'docs/security.md').read_text()
    paragraphs = re.split(r'\n\n+', text)
    promises = [p for p in paragraphs if p.startswith('**')]
    assert promises and all('.py' in p for p in promises)
    promised = text[text.index('## Checkpoints'):]  # after what is trusted
    points = re.findall(r'^- .*(?:\n  .*)*', promised, re.M)
    assert points and all('.py::' in p for p in points)
