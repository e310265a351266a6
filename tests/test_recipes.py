"""The settings of the paper's runs, typed from what its release did.

Nothing expected here is read from a config. Names of settings are paths in
the parsed config; learning rates are those of the built schedulers, and
rates and decays per parameter those of the built optimizer.
"""
from copy import deepcopy
from functools import lru_cache
from math import cos, pi

import pytest
import torch
from helpers import on_meta
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from paths import ROOT

from mona_mm.backbones.counting import count_backbone

METHODS = ('', '-fixed', '-bitfit', '-normtuning', '-partial', '-adapter',
           '-lora', '-adaptformer', '-lorand', '-mona')
ADAMW = {'optim_wrapper.optimizer.type': 'AdamW',
         'optim_wrapper.optimizer.betas': (.9, .999)}
HORIZONTAL = {'type': 'RandomFlip', 'prob': .5}
SWIN_B = 'swin_base_patch4_window7_224_22k_20220317-4f79f7c0.pth'
SWIN_L = 'swin_large_patch4_window7_224_22k_20220412-aeecf2aa.pth'

COCO = {
    **ADAMW, 'optim_wrapper.type': 'AmpOptimWrapper',
    'optim_wrapper.optimizer.lr': 1e-4,
    'optim_wrapper.optimizer.weight_decay': .05,
    'optim_wrapper.clip_grad': None,
    'train_cfg.max_epochs': 36, 'train_cfg.val_interval': 1,
    'train_dataloader.batch_size': 1, 'auto_scale_lr.base_batch_size': 8,
    'train_dataloader.dataset.ann_file': (
        'annotations/instances_train2017.json'),
    'model.backbone.arch': 'base', 'model.backbone.drop_path_rate': .3,
    'model.backbone.out_indices': (0, 1, 2, 3),
    'model.neck.out_channels': 256, 'model.neck.num_outs': 5,
    'model.roi_head.stage_loss_weights': [1, .5, .25],
    'model.data_preprocessor.pad_size_divisor': 32,
    **{f'model.roi_head.bbox_head.{i}.{k}': v for i in range(3)
       for k, v in {
           'type': 'ConvFCBBoxHead', 'num_shared_convs': 4,
           'num_shared_fcs': 1, 'num_classes': 80,
           'reg_class_agnostic': False, 'reg_decoded_bbox': True,
           'norm_cfg.type': 'SyncBN', 'loss_bbox.type': 'GIoULoss',
           'loss_bbox.loss_weight': 10.0}.items()},
    'model.roi_head.mask_head.type': 'FCNMaskHead',
    # RoIAlign works in float32 under mixed precision.
    'model.roi_head.bbox_roi_extractor.type': 'mona_mm.SingleRoIExtractor',
    'model.roi_head.bbox_roi_extractor.float32': True,
    'model.roi_head.mask_roi_extractor.type': 'mona_mm.SingleRoIExtractor',
    'model.roi_head.mask_roi_extractor.float32': True,
    'train_dataloader.dataset.pipeline.2': HORIZONTAL,
    'train_dataloader.dataset.pipeline.3.transforms.0.0.scales': [
        (480, 1333), (512, 1333), (544, 1333), (576, 1333), (608, 1333),
        (640, 1333), (672, 1333), (704, 1333), (736, 1333), (768, 1333),
        (800, 1333)],
    'train_dataloader.dataset.pipeline.3.transforms.1.0.scales': [
        (400, 1333), (500, 1333), (600, 1333)],
    'train_dataloader.dataset.pipeline.3.transforms.1.1': {
        'type': 'RandomCrop', 'crop_type': 'absolute_range',
        'crop_size': (384, 600), 'allow_negative_crop': True},
    'test_dataloader.dataset.pipeline.1.scale': (1333, 800),
    'test_dataloader.dataset.ann_file': 'annotations/instances_val2017.json',
    'test_evaluator.metric': ['bbox', 'segm'],
    'model.test_cfg.rcnn.score_thr': .05,
    'model.test_cfg.rcnn.nms.iou_threshold': .5,
    'model.test_cfg.rcnn.max_per_img': 100,
    'model.test_cfg.rcnn.mask_thr_binary': .5,
}
VOC = {
    **ADAMW, 'optim_wrapper.type': 'AmpOptimWrapper',
    'optim_wrapper.optimizer.lr': 1e-4,
    'optim_wrapper.optimizer.weight_decay': .05,
    'optim_wrapper.clip_grad': None,
    'train_cfg.max_epochs': 4, 'train_dataloader.dataset.times': 3,
    'train_dataloader.batch_size': 1, 'auto_scale_lr.base_batch_size': 2,
    'model.backbone.arch': 'large', 'model.backbone.drop_path_rate': .2,
    'model.backbone.out_indices': (1, 2, 3),
    # frozen_stages=1 of the release means this, for every method.
    'model.backbone.keep_frozen': ('patch_embed', ),
    'model.neck.in_channels': [384, 768, 1536], 'model.neck.start_level': 0,
    'model.neck.add_extra_convs': 'on_input', 'model.neck.num_outs': 5,
    'model.bbox_head.type': 'mona_mm.RetinaHead',
    'model.bbox_head.num_classes': 20, 'model.bbox_head.nms_pre_anchors': True,
    'model.data_preprocessor.pad_size_divisor': 32,
    **{f'train_dataloader.dataset.dataset.datasets.{i}.{k}': v
       for i, year in enumerate((2007, 2012)) for k, v in {
           'ann_file': f'VOC{year}/ImageSets/Main/trainval.txt',
           'pipeline.2.scale': (1000, 600), 'pipeline.2.keep_ratio': True,
           'pipeline.3': HORIZONTAL}.items()},
    'test_dataloader.dataset.ann_file': 'VOC2007/ImageSets/Main/test.txt',
    'test_dataloader.dataset.pipeline.1.scale': (1000, 600),
    'test_evaluator.eval_mode': '11points',
    'test_evaluator.metric': 'mAP', 'test_evaluator.iou_thrs': None,
    'test_evaluator.type': 'mona_mm.VOCMetric',
    'test_evaluator.extra_pixel': False,
}
ADE = {
    **ADAMW, 'optim_wrapper.type': 'OptimWrapper',
    'optim_wrapper.optimizer.lr': 6e-5,
    'optim_wrapper.optimizer.weight_decay': .01,
    'optim_wrapper.clip_grad': None,
    'train_cfg.max_iters': 160_000,
    'train_dataloader.batch_size': 2, 'auto_scale_lr.base_batch_size': 16,
    'model.backbone.arch': 'large', 'model.backbone.drop_path_rate': .3,
    'model.backbone.out_indices': (0, 1, 2, 3),
    'model.decode_head.type': 'UPerHead', 'model.decode_head.channels': 512,
    'model.decode_head.dropout_ratio': .1,
    'model.decode_head.num_classes': 150,
    # Whatever a released config says: its train script converts all.
    'model.decode_head.norm_cfg.type': 'SyncBN',
    'model.auxiliary_head.channels': 256,
    'model.auxiliary_head.loss_decode.loss_weight': .4,
    'model.auxiliary_head.norm_cfg.type': 'SyncBN',
    'train_dataloader.dataset.pipeline.2.scale': (2048, 512),
    'train_dataloader.dataset.pipeline.2.ratio_range': (.5, 2.0),
    'train_dataloader.dataset.pipeline.3.crop_size': (512, 512),
    'train_dataloader.dataset.pipeline.3.cat_max_ratio': .75,
    'train_dataloader.dataset.pipeline.4': HORIZONTAL,
    'train_dataloader.dataset.pipeline.5.type': 'PhotoMetricDistortion',
    'test_dataloader.dataset.pipeline.1.scale': (2048, 512),
    'model.test_cfg.mode': 'whole',
}
CLS = {
    **ADAMW, 'optim_wrapper.type': 'AmpOptimWrapper',
    'optim_wrapper.dtype': 'float16',
    'optim_wrapper.optimizer.lr': 1.5625e-5,
    'optim_wrapper.optimizer.weight_decay': .05,
    'optim_wrapper.optimizer.eps': 1e-8,
    'optim_wrapper.clip_grad.max_norm': 5.0,
    'train_cfg.max_epochs': 100, 'train_cfg.val_interval': 1,
    'train_dataloader.batch_size': 4, 'auto_scale_lr.base_batch_size': 16,
    'model.backbone.arch': 'large', 'model.backbone.drop_path_rate': .3,
    'model.backbone.pad_small_map': True,
    'model.neck.type': 'GlobalAveragePooling',
    'model.head.type': 'LinearClsHead',
    'model.head.loss.type': 'CrossEntropyLoss',
    'train_dataloader.dataset.pipeline.1.type': 'RandomResizedCrop',
    'train_dataloader.dataset.pipeline.1.scale': 224,
    'train_dataloader.dataset.pipeline.2': {
        **HORIZONTAL, 'direction': 'horizontal'},
    'train_dataloader.dataset.split': 'trainval',
    'test_dataloader.dataset.pipeline.1.scale': 256,
    'test_dataloader.dataset.pipeline.1.edge': 'short',
    'test_dataloader.dataset.pipeline.2.crop_size': 224,
    'test_dataloader.dataset.split': 'test',
    'test_evaluator.topk': (1, 5),
}
DOTA = {
    **ADAMW, 'optim_wrapper.type': 'OptimWrapper',  # FP32
    'optim_wrapper.optimizer.lr': 1e-4,
    'optim_wrapper.optimizer.weight_decay': .05,
    'optim_wrapper.clip_grad.max_norm': 35,
    'train_cfg.max_epochs': 12, 'train_dataloader.batch_size': 2,
    'model.backbone.arch': 'base', 'model.backbone.drop_path_rate': .2,
    'train_dataloader.dataset.pipeline.3.scale': (1024, 1024),
    'train_dataloader.dataset.pipeline.4': {
        'type': 'mmdet.RandomFlip', 'prob': .75,
        'direction': ['horizontal', 'vertical', 'diagonal']},
}
ORIENTED = {
    **DOTA, 'model.rpn_head.bbox_coder.angle_version': 'le90',
    'model.test_cfg.rcnn.score_thr': .05,
    'model.test_cfg.rcnn.nms.iou_threshold': .1,
    'model.test_cfg.rcnn.max_per_img': 2000,
}
ON_DOTA = {'train_dataloader.dataset.ann_file': 'trainval/annfiles/',
           'test_evaluator.format_only': True}
