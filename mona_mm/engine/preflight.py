"""What can be checked before data are read and models are built."""
import inspect
import os
import os.path as osp
from contextlib import suppress
from tempfile import TemporaryFile
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from mmengine.config import Config
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mona_mm.checkpoint.cache import SHIPPED, is_url, on_disk, on_hub
from mona_mm.checkpoint.candidates import pretrained_cfg
from mona_mm.checkpoint.receiving import check_url
from mona_mm.config import (
    class_of,
    datasets,
    evaluators,
    model_inside,
    name_of,
)
from mona_mm.data.labels.leaves import Leaf, leaves
from mona_mm.data.labels.look import (
    compare,
    is_remote,
    looked_at,
    named,
    no_workers,
)
from mona_mm.data.labels.names import scope_of
from mona_mm.errors import ConfigError

from .fit import check_for_training
from .resumable.newest import newest_checkpoint, save_folders
from .shard import uses_old_form

_OTHER_HEADS = ('backbone', 'neck', 'rpn_head', 'semantic_head',
                'panoptic_head', 'panoptic_fusion_head')


def preflight(cfg: Config, phases: Sequence[str]) -> List[str]:
    """Check files, labels and classes of a config, all at once.

    Args:
        cfg (Config): The config of the run.
        phases (Sequence[str]): Of ``'train'``, ``'val'``, ``'test'``. With
            ``'train'``, the test set's classes are looked at if it is there.

    Returns:
        list[str]: What does not stop a run, and should be said.

    Raises:
        ConfigError: With one line for everything that is wrong.
    """
    problems, notes = [], []
    found: Dict[str, List[Leaf]] = {}
    heads = dict(_head_counts(cfg.model, 'model'))
    for phase in phases:
        where = f'{phase}_dataloader'
        missing = [line for path, dataset in datasets(cfg.get(where), where)
                   for line in _missing_files(where, path, dataset)]
        problems += no_workers(cfg, phase) + missing
        if missing:
            continue
        found[phase] = looked_at(cfg, phase, heads.values())
        for leaf in found[phase]:
            problems += leaf.problems + _class_counts(leaf, heads)
            notes += leaf.notes
    if 'train' in phases and 'test' not in phases:
        # What the config calls the classes of a set that may not exist.
        found['test'] = [named(Leaf('test_dataloader', one.cfg, scope_of(cfg)))
                         for one in leaves(cfg.get('test_dataloader'))]
    compared = compare(cfg, found)
    problems, notes = problems + compared.problems, notes + compared.notes
    if 'train' in phases:
        problems += _unknown_of_loop(cfg)
        problems += _missing_base(model_inside(cfg.model))
        if cfg.get('activation_checkpointing'):
            problems.append(
                'activation_checkpointing is re-entrant in mmengine: with a '
                'frozen input no gradient would reach what a tuner inserts; '
                'set model.backbone.with_cp=True instead')
        if uses_old_form(cfg):
            problems.append(
                "mmengine's FSDP refuses frozen parameters, or fails when it "
                "saves the optimizer: leave it out of the config, and train "
                'with --shard')
    if 'test' in phases:
        # mmrotate refuses them, after hours of inference.
        problems += [
            f'test_evaluator.outfile_prefix {prefix!r} exists already: move '
            'it, or set another with --cfg-options '
            'test_evaluator.outfile_prefix=...'
            for e in evaluators(cfg.get('test_evaluator'))
            if e.get('merge_patches') and (prefix := e.get('outfile_prefix'))
            and osp.exists(prefix)]
    if problems:
        lines = dict.fromkeys(problems)  # train and val often share a root
        raise ConfigError('the config cannot run:\n- ' + '\n- '.join(lines))
    return list(dict.fromkeys(notes))


def check_start(cfg: Config) -> None:
    """Read the checkpoint that a run starts from, before anything is built.

    Args:
        cfg (Config): With ``resume`` and no ``load_from``, the latter becomes
            the newest complete checkpoint of the work dir.

    Raises:
        CheckpointError: If it is missing, damaged, no checkpoint, or of
            another run than this one.
    """
    if cfg.get('resume') and cfg.get('load_from') is None:
        cfg.load_from = newest_checkpoint(cfg)
        cfg.resume = cfg.load_from is not None
    if cfg.get('load_from') is not None:
        check_for_training(cfg, cfg.load_from)


