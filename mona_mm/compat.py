"""Where a library has to be met halfway, each with its reason.

Four things are here and nowhere else in mona_mm: the private names of torch
and the OpenMMLab libraries that are used (:data:`PRIVATE`, with a function
for each), what acts on the whole process (:func:`installed`, :func:`undo`),
the look at mmpretrain's multimodal models, and where modules of mona_mm were
before (:data:`MOVED`).

With the environment variable ``MONA_MM_LEAVE_LIBRARIES=1`` nothing of a
library is replaced: mmengine then reads checkpoints as it does without
mona_mm, which can run any code in them.

``mmpretrain.models`` imports its multimodal models (BLIP, Flamingo, ...) as
soon as any transformers from 4.28 on is installed. They need names that later
versions dropped, so that beside one of those no model of mmpretrain can be
imported, none at all. :func:`watch_mmpretrain` looks at what they need
first, and takes mmpretrain's own way out, the one for environments without
transformers, where something is missing.

Nothing here takes time to import.
"""
import ast
import importlib
import logging
import os
import signal
import sys
import threading
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
)


class Private(NamedTuple):
    """A private name of a library that is used here or in a subclass.

    Attributes:
        owner (str): The module or class that has it, as a dotted path.
        name (str): The name.
        why (str): Why there is no other way.
        inherited (bool): Whether subclasses in mona_mm use it as their own,
            as the library's own subclasses do. Defaults to False.
    """
    owner: str
    name: str
    why: str
    inherited: bool = False


PRIVATE: Tuple[Private, ...] = (
    Private('mmengine.runner.Runner', '_resume',
            'hooks have to know whether a run goes on; the Runner does not '
            'say it in public'),
    Private('mmengine.runner.Runner', '_load_from',
            'errors name the file that a run started from'),
    *(Private('mmengine.runner.Runner', name,
              'the property of that name builds the loop if it is not there '
              'yet, and with it the data') for name in (
                  '_train_loop', '_val_loop', '_test_loop')),
    Private('mmengine.runner.EpochBasedTrainLoop', '_epoch',
            'a loop counts its epochs itself; `epoch` is read-only', True),
    *(Private('mmengine.hooks.CheckpointHook', name,
              'writing and removing are in one method of mmengine; what is '
              'outdated must go after what replaces it is in place', True)
      for name in ('_save_checkpoint_with_step', '_save_best_checkpoint')),
    Private('mmengine.runner.checkpoint.CheckpointLoader', '_schemes',
            'there is a way to register a loader, and none to take it back'),
    Private('mmengine.runner.checkpoint', '_get_mmengine_home',
            'addresses of the model zoo may be relative to it'),
    Private('mmengine.runner.checkpoint', '_process_mmcls_checkpoint',
            'takes the backbone out of a file of the old model zoo'),
    Private('mmengine.config.Config', '_get_cfg_path',
            'a config of another package gets the scope of that package'),
    Private('mmengine.infer.BaseInferencer', '_get_models_from_metafile',
            'inferencers look a name up in one list of models alone'),
    *(Private('mmpretrain.apis.model.ModelHub', name,
              'mmpretrain lists its own models when it is first asked, and '
              'refuses an index with a name that it has')
      for name in ('_register_mmpretrain_models', '_models_dict')),
    Private('mmengine.logging.HistoryBuffer', '_statistics_methods',
            'log buffers hold functions that user code registered, which no '
            'checkpoint can hold'),
    *(Private('mmengine.logging.HistoryBuffer', name,
              'what a log buffer in a checkpoint is made of')
      for name in ('_log_history', '_count_history')),
    Private('mmengine.model.ImgDataPreprocessor', '_channel_conversion',
            'what stands for the mean depends on when channels are swapped'),
    Private('mmengine.dataset.BaseDataset', '_metainfo',
            'classes that are known once the data are read; the property '
            'gives a copy', True),
    Private('mmdet.models.dense_heads.base_dense_head.BaseDenseHead',
            '_predict_by_feat_single',
            'how many boxes of a level are kept is decided within it', True),
    Private('mmpretrain.models.backbones.swin_transformer_v2.'
            'SwinTransformerV2', '_delete_reinit_params',
            'a hook of its own that makes every strict load complain', True),
    Private('torch.nn.Module.state_dict', '_metadata',
            'all that reaches a module of a file through every loader'),
    *(Private('torch._utils', name,
              'torch.save writes these names into files, which are read '
              'without running them')
      for name in ('_rebuild_parameter', '_rebuild_tensor_v2')),
    Private('torch.nn.Module', '_forward_hooks',
            'a fast form that passes a module by has to know who listens'),
    Private('torch.nn.Module', '_forward_pre_hooks', 'as above'),
    Private('torch.nn.Module', '_modules',
            'an attribute of a module costs ten times as much by its name',
            True),
    Private('torch.nn.Conv2d', '_conv_forward',
            'a convolution by other weights than its own, padding included',
            True),
    *(Private('torch.nn.Module', name,
              'what a module keeps of its weights is stale once they move or '
              'are loaded; torch documents it for overriding', True)
      for name in ('_apply', '_load_from_state_dict')),
    Private('torch._C', '_current_graph_task_id',
            'tells a block that is recomputed in a backward pass from one '
            'in a forward pass'),
    Private('torch._utils', '_unflatten_dense_tensors',
            'fourteen gradients out of one buffer in one call'),
    Private('torch.ops.aten', '_softmax_backward_data',
            'the backward of softmax by itself has no public name'),
)