ON_STAR = {
    'train_dataloader.dataset.ann_file': 'train/annfiles/',
    'model.windows': {'size': 1024, 'gap': 200, 'iou_threshold': .4,
                      'pad_divisor': 32},
    'test_dataloader.dataset.drop_empty': True,
    'test_evaluator.eval_mode': '11points', 'test_evaluator.iou_thrs': .5,
    'test_dataloader.dataset.test_mode': True,
}
H2RBOX = {
    **{k: v for k, v in DOTA.items() if 'pipeline' not in k},
    'train_dataloader.dataset.pipeline.2.box_type_mapping': {
        'gt_bboxes': 'hbox'},
    'train_dataloader.dataset.pipeline.5.prob': .75,
    'model.backbone.out_indices': (1, 2, 3),
    'model.neck.add_extra_convs': 'on_output',
    'model.bbox_head.angle_coder.type': 'PSCCoder',
}
KLD = {
    **DOTA, 'model.bbox_head.loss_bbox.loss_type': 'kld',
    'model.bbox_head.reg_decoded_bbox': True,
    'model.bbox_head.bbox_coder.angle_version': 'oc',
    'model.bbox_head.type': 'mona_mm.RetinaHead',
    'model.bbox_head.nms_pre_anchors': True,
    'model.neck.add_extra_convs': 'on_input',
    'model.backbone.out_indices': (1, 2, 3),
}