def check_folders(cfg: Config) -> None:
    """Try to write where logs and checkpoints will go, leaving nothing.

    Raises:
        ConfigError: If that is impossible; it names the folder and why.
    """
    for folder in save_folders(cfg):
        check_folder(folder, 'logs and checkpoints go there; name another '
                     'folder with --work-dir')


def check_folder(folder: str, use: str) -> None:
    """Try to write to a folder, or to where it will be, leaving nothing.

    Args:
        folder (str): The folder.
        use (str): What it is for and how to name another, for the error.

    Raises:
        ConfigError: If that is impossible.
    """
    there = osp.abspath(folder)
    try:
        with suppress(FileNotFoundError):
            os.lstat(there)  # is it a name at all?
        while not osp.lexists(there):
            there = osp.dirname(there)
        with TemporaryFile(dir=there) as file:
            file.write(b'0' * 4096)
            file.flush()
    except (OSError, ValueError) as error:
        why = getattr(error, 'strerror', None) or error
        raise ConfigError(
            f'cannot write to {folder!r} ({why}): {use}') from error


def _missing_files(where: str, place: str, dataset: dict) -> List[str]:
    root = dataset.get('data_root') or ''
    if is_remote(dataset):
        return []
    name = f'{where}: {name_of(dataset.get("type"))}'
    if root and not osp.isdir(root):
        return [
            f'{name}: data_root {root!r} does not exist; data/README.md '
            'says what goes there, or set '
            f'--cfg-options {place}.data_root=...'
        ]
    prefix = dataset.get('data_prefix') or {}
    prefixes = prefix if isinstance(prefix, dict) else {'': prefix}
    given = {'ann_file': dataset.get('ann_file'), **{
        f'data_prefix.{k}'.rstrip('.'): v for k, v in prefixes.items()}}
    return [
        f'{name}: {key} {path!r} does not exist (with data_root: '
        f'{osp.join(root, path)})' for key, path in given.items()
        if isinstance(path, str) and path
        and not osp.exists(osp.join(root, path))
    ]


def _class_counts(leaf: Leaf, heads: Dict[str, int]) -> List[str]:
    if not leaf.classes or 'Panoptic' in leaf.kind:
        return []  # things and stuff are counted apart
    count = len(leaf.classes)
    shown = ', '.join(leaf.classes[:4]) + (', ...' if count > 4 else '')
    return [
        f'{path}={wrong}, but the {count} classes of {leaf.where} '
        f'({leaf.kind}) are {shown}: set one like the other'
        for path, wrong in heads.items() if wrong != count
    ]


def _head_counts(node: Any, path: str) -> Iterator[Tuple[str, int]]:
    """Every num_classes of a model's heads.

    Not those of other tasks: a region proposal's is 1, and a semantic branch
    beside a detector has classes of its own.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            if key == 'num_classes' and isinstance(value, int):
                yield f'{path}.{key}', value
            elif key not in _OTHER_HEADS:
                yield from _head_counts(value, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from _head_counts(value, f'{path}[{i}]')


def _unknown_of_loop(cfg: Config) -> List[str]:
    """What ``train_cfg`` says that its loop does not take."""
    given = cfg.get('train_cfg') or {}
    kind = given.get('type') or (
        EpochBasedTrainLoop if given.get('by_epoch') else IterBasedTrainLoop)
    loop = class_of(kind, LOOPS, cfg.get('default_scope'))
    if loop is None:
        return []  # whoever builds it says so
    parameters = inspect.signature(loop).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return []
    # The Runner gives the first two.
    known = [p.name for p in parameters if p.name not in (
        'runner', 'dataloader')]
    return [
        f'train_cfg.{key}: {loop.__name__} takes no such argument; expected '
        f'of {", ".join(known)}'
        for key in given if key not in (*known, 'type', 'by_epoch')]


def _missing_base(model: dict) -> List[str]:
    init_cfg = pretrained_cfg((model.get('backbone') or {}).get('init_cfg'))
    source = (init_cfg or {}).get('checkpoint')
    if not isinstance(source, str):
        return []
    if is_url(source):
        try:
            check_url(on_hub(source))
        except ValueError as error:
            return [f'model.backbone.init_cfg.checkpoint {source!r} is no '
                    f'address of a file: {error}']
    if '://' in source and not source.startswith(SHIPPED):
        return []
    if osp.isfile(on_disk(source)):
        return []
    return [
        f'model.backbone.init_cfg.checkpoint {source!r} does not exist '
        f'(looked for {osp.abspath(osp.expanduser(source))}): give the path '
        'or URL of the pretrained backbone; docs/weights.md lists them'
    ]
