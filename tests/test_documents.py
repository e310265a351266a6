"""Numbers and examples of the documents, computed and run again.

The counts of the families' READMEs are compared with the metafiles', and
those with the built backbones, in ``tests/reports/test_cells.py``.
"""
import re
from functools import lru_cache

import pytest
from helpers import TUNERS, image, on_meta, tuners_of
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, init_default_scope
from paths import ROOT

from mona_mm.backbones import TunedSwinTransformer, TunedVisionTransformer
from mona_mm.registry import TUNERS as MONA_TUNERS
from mona_mm.reports.names import PAPER, parse
from mona_mm.reports.styles import styles_of
from mona_mm.research.benchmark.saved import saved_activations

#: The paper's ten; the documents say nothing of others.
TEN = [name for name in TUNERS if name.lower() in PAPER]
#: Configs that docs/methods.md names; Swin-T has the defaults.
LEAVES = {
    'base': 'cascade_mask_rcnn/cascade-mask-rcnn_swin-b{}_3x_coco',
    'large': 'upernet/upernet_swin-l{}_160k_ade20k'}


@lru_cache(None)
def share(arch, tuner, **changes):
    """What a shipped config's backbone trains, counted on the meta device."""
    cfg = dict(arch=arch, tuner=dict(type=tuner))
    if arch in LEAVES:
        word = '' if tuner == 'Full' else f'-{tuner.lower()}'
        cfg = Config.fromfile(
            ROOT / f'configs/{LEAVES[arch].format(word)}.py').model.backbone
        cfg = {k: cfg[k] for k in ('arch', 'tuner', 'out_indices')}
        assert tuple(cfg['out_indices']) == (0, 1, 2, 3)
    with on_meta():
        return TunedSwinTransformer(
            **dict(cfg, tuner=dict(cfg['tuner'], **changes))).share()


def percent(arch, tuner, **changes):
    return f'{100 * share(arch, tuner, **changes).ratio:.2f} %'


def rows(document, word):
    """Cells of the table whose head starts with a word, by the first."""
    lines = iter((ROOT / document).read_text().splitlines())
    for line in lines:
        if line.startswith(f'| {word} |'):
            break
    next(lines)
    table = {}
    for line in lines:
        if not line.startswith('|'):
            return table
        first, *rest = (c.strip() for c in line.strip('|').split('|'))
        table[first.strip('`')] = rest
    return table


def test_counts_are_those_of_the_configs_that_the_page_names():
    table = rows('docs/methods.md', 'tuner')
    assert set(table) == set(TEN)
    for tuner, cells in table.items():
        assert cells[1:] == [f'{share(arch, tuner).trained:,}' for arch in (
            'tiny', 'base', 'large')], tuner


def test_counts_of_further_methods_are_those_of_the_backbones():
    for tuner, cells in rows('docs/methods.md', 'further').items():
        for cls, arch, cell in ((TunedSwinTransformer, 'tiny', cells[-2]),
                                (TunedVisionTransformer, 'base', cells[-1])):
            if cell == '-':
                assert tuner not in tuners_of(cls)
                continue
            with on_meta():
                share = cls(arch=arch, tuner=dict(type=tuner)).share()
            assert cell == f'{share.trained:,}', tuner


def test_sizes_of_what_trains_are_four_bytes_per_parameter():
    table = rows('docs/checkpoints.md', 'tuner')
    assert set(table) == set(TEN)
    for tuner, cells in table.items():
        found = cells[0], cells[3]
        assert found == tuple(
            f'{4e-6 * share(arch, tuner).trained:.2f}'
            for arch in ('base', 'large')), tuner


def test_files_are_hardly_larger_than_what_trains():
    for tuner, cells in rows('docs/checkpoints.md', 'tuner').items():
        for i, arch in enumerate(('base', 'large')):
            trained, file, of_full = cells[3 * i:3 * i + 3]
            # Keys and the record cost 0.13 MB at most.
            assert 0 <= float(file) - float(trained) < .13, (tuner, arch)
            part = share(arch, tuner)
            whole = 4e-6 * (part.trained + part.frozen)
            assert float(of_full[:-1]) == pytest.approx(
                100 * float(file) / whole, abs=.25), (tuner, arch)


def test_shares_that_the_release_reproduces_are_counted():
    text = (ROOT / 'docs/paper_vs_code.md').read_text()
    for label, *values in (
        ('Mona, Swin-T and Swin-B (table 5)', percent('tiny', 'Mona'),
         percent('base', 'Mona')),
        ('Mona, Swin-L, bottleneck 32 and 128 (table 4)',
         percent('large', 'Mona', bottleneck_dims=32),
         percent('large', 'Mona', bottleneck_dims=128)),
        ('LoRA, Swin-B and Swin-L', percent('base', 'LoRA'),
         percent('large', 'LoRA')),
        ('Adapter, AdaptFormer, Swin-L', percent('large', 'Adapter'),
         percent('large', 'AdaptFormer')),
        ('LoRand, Swin-L (inner width 64; '
         '`upernet_swin-l-lorand_160k_ade20k.py`)',
         percent('large', 'LoRand')),
    ):
        assert f'| {label} | {", ".join(values)} |\n' in text, label


