"""Checkpoints shown side by side, by every library's own inferencer."""
import html.parser
import os
import runpy
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from paths import ROOT

from mona_mm.data.inputs import Inputs
from mona_mm.engine.predict import Predictor, Slices
from mona_mm.errors import CheckpointError, ConfigError
from mona_mm.reports.demo import titles_of
from mona_mm.reports.drawing import Drawing, distinct, plain
from mona_mm.reports.gallery import GAP, STRIP

main = runpy.run_path(str(ROOT / 'tools/demo.py'))['main']


class Page(html.parser.HTMLParser):
    """What a page refers to, and its text."""

    def __init__(self, path):
        super().__init__()
        self.files, self.words = [], []
        self.feed(Path(path).read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        self.files += [unquote(v) for k, v in attrs if k in ('src', 'href')]

    def handle_data(self, data):
        self.words.append(data)


def run(*words, out):
    main([*map(str, words), '--out-dir', str(out), '--device', 'cpu'])
    page = Page(out / 'index.html')
    for file in page.files:
        assert (out / file).is_file(), file
    assert not list(out.rglob('*.part*'))
    return page


@pytest.mark.parametrize(
    'family', ['mmdet', 'masks', 'mmseg', 'mmpretrain', 'mmrotate'])
def test_two_deltas_stand_beside_the_ground_truth(family, shop, tmp_path):
    made = shop.made(family)
    page = run(made.picture, made.config, made.one, made.two, '--annotations',
               '--score-thr', 0, '--panel', 96, '--titles', 'first', 'second',
               out=tmp_path)
    file = f'pictures/{Path(made.picture).stem}.jpg'
    assert page.files == [file, file]  # in the page, and to open it alone
    image = cv2.imread(str(tmp_path / file))
    # Three square panels in a row, each 96 pixels, under their titles.
    assert image.shape[:2] == (96 + STRIP + GAP, 3 * 96 + 4 * GAP)
    titles = [w for w in page.words
              if w in ('ground truth', 'first', 'second')]
    assert titles[-3:] == ['ground truth', 'first', 'second']
    panels = [image[STRIP + 4:STRIP + 92, GAP + i * (96 + GAP) + 4:][:, :88]
              for i in range(3)]
    assert all(p.std() > 3 for p in panels)
    assert np.abs(panels[0].astype(int) - panels[1]).mean() > .3


def predictions(cfg, weights, picture, library):
    """What the libraries' own inferencers say, with one file each."""
    if library == 'mmseg':
        from mmseg.apis import MMSegInferencer
        found = MMSegInferencer(cfg, weights, device='cpu')(
            picture, return_datasamples=True)
        return [found.seg_logits.data]
    if library == 'mmpretrain':
        from mmpretrain import ImageClassificationInferencer
        found, = ImageClassificationInferencer(cfg, weights, 'cpu')(
            picture, return_datasamples=True)
        return [found.pred_score]
    from mmdet.apis import DetInferencer
    found, = DetInferencer(cfg, weights, 'cpu', library)(
        picture, return_datasamples=True)['predictions']
    return tensors(found)


def tensors(sample):
    if 'seg_logits' in sample:
        return [sample.seg_logits.data]
    if 'pred_score' in sample:
        return [sample.pred_score]
    found = sample.pred_instances
    return [found.bboxes, found.scores, found.labels]


@pytest.mark.parametrize('library', [
    'mmdet', *(pytest.param(name, marks=pytest.mark.slow)
               for name in ('mmseg', 'mmpretrain', 'mmrotate'))])
def test_predictions_are_those_of_the_librarys_inferencer(library, shop):
    """With one model for both deltas, and one for the other tuner's."""
    made = shop.made(library)
    cfg = Config.fromfile(made.config)
    files = {t: getattr(made, t) for t in ('one', 'lora', 'two')}
    predictor = Predictor(cfg, files, 'cpu')
    models = {id(model) for model, _ in predictor._models.values()}
    assert len(models) == 2
    pixels = cv2.imread(made.picture)
    own = Config.fromfile(made.config)
    own.model.backbone.type = 'mona_mm.TunedSwinTransformer'
    own.model.backbone.tuner = dict(type='LoRA')
    for title in ('two', 'one', 'lora', 'two'):
        expected = predictions(
            own if title == 'lora' else cfg, files[title], made.picture,
            library)
        found = tensors(predictor.predict(title, pixels))
        assert len(expected[0]) == len(found[0]) > 0
        for a, b in zip(found, expected):
            assert torch.equal(a, b.cpu()), title


def test_base_is_read_once_for_several_deltas(shop, monkeypatch):
    from mona_mm.backbones import frozen
    made, reads = shop.made('mmdet'), []
    before = frozen.FrozenBase.read

    def read(self, source, *args, **kwargs):
        reads.append(source)
        return before(self, source, *args, **kwargs)

    monkeypatch.setattr(frozen.FrozenBase, 'read', read)
    cfg = Config.fromfile(made.config)
    Predictor(cfg, dict(one=made.one), 'cpu')
    alone = len(reads)
    Predictor(cfg, dict(one=made.one, two=made.two), 'cpu')
    assert len(reads) == 2 * alone > 0


def test_full_checkpoint_beside_a_delta(shop, tmp_path):
    from mona_mm.checkpoint import read_checkpoint
    made = shop.made('mmpretrain')
    cfg = Config.fromfile(made.config)
    model = Predictor(cfg, dict(one=made.one), 'cpu').first.model
    torch.save(dict(state_dict=model.state_dict(), meta=read_checkpoint(
        made.one)['meta']), tmp_path / 'full.pth')
    predictor = Predictor(
        cfg, dict(delta=made.one, full=str(tmp_path / 'full.pth')), 'cpu')
    pixels = cv2.imread(made.picture)
    assert torch.equal(predictor.predict('delta', pixels).pred_score,
                       predictor.predict('full', pixels).pred_score)


def test_folder_and_page_name_what_is_in_it(shop, tmp_path):
    made = shop.made('mmpretrain')
    odd = tmp_path / 'in' / '<b> & "x"'
    odd.mkdir(parents=True)
    pixels = cv2.imread(made.picture)
    for name in ('a.png', 'ä.jpg', 'notes.txt', '.cache'):
        if name.endswith(('png', 'jpg')):
            cv2.imencode(name[-4:], pixels)[1].tofile(odd / name)
        else:
            (odd / name).write_text('no picture')
    (tmp_path / 'in/a.png').write_bytes((odd / 'a.png').read_bytes())
    page = run(tmp_path / 'in', made.config, made.one, out=tmp_path / 'out')
    names = sorted(p.name for p in (tmp_path / 'out/pictures').iterdir())
    assert names == ['a.jpg', 'a_2.jpg', 'ä.jpg']
    assert str(odd / 'a.png') in page.words  # escaped, and read back
    assert '<b>' not in (tmp_path / 'out/index.html').read_text()


def test_video_becomes_a_video(shop, tmp_path):
    made = shop.made('mmpretrain')
    pixels, source = cv2.imread(made.picture), tmp_path / 'a.avi'
    film = cv2.VideoWriter(str(source), cv2.VideoWriter_fourcc(*'MJPG'), 10,
                           pixels.shape[1::-1])
    for i in range(5):
        film.write(np.roll(pixels, i, 0))
    film.release()
    page = run(source, made.config, made.one, made.two, '--every', 2,
               '--panel', 96, out=tmp_path / 'out')
    assert page.files == ['video.webm']
    film = cv2.VideoCapture(str(tmp_path / 'out/video.webm'))
    frames = []
    while (frame := film.read()[1]) is not None:
        frames.append(frame)
    assert len(frames) == 3  # of frames 0, 2 and 4
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    assert frames[0].shape[:2] == (96 + STRIP + GAP, 2 * 96 + 3 * GAP)


def test_segmentor_slides_over_large_pictures(shop):
    made = shop.made('mmseg')
    cfg = Config.fromfile(made.config)
    model = Predictor(cfg, dict(one=made.one), 'cpu',
                      Slices(96, 32)).first.model
    assert model.test_cfg == dict(
        mode='slide', crop_size=(96, 96), stride=(64, 64))


@pytest.mark.parametrize('words, error, told', [
    (['nowhere.jpg', 'C', 'D'], ConfigError, 'nowhere.jpg: no such file'),
    (['empty', 'C', 'D'], ConfigError, 'empty: no picture in this folder'),
    (['C.txt', 'C', 'D'], ConfigError, 'C.txt: expected a picture'),
    (['broken.png', 'C', 'D'], ConfigError, 'broken.png: not a picture'),
    (['broken.mp4', 'C', 'D'], ConfigError, 'broken.mp4: not a video'),
    (['P', 'broken.mp4', 'C', 'D'], ConfigError, 'broken.mp4.*give it alone'),
    (['P', 'D', 'D'], ConfigError, 'expected INPUTS CONFIG CHECKPOINTS'),
    (['P', 'C', 'D', 'D'], ConfigError, 'same title'),
    (['P', 'C', 'D', '--titles', 'a', 'b'], ConfigError, '2 titles for 1'),
    (['P', 'C', 'none.pth'], CheckpointError, 'none.pth'),
    (['P', 'C', 'OTHER'], CheckpointError, 'mmdet-one.pth is not a'),
    (['P', 'C', 'D', '--slice', '64'], ConfigError, '--slice is for'),
    (['P', 'C', 'D', '--slice', '9', '--overlap', '9'], ConfigError,
     'windows of 9 pixels that overlap by 9'),
    (['P', 'C', 'D', '--panel', '0'], ConfigError, '--panel 0: expected 1'),
    (['stranger.png', 'C', 'D', '--annotations'], ConfigError,
     'know none of the 1 pictures, such as stranger.png'),
    (['P', 'C', 'D', '--annotations', '--cfg-options',
      'test_dataloader.dataset.data_root=gone'], ConfigError,
     'test_dataloader.dataset of the config cannot be read')])
def test_what_cannot_work_is_told(words, error, told, shop, tmp_path):
    made = shop.made('mmpretrain')
    os.makedirs('empty', exist_ok=True)
    for name in ('broken.png', 'broken.mp4', 'C.txt'):
        Path(name).write_text('nothing')
    cv2.imwrite('stranger.png', np.zeros((64, 64, 3), np.uint8))
    given = dict(P=made.picture, C=made.config, D=made.one)
    if 'OTHER' in words:
        given['OTHER'] = shop.made('mmdet').one
    with pytest.raises(error, match=told):
        main([*(given.get(w, w) for w in words), '--out-dir', str(tmp_path),
              '--device', 'cpu'])
    assert not list(tmp_path.iterdir())


def test_checkpoint_of_other_classes_is_refused(shop, tmp_path):
    from mona_mm.checkpoint import read_checkpoint
    made = shop.made('mmpretrain')
    content = read_checkpoint(made.two)
    content['meta']['dataset_meta']['classes'] = list('abcdef')
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(ConfigError, match='other.pth.*other classes.*a, b'):
        Predictor(Config.fromfile(made.config), dict(
            one=made.one, two=str(tmp_path / 'other.pth')), 'cpu')


def test_annotations_of_other_classes_are_refused(shop, tmp_path):
    made = shop.made('mmpretrain')
    with pytest.raises(ConfigError, match='differ in their classes.*owl'):
        main([made.picture, made.config, made.one, '--annotations',
              '--out-dir', str(tmp_path), '--device', 'cpu', '--cfg-options',
              'test_dataloader.dataset.metainfo.classes='
              '[circle,cross,owl,square,star,triangle]'])


def test_box_across_the_border_leaves_the_picture_in_place(shop):
    from mmengine.structures import InstanceData
    made = shop.made('mmrotate')
    cfg = Config.fromfile(made.config)
    predictor = Predictor(cfg, dict(one=made.one), 'cpu')
    pixels = cv2.imread(made.picture)
    sample = predictor.predict('one', pixels)
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[5., 5., 400., 6., 0.]]),
        scores=torch.tensor([.9]), labels=torch.tensor([2]))
    drawn = Drawing(cfg, predictor).draw(pixels, sample, False, 128)
    expected = plain(pixels, 128)
    untouched = np.abs(drawn.astype(int) - expected)[64:].mean()
    assert drawn.shape == expected.shape and untouched < 5


