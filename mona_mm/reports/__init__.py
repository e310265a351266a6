"""Reports of runs: one data frame, and the tables, ledger and curves of it.

``records`` reads what training wrote, ``cells`` what is published, and
``frame`` joins the two. ``results`` (any runs) and ``ledger`` (all cells of
the paper) make tables of that, which ``tables`` writes. ``logs``, ``curves``
and ``figure`` draw. ``names`` knows what methods and configs are called.
"""
