"""Any method on any config: what ``--tuner`` does."""
import copy
import os.path as osp

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from mona_mm.backbones import tuned_class, tuned_types
from mona_mm.config import backbone_of, name_of, tuner_fragments
from mona_mm.errors import ConfigError


def set_tuner(cfg: Config, tuner: str) -> None:
    """Replace the tuner of a config's backbone.

    Args:
        cfg (Config): Changed in place.
        tuner (str): Name of a fragment in ``configs/_base_/tuners``, or the
            path of a file that defines ``tuner``.

    Raises:
        ConfigError: If there is no such fragment, or the config's backbone
            takes no tuner.
    """
    fragment = _fragment(tuner)
    backbone = backbone_of(cfg)
    cls = tuned_class(backbone, cfg.get('default_scope'))
    if cls is None:
        raise ConfigError(
            f'--tuner {tuner}: the backbone {name_of(backbone.get("type"))!r}'
            f' takes no tuner; expected one of {tuned_types()}')
    if cls.general:  # called after a method
        backbone.type = cls.general
    backbone.tuner = ConfigDict(fragment)
    # What --cfg-options change in it from here on is a change.
    cfg.tuner_option = ConfigDict(
        name=osp.splitext(osp.basename(tuner))[0], type=backbone.type,
        tuner=copy.deepcopy(fragment))
    print_log(
        f'--tuner: {name_of(fragment["type"])}; learning rate, drop-path and '
        f'everything else stay those of {cfg.filename}',
        logger='current')


def _fragment(tuner: str) -> dict:
    known = tuner_fragments()
    path = tuner if tuner.endswith('.py') else known.get(tuner, '')
    if not osp.isfile(path):
        raise ConfigError(f'--tuner {tuner!r}: expected a .py file that '
                          f'defines `tuner`, or one of {", ".join(known)}')
    fragment = Config.fromfile(path).get('tuner')
    if not isinstance(fragment, dict):
        raise ConfigError(f'--tuner {tuner!r}: {path} defines no dict '
                          '`tuner`')
    return fragment