def family(stem, settings, methods=METHODS, **more):
    """One entry per method; ``more`` replaces settings of one of them."""
    return [(stem.format(m), {**settings, **more.get(m.strip('-'), {})})
            for m in methods]


DOUBLE = {'optim_wrapper.optimizer.lr': 3.125e-5}
TWO = ('', '-mona')
C, R = 'swin_classification/swin-l', 'retinanet/retinanet_swin'
ROUND_D = {'model.bbox_head.rotation_agnostic_classes': [1, 9, 11],
           'model.bbox_head.agnostic_resize_classes': [1]}
ROUND_S = {'model.bbox_head.rotation_agnostic_classes': [4, 44],
           'model.bbox_head.agnostic_resize_classes': None,
           'model.windows.pad_divisor': 64}
# STAR-MMRotate starts linear layers as PyTorch does.
OF_STAR = {'mona': {'model.backbone.tuner.linear_init': 'pytorch'}}
TRUNC = {'model.backbone.tuner.linear_init': 'trunc_normal'}
TABLE = [
    *family('cascade_mask_rcnn/cascade-mask-rcnn_swin-b{}_3x_coco', COCO,
            mona=TRUNC),
    *family(R + '-l{}_1x_voc', VOC, mona=TRUNC),
    *family(R + '-l-mona-{}_1x_voc', VOC, ('b32', 'b128', 'k7', 'k333',
                                           'noscale'),
            b32={'model.backbone.tuner.bottleneck_dims': 32},
            b128={'model.backbone.tuner.bottleneck_dims': 128},
            k7={'model.backbone.tuner.kernel_sizes': (7, )},
            k333={'model.backbone.tuner.kernel_sizes': (3, 3, 3)},
            noscale={'model.backbone.tuner.scaled_norm': False}),
    *family(R + '-t{}_1x_voc', {
        **VOC, 'model.backbone.arch': 'tiny',
        'model.neck.in_channels': [192, 384, 768]}, ('', '-mona')),
    *family(R + '-b{}_1x_voc', {
        **VOC, 'model.backbone.arch': 'base',
        'model.neck.in_channels': [256, 512, 1024]}, ('', '-mona')),
    *family('upernet/upernet_swin-l{}_160k_ade20k', ADE,
            mona={
                'model.backbone.drop_path_rate': .2, **TRUNC,
                'optim_wrapper.optimizer.lr': 3e-4}),
    *family(C + '{}_100e_flowers102', {
        **CLS, 'model.head.num_classes': 102}, mona=DOUBLE),
    *family(C + '{}_100e_oxfordpets', {
        **CLS, 'model.head.num_classes': 37}, mona=DOUBLE),
    *family(C + '{}_100e_voc2007', {
        **CLS, 'model.head.num_classes': 20}),
    *family('oriented_rcnn/oriented-rcnn_swin-b{}_1x_dota',
            {**ORIENTED, **ON_DOTA}, TWO, **OF_STAR),
    *family('oriented_rcnn/oriented-rcnn_swin-b{}_1x_star',
            {**ORIENTED, **ON_STAR}, TWO, **OF_STAR),
    *family('h2rbox_v2/h2rbox-v2_swin-b{}_1x_dota', {
        **H2RBOX, **ON_DOTA, **ROUND_D,
        'optim_wrapper.optimizer.lr': 5e-5}, ('', )),
    *family('h2rbox_v2/h2rbox-v2_swin-b{}_1x_star', {
        **H2RBOX, **{k: v for k, v in ON_STAR.items() if 'windows' not in k},
        **ROUND_S}, TWO, **OF_STAR),
    *family('kld/kld-retinanet_swin-b{}_1x_dota', {**KLD, **ON_DOTA}, ('', )),
    *family('kld/kld-retinanet_swin-b{}_1x_star', {**KLD, **ON_STAR}, ('', )),
]


