"""mmengine reads every checkpoint with our reader."""
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from mona_mm.checkpoint import io
from mona_mm.checkpoint.embedded import objection
from mona_mm.checkpoint.models import config_for
from mona_mm.errors import CheckpointError, ConfigError


class Hostile:
    """Unpickling this would make a folder."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target, )


@pytest.fixture
def hostile(tmp_path):
    torch.save(dict(state_dict=dict(weight=torch.ones(1, 1)),
                    odd=Hostile(tmp_path / 'made')), tmp_path / 'bad.pth')
    return tmp_path / 'bad.pth'


def test_file_that_would_run_code_is_refused_unrun(hostile):
    with pytest.raises(CheckpointError, match='bad.pth.*mkdir.*'
                       'MONA_MM_TRUST_CHECKPOINTS=1.*--trust-checkpoint'):
        load_checkpoint(nn.Linear(1, 1, bias=False), str(hostile))
    assert not (hostile.parent / 'made').exists()


def test_file_is_read_if_the_user_vouches_for_it(hostile, monkeypatch):
    monkeypatch.setenv('MONA_MM_TRUST_CHECKPOINTS', '1')
    net = nn.Linear(1, 1, bias=False)
    load_checkpoint(net, str(hostile))
    assert net.weight.item() == 1
    assert (hostile.parent / 'made').exists()


def test_file_that_is_named_is_trusted_and_no_other(hostile, tmp_path,
                                                    monkeypatch):
    monkeypatch.setattr(io, '_trusted', set())
    other = tmp_path / 'other.pth'
    other.write_bytes(hostile.read_bytes())
    io.trust(str(hostile))
    with pytest.raises(CheckpointError, match='other.pth.*mkdir'):
        CheckpointLoader.load_checkpoint(str(other))
    assert not (tmp_path / 'made').exists()
    CheckpointLoader.load_checkpoint(str(hostile))
    assert (tmp_path / 'made').exists()


@pytest.mark.parametrize('flag', ['0', ''])
def test_vouching_can_be_denied(hostile, monkeypatch, flag):
    monkeypatch.setenv('MONA_MM_TRUST_CHECKPOINTS', flag)
    with pytest.raises(CheckpointError):
        load_checkpoint(nn.Linear(1, 1), str(hostile))


def test_damage_vouched_for_is_damage_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv('MONA_MM_TRUST_CHECKPOINTS', '1')
    torch.save(dict(weight=torch.ones(100)), tmp_path / 'a.pth')
    content = bytearray((tmp_path / 'a.pth').read_bytes())
    content[len(content) // 2] ^= 4
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match='a.pth.*damaged'):
        load_checkpoint(nn.Linear(1, 1), str(tmp_path / 'a.pth'))


def test_every_scheme_of_mmengine_goes_through_our_reader():
    """Else one of them would still fall back to unpickling."""
    for loader in CheckpointLoader._schemes.values():
        ours = loader.__module__ == 'mona_mm.checkpoint.loader'
        assert ours or loader.__name__ == 'load_from_pavi'


def test_object_stores_are_read_safely_too(hostile, monkeypatch):
    from mona_mm.checkpoint import loader

    @contextmanager
    def fetched(url, backend_args):
        assert (url, backend_args) == ('s3://a/b.pth',
                                       dict(backend='petrel'))
        yield str(hostile)

    monkeypatch.setattr(loader, 'get_local_path', fetched)
    with pytest.raises(CheckpointError, match='mkdir'):
        CheckpointLoader.load_checkpoint('s3://a/b.pth')


def test_names_of_the_zoos_are_looked_up(tmp_path, monkeypatch):
    from mona_mm.checkpoint import loader
    asked = []
    monkeypatch.setattr(loader, 'load_from_local',
                        lambda url, where: asked.append(url) or {})
    load = CheckpointLoader.load_checkpoint
    load('torchvision://resnet18.imagenet1k_v1')
    load('open-mmlab://detectron2/resnet50_caffe')
    load('mmcls://vgg11')
    assert [a.rsplit('/', 1)[1] for a in asked] == [
        'resnet18-f37072fd.pth', 'resnet50_msra-5891d200.pth',
        'vgg11_batch256_imagenet_20210208-4271cd6c.pth']


def test_map_location_is_respected(tmp_path):
    torch.save(dict(w=torch.ones(2)), tmp_path / 'a.pth')
    for path in (tmp_path / 'a.pth', ):
        found = CheckpointLoader.load_checkpoint(str(path), 'meta')
        assert found['w'].is_meta


@pytest.mark.parametrize('text, data', [
    ("a = dict(b=[1, -2.5, None, True], c=('x', ))\nd = {'e': set()}", True),
    ('', True),
    ("import os\na = os.getcwd()", False),
    ("a = __import__('os').getcwd()", False),
    ("a = open('x')", False), ('a = [x for x in ()]', False),
    ("_base_ = ['/tmp/other.py']", False), ('a = (lambda: 1)()', False),
    ('def f(): pass', False), ('a = dict(b=f"{1}")', False),
    ('dict.a = 1', False), ('a = ', False), ('a\0', False),
    ('a = print', False), ('a = dict([("type", "os.system")])', False),
    ("a = '{{$HOME:x}}'", False), ("b = 1\na = b", False),
])
def test_configs_that_are_programs_are_told_from_data(text, data):
    assert (objection(text) is None) == data


#: Settings, and whether the config of a stranger may have them.
SETTINGS = {
    "model = dict(type='os.system', command='true')": False,
    "model = dict(type='subprocess.run', args=['true'])": False,
    "model = dict(type='RetinaNet')": False,  # of which scope?
    "model = dict(type='mmdet.RetinaNet')": True,
    "default_scope = 'mmdet'\nmodel = dict(type='RetinaNet')": True,
    "default_scope = 'evil'": False,
    "model = dict(_scope_='evil', type='mmdet.RetinaNet')": False,
    "model = {'type': 'mmdet.RetinaNet', 'neck': [{'type': 'os.x'}]}": False,
    "model = dict(**{'type': 'os.system'})": False,
    "type = 'antigravity'": False,
    "model = dict(type='evil.RetinaNet')": False,
    "model = dict(type='mmdet.apis.os.system')": False,
    "model = dict(type='mmdet.apis.init_detector')": False,
    "model = dict(type='mmdet.models.RetinaNet')": True,
    "model = dict(type='mmengine.runner.EpochBasedTrainLoop')": True,
    "model = dict(type='torch.optim.AdamW')": True,
    "model = dict(type='torch.hub.load')": False,
    "tuner = dict(type='mona_mm.Mona')": True,
    "custom_imports = dict(imports=['neighbour'])": False,
    "custom_imports = dict(imports=['mona_mm.checkpoint'])": True,
    "custom_imports = {'imports': ['mmdet.models', 'os']}": False,
    "optim_wrapper = dict(constructor='os.system')": False,
    "runner_type = 'neighbour'": False,
    "init = dict(function='os.system')": False,
    "ann_file = 'test.json'": True,
    "model = dict(nms=dict(type='nms', iou_threshold=0.5))": True,
    "model = dict(nms=dict(type='print(1)'))": False,
    "cmc = dict(warp_mode='__import__')": False,
    "transform = dict(dtype='float32 if print(1) else 0')": False,
    "hook = dict(file='http://host/results.pkl')": False,
    "model = dict(trust_remote_code=True)": False,
    "vis_backends = [dict(type='LocalVisBackend')]": True,
    "vis_backends = [dict(type='WandbVisBackend')]": False,
    "roi = dict(type='RoIAlign', output_size=7)": True,
    "init = dict(checkpoint='http://host/a.pth')": False,
    "init = dict(checkpoint='https://github.com/a/b.pth')": True,
    "load_from = 'HTTPS://host/a.pth'": False,
    "model = dict(pretrained='torchvision://resnet50')": True,
}


@pytest.mark.parametrize('text', SETTINGS)
def test_config_of_a_stranger_names_registered_classes_alone(text):
    assert (objection(text) is None) == SETTINGS[text], objection(text)


@pytest.mark.parametrize('name', [
    'retinanet/retinanet_swin-l-mona_1x_voc',
    'cascade_mask_rcnn/cascade-mask-rcnn_swin-b_3x_coco',
    'upernet/upernet_swin-l-mona_160k_ade20k',
    'quickstart/oriented-rcnn_swin-nano-mona_shapes',
    'quickstart/swin-nano-mona_shapes',
])
def test_configs_of_ours_may_be_handed_on(root, name):
    cfg = Config.fromfile(root / f'configs/{name}.py')
    assert objection(repr_of(cfg)) is None


def repr_of(cfg) -> str:
    """A config's text, without the seconds that formatting it takes."""
    return '\n'.join(f'{k} = {v!r}' for k, v in cfg.to_dict().items())


