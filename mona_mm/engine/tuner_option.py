"""Any method on any config: what ``--tuner`` does."""
import os.path as osp
from glob import glob

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from mona_mm.errors import ConfigError

_FOLDER = osp.join(
    osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__)))), 'configs',
    '_base_', 'tuners')


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
    backbone = _backbone(cfg.model)
    if 'tuner' not in backbone:
        raise ConfigError(
            f'--tuner {tuner}: the backbone {backbone.get("type")!r} takes '
            'no tuner; expected mona_mm.TunedSwinTransformer or another of '
            'mona_mm')
    backbone.type = 'mona_mm.TunedSwinTransformer' if backbone.type == (
        'mona_mm.SwinTransformerMona') else backbone.type
    backbone.tuner = ConfigDict(fragment)
    print_log(
        f'--tuner: {fragment["type"]}; learning rate, drop-path and '
        f'everything else stay those of {cfg.filename}',
        logger='current')


def _backbone(model: ConfigDict) -> ConfigDict:
    while 'backbone' not in model and 'module' in model:
        model = model.module
    return model.get('backbone') or ConfigDict()


def _fragment(tuner: str) -> dict:
    path = tuner if tuner.endswith('.py') else osp.join(
        _FOLDER, f'{tuner}.py')
    if not osp.isfile(path):
        known = sorted(
            osp.basename(p)[:-3] for p in glob(osp.join(_FOLDER, '*.py')))
        raise ConfigError(f'--tuner {tuner!r}: expected a .py file that '
                          f'defines `tuner`, or one of {", ".join(known)}')
    fragment = Config.fromfile(path).get('tuner')
    if not isinstance(fragment, dict):
        raise ConfigError(f'--tuner {tuner!r}: {path} defines no dict '
                          '`tuner`')
    return fragment