@lru_cache(None)
def parse(name) -> Config:
    """A parsed config, to be read only."""
    return Config.fromfile(ROOT / f'configs/{name}.py')


def setting(cfg, path):
    for key in path.split('.'):
        if cfg is None:
            return None
        cfg = cfg[int(key)] if isinstance(cfg, list) else cfg.get(key)
    return cfg


def plain(value):
    """Lists and tuples are one in configs."""
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value


@pytest.mark.parametrize('name, settings', TABLE, ids=[n for n, _ in TABLE])
def test_settings_are_those_of_the_release(name, settings):
    cfg = parse(name)
    for path, expected in settings.items():
        found = plain(setting(cfg, path))
        if isinstance(expected, float):
            expected = pytest.approx(expected)
        assert found == plain(expected), path


@pytest.mark.parametrize('name', [n for n, _ in TABLE])
def test_weights_to_start_from_are_imagenet_22k(name):
    cfg = parse(name).model.backbone
    file = cfg.init_cfg.checkpoint.rsplit('/', 1)[1]
    expected = dict(tiny='swin_tiny_patch4_window7_224_22k.pth', base=SWIN_B,
                    large=SWIN_L)[cfg.arch]
    assert file == expected


def cosine(epoch):
    return .01 + .99 * (1 + cos(pi * epoch / 100)) / 2


