"""Measuring: what counts, in which order, and how it is compared."""
import json
import math
import runpy
from functools import partial
from statistics import median

import cv2
import pytest
import torch
from helpers import NANO, TUNERS
from mmpretrain.models import SwinTransformer
from torch import nn
from torch.utils.checkpoint import checkpoint

import mona_mm
from mona_mm.errors import ConfigError
from mona_mm.research import benchmark as benchmarks
from mona_mm.research.benchmark import MEASURES, Options, Size, benchmark
from mona_mm.research.benchmark.inference import Inference
from mona_mm.research.benchmark.launches import (
    Shapes,
    new_shapes,
    shape_ratio,
)
from mona_mm.research.benchmark.optimizer import DEFAULT, OURS, Optimizer
from mona_mm.research.benchmark.options import parse_size
from mona_mm.research.benchmark.saved import (
    Saved,
    published_saved_mib,
    saved_activations,
)
from mona_mm.research.benchmark.step import alternate, fit_line, ratio
from mona_mm.research.benchmark.subjects import build
from mona_mm.research.benchmark.whole import random_batches

FLOAT = 4
CPU = torch.device('cpu')
from_arch = partial(benchmarks.from_arch,
                    family='mona_mm.TunedSwinTransformer')


def quick(**kwargs) -> Options:
    kwargs = dict(
        dict(sizes=[Size(1, 64, 64)], area_sizes=(32, 64, 96), runs=2,
             warmup=1, device='cpu'), **kwargs)
    return Options(**kwargs)


@pytest.fixture
def main(root, monkeypatch):
    monkeypatch.chdir(root)
    return runpy.run_path(str(root / 'tools/benchmark.py'))['main']


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))


def test_saved_bytes_of_two_linears_and_a_gelu():
    # Inputs of the three layers: 5 x 8, 5 x 16 and 5 x 16 numbers.
    saved = saved_activations(small(), torch.randn(5, 8))
    assert saved == ((5*8 + 5*16 + 5*16) * FLOAT, 0)


def test_what_only_frozen_layers_need_is_not_kept():
    model = small()
    model[0].requires_grad_(False)
    saved = saved_activations(model, torch.randn(5, 8))
    assert saved.activations == 5 * 16 * FLOAT  # the last layer's input


def test_views_of_one_storage_count_once_and_in_full():

    class Gate(nn.Linear):

        def forward(self, x):
            a, b, _ = super().forward(x).chunk(3, dim=-1)
            return a * b

    saved = saved_activations(Gate(8, 12), torch.randn(5, 8))
    assert saved.activations == (5*8 + 5*12) * FLOAT


def test_constants_that_a_module_holds_are_cache():

    class Masked(nn.Linear):

        def forward(self, x):
            self.masks = dict(last=torch.ones(5, 16))
            return super().forward(x) * self.masks['last']

    saved = saved_activations(Masked(8, 16), torch.randn(5, 8))
    assert saved == (5 * 8 * FLOAT, 5 * 16 * FLOAT)


def test_what_is_recomputed_is_not_counted():

    class Recomputed(nn.Sequential):

        def forward(self, x):
            return checkpoint(super().forward, x, use_reentrant=False)

    saved = saved_activations(
        Recomputed(*small()), torch.randn(5, 8, requires_grad=True))
    assert saved.activations == 5 * 8 * FLOAT  # the input alone


def test_counting_meets_the_figures_of_the_published_definitions():
    # 207.5 and 221.1 MiB, Swin-T, 2 x 224.
    (comparison, ) = from_arch('tiny')
    del comparison.subjects['Mona']
    rows = Saved(comparison, quick(), Size(2, 224, 224)).measure()
    assert math.isclose(rows['full (mmpretrain)']['activations_mib'], 207.5,
                        abs_tol=.05)
    assert math.isclose(rows['Mona, line by line']['activations_mib'], 221.1,
                        abs_tol=.05)


def test_published_figures_stand_by_what_they_were_measured_on():
    size = Size(1, 512, 512)

    def figure(dtype, size, method, **kwargs):
        comparison, = from_arch(kwargs.pop('arch', 'b'), **kwargs)
        return published_saved_mib(comparison, dtype, size, method)

    assert figure('float32', size, 'Mona') == 1206.4
    assert figure('float32', size, 'full (mmpretrain)') == 1216.4
    assert figure('bfloat16', size, 'Mona') is None
    assert figure('float32', size, 'Mona', drop_path=0.2) is None
    assert figure('float32', size, 'Mona', arch=NANO) is None
    assert figure('float32', Size(1, 224, 224), 'Mona') is None


