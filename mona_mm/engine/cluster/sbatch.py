"""A script for ``sbatch`` that runs trainings until they are done."""
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence, Tuple

from mona_mm.errors import ConfigError, Interrupted
from mona_mm.text import write_atomically

#: Seconds before a time limit at which slurm asks a run to save.
NOTICE = 180
_ROOT = Path(__file__).parents[3]

_SCRIPT = '''#!/usr/bin/env bash
{directives}
# Written by mona_mm; `sbatch` of this file submits it again. A training goes
# on from the newest checkpoint of its work dir. When it is asked to stop (time
# limit, pre-emption, scancel --signal=TERM JOB) it saves and ends with status
# {stopped}, or {term} while it is starting, and is put back into the queue,
# unless the job was cancelled.

job=${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID}}
job=${{job:-${{SLURM_JOB_ID:-}}}}
step= asked=

# A scheduler under load may miss a request.
insist() {{
    local pause
    for pause in 1 5 20 60; do
        "$@" && return
        sleep "$pause"
    done
    "$@"
}}

running() {{
    [ "$(insist squeue --noheader --jobs="$job" --format=%T)" = RUNNING ]
}}

# TERM to this shell (scancel --batch) goes on to the training, once there is
# a step to send it to. When slurm ends the job it has told the step itself.
pass_on() {{
    trap '' TERM
    asked=${{step:-early}}
    [ -n "$step" ] && running || return 0
    until squeue --noheader --steps --jobs="$job" --format=%i |
            grep --quiet '\\.[0-9]' || ! kill -0 "$step" 2> /dev/null; do
        sleep 1
    done
    scancel --signal=TERM "$job"
}}
trap pass_on TERM

{choice}
[ "${{#command[@]}}" -gt 0 ] || exit 1
cd -- {place} || exit 1
export PYTHONPATH={root}"${{PYTHONPATH:+:$PYTHONPATH}}"

# srun ends with the highest status of its processes, and when one fails it
# sends TERM to the others: a failure has to be higher than a stop.
process='trap : TERM INT
"$@"
status=$?
[ $status -ne {term} ] || status={stopped}
[ $status -eq 0 ] || [ $status -ge {stopped} ] || status=$((status + 170))
exit $status'
status={term}
if [ -z "$asked" ]; then
    srun --kill-on-bad-exit=1 --cpus-per-task="${{SLURM_CPUS_PER_TASK:-1}}" \\
        bash -c "$process" run "${{command[@]}}" &
    step=$!
    [ "$asked" != early ] || pass_on
    while :; do
        before=$asked
        wait "$step"
        status=$?
        [ "$asked" != "$before" ] || break # else the signal ended the wait
    done
fi
[ "$status" -le 170 ] || status=$((status - 170))

case $status in
{stopped} | {term})
    if running; then
        echo "stopped with status $status: back into the queue"
        insist scontrol requeue "$job" || echo 'not requeued: submit it again'
    fi
    ;;
esac
exit "$status"
'''