#: {leaf: (iterations per epoch, {iteration: share of the base rate})}
SCHEDULES = {
    'cascade_mask_rcnn/cascade-mask-rcnn_swin-b_3x_coco': (
        100, {0: .001, 250: .5, 500: 1, 2699: 1, 2700: .1, 3300: .01}),
    'retinanet/retinanet_swin-l_1x_voc': (100, {0: 1, 299: 1, 300: .1}),
    'upernet/upernet_swin-l_160k_ade20k': (
        1, {0: 1e-6, 1500: 1 - 1500 / 160_000, 16_000: .9}),
    'upernet/upernet_swin-l-mona_160k_ade20k': (
        1, {0: 1e-6, 1500: 1 - 1500 / 160_000, 16_000: .9}),
    'swin_classification/swin-l-mona_100e_flowers102': (
        20, {0: .001, 200: (.001 + .999 / 2) * cosine(10), 400: cosine(20),
             1000: cosine(50), 1999: .01}),
    'swin_classification/swin-l_100e_voc2007': (
        20, {0: .001, 400: cosine(20), 1999: .01}),
    'oriented_rcnn/oriented-rcnn_swin-b_1x_dota': (
        100, {0: 1 / 3, 250: 2 / 3, 500: 1, 799: 1, 800: .1, 1100: .01}),
    'h2rbox_v2/h2rbox-v2_swin-b_1x_star': (
        100, {0: 1 / 3, 500: 1, 799: 1, 800: .1, 1100: .01}),
}


def rates(cfg, epoch_length, last):
    """Learning rates of the built schedulers, iteration by iteration."""
    init_default_scope(cfg.default_scope)
    cfg_opt = cfg.optim_wrapper.optimizer
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=cfg_opt.lr)
    epochs = cfg.train_cfg.get('max_epochs')
    schedulers = []
    for part in cfg.param_scheduler:
        part = dict(part)
        kind = PARAM_SCHEDULERS.get(part['type'])
        if part.pop('convert_to_iter_based', False):
            part.pop('type')
            part.setdefault('end', epochs)
            schedulers.append(kind.build_iter_from_epoch(
                optimizer=optimizer, epoch_length=epoch_length, **part))
        else:
            schedulers.append(PARAM_SCHEDULERS.build(
                part, default_args=dict(optimizer=optimizer)))
    optimizer.step()
    for i in range(last + 1):
        yield optimizer.param_groups[0]['lr'] / cfg_opt.lr
        for scheduler in schedulers:
            if not scheduler.by_epoch or (i + 1) % epoch_length == 0:
                scheduler.step()


@pytest.mark.parametrize('name', SCHEDULES)
def test_learning_rate_over_time(name):
    epoch_length, points = SCHEDULES[name]
    found = list(rates(parse(name), epoch_length, max(points)))
    for iteration, expected in points.items():
        assert found[iteration] == pytest.approx(expected, rel=.01), iteration


def decay_by_name(decay, name):
    spared = ('norm', 'relative_position_bias_table')
    return 0 if any(word in name for word in spared) else decay


def detection(name, module):
    return 1e-4, decay_by_name(.05, name)


def ade(name, module):
    return 6e-5, decay_by_name(.01, name)


def ade_mona(name, module):
    """Five times the rate, heads too; Mona's own norms decay."""
    if name.startswith('backbone.'):
        return 3e-4, .01
    return 3e-4, decay_by_name(.01, name)


