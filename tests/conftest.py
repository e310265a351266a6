"""Fixtures of all tests."""
import logging
from pathlib import Path

import pytest
import torch
from paths import ROOT, SHARED
from yapf.yapflib import yapf_api


@pytest.fixture(autouse=True, scope='session')
def _one_thread():
    torch.set_num_threads(1)  # the models are tiny


@pytest.fixture(autouse=True, scope='session')
def _each_config_is_formatted_once():
    """mmengine does it eight times in a run: most of what a tiny one takes."""
    plain, seen = yapf_api.FormatCode, {}

    def once(text, **kwargs):
        key = text, repr(kwargs)
        if key not in seen:
            seen[key] = plain(text, **kwargs)
        return seen[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, 'FormatCode', once)
        yield


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _logging_stays_enabled():
    yield
    assert logging.root.manager.disable == 0, 'a test left logging disabled'


@pytest.fixture(scope='session')
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope='session')
def reference() -> Path:
    """Golden weights and outputs of the released methods."""
    folder = SHARED / 'reference'
    if not folder.is_dir():
        pytest.skip(f'needs the reference files, looked for in {folder}')
    return folder


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Small real datasets."""
    folder = SHARED / 'data'
    if not folder.is_dir():
        pytest.skip(f'needs the real datasets, looked for in {folder}')
    return folder
