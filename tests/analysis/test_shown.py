"""Tables of evidence on their way to the page."""

import pandas as pd

from pipeline.analysis.shown import FOLDS, TABLES, tables


def test_every_table_stands_in_a_fold_that_there_is() -> None:
    assert {table.fold for table in TABLES} <= set(FOLDS)
    assert len({table.name for table in TABLES}) == len(TABLES)


def test_rows_come_in_the_order_of_the_schedulers_and_columns_as_listed() -> None:
    widths = pd.DataFrame({"problem": "P", "scheduler": ["A", "B"], "best_lr": [0.1, 0.2], "at_edge": [True, False]})
    (found,) = tables("rate", {"widths": widths, "gains": widths}, ["B", "A"])
    assert [column.heading for column in found.columns] == ["Scheduler", "Best peak rate", "At the edge"]
    assert [column.form for column in found.columns] == ["text", "rate", "text"]
    assert [row["scheduler"] for row in found.rows] == ["B", "A"]


def test_of_what_there_are_no_rows_nothing_is_shown_nor_columns_that_a_table_has_not() -> None:
    table = pd.DataFrame({"problem": ["P"], "level": [0.05], "settled": [3]})
    (found,) = tables("sure", {"looks": table, "last_or_best": table.head(0)}, [])
    shown = [(column.heading, column.form) for column in found.columns]
    assert shown == [("Error allowed at this look", "share"), ("Settled", "text")]
    assert tables("noise", {}, []) == []
