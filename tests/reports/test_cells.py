"""The metafiles hold what is published, and what the configs do otherwise."""
from collections import Counter
from pathlib import Path

import pytest
import yaml
from helpers import on_meta
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from paths import ROOT

from mona_mm.errors import ConfigError
from mona_mm.reports.cells import TABLES, load_cells
from mona_mm.reports.names import display_name, name_run, parse

ALL = load_cells()
#: By the config's stem and metric, and by the stem alone.
ROWS_HERE = {(Path(row.config).stem, row.metric): row
             for row in ALL.itertuples() if row.config}
CELLS = {name: row for (name, _), row in ROWS_HERE.items()}
ORDER = ('', '-fixed', '-bitfit', '-normtuning', '-partial', '-adapter',
         '-lora', '-adaptformer', '-lorand', '-mona')
ROWS = {  # the paper's tables 1 to 3, in the order of its methods
    ('cascade-mask-rcnn_swin-b{}_3x_coco', 'box AP'):
    (52.4, 48.0, 50.1, 50.1, 50.6, 52.1, 50.4, 51.7, 51.0, 53.4),
    ('cascade-mask-rcnn_swin-b{}_3x_coco', 'mask AP'):
    (45.1, 41.6, 43.6, 43.5, 43.7, 45.0, 43.9, 44.6, 43.9, 46.0),
    ('retinanet_swin-l{}_1x_voc', 'AP50'):
    (83.7, 83.8, 85.4, 85.5, 85.5, 86.7, 85.4, 86.6, 86.8, 87.3),
    ('upernet_swin-l{}_160k_ade20k', 'mIoU'):
    (51.18, 46.84, 48.37, 47.89, 47.44, 50.78, 50.34, 50.83, 50.76, 51.36),
    ('swin-l{}_100e_flowers102', 'Top 1 Accuracy'):
    (99.5772, 99.3007, 99.5772, 99.5284, 99.6585, 99.5934, 99.5446, 99.5609,
     99.5531, 99.6764),
    ('swin-l{}_100e_oxfordpets', 'Top 1 Accuracy'):
    (94.6579, 94.2219, 95.3393, 95.2303, 95.3938, 95.3393, 95.1485, 95.2576,
     95.2315, 95.4765),
    ('swin-l{}_100e_voc2007', 'Top 1 Accuracy'):
    (84.1276, 85.0162, 85.6018, 85.5210, 84.9354, 87.0355, 85.7028, 86.2884,
     85.9526, 86.9709),
}
TOP5 = {  # Flowers102, OxfordPets, VOC2007; Mona's last
    'flowers102': (99.8536, 99.8374, 99.8211, 99.8374, 99.8374, 99.9024,
                   99.8536, 99.8536, 99.8536, 99.8536),
    'oxfordpets': (99.6257, 99.9182, 99.9182, 99.8910, 99.8637, 99.8092,
                   99.8910, 99.8365, 99.8637, 99.9182),
    'voc2007': (96.9507, 98.9499, 99.3336, 99.2528, 98.6066, 99.1317,
                99.3134, 99.2730, 99.1766, 99.5057),
}
ROWS |= {(f'swin-l{{}}_100e_{data}', 'Top 5 Accuracy'): values
         for data, values in TOP5.items()}
