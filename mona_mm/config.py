"""What a config says, in whatever form it is written.

A ``type`` may be a registered name (``CocoDataset``), one with its library
(``mmdet.CocoDataset``), a dotted path (what a pure Python config is dumped
with), or the class itself (in a pure Python config). Datasets may be wrapped,
models too, and evaluators may be one or many. Whoever looks into a config, or
changes it, asks here.
"""
import difflib
import inspect
import os.path as osp
import re
from glob import glob
from typing import Any, Dict, Iterator, List, Optional, Tuple

from mmengine.config import Config, ConfigDict
from mmengine.config.utils import ConfigParsingError
from mmengine.registry import MODELS, Registry
from mmengine.utils import get_object_from_string

from mona_mm.errors import ConfigError
from mona_mm.hub import MIM

#: The libraries of the suite, each a default scope.
LIBRARIES = ('mmdet', 'mmseg', 'mmpretrain', 'mmrotate')
#: Settings that say how a run is launched, or where something is, and not
#: what it computes. Those of a backbone that change nothing are stated by its
#: class (``free``).
_NO_DEVIATION = re.compile(
    r'(default_hooks|env_cfg|launcher|load_from|log_|model_wrapper_cfg|'
    r'randomness\.seed|resume|show_dir|train_cfg\.(by_epoch|type)|tuner|'
    r'vis_backends|visualizer|work_dir).*|(--)?(seed|work-dir)|shard|'
    r'(.+\.)?(data_root|sub_data_root|data_prefix(\..+)?|'
    r'init_cfg\.checkpoint)', re.DOTALL)
_FRAGMENTS = osp.join(MIM, 'configs', '_base_', 'tuners')


def tuner_fragments() -> Dict[str, str]:
    """The files that ``--tuner`` knows by name: {name: path}."""
    paths = sorted(glob(osp.join(_FRAGMENTS, '*.py')))
    return {osp.basename(path)[:-3]: path for path in paths}


def read_config(path: str) -> Config:
    """Parse a config file.

    Raises:
        ConfigError: If it does not exist (close names are suggested) or does
            not parse.
    """
    if not osp.isfile(path):
        known = glob('configs/**/*.py', recursive=True)
        close = difflib.get_close_matches(path, known, n=3, cutoff=0.5)
        raise ConfigError(f'config {path!r} does not exist' + (
            f'; did you mean {" or ".join(close)}?' if close else ''))
    try:
        return Config.fromfile(path)
    except FileNotFoundError as error:
        raise ConfigError(f'config {path!r}: a base is missing: '
                          f'{error}') from error
    except (SyntaxError, NameError, ImportError, LookupError, TypeError,
            ValueError, AttributeError, ConfigParsingError) as error:
        raise ConfigError(f'config {path!r} does not parse: '
                          f'{type(error).__name__}: {error}') from error


def name_of(kind: Any) -> str:
    """The bare name of a ``type``: ``CocoDataset``, in all its forms."""
    if isinstance(kind, str):
        return kind.rpartition('.')[2]
    return getattr(kind, '__name__', str(kind))


def means(kind: Any, cls: type, *names: str) -> bool:
    """Whether a ``type`` means this very class, and no other of its name.

    Args:
        kind (str | type | None): The ``type``.
        cls (type): A class of mmengine or torch.
        *names (str): Further names that it is registered under.
    """
    if not isinstance(kind, str):
        return kind is cls
    library = cls.__module__.split('.')[0]
    if kind.removeprefix(f'{library}.') in (cls.__name__, *names):
        return True
    return '.' in kind and get_object_from_string(kind) is cls


def class_of(kind: Any, registry: Registry,
             scope: Optional[str] = None) -> Optional[type]:
    """The class that a ``type`` means.

    Args:
        kind (str | type | None): The ``type``.
        registry (Registry): mmengine's, in which names are looked up.
        scope (str, optional): The config's ``default_scope``.

    Returns:
        type, optional: None if there is no such class: whoever builds it
        says so.
    """
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(scope) as inner:
        try:
            return inner.get(kind)
        except RuntimeError:  # mmengine's word for an unknown name
            return None


def takes(cls: Optional[type], argument: str) -> bool:
    """Whether a class has an argument of this name."""
    return cls is not None and argument in inspect.signature(cls).parameters


