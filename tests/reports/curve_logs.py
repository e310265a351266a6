"""Logs as mmengine writes them, by hand, and what an SVG shows."""
import json
from pathlib import Path
from xml.etree import ElementTree


def train(at: int, value: float, epoch=None, **more) -> dict:
    """A line of training; runs that count iterations log no epoch."""
    when = dict(iter=at, step=at)
    if epoch:
        when['epoch'] = epoch
    return dict(more, loss=value, time=.5, **when)


def val(step: int, **metrics) -> dict:
    """A line of validation."""
    return dict(metrics, data_time=.1, time=.2, step=step)


def epochs(length, metric, count=2, interval=1, shift=0.) -> list:
    """A run by epoch; the loss is the iteration, the metric 10 x epoch."""
    lines = []
    for epoch in range(1, count + 1):
        before = (epoch - 1) * length
        lines += [train(before + i, before + i + shift, epoch)
                  for i in range(interval, length + 1, interval)]
        lines.append(val(epoch, **{metric: 10 * epoch + shift}))
    return lines


def write(folder, *sessions) -> str:
    """Write the sessions of a work dir, in this order; return the folder."""
    for number, lines in enumerate(sessions):
        path = Path(folder) / f'20260101_00000{number}/vis_data/scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return str(folder)


def texts_of(path):
    """What stands in an SVG, lines of one text joined."""
    root = ElementTree.parse(path).getroot()
    return [' '.join(''.join(text.itertext()).split())
            for text in root.iter('{http://www.w3.org/2000/svg}text')]


def lines_of(path, style, points):
    """How many lines of so many points an SVG has in a method's look."""
    root = ElementTree.parse(path).getroot()
    return sum(
        f'stroke: {style.colour}' in p.get('style', '')
        and f'stroke-width: {style.width:g}' in p.get('style')
        and p.get('d').count('L') == points - 1
        for p in root.iter('{http://www.w3.org/2000/svg}path'))
