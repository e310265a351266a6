"""Look at the labels of every dataset of a config."""
import os.path as osp
from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS

from mona_mm.config import class_of, evaluators, name_of
from mona_mm.text import some

from . import boxes, coco, folders, masks
from .leaves import Leaf, leaves
from .names import Names, as_names, difference, scope_of
from .pictures import Picture, look_at_pictures

#: How labels are read, by the class that defines ``load_data_list``.
READERS: Dict[str, Callable[[Leaf], List[Picture]]] = {
    'mmdet.CocoDataset': coco.read_coco,
    'mmdet.XMLDataset': boxes.read_xml,
    'mmrotate.DOTADataset': boxes.read_dota,
    'mmseg.BaseSegDataset': masks.read_masks,
    'mmpretrain.VOC': boxes.read_xml_classes,
    'mona_mm.VOC2007SingleLabel': boxes.read_xml_classes,
    'mmpretrain.CustomDataset': folders.read_folders,
    'mmpretrain.CIFAR10': folders.read_numbers,
    'mmpretrain.Flowers102': folders.read_loaded,
    'mmpretrain.Food101': folders.read_numbers,
    'mmpretrain.OxfordIIITPet': folders.read_numbers,
    'mona_mm.ImageNetR': folders.read_loaded,
    'mona_mm.SVHN': folders.read_numbers,
    'mmengine.BaseDataset': folders.read_json,
}


class Verdict(NamedTuple):
    """What was found: what stops a run, and what is worth a warning."""

    problems: List[str]
    notes: List[str]


def look(leaf: Leaf) -> Leaf:
    """Find a dataset's classes, and look at its labels and pictures.

    Args:
        leaf (Leaf): A dataset whose files are there.
    """
    if named(leaf).problems or is_remote(leaf.cfg):
        return leaf
    leaf.build()
    if leaf.data is None:
        return leaf
    leaf.classes = as_names(leaf.data.metainfo.get('classes'))
    reader = READERS.get(reader_name(type(leaf.data)), folders.read_loaded)
    pictures = reader(leaf)
    if not leaf.problems:
        look_at_pictures(leaf, pictures)
    return leaf


def reader_name(cls: type) -> str:
    """Which class's way from a label file to labels a dataset takes."""
    owner = next(c for c in cls.__mro__ if 'load_data_list' in vars(c))
    return f'{owner.__module__.split(".")[0]}.{owner.__name__}'


def looked_at(cfg: Config, phase: str, counts: Sequence[int]) -> List[Leaf]:
    """The datasets of a phase, looked at.

    Args:
        cfg (Config): The config of a run.
        phase (str): ``'train'``, ``'val'`` or ``'test'``.
        counts (Sequence[int]): ``num_classes`` of the model's heads.
    """
    where = f'{phase}_dataloader'
    return [
        look(Leaf(where, one.cfg, scope_of(cfg), tuple(counts),
                  one.other_classes))
        for one in leaves(cfg.get(where))
    ]


def compare(cfg: Config, found: Dict[str, List[Leaf]]) -> Verdict:
    """Compare classes between datasets, phases and evaluators.

    Args:
        cfg (Config): The config of a run.
        found (dict[str, list[Leaf]]): The datasets by phase.
    """
    verdict = Verdict([], [])
    start = next((p for p in found if phase_names(found[p])), None)
    for phase, those in found.items():
        # A test set that is not used now must not stop a training.
        later = phase == 'test' and 'train' in found
        tell = (verdict.notes if later else verdict.problems).extend
        tell(_within(those))
        if not later:
            tell(_evaluators(cfg, phase, those))
        if phase != start and phase_names(those):
            tell(_between(start, found[start], phase, those))
    return verdict


def phase_names(those: Sequence[Leaf]) -> Names:
    """What a phase's labels are called; () if nobody says."""
    return next((leaf.classes for leaf in those if leaf.classes), ())


def named(leaf: Leaf) -> Leaf:
    """Find what the config, or the dataset's class, calls the classes.

    Args:
        leaf (Leaf): Nothing of it is read.
    """
    given = (leaf.cfg.get('metainfo') or {}).get('classes')
    given = leaf.cfg.get('classes') if given is None else given
    if isinstance(given, str) and not osp.isfile(given):
        leaf.problems.append(
            f'{leaf.where}: metainfo.classes is the string {given!r}; '
            'expected a tuple of names (a tuple of one needs a comma: '
            f'({given!r}, ))')
    if given is None:
        cls = class_of(leaf.cfg.get('type'), DATASETS, leaf.scope)
        given = (getattr(cls, 'METAINFO', None) or {}).get('classes')
    leaf.classes = as_names(given)
    return leaf