#: Environment variable: leave libraries as they are.
LEAVE = 'MONA_MM_LEAVE_LIBRARIES'
_undo: Dict[str, Callable[[], None]] = {}
_in_children: List[Callable[[], None]] = []
_listens = False
#: The signals that were blocked before a thread forked.
_held = threading.local()


# What acts on the whole process


def installed(what: str, back: Callable[[], None]) -> None:
    """Note what acts on the whole process from now on.

    Args:
        what (str): A few words.
        back (Callable): Puts things back as they were.
    """
    _undo[what] = back


def in_force() -> Tuple[str, ...]:
    """What of mona_mm acts on the whole process now."""
    return tuple(_undo)


def undo() -> None:
    """Leave the process as if nothing of mona_mm acted on it.

    mmengine reads checkpoints as it does without mona_mm again, signals are
    given back, and nothing watches imports or forks.
    """
    for what in list(_undo):
        if back := _undo.pop(what, None):
            back()


def read_checkpoints_with(loaders: Mapping[Any, Callable]) -> None:
    """Let mmengine read checkpoints by other functions than its own.

    mmengine reads a file safely first and, where that fails, with everything
    allowed. Its loaders are found by scheme, for the whole process: whatever
    calls mmengine (``load_from``, ``resume``, ``init_detector``, inferencers)
    would have to ask for ours otherwise.

    Args:
        loaders (Mapping): By what addresses begin with, as mmengine's
            ``register_scheme`` has it.
    """
    if left_alone():
        return
    from mmengine.runner.checkpoint import CheckpointLoader
    what = "mmengine's checkpoint loaders"
    if what not in _undo:
        known = dict(CheckpointLoader._schemes)

        def back() -> None:
            names = {name for prefixes in loaders for name in (
                [prefixes] if isinstance(prefixes, str) else prefixes)}
            for name in names:
                if name in known:
                    CheckpointLoader.register_scheme(
                        name, known[name], force=True)
                else:
                    del CheckpointLoader._schemes[name]

        installed(what, back)
    for prefixes, loader in loaders.items():
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


def in_children(callback: Callable[[], None]) -> None:
    """Call something in every process that is forked from this one.

    Pools and data loaders end their workers by signals, which a parent that
    saves on signals has taught its children to ignore. A pool sends its
    signal once and waits: one that comes before a child has unlearnt that is
    held back until then. Python can register a handler and not take it back;
    hence one that goes through a list.
    """
    global _listens
    if not _listens and hasattr(os, 'register_at_fork'):
        os.register_at_fork(
            before=_hold_signals, after_in_parent=_release_signals,
            after_in_child=_forked)
        _listens = True
    if callback not in _in_children:
        _in_children.append(callback)
    installed('what children do after a fork', _in_children.clear)


def _forked() -> None:
    try:
        for callback in _in_children:
            callback()
    finally:  # a child that stays deaf could not be ended
        _release_signals()


def _hold_signals() -> None:
    if _in_children:
        _held.before = signal.pthread_sigmask(
            signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))


def _release_signals() -> None:
    if hasattr(_held, 'before'):
        signal.pthread_sigmask(signal.SIG_SETMASK, _held.before)
        del _held.before


def left_alone() -> bool:
    """Whether libraries are to be left as they are."""
    return os.environ.get(LEAVE, '') not in ('', '0')


# Private names, by what they tell


def resumes(runner) -> bool:
    """Whether a Runner goes on with a run, rather than starts one."""
    return runner._resume


