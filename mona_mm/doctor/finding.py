"""One line of the doctor's report."""
from typing import Iterable, NamedTuple

OK, NOTE, WRONG = 'ok', 'note', 'WRONG'


class Finding(NamedTuple):
    """What was looked at, and how it is.

    Attributes:
        level (str): ``OK``, ``NOTE`` (nothing to mend) or ``WRONG``.
        subject (str): What was looked at.
        text (str): How it is; for ``WRONG``, what to do as well.
    """
    level: str
    subject: str
    text: str


def show(title: str, findings: Iterable[Finding]) -> bool:
    """Print findings as they come.

    Args:
        title (str): The heading above them.
        findings (Iterable[Finding]): May be a generator.

    Returns:
        bool: Whether nothing is wrong.
    """
    print(f'\n{title}')
    sound = True
    for level, subject, text in findings:
        first, *more = text.splitlines() or ['']
        print(f'  {level:5}  {subject:12}  {first}', flush=True)
        for line in more:
            print(f'{"":23}{line}')
        sound &= level != WRONG
    return sound
