"""Windowed attention with a few global blocks (ViTDet)."""
import pytest
import torch
from helpers import image
from mmpretrain.models.backbones.vit_sam import TransformerEncoderLayer
from vits import NANO, nano_vit, shake

from mona_mm.backbones.vit.attention import from_windows, to_windows


@pytest.mark.parametrize('hw', [(6, 6), (4, 7), (2, 3), (9, 3)])
def test_windows_are_cut_and_joined(hw):
    x = torch.arange(2. * hw[0] * hw[1] * 4).view(2, -1, 4)
    windows = to_windows(x, hw, 3, torch.full((4, ), -1.))
    rows, columns = -(-hw[0] // 3), -(-hw[1] // 3)
    assert windows.shape == (2 * rows * columns, 9, 4)
    maps = torch.full((2, 3 * rows, 3 * columns, 4), -1.)
    maps[:, :hw[0], :hw[1]] = x.view(2, *hw, 4)
    for i, window in enumerate(windows.view(2, rows, columns, 3, 3, 4)[1, -1]):
        assert torch.equal(window, maps[1, -3:, 3 * i:3 * i + 3])
    assert torch.equal(from_windows(windows, hw, 3), x)


@pytest.mark.parametrize('line_by_line', [True, False])
@pytest.mark.parametrize('size', [(96, 96), (64, 112), (32, 48)])
def test_blocks_are_those_of_mmpretrains_vit_sam(size, line_by_line):
    """SAM's encoder is ViTDet's; without its relative positions."""
    net = nano_vit('Fixed', with_cls_token=False, window_size=3,
                   global_blocks=(1, 3), final_norm=False,
                   line_by_line=line_by_line).eval()
    shake(net)
    x = image(2, 3, *size)
    h, w = size[0] // 16, size[1] // 16
    t = net.patch_embed(x)[0].view(2, h, w, 32)
    t = t + torch.nn.functional.interpolate(
        net.pos_embed.view(1, 4, 4, 32).permute(0, 3, 1, 2), (h, w),
        mode='bicubic').permute(0, 2, 3, 1)
    for i, block in enumerate(net.layers):
        sam = TransformerEncoderLayer(
            32, 2, 64, window_size=0 if i in (1, 3) else 3,
            norm_cfg=dict(type='LN', eps=1e-6))
        sam.load_state_dict(block.state_dict())
        t = sam.eval()(t)
    torch.testing.assert_close(net(x)[0], t.permute(0, 3, 1, 2), atol=1e-5,
                               rtol=1e-5)


def test_tokens_attend_and_are_attended_everywhere():
    """Against one attention over the sequence with a mask, written out."""
    arch = dict(NANO, num_layers=1)
    net = nano_vit('Fixed', arch=arch, num_registers=2, window_size=2,
                   global_blocks=(), out_type='raw', final_norm=False).eval()
    shake(net)
    x = image(1, 3, 64, 96)  # six by four patches: no padding
    block, attn = net.layers[0], net.layers[0].attn
    seen = []
    block.ln1.register_forward_hook(lambda *a: seen.append((a[1][0], a[2])))
    found = net(x)[0]
    stream, normed = seen[0]
    row, column = torch.arange(24) // 6 // 2, torch.arange(24) % 6 // 2
    window = row * 3 + column
    mask = torch.ones(27, 27, dtype=torch.bool)
    mask[3:, 3:] = window[:, None] == window[None]
    q, k, v = (t.unflatten(-1, (2, 16)).transpose(1, 2)
               for t in attn.qkv(normed).chunk(3, -1))
    scores = (q @ k.transpose(-2, -1) / 4).masked_fill(~mask, -torch.inf)
    out = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    h = stream + attn.proj(out)
    expected = h + block.ffn.layers(block.ln2(h))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_every_quarter_ends_with_a_global_block_by_default():
    with torch.device('meta'):
        net = nano_vit('Fixed', arch='base', window_size=14)
    # ViTDet, section 4: blocks 3, 6, 9 and 12 of ViT-B.
    assert net.global_blocks == (2, 5, 8, 11)
    assert [b.window_size for b in net.layers] == 4 * [14, 14, 0]


@pytest.mark.parametrize('tuner', ['Mona', 'LoRA'])
def test_windows_train_with_tokens_and_padding(tuner):
    nets = [nano_vit(tuner, window_size=3, num_registers=1,
                     line_by_line=line).train() for line in (True, False)]
    shake(nets[0])
    nets[1].load_state_dict(nets[0].state_dict())
    for net in nets:
        torch.manual_seed(0)
        net(image(2, 3, 64, 80))[0].square().sum().backward()
    for (name, a), b in zip(nets[0].named_parameters(),
                            nets[1].parameters()):
        if a.requires_grad:
            torch.testing.assert_close(b.grad, a.grad, atol=1e-3, rtol=1e-3,
                                       msg=name)
