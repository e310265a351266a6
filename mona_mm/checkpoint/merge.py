"""From base and delta to one plain file."""
import copy
import os.path as osp
from collections import OrderedDict
from typing import Any, Dict, List

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

from mona_mm.compat import metadata_of, set_metadata
from mona_mm.config import read_config
from mona_mm.errors import CheckpointError
from mona_mm.ops.fold import Foldable
from mona_mm.text import some

from .delta import slim
from .files import check_not_itself, whole_state, write_checkpoint
from .io import read_checkpoint
from .layouts import below
from .models import build, load_all, tuned_backbones
from .record import FILE_KEY, KEY

#: Largest difference of outputs, as a share of their largest value.
TOLERANCE = 1e-4


def merge_delta(config: str, delta: str, out: str) -> List[str]:
    """Write base and delta as one checkpoint.

    Where the tuner inserts nothing, or only what changes weights (LoRA, DoRA,
    SSF), the file loads into the plain backbone of the mm libraries; that
    both compute the same is checked before it is written. Otherwise the file
    holds the tuned model in full.

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
    check_not_itself(delta, out)
    cfg, content = read_config(config), read_checkpoint(delta)
    model = build(cfg)
    load_all(model, content, delta)
    kept = dict(
        meta=dict(content.get('meta') or {}), state_dict=model.state_dict())
    try:
        merged = {p: merged_tensors(b) for p, b in tuned_backbones(model)}
    except CheckpointError as error:
        slim(kept, model, full=True)
        lines = [str(error),
                 'written with the tuner: the config stays the same']
    else:
        cfg = _plain_config(cfg, model)
        kept['meta']['cfg'] = cfg.pretty_text
        kept['state_dict'] = _plain_state(model, cfg, merged)
        names = {b.plain_class.__name__ for _, b in tuned_backbones(model)}
        lines = [f'plain: it loads into the {" and the ".join(names)} of the '
                 'mm libraries']
    write_checkpoint(kept, out)
    return [*lines, f'{out}: {osp.getsize(out):,} bytes']


def merged_tensors(backbone: nn.Module) -> Dict[str, Tensor]:
    """The pretrained tensors that stand for what was inserted, too.

    Every inserted module says it itself, see
    :meth:`~mona_mm.ops.fold.Foldable.merged`.

    Returns:
        dict[str, Tensor]: By their names in the backbone, as it stores them.

    Raises:
        CheckpointError: If some of what was inserted has no place in them.
    """
    if backbone.plain_class is None:
        raise CheckpointError('no library has a class that computes what '
                              f'{type(backbone).__name__} does')
    own, found = backbone.state_dict(), {}
    rest = set(backbone.delta_names)
    with torch.no_grad():
        for path, module in backbone.named_modules():
            tensors = (
                module.merged() if isinstance(module, Foldable) else None)
            if tensors is not None:
                found.update(
                    (f'{path}.{k}', v.to(own[f'{path}.{k}']))
                    for k, v in tensors.items())
                rest -= {f'{path}.{k}' for k in module._parameters}
    if rest:
        raise CheckpointError(
            f'what {type(backbone.tuner).__name__} inserts computes more than '
            f'a plain block can, so {some(sorted(rest))} cannot be merged '
            'into its weights')
    return found


def _plain_state(model: nn.Module, cfg: Config,
                 merged: Dict[str, Dict[str, Tensor]]) -> Dict[str, Tensor]:
    state = whole_state(dict(state_dict=model.state_dict()), 'the model')
    set_metadata(state, OrderedDict(
        (path, {k: v for k, v in entry.items() if k not in (KEY, FILE_KEY)})
        for path, entry in metadata_of(state).items()))
    for path, backbone in tuned_backbones(model):
        prefix = f'{path}.' if path else ''
        state.update((prefix + k, v) for k, v in merged[path].items())
        for name in backbone.delta_names:
            del state[prefix + name]
        plain = MODELS.build(copy.deepcopy(dict(_node(path, cfg))))
        fits = plain.load_state_dict(below(state, prefix), strict=False)
        # Some libraries delete the buffers that they compute.
        missing = [k for k in fits.missing_keys
                   if not k.endswith(backbone.derived)]
        if missing or fits.unexpected_keys:
            raise CheckpointError(
                f'the merged backbone is no {type(plain).__name__}: missing '
                f'{some(missing)}, unexpected {some(fits.unexpected_keys)}')
        _check_equal(backbone, plain.eval() or plain)
    return state


def _check_equal(backbone: nn.Module, plain: nn.Module) -> None:
    """Compare what both compute."""
    images = torch.randn(1, backbone.in_channels, 224, 224)
    with torch.no_grad():
        pairs = list(zip(backbone(images), plain(images)))
    for ours, theirs in pairs:
        limit = TOLERANCE * float(ours.abs().max())
        if not float((ours - theirs).abs().max()) <= limit:
            raise CheckpointError(
                'the merged backbone computes something else: a difference '
                f'of {float((ours - theirs).abs().max()):.3g}, where '
                f'{limit:.3g} are allowed; nothing was written')


def _node(path: str, cfg: Config) -> Any:
    """Where the config describes the module of this path."""
    node: Any = cfg.model
    for part in filter(None, path.split('.')):
        node = node[int(part)] if part.isdigit() else node[part]
    return node


def _plain_config(cfg: Config, model: nn.Module) -> Config:
    """The config with the plain class where a tuned backbone stood."""
    cfg = copy.deepcopy(cfg)
    for path, backbone in tuned_backbones(model):
        node, plain = _node(path, cfg), backbone.plain_class
        arguments = backbone.plain_arguments(node)
        node.clear()
        node.update(
            type=f'{plain.__module__.split(".")[0]}.{plain.__name__}',
            **arguments)
    return cfg
