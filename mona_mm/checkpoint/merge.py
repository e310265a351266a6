"""From base and delta to one plain file."""
import copy
import os.path as osp
from typing import Any, Dict, List

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

from mona_mm.errors import CheckpointError
from mona_mm.tuners.lora import LoRALinear

from .delta import slim
from .files import check_not_itself, whole_state, write_checkpoint
from .io import read_checkpoint
from .models import build, load_all, tuned_backbones
from .record import FILE_KEY, KEY

#: Of a tuned backbone's config: what its plain class does not take.
_OURS = ('tuner', 'keep_frozen', 'line_by_line', 'skip_dropped',
         'fit_channels', 'allow_random_base', 'map_final_norm', 'init_cfg',
         'type')
#: Largest difference of outputs, as a share of their largest value.
TOLERANCE = 1e-4


def merge_delta(config: str, delta: str, out: str) -> List[str]:
    """Write base and delta as one checkpoint.

    Where the tuner inserts nothing, or low-rank updates that fold into the
    weights, the file loads into the plain Swin Transformer of mmdet, mmseg
    and mmpretrain; that both compute the same is checked before it is
    written. Otherwise the file holds the tuned model in full.

    Args:
        config (str): The config file of the delta.
        delta (str): A delta checkpoint.
        out (str): The file to write.

    Returns:
        list[str]: What was done, line by line.

    Raises:
        CheckpointError: If the delta does not load, or the merged model
            computes something else.
    """
    from mona_mm.config import read_config
    check_not_itself(delta, out)
    cfg, content = read_config(config), read_checkpoint(delta)
    model = build(cfg)
    load_all(model, content, delta)
    kept = dict(
        meta=dict(content.get('meta') or {}), state_dict=model.state_dict())
    lines = _why_not(model)
    if lines:
        slim(kept, model, full=True)
        lines.append('written with the tuner: the config stays the same')
    else:
        cfg = _plain_config(cfg, model)
        kept['meta']['cfg'] = cfg.pretty_text
        kept['state_dict'] = _merged(model, cfg)
        lines = ['plain: it loads into the Swin Transformer of mmdet, mmseg '
                 'and mmpretrain']
    write_checkpoint(kept, out)
    return [*lines, f'{out}: {osp.getsize(out):,} bytes']


def fold_lora(linear: LoRALinear) -> Tensor:
    """The one weight, (3C, C), that computes what weight and update do."""
    weight = linear.weight.detach().double().clone()
    thirds = dict(zip('qkv', weight.chunk(3)))
    downs = linear.lora_A.detach().double().split(linear.rank)
    ups = linear.lora_B.detach().double().chunk(len(linear.targets))
    for target, down, up in zip(linear.targets, downs, ups):
        thirds[target] += linear.scale * up @ down
    return weight.to(linear.weight.dtype)


def _why_not(model: nn.Module) -> List[str]:
    """Backbones that no plain one can stand in for, with the reason."""
    return [
        f'{path or type(backbone).__name__}: what '
        f'{type(backbone.tuner).__name__} inserts computes more than a '
        'plain block can, so it does not merge into its weights'
        for path, backbone in tuned_backbones(model)
        if backbone.delta_names - _folding(backbone)
    ]


def _folding(backbone: nn.Module) -> set:
    return {
        f'{path}.{name}'
        for path, module in backbone.named_modules()
        if isinstance(module, LoRALinear) for name in ('lora_A', 'lora_B')
    }


def _merged(model: nn.Module, cfg: Config) -> Dict[str, Tensor]:
    state = whole_state(dict(state_dict=model.state_dict()), 'the model')
    state._metadata = copy.deepcopy(state._metadata)
    for entry in state._metadata.values():
        entry.pop(KEY, None)
        entry.pop(FILE_KEY, None)
    for path, backbone in tuned_backbones(model):
        prefix = f'{path}.' if path else ''
        for name, module in backbone.named_modules():
            if isinstance(module, LoRALinear):
                state[f'{prefix}{name}.weight'] = fold_lora(module)
        for name in backbone.delta_names:
            del state[prefix + name]
        _check(backbone, _plain(path, cfg), {
            k[len(prefix):]: v
            for k, v in state.items() if k.startswith(prefix)
        })
    return state


def _check(backbone: nn.Module, plain: nn.Module,
           state: Dict[str, Tensor]) -> None:
    """Load the plain backbone and compare what both compute."""
    plain.load_state_dict(state, strict=True)
    plain.eval()
    channels = getattr(backbone, 'in_channels', 3)
    images = torch.randn(1, channels, 224, 224)
    with torch.no_grad():
        pairs = list(zip(backbone(images), plain(images)))
    for ours, theirs in pairs:
        limit = TOLERANCE * float(ours.abs().max())
        if not float((ours - theirs).abs().max()) <= limit:
            raise CheckpointError(
                'the merged backbone computes something else: a difference '
                f'of {float((ours - theirs).abs().max()):.3g}, where '
                f'{limit:.3g} are allowed; nothing was written')


def _plain(path: str, cfg: Config) -> nn.Module:
    return MODELS.build(copy.deepcopy(dict(_node(path, cfg))))


def _node(path: str, cfg: Config) -> Any:
    """Where the config describes the module of this path."""
    node: Any = cfg.model
    for part in filter(None, path.split('.')):
        node = node[int(part)] if part.isdigit() else node[part]
    return node


def _plain_config(cfg: Config, model: nn.Module) -> Config:
    """The config with the plain class where a tuned backbone stood."""
    cfg = copy.deepcopy(cfg)
    for path, _ in tuned_backbones(model):
        node = _node(path, cfg)
        for key in _OURS:
            node.pop(key, None)
        node.setdefault('out_indices', (0, 1, 2, 3))
        node.setdefault('pad_small_map', True)
        node['type'] = 'mmpretrain.SwinTransformer'
    return cfg
