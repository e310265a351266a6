"""What the site has besides the pages of ``docs/``.

Every page has a path in the repository, by which its links are read, so that
they hold on GitHub and here: what they lead to outside of ``docs/`` gets a
page as well, with the text of the file.
"""
import ast
import os
import posixpath
import re
from pathlib import Path
from typing import Dict, Iterator, List

import reference
from docstrings import as_markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
#: Pages of this package, without leading folders; the API has them all.
PACKAGE = ROOT / 'mona_mm'
_FENCE = re.compile(r'^( *)(```|~~~).*?^\1\2 *$', re.M | re.S)
_LINK = re.compile(r'(?<=\]\()([^)\s]+)(?=\))')
_NOTE = re.compile(r'(?<!\])\[(\d+)\](?![(\[])')
_LANGUAGES = dict(py='python', sh='bash', yml='yaml', md='markdown')
#: {page: path in the repository}, for who reads its links.
_origins: Dict[str, str] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put into the navigation what no list should have to name."""
    named = str(config.nav)
    docs = Path(config.docs_dir)
    more = next(entry['More'] for entry in config.nav if 'More' in entry)
    more += [page.name for page in sorted(docs.glob('*.md'))
             if page.name not in named]
    more.append({'Contributing': _uri('.github/CONTRIBUTING.md')})
    config.nav.append({'API': ['api/index.md', *_api_nav(PACKAGE)]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, the generated pages, the API and linked files."""

    def add(uri: str, text: str, origin: str = '') -> None:
        files.append(File.generated(config, uri, content=text))
        if origin:
            _origins[uri] = origin

    _origins.clear()
    _origins.update({f.src_uri: f'docs/{f.src_uri}'
                     for f in files.documentation_pages()})
    add('index.md', (ROOT / 'README.md').read_text(), 'README.md')
    add('assets/site.css', Path(__file__).with_name('site.css').read_text())
    add('reference/methods.md', reference.methods())
    add('reference/families.md', reference.families())
    for uri, text in _api_pages():
        add(uri, text)
    todo = ['.github/CONTRIBUTING.md']
    for origin in _origins.values():
        todo += _leads_out((ROOT / origin).read_text(), origin)
    while todo:
        path = todo.pop()
        if _uri(path) in _origins:
            continue
        source = ROOT / path
        if source.is_dir():
            text = _listing(source, path)
        elif path.endswith('.md'):
            text = source.read_text()
            todo += _leads_out(text, path)
        else:
            text = _code(source, path)
        add(_uri(path), text, path)
    return files


def on_page_markdown(markdown: str, page, **kwargs) -> str:
    """Let links lead to the pages of what they name."""
    origin = _origins.get(page.file.src_uri)
    if origin is None:
        return markdown
    here = posixpath.dirname(page.file.src_uri)

    def lead(found: re.Match) -> str:
        link, hash_, anchor = found[1].partition('#')
        path = _target(link, origin)
        if path is None or not (ROOT / path).exists():
            return found[1]  # the build names it
        return posixpath.relpath(_uri(path), here or '.') + hash_ + anchor

    # [2] is a note's number, on GitHub as well, and no reference.
    return ''.join(
        part if fenced else _NOTE.sub(r'\\[\1\\]', _LINK.sub(lead, part))
        for part, fenced in _parts(markdown))


def _uri(path: str) -> str:
    """The page, or the file, that stands for a path of the repository."""
    if path == 'README.md':
        return 'index.md'
    if path.startswith('docs/') and not (ROOT / path).is_dir():
        return path.removeprefix('docs/')
    if (ROOT / path / 'README.md').is_file():
        path = f'{path}/README.md'
        if path.startswith('docs/'):
            return path.removeprefix('docs/')
    return f'files/{path.lstrip(".")}' + '.md' * (not path.endswith('.md'))


