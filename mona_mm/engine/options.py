"""The values of ``--cfg-options``."""
import copy
from argparse import ArgumentError
from typing import Any, Iterator

from mmengine.config import DictAction

_CLOSING = {'(': ')', '[': ']'}
_QUOTES = '\'"'


class OptionAction(DictAction):
    """mmengine's action for ``KEY=VALUE``, which keeps spaces in values.

    mmengine's takes every space out of a value: a folder ``/data/my
    pictures`` becomes another one, a class ``hot dog`` as well. Here blanks
    and quotes around a value, and around each element of a list, are left
    out, and what is inside is kept; within quotes, brackets and commas are
    text, too. All else is as in mmengine: ``1,2`` and ``[1,2]`` are lists,
    ``(1,2)`` is a tuple, they may be nested, and numbers, ``true``, ``false``
    and ``None`` are what they say.
    """

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        """Add the pairs to what was given before."""
        options = copy.copy(getattr(namespace, self.dest, None) or {})
        for pair in values:
            key, equals, value = pair.partition('=')
            if not equals:
                raise ArgumentError(
                    self, f'expected KEY=VALUE, but got {pair!r}; a value '
                    'with spaces needs quotes around the pair: '
                    '"KEY=a value"')
            try:
                options[key] = parse(value)
            except ValueError as error:
                raise ArgumentError(self, f'{key}: {error}') from None
        setattr(namespace, self.dest, options)


def parse(text: str) -> Any:
    """Read one value.

    Raises:
        ValueError: If brackets or quotes are not closed.
    """
    text = text.strip()
    if len(text) > 1 and text[0] in _QUOTES and _ends(text) == len(text):
        text = text[1:-1]  # around the whole: as a shell would have it
        return parse(text) if text[:1] in ('(', '[') else _scalar(text)
    closing = _CLOSING.get(text[:1])
    if closing and _ends(text) == len(text):
        values = [parse(part) for part in _parts(text[1:-1])]
        return tuple(values) if closing == ')' else values
    if ',' in text:
        parts = list(_parts(text))
        if len(parts) > 1 or text.endswith(','):
            return [parse(part) for part in parts]
    return _scalar(text)


def _scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return dict(true=True, false=False).get(
        text.lower(), None if text == 'None' else text)


def _ends(text: str) -> int:
    """Where the quote or bracket that a text begins with is closed."""
    if text[0] in _QUOTES:
        end = text.find(text[0], 1) + 1
        if not end:
            raise ValueError(f'the quote in {text!r} is not closed')
        return end
    place = 1
    while place < len(text):
        if text[place] == _CLOSING[text[0]]:
            return place + 1
        place = _next(text, place)
    raise ValueError(f'the bracket in {text!r} is not closed')


def _next(text: str, place: int) -> int:
    """Step over one letter, or over all that a quote or bracket encloses.

    A quote that does not begin an element is an apostrophe.
    """
    letter = text[place]
    begins = text[:place].rstrip()[-1:] in ('', ',', *_CLOSING)
    if letter in _CLOSING or letter in _QUOTES and begins:
        return place + _ends(text[place:])
    return place + 1


def _parts(text: str) -> Iterator[str]:
    """Split at the commas that are outside of quotes and brackets."""
    place = begin = 0
    while place < len(text):
        if text[place] == ',':
            yield text[begin:place]
            begin = place + 1
        place = _next(text, place)
    if text[begin:].strip():
        yield text[begin:]
