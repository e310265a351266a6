"""Docstrings with Sphinx's roles and literal blocks, made Markdown."""
import re

import griffe

_ROLE = re.compile(r':\w+:`(~?)([\w.\s]+?)`')
_LITERAL = re.compile(r'::(?=\n\n)')


def as_markdown(text: str) -> str:
    """Full names become links into the API, other roles plain code."""

    def link(role: re.Match) -> str:
        path = re.sub(r'\s', '', role[2])
        name = path.rpartition('.')[2] if role[1] else path
        known = path.startswith('mona_mm.')
        return f'[`{name}`][{path}]' if known else f'`{name}`'

    return _LITERAL.sub(':', _ROLE.sub(link, text))


class Markdown(griffe.Extension):
    """Applies :func:`as_markdown`; leaves names where they are defined."""

    def on_package(self, *, pkg, **kwargs) -> None:
        """What a package hands on is shown by the module that has it."""
        todo = [pkg]
        while todo:
            module = todo.pop()
            module.exports = None
            todo += (member for member in module.members.values()
                     if not member.is_alias and member.is_module)

    def on_instance(self, *, obj, **kwargs) -> None:
        """Called for every module, class, function and attribute."""
        if obj.is_attribute and not obj.docstring and obj.lineno:
            said = self._comment(obj)
            if said:
                obj.docstring = griffe.Docstring(said, parent=obj)
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)

    @staticmethod
    def _comment(obj) -> str:
        """What stands above an attribute in ``#:`` lines."""
        if obj.filepath not in obj.lines_collection:
            return ''
        above = obj.lines_collection[obj.filepath][:obj.lineno - 1]
        said = []
        while above and above[-1].strip().startswith('#:'):
            said.insert(0, above.pop().strip()[2:].strip())
        return ' '.join(said)