def _target(link: str, origin: str):
    """The path in the repository that a link of a page names, or None."""
    if not link or re.match(r'[a-z]+:', link):
        return None
    path = posixpath.normpath(
        posixpath.join(posixpath.dirname(origin), link))
    if (ROOT / path / 'README.md').is_file():
        path += '/README.md'
    return path


def _parts(markdown: str) -> Iterator:
    """Text and code blocks in turn, each with whether it is code."""
    end = 0
    for found in _FENCE.finditer(markdown):
        yield markdown[end:found.start()], False
        yield found[0], True
        end = found.end()
    yield markdown[end:], False


def _leads_out(markdown: str, origin: str) -> List[str]:
    """The files outside of docs/ that a page leads to."""
    links = (_target(link.partition('#')[0], origin)
             for part, fenced in _parts(markdown) if not fenced
             for link in _LINK.findall(part))
    return [path for path in links
            if path and not path.startswith('docs/') and path != 'README.md'
            and (ROOT / path).exists()]


def _code(source: Path, path: str) -> str:
    language = _LANGUAGES.get(source.suffix[1:], 'text')
    return (f'---\nsearch: {{exclude: true}}\n---\n# {source.name}\n\n'
            f'`{path}`\n\n~~~~~~{language}\n{source.read_text()}~~~~~~\n')


def _listing(folder: Path, path: str) -> str:
    names = sorted(p.name + '/' * p.is_dir() for p in folder.iterdir()
                   if not p.name.startswith(('.', '__pycache__')))
    lines = ''.join(f'- `{name}`\n' for name in names)
    return (f'---\nsearch: {{exclude: true}}\n---\n# {folder.name}/\n\n'
            f'`{path}/` holds\n\n{lines}')


def _modules(folder: Path) -> List[Path]:
    """Public modules and packages of a package, packages last."""
    return sorted(
        (p for p in folder.iterdir()
         if not p.name.startswith(('_', '.'))
         and (p.suffix == '.py' or (p / '__init__.py').is_file())),
        key=lambda p: (p.is_dir(), p.name))


def _api_nav(folder: Path) -> list:
    nav = []
    for path in _modules(folder):
        uri = f'api/{path.relative_to(PACKAGE).as_posix()}'
        if path.is_dir():
            nav.append({path.name: [f'{uri}/index.md', *_api_nav(path)]})
        else:
            nav.append({path.stem: f'{uri[:-3]}.md'})
    return nav


def _api_pages() -> Iterator:
    yield 'api/index.md', (
        '# API\n\nMade of the docstrings. Shapes: B is the batch, N the '
        'number of tokens, C of channels, (H, W) the map. Configs need the '
        "names of [classes](../reference/families.md) and "
        '[methods](../reference/methods.md) alone.\n\n'
        + _contents(PACKAGE))
    for folder, _, names in os.walk(PACKAGE):
        for name in names:
            path = Path(folder, name).relative_to(ROOT)
            if path.suffix != '.py' or '__pycache__' in path.parts:
                continue
            module = '.'.join(path.with_suffix('').parts)
            uri = path.relative_to('mona_mm').with_suffix('.md').as_posix()
            if name == '__init__.py':
                module = module.removesuffix('.__init__')
                uri = uri.replace('__init__', 'index')
            elif name.startswith('_'):
                continue
            if module != 'mona_mm':
                yield f'api/{uri}', (
                    f'---\ntitle: {module.removeprefix("mona_mm.")}\n---\n'
                    f'::: {module}\n\n'
                    + _contents(ROOT / path.parent) * (name == '__init__.py'))


def _contents(folder: Path) -> str:
    """A list of a package's modules, each with its first sentence."""
    lines = []
    for path in _modules(folder):
        file = path / '__init__.py' if path.is_dir() else path
        said = ast.get_docstring(ast.parse(file.read_text())) or ''
        said = as_markdown(' '.join(said.partition('\n\n')[0].split()))
        link = f'{path.name}/index.md' if path.is_dir() else f'{path.stem}.md'
        lines.append(f'- [`{path.stem}`]({link}): {said}\n')
    return ''.join(lines)
