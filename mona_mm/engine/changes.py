"""How a run differs from its config file."""
import os.path as osp
from typing import Any, Dict, List

from mmengine.config import Config

from .tuner_option import put_tuner

#: Settings that say how a run is launched, not what it computes.
_LAUNCHING = ('default_hooks', 'env_cfg', 'launcher', 'load_from', 'log_',
              'model_wrapper_cfg', 'randomness.seed', 'resume',
              'show_dir', 'train_cfg.by_epoch', 'train_cfg.type', 'tuner',
              'vis_backends', 'visualizer', 'work_dir')
_GONE = object()


def changes(cfg: Config) -> List[str]:
    """How a run's config differs from its file, as ``key=value``.

    Args:
        cfg (Config): The config as the runner got it.

    Returns:
        list[str]: Settings that were changed, added or removed after the
        file was read; those that only say how a run is launched (work dir,
        hooks, logging, seed) are left out.
    """
    if not cfg.filename or not osp.isfile(cfg.filename):
        return []
    file = Config.fromfile(cfg.filename)
    if 'tuner_option' in cfg:  # --tuner says which method it is, as a file
        put_tuner(file, cfg.tuner_option.tuner)
    written = flat(file.to_dict())
    used = flat(cfg.to_dict())
    keys = sorted(key for key in {**written, **used}
                  if not key.startswith(_LAUNCHING)
                  and written.get(key, _GONE) != used.get(key, _GONE))
    return [f'{key}={used.get(key, "(removed)")}' for key in keys]


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