AVERAGES = {  # of table 3: top-1, top-5
    'Full': (92.7876, 98.8100), 'Fixed': (92.8463, 99.5685),
    'BitFit': (93.5061, 99.6910), 'NormTuning': (93.4266, 99.6604),
    'Partial-1': (93.3292, 99.4359), 'Adapter': (93.9894, 99.6144),
    'LoRA': (93.4653, 99.6860), 'AdaptFormer': (93.7023, 99.6544),
    'LoRand': (93.5791, 99.6313), 'Mona': (94.0413, 99.7592),
}
PARAMETERS = {  # columns of tables 1 and 2: millions, per cent
    'Swin-B': dict(
        Full=(89.14, None), BitFit=(.21, .23), NormTuning=(.06, .07),
        Adapter=(3.19, 3.58), LoRA=(3.06, 3.43), AdaptFormer=(1.60, 1.79),
        LoRand=(1.20, 1.34), Mona=(4.16, 4.67),
        **{'Partial-1': (12.95, 14.53)}),
    'Swin-L': dict(
        Full=(198.58, None), BitFit=(.30, .15), NormTuning=(.10, .05),
        Adapter=(4.61, 2.33), LoRA=(4.57, 2.31), AdaptFormer=(2.34, 1.18),
        LoRand=(1.31, .66), Mona=(5.08, 2.56),
        **{'Partial-1': (28.77, 14.53)}),
}
SINGLES = {  # tables 4 and 5, the ablation, DOTA and STAR, others
    ('retinanet_swin-l-mona-b32_1x_voc', 'AP50'): 86.8,
    ('retinanet_swin-l-mona-b128_1x_voc', 'AP50'): 87.1,
    ('retinanet_swin-t_1x_voc', 'AP50'): 80.1,
    ('retinanet_swin-t-mona_1x_voc', 'AP50'): 83.5,
    ('retinanet_swin-b_1x_voc', 'AP50'): 81.6,
    ('retinanet_swin-b-mona_1x_voc', 'AP50'): 86.5,
    ('retinanet_swin-l-mona-noscale_1x_voc', 'AP50'): 86.9,
    ('retinanet_swin-l-mona-k7_1x_voc', 'AP50'): 86.7,
    ('retinanet_swin-l-mona-k333_1x_voc', 'AP50'): 86.8,
    ('oriented-rcnn_swin-b_1x_dota', 'mAP'): 78.31,
    ('oriented-rcnn_swin-b-mona_1x_dota', 'mAP'): 78.44,
    ('oriented-rcnn_swin-b_1x_star', 'AP50'): 38.63,
    ('oriented-rcnn_swin-b-mona_1x_star', 'AP50'): 39.45,
    ('h2rbox-v2_swin-b_1x_star', 'AP50'): 30.29,
    ('h2rbox-v2_swin-b-mona_1x_star', 'AP50'): 31.34,
    ('upernet_swin-l-mona_80k_loveda', 'mIoU'): 53.8,
    ('upernet_swin-l-mona_80k_potsdam', 'mIoU'): 78.6,
    ('swin-l-mona_20e_imagenet-r', 'Top 1 Accuracy'): 72.7,
    # Version 1 of arXiv 2310.05393.
    ('cascade-mask-rcnn_vit-b-hst_3x_coco', 'box AP'): 49.7,
    ('cascade-mask-rcnn_vit-b-hst_3x_coco', 'mask AP'): 43.2,
    ('mask-rcnn_vit-b-hst_1x_coco', 'box AP'): 40.3,
    ('upernet_vit-b-hst_160k_ade20k', 'mIoU'): 47.0,
    # PVT-Large, in the CVPR version alone.
    ('retinanet_pvt-l_1x_voc', 'AP50'): 76.1,
    ('retinanet_pvt-l-adaptformer_1x_voc', 'AP50'): 79.2,
    ('retinanet_pvt-l-lorand_1x_voc', 'AP50'): 79.3,
    ('retinanet_pvt-l-mona_1x_voc', 'AP50'): 80.3,
}
PUBLISHED = {**SINGLES, **{
    (stem.format(word), metric): value
    for (stem, metric), values in ROWS.items()
    for word, value in zip(ORDER, values)}}


def test_published_values_are_these_and_no_others():
    found = {key: row.published for key, row in ROWS_HERE.items()
             if row.published is not None}
    assert found == PUBLISHED


def test_values_of_others_stand_beside_the_papers():
    found = {(*key, float(text.split(',')[0]))
             for key, row in ROWS_HERE.items() for text in row.also_reported}
    assert found == {
        ('cascade-mask-rcnn_swin-b-mona_3x_coco', 'box AP', 52.9),
        ('cascade-mask-rcnn_swin-b-mona_3x_coco', 'box AP', 48.9),
        ('cascade-mask-rcnn_swin-b-mona_3x_coco', 'mask AP', 44.4),
        ('retinanet_swin-l-mona_1x_voc', 'AP50', 86.9),
        ('upernet_swin-l-mona_160k_ade20k', 'mIoU', 51.6),
        ('upernet_swin-l_160k_ade20k', 'mIoU', 51.03)}


def test_recipe_of_pvt_is_told_to_be_assumed():
    cells = [cell for name, cell in CELLS.items() if '_pvt-l' in name]
    assert len(cells) == 4
    assert all('assumed' in ' '.join(c.config_deviations) for c in cells)


def test_averages_of_table_3_are_those_of_its_columns():
    cells = ALL[(ALL.config == '') & (ALL.tables == ('Table 3', ))]
    found = {method: tuple(rows.published)
             for method, rows in cells.groupby('method', sort=False)}
    assert found == AVERAGES
    for i, method in enumerate(found):
        for k, metric in enumerate(('Top 1 Accuracy', 'Top 5 Accuracy')):
            three = [values[i] for (stem, name), values in ROWS.items()
                     if name == metric]
            # Ours are typed with four digits.
            assert sum(three) / 3 == pytest.approx(
                AVERAGES[method][k], abs=2e-3), (method, metric)


