"""Key layouts of ViT files, mapped to OpenMMLab's.

mm         ``layers.i.ln1``, ``attn.qkv``, ``ffn.layers.0.0``, ``ln1``
timm       ``blocks.i.norm1``, ``attn.qkv``, ``mlp.fc1``, ``norm``: timm's,
           and with it Meta's DINOv2 (``ls1.gamma``, ``register_tokens``),
           MAE (``decoder_*``) and DeiT (``dist_token``, ``gamma_1``)
hf         Hugging Face's ViT, ViTMAE and Dinov2 (``encoder.layer.i``)
clip       ``visual.transformer.resblocks.i`` of OpenAI's CLIP and OpenCLIP
augreg     Google's ``.npz`` (``Transformer/encoderblock_i``)

What has no place in a ViT keeps its name, and is left out, or refused, by
whoever loads it.
"""
import re
from typing import Dict, List, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mona_mm.checkpoint.layouts import Layout, Names, Rules, StateDict
from mona_mm.errors import CheckpointError
from mona_mm.registry import LAYOUTS

#: Beginnings of the names of what is no part of a backbone: classifiers,
#: decoders of masked pre-training, CLIP's projection and its text tower.
HEADS = ('head.', 'head_dist.', 'fc.', 'pre_logits.', 'classifier.',
         'pooler.', 'decoder.', 'decoder_', 'mask_token', 'proj', 'text.')

