"""Our models by name in OpenMMLab's entry points, and in a wheel."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from mona_mm import hub

NAME = 'retinanet_swin-l-mona_1x_voc'


def _python(code: str, folder: Path = ROOT) -> str:
    done = subprocess.run([sys.executable, '-c', code], text=True, cwd=folder,
                          capture_output=True,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert not done.returncode, done.stderr
    return done.stdout


def test_every_name_has_a_config_that_is_there() -> None:
    missing = [name for name, entry in hub.models().items()
               if not os.path.isfile(entry['Config'])]
    assert hub.models() and not missing


def test_config_outside_inherits_from_the_package(tmp_path) -> None:
    """With the scopes of the library whose model it is."""
    (tmp_path / 'own.py').write_text(
        f"_base_ = 'mona_mm::retinanet/{NAME}.py'\nwork_dir = 'here'\n")
    out = _python(
        'import mona_mm\n'
        'from mmengine.config import Config\n'
        'cfg = Config.fromfile("own.py")\n'
        'print(cfg.default_scope, cfg.model.backbone.type, cfg.work_dir,\n'
        '      "_scope_" in cfg.pretty_text)\n', tmp_path)
    assert out.splitlines()[-1] == (
        'mmdet mona_mm.SwinTransformerMona here False')


@pytest.mark.parametrize('code, told', [
    pytest.param(f'from mmdet.apis import DetInferencer\nDetInferencer('
                 f'{NAME!r}, device="cpu")', NAME, marks=pytest.mark.slow),
    pytest.param('from mmseg.apis import MMSegInferencer\nMMSegInferencer('
                 '"upernet_swin-l-mona_160k_ade20k", device="cpu")',
                 'upernet', marks=pytest.mark.slow),
    ('from mmpretrain import get_model\nget_model('
     '"swin-l-mona_100e_flowers102", pretrained=True, backbone=dict(arch='
     '"tiny", init_cfg=None))', 'swin-l-mona_100e_flowers102')])
def test_name_without_published_weights_says_so(code, told) -> None:
    """After the name was found; not with random weights."""
    if 'mmseg' in code:
        code = code.replace('upernet_swin-l-mona_160k_ade20k', next(
            e['Name'] for n, e in hub.models().items() if 'upernet' in n))
    out = _python(
        'import mona_mm\nfrom mona_mm.errors import CheckpointError\n'
        'try:\n    ' + code.replace('\n', '\n    ')
        + '\nexcept CheckpointError as error:\n    print(error)')
    assert 'nobody has published weights of' in out and told in out


def test_names_are_in_the_lists_of_the_libraries() -> None:
    out = _python(
        'import mona_mm\n'
        'from mmpretrain import list_models\n'
        'from mmdet.apis import DetInferencer\n'
        'print("found:", len(list_models("*mona*")))\n'
        'print("found:", len(list_models("resnet50*")) > 3)\n'
        'for scope in ("mmdet", "mona_mm"):\n'
        f'    print("found:", {NAME!r} in DetInferencer.list_models(scope))')
    counted, *known = [line[7:] for line in out.splitlines()
                       if line.startswith('found: ')]
    assert int(counted) >= 4 and known == ['True'] * 3


def test_announcing_is_undone() -> None:
    out = _python(
        'import sys, mona_mm\n'
        'from mona_mm import compat\n'
        'from mmengine.config import utils, Config\n'
        'from mmengine.infer import BaseInferencer\n'
        'from mmpretrain.apis.model import ModelHub, list_models\n'
        'list_models()\n'
        'compat.undo()\n'
        'places = [Config._get_cfg_path, BaseInferencer.'
        '_get_models_from_metafile, ModelHub._register_mmpretrain_models]\n'
        'print("mona_mm" in utils.MODULE2PACKAGE, {p.__module__.split(".")[0]'
        ' for p in places}, [n for n in list_models() if "mona" in n],\n'
        '      [f for f in sys.meta_path\n'
        '       if type(f).__module__ == "mona_mm.hub"])')
    assert out.splitlines()[-1].startswith("False") and (
        'mona_mm' not in out.splitlines()[-1].replace('mmpretrain', ''))
