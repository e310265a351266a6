"""A slurm cluster of two nodes on this machine."""
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, List, Optional

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_PROGRAMS = ('slurmctld', 'slurmd', 'munged', 'srun', 'sbatch')
_MUNGE = Path('/run/munge/munged.pid')


def missing() -> Optional[str]:
    """Why there can be no cluster here; None if there can."""
    # Debian keeps daemons where not every PATH looks.
    os.environ['PATH'] += ':/usr/sbin'
    gone = [name for name in _PROGRAMS if not shutil.which(name)]
    if gone:
        return (f'slurm is not installed ({", ".join(gone)} not found): '
                'tests/slurm/install.sh tries to')
    if os.geteuid():
        return 'slurm\'s daemons are started as root here'
    try:
        socket.getaddrinfo(socket.gethostname(), None)
    except OSError as error:
        return f'the name of this machine has no address ({error})'
    return None


class Cluster:
    """Slurm's daemons, and what a user does with them.

    Attributes:
        folder (Path): Its configuration, state and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.daemons, self.up = folder, [], False
        for name in ('etc', 'log', 'run', 'dev', 'spool/ctld', 'spool/node1',
                     'spool/node2'):
            (folder / name).mkdir(parents=True)
        for name in ('fake0', 'fake1'):
            (folder / 'dev' / name).touch()
        host = socket.gethostname().split('.')[0]
        # Ports follow from numbers of jobs: clusters at once have others.
        first = str(random.randint(1, 10**6))
        filled = dict(DIR=str(folder), HOST=host, FIRST=first, **{
            f'PORT{i}': str(port) for i, port in enumerate(_free_ports(3))})
        for name in ('slurm.conf', 'gres.conf'):
            text = (_HERE / f'{name}.in').read_text()
            (folder / 'etc' / name).write_text(re.sub(
                '@([A-Z0-9]+)@', lambda found: filled[found[1]], text))
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith(('SLURM', 'SRUN', 'SBATCH'))}
        self.env.update(
            SLURM_CONF=str(folder / 'etc/slurm.conf'), PYTHON=sys.executable,
            PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
            PYTHONPATH=f'{_ROOT}:{_ROOT / "tests"}:{_HERE}',
            OMP_NUM_THREADS='1',
            CPUS_PER_TASK='1')

    def start(self) -> None:
        """Start munge, if it does not run, and slurm."""
        if not _runs(_MUNGE):
            subprocess.run(['install', '-d', '-o', 'munge', '-g', 'munge',
                            '-m', '755', str(_MUNGE.parent)], check=True)
            subprocess.run(['su', '-s', '/bin/sh', 'munge', '-c',
                            shutil.which('munged')], check=True)
            self.daemons.append(_MUNGE)
        for words in (['slurmctld'], ['slurmd', '-N', 'node1'],
                      ['slurmd', '-N', 'node2']):
            name = '-'.join([words[0], *words[2:]])
            self.daemons.insert(0, self.folder / f'run/{name}.pid')
            subprocess.run(words, env=self.env, check=True,
                           stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        until(lambda: set(self.run('sinfo -h -o %t', check=False).split()) == {
            'idle'}, 60, 'nodes that are idle')
        self.up = True

    def stop(self) -> None:
        """End all jobs, and the daemons that were started here."""
        if self.up:
            self.run('scancel --user=root', check=False)
            until(lambda: not self.run('squeue -h', check=False), 60, 'no job')
        for path in self.daemons:
            if _runs(path):
                number = int(path.read_text())
                os.kill(number, signal.SIGTERM)
                until(lambda p=path: not _runs(p), 30, f'{path.name} to end')

    def run(self, command: str, check=True, cwd=None, timeout=300,
            **env) -> str:
        """Run a line of bash as a user of the cluster; return its output."""
        done = subprocess.run(
            ['bash', '-c', command], cwd=cwd, env=dict(self.env, **env),
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=timeout)
        assert not (check and done.returncode), (
            f'{command}: status {done.returncode}\n{done.stdout[-3000:]}')
        return done.stdout.strip()

    def field(self, job: str, name: str) -> str:
        """A field of a job, e.g. ``JobState``."""
        told = self.run(f'scontrol show job {job} --oneliner')
        return re.search(rf'\b{name}=(\S*)', told).group(1)

    def state(self, job: str) -> str:
        """The state of a job, e.g. ``'RUNNING'``."""
        return self.field(job, 'JobState')

    def log(self, job: str) -> str:
        """What a job has printed."""
        told = self.run(f'scontrol show job {job}')
        path = Path(re.search(r'StdOut=(.*)', told).group(1))
        return path.read_text() if path.is_file() else ''

    def wait(self, job: str, states=('COMPLETED', ), seconds=240) -> None:
        """Wait until a job is in a state.

        Raises:
            AssertionError: If it ends in another one.
        """
        ends = {'COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'NODE_FAIL',
                'PREEMPTED', 'OUT_OF_MEMORY'}

        def there() -> bool:
            state = self.state(job)
            self._hurry()
            assert state in states or state not in ends, (
                f'job {job} is {state}:\n{self.log(job)[-5000:]}')
            return state in states

        until(there, seconds, f'job {job} to be {" or ".join(states)}')

    def wait_for_all(self, seconds=400) -> None:
        """Wait until no job is left."""
        def done() -> bool:
            self._hurry()
            return not self.run('squeue -h')

        until(done, seconds, 'all jobs to end')

    def _hurry(self) -> None:
        """What is requeued would start only after a minute or two.

        Slurm has its reason: within a second the node still refuses the job.
        """
        for line in self.run('squeue -h -o "%i %r"').splitlines():
            if line.endswith(' BeginTime'):
                time.sleep(2)
                self.run(f'scontrol update JobId={line.split()[0]} '
                         'StartTime=now', check=False)


def submitted(output: str) -> str:
    """The number of the job that an output of sbatch tells."""
    return re.search(r'Submitted batch job (\d+)', output).group(1)


def until(there: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something.

    Raises:
        AssertionError: If it does not come.
    """
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, f'waited {seconds} s for {what}'
        time.sleep(0.2)


def _free_ports(count: int) -> List[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(('127.0.0.1', 0))
        return [one.getsockname()[1] for one in sockets]


def _runs(path: Path) -> bool:
    """Whether a daemon runs, by the file with its number."""
    try:
        number = int(path.read_text())
        return Path(f'/proc/{number}').is_dir()
    except (FileNotFoundError, ValueError):
        return False


def lines(path: Path) -> List[str]:
    """The lines of a file, none if it is not there yet."""
    return path.read_text().splitlines() if path.is_file() else []
