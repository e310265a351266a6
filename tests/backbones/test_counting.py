"""Counting through the command line."""
import json
import runpy

import pytest

from mona_mm.errors import ConfigError


@pytest.fixture
def main(root, monkeypatch):
    monkeypatch.chdir(root)
    return runpy.run_path(str(root / 'tools/count_params.py'))['main']


def test_json_holds_the_released_counts_by_site_and_stage(main, capsys):
    config = ('configs/cascade_mask_rcnn/'
              'cascade-mask-rcnn_swin-b-mona_3x_coco.py')
    main([config, '--json'])
    row = json.loads(capsys.readouterr().out)[config]
    assert (row['trained'], row['frozen']) == (3_667_456, 86_745_016)
    assert row['total'] == 3_667_456 + 86_745_016
    assert f'{row["share"]:.2%}' == '4.06%'
    # Two layers per block, the same at both sites.
    assert row['by_site'] == dict(
        after_attn=3_667_456 // 2, after_ffn=3_667_456 // 2)
    # (2n + 5)m + n^2 + 88n with n = 64, two blocks of two layers, m = 128.
    assert row['by_stage']['stage 0'] == 4 * (133*128 + 64**2 + 88*64)


def test_another_method_and_size_are_counted(main, capsys):
    config = 'configs/retinanet/retinanet_swin-l-mona_1x_voc.py'
    main([config, '--tuner', 'lora', '--arch', 'tiny', '--json'])
    row = json.loads(capsys.readouterr().out)[config]
    # A of C x 64 and B of 64 x C for q and v, in 2, 2, 6 and 2 blocks.
    assert (row['tuner'], row['inserted']) == ('LoRA', sum(
        blocks * 2 * 2 * 64 * 96 * 2**i
        for i, blocks in enumerate((2, 2, 6, 2))))


def test_unknown_size_is_refused_with_the_known_ones(main):
    with pytest.raises(ConfigError, match='tiny'):
        main(['configs/retinanet/retinanet_swin-l-mona_1x_voc.py',
              '--arch', 'gigantic'])


def test_table_names_config_and_share(main, capsys):
    main(['configs/retinanet/retinanet_swin-l-mona_1x_voc.py'])
    printed = capsys.readouterr().out
    assert '5,267,712' in printed and '2.63%' in printed


def test_config_without_a_tuner_is_refused(main, tmp_path):
    (tmp_path / 'a.py').write_text(
        "model = dict(backbone=dict(type='ResNet'))\n")
    with pytest.raises(ConfigError, match="'ResNet'.*takes no tuner"):
        main([str(tmp_path / 'a.py')])
