"""Our models by name, wherever OpenMMLab looks one up.

``import mona_mm`` makes the names of ``model-index.yml`` known to

- ``_base_ = 'mona_mm::...'`` and ``mmengine.hub`` (which know a fixed list of
  packages),
- ``DetInferencer(NAME)``, ``MMSegInferencer(NAME)``, which look a name up in
  their own library's list,
- mmpretrain's ``get_model(NAME)`` and ``list_models()``.

A library that is not imported yet is met once it is; nothing is imported
here. :func:`mona_mm.compat.undo` undoes it with the rest.
"""
import importlib
import os.path as osp
import sys
from functools import lru_cache, wraps
from types import ModuleType
from typing import Callable, Dict, Iterator, List

from mona_mm.compat import Watch, hub_models, installed, left_alone

#: What mim reads: in a checkout, links to what lies beside the package.
MIM = osp.join(osp.dirname(osp.abspath(__file__)), '.mim')

#: Stands for weights that nobody has published; reading it says so.
UNPUBLISHED = 'mona-mm-unpublished://'

_undo: List[Callable[[], None]] = []


def announce() -> None:
    """Make the names known; called once, by ``import mona_mm``."""
    if _undo or left_alone():
        return
    steps = {'mmengine.config.utils': _know_package,
             'mmengine.config.config': _keep_scopes,
             'mmengine.infer.infer': _know_in_inferencers,
             'mmpretrain.apis.model': _know_in_mmpretrain}

    def after(step: Callable) -> Callable:
        return lambda run, module: (run(module), step(module))

    watch = Watch({name: after(step) for name, step in steps.items()})
    sys.meta_path.insert(0, watch)
    _undo.append(lambda: sys.meta_path.remove(watch))
    installed('names of our models', _withdraw)
    for name, step in steps.items():
        if name in sys.modules:
            step(sys.modules[name])


def _withdraw() -> None:
    while _undo:
        _undo.pop()()


@lru_cache(None)
def models() -> Dict[str, dict]:
    """What ``model-index.yml`` lists: {name in lower case: entry}.

    ``Config`` is a path that can be opened, ``Weights`` the address of the
    published ones or one that says that there are none.
    """
    load = importlib.import_module('mmengine.fileio').load
    found = {}
    for path in load(osp.join(MIM, 'model-index.yml'))['Import']:
        for entry in load(osp.join(MIM, path))['Models']:
            found[entry['Name'].lower()] = dict(
                entry, Config=osp.join(MIM, entry['Config']),
                Weights=entry.get('Weights') or UNPUBLISHED + entry['Name'])
    return found


def _wrap(owner: type, name: str, kind: type, wrapper: Callable) -> None:
    """Let a static or class method of a library go through ours.

    ``wrapper(theirs)`` makes the function; ``kind`` is what it becomes.
    """
    before = vars(owner)[name]
    theirs = getattr(owner, name)
    setattr(owner, name, kind(wraps(theirs)(wrapper(theirs))))
    _undo.append(lambda: setattr(owner, name, before))


def _know_package(utils: ModuleType) -> None:
    utils.MODULE2PACKAGE['mona_mm'] = 'mona_mm'
    _undo.append(lambda: utils.MODULE2PACKAGE.pop('mona_mm', None))


def _keep_scopes(config: ModuleType) -> None:
    """Let ``_base_ = 'mona_mm::...'`` keep the scopes of what it inherits.

    mmengine looks up everything in a config of another package in that
    package's scope. Ours build models of mmdet and others, and say so by
    their ``default_scope``; what is ours has the prefix.
    """
    def keep(theirs):
        def path_and_scope(cfg_path: str, filename: str):
            path, scope = theirs(cfg_path, filename)
            return path, None if scope == 'mona_mm' else scope
        return path_and_scope

    _wrap(config.Config, '_get_cfg_path', staticmethod, keep)


def _know_in_inferencers(infer: ModuleType) -> None:
    """Let inferencers look through our names after their library's."""
    def both(theirs):
        def listed(dir: str) -> Iterator[dict]:
            index = osp.join(dir, 'model-index.yml')
            if not osp.samefile(index, osp.join(MIM, 'model-index.yml')):
                yield from theirs(dir)
            yield from models().values()
        return listed

    _wrap(infer.BaseInferencer, '_get_models_from_metafile', staticmethod,
          both)


def _know_in_mmpretrain(apis: ModuleType) -> None:
    """Let mmpretrain's hub register our classifiers with its own models."""
    def both(theirs):
        def register(cls) -> None:
            theirs()
            known = hub_models(cls)
            if known.keys() & _classifiers().keys():
                return
            for info in _read_classifiers():
                known[info.name.lower()] = info
        return register

    hub = apis.ModelHub
    _wrap(hub, '_register_mmpretrain_models', classmethod, both)
    _undo.append(lambda: [hub_models(hub).pop(name, None)
                          for name in _classifiers()])


def _read_classifiers() -> list:
    """Our classifiers as mmpretrain describes a model."""
    load = importlib.import_module('modelindex.load_model_index').load
    folder = osp.dirname(next(iter(_classifiers().values()))['Config'])
    loaded = load(osp.join(folder, 'metafile.yml'))
    loaded.build_models_with_collections()
    for info in loaded.models:
        entry = models()[info.name.lower()]
        info.config, info.weights = entry['Config'], entry['Weights']
    return loaded.models


def _classifiers() -> Dict[str, dict]:
    return {name: entry for name, entry in models().items()
            if 'classification' in osp.basename(osp.dirname(entry['Config']))}
