"""Every run meets at an address of its own, whatever started it."""
import os
import re

import pytest
from mmengine.dist import utils as mmengine_dist

from mona_mm.engine.cluster import address, set_address, torchrun_options
from mona_mm.engine.cluster.address import first_host
from mona_mm.errors import ConfigError

STEP = dict(
    SLURM_JOB_ID='4711', SLURM_STEP_ID='0', SLURM_PROCID='3',
    SLURM_NTASKS='4', SLURM_LOCALID='1', SLURM_NODELIST='localhost,other',
    SLURM_JOB_NODELIST='localhost,other', SLURM_STEP_NUM_NODES='2',
    SLURM_STEP_NUM_TASKS='4', SLURM_NODEID='1')
MPI = dict(
    OMPI_COMM_WORLD_RANK='1', OMPI_COMM_WORLD_SIZE='2',
    OMPI_COMM_WORLD_LOCAL_RANK='1', OMPI_COMM_WORLD_LOCAL_SIZE='2')


@pytest.fixture
def within(monkeypatch):
    """Make the environment that of a launcher."""
    for name in list(os.environ):
        if re.match('SLURM|OMPI|PMIX|MASTER_|PORT$|NNODES|NODE_RANK', name):
            monkeypatch.delenv(name)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR',
                 'MASTER_PORT'):
        monkeypatch.setenv(name, 'restored at the end')
        monkeypatch.delenv(name)

    def enter(*variables, **more):
        for name, value in [*(i for v in variables for i in v.items()),
                            *more.items()]:
            monkeypatch.setenv(name, value)
    return enter


@pytest.mark.parametrize('hosts, first', [
    ('node1', 'node1'), ('node[1-2]', 'node1'), ('n[003-005,7],x', 'n003'),
    ('a,b', 'a'), ('rack[2-3]n[10,12]-ib', 'rack2n10-ib')])
def test_first_host_of_slurms_list(hosts, first):
    assert first_host(hosts) == first


def test_processes_of_a_job_agree_and_other_jobs_and_steps_differ(within):
    ports = []
    for job, step in (('4711', '0'), ('4712', '0'), ('4711', '1')):
        for rank in ('0', '3'):
            within(STEP, SLURM_JOB_ID=job, SLURM_STEP_ID=step,
                   SLURM_PROCID=rank)
            os.environ.pop('MASTER_PORT', None)
            set_address('slurm')
            ports.append(os.environ['MASTER_PORT'])
    assert ports[::2] == ports[1::2] and len(set(ports)) == 3
    assert all(20000 <= int(port) < 32768 for port in ports)
    assert os.environ['MASTER_ADDR'] == 'localhost'


def test_address_from_outside_wins(within):
    within(STEP, MASTER_PORT='1234', MASTER_ADDR='10.0.0.1')
    set_address('slurm')
    assert os.environ['MASTER_PORT'] == '1234'
    assert os.environ['MASTER_ADDR'] == '10.0.0.1'


def test_mmengines_own_init_keeps_what_was_set(within, monkeypatch):
    """On a GPU it is mmengine that joins the group."""
    within(STEP)
    set_address('slurm')
    found = {}
    monkeypatch.setattr(mmengine_dist.torch.cuda, 'set_device', found.get)
    monkeypatch.setattr(
        mmengine_dist.torch_dist, 'init_process_group',
        lambda backend: found.update(os.environ))
    mmengine_dist._init_dist_slurm('nccl')
    assert found['MASTER_PORT'] == str(20000 + 4711)
    assert found['MASTER_ADDR'] == 'localhost'
    assert [found[n] for n in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')] == [
        '3', '4', '1']


def test_node_whose_name_is_no_hosts_is_asked_of_slurm(
        within, monkeypatch, tmp_path):
    script = tmp_path / 'scontrol'
    script.write_text('#!/bin/sh\n[ "$3" = no-such-host.invalid ] && '
                      'echo NodeName=x NodeAddr=10.1.2.3 Port=1\n')
    script.chmod(0o755)
    within(STEP, SLURM_STEP_NODELIST='no-such-host.invalid',
           PATH=f'{tmp_path}:{os.environ["PATH"]}')
    set_address('slurm')
    assert os.environ['MASTER_ADDR'] == '10.1.2.3'
    script.write_text('#!/bin/sh\necho no >&2; exit 1\n')
    del os.environ['MASTER_ADDR']
    with pytest.raises(ConfigError, match='set MASTER_ADDR'):
        set_address('slurm')


def test_mpirun_on_one_machine_and_within_a_job(within):
    within(MPI, PMIX_NAMESPACE='prterun-7@1')
    set_address('mpi')
    one = os.environ['MASTER_PORT']
    assert os.environ['MASTER_ADDR'] == '127.0.0.1'
    assert [os.environ[n] for n in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')] == [
        '1', '2', '1']
    for name in ('MASTER_ADDR', 'MASTER_PORT'):
        del os.environ[name]
    # Its own step on the other nodes leaves the first one out.
    within(STEP, MPI, PMIX_NAMESPACE='prterun-8@1',
           SLURM_STEP_NODELIST='other', OMPI_COMM_WORLD_LOCAL_SIZE='1')
    set_address('mpi')
    assert os.environ['MASTER_ADDR'] == 'localhost'
    assert os.environ['MASTER_PORT'] != one


def test_mpirun_on_several_machines_has_to_be_told(within):
    within(MPI, OMPI_COMM_WORLD_LOCAL_SIZE='1')
    with pytest.raises(ConfigError, match='set it to the host of the first'):
        set_address('mpi')


@pytest.mark.parametrize('launcher, told', [
    ('slurm', 'SLURM_PROCID is not set: start it with srun'),
    ('pytorch', 'RANK is not set: start it with torchrun'),
    ('mpi', 'OMPI_COMM_WORLD_RANK is not set')])
def test_launcher_that_started_nothing_is_named(within, launcher, told):
    with pytest.raises(ConfigError, match=told):
        set_address(launcher)


@pytest.mark.parametrize('variables, options', [
    ({}, ['--standalone']),
    (dict(PORT='1234'), ['--nnodes=1', '--node_rank=0',
                         '--master_addr=127.0.0.1', '--master_port=1234']),
    (dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1'),
     ['--nnodes=2', '--node_rank=1', '--master_addr=10.0.0.1',
      '--master_port=29500']),
    # Four tasks on two nodes: not one launcher on each.
    (STEP, ['--standalone']),
    (dict(STEP, NNODES='2', NODE_RANK='0'),
     ['--nnodes=2', '--node_rank=0', '--master_addr=127.0.0.1',
      '--master_port=29500'])])
def test_torchrun_is_told_where_to_meet(within, variables, options):
    assert torchrun_options(variables) == options


def test_torchrun_on_each_node_of_a_job_needs_no_address(within):
    within(STEP, SLURM_STEP_NUM_TASKS='2')
    found = torchrun_options(os.environ)
    assert found == ['--nnodes=2', '--node_rank=1',
                     '--master_addr=localhost', '--master_port=24711']
    within(MASTER_PORT='99', MASTER_ADDR='there')
    assert torchrun_options(os.environ)[2:] == [
        '--master_addr=there', '--master_port=99']


def test_ports_are_below_those_of_outgoing_connections():
    path = '/proc/sys/net/ipv4/ip_local_port_range'
    if os.path.isfile(path):
        with open(path) as file:
            first = int(file.read().split()[0])
        assert address._FIRST + address._COUNT <= max(first, 32768)
