"""A race as the report tells it, from its runs alone."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.racing import COLUMNS, looks, sentence
from pipeline.analysis.tables import ProblemResults
from pipeline.statistics.sequential import Plan
from pipeline.statistics.sequential import looks as looks_at
from tests.fixtures import Edited
from tests.statistics.nested import losses

MakeRuns = Callable[..., pd.DataFrame]
PLAN = Plan(6, 40)


@pytest.fixture
def raced(make_runs: MakeRuns, edited: Edited) -> Callable[..., ProblemResults]:
    """A problem raced to its end over these losses, beside runs as written that have other seeds."""

    def to_the_end(effects: list[float], spread: float, most: int = 40) -> ProblemResults:
        of = losses(np.random.default_rng(5), len(effects), most, effects=effects, spread=spread)
        plan = Plan(6, most)
        *_, end = looks_at(of, "S00", plan)
        own = {("recommended", label): list(map(tuple, values[: end.seeds])) for label, values in of.items()}
        runs = make_runs({("default", "S00"): [0.1, 0.2, 0.3], **own})
        return ProblemResults("synthetic", edited().problem("synthetic"), runs, pd.DataFrame(), plan=plan)

    return to_the_end


def test_each_look_says_what_was_settled_by_then(raced: Callable[..., ProblemResults]) -> None:
    results = raced([0, 1, 2], 0.4)
    table = looks(results, "S00", 0.01)
    assert list(table["seeds"]) == list(PLAN.looks[: len(table)])
    assert list(table["level"]) == [PLAN.levels()[n] for n in table["seeds"]]
    assert set(table["comparisons"]) == {5}  # two with the baseline, three with the best
    assert table["settled"].iloc[-1] == 5 > table["settled"].iloc[0]
    said = sentence(results, table)
    assert f"it settled 5 of 5 comparisons on {table['seeds'].iloc[-1]} fresh seeds. Its differences" in said


def test_why_a_race_ended_unsettled(raced: Callable[..., ProblemResults]) -> None:
    hopeless = raced([0, 0, 0], 3.0)
    table = looks(hopeless, "S00", 0.01)
    assert table["hopeless"].iloc[-1] > 0
    assert table["seeds"].iloc[-1] < 40
    assert f"on {table['seeds'].iloc[-1]} fresh seeds, and 40 would hardly settle more. " in sentence(hopeless, table)
    short = raced([0, 0.9, 1], 1.0, most=8)
    assert "on 8 fresh seeds, as many as there may be. " in sentence(short, looks(short, "S00", 0.01))


def test_where_nothing_was_raced_there_is_nothing_to_tell(make_runs: MakeRuns, edited: Edited) -> None:
    for runs, plan in (
        (make_runs({("recommended", "S00"): [0.1, 0.2]}), None),
        (make_runs({("tuned", "S00"): [0.1, 0.2]}), PLAN),
    ):
        results = ProblemResults("synthetic", edited().problem("synthetic"), runs, pd.DataFrame(), plan=plan)
        table = looks(results, "S00", 0.01)
        assert table.empty
        assert list(table) == list(COLUMNS)
        assert sentence(results, table) == ""
