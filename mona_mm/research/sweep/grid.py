"""From methods, tasks and seeds to jobs."""
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from mmengine.config import Config

from mona_mm.backbones import tuned_class
from mona_mm.backbones.tuned import lacking
from mona_mm.config import backbone_of, tuner_fragments
from mona_mm.errors import ConfigError
from mona_mm.reports.names import methods, parse
from mona_mm.text import some
from mona_mm.tuners import build_tuner

from .jobs import Job


def expand(tasks: Sequence[str] = (),
           method_names: Sequence[str] = ('all', ),
           seeds: Sequence[int] = (0, ),
           configs: Sequence[str] = (),
           work_dir: str = 'work_dirs/sweep',
           **settings) -> List[Job]:
    """List the jobs of a grid, task by task.

    Args:
        tasks (Sequence[str]): One config per task; its method does not
            matter.
        method_names (Sequence[str]): Methods, also with a variant
            (``'mona-b32'``): see :func:`of_task`. ``'all'`` stands for every
            method whose sites the task's backbone has, without variants.
        seeds (Sequence[int]): Seeds.
        configs (Sequence[str]): Further configs, as they are.
        work_dir (str): Runs go to ``<work_dir>/<config>/seed<seed>``, with
            ``_<method>`` behind the config where ``--tuner`` sets it.
        **settings: ``options``, ``extra`` and ``gpus`` of :class:`Job`.

    Raises:
        ConfigError: If a config or a method does not exist, a run is named
            twice, or nothing is asked for.
    """
    found = []
    for task in tasks:
        words = [word for name in method_names for word in (
            fitting(task) if name == 'all' else [name])]
        found += [of_task(task, word) for word in dict.fromkeys(words)]
    found += [(str(_existing(Path(config))), None) for config in configs]
    if not found or not seeds:
        raise ConfigError('nothing to run: name --tasks or --configs, and at '
                          'least one seed')
    jobs = [Job(config, seed, tuner=tuner, **settings)
            for config, tuner in found for seed in seeds]
    for kind, values in (('config', [job.stem for job in jobs[::len(seeds)]]),
                         ('seed', list(seeds))):
        twice = sorted({str(v) for v in values if values.count(v) > 1})
        if twice:
            raise ConfigError(f'{kind} {some(twice)} is asked for twice')
    return [job.into(work_dir) for job in jobs]


def fitting(config: str) -> List[str]:
    """The methods whose sites a config's backbone has, in the usual order.

    Args:
        config (str): Any config of the task.
    """
    cfg = Config.fromfile(_existing(Path(config)))
    family = tuned_class(backbone_of(cfg), cfg.get('default_scope'))
    fragments = tuner_fragments()
    return [word for word in methods() if word in fragments and not lacking(
        family, build_tuner(Config.fromfile(fragments[word]).tuner))]


def of_task(config: str, word: str) -> Tuple[str, Optional[str]]:
    """How a task is trained with a method.

    Args:
        config (str): Any config of the task.
        word (str): The method, perhaps with a variant: ``'mona-b32'``.

    Returns:
        tuple[str, str | None]: The method's own config of the task, which
        knows its recipe, and None; where there is none the task's config, and
        what ``--tuner`` gets: a file of the folder's ``tuners``, or else the
        method's name.

    Raises:
        ConfigError: If there is no such config or method.
    """
    path = _existing(Path(config))
    leaf, folder = parse(path.stem), path.parent
    own = folder / f'{leaf.stem(word)}.py'
    if own.is_file():
        return str(own), None
    home = _existing(folder / f'{leaf.task}.py')
    files = {file.stem: str(file) for file in folder.glob('tuners/*.py')}
    known = {**dict.fromkeys(tuner_fragments()), **files}
    if word not in known:
        raise ConfigError(f'{leaf.task}: no method {word!r}; expected of '
                          f'{some(sorted(known), 30)}, or one with a config '
                          f'of its own, {own}')
    return str(home), known[word] or word


def _existing(path: Path) -> Path:
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob('*.py'))
        raise ConfigError(f'config {str(path)!r} does not exist; its folder '
                          f'has {some(near)}')
    return path