def test_tool_asks_for_a_config_where_that_in_the_file_is_not_used():
    content = dict(meta=dict(cfg="model = dict(type='os.system')"))
    with pytest.raises(ConfigError, match="a.pth is not used.*names "
                       "'os.system'.*--config"):
        config_for(content, 'a.pth')


def test_program_inside_a_checkpoint_is_left_out(tmp_path):
    program = f"import os\nos.mkdir('{tmp_path}/made')\n"
    torch.save(dict(
        state_dict={}, meta=dict(cfg=program, config=program, epoch=3),
        message_hub=dict(runtime_info=dict(cfg='a = 1'))),
        tmp_path / 'a.pth')
    found = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))
    assert found['meta'] == dict(epoch=3)
    assert found['message_hub']['runtime_info'] == dict(cfg='a = 1')


def test_runtime_configs_protect_inferencers_that_read_before_they_build(
        root, hostile):
    code = (
        'from mmdet.apis import DetInferencer\n'
        f"DetInferencer('{root}/configs/quickstart/"
        f"retinanet_swin-nano-mona_shapes.py', '{hostile}', device='cpu')\n")
    done = subprocess.run([sys.executable, '-c', code], text=True,
                          capture_output=True, cwd=hostile.parent)
    assert 'CheckpointError' in done.stderr.splitlines()[-1]
    assert not (hostile.parent / 'made').exists()
