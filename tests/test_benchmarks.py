"""What the benchmarks measure: problems that fit, and a bound that is counted right. Their figures are in RESULTS.md."""

from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from benchmarks import calibrate, published, roofline
from benchmarks.defaults import default_params
from benchmarks.pools import Size
from benchmarks.problems import in_memory
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import Params, load_params
from pipeline.runs.inspection import inspect
from tests.statistics.nested import losses


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


def test_a_convolution_counts_for_the_gradients_of_its_weights_and_pixels_too() -> None:
    """64 images of 8 x 8; the pixels of the first layer, which is data, have no gradient."""
    first, second, head = 8 * 9 * 16, 16 * 8 * 9 * 4, 64 * 10  # terms: to 8 channels of 4 x 4, to 16 of 2 x 2, to 10 classes
    products = 2 * 64 * (2 * first + 3 * second + 3 * head)
    assert products < roofline.operations_of(in_memory(load_params(CATALOGUE), "images")) < 1.3 * products


def test_a_step_moves_its_state_twice_and_its_share_of_the_batch(params: Params) -> None:
    state, batch = (10 * 2 + 2) * 4, 32 * 10 * 4
    assert roofline.bytes_of(in_memory(params, "synthetic-linear")) == pytest.approx(2 * state + batch * 10 / 1000)


@pytest.mark.slow
def test_intervals_hold_the_truth_in_fresh_pools(tmp_path: Path) -> None:
    """A small version of ``make calibrate``: intervals that are far too narrow, or far too wide, are found here."""
    found = calibrate.pools(tmp_path, Size(pools=10, seeds=6, trials=2, fresh=40, others=20))
    table = calibrate.shares(found)
    of_all = table[table["scheduler"] == "all"]
    assert list(of_all.index) == ["default", "tuned", "recommended"]
    assert (of_all["intervals"] == 30).all()
    assert (of_all[["these", "like_these"]].to_numpy() >= 0.83).all()
    assert (of_all["like_width"] > of_all["width"]).all()
    errors = (found["difference"] - found["truth"]).abs()
    assert found["half"].mul(2).div(errors).median() < 20  # and say something


@pytest.mark.slow
def test_calibration_fails_in_both_directions() -> None:
    """What is alike is rarely told apart, and what was made worse is found the more often the worse it was made."""
    rng = np.random.default_rng(0)
    noise = losses(rng, len(calibrate.LABELS), 40, share=0.2, overlap=0, spread=0.5)
    of = dict(zip(calibrate.LABELS, noise.values(), strict=True))
    tens = list(calibrate.each_ten(of))
    assert [len(own["Same0"]) for own in tens] == [10] * 4
    alarms = calibrate.average(calibrate.false_alarms(own) for own in tens)
    assert alarms["one by one"] < 0.15
    found = calibrate.power(tens[0])
    assert list(found) == ["2% worse", "5% worse", "10% worse", "20% worse"]
    assert list(found.values()) == sorted(found.values())
    assert found["2% worse"] < 0.7
    assert found["20% worse"] > 0.95
    assert calibrate.mislabelled(tens[0]) < 0.15


@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
def test_forecasts_hold_about_as_often_as_is_said() -> None:
    noise = losses(np.random.default_rng(1), len(calibrate.LABELS), 40, share=0.2, overlap=0, spread=0.3)
    held = calibrate.forecasts(dict(zip(calibrate.LABELS, noise.values(), strict=True)))
    assert held["seeds needed lie in the range"] > 0.6
    assert held["are more"] < 0.3
    assert 0.5 < held["smallest difference found"] < 1
