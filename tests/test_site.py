"""The docs site builds without a warning: links, anchors, docstrings."""
import os
import subprocess
import sys

import pytest
from paths import ROOT

from mona_mm.reports import names
from mona_mm.tuners import known_tuners

PACKAGES = ROOT / 'build/docs_packages'


@pytest.mark.slow  # half a minute of one core
@pytest.mark.skipif(not (PACKAGES / 'mkdocs').is_dir(),
                    reason='needs mkdocs in build/docs_packages: make docs')
def test_site_builds_strictly_and_has_every_method_and_page(tmp_path):
    env = dict(os.environ, NO_MKDOCS_2_WARNING='1',
               PYTHONPATH=f'{PACKAGES}{os.pathsep}{ROOT}')
    run = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-q', '-f',
         'docs/site/mkdocs.yml', '-d', str(tmp_path / 'site')],
        cwd=ROOT, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    home = (tmp_path / 'site/index.html').read_text()
    for page in (ROOT / 'docs').glob('*.md'):
        assert f'href="{page.stem}/"' in home, f'no way to {page.name}'
    methods = (tmp_path / 'site/reference/methods/index.html').read_text()
    for name in known_tuners():
        assert f'<code>{name}</code>' in methods, name
        assert names.display_name(name) in methods
