"""A family that the tests alone have: mmpretrain's Vision Transformer.

Nothing in mona_mm knows it: what it says here is all that a family must say.
"""
from mmengine.model import BaseModule
from mmpretrain.models import VisionTransformer
from torch import nn

from mona_mm.backbones import TunedBackbone
from mona_mm.backbones.sites import TunedBlock
from mona_mm.backbones.tuned import Slot
from mona_mm.tuners import EXTRAS, SITES


class OtherBlock(TunedBlock, BaseModule):
    branches = dict(attn=('ln1', 'attn'), ffn=('ln2', 'ffn'))
    linears = dict(qkv='attn.qkv', proj='attn.proj', fc1='ffn.layers.0.0',
                   fc2='ffn.layers.1')

    def __init__(self, block, tuner):
        super().__init__()
        self.ln1, self.attn, self.ln2, self.ffn = (
            block.ln1, block.attn, block.ln2, block.ffn)
        self.drop_path1, self.attn.out_drop = (
            self.attn.out_drop, nn.Identity())
        self.drop_path2, self.ffn.dropout_layer = (
            self.ffn.dropout_layer, nn.Identity())
        self.insert(tuner, block.embed_dims)

    def forward(self, x):
        hw_shape = self.hw_shape
        x, tokens = self.enter(x)
        x = self.half('attn', x, hw_shape, self.ln1, self.attn,
                      self.drop_path1, tokens + 1)
        x = self.half('ffn', x, hw_shape, self.ln2, self.ffn.layers,
                      self.drop_path2, tokens + 1)
        return self.leave(x, hw_shape, tokens, 1)


class OtherTransformer(TunedBackbone, VisionTransformer):
    sites = (*SITES, *EXTRAS)
    plain_class = VisionTransformer
    stem = 'patch_embed.projection.weight'

    def __init__(self, tuner=None, allow_random_base=False,
                 drop_path_rate=0., out_type='featmap', **kwargs):
        super().__init__(
            drop_path_rate=drop_path_rate, out_type=out_type, **kwargs)
        self.allow_random_base = allow_random_base
        self.attach(tuner or self.default_tuner)

    def block_slots(self):
        for i in range(len(self.layers)):
            yield Slot(f'layers.{i}', self.layers, i)

    def tune_block(self, block, tuner):
        return OtherBlock(block, tuner)

    def facts(self):
        return dict(family='other', arch=dict(self.arch_settings))

    def forward(self, x):
        self.frozen.require()
        for slot in self.block_slots():
            slot.container[slot.index].hw_shape = tuple(
                n // self.patch_size for n in x.shape[2:])
        return self.beside(x, super().forward)

    @property
    def patch_size(self):
        return self.patch_embed.projection.stride[0]
