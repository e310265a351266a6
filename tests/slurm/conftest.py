"""Fixtures of the tests on a real slurm."""
import subprocess

import one_machine
import pytest


@pytest.fixture(scope='session')
def cluster(tmp_path_factory):
    """A running cluster."""
    why = one_machine.missing()
    if why:
        pytest.skip(why)
    found = one_machine.Cluster(tmp_path_factory.mktemp('cluster'))
    try:
        try:
            found.start()
        except (AssertionError, subprocess.CalledProcessError) as error:
            pytest.skip(f'slurm does not start on this machine: {error}')
        yield found
    finally:
        found.stop()