def datasets(data: Any, path: str = '',
             wrappers: bool = False) -> Iterator[Tuple[str, dict]]:
    """The datasets of one loader, or of several: those that read files.

    Args:
        data (dict | list | None): A data loader's config, or a list of them,
            or a dataset's. A wrapper has ``dataset`` (repeated,
            class-balanced, mixed, k-fold) or ``datasets`` (joined).
        path (str): What it is called in the config. Defaults to ''.
        wrappers (bool): Give what wraps them instead. Defaults to False.

    Yields:
        tuple[str, dict]: Its name for ``--cfg-options``, and the dataset.
    """
    if isinstance(data, (list, tuple)):
        for i, child in enumerate(data):
            yield from datasets(child, f'{path}.{i}', wrappers)
    elif isinstance(data, dict):
        inner = {key: data.get(key) for key in ('dataset', 'datasets')}
        wraps = any(
            isinstance(child, dict)
            for child in (inner['dataset'], *(inner['datasets'] or ())))
        if wraps == wrappers:
            yield path, data
        for key, child in inner.items() if wraps else ():
            yield from datasets(child, f'{path}.{key}', wrappers)


def evaluators(found: Any) -> List[dict]:
    """The metrics in an evaluator's config: one, several or none.

    Args:
        found (dict | list | None): A metric, a list of them, or an evaluator
            that has them as its ``metrics``.
    """
    if isinstance(found, dict) and 'metrics' in found:
        found = found['metrics']
    if isinstance(found, (list, tuple)):
        return list(found)
    return [found] if found else []


def model_inside(model: dict) -> dict:
    """The model itself, inside test-time augmentation and other wrappers."""
    while 'backbone' not in model:
        inner = [model[k] for k in ('module', 'detector', 'model')
                 if isinstance(model.get(k), dict)]
        if not inner:
            return model
        model = inner[0]
    return model


def backbone_of(cfg: dict) -> dict:
    """A config's backbone; an empty one if it has none."""
    model = model_inside(cfg.get('model') or {})
    return model.get('backbone') or ConfigDict()


def library_of(cfg: dict) -> str:
    """The library whose model a config trains: ``'mmdet'`` and so on.

    A pure Python config needs no ``default_scope``, and a user's package may
    be one. A rotated detector may be of a class of mmdet, with parts of
    mmrotate.
    """
    scope = cfg.get('default_scope')
    if scope in LIBRARIES:
        return scope
    model = model_inside(cfg.get('model') or {})
    cls = class_of(model.get('type'), MODELS, scope)
    roots = [base.__module__.split('.')[0]
             for base in getattr(cls, '__mro__', ())]
    found = next((r for r in roots if r in LIBRARIES), scope or 'mmengine')
    return 'mmrotate' if found == 'mmdet' and 'mmrotate' in _roots(
        model) else found


def _roots(node: Any) -> Iterator[str]:
    """The packages of all types in a part of a config."""
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _roots(child)
    elif isinstance(node, dict):
        kind = node.get('type')
        path = kind if isinstance(kind, str) else getattr(
            kind, '__module__', '')
        yield path.split('.')[0]
        yield from _roots(list(node.values()))


def is_deviation(key: str) -> bool:
    """Whether a setting, once changed, makes another experiment of a run.

    Args:
        key (str): As for ``--cfg-options``, or an option of a tool.
    """
    return not _NO_DEVIATION.fullmatch(key)


def changes(cfg: Config) -> List[str]:
    """How a run's config differs from its file, as ``key=value``.

    Args:
        cfg (Config): The config as the runner got it.

    Returns:
        list[str]: Deviations: settings that were changed, added or removed
        after the file was read. What the backbone calls ``free`` is none.
    """
    if not cfg.filename or not osp.isfile(cfg.filename):
        return []
    file = Config.fromfile(cfg.filename)
    if option := cfg.get('tuner_option'):
        # --tuner says which method it is, as the config's name does.
        backbone_of(file).update(type=option.type, tuner=None)
        backbone_of(file).tuner = option.tuner
    written = flat(file.to_dict())
    used = flat(cfg.to_dict())
    cls = class_of(backbone_of(cfg).get('type'), MODELS,
                   cfg.get('default_scope'))
    free = {f'model.backbone.{name}' for name in getattr(cls, 'free', ())}
    gone = object()
    return [
        f'{key}={used.get(key, "(removed)")}'
        for key in sorted({**written, **used})
        if written.get(key, gone) != used.get(key, gone)
        and is_deviation(key) and key not in free]


def flat(node: Any, name: str = '') -> Dict[str, Any]:
    """The settings of a config by the names that ``--cfg-options`` takes.

    Args:
        node (dict | list | Any): A config, as plain data; an empty container
            is a setting.
        name (str): What it is called. Defaults to ''.
    """
    if isinstance(node, dict) and node:
        items = node.items()
    elif isinstance(node, (list, tuple)) and node:
        items = enumerate(node)
    else:
        return {name: node}
    found: Dict[str, Any] = {}
    for key, value in items:
        found.update(flat(value, f'{name}.{key}' if name else str(key)))
    return found
