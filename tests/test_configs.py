"""Every config of the project parses, and builds without memory."""
import inspect
from pathlib import Path

import pytest
import yaml
from helpers import TUNERS, on_meta
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from paths import ROOT

from mona_mm.backbones import TunedBackbone, TunedSwinTransformer
from mona_mm.config import tuner_fragments
from mona_mm.reports.names import parse
from mona_mm.tuners.base import known_tuners, tuner_class

FOLDER = ROOT / 'configs'
CONFIGS = sorted(str(p.relative_to(FOLDER)) for p in FOLDER.glob('[!_]*/*.py'))


class Strict(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML takes the last."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f'{twice} twice{node.start_mark}'
        return super().construct_mapping(node, deep)


METAFILES = {path.parent.name: yaml.load(path.read_text(), Strict)
             for path in sorted(FOLDER.glob('*/metafile.yml'))}
MODELS_LISTED = [model for content in METAFILES.values()
                 for model in content['Models']]


def read(name) -> Config:
    return Config.fromfile(FOLDER / name)


@pytest.mark.parametrize('name', CONFIGS)
def test_config_builds_the_tuner_that_its_name_says(name):
    cfg = read(name)
    init_default_scope(cfg.default_scope)
    model = cfg.model
    if 'data_preprocessor' in model:
        model.data_preprocessor.pop('size', None)
    with on_meta():
        # All that a task's other configs change is in the backbone.
        backbone = MODELS.build(model).backbone if parse(name).method in (
            'full', 'mona') else MODELS.build(model.backbone)
    assert isinstance(backbone, TunedBackbone)
    tuner = type(backbone.tuner).__name__
    assert tuner == model.backbone.tuner.type
    assert parse(name).method == tuner.lower()
    assert all(p.is_meta for p in backbone.parameters())


@pytest.mark.parametrize('name', [c for c in CONFIGS if '-mona_' in c])
def test_dumped_config_says_the_same(name, tmp_path):
    """Without yapf, which lays the text out and takes up to two seconds."""
    cfg = Config.fromfile(FOLDER / name, format_python_code=False)
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').model == cfg.model
    if issubclass(MODELS.get(cfg.model.backbone.type), TunedSwinTransformer):
        # The paper's own name for the backbone.
        assert cfg.model.backbone.type == 'mona_mm.SwinTransformerMona'


#: Methods with a side network: a config of theirs has heads of its own.
SIDES = {kind.lower() for kind in known_tuners()
         if 'side' in tuner_class(kind).sites}


def test_leaves_are_what_somebody_published_and_the_tasks_own():
    listed = {model['Config']: model for model in MODELS_LISTED}
    assert sorted(listed) == sorted(
        f'configs/{c}' for c in CONFIGS if Path(c).parts[0] in METAFILES)
    for config, model in listed.items():
        leaf = parse(config)
        task = leaf.method == 'full' and not leaf.variant
        # Mona on a backbone that the paper did not try is ours.
        ours = leaf.method == 'mona' and leaf.backbone[:5] != 'Swin-'
        if leaf.method in SIDES:
            continue  # the heads take the side network's maps
        assert 'Results' in model or task or ours, config
        # Any other method by --tuner.
        assert (FOLDER.parent / config).with_name(f'{leaf.task}.py').is_file()


def test_quickstart_has_the_leaves_of_its_table_and_of_mona():
    words = {}
    for leaf in (parse(c) for c in CONFIGS if c.startswith('quickstart')):
        words.setdefault(leaf.task, set()).add(leaf.word)
    assert words.pop('retinanet_swin-nano_shapes') == {
        'full', 'mona', 'fixed'}
    for task, found in words.items():
        assert 'full' in found <= {'full', 'mona'}, task


def test_index_imports_every_metafile():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert sorted(index['Import']) == [
        f'configs/{folder}/metafile.yml' for folder in METAFILES]


def test_published_numbers_are_labelled_so():
    for model in MODELS_LISTED:
        source = model['Metadata']['Results Source']
        assert source.startswith('published' if 'Results' in model
                                 else 'none'), model['Name']
        assert model['Config'].endswith(f'/{model["Name"]}.py')


def test_models_name_a_collection_of_their_metafile():
    for content in METAFILES.values():
        names = {c['Name'] for c in content['Collections']}
        assert {m['In Collection'] for m in content['Models']} == names
        for collection in content['Collections']:
            assert (ROOT / collection['README']).is_file()


def test_readme_of_a_family_lists_its_configs_and_no_others():
    for folder, content in METAFILES.items():
        page = (FOLDER / folder / 'README.md').read_text()
        for model in content['Models']:
            assert f']({model["Name"]}.py) |' in page, model['Name']
        assert page.count('.py) |') == len(content['Models'])


@pytest.mark.parametrize('tuner', TUNERS)
def test_fragment_of_a_method_states_its_defaults(tuner):
    fragment = Config.fromfile(tuner_fragments()[tuner.lower()]).tuner
    assert fragment.pop('type') == tuner
    defaults = inspect.signature(tuner_class(tuner)).parameters
    assert fragment == {key: defaults[key].default for key in fragment}


def test_command_at_the_head_of_a_config_runs_that_config():
    for name in CONFIGS:
        if not name.startswith('own_data'):
            assert f'configs/{name}' in (FOLDER / name).read_text()[:400]
