"""Values as YAML: what a remedy prints reads the same where it is pasted."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pipeline.config import document
from pipeline.config.params import ReportParams, SweepParams, TuneParams
from pipeline.config.problem_params import ProblemParams, ScriptParams
from pipeline.config.schedules import Schedule
from pipeline.config.wording import PLACES, as_yaml, in_bytes, suggestion

NAMES = st.one_of(
    st.text(min_size=1), st.sampled_from(["Unnamed: 3", "a, b", "#x", "[", "{", "*c", "7", "1e3", "yes", "null", "''"])
)
VALUES = st.one_of(
    st.lists(NAMES), st.dictionaries(NAMES, st.one_of(st.none(), st.booleans(), st.integers(), NAMES, st.lists(NAMES)))
)


@given(value=VALUES)
def test_what_is_pasted_reads_the_same(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "pasted.yaml"
    file.write_text(f"block:\n  key: {as_yaml(value)}\nflow: {{key: {as_yaml(value)}, other: 1}}\n", encoding="utf-8")
    _, read = document.read(Path(file))
    assert read == {"block": {"key": value}, "flow": {"key": value, "other": 1}}


def test_plain_words_stay_plain() -> None:
    assert (
        as_yaml({"drop": ["sex", "home.dest", "Sales 2024"], "header": None})
        == "{drop: [sex, home.dest, Sales 2024], header: null}"
    )


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (999.6, "1 kB"),
        (1234, "1.23 kB"),
        (2e8, "200 MB"),
        (9.996e8, "1 GB"),
        (1.34e12, "1,340 GB"),
    ],
)
def test_bytes_have_three_digits_in_the_unit_that_suits(size: float, said: str) -> None:
    assert in_bytes(size) == said


def test_of_many_names_the_nearest_are_told() -> None:
    names = [f"part-{number}.csv" for number in range(40)] + ["houses-2023.csv", "houses-2024.csv"]
    assert suggestion("houses-2025.csv", names[-2:], most=3).endswith("(one of houses-2023.csv, houses-2024.csv)")
    told = suggestion("houses-2025.csv", names, most=3)
    assert told.startswith("did you mean houses-202")
    assert "(one of houses-2023.csv, houses-2024.csv, part-" in told
    assert told.endswith(" and 39 more)")


def test_keys_that_are_named_with_their_place_stand_there() -> None:
    models: dict[str, list[type[BaseModel]]] = {
        "problems.NAME": [ProblemParams, ScriptParams],
        "schedulers.LABEL": [Schedule],
        "tune": [TuneParams],
        "sweep": [SweepParams],
        "report": [ReportParams],
    }
    assert models.keys() == PLACES.keys()
    for place, keys in PLACES.items():
        assert {*keys} <= {name for model in models[place] for name in model.model_fields}