def is_remote(cfg: dict) -> bool:
    """Whether a dataset's or a metric's files are not on this machine."""
    backend = (cfg.get('backend_args') or {}).get('backend', 'local')
    return backend not in ('local', 'disk') or '://' in (
        cfg.get('data_root') or '')


def _within(those: Sequence[Leaf]) -> Iterator[str]:
    known = [leaf for leaf in those
             if leaf.classes and not leaf.other_classes]
    for leaf in known[1:]:
        told = difference(known[0].classes, leaf.classes,
                          f'{leaf.where}: the first dataset',
                          f'another ({leaf.kind}) of the same loader')
        if told:
            yield told


def _between(one: str, these: Sequence[Leaf], other: str,
             those: Sequence[Leaf]) -> Iterator[str]:
    here, there = f'{one}_dataloader', f'{other}_dataloader'
    told = difference(phase_names(these), phase_names(those), here, there)
    if not told:  # names may be the same, and what they were read from not
        written = [next((leaf.written for leaf in leaves if leaf.written),
                        None) for leaves in (these, those)]
        if None not in written:
            told = difference(*written, f'the labels of {here}',
                              f'those of {there}')
    if told:
        yield f'{told}. A label is a place in that list: what one calls ' \
            'by a name the other would score as another'


def _evaluators(cfg: Config, phase: str,
                those: Sequence[Leaf]) -> Iterator[str]:
    for metric in evaluators(cfg.get(f'{phase}_evaluator')):
        name = name_of(metric.get('type'))
        where = f'{phase}_evaluator: {name}'
        yield from _top_k(cfg, where, metric, those)
        path = metric.get('ann_file')
        if not isinstance(path, str) or '://' in path or is_remote(metric):
            continue
        if not osp.isfile(path):
            yield f'{where}: ann_file {path!r} does not exist'
        elif _is(metric, 'CocoMetric', cfg) and phase_names(those):
            yield from _other_file(where, path, those)


def _other_file(where: str, path: str,
                those: Sequence[Leaf]) -> Iterator[str]:
    """Compare the file that an evaluator reads with the dataset's."""
    judge = Leaf(where, dict(type='ann_file'))
    own = [leaf for leaf in those if leaf.data is not None
           and reader_name(type(leaf.data)) == 'mmdet.CocoDataset'
           and not leaf.problems]
    try:
        told = [coco.check_other_file(leaf, path) for leaf in own]
        if any(not osp.samefile(leaf.data.ann_file, path) for leaf in own) or (
                not own):
            coco.check_categories(judge, path, phase_names(those))
    except coco.NotCoco as error:
        yield f'{where}: {error}'
        return
    yield from judge.problems
    if told and all(told):
        yield f'{where}: {told[0]}. Set its ann_file like the dataset\'s'


def _top_k(cfg: Config, where: str, metric: dict,
           those: Sequence[Leaf]) -> Iterator[str]:
    if not _is(metric, 'Accuracy', cfg):
        return
    given = metric.get('topk', 1)
    most = max([given] if isinstance(given, int) else given)
    counts = [len(leaf.classes or ()) or min(leaf.counts, default=0)
              for leaf in those]
    count = min(counts, default=0)
    if 0 < count < most:
        key = where.split(':')[0]
        yield (f'{where}: top-{most} accuracy (topk={given!r}) needs at least '
               f'{most} classes, and there are {count}: set '
               f'--cfg-options {key}.topk=1')


def _is(metric: dict, name: str, cfg: Config) -> bool:
    """Whether a metric's class is, or descends from, one of that name."""
    cls = class_of(metric.get('type'), METRICS, scope_of(cfg))
    return any(c.__name__ == name for c in getattr(cls, '__mro__', ()))


def no_workers(cfg: Config, phase: str) -> List[str]:
    """Settings of a data loader that need workers where there are none.

    Args:
        cfg (Config): The config of a run.
        phase (str): ``'train'``, ``'val'`` or ``'test'``.
    """
    where = f'{phase}_dataloader'
    loader = cfg.get(where) or {}
    needing = [k for k in ('persistent_workers', 'prefetch_factor')
               if loader.get(k)]
    if loader.get('num_workers', 0) or not needing:
        return []
    off = dict(persistent_workers=False, prefetch_factor=None)
    return [
        f'{where}: num_workers=0, but {some(needing)} '
        f'{"need" if len(needing) > 1 else "needs"} workers: set '
        '--cfg-options ' + ' '.join(f'{where}.{k}={off[k]}' for k in needing)
    ]
