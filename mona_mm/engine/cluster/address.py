"""Where the processes of one run meet, and which of them is which."""
import os
import re
import socket
import subprocess
import zlib
from typing import List, Mapping

from mona_mm.errors import ConfigError

#: What torch reads, and where each launcher says it.
_NAMES = {
    'pytorch': {name: name for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')},
    'slurm': {
        'RANK': 'SLURM_PROCID',
        'WORLD_SIZE': 'SLURM_NTASKS',
        'LOCAL_RANK': 'SLURM_LOCALID',
    },
    'mpi': {
        'RANK': 'OMPI_COMM_WORLD_RANK',
        'WORLD_SIZE': 'OMPI_COMM_WORLD_SIZE',
        'LOCAL_RANK': 'OMPI_COMM_WORLD_LOCAL_RANK',
    },
}
_STARTERS = {
    'pytorch': 'torchrun (tools/dist_train.sh)',
    'slurm': 'srun (tools/slurm_train.sh)',
    'mpi': "Open MPI's mpirun",
}
#: Below the ports that Linux gives to outgoing connections (from 32768).
_FIRST, _COUNT = 20000, 12000
#: OpenMMLab's port, where nothing tells one run from another.
_USUAL = '29500'


def set_address(launcher: str) -> None:
    """Set the ranks, ``MASTER_ADDR`` and ``MASTER_PORT`` of this process.

    The address is the first host of the job and the port follows from the
    job's number, so that jobs which share a node do not meet; what the
    environment says already stays. torch and mmengine find it there, whatever
    the device is.

    Args:
        launcher (str): ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        ConfigError: If the launcher did not start this process, or nothing
            tells where to meet.
    """
    if launcher == 'none':
        return
    for name, source in _NAMES[launcher].items():
        if source not in os.environ:
            raise ConfigError(
                f'--launcher {launcher}, but {source} is not set: start it '
                f'with {_STARTERS[launcher]}, or leave --launcher out')
        os.environ[name] = os.environ[source]
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _host(launcher)
    if 'MASTER_PORT' not in os.environ:
        os.environ['MASTER_PORT'] = _port(launcher)


def torchrun_options(environ: Mapping[str, str]) -> List[str]:
    """The options with which torchrun meets the other nodes of a run.

    ``NNODES``, ``NODE_RANK``, ``MASTER_ADDR`` and ``PORT`` say it, as in
    OpenMMLab. In a slurm step with one task on each of several nodes, what
    they leave out follows from the job; one node alone takes a free port.

    Args:
        environ (Mapping[str, str]): The environment.
    """
    nodes = environ.get('SLURM_STEP_NUM_NODES', '1')
    of_slurm = 'NNODES' not in environ and (
        nodes == environ.get('SLURM_STEP_NUM_TASKS') != '1')
    nodes = environ.get('NNODES', nodes if of_slurm else '1')
    port = environ.get('PORT') or environ.get('MASTER_PORT')
    if nodes == '1' and not port:
        return ['--standalone']
    usual = dict(rank='0', host='127.0.0.1', port=_USUAL)
    if of_slurm:
        usual = dict(rank=environ['SLURM_NODEID'], host=_host('slurm'),
                     port=_port('slurm'))
    return [
        f'--nnodes={nodes}',
        f'--node_rank={environ.get("NODE_RANK", usual["rank"])}',
        f'--master_addr={environ.get("MASTER_ADDR", usual["host"])}',
        f'--master_port={port or usual["port"]}'
    ]


def first_host(hosts: str) -> str:
    """The first name of slurm's list: of ``n[03-05,7]-ib,x`` it is ``n03-ib``.

    Args:
        hosts (str): As in ``SLURM_JOB_NODELIST``.
    """
    first = re.match(r'(?:\[[^]]*\]|[^,[])+', hosts).group()
    return re.sub(r'\[([^],-]+)[^]]*\]', r'\1', first)


def _host(launcher: str) -> str:
    """The host of rank 0."""
    lists = ['SLURM_JOB_NODELIST', 'SLURM_NODELIST']
    if launcher == 'slurm':  # mpirun's own step leaves its first host out
        lists.insert(0, 'SLURM_STEP_NODELIST')
    for name in lists:
        if os.environ.get(name):
            return _resolved(first_host(os.environ[name]))
    size = os.environ['WORLD_SIZE']
    if size in (os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE'), '1'):
        return '127.0.0.1'
    raise ConfigError(
        f'{size} processes have to meet, but MASTER_ADDR is not set: set it '
        'to the host of the first one, in the environment of all of them')


def _resolved(host: str) -> str:
    """The host, or the address by which slurm itself finds it.

    Names of nodes need not be names of hosts.
    """
    try:
        socket.getaddrinfo(host, None)
        return host
    except OSError as error:
        found = subprocess.run(
            ['scontrol', 'show', 'node', host, '--oneliner'],
            capture_output=True, text=True)
        address = re.search(r'NodeAddr=(\S+)', found.stdout)
        if address:
            return address.group(1)
        raise ConfigError(
            f'the first node of the job, {host!r}, has no address ({error}), '
            f'and scontrol does not tell one ({found.stderr.strip()}): set '
            'MASTER_ADDR') from error


def _port(launcher: str) -> str:
    """A port that runs which share a node do not share.

    ``first + (job + 4999 step) mod count``: other jobs, and other steps of
    the same job, have others. Members of an array have job numbers of their
    own. Processes of one mpirun may be in different steps.
    """
    job = os.environ.get('SLURM_JOB_ID')
    if launcher == 'mpi' and 'PMIX_NAMESPACE' in os.environ:
        number = zlib.crc32(os.environ['PMIX_NAMESPACE'].encode())
    elif job is None:
        return _USUAL
    else:
        step = 0 if launcher == 'mpi' else int(
            os.environ.get('SLURM_STEP_ID', 0))
        number = int(job) + 4999 * step
    return str(_FIRST + number % _COUNT)
