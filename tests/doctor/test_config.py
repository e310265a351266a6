"""What the doctor says about a config."""
import re

import cv2
import numpy as np
import pytest
import torch
from helpers import image, nano
from mmengine.config import Config
from mmengine.registry import DefaultScope
from paths import ROOT
from torch import nn

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.doctor import __main__ as doctor
from mona_mm.doctor import memory, stack
from mona_mm.doctor.config import check_config
from mona_mm.doctor.finding import NOTE, OK, WRONG
from mona_mm.engine.preflight import preflight
from mona_mm.errors import ConfigError

LEAF = ROOT / 'configs/quickstart/swin-nano-mona_shapes.py'


@pytest.fixture(autouse=True)
def _forget_scope():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def options(tmp_path):
    """What makes the quickstart's classifier a config that would run."""
    for part in ('train', 'val'):
        for name in 'abcdef':
            (tmp_path / 'data' / part / name).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / 'data' / part / name / '0.png'),
                        np.zeros((8, 8, 3), np.uint8))
    arch = Config.fromfile(LEAF).model.backbone
    torch.save(
        TunedSwinTransformer(arch=arch.arch, window_size=arch.window_size,
                             out_indices=()).state_dict(),
        tmp_path / 'base.pth')
    root = str(tmp_path / 'data')
    return {
        'work_dir': str(tmp_path / 'work'),
        'train_dataloader.dataset.data_root': root,
        'val_dataloader.dataset.data_root': root,
        'model.backbone.init_cfg.checkpoint': str(tmp_path / 'base.pth')}


def examine(options, **changes):
    cfg = Config.fromfile(LEAF)
    cfg.merge_from_dict({**options, **changes})
    found = list(check_config(cfg))
    return {f.subject: f for f in found}, [
        f for f in found if f.level == WRONG]


def test_config_that_would_run_is_sound(options, tmp_path):
    found, wrong = examine(options)
    assert not wrong
    assert 'fits SwinTransformerMona' in found['base'].text
    # A layer: 37 C + 1664; two per block, blocks of 2 x 32, 2 x 64, 4 x 128
    # and 256 channels, 960 together.
    inserted = 2 * 37 * 960 + 18 * 1664
    assert f'Mona: {inserted:,} inserted and 0 pretrained' in (
        found['backbone'].text)
    head = 256 * 6 + 6
    assert found['model'].text.startswith(f'{inserted + head:,} of ')
    assert 'an estimate' in found['memory'].text
    assert '8 x 64 x 64' in found['memory'].text
    assert not (tmp_path / 'work').exists()  # looking leaves nothing


def test_help_looks_at_nothing_and_says_that_the_config_is_optional(capsys):
    with pytest.raises(SystemExit):
        doctor.main(['--help'])
    said = capsys.readouterr().out
    assert said.startswith('usage: python -m mona_mm.doctor [config]')
    assert '--size H W' in said and 'Stack' not in said


def test_memory_is_estimated_for_a_size_that_is_asked_for(options):
    cfg = Config.fromfile(LEAF)
    cfg.merge_from_dict(options)
    said = {size: next(f.text for f in check_config(cfg, size)
                       if f.subject == 'memory')
            for size in ((64, 64), (128, 128))}
    assert '8 x 64 x 64' in said[64, 64]
    assert '8 x 128 x 128' in said[128, 128]
    # Four times the pixels: four times what the backbone keeps.
    small, large = (int(re.search(r'activations (\d+) MiB', text)[1])
                    for text in said.values())
    assert large == pytest.approx(4 * small, rel=.2)


def test_everything_that_is_wrong_is_said_at_once(options, tmp_path):
    torch.save(
        TunedSwinTransformer(arch='tiny', out_indices=()).state_dict(),
        tmp_path / 'tiny.pth')
    _, wrong = examine(options, **{
        'model.head.num_classes': 5,
        'val_dataloader.dataset.data_root': 'nowhere/',
        'model.backbone.init_cfg.checkpoint': str(tmp_path / 'tiny.pth')})
    told = {f.subject: [] for f in wrong}
    for finding in wrong:
        told[finding.subject].append(finding.text)
    assert set(told) == {'data', 'base'}
    assert any('num_classes=5' in text for text in told['data'])
    assert any("'nowhere/' does not exist" in text for text in told['data'])
    assert 'tiny.pth' in told['base'][0]


