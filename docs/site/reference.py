"""Pages made of the registries: a new method or family is on them by itself.
"""
import inspect
import re
from pathlib import Path
from typing import Any, Iterator, List

import griffe
from docstrings import as_markdown
from mmengine.config import Config

from mona_mm import backbones
from mona_mm.backbones.tuned import TunedBackbone, lacking
from mona_mm.config import tuner_fragments
from mona_mm.registry import TUNERS
from mona_mm.reports import names
from mona_mm.tuners import EXTRAS, SITES, build_tuner, known_tuners

_CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def methods() -> str:
    """The page of all registered methods."""
    words = {cls.__name__: word for word in names.methods()
             for cls in [names.loaded().get(word)] if cls}
    order = sorted(known_tuners(), key=lambda n: list(words).index(n))
    classes = [TUNERS.get(name) for name in order]
    lines = [
        '# Arguments and sites of the methods', '',
        'Made of the registry when the site is built. What each method '
        'counts and costs: [methods](../methods.md); to write your own: '
        '[add a method](../add_a_method.md).', '',
        '| | method | `--tuner` | `type` | sites | works on |',
        '|---|---|---|---|---|---|']
    for cls in classes:
        tuner = build_tuner(dict(type=cls.__name__))
        lines.append(
            f'| {_swatch(cls)} | [{cls.display_name}](#{_anchor(cls)}) | '
            f'`{words[cls.__name__]}` | `{cls.__name__}` | '
            f'{_code(cls.sites) or "-"} | {_works_on(tuner)} |')
    for cls in classes:
        lines += _method(cls, words[cls.__name__])
    return '\n'.join(lines) + '\n'


def families() -> str:
    """The page of all classes of backbones."""
    classes = sorted(_families(), key=lambda cls: cls.__module__)
    shown = [cls for cls in classes if not cls.general]
    lines = [
        '# Classes and sites of the backbones', '',
        'Made of the registry when the site is built. What to mind with '
        'each: [backbones](../backbones.md); to add one: '
        '[add a backbone](../add_a_backbone.md).', '',
        '## Sites', '', '| site | ' + ' | '.join(
            f'[{_wrapped(cls)}](#{_anchor(cls)})'
            for cls in shown) + ' |', '|---' * (len(shown) + 1) + '|']
    for site in (*SITES, *EXTRAS):
        lines.append(f'| `{site}` | ' + ' | '.join(
            'yes' if site in cls.sites
            else f'with `{cls.twins[site]}`' if site in cls.twins else '-'
            for cls in shown) + ' |')
    lines += ['', '## Methods', '',
              '*yes*: the family has the sites that the method asks for by '
              'default.', '',
              '| method | ' + ' | '.join(map(_wrapped, shown)) + ' |',
              '|---' * (len(shown) + 1) + '|']
    for word in names.methods():
        cls = names.loaded()[word]
        tuner = build_tuner(dict(type=cls.__name__))
        lines.append(
            f'| [{cls.display_name}](methods.md#{_anchor(cls)}) | '
            + ' | '.join(_answer(family, tuner) for family in shown) + ' |')
    for cls in classes:
        lines += _family(cls)
    return '\n'.join(lines) + '\n'


def _families() -> List[type]:
    found = [getattr(backbones, name) for name in backbones.__all__]
    return [cls for cls in found if inspect.isclass(cls)
            and issubclass(cls, TunedBackbone) and cls.plain_class]


def _method(cls: type, word: str) -> Iterator[str]:
    yield from ('', f'## {cls.display_name} {{#{_anchor(cls)}}}', '')
    parts = _parsed(cls)
    yield parts.get('text', '')
    yield from ('', f'Sites: {_code(cls.sites) or "none"}. '
                f'API: [`{cls.__module__}`][{cls.__module__}].')
    arguments = inspect.signature(cls).parameters
    if arguments:
        yield from ('', '| argument | default | |', '|---|---|---|')
        for name, parameter in arguments.items():
            yield (f'| `{name}` | `{parameter.default!r}` | '
                   f'{parts.get("parameters", {}).get(name, "")} |')
    fragment = tuner_fragments().get(word)
    if fragment:
        yield from ('', f'`--tuner {word}` is', '', '```python',
                    Path(fragment).read_text().strip(), '```')


def _family(cls: type) -> Iterator[str]:
    yield from ('', f'## {_short(cls)} {{#{_anchor(cls)}}}', '',
                f'`type=\'mona_mm.{cls.__name__}\'`', '')
    parts = _parsed(cls)
    yield parts.get('text', '')
    plain = cls.plain_class
    yield from ('', f'The library\'s class: `{plain.__module__}.'
                f'{plain.__name__}`.')
    layouts = [layout.name for layout in cls.layouts]
    yield from ('', 'Base files: ' + ', '.join(['OpenMMLab', *layouts]) + '.')
    bases = [path.name for path in sorted(_CONFIGS.glob('_base_/models/*.py'))
             if _uses(path, cls)]
    if bases:
        yield from ('', f'Model bases in `configs/_base_/models`: '
                    f'{_code(bases)}.')
    arguments = {name: p for name, p in _arguments(cls).items()
                 if p.kind is not p.VAR_KEYWORD}
    said = parts.get('parameters', {})
    yield from ('', '| argument | default | |', '|---|---|---|')
    for name in (*(n for n in said if n in arguments or '**' not in n),
                 *(n for n in arguments if n not in said)):
        default = (f'`{arguments[name].default!r}`' if name in arguments
                   and arguments[name].default is not inspect._empty else '')
        yield f'| `{name}` | {default} | {said.get(name, "")} |'


def _arguments(cls: type) -> dict:
    found = dict(inspect.signature(cls).parameters)
    found.pop('self', None)
    return found


def _uses(path: Path, cls: type) -> bool:
    backbone = Config.fromfile(path).get('model', {}).get('backbone', {})
    return backbone.get('type', '').rpartition('.')[2] == cls.__name__


def _parsed(cls: type) -> dict:
    """Text and arguments of a docstring, as Markdown."""
    doc = griffe.Docstring(as_markdown(inspect.getdoc(cls) or ''))
    found: dict = {}
    for section in doc.parse('google', warnings=False):
        if section.kind.value == 'text':
            found.setdefault('text', section.value)
        elif section.kind.value == 'parameters':
            found['parameters'] = {
                p.name: ' '.join(p.description.split()).replace('|', '\\|')
                for p in section.value}
    return found


def _answer(family: type, tuner: Any) -> str:
    without = lacking(family, tuner)
    return f'lacks {_code(without)}' if without else 'yes'


def _works_on(tuner: Any) -> str:
    found = [cls for cls in _families() if not cls.general]
    fits = [cls for cls in found if not lacking(cls, tuner)]
    return 'all' if fits == found else ', '.join(map(_short, fits))


def _short(cls: type) -> str:
    return cls.__name__.removeprefix('Tuned')


def _wrapped(cls: type) -> str:
    """Its name for a narrow column."""
    return re.sub('(?<=[a-z])(?=[A-Z][a-z]{2}|V2)', '<wbr>', _short(cls))


def _anchor(cls: type) -> str:
    return cls.__name__.lower()


def _swatch(cls: type) -> str:
    return f'<span class="swatch" style="background:{cls.colour}"></span>'


def _code(words) -> str:
    return ', '.join(f'`{word}`' for word in words)
