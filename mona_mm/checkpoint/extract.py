"""From a full checkpoint file to a delta file."""
import os.path as osp
from typing import Optional

from mona_mm.errors import CheckpointError, ConfigError
from mona_mm.text import some

from .cache import fetch
from .candidates import pretrained_cfg
from .delta import slim
from .files import check_not_itself, whole_state, write_checkpoint
from .io import read_checkpoint
from .models import build, config_for, load_all, tuned_backbones


def extract_delta(full: str, out: str, config: Optional[str] = None) -> str:
    """Leave the frozen base out of a full checkpoint.

    The base must be where the config's ``init_cfg`` says, and be the one
    that the checkpoint was trained on, tensor for tensor.

    Args:
        full (str): A checkpoint that holds everything.
        out (str): The file to write, ``.pth`` or ``.safetensors``.
        config (str, optional): Its config file. By default the config that
            is in the checkpoint.

    Returns:
        str: One line that says what was done.

    Raises:
        CheckpointError: If a file is missing or does not fit, or the base is
            another one.
        ConfigError: If the config names no base.
    """
    check_not_itself(full, out)
    content = read_checkpoint(full)
    cfg = config_for(content, full, config)
    model = build(cfg)
    before = {}
    for path, backbone in tuned_backbones(model):
        if not backbone.frozen.names:
            continue
        if pretrained_cfg(backbone.init_cfg) is None:
            raise ConfigError(
                f'{path or "the backbone"} names no base in the config: set '
                "its init_cfg=dict(type='Pretrained', checkpoint=...) to the "
                'file that it was trained on')
        backbone.init_weights()
        before[path] = {k: p.detach().clone()
                        for k, p in backbone.base_parameters().items()
                        if k in backbone.frozen.names}
    load_all(model, content, full)
    for path, backbone in tuned_backbones(model):
        if path in before and backbone.base is None:
            own = backbone.base_parameters()
            other = [k for k, v in before[path].items()
                     if not own[k].equal(v)]
            raise CheckpointError(
                f'{full} was not trained on the base '
                f'{pretrained_cfg(backbone.init_cfg)["checkpoint"]}: '
                f'{len(other)} of {len(before[path])} frozen tensors differ '
                f'({some(sorted(other))}). Give a config whose init_cfg names '
                'the right file')
    content = dict(content, state_dict=whole_state(content, full))
    content.pop('model', None)
    content.setdefault('meta', {}).setdefault('cfg', cfg.pretty_text)
    slim(content, model)
    write_checkpoint(content, out)
    return (f'{out}: {len(content["state_dict"])} tensors, '
            f'{osp.getsize(out):,} bytes instead of '
            f'{osp.getsize(fetch(full)):,}')
