"""Tables and figures of the miniature study."""
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, Optional

from mona_mm.errors import ConfigError
from mona_mm.reports.cells import load_cells
from mona_mm.reports.curves import panel_of
from mona_mm.reports.figure import draw
from mona_mm.reports.frame import run_frame
from mona_mm.reports.logs import Log, read_log
from mona_mm.reports.names import display_name
from mona_mm.reports.orderings import orderings, results_of
from mona_mm.reports.records import collect
from mona_mm.reports.results import render
from mona_mm.text import write_atomically

from .plan import OUT, TASKS


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
    records = [run for run in collect([folder]) if run['finished']]
    if not records:
        raise ConfigError(f'{folder}: no finished run; start them with '
                          f'tools/mini_study.py --form {form}')
    target = Path(out or folder)
    runs = run_frame(records, load_cells())
    texts = {
        'tables.md': render(records), 'runs.csv': render(records, 'csv'),
        'orderings.md': orderings({
            task.title: results_of(runs, task.config, task.metric)
            for task in TASKS})}
    for name, text in texts.items():
        with write_atomically(target / name) as path:
            Path(path).write_text(text)
    logs: Dict[str, Dict[str, List[Log]]] = {
        task.config: defaultdict(list) for task in TASKS}
    for run in runs.drop_duplicates('run').itertuples():
        logs[run.task][display_name(run.word)].append(
            read_log(Path(run.source).parent))
    found = [task for task in TASKS if logs[task.config]]
    loss = [panel_of(task.title, 'loss', logs[task.config], smooth=8, x='iter')
            for task in found]
    metric = [panel_of(task.title, task.key, logs[task.config], x='epoch')
              for task in found]
    metric = [panel for panel in metric
              if any(len(line.mean) > 1 for line in panel.lines.values())]
    return [*(target / name for name in texts),
            *draw(loss, target / 'loss'), *draw(metric, target / 'metrics')]
