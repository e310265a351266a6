"""The config inside a checkpoint: whether it may be handed on.

Whoever builds a model from it runs it: mmengine executes the text, imports
what ``custom_imports`` and scopes name, and looks up a ``type`` that nothing
registered by its import path (``os.system``). The text of a stranger is
handed on only where it lists values that name registered classes.
"""
import ast
import re
import sys
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Iterator, Optional, Sequence, Tuple

from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

from mona_mm.errors import CheckpointError

from .candidates import check_address

#: Packages, by scope, whose modules a config may import and register.
PACKAGES = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'mmrotate',
            'mona_mm')
#: Where registered classes may be defined. PyTorch's are registered too.
_DEFINED = (*PACKAGES, 'torch', 'torchvision')
#: Functions that mmcv looks up itself, by ``eval``; classes of mmcv.ops are
#: looked up there.
_OPS = ('nms', 'nms_match', 'nms_quadri', 'nms_rotated', 'soft_nms')
#: Registered, but they send what they get to other machines.
_VIS = 'mmengine.visualization.vis_backend'
_VIS_BACKENDS = ('BaseVisBackend', 'LocalVisBackend', 'TensorboardVisBackend')
#: What may stand in a config that is data and no program.
_DATA = (ast.Module, ast.Assign, ast.Expr, ast.Constant, ast.Dict, ast.List,
         ast.Tuple, ast.Set, ast.UnaryOp, ast.USub, ast.UAdd, ast.Call,
         ast.keyword, ast.Name, ast.Load, ast.Store)
_CALLS = ('dict', 'set', 'tuple', 'list')
#: Keys whose value is looked up in a registry.
_BUILT = ('type', 'constructor', 'runner_type')
#: Keys whose value is fetched.
_WEIGHTS = ('checkpoint', 'pretrained', 'load_from')
_SCOPES = ('default_scope', '_scope_')
_PATH = re.compile(r'[A-Za-z_]\w*(\.[A-Za-z_]\w*)+')
#: Endings of file names, which look like import paths.
_FILES = ('csv', 'jpeg', 'jpg', 'json', 'jsonl', 'log', 'mat', 'png', 'pth',
          'safetensors', 'tif', 'tsv', 'txt', 'xml', 'yaml', 'yml', 'zip')
#: Files that are programs for those who read them.
_PICKLES = re.compile(r'\.(pkl|pickle|joblib|npy|npz|pt)$', re.I)


@lru_cache(maxsize=8)
def objection(text: str) -> Optional[str]:
    """Say why the config in a file that is not trusted is not handed on.

    Args:
        text (str): The config, as ``Config.pretty_text`` writes it.

    Returns:
        str, optional: The reason, or None if it only lists values and every
        class in it is registered by one of :data:`PACKAGES`.
    """
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 'it does not parse'
    if '{{' in text or not all(
            isinstance(n, _DATA) and _is_value(n) for n in nodes):
        return 'it is a program and no plain list of settings'
    functions = {id(n.func) for n in nodes if isinstance(n, ast.Call)}
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(
                node.ctx, ast.Load) and id(node) not in functions:
            return f'it refers to {node.id!r}'
        if isinstance(node, ast.Constant) and isinstance(
                node.value, str) and (said := _odd_text(node.value)):
            return said
    settings = [s for node in nodes for s in _settings(node)]
    texts = {getattr(value, 'value', None) for _, value in settings}
    named = {t.split('.')[0] for t in texts if isinstance(t, str)}
    packages = [p for p in PACKAGES if p in named or p == 'mmengine']
    found = (_odd_setting(*setting, packages) for setting in settings)
    return next(filter(None, found), None)


def _is_value(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        positional = isinstance(node.func, ast.Name) and (
            node.func.id != 'dict' or not node.args)
        return positional and node.func.id in _CALLS
    if isinstance(node, ast.Assign):  # a base would be run as well
        return all(isinstance(t, ast.Name) and t.id != '_base_'
                   for t in node.targets)
    return True


def _settings(node: ast.AST) -> Iterator[Tuple[Any, ast.AST]]:
    """Keys and values, however they are written."""
    if isinstance(node, ast.keyword):
        yield node.arg, node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values):
            # Nested, as in {**{'type': 'a'}}, it is walked by itself.
            yield getattr(key, 'value', None), value
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield target.id, node.value


def _odd_text(text: str) -> Optional[str]:
    """What libraries evaluate, unpickle or import, when they are given it."""
    if '(' in text or '__' in text:
        return f'it has the text {text!r:.80}, which could be evaluated'
    if _PICKLES.search(text):
        return f'it names the file {text!r:.80}, which could be unpickled'
    first, last = text.split('.')[0], text.split('.')[-1]
    if _PATH.fullmatch(text) and last not in _FILES and (
            first not in _DEFINED) and (
                first in sys.modules or find_spec(first)):
        return f'it names {text!r:.80} of another package'
    return None


def _odd_setting(key: Any, node: ast.AST,
                 packages: Sequence[str]) -> Optional[str]:
    value = getattr(node, 'value', None)
    if key == 'trust_remote_code':
        return f'it sets {key}'
    if key == 'custom_imports':
        names = [n.value for n in ast.walk(node) if isinstance(
            n, ast.Constant) and isinstance(n.value, str)]
        odd = [n for n in names if n.split('.')[0] not in PACKAGES
               and n not in ('imports', 'allow_failed_imports')]
        return f'it imports {odd[0]}' if odd else None
    if not isinstance(value, str):
        return None
    if key in _WEIGHTS:
        try:
            check_address(value)
        except CheckpointError:
            return (f'its {key} is at {value!r:.80}, a host that is not in '
                    'docs/weights.md')
    if key in _SCOPES and value not in PACKAGES:
        return f'its {key} is {value!r:.80}'
    if key in _BUILT and not _is_registered(
            value, packages):
        return (f'its {key} {value!r:.80} is not registered by '
                f'{", ".join(PACKAGES)}')
    return None


def _is_registered(name: str, packages: Sequence[str]) -> bool:
    """Whether a ``type`` stands for a registered class of our packages."""
    *scope, last = name.split('.')
    if name in _OPS or isinstance(
            vars(import_module('mmcv.ops')).get(name), type):
        return True
    if len(scope) < 2 and (not scope or scope[0] in PACKAGES):
        return any(map(_is_ours, _known(last, scope or packages)))
    if scope[0] not in (*PACKAGES, 'torch') or any(
            part.startswith('_') for part in scope):
        return False
    found = get_object_from_string(name)  # as mmengine will
    return _is_ours(found) and any(
        found is known for known in _known(found.__name__, packages))


def _is_ours(found: Any) -> bool:
    module = getattr(found, '__module__', None) or ''
    return hasattr(found, '__name__') and (
        module.split('.')[0] in _DEFINED) and (
            module != _VIS or found.__name__ in _VIS_BACKENDS)


def _known(name: str, packages: Sequence[str]) -> list:
    """What the registries of packages have under a name."""
    found = []
    for fill in (False, True):  # filling them may take seconds
        for one in _registries(packages) if not found else ():
            if fill:
                one.import_from_location()
            found += filter(None, [one.module_dict.get(name)])
    return found


def _registries(packages: Sequence[str]) -> Iterator[Registry]:
    for package in packages:
        if (package in sys.modules or find_spec(package)) and find_spec(
                f'{package}.registry'):
            for one in vars(import_module(f'{package}.registry')).values():
                if isinstance(one, Registry):
                    yield one
