"""The paper's column of trained parameters, for any config."""
from collections import Counter
from typing import Dict, Union

import torch
from mmengine.config import Config

from mona_mm.backbones import TunedBackbone, require_tuned
from mona_mm.config import backbone_of
from mona_mm.registry import MODELS

Count = Union[int, float, str, Dict[str, int]]


def count_backbone(cfg: Config) -> Dict[str, Count]:
    """Count a config's backbone on the meta device: seconds, no memory.

    Args:
        cfg (Config): A config with a tuned backbone.

    Returns:
        dict: ``tuner``, ``total``, ``trained``, ``frozen``, ``released``
        (pretrained and trained), ``inserted``, ``share`` (trained / total,
        inserted ones included, as the paper counts), and the trained ones
        ``by_stage`` and ``by_site``.

    Raises:
        ConfigError: If the config's backbone takes no tuner.
    """
    require_tuned(cfg, str(cfg.filename))
    with torch.device('meta'):
        backbone = MODELS.build(backbone_of(cfg))
    share = backbone.share()
    trained = {
        n: p.numel()
        for n, p in backbone.named_parameters() if p.requires_grad
    }
    return dict(
        tuner=type(backbone.tuner).__name__,
        total=share.trained + share.frozen,
        trained=share.trained,
        frozen=share.frozen,
        released=share.released,
        inserted=share.inserted,
        share=share.ratio,
        by_stage=_sum_by(trained, backbone.part_of),
        by_site=_sum_by(trained, lambda n: _site(n, backbone)))


def _site(name: str, backbone: TunedBackbone) -> str:
    if name not in backbone.delta_names:
        return 'pretrained'
    if name.startswith('side.'):
        return 'side'
    for path, container, index in backbone.block_slots():
        linears = getattr(container[index], 'linears', {})
        for site in backbone.sites:
            if name.startswith(f'{path}.{linears.get(site, site)}.'):
                return site
    return 'elsewhere'


def _sum_by(counts: Dict[str, int], group) -> Dict[str, int]:
    sums: Counter = Counter()
    for name, number in counts.items():
        sums[group(name)] += number
    return dict(sums)