def started_from(runner) -> Optional[str]:
    """The checkpoint that a Runner has loaded, or will."""
    return runner._load_from


def built_loops(runner) -> Dict[str, Any]:
    """The loops of a Runner that are built: {phase: loop}."""
    from mmengine.runner import BaseLoop
    loops = dict(train=runner._train_loop, val=runner._val_loop,
                 test=runner._test_loop)
    return {k: v for k, v in loops.items() if isinstance(v, BaseLoop)}


def is_inside(owner: Any, frame: Any) -> bool:
    """Whether a method of an object is among the callers of a frame.

    mmengine tells its hooks that a training has ended, and nobody that an
    error has ended it. A signal that comes later (in a notebook) is then not
    the training's, and its handler can only see it from what was interrupted.
    """
    while frame is not None:
        if frame.f_locals.get('self') is owner:
            return True
        frame = frame.f_back
    return False


def inside_runner() -> bool:
    """Whether a Runner has announced itself in this process.

    A module is not told by whom it is used. A Runner's message hub, which it
    makes the current one, is the only trace of it there is from below.
    """
    from mmengine.logging import MessageHub
    return 'experiment_name' in MessageHub.get_current_instance().runtime_info


def mmengine_home() -> str:
    """The folder that mmengine keeps downloads in."""
    from mmengine.runner import checkpoint
    return checkpoint._get_mmengine_home()


def mmcls_backbone(content: dict) -> dict:
    """The backbone in a file of mmcls' model zoo."""
    from mmengine.runner import checkpoint
    return checkpoint._process_mmcls_checkpoint(content)


def hub_models(hub) -> Dict[str, Any]:
    """What mmpretrain's ModelHub knows: {name in lower case: model}."""
    return hub._models_dict


def statistics_of(buffer) -> Dict[str, Callable]:
    """The functions by name that a log buffer offers."""
    return buffer._statistics_methods


def set_statistics(buffer, methods: Dict[str, Callable]) -> None:
    """Give one log buffer functions of its own."""
    buffer._statistics_methods = methods


def swaps_channels(preprocessor) -> bool:
    """Whether a data preprocessor turns BGR into RGB or back.

    mmengine, mmseg and mmpretrain each call it differently.
    """
    names = ('_channel_conversion', 'channel_conversion', 'to_rgb')
    return any(getattr(preprocessor, name, False) for name in names)


def metadata_of(state: Any) -> Dict[str, Dict[str, Any]]:
    """What a state dict says of its modules: {path: what}; none if nothing.

    torch keeps it in an attribute, and gives a module its part of it when
    the state dict is loaded.
    """
    return getattr(state, '_metadata', {})


def set_metadata(state: Any, metadata: Dict[str, Dict[str, Any]]) -> None:
    """Replace what a state dict says of its modules."""
    state._metadata = metadata


