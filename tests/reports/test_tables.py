"""The writers of tables."""
import pandas as pd

from mona_mm.reports.tables import Entry, csv_text, markdown


def test_markdown_shows_fields_as_they_are():
    rows = [['<i>[x](y)`', '1,000'],
            [Entry('a_b', bold=True, link='../a b.py'), '2\n3']]
    assert markdown(['a|b', 'n'], rows).splitlines() == [
        r'| a\|b | n |', '| --- | ---: |',
        r'| &lt;i&gt;[x]\(y)\` | 1,000 |', '| **[a_b](../a%20b.py)** | 2 3 |']


def test_padded_columns_are_aligned_as_text():
    text = markdown(['name', 'ms'], [['a', '1,000'], ['longer', '2']],
                    padded=True)
    assert text.splitlines() == ['| name   |    ms |', '| ------ | ----: |',
                                 '| a      | 1,000 |', '| longer |     2 |']


def test_csv_keeps_whole_numbers_beside_gaps():
    frame = pd.DataFrame(dict(n=[1, None], what=[('a', 'b'), ()],
                              x=['=1', '-']), dtype=object)
    assert csv_text(frame) == "n,what,x\n1,a; b,'=1\n,,'-\n"