@dataclass(frozen=True)
class Request:
    """What a job asks slurm for.

    Attributes:
        partition (str): Slurm's partition.
        name (str): The job's name.
        tasks (int): Processes that slurm starts.
        tasks_per_node (int): Of which on one node, at most.
        gpus (int): GPUs on each node, may be none.
        cpus (int): Cores of each process.
        time (str, optional): Time limit as slurm writes it, e.g.
            ``'1-12:00:00'``. Defaults to the partition's.
        account (str, optional): Whom it is charged to.
        options (tuple[str]): Further options of ``sbatch``; they win over
            those above.
    """
    partition: str
    name: str
    tasks: int = 1
    tasks_per_node: int = 1
    gpus: int = 1
    cpus: int = 5
    time: Optional[str] = None
    account: Optional[str] = None
    options: Tuple[str, ...] = ()

    def directives(self, log: Path, array: str = '') -> str:
        """The ``#SBATCH`` lines.

        Args:
            log (Path): Where the output goes, in slurm's pattern from its
                last part on.
            array (str): Indices of a job array.

        Raises:
            ConfigError: If a value cannot stand in such a line.
        """
        folder = str(log.parent).replace('%', '%%')
        found = {
            'job-name': re.sub(r'[^\w.+-]', '_', self.name),
            'partition': self.partition,
            'array': array,
            'nodes': str(-(-self.tasks // self.tasks_per_node)),
            'ntasks': str(self.tasks),
            'ntasks-per-node': str(self.tasks_per_node),
            'gres': f'gpu:{self.gpus}' if self.gpus else 'none',
            'cpus-per-task': str(self.cpus),
            'time': _time(self.time),
            'account': self.account,
        }
        lines = [f'--{key}={_word(key, value)}'
                 for key, value in found.items() if value]
        lines += ['--requeue', '--open-mode=append',
                  f'--signal=TERM@{NOTICE}',
                  f'--output={_quoted(f"{folder}/{log.name}")}']
        lines += [_option(option) for option in self.options]
        return '\n'.join(f'#SBATCH {line}' for line in lines)


def write_script(path: Path, request: Request,
                 commands: Sequence[Sequence[str]],
                 array: Optional[str] = None) -> None:
    """Write a script for ``sbatch`` that runs one training, or an array.

    It depends on nothing that a later call changes: slurm keeps its own copy,
    and the commands are in it.

    Args:
        path (Path): The script. Logs go beside it.
        request (Request): What to ask for.
        commands (Sequence[Sequence[str]]): One command, or one for each
            member of the array.
        array (str, optional): The array's indices.

    Raises:
        ConfigError: If a word cannot be written into a script.
    """
    path = Path(path).absolute()
    if array is None:
        choice = f'command=({_line(commands[0])})'
        log = f'{path.stem}-%j.log'
    else:
        members = [f'{i}) command=({_line(c)}) ;;'
                   for i, c in enumerate(commands)]
        choice = '\n'.join([
            'command=()', 'case $SLURM_ARRAY_TASK_ID in', *members,
            '*) echo "no run has the number $SLURM_ARRAY_TASK_ID" >&2 ;;',
            'esac'])
        log = 'slurm-%A_%a.log'
    text = _SCRIPT.format(
        directives=request.directives(path.parent / log, array or ''),
        choice=choice, place=_line([str(Path.cwd())]),
        root=_line([str(_ROOT)]), stopped=Interrupted.status, term=128 + 15)
    with write_atomically(path) as part:
        Path(part).write_text(text)


def _line(words: Sequence[str]) -> str:
    for word in words:
        if not word.isprintable():
            raise ConfigError(f'{word!r} holds a control character, which '
                              'cannot go into a script')
    return shlex.join(words)


def _word(key: str, value: str) -> str:
    if not re.fullmatch(r'[\w.,:+%-]+', value):
        raise ConfigError(f'{key} {value!r} cannot stand in a script for '
                          'slurm: letters, digits and . , : + - can')
    return value


def _quoted(value: str) -> str:
    """A value in the quotes of an ``#SBATCH`` line, if it needs them."""
    if not value.isprintable() or re.search(r'["\\]', value):
        raise ConfigError(f'{value!r} cannot stand in a script for slurm: it '
                          'holds a quote, a backslash or a control character')
    return f'"{value}"' if re.search(r"[\s#']", value) else value


def _option(option: str) -> str:
    name, equals, value = option.partition('=')
    if not re.fullmatch(r'--[a-z][a-z-]*', name):
        raise ConfigError(f'{option!r} is no option of sbatch as it is needed '
                          'here: --name=value or --name')
    return name + equals + (_quoted(value) if equals else '')


def _time(limit: Optional[str]) -> Optional[str]:
    """Check a time limit: a run needs time to start before it has to stop.

    Slurm reads M, M:S, H:M:S, D-H, D-H:M and D-H:M:S.
    """
    if limit in (None, '0', 'UNLIMITED', 'INFINITE'):
        return limit
    form = re.fullmatch(r'(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?', limit)
    if form is None:
        raise ConfigError(f'time limit {limit!r} is not one: minutes, '
                          'hours:minutes:seconds or days-hours:minutes')
    days, *rest = form.groups()
    numbers = [int(n) for n in rest if n is not None]
    units = [3600, 60, 1] if days or len(numbers) == 3 else [60, 1]
    seconds = int(days or 0) * 86400 + sum(
        n * unit for n, unit in zip(numbers, units))
    if seconds <= 2 * NOTICE:
        raise ConfigError(
            f'time limit {limit!r} is {seconds} s, and a run is asked to save '
            f'{NOTICE} s before: it would do nothing else; more than '
            f'{2 * NOTICE} s are needed')
    return limit
