"""What one family is stays in its folder."""
import ast
import re
from pathlib import Path

import pytest
from paths import ROOT

PACKAGE = ROOT / 'mona_mm'
FAMILIES = [p.parent.name for p in PACKAGE.glob('backbones/*/__init__.py')]
#: Files of weights are called as they are called; a study or a quickstart
#: says by its name which config it runs.
WEIGHTS = ('.onnx', '.pth', '.safetensors')
CONFIGS = {p.stem for p in (ROOT / 'configs').rglob('*.py')}


def code_words(path: Path):
    """(line, word) of names and texts in code; no docstrings, no comments."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    docs = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docs.add(id(node.value))
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, (ast.ImportFrom, ast.Import)):
            names = [alias.name for alias in node.names]
            yield node.lineno, ' '.join(
                [getattr(node, 'module', None) or '', *names])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docs:
                yield node.lineno, node.value


@pytest.mark.parametrize('family', FAMILIES)
def test_code_outside_its_folder_does_not_name_a_family(family):
    # 'swin_v2' is also swinv2 and SwinV2.
    lower = family.replace('_', '_?')
    upper = family.replace('_', ' ').title().replace(' ', '')
    pattern = re.compile(rf'(?<![a-zA-Z]){lower}(?![a-z])|{upper}')
    found = [
        f'{path.relative_to(PACKAGE)}:{line}: {word}'
        for path in PACKAGE.rglob('*.py')
        # compat.py lists private names of libraries; names.py how words in
        # configs' names are spelt where capitals are not enough.
        if path.name not in ('compat.py', 'names.py')
        and path.parent.parent != PACKAGE / 'backbones'
        for line, word in code_words(path)
        if pattern.search(word) and not word.endswith(WEIGHTS)
        and word.removesuffix('.py') not in CONFIGS
        and f'{word}_shapes' not in CONFIGS]
    assert not found