def is_watched(module) -> bool:
    """Whether forward hooks of a module want to see every call."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def recomputing() -> bool:
    """Whether a backward pass runs on this thread."""
    import torch
    return torch._C._current_graph_task_id() != -1


def unflatten(flat, like):
    """Views of a flat tensor in the shapes of others, in turn."""
    import torch
    return torch._utils._unflatten_dense_tensors(flat, like)


def softmax_backward(grad, output):
    """The gradient of softmax over the last dimension.

    Args:
        grad (Tensor): Of its output.
        output (Tensor): What it gave.
    """
    import torch
    return torch.ops.aten._softmax_backward_data(grad, output, -1,
                                                 output.dtype)


# Where our own modules were

#: {then: now}, a module before its package. mmengine dumps the classes of a
#: pure Python config with their modules, into work dirs and checkpoints.
MOVED = {f'mona_mm.{then}': f'mona_mm.{now}' for then, now in {
    'datasets': 'data.datasets',
    'detectors.as_released': 'models.as_published',
    'detectors': 'models',
    'metrics': 'data.metrics',
    'engine.check': 'engine.watch.trainable',
    'engine.fingerprint': 'engine.resumable.same_run',
    'engine.fuse_hook': 'engine.evaluate',
    'engine.labels_hook': 'engine.watch.labels',
    'engine.loops': 'engine.resumable.loops',
    'engine.nonfinite': 'engine.watch.nonfinite',
    'engine.run_state': 'engine.resumable.state',
    'engine.saving': 'engine.resumable.saving',
    'engine.schedule': 'engine.resumable.schedule',
    'engine.stop': 'engine.resumable.stop',
}.items()}


def know_old_names() -> None:
    """Let modules of mona_mm be imported by the names in :data:`MOVED`."""
    if not any(isinstance(f, _Moved) for f in sys.meta_path):
        sys.meta_path.insert(0, _Moved())


class _Moved(MetaPathFinder, Loader):
    """Finds a module where it is now; it stays one module."""

    def find_spec(self, name, path=None, target=None) -> Optional[ModuleSpec]:
        if name.startswith('mona_mm.') and _now(name):
            return ModuleSpec(name, self)
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        sys.modules[name] = importlib.import_module(_now(name))


def _now(name: str) -> str:
    """Where a module is that was moved, or is in a package that was."""
    for then, now in MOVED.items():
        if name == then or name.startswith(f'{then}.'):
            return now + name.removeprefix(then)
    return ''


class Watch(MetaPathFinder):
    """Stands in front of the other finders, for the import of some modules.

    Args:
        steps (dict[str, Callable]): ``step(run, module)`` by the module's
            name; ``run(module)`` executes it as usual.
    """

    def __init__(self, steps: Dict[str, Callable]) -> None:
        self.steps = steps

    def find_spec(self, name, path=None, target=None) -> Optional[ModuleSpec]:
        """Find a watched module as usual, and let its step execute it."""
        step = self.steps.get(name)
        spec = step and PathFinder.find_spec(name, path)
        if not spec or not spec.loader:
            return None
        spec.loader.exec_module = partial(step, spec.loader.exec_module)
        return spec


# mmpretrain's multimodal models


_MODELS = 'mmpretrain.models'


def watch_mmpretrain() -> None:
    """Look after the import of mmpretrain's models, if that is to come.

    Nothing is imported now. Called once, by ``import mona_mm``.
    """
    if not (_watch in sys.meta_path or left_alone()) and (
            _MODELS not in sys.modules and find_spec('transformers')):
        sys.meta_path.insert(0, _watch)
        installed("the watch over mmpretrain's models", unwatch_mmpretrain)


def unwatch_mmpretrain() -> None:
    """Undo :func:`watch_mmpretrain`."""
    if _watch in sys.meta_path:
        sys.meta_path.remove(_watch)
    _undo.pop("the watch over mmpretrain's models", None)


def _look_at_multimodal(run: Callable, module: ModuleType) -> None:
    """Run mmpretrain's models as if transformers were not installed.

    Where all is there they run as usual. The flag is put back afterwards:
    datasets of mmpretrain look at it too, and do not need transformers.
    """
    unwatch_mmpretrain()
    missing = module.__file__ and missing_for_multimodal(
        Path(module.__file__).parent)
    if not missing:
        return run(module)
    dependency = importlib.import_module('mmpretrain.utils.dependency')
    before = dependency.WITH_MULTIMODAL
    dependency.WITH_MULTIMODAL = False
    try:
        run(module)
    finally:
        dependency.WITH_MULTIMODAL = before
    logging.getLogger('mona_mm').warning(
        "mmpretrain's multimodal models are left out: %s. Everything else of "
        'mmpretrain works; for those models take a version of transformers '
        'that they know', missing)


def missing_for_multimodal(models: Path) -> str:
    """What mmpretrain's multimodal models need of transformers and lack.

    Args:
        models (Path): The folder of ``mmpretrain.models``.

    Returns:
        str: The first thing that is missing; empty if all is there.
    """
    files = [*sorted((models / 'multimodal').rglob('*.py')),
             models / 'utils/huggingface.py', models / 'utils/tokenizer.py']
    wanted = {need for file in files if file.is_file()
              for need in _imports(ast.parse(file.read_text('utf-8')).body)}
    for name, attribute in sorted(wanted):
        try:
            module = importlib.import_module(name)
        except Exception as error:  # whatever a foreign package raises
            return f'{name} does not import ({error!r})'
        if attribute and not hasattr(module, attribute):
            return f'{name} has no {attribute}'
    return ''


def _imports(body: List[ast.stmt]) -> Iterator[Tuple[str, str]]:
    """(module, name) of what is imported from transformers with a file."""
    for node in body:
        if isinstance(node, (ast.Try, ast.If)):
            yield from _imports(node.body)
        elif isinstance(node, ast.ImportFrom):
            if node.module and node.module.split('.')[0] == 'transformers':
                yield from ((node.module, n.name) for n in node.names)
        elif isinstance(node, ast.Import):
            yield from ((n.name, '') for n in node.names
                        if n.name.split('.')[0] == 'transformers')


_watch = Watch({_MODELS: _look_at_multimodal})