def classification(factor):
    def rule(name, module):
        # mmcv 1.x asks whether a convolution is depth-wise before it asks
        # whether a parameter is a bias.
        depthwise = isinstance(module, torch.nn.Conv2d) and (
            module.groups == module.in_channels)
        spared = (isinstance(module, torch.nn.LayerNorm)
                  or name.endswith('.bias') and not depthwise
                  or 'relative_position_bias_table' in name)
        return factor * 1.5625e-5, 0 if spared else .05
    return rule


def everything_decays(lr):
    return lambda name, module: (lr, .05)


RULES = {
    'cascade_mask_rcnn/cascade-mask-rcnn_swin-b_3x_coco': detection,
    'cascade_mask_rcnn/cascade-mask-rcnn_swin-b-mona_3x_coco': detection,
    'retinanet/retinanet_swin-l_1x_voc': detection,
    'retinanet/retinanet_swin-l-bitfit_1x_voc': detection,
    'retinanet/retinanet_swin-t-mona_1x_voc': detection,
    'upernet/upernet_swin-l_160k_ade20k': ade,
    'upernet/upernet_swin-l-adapter_160k_ade20k': ade,
    'upernet/upernet_swin-l-mona_160k_ade20k': ade_mona,
    C + '_100e_flowers102': classification(1),
    C + '-mona_100e_flowers102': classification(2),
    C + '-mona_100e_voc2007': classification(1),
    C + '-lora_100e_voc2007': classification(1),
    'oriented_rcnn/oriented-rcnn_swin-b-mona_1x_star': detection,
    'kld/kld-retinanet_swin-b_1x_star': detection,
    'h2rbox_v2/h2rbox-v2_swin-b_1x_dota': everything_decays(5e-5),
    'h2rbox_v2/h2rbox-v2_swin-b-mona_1x_star': everything_decays(1e-4),
}


@pytest.mark.parametrize('name', RULES)
def test_rate_and_decay_of_every_parameter(name):
    cfg = deepcopy(parse(name))
    init_default_scope(cfg.default_scope)
    cfg.model.data_preprocessor.pop('size', None)
    with on_meta():
        model = MODELS.build(cfg.model)
    wrapper = dict(cfg.optim_wrapper, type='OptimWrapper')
    for key in ('dtype', 'loss_scale'):
        wrapper.pop(key, None)
    groups = build_optim_wrapper(model, wrapper).optimizer.param_groups
    found = {id(p): (g['lr'], g['weight_decay'])
             for g in groups for p in g['params']}
    modules = dict(model.named_modules())
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert len(found) == len(trained)
    for key, param in trained.items():
        rule = RULES[name](key, modules[key.rpartition('.')[0]])
        assert found[id(param)] == pytest.approx(rule), key
    kinds = {k for k in trained if '.after_attn.norm.' in k}
    assert bool(kinds) == ('-mona' in name)


def test_patch_embedding_is_frozen_on_voc_and_only_there():
    for name, _ in TABLE:
        kept = parse(name).model.backbone.get('keep_frozen')
        assert bool(kept) == name.endswith('_1x_voc'), name


@pytest.mark.parametrize('method, trained', [
    ('bitfit', 301_908), ('normtuning', 88_320)])
def test_what_trains_on_voc_is_counted_without_the_patch_embedding(
        method, trained):
    cfg = parse(R + f'-l-{method}_1x_voc')
    assert count_backbone(cfg)['trained'] == trained


def test_biases_of_all_depthwise_filters_decay_in_classification():
    # Swin-L: 24 blocks, two Mona layers each, three filters in each.
    cfg = deepcopy(parse(C + '-mona_100e_flowers102'))
    with on_meta():
        model = MODELS.build(cfg.model.backbone)
    filters = [n for n, m in model.named_modules()
               if isinstance(m, torch.nn.Conv2d) and m.groups > 1]
    assert len(filters) == 24 * 2 * 3 == 144
    keys = parse(C + '_100e_flowers102').optim_wrapper.paramwise_cfg
    for name in filters:
        key, = (k for k in keys.custom_keys if k in name)
        assert keys.custom_keys[key].decay_mult == 1.
