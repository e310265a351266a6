"""One training at a time in a work dir."""
import json
import logging
import os
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Dict, Iterator, Optional, Tuple

from mmengine.logging import print_log

from mona_mm.checkpoint.atomic import alive
from mona_mm.errors import ConfigError
from mona_mm.text import write_atomically

#: The file in the work dir that says who trains there.
LOCK = 'run.lock'
#: Seconds between two signs of life.
BEAT = 20.
#: A holder that nobody can ask is gone after so many seconds without one.
SILENT = 300.
#: Longer than the moment between two runs' last look at a lock.
_SETTLE = 1.


@contextmanager
def hold(folder: str) -> Iterator[None]:
    """Keep other trainings out of a work dir while this one lasts.

    The first process of a run holds it for all. The lock is a file that is
    created exclusively (``O_EXCL``): unlike ``flock``, which some network
    file systems keep to one machine or do not have, that is one atomic
    request to the server from NFSv3 on, and the file tells who holds it. A
    killed run leaves it behind, so whoever finds one asks whether the holder
    still runs: on the same machine its process, within the same slurm
    cluster its job step, else the file itself, whose time the holder renews
    (both times are the file server's, so clocks need not agree).

    Args:
        folder (str): The work dir; it is made.

    Raises:
        ConfigError: If another run is there.
    """
    if os.environ.get('RANK', '0') != '0':
        yield
        return
    path, own, ended = Path(folder, LOCK), _describe(), threading.Event()
    path.parent.mkdir(parents=True, exist_ok=True)
    _acquire(path, own)
    thread = threading.Thread(
        target=_beat, args=(path, own, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if _look(path)[0] == own:
            path.unlink()


def user_of(folder: str) -> Optional[str]:
    """Who trains in a work dir now, as far as can be told; None if nobody.

    Args:
        folder (str): The work dir.
    """
    path = Path(folder, LOCK)
    holder, beat = _look(path)
    if beat is None:
        return None
    here, why = _judge(holder, _describe())
    runs = here or why is None and _now(path.parent) - beat <= SILENT
    return _name(holder) if runs else None


def _describe() -> Dict[str, str]:
    env = os.environ
    job = env.get('SLURM_JOB_ID', '')
    if 'SLURM_ARRAY_JOB_ID' in env:  # a member's plain number may be all's
        job = f'{env["SLURM_ARRAY_JOB_ID"]}_{env["SLURM_ARRAY_TASK_ID"]}'
    return dict(
        host=socket.gethostname(),
        pid=str(os.getpid()),
        machine=_machine(),
        birth=_birth(os.getpid()),
        cluster=env.get('SLURM_CLUSTER_NAME', ''),
        job=job,
        step=env.get('SLURM_STEP_ID', 'batch') if job else '',
        restart=env.get('SLURM_RESTART_COUNT', '0') if job else '',
        since=datetime.now().astimezone().isoformat(' ', 'seconds'))


def _acquire(path: Path, own: Dict[str, str]) -> None:
    first = told = None
    while not _create(path, own):
        holder, beat = _look(path)
        if beat is None:  # it has just been released
            continue
        silent = _now(path.parent) - beat
        here, why = _judge(holder, own)
        if why is None and silent > SILENT and not here:
            why = f'it has given no sign of life for {silent:.0f} s'
        if why is not None:
            if _take_over(path, holder, own):
                print_log(f'{path.parent}: taken over from {_name(holder)}: '
                          f'{why}', logger='current', level=logging.WARNING)
                return
            continue
        first = first or beat
        if here or beat != first:
            raise ConfigError(
                f'{path.parent} is in use by {_name(holder)}: wait until it '
                'has ended, stop it, or name another --work-dir')
        if not told:
            told = True
            print_log(
                f'{path} is of {_name(holder)}, which cannot be asked from '
                f'here: waiting for a sign of life, at most '
                f'{SILENT - silent:.0f} s', logger='current',
                level=logging.WARNING)
        time.sleep(1)


def _judge(holder: Dict[str, str], own: Dict[str, str]
           ) -> Tuple[bool, Optional[str]]:
    """Whether a holder is sure to run, and if it does not, why."""
    if not holder:  # between the making and the writing of its file
        return False, None
    if holder['machine'] == own['machine']:
        pid = int(holder['pid'])
        runs = alive(pid) and _birth(pid) in (holder['birth'], '')
        return runs, None if runs else 'that process is gone'
    if not holder['cluster'] or holder['cluster'] != own['cluster']:
        return False, None
    if holder['job'] == own['job'] and holder['restart'] != own['restart']:
        return False, 'this is the same job, requeued'
    found = subprocess.run(
        ['squeue', '--noheader', '--steps', '--jobs', holder['job'],
         '--format', '%i'], capture_output=True, text=True)
    unknown = 'Invalid job id' in found.stderr
    if found.returncode and not unknown:
        return False, None  # slurm does not answer
    runs = f'{holder["job"]}.{holder["step"]}' in found.stdout.split()
    return runs, None if runs else 'that job has ended'


def _name(holder: Dict[str, str]) -> str:
    if not holder:
        return 'a run that has not written its name'
    job = f', slurm job {holder["job"]}' if holder['job'] else ''
    return (f'process {holder["pid"]} on {holder["host"]}{job}, started '
            f'{holder["since"]}')


def _create(path: Path, own: Dict[str, str]) -> bool:
    try:
        with open(path, 'x') as file:
            file.write(json.dumps(own))
    except FileExistsError:
        return False
    return True


def _look(path: Path) -> Tuple[Dict[str, str], Optional[float]]:
    """Who holds a lock, and the time of the last sign of life.

    Opening the file makes a network file system ask its server.
    """
    try:
        with open(path) as file:
            beat, content = os.fstat(file.fileno()).st_mtime, file.read()
    except FileNotFoundError:
        return {}, None
    try:
        holder = json.loads(content)
    except ValueError:  # made, but not written yet
        return {}, beat
    return holder if _describe().keys() == holder.keys() else {}, beat


def _now(folder: Path) -> float:
    """The time by the clock of the file system."""
    with NamedTemporaryFile(dir=folder) as file:
        return os.stat(file.name).st_mtime


def _take_over(path: Path, holder: Dict[str, str],
               own: Dict[str, str]) -> bool:
    """Replace a stale lock; of several runs that try, the last one has it."""
    if _look(path)[0] != holder:
        return False
    with write_atomically(path) as part:
        Path(part).write_text(json.dumps(own))
    time.sleep(_SETTLE)
    return _look(path)[0] == own


def _beat(path: Path, own: Dict[str, str], ended: threading.Event) -> None:
    """Give signs of life; end the process if the lock is another's now."""
    while not ended.wait(BEAT):
        try:
            holder, beat = _look(path)
            if beat is None:
                _create(path, own)
            elif holder == own:
                os.utime(path)
            else:
                os.write(2, f'{path} is of {_name(holder)} now, which took '
                         'this run for gone: ending at once\n'.encode())
                os._exit(1)
        except OSError as error:  # the server may come back
            os.write(2, f'{path}: {error}\n'.encode())


def _machine() -> str:
    """What the numbers of processes belong to: a boot, and a namespace."""
    try:
        boot = Path('/proc/sys/kernel/random/boot_id').read_text().strip()
        return f'{boot} {os.readlink("/proc/self/ns/pid")}'
    except OSError:  # not Linux
        return socket.gethostname()


def _birth(pid: int) -> str:
    """When a process started, in ticks since the boot; empty if unknown."""
    with suppress(OSError):
        stat = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        return stat[19] if stat[0] not in 'ZX' else 'has ended'
    return ''