def test_subjects_take_turns_and_warm_up_is_left_out():
    order = []

    def job(name):

        def run():
            order.append((name, torch.rand(1).item()))
            return dict(total=len(order), backward=None)

        return run

    laps = alternate({k: job(k) for k in 'ABC'}, runs=2, warmup=1, seed=7)
    assert ''.join(name for name, _ in order) == 'ABCABCABC'
    assert laps['B'] == dict(total=[5, 8], backward=[None, None])
    draws = [number for _, number in order]
    assert draws[3] == draws[4] == draws[5] != draws[6]  # seeded by round


def test_ratio_divides_round_by_round():
    assert ratio([2, 4, 9], [1, 4, 3]) == (2, 1, 3)  # of medians: 4/3
    assert ratio([2, None], [1, 1]) is None
    assert ratio([2, 3], [1, 0]) is None


def test_line_through_points():
    assert fit_line([1, 2, 4], [5, 8, 14]) == pytest.approx(
        dict(slope=3, intercept=2, r2=1))
    assert fit_line([0, 1, 2], [0, 0, 3]) == pytest.approx(
        dict(slope=1.5, intercept=-.5, r2=.75))
    with pytest.raises(ValueError, match='three different'):
        fit_line([1, 1, 2], [0, 0, 1])


def test_full_is_the_library_s_own_backbone_on_the_same_weights():
    (comparison, ) = from_arch(NANO, ['mona'])
    full, mona = (
        build(comparison.subjects[k], 0, CPU)
        for k in ('full (mmpretrain)', 'Mona'))
    assert type(full) is SwinTransformer
    assert all(p.requires_grad for p in full.parameters())
    tuned = mona.state_dict()
    assert all(torch.equal(v, tuned[k]) for k, v in full.state_dict().items())
    assert [o.shape for o in full(torch.zeros(1, 3, 64, 64))
            ] == [o.shape for o in mona(torch.zeros(1, 3, 64, 64))]
    rates = [m.drop_prob for m in full.modules() if hasattr(m, 'drop_prob')]
    assert math.isclose(max(rates), 0.3, rel_tol=1e-6)


def test_every_method_is_measured():
    comparisons = from_arch(NANO, ['all'], ['full'])
    options = quick(only=['saved', 'time'], runs=1, warmup=0)
    found = benchmark(comparisons, options, show=lambda text: None)
    of_size = found['comparisons'][0]['sizes']['1x64']
    assert set(TUNERS) <= set(of_size['time']['subjects'])
    idle = {k for k, laps in of_size['time']['subjects'].items()
            if laps['backward'] == [None]}
    silent = {k for k, row in of_size['saved']['subjects'].items()
              if row['activations_mib'] == 0}
    assert idle == silent == {'Fixed'}


@pytest.mark.filterwarnings('ignore:torch.utils.checkpoint')
def test_recomputing_blocks_keeps_less():
    kept = {}
    for with_cp in (False, True):
        (comparison, ) = from_arch(NANO, ['mona'], with_cp=with_cp)
        rows = Saved(comparison, quick(), Size(1, 64, 64)).measure()
        kept[with_cp] = {k: r['activations_mib'] for k, r in rows.items()}
    assert all(kept[True][k] < kept[False][k] / 2 for k in kept[False])


def test_optimizer_table_counts_groups_of_both_constructors():
    (comparison, ) = from_arch(NANO, ['lora'], ['none'])
    row = Optimizer(comparison, quick()).measure()['LoRA']
    # One A and one B in each of eight blocks; all with the same settings.
    assert (row[OURS]['groups'], row[OURS]['tensors']) == (1, 16)
    assert row[DEFAULT]['groups'] >= 16
    assert len(row[OURS]['step_ms']) == len(row[DEFAULT]['step_ms']) == 2


def test_fused_method_is_a_subject_of_its_own(monkeypatch):
    fused = []
    monkeypatch.setattr(mona_mm, 'fuse', lambda m: fused.append(m) or m,
                        raising=False)
    (comparison, ) = from_arch(NANO, ['mona'], ['full'])
    measure = Inference(comparison, quick(), Size(1, 64, 64))
    rows = measure.measure()
    assert set(rows) == {'Mona', 'Mona, fused', 'full (mmpretrain)'}
    assert ('Mona, fused', 'Mona') in measure.pairs(rows)
    assert len(fused) == 1 and not fused[0].training


