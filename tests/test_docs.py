"""What the documents name is there."""
import re

import pytest


def test_every_promise_of_the_security_page_names_a_test_that_exists(root):
    text = (root / 'docs/security.md').read_text()
    named = re.findall(r'`([\w/]+\.py)::(\w+)`', text)
    assert named
    for file, test in named:
        path = root / 'tests' / file
        assert path.is_file(), file
        assert re.search(rf'^def {test}\(', path.read_text(), re.M), test


@pytest.mark.parametrize('page', ['README.md', 'docs'])
def test_links_to_files_lead_somewhere(root, page):
    pages = [root / page] if page.endswith('.md') else sorted(
        (root / page).rglob('*.md'))
    for file in pages:
        text = re.sub(r'```.*?```', '', file.read_text(), flags=re.S)
        for link in re.findall(r'\]\(([^)\s]+)\)', text):
            if not link.startswith(('http', '#', 'mailto:')):
                target = file.parent / link.split('#')[0]
                assert target.exists(), f'{file}: {link}'
