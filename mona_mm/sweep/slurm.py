"""The jobs of a sweep as a slurm job array."""
import shlex
from pathlib import Path
from typing import Optional, Sequence

from mona_mm.errors import ConfigError, Interrupted
from mona_mm.text import write_atomically

from .jobs import Job

_SCRIPT = '''#!/usr/bin/env bash
#SBATCH --job-name={name}
#SBATCH --partition={partition}
#SBATCH --array=0-{last}{limit}
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gres=gpu:{gpus}
#SBATCH --cpus-per-task={cpus}
#SBATCH --requeue
#SBATCH --signal=TERM@180
#SBATCH --output={folder}/slurm-%A_%a.log
# One run per array task; line N + 1 of the list is task N. A run that is
# stopped saves, ends with status {stopped}, and is put back into the queue.
cd {place}
command=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {jobs})
export PORT=$((29500 + SLURM_ARRAY_TASK_ID % 1000))
srun bash -c "$command"
status=$?
if [ "$status" -eq {stopped} ]; then
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
'''


def write_slurm(jobs: Sequence[Job],
                partition: str,
                folder: str,
                at_once: Optional[int] = None,
                cpus: int = 5) -> Path:
    """Write a script for ``sbatch``, and the list of commands it reads.

    Only what is not finished is listed; run it again after failures.

    Args:
        jobs (Sequence[Job]): The jobs.
        partition (str): Slurm's partition.
        folder (str): Where the two files and slurm's logs go.
        at_once (int, optional): How many tasks run at a time.
        cpus (int): Cores per GPU. Defaults to 5.

    Returns:
        Path: The script.

    Raises:
        ConfigError: If everything is finished, or a work dir holds another
            run.
    """
    left = [job for job in jobs if job.state() != 'finished']
    if not left:
        raise ConfigError(f'all {len(jobs)} runs are finished')
    for job in left:
        job.claim()
    target = Path(folder).resolve()
    listed, script = target / 'jobs.txt', target / 'sweep.sbatch'
    with write_atomically(listed) as part:
        Path(part).write_text(''.join(
            f'{shlex.join(job.command())}\n' for job in left))
    with write_atomically(script) as part:
        Path(part).write_text(_SCRIPT.format(
            name=target.name, partition=partition, last=len(left) - 1,
            limit=f'%{at_once}' if at_once else '', gpus=left[0].gpus,
            cpus=cpus * left[0].gpus, folder=target, place=Path.cwd(),
            jobs=listed, stopped=Interrupted.status))
    return script
