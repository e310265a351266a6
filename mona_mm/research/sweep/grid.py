"""From methods, tasks and seeds to jobs."""
from pathlib import Path
from typing import Dict, List, Sequence

from mona_mm.errors import ConfigError
from mona_mm.reports.names import Leaf, methods, parse
from mona_mm.text import some

from .jobs import Job


def expand(tasks: Sequence[str] = (),
           method_names: Sequence[str] = ('all', ),
           seeds: Sequence[int] = (0, ),
           configs: Sequence[str] = (),
           work_dir: str = 'work_dirs/sweep',
           **settings) -> List[Job]:
    """List the jobs of a grid, task by task.

    Args:
        tasks (Sequence[str]): One leaf per task; its method does not matter.
        method_names (Sequence[str]): Methods, also with a variant
            (``'mona-b32'``). ``'all'`` stands for every method without
            variant that a task has a leaf of.
        seeds (Sequence[int]): Seeds.
        configs (Sequence[str]): Further leaves, as they are.
        work_dir (str): Runs go to ``<work_dir>/<config>/seed<seed>``.
        **settings: ``options``, ``extra`` and ``gpus`` of :class:`Job`.

    Raises:
        ConfigError: If a leaf does not exist, is named twice, or nothing is
            asked for.
    """
    leaves = [str(leaf) for task in tasks
              for leaf in _of_task(Path(task), method_names)]
    leaves += [str(_existing(Path(config))) for config in configs]
    _check(leaves, seeds)
    return [
        Job(leaf, seed, Path(work_dir, Path(leaf).stem, f'seed{seed}'),
            **settings) for leaf in leaves for seed in seeds
    ]


def _of_task(path: Path, names: Sequence[str]) -> List[Path]:
    leaf = parse(_existing(path).stem)
    there = _siblings(path, leaf)
    chosen = [m for n in names for m in (methods() if n == 'all' else [n])
              if n != 'all' or m in there]
    missing = [m for m in chosen if m not in there]
    if missing:
        raise ConfigError(f'{path.parent}: no {leaf.stem(missing[0])}.py; '
                          f'methods of {leaf.task} are '
                          f'{some(sorted(there), 30)}')
    return [there[m] for m in dict.fromkeys(chosen)]


def _siblings(path: Path, leaf: Leaf) -> Dict[str, Path]:
    found = ((parse(p.stem), p) for p in sorted(path.parent.glob('*.py')))
    return {other.word: p for other, p in found if other.task == leaf.task}


def _existing(path: Path) -> Path:
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob('*.py'))
        raise ConfigError(f'config {str(path)!r} does not exist; its folder '
                          f'has {some(near)}')
    return path


def _check(leaves: Sequence[str], seeds: Sequence[int]) -> None:
    if not leaves or not seeds:
        raise ConfigError('nothing to run: name --tasks or --configs, and at '
                          'least one seed')
    stems = [Path(leaf).stem for leaf in leaves]
    for kind, values in (('config', stems), ('seed', list(seeds))):
        twice = sorted({str(v) for v in values if values.count(v) > 1})
        if twice:
            raise ConfigError(f'{kind} {some(twice)} is asked for twice')