def test_command_writes_json_and_a_chart(main, tmp_path, capsys):
    out, png = tmp_path / 'a.json', tmp_path / 'a.png'
    config = 'configs/quickstart/retinanet_swin-nano-mona_shapes.py'
    main([config, '--sizes', '1x32x64', '--area-sizes', '32,64,96',
          '--runs', '2', '--warmup', '0', '--against', 'full,lora',
          '--device', 'cpu', '--json', str(out), '--png', str(png)])
    found = json.loads(out.read_text())
    assert set(found) == {
        'environment', 'protocol', 'comparisons', 'not_measured'}
    assert {'threads', 'device', 'versions', 'date'} <= set(
        found['environment'])
    (comparison, ) = found['comparisons']
    assert comparison['configs'] == [config]
    assert comparison['backbone']['arch']['embed_dims'] == 32
    of_size = comparison['sizes']['1x32x64']
    assert (of_size['batch'], of_size['height'], of_size['width']) == (
        1, 32, 64)
    assert set(of_size) >= set(MEASURES) - {'optimizer', 'area'}
    assert of_size['memory'] is None
    check_ratios(of_size['time'])
    for row in comparison['area']['subjects'].values():
        assert list(row['total_ms']) == ['1x32', '1x64', '1x96']
        assert row['line']['r2'] <= 1
    printed = capsys.readouterr().out
    assert '## Not measured' in printed and 'GPU' in printed
    assert '| Mona' in printed and 'cache MiB' in printed
    assert cv2.imread(str(png)).shape[1] > 800


def check_ratios(measured):
    subjects = measured['subjects']
    assert {r['against'] for r in measured['ratios']} == {
        'full (mmpretrain)', 'LoRA'}
    for row in measured['ratios']:
        own, other = (subjects[row[k]][row['part']]
                      for k in ('method', 'against'))
        each = [a / b for a, b in zip(own, other)]
        assert len(each) == 2
        assert math.isclose(row['median'], median(each))
    for laps in subjects.values():
        for i, total in enumerate(laps['total']):
            parts = sum(laps[p][i] for p in (
                'forward', 'backward', 'optimizer'))
            assert math.isclose(total, parts)


def test_configs_with_one_backbone_share_a_table(main, tmp_path, root):
    base = root / 'configs/quickstart'
    names = [base / f'retinanet_swin-nano-{m}_shapes.py'
             for m in ('mona', 'fixed')]
    other = base / 'retinanet_swin-nano-mona_shapes.py'
    changed = tmp_path / 'wider.py'
    changed.write_text(f"_base_ = ['{other}']\nmodel = dict(backbone=dict("
                       'tuner=dict(bottleneck_dims=8)))\n')
    out = tmp_path / 'a.json'
    main([*map(str, names), str(changed), '--only', 'saved', '--sizes',
          '1x64', '--json', str(out), '--device', 'cpu'])
    (comparison, ) = json.loads(out.read_text())['comparisons']
    assert list(comparison['methods']) == ['Mona', 'Fixed', 'Mona #2']
    assert comparison['methods']['Mona #2']['bottleneck_dims'] == 8


@pytest.mark.parametrize('args, message', [
    (['--methods', 'monna'], 'unknown method monna.*AdaptFormer.*Mona'),
    (['--against', 'ful'], 'unknown method ful.*Mona'),
    (['--arch', 'huge'], "--arch 'huge'.*tiny"),
    (['--sizes', '2x'], "--sizes '2x'.*2x224"),
    (['--only', 'speed'], '--only: unknown speed.*inference'),
    (['--area-sizes', '9x9'], "--area-sizes '9x9'"),
    (['--png', 'a.png', '--against', 'none'], '--png draws ratios'),
    (['--threads', '0'], '--threads must be at least 1'),
    (['--runs', '0'], '--runs must be at least 1'),
    (['--drop-path', '1'], r'--drop-path must be in \[0, 1\)'),
    (['nowhere.py'], "'nowhere.py' does not exist"),
])
def test_what_cannot_be_used_is_named(main, args, message):
    with pytest.raises(ConfigError, match=message):
        main(args)


