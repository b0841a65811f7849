"""The samplers by name; tests/search/test_study.py has what a study makes of them."""

from typing import get_args

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from pipeline.config.params import SamplerName
from pipeline.search.samplers import applicable, new_sampler

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # as a study has it
NAMES = get_args(SamplerName)
SPACE = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(1e-3, 1.0, log=True)}


def suggested(name: SamplerName, study_seed: int, round_seed: int, count: int = 12) -> list[dict[str, float]]:
    """Parameters of trials that are told at once; enough for every sampler to have begun with its own ways."""
    study = optuna.create_study(sampler=new_sampler(name, study_seed, round_seed))
    for _ in range(count):
        trial = study.ask(dict(SPACE))
        study.tell(trial, sum(trial.params.values()))
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seeds_suggest_the_same(name: SamplerName) -> None:
    assert suggested(name, 1, 2) == suggested(name, 1, 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_follows_the_studys_seed_and_all_else_the_rounds(name: SamplerName) -> None:
    before = suggested(name, 1, 2, 3)
    assert (suggested(name, 3, 2, 3) != before) == (name == "qmc")
    assert (suggested(name, 1, 3, 3) != before) == (name != "qmc")


def test_seeds_may_be_larger_than_numpys() -> None:
    assert suggested("random", 0, 2**50, 1) != suggested("random", 0, 2**50 + 1, 1)


@pytest.mark.parametrize("name", NAMES)
def test_cmaes_gives_way_to_tpe_where_it_cannot_work(name: SamplerName) -> None:
    assert applicable(name, dict(SPACE)) == name
    given_way = "tpe" if name == "cmaes" else name
    assert applicable(name, {"x": SPACE["x"]}) == given_way
    assert applicable(name, {**SPACE, "mode": CategoricalDistribution(("a", "b"))}) == given_way