_TIMM: Rules = (
    # DINOv2's training code keeps blocks in chunks.
    (r'^blocks\.\d+\.(\d+\.)', r'blocks.\1'),
    (r'^blocks\.', 'layers.'),
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'^norm_pre\.', 'pre_norm.'),
    (r'^norm\.', 'ln1.'),
    # With statistics it is a classifier's batch norm.
    (r'^fc_norm\.(running_\w+|num_batches_tracked)$', r'head.norm.\1'),
    (r'^fc_norm\.', 'ln2.'),
    (r'^reg_token$', 'register_tokens'),
    (r'^(layers\.\d+)\.norm([12])\.', r'\1.ln\2.'),
    (r'^(layers\.\d+)\.(?:ls1\.gamma|gamma_1)$', r'\1.attn.gamma1.weight'),
    (r'^(layers\.\d+)\.(?:ls2\.gamma|gamma_2)$', r'\1.ffn.gamma2.weight'),
    (r'^(layers\.\d+)\.mlp\.fc1\.', r'\1.ffn.layers.0.0.'),
    (r'^(layers\.\d+)\.mlp\.fc2\.', r'\1.ffn.layers.1.'),
    (r'^(layers\.\d+)\.mlp\.(w12|w3)\.', r'\1.ffn.\2.'),
)
_TO_TIMM: Rules = (
    (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
    (r'^pre_norm\.', 'norm_pre.'),
    (r'^ln1\.', 'norm.'),
    (r'^ln2\.', 'fc_norm.'),
    (r'^(layers\.\d+)\.ln([12])\.', r'\1.norm\2.'),
    (r'^(layers\.\d+)\.attn\.gamma1\.weight$', r'\1.ls1.gamma'),
    (r'^(layers\.\d+)\.ffn\.gamma2\.weight$', r'\1.ls2.gamma'),
    (r'^(layers\.\d+)\.ffn\.layers\.0\.0\.', r'\1.mlp.fc1.'),
    (r'^(layers\.\d+)\.ffn\.layers\.1\.', r'\1.mlp.fc2.'),
    (r'^(layers\.\d+)\.ffn\.(w12|w3)\.', r'\1.mlp.\2.'),
    (r'^layers\.', 'blocks.'),
)
_HF: Rules = (
    (r'^(?:vit|dinov2|dinov2_with_registers)\.', ''),
    (r'^embeddings\.cls_token$', 'cls_token'),
    (r'^embeddings\.mask_token$', 'mask_token'),
    (r'^embeddings\.register_tokens$', 'register_tokens'),
    (r'^embeddings\.position_embeddings$', 'pos_embed'),
    (r'^embeddings\.patch_embeddings\.projection\.',
     'patch_embed.projection.'),
    (r'^layernorm\.', 'ln1.'),
    (r'^encoder\.layer\.', 'layers.'),
    (r'^(layers\.\d+)\.(?:norm1|layernorm_before)\.', r'\1.ln1.'),
    (r'^(layers\.\d+)\.(?:norm2|layernorm_after)\.', r'\1.ln2.'),
    (r'^(layers\.\d+)\.attention\.output\.dense\.', r'\1.attn.proj.'),
    (r'^(layers\.\d+)\.attention\.attention\.', r'\1.attn.'),
    (r'^(layers\.\d+)\.layer_scale1\.lambda1$', r'\1.attn.gamma1.weight'),
    (r'^(layers\.\d+)\.layer_scale2\.lambda1$', r'\1.ffn.gamma2.weight'),
    (r'^(layers\.\d+)\.(?:mlp\.fc1|intermediate\.dense)\.',
     r'\1.ffn.layers.0.0.'),
    (r'^(layers\.\d+)\.(?:mlp\.fc2|output\.dense)\.', r'\1.ffn.layers.1.'),
    (r'^(layers\.\d+)\.mlp\.weights_in\.', r'\1.ffn.w12.'),
    (r'^(layers\.\d+)\.mlp\.weights_out\.', r'\1.ffn.w3.'),
)
_CLIP: Rules = (
    (r'^conv1\.', 'patch_embed.projection.'),
    (r'^class_embedding$', 'cls_token'),
    (r'^positional_embedding$', 'pos_embed'),
    (r'^ln_pre\.', 'pre_norm.'),
    (r'^ln_post\.', 'ln1.'),
    (r'^transformer\.resblocks\.', 'layers.'),
    (r'^(layers\.\d+)\.ln_([12])\.', r'\1.ln\2.'),
    (r'^(layers\.\d+)\.attn\.in_proj_', r'\1.attn.qkv.'),
    (r'^(layers\.\d+)\.attn\.out_proj\.', r'\1.attn.proj.'),
    (r'^(layers\.\d+)\.mlp\.c_fc\.', r'\1.ffn.layers.0.0.'),
    (r'^(layers\.\d+)\.mlp\.c_proj\.', r'\1.ffn.layers.1.'),
)
_AUGREG: Rules = (
    (r'^cls$', 'cls_token'),
    (r'^embedding/', 'patch_embed.projection.'),
    (r'^pre_logits/', 'pre_logits.'),
    (r'^head/', 'head.'),
    (r'^Transformer/posembed_input/pos_embedding$', 'pos_embed'),
    (r'^Transformer/encoder_norm/', 'ln1.'),
    (r'^Transformer/encoderblock_', 'layers.'),
    (r'^(layers\.\d+)/LayerNorm_0/', r'\1.ln1.'),
    (r'^(layers\.\d+)/LayerNorm_2/', r'\1.ln2.'),
    (r'^(layers\.\d+)/MultiHeadDotProductAttention_1/out/',
     r'\1.attn.proj.'),
    (r'^(layers\.\d+)/MultiHeadDotProductAttention_1/(\w+)/',
     r'\1.attn.\2.'),
    (r'^(layers\.\d+)/MlpBlock_3/Dense_0/', r'\1.ffn.layers.0.0.'),
    (r'^(layers\.\d+)/MlpBlock_3/Dense_1/', r'\1.ffn.layers.1.'),
    (r'(^|\.)(kernel|scale)$', r'\1weight'),
)
_THIRD = re.compile(r'(layers\.\d+\.attn)\.(query|key|value)\.(\w+)')
_THIRDS = ('query', 'key', 'value')


def resize_kernel(weight: Tensor, size: Tuple[int, int],
                  mode: str) -> Tensor:
    """Fit a patch embedding (C, in, P, P) to another patch size."""
    found = F.interpolate(
        weight.float(), size=size, mode=mode, align_corners=False)
    return found.to(weight.dtype)


def join_thirds(state: StateDict) -> StateDict:
    """Join ``attn.query``, ``attn.key`` and ``attn.value`` to ``attn.qkv``.

    Raises:
        CheckpointError: If a block has only some of them.
    """
    found: StateDict = {}
    thirds: Dict[str, Dict[str, Tensor]] = {}
    for key, value in state.items():
        if match := _THIRD.fullmatch(key):
            thirds.setdefault(f'{match[1]}.qkv.{match[3]}',
                              {})[match[2]] = value
        else:
            found[key] = value
    for name, parts in thirds.items():
        lacking: List[str] = [t for t in _THIRDS if t not in parts]
        if lacking:
            raise CheckpointError(f'{name}: {" and ".join(lacking)} missing')
        found[name] = torch.cat([parts[t] for t in _THIRDS])
    return found


def with_class_position(state: StateDict) -> StateDict:
    """Give the class token a position of zeros if the file has none for it.

    timm's DINOv2 with registers (and DeiT III) have positions of patches
    alone: in their files the class token's is in the token already.
    """
    pos, token = state.get('pos_embed'), state.get('cls_token')
    if token is None or pos is None or pos.ndim != 3:
        return state
    if round(pos.shape[1]**0.5)**2 == pos.shape[1]:
        zeros = pos.new_zeros(1, 1, pos.shape[2])
        state['pos_embed'] = torch.cat([zeros, pos], dim=1)
    return state


class Timm(Layout):
    """timm's and Meta's: DINOv2, MAE, DeiT."""

    name = 'timm'
    mark = r'^blocks\.(\d+\.)?\d+\.norm1\.'
    rules, back = _TIMM, _TO_TIMM

    def to_mm(self, state: StateDict) -> StateDict:
        """Rename.

        A distillation token (DeiT) becomes a register token: its position is
        added to it, as the network does. It stays one on the way back.
        """
        state = super().to_mm(state)
        if 'dist_token' in state and 'pos_embed' in state:
            pos = state['pos_embed']
            state['register_tokens'] = state.pop('dist_token') + pos[:, 1:2]
            state['pos_embed'] = torch.cat([pos[:, :1], pos[:, 2:]], dim=1)
        return with_class_position(state)


class HuggingFace(Layout):
    """Hugging Face's ViT, ViTMAE and Dinov2."""

    name = 'hf'
    mark = r'^(\w+\.)?encoder\.layer\.\d+\.attention\.attention\.'
    rules = _HF

    def to_mm(self, state: StateDict) -> StateDict:
        """Rename; query, key and value become one."""
        return with_class_position(join_thirds(super().to_mm(state)))


class Clip(Layout):
    """CLIP's, of OpenAI and OpenCLIP: the image tower."""

    name = 'clip'
    mark = r'^visual\.transformer\.resblocks\.'
    rules = _CLIP

    def to_mm(self, state: StateDict) -> StateDict:
        """Rename, and add the axes that others have."""
        tower = {k.removeprefix('visual.'): v for k, v in state.items()
                 if k.startswith('visual.')}
        text = {k: v for k, v in state.items() if k not in tower
                and not k.startswith('visual.')}
        tower = super().to_mm(tower)
        for name in {'cls_token', 'pos_embed'} & set(tower):
            value = tower[name]  # (C, ) and (1 + N, C) in the file
            tower[name] = value.reshape(
                (1, ) * (3 - value.ndim) + value.shape)
        return {**{f'text.{k}': v for k, v in text.items()}, **tower}


class Augreg(Layout):
    """Google's arrays.

    Kernels are (in, out) there: the convolution's (H, W, in, out), those of
    query, key and value (C, heads, C / heads), the output's (heads,
    C / heads, C).
    """

    name = 'augreg'
    mark = r'^Transformer/encoderblock_'
    rules = _AUGREG

    def to_mm(self, state: StateDict) -> StateDict:
        """Rename and transpose."""
        found = {}
        for key, value in super().to_mm(state).items():
            if _THIRD.fullmatch(key):
                value = value.flatten(1).T if key.endswith(
                    'weight') else value.flatten()
            elif key.endswith('attn.proj.weight'):
                value = value.flatten(0, 1).T
            elif value.ndim == 4:
                value = value.permute(3, 2, 0, 1)
            elif value.ndim == 2 and key.endswith('weight'):
                value = value.T
            found[key] = value.contiguous()
        return with_class_position(join_thirds(found))


@LAYOUTS.register_module()
class ViTNames(Names):
    """The names of all ViTs."""

    family = 'Vision Transformer'
    layouts = (Timm(), HuggingFace(), Clip(), Augreg())
    heads = HEADS
    plain = re.compile(
        r'cls_token|pos_embed|register_tokens'
        r'|patch_embed\.projection\.(weight|bias)'
        r'|(pre_norm|ln[12])\.(weight|bias)'
        r'|layers\.\d+\.('
        r'ln[12]\.(weight|bias)'
        r'|attn\.((qkv|proj)\.(weight|bias)|gamma1\.weight)'
        r'|ffn\.((layers\.(0\.0|1)|w12|w3)\.(weight|bias)|gamma2\.weight))')
    block = re.compile(r'(layers\.\d+)\.(.+)')
    linears = dict(qkv='attn.qkv', proj='attn.proj', fc1='ffn.layers.0.0',
                   fc2='ffn.layers.1')