def test_parameter_columns_are_the_papers():
    found = {}
    for cell in CELLS.values():
        if cell.published_millions is not None:
            assert cell.dataset in ('COCO', 'ADE20K', 'Pascal VOC 2007+2012')
            found.setdefault((cell.model, cell.backbone), {})[cell.method] = (
                cell.published_millions, cell.published_percent)
    assert found == {
        ('Cascade Mask R-CNN', 'Swin-B'): PARAMETERS['Swin-B'],
        ('RetinaNet', 'Swin-L'): PARAMETERS['Swin-L'],
        ('UPerNet', 'Swin-L'): PARAMETERS['Swin-L']}


def test_publisher_is_the_paper_others_or_nobody():
    others = ('_loveda', '_potsdam', '_imagenet-r')
    for name, cell in CELLS.items():
        expected = 'nobody' if cell.published is None else (
            'other papers' if name.endswith(others) else
            'the CVPR version, as reading notes have it'
            if name.startswith('h2rbox') else 'arXiv 2310.05393v1'
            if '-hst_' in name else 'the paper')
        assert cell.published_by == expected, name


def test_tables_of_the_paper_are_complete():
    here = ALL[ALL.published.notna()].drop_duplicates('cell')
    found = Counter(t for tables in here.tables for t in tables)
    # Table 1 has ten methods, 2 ten on two datasets, 3 ten on three and on
    # average; table 4 three bottlenecks, 5 two methods on three backbones.
    assert [found[f'Table {i}'] for i in range(1, 6)] == [10, 20, 40, 3, 6]
    assert found['Structure ablation'] == 4  # Mona and three without
    assert found['DOTA and STAR'] == 6  # two methods, three columns
    assert {t for tables in ALL.tables for t in tables} == set(TABLES)


def test_method_is_the_one_in_the_configs_name():
    for cell in CELLS.values():
        method = parse(cell.config).method
        assert display_name(method) == cell.method, cell.config


@pytest.mark.parametrize('name', [
    n for n, cell in CELLS.items() if n.count('-mona_')])
def test_processes_are_those_of_the_configs_batch(name):
    cell = CELLS[name]
    cfg = Config.fromfile(ROOT / cell.config)
    assert cfg.auto_scale_lr.base_batch_size == (
        cell.processes * cfg.train_dataloader.batch_size)


def test_counts_are_those_of_the_readmes():
    for cell in CELLS.values():
        path = ROOT / cell.config
        row, = (line for line in (path.parent / 'README.md').read_text(
            ).splitlines() if line.endswith(f']({path.name}) |'))
        share = f' ({100 * cell.share:.2f} %)'.replace('100.00', '100')
        expected = f'{cell.trained:,}' + share * bool(cell.trained)
        assert row.split(' | ')[1] == expected, cell.config


def test_counts_are_those_of_the_built_backbones():
    known = {}
    for cell in CELLS.values():
        cfg = Config.fromfile(ROOT / cell.config)
        backbone = cfg.model.backbone
        leaf = name_run(cell.config, backbone.tuner.type)
        assert leaf == parse(cell.config)
        # All that a number of parameters depends on.
        key = str([MODELS.get(backbone.type).plain_class, *(
            backbone.get(k) for k in ('arch', 'num_layers', 'out_indices',
                                      'keep_frozen', 'tuner'))])
        if key not in known:
            init_default_scope(cfg.default_scope)
            with on_meta():
                known[key] = MODELS.build(backbone).share()
        share = known[key]
        assert cell.trained == share.trained, cell.config
        assert cell.share == pytest.approx(share.ratio, abs=1e-8), cell.config


def test_cell_on_the_releases_recipe_has_no_deviation():
    for name in ('retinanet_swin-l-mona_1x_voc',
                 'upernet_swin-l-mona_160k_ade20k',
                 'upernet_swin-l_160k_ade20k'):
        assert CELLS[name].config_deviations == ()


def test_missing_key_of_a_metafile_is_named_with_the_file(tmp_path):
    (tmp_path / 'a.yml').write_text(yaml.safe_dump(dict(
        Collections=[], Models=[{
            'Name': 'swin-l_1x_a', 'Config': 'swin-l_1x_a.py',
            'In Collection': 'A', 'Metadata': {
                'Method': 'Full', 'Paper Tables': ['Others']}}])))
    (tmp_path / 'model-index.yml').write_text('Import: [a.yml]\n')
    with pytest.raises(ConfigError, match=r'a\.yml: a model lacks'):
        load_cells(tmp_path)


def test_project_without_an_index_is_told(tmp_path):
    with pytest.raises(ConfigError, match='model-index.yml.*checkout'):
        load_cells(tmp_path)
