"""Key layouts of ConvNeXt checkpoints, mapped to mmpretrain's.

mm           ``downsample_layers.1.0``, ``stages.0.1.depthwise_conv``,
             ``pointwise_conv1``, ``gamma``, ``grn.beta``
Meta         ``downsample_layers.1.0``, ``stages.0.1.dwconv``, ``pwconv1``,
             ``gamma``; V2's ``grn.gamma`` as (1, 1, 1, 4C)
timm         ``stem.0``, ``stages.1.downsample.0``,
             ``stages.0.blocks.1.conv_dw``, ``mlp.fc1``, ``mlp.grn.weight``;
             in some sizes the point-wise layers are 1x1 convolutions
torchvision  ``features.0`` the stem, then by turns blocks (``block.0`` the
             depth-wise convolution, ``block.3`` and ``block.5`` the
             point-wise layers, ``layer_scale`` as (C, 1, 1)) and
             downsampling
"""
import re
from typing import Optional, Tuple

from mona_mm.checkpoint.layouts import (
    Layout,
    Names,
    Rules,
    StateDict,
)
from mona_mm.registry import LAYOUTS

_POINTWISE = re.compile(r'\.pointwise_conv[12]\.weight$')
_VECTOR = re.compile(r'^stages\.\d+\.\d+\.(gamma|grn\.gamma|grn\.beta)$')


class ConvNeXtLayout(Layout):
    """One of the layouts, by the names that are its own.

    Args:
        name (str): See :class:`Layout`.
        mark (str): Regular expression of keys that no other layout has.
        rules (tuple): (pattern, replacement), its names to mm's.
        back (tuple): The same from mm's names, if they can be told.
        heads (tuple[str, str]): Beginnings of the names of the classifier's
            final norm and of its linear layer.
    """

    def __init__(self, name: str, mark: str, rules: Rules, back: Rules = (),
                 heads: Tuple[str, str] = ('norm.', 'head.')) -> None:
        self.name, self.mark, self.back = name, mark, back
        self.rules = (
            (f'^{re.escape(heads[0])}', 'norm.'),
            (f'^{re.escape(heads[1])}', 'head.'), *rules)

    def to_mm(self, state: StateDict) -> StateDict:
        """Rename, and give every tensor the form it has in mmpretrain."""
        found = super().to_mm(state)
        for key, value in found.items():
            if _VECTOR.search(key):
                found[key] = value.flatten()
            elif _POINTWISE.search(key) and value.ndim == 4:
                found[key] = value.flatten(1)
        return found

    def from_mm(self, state: StateDict) -> Optional[StateDict]:
        """Undo it, for Meta's layout."""
        found = super().from_mm(state)
        return found and {k: v.view(1, 1, 1, -1) if '.grn.' in k else v
                          for k, v in found.items()}


#: torchvision's ``features`` by turns: blocks at odd, the rest at even ones.
_FEATURES = tuple(
    (rf'^features\.{2 * i}\.', f'downsample_layers.{i}.') for i in range(4)
) + tuple((rf'^features\.{2 * i + 1}\.', f'stages.{i}.') for i in range(4))

_LAYOUTS = (
    ConvNeXtLayout(
        'meta', r'\.(dwconv|pwconv1)\.',
        rules=((r'\.dwconv\.', '.depthwise_conv.'),
               (r'\.pwconv([12])\.', r'.pointwise_conv\1.')),
        back=((r'\.depthwise_conv\.', '.dwconv.'),
              (r'\.pointwise_conv([12])\.', r'.pwconv\1.'),
              (r'^norm\d\.', 'norm.'))),
    ConvNeXtLayout(
        'timm', r'\.conv_dw\.|^stem\.',
        heads=('head.norm.', 'head.fc.'),
        rules=((r'^stem\.', 'downsample_layers.0.'),
               (r'^stages\.(\d)\.downsample\.', r'downsample_layers.\1.'),
               (r'^stages\.(\d)\.blocks\.', r'stages.\1.'),
               (r'\.conv_dw\.', '.depthwise_conv.'),
               (r'\.mlp\.fc([12])\.', r'.pointwise_conv\1.'),
               (r'\.mlp\.grn\.weight$', '.grn.gamma'),
               (r'\.mlp\.grn\.bias$', '.grn.beta'))),
    ConvNeXtLayout(
        'torchvision', r'^features\.\d+\.\d+\.layer_scale$',
        heads=('classifier.0.', 'classifier.2.'),
        rules=(*_FEATURES,
               (r'\.layer_scale$', '.gamma'),
               (r'\.block\.0\.', '.depthwise_conv.'),
               (r'\.block\.2\.', '.norm.'),
               (r'\.block\.3\.', '.pointwise_conv1.'),
               (r'\.block\.5\.', '.pointwise_conv2.'))),
)


@LAYOUTS.register_module()
class ConvNeXtNames(Names):
    """The names of ConvNeXt, both versions."""

    family = 'ConvNeXt'
    numbered = True
    layouts = _LAYOUTS
    plain = re.compile(
        r'downsample_layers\.\d+\.[01]\.(weight|bias)'
        r'|norm\d+\.(weight|bias)'
        r'|stages\.\d+\.\d+\.('
        r'(depthwise_conv|norm|pointwise_conv[12])\.(weight|bias)'
        r'|gamma|grn\.(gamma|beta))')
    block = re.compile(r'(stages\.\d+\.\d+)\.(.+)')
    linears = dict(fc1='pointwise_conv1', fc2='pointwise_conv2')