def test_config_without_a_tuner_is_refused(main, tmp_path):
    (tmp_path / 'a.py').write_text(
        "model = dict(backbone=dict(type='ResNet'))\n")
    with pytest.raises(ConfigError, match="'ResNet'.*takes no tuner"):
        main([str(tmp_path / 'a.py')])


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is CUDA')
def test_cuda_that_is_not_there_is_an_error(main):
    with pytest.raises(ConfigError, match='no CUDA device'):
        main(['--device', 'cuda'])


def test_sizes_are_square_or_not():
    assert parse_size('2x224') == (2, 224, 224)
    assert str(parse_size('1x800x1344')) == '1x800x1344'
    assert Size(2, 500, 1000).megapixels == 1.0


def test_method_that_cannot_be_fused_is_told(monkeypatch):

    def refuse(model):
        raise ConfigError('not this one')

    monkeypatch.setattr(mona_mm, 'fuse', refuse, raising=False)
    said = []
    found = benchmark(
        from_arch(NANO, ['mona'], ['none']),
        quick(only=['inference'], runs=1, warmup=0), said.append)
    assert any('Mona was not fused: not this one' in s for s in said)
    rows = found['comparisons'][0]['sizes']['1x64']['inference']
    assert list(rows['subjects']) == ['Mona']


def test_new_shapes_are_different_and_no_larger():
    shapes = new_shapes(Size(2, 224, 192), 20, 0)
    # 5 heights by 4 widths, without the size itself.
    assert len(set(shapes)) == 19 and Size(2, 224, 192) not in shapes
    assert {s.batch for s in shapes} == {2}
    assert {s.height for s in shapes} <= {96, 128, 160, 192, 224}
    assert {s.width for s in shapes} <= {96, 128, 160, 192}
    assert new_shapes(Size(1, 224, 224), 5, 1) != new_shapes(
        Size(1, 224, 224), 5, 2)


def test_steps_on_new_shapes_are_timed_twice_each():
    (comparison, ) = from_arch(NANO)
    rows = Shapes(comparison, quick(new_shapes=3), Size(1, 96, 96)).measure()
    assert list(rows) == list(comparison.subjects)
    for row in rows.values():
        assert [len(row[k]) for k in ('first', 'new', 'again')] == [1, 3, 3]
        low, high = (f(a / b for a, b in zip(row['new'], row['again']))
                     for f in (min, max))
        assert low <= shape_ratio(row) <= high


LEAVES = [f'{name}_shapes' for name in (
    'retinanet_swin-nano-mona', 'cascade-mask-rcnn_swin-nano-mona',
    'oriented-rcnn_swin-nano-mona', 'upernet_swin-nano-mona',
    'swin-nano-mona')]


@pytest.mark.parametrize('leaf', [LEAVES[0], *(
    pytest.param(leaf, marks=pytest.mark.slow) for leaf in LEAVES[1:])])
def test_whole_iterations_of_a_config(main, capsys, tmp_path, leaf):
    path = f'configs/quickstart/{leaf}.py'
    main([path, '--whole', '--runs', '2', '--warmup', '0', '--device', 'cpu',
          '--json', str(tmp_path / 'a.json')])
    found = json.loads((tmp_path / 'a.json').read_text())['configs'][path]
    assert list(found) == ['Full', 'Mona']
    for row in found.values():
        times = row['iteration_ms']
        assert len(times) == 2 and all(t > 0 for t in times)
        assert row['peak_mib'] is None  # of a GPU
    ratios = [a / b for a, b in zip(*(found[k]['iteration_ms']
                                      for k in ('Mona', 'Full')))]
    assert math.isclose(found['Mona']['ratio']['median'], median(ratios))
    assert 'of Full' in capsys.readouterr().out


def test_whole_iterations_see_the_scales_of_the_config(root):
    path = root / 'configs/cascade_mask_rcnn/' \
        'cascade-mask-rcnn_swin-b-mona_3x_coco.py'
    batches = random_batches(str(path), 12, 0)
    heights = {min(image.shape[1:]) for b in batches for image in b['inputs']}
    assert len(heights) > 2 and heights <= set(range(480, 801, 32))
    assert all(len(s.gt_instances.masks) == len(s.gt_instances.bboxes)
               for b in batches for s in b['data_samples'])


def test_whole_needs_a_config(main):
    with pytest.raises(ConfigError, match='--whole runs models'):
        main(['--whole'])