def test_shares_that_it_does_not_reproduce_are_counted():
    text = (ROOT / 'docs/paper_vs_code.md').read_text()
    mona, bare = share('large', 'Mona'), share(
        'large', 'Mona', scaled_norm=False)
    base = share('base', 'Mona')
    lorand = share('base', 'LoRand')
    for row in (
        f'| Mona on Swin-L trains {100 * bare.ratio:.2f} % | '
        f'{100 * mona.ratio:.2f} % ({mona.trained:,}) | '
        f'{100 * bare.ratio:.2f} % ({bare.trained:,}) is Mona without its '
        'scaled norm |',
        '| Mona on COCO trains 4.16 M, 4.67 % | '
        f'{base.trained / 1e6:.2f} M, {100 * base.ratio:.2f} % | ',
        '| Adapter 3.58 %, AdaptFormer 1.79 % on Swin-B | '
        f'{percent("base", "Adapter")}, {percent("base", "AdaptFormer")} | '
        'taken over the frozen backbone alone |',
        f'| LoRand 1.34 % on Swin-B | {100 * lorand.ratio:.2f} % '
        f'({lorand.trained:,}) | ',
        f'on ADE20K {share("large", "BitFit").trained:,} and '
        f'{share("large", "NormTuning").trained:,} |',
        f'the backbones have {base.frozen / 1e6:.2f} M and '
        f'{mona.frozen / 1e6:.2f} M |',
    ):
        assert row in text, row
    for tuner, printed in (('Adapter', 3.58), ('AdaptFormer', 1.79)):
        part = share('base', tuner)
        assert round(100 * part.trained / part.frozen, 2) == printed


@pytest.mark.slow
@pytest.mark.parametrize('tuner', TEN)
def test_bytes_that_autograd_keeps_are_those_of_the_page(tuner):
    """The first column of the table: Swin-T, 2 x 224 x 224, MiB."""
    page = (ROOT / 'docs/performance.md').read_text()
    table = page.split('**What autograd keeps**')[1]
    printed = re.search(
        rf'^\| {tuner}(?: \\\*)? \| ([\d.]+)', table, re.M)[1]
    model = TunedSwinTransformer(
        arch='tiny', tuner=dict(type=tuner), drop_path_rate=.3,
        allow_random_base=True, skip_dropped=False).train()
    kept = saved_activations(model, image(2, 3, 224, 224)).activations
    assert printed == (f'{kept / 2**20:.1f}' if kept else '0')


@pytest.mark.slow
def test_bytes_that_further_methods_keep_are_those_of_the_page():
    page = (ROOT / 'docs/performance.md').read_text()
    table = page.split('**The further methods**')[1]
    names = {cls.display_name: name for name, cls in
             MONA_TUNERS.module_dict.items()}
    found = re.findall(r'^\| (\S+) \| ([\d.]+) / ', table, re.M)
    assert len(found) >= 7
    for label, printed in found:
        model = TunedSwinTransformer(
            arch='tiny', tuner=dict(type=names[label]), drop_path_rate=.3,
            allow_random_base=True, skip_dropped=False).train()
        kept = saved_activations(model, image(2, 3, 224, 224)).activations
        assert printed == f'{kept / 2**20:.1f}', label


@pytest.fixture(scope='module')
def example(tmp_path_factory):
    """The config of docs/own_config.md, as it stands there."""
    text = (ROOT / 'docs/own_config.md').read_text()
    path = tmp_path_factory.mktemp('own') / 'my_config.py'
    path.write_text(re.search(r'```python\n(.*?)```', text, re.S)[1])
    return Config.fromfile(path)


def test_own_config_of_the_page_trains_mona_with_the_papers_rates(example):
    init_default_scope(example.default_scope)
    assert example.model.type == 'MaskRCNN'
    with on_meta():
        model = MODELS.build(example.model)
    assert type(model.backbone.tuner).__name__ == 'Mona'
    groups = build_optim_wrapper(
        model, example.optim_wrapper).optimizer.param_groups
    found = {id(p): (g['lr'], g['weight_decay'])
             for g in groups for p in g['params']}
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert len(found) == len(trained)
    # COCO's AdamW at 1e-4 and 0.05; nothing decays whose name says norm.
    for name, param in trained.items():
        assert found[id(param)] == (1e-4, 0. if 'norm' in name else .05), name
    assert sum(p.numel() for n, p in trained.items()
               if n.startswith('backbone.')) == share('base', 'Mona').trained


def test_own_config_of_the_page_keeps_the_base_out_of_checkpoints(example):
    from mona_mm.engine import DeltaCheckpointHook
    init_default_scope(example.default_scope)
    hook = HOOKS.build(dict(example.default_hooks.delta))
    assert isinstance(hook, DeltaCheckpointHook)
    assert example.default_hooks.checkpoint.type == 'CheckpointHook'


@pytest.fixture
def channel_scale(root, tmp_path, monkeypatch):
    """The method of docs/add_a_method.md, as a module outside the package."""
    text = (root / 'docs/add_a_method.md').read_text()
    path = tmp_path / 'my_package/channel_scale.py'
    path.parent.mkdir()
    path.write_text(re.search(r'```python\n(""".*?)```', text, re.S)[1])
    monkeypatch.syspath_prepend(tmp_path)
    config = re.search(r'```python\n(# my_config.*?)```', text, re.S)[1]
    config = config.replace('mona_mm_checkout', str(root))
    (tmp_path / 'my_config.py').write_text(config)
    yield tmp_path / 'my_config.py'
    MONA_TUNERS.module_dict.pop('ChannelScale', None)


def test_method_of_the_page_works_from_outside_the_package(channel_scale):
    cfg = Config.fromfile(channel_scale)
    init_default_scope(cfg.default_scope)
    with on_meta():
        backbone = MODELS.build(cfg.model.backbone)
    # Swin-L: 2, 2, 18 and 2 blocks, 192 wide in the first stage.
    assert backbone.share().inserted == (
        2 * 192 + 2 * 384 + 18 * 768 + 2 * 1536)
    assert parse('retinanet_swin-l-channelscale_1x_voc').task == (
        'retinanet_swin-l_1x_voc')
    assert 'ChannelScale' in styles_of(['ChannelScale', 'Mona'])
