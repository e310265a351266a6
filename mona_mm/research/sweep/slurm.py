"""The jobs of a sweep as a slurm job array."""
from pathlib import Path
from typing import Optional, Sequence

from mona_mm.engine.cluster import Request, write_script
from mona_mm.engine.resumable.lock import user_of
from mona_mm.errors import ConfigError

from .jobs import Job


def write_slurm(jobs: Sequence[Job],
                partition: str,
                folder: str,
                at_once: Optional[int] = None,
                cpus: int = 5,
                time: Optional[str] = None,
                account: Optional[str] = None,
                options: Sequence[str] = ()) -> Path:
    """Write a script for ``sbatch``; the commands are in it.

    It runs what is neither finished nor running now; write and submit another
    after failures.

    Args:
        jobs (Sequence[Job]): The jobs.
        partition (str): Slurm's partition.
        folder (str): Where the script and slurm's logs go.
        at_once (int, optional): How many tasks run at a time.
        cpus (int): Cores per GPU. Defaults to 5.
        time (str, optional): Time limit of a task.
        account (str, optional): Whom it is charged to.
        options (Sequence[str]): Further options of ``sbatch``.

    Returns:
        Path: The script.

    Raises:
        ConfigError: If nothing is left to run, or a work dir holds another
            run.
    """
    left = [job for job in jobs if job.state() != 'finished']
    users = {job.folder: user_of(job.folder) for job in left}
    for job in left:
        if users[job.folder]:
            print(f'{job.name}: left out, runs now ({users[job.folder]})')
    idle = [job for job in left if not users[job.folder]]
    if not idle:
        raise ConfigError(f'all {len(jobs)} runs are finished' + (
            f', or run now ({len(left)})' if left else ''))
    for job in idle:
        job.claim()
    gpus = idle[0].gpus
    script = Path(folder).resolve() / 'sweep.sbatch'
    request = Request(
        partition, script.parent.name, gpus=gpus, cpus=cpus * max(gpus, 1),
        time=time, account=account, options=tuple(options))
    write_script(script, request, [job.command() for job in idle],
                 f'0-{len(idle) - 1}' + (f'%{at_once}' if at_once else ''))
    return script
