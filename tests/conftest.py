"""Fixtures of all tests."""
import logging
from pathlib import Path

import pytest
import torch
from mmengine.visualization import Visualizer
from paths import ROOT, SHARED
from yapf.yapflib import yapf_api


@pytest.fixture(autouse=True, scope='session')
def _one_thread():
    torch.set_num_threads(1)  # the models are tiny


@pytest.fixture(autouse=True, scope='session')
def _formats_once():
    """A run asks four times for its config's text, each time yapf anew."""
    known = {}

    def once(text, **options):
        key = text, str(options)
        if key not in known:
            known[key] = format_code(text, **options)
        return known[key]

    format_code = yapf_api.FormatCode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, 'FormatCode', once)
        yield


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_visualizer_of_another_test():
    """Every config calls its own `visualizer`, and hooks take the one whose
    name came last: that of an earlier test, if it had another name."""
    yield
    kinds = [Visualizer]
    for kind in kinds:
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()


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
