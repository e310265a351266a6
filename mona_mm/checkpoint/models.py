"""Models that checkpoints belong to: found, built and loaded in full."""
import copy
from typing import Any, Dict, Iterator, Optional, Tuple

from mmengine.config import Config
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mona_mm.config import read_config
from mona_mm.errors import CheckpointError, ConfigError

from .compare import Misfit
from .embedded import objection
from .files import whole_state
from .io import trusted


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, without what wraps it (DDP, test-time views)."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def tuned_backbones(model: nn.Module) -> Iterator[Tuple[str, nn.Module]]:
    """All (path, backbone) in a model that have a tuner.

    One that stands at several paths is given at each of them.
    """
    for path, module in model.named_modules(remove_duplicate=False):
        if hasattr(module, 'delta_names'):
            yield path, module


def tuned_backbone(model: nn.Module) -> Optional[nn.Module]:
    """The first tuned backbone in a model; None if there is none."""
    return next((module for _, module in tuned_backbones(model)), None)


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
    if tuned_backbone(model) is None:
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
    if misfit := Misfit(found.missing_keys, found.unexpected_keys):
        raise CheckpointError(
            f'{source} is not a checkpoint of this config: {misfit}')
