"""Pictures side by side, and a page of them."""
import html
import os
from typing import Dict, List, NamedTuple, Sequence, Tuple
from urllib.parse import quote

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mona_mm.text import write_atomically

#: Pixels between panels, and height of the strip with a title.
GAP, STRIP = 8, 34
_INK, _PAPER = (24, 28, 36), (255, 255, 255)
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem;
  max-width: 110rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1rem; margin: 0 0 .5rem;
  overflow-wrap: anywhere; }
p, dl { margin: .25rem 0; color: var(--soft); }
table { border-collapse: collapse; margin: .75rem 0; font-size: .875rem; }
th, td { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top;
  overflow-wrap: anywhere; }
th { white-space: nowrap; }
figure { margin: 1.5rem 0 0; padding: 1rem 0 0;
  border-top: 1px solid var(--line); }
img, video { max-width: 100%; height: auto; display: block;
  border: 1px solid var(--line); border-radius: 4px; background: #fff; }
"""


class Entry(NamedTuple):
    """One picture of a page.

    Attributes:
        name (str): What it is called.
        file (str): Its file, relative to the page.
        size (tuple[int, int]): Width and height of the file.
        note (str): A line about it.
        rows (list): (title, what is in it) of every panel.
    """
    name: str
    file: str
    size: Tuple[int, int]
    note: str
    rows: List[Tuple[str, str]]


def side_by_side(panels: Dict[str, np.ndarray], columns: int = 4
                 ) -> np.ndarray:
    """Put pictures of one size beside each other, each under its title.

    Args:
        panels (dict[str, np.ndarray]): {title: (H, W, 3), RGB}.
        columns (int): Most in a row. Defaults to 4.

    Returns:
        np.ndarray: One picture (h, w, 3), RGB, of even size.
    """
    from matplotlib.font_manager import findfont
    height, width = next(iter(panels.values())).shape[:2]
    # As even as it goes: five in rows of three and two, not four and one.
    rows = -(-len(panels) // columns)
    columns = -(-len(panels) // rows)
    full = (columns * (width + GAP) + GAP,
            rows * (height + STRIP + GAP))
    page = Image.new('RGB', tuple(n + n % 2 for n in full), _PAPER)
    draw = ImageDraw.Draw(page)
    # matplotlib's own font has most of the world's letters.
    font = ImageFont.truetype(findfont('DejaVu Sans'), 18)
    for i, (title, panel) in enumerate(panels.items()):
        x = GAP + i % columns * (width + GAP)
        y = i // columns * (height + STRIP + GAP)
        draw.text((x, y + STRIP // 2), _shortened(title, font, width), _INK,
                  font, anchor='lm')
        page.paste(Image.fromarray(panel), (x, y + STRIP))
    return np.asarray(page)


def write_page(path: str, title: str, facts: Sequence[Tuple[str, str]],
               entries: Sequence[Entry], video: str = '') -> None:
    """Write a page that shows pictures, for a browser.

    It loads nothing from elsewhere.

    Args:
        path (str): The .html file.
        title (str): Its heading.
        facts (Sequence): (name, value) rows below it.
        entries (Sequence[Entry]): The pictures.
        video (str): A video's file, relative to the page.
    """
    text = html.escape
    shown = ''.join(
        '<figure>\n'
        f'<h2>{text(e.name)}</h2>\n'
        f'<a href="{quote(e.file)}"><img src="{quote(e.file)}" '
        f'width="{e.size[0]}" height="{e.size[1]}" loading="lazy" '
        f'alt="{text(e.name)}: {text(", ".join(t for t, _ in e.rows))}"></a>\n'
        f'<figcaption><p>{text(e.note)}</p>{_table(e.rows)}</figcaption>\n'
        '</figure>\n' for e in entries)
    film = (f'<video src="{quote(video)}" controls loop muted></video>\n'
            if video else '')
    with write_atomically(path) as partial, open(
            partial, 'w', encoding='utf-8') as file:
        file.write(
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n'
            '<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width">\n'
            f'<title>{text(title)}</title>\n<style>{_STYLE}</style>\n'
            f'</head>\n<body>\n<h1>{text(title)}</h1>\n{_table(facts)}\n'
            f'{film}{shown}</body>\n</html>\n')


def write_picture(path: str, image: np.ndarray) -> None:
    """Write a picture (H, W, 3), RGB; the suffix says how."""
    with write_atomically(path) as partial:
        kind = 'PNG' if path.endswith('.png') else 'JPEG'
        # Full colour: text in thin letters is unreadable otherwise.
        options = {} if kind == 'PNG' else dict(quality=92, subsampling=0)
        Image.fromarray(image).save(partial, kind, **options)


def file_name(name: str, taken: set) -> str:
    """A file's name for a picture's, unlike those that are taken."""
    stem = os.path.splitext(os.path.basename(name))[0]
    stem = ''.join(c if c.isalnum() or c in '-_.' else '_' for c in stem)
    found, number = stem, 2
    while found in taken:
        found, number = f'{stem}_{number}', number + 1
    taken.add(found)
    return found


def _table(rows: Sequence[Tuple[str, str]]) -> str:
    return '<table>' + ''.join(
        f'<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in rows) + '</table>'


def _shortened(title: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(title) <= width:
        return title
    while title and font.getlength(title + '…') > width:
        title = title[:-1]
    return title + '…'