@pytest.mark.parametrize('files, titles', [
    (['a.pth', 'x/b.safetensors'], ['a', 'b']),
    (['w/mona/epoch_9.pth', 'w/lora/epoch_9.pth'], ['mona', 'lora']),
    (['w/m/1.pth', 'w/m/2.pth', 'w/l/2.pth'], ['m/1', 'm/2', 'l/2'])])
def test_titles_are_what_tells_paths_apart(files, titles):
    assert list(titles_of(files)) == titles


def test_frames_of_a_video_are_counted_before_it_is_read(tmp_path):
    film = cv2.VideoWriter(str(tmp_path / 'a.avi'),
                           cv2.VideoWriter_fourcc(*'MJPG'), 30, (32, 32))
    for i in range(7):
        film.write(np.full((32, 32, 3), 30 * i, np.uint8))
    film.release()
    inputs = Inputs([str(tmp_path / 'a.avi')], every=3)
    frames = [p.pixels.mean() for p in inputs]
    assert len(frames) == len(inputs) == 3 and inputs.fps == 10
    assert frames == pytest.approx([0, 90, 180], abs=3)


def test_colours_of_neighbouring_classes_are_far_apart():
    colours = np.array(distinct(20))
    assert colours.min() >= 0 and colours.max() <= 255
    assert len({tuple(c) for c in colours.tolist()}) == 20
    apart = np.abs(colours[1:] - colours[:-1]).sum(1)
    assert apart.min() > 150
