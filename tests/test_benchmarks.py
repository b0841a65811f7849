"""What the benchmarks measure: problems that fit, and a bound that is counted right. Their figures are in RESULTS.md."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from benchmarks import published, roofline
from benchmarks.defaults import default_params
from benchmarks.problems import in_memory
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import Params, load_params
from pipeline.runs.inspection import inspect


@pytest.fixture
def params(tmp_path: Path) -> Params:
    """Those of ``make published``."""
    base = default_params()
    given = base | {"schedulers": published.SCHEDULERS, "problems": published.problems(base["problems"])}
    given["report"] = given["report"] | {"baseline": "Constant"}
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(given, file)
    return load_params(CATALOGUE, tmp_path / "params.yaml")


def test_every_published_finding_has_schedules_and_problems_that_train(params: Params) -> None:
    assert list(params.problems) == ["synthetic-linear", "synthetic-mlp", "digits-linear", "digits-mlp"]
    for name in params.problems:
        assert len(inspect(in_memory(params, name))) == len(published.SCHEDULERS)
    assert {label for claim in published.CLAIMS for label in claim[:2]} <= published.SCHEDULERS.keys()


def test_the_operations_of_a_step_are_those_counted_by_hand(params: Params) -> None:
    """32 samples, 10 features, 2 classes: two products of 32 x 10 x 2 terms, forwards and for the weights' gradient."""
    products = 2 * (2 * 32 * 10 * 2)
    assert products < roofline.operations_of(in_memory(params, "synthetic-linear")) < 1.5 * products


def test_a_step_moves_its_state_twice_and_its_share_of_the_batch(params: Params) -> None:
    state, batch = (10 * 2 + 2) * 4, 32 * 10 * 4
    assert roofline.bytes_of(in_memory(params, "synthetic-linear")) == pytest.approx(2 * state + batch * 10 / 1000)
