"""Tables and figures of the miniature study."""
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, Optional

from mona_mm.curves import (
    Log,
    Panel,
    display_name,
    draw,
    mean_of_runs,
    read_log,
    running_mean,
)
from mona_mm.errors import ConfigError
from mona_mm.ledger import Run, collect, render_csv, render_markdown
from mona_mm.ledger.tables import measure
from mona_mm.naming import parse_stem
from mona_mm.text import write_atomically

from .claims import CLAIMS, Results, Verdict, judge
from .plan import OUT, TASKS, Task

#: By method, one log per seed.
Logs = Dict[str, List[Log]]
_METRICS = dict(zip((task.name for task in TASKS), (
    ('AP50', 'pascal_voc/mAP'), ('mIoU', 'mIoU'), ('AP50', 'dota/mAP'),
    ('Top 1 Accuracy', 'accuracy/top1'))))


def report(form: str, out: Optional[str] = None) -> List[Path]:
    """Render what is finished of a form.

    Args:
        form (str): ``'short'`` or ``'full'``.
        out (str, optional): Folder of the files; beside the runs by default.

    Returns:
        list[Path]: ``tables.md``, ``orderings.md``, ``runs.csv``, and
        ``loss`` and ``metrics`` as PNG and SVG.

    Raises:
        ConfigError: If no run is finished.
    """
    folder = OUT / form
    runs = [run for run in collect([folder]) if run.finished]
    if not runs:
        raise ConfigError(f'{folder}: no finished run; start them with '
                          f'tools/mini_study.py --form {form}')
    target = Path(out or folder)
    texts = {'tables.md': render_markdown(runs), 'runs.csv': render_csv(runs),
             'orderings.md': orderings(runs)}
    for name, text in texts.items():
        with write_atomically(target / name) as path:
            Path(path).write_text(text)
    return [*(target / name for name in texts), *_figures(target, runs)]


def orderings(runs: List[Run]) -> str:
    """The paper's orderings, one row each, one column per task."""
    judged = {task.title: judge(results_of(runs, task.name))
              for task in TASKS}
    head = ['the paper has', 'where', *judged]
    rows = [[claim.text, claim.source,
             *(_cell(found[claim]) for found in judged.values())]
            for claim in CLAIMS]
    return ''.join(f'| {" | ".join(row)} |\n'
                   for row in (head, ['---'] * len(head), *rows))


def results_of(runs: List[Run], task: str) -> Results:
    """The final metric of every method on a task, in per cent, by seed."""
    read = measure(_METRICS[task][0], 'last')
    found: Dict[str, Dict[int, float]] = defaultdict(dict)
    for run in runs:
        leaf = parse_stem(Path(run.config).stem)
        if leaf.head == task:
            found[leaf.method][run.seed] = read(run)
    return {method: [by_seed[s] for s in sorted(by_seed)]
            for method, by_seed in found.items()}


def _cell(verdict: Optional[Verdict]) -> str:
    if verdict is None:
        return 'not run'
    error = '' if verdict.error is None else f' ± {verdict.error:.1f}'
    return f'{verdict.word} ({verdict.difference:+.1f}{error})'


def _figures(target: Path, runs: List[Run]) -> List[Path]:
    logs: Dict[str, Logs] = {task.name: defaultdict(list) for task in TASKS}
    for run in runs:
        leaf = parse_stem(Path(run.config).stem)
        logs[leaf.head][display_name(leaf.method)].append(
            read_log(Path(run.source).parent))
    loss = [_loss_panel(task, logs[task.name]) for task in TASKS]
    metric = [_metric_panel(task, logs[task.name]) for task in TASKS]
    metric = [panel for panel in metric
              if any(len(line.x) > 1 for line in panel.lines.values())]
    return draw(loss, target / 'loss') + draw(metric, target / 'metrics')


def _loss_panel(task: Task, logs: Logs) -> Panel:
    smooth = 8
    lines = {label: mean_of_runs([
        running_mean(log.curve('loss', 'iter'), smooth) for log in several])
        for label, several in logs.items()}
    return Panel(lines, 'iteration', f'training loss, mean of {smooth} '
                 'logged values', task.title)


def _metric_panel(task: Task, logs: Logs) -> Panel:
    name, key = _METRICS[task.name]
    lines = {label: mean_of_runs([log.curve(key, 'epoch')
                                  for log in several])
             for label, several in logs.items()}
    return Panel(lines, 'epoch', f'{name}, as logged', task.title)