def test_doctor_and_training_say_the_same_of_labels(options, tmp_path):
    (tmp_path / 'data/val/f').rename(tmp_path / 'data/val/g')
    pixels = np.full((8, 8, 3), 4095, np.uint16)
    cv2.imwrite(str(tmp_path / 'data/train/a/0.png'), pixels)
    cfg = Config.fromfile(LEAF)
    cfg.merge_from_dict(options)
    with pytest.raises(ConfigError) as error:
        preflight(cfg, ('train', 'val'))
    _, wrong = examine(options)
    assert 'only val_dataloader: g' in str(error.value)
    assert str(error.value).split('\n- ')[1:] == [f.text for f in wrong]
    (tmp_path / 'data/val/g').rename(tmp_path / 'data/val/f')
    found = [f for f in check_config(cfg) if f.subject == 'data']
    assert [f.text for f in found if f.level == NOTE] == preflight(
        cfg, ('train', 'val'))
    assert any('16 bits' in f.text for f in found)


def test_frozen_base_without_a_file_is_named(options):
    found, wrong = examine(options, **{'model.backbone.init_cfg': None})
    assert [f.subject for f in wrong] == ['base']
    assert 'would stay random' in wrong[0].text
    found, wrong = examine(options, **{
        'model.backbone.init_cfg': None,
        'model.backbone.allow_random_base': True})
    assert not wrong and found['base'].level == NOTE


def test_base_behind_a_url_is_left_to_the_download(options):
    found, wrong = examine(options, **{
        'model.backbone.init_cfg.checkpoint': 'https://example.org/b.pth'})
    assert not wrong and 'is downloaded' in found['base'].text


def test_model_that_cannot_be_built_is_named(options):
    _, wrong = examine(options, **{'model.backbone.tuner.type': 'Monna'})
    assert any("unknown type 'Monna'" in f.text for f in wrong)


def test_exit_status_says_whether_anything_is_wrong(
        options, monkeypatch, capsys):
    monkeypatch.setattr(doctor, 'check_stack', lambda: iter(
        [stack.Finding(OK, 'torch', 'there')]))
    words = [str(LEAF), '--work-dir', options.pop('work_dir'),
             '--cfg-options', *(f'{k}={v}' for k, v in options.items())]
    assert doctor.main(words) == 0
    told = capsys.readouterr().out
    assert 'ok     torch' in told and 'fits SwinTransformerMona' in told
    assert doctor.main([*words, 'model.head.num_classes=5']) == 1
    assert 'WRONG  data' in capsys.readouterr().out
    assert doctor.main(['nowhere.py']) == 1
    assert "'nowhere.py' does not exist" in capsys.readouterr().out
    assert doctor.main([]) == 0


def test_bytes_kept_are_those_of_the_layers():
    # Linear keeps its input (2x5x8) and GELU its own (2x5x16), of 4 bytes.
    net = nn.Sequential(nn.Linear(8, 16), nn.GELU()).to('meta')
    assert memory.saved_bytes(net, (2, 5, 8)) == 4 * (2 * 5 * 8 + 2 * 5 * 16)


def test_bytes_kept_without_data_are_those_with_data():
    kept, own = {}, set()

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor
    net = nano('LoRA').train()
    own |= {t.untyped_storage()._cdata
            for t in (*net.parameters(), *net.buffers())}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        outputs = net(image(2, 3, 64, 64))
    counted = sum(s.nbytes() for s in kept.values())
    del outputs
    meta = memory.saved_bytes(nano('LoRA').to('meta'), (2, 3, 64, 64))
    assert meta == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize('leaf, size', [
    ('retinanet/retinanet_swin-l-mona_1x_voc.py', (600, 1000)),
    ('upernet/upernet_swin-l-mona_160k_ade20k.py', (512, 512)),
    ('swin_classification/swin-l-mona_100e_flowers102.py', (224, 224)),
    ('oriented_rcnn/oriented-rcnn_swin-b-mona_1x_dota.py', (1024, 1024)),
])
def test_picture_size_is_the_recipes(leaf, size):
    assert memory.picture_size(
        Config.fromfile(ROOT / 'configs' / leaf)) == size
