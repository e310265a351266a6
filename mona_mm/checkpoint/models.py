"""Building the model that a checkpoint belongs to, and loading it in full."""
import copy
from typing import Any, Dict, Optional

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mona_mm.config import read_config
from mona_mm.errors import CheckpointError, ConfigError
from mona_mm.text import some

from .delta import tuned_backbones
from .embedded import objection
from .files import whole_state
from .io import trusted


def config_for(content: Dict[str, Any], source: str,
               config: Optional[str] = None) -> Config:
    """The config given, or the one inside a checkpoint.

    Args:
        content (dict): What the checkpoint holds.
        source (str): Its name, for errors.
        config (str, optional): A config file.

    Raises:
        ConfigError: If there is none, or the one inside could run anything.
    """
    if config is not None:
        return read_config(config)
    meta = content.get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    if not isinstance(text, str):
        raise ConfigError(f'{source} holds no config: give it with --config')
    if not trusted(source) and (why := objection(text)):
        raise ConfigError(f'the config in {source} is not used, because {why}:'
                          ' give the config with --config')
    return Config.fromstring(text, file_format='.py')


def build(cfg: Config) -> nn.Module:
    """Build a config's model on the CPU, in evaluation mode.

    Raises:
        ConfigError: If no backbone in it is one of ours.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    model = MODELS.build(copy.deepcopy(cfg.model))
    if not dict(tuned_backbones(model)):
        raise ConfigError(f'no backbone of {cfg.filename or "the config"} '
                          'takes a tuner: there is no base in its checkpoints'
                          ' that could be left out')
    model.eval()
    return model


def load_all(model: nn.Module, content: Dict[str, Any],
             source: str) -> None:
    """Load a checkpoint into a model that it must fit without exception.

    Raises:
        CheckpointError: If a tensor is missing, unexpected or of another
            shape.
    """
    try:
        found = model.load_state_dict(
            whole_state(content, source), strict=False)
    except RuntimeError as error:  # of another shape
        raise CheckpointError(f'{source}: {error}') from error
    missing, unexpected = found.missing_keys, found.unexpected_keys
    if missing or unexpected:
        raise CheckpointError(
            f'{source} is not a checkpoint of this config: {len(missing)} '
            f'tensors missing ({some(missing)}), {len(unexpected)} '
            f'unexpected ({some(unexpected)})')
