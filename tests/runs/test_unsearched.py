"""What stays as it is written is said, and nothing that is searched."""

import pytest

from pipeline.catalogue import CATALOGUE
from pipeline.config.params import load_params
from pipeline.config.schedules import Schedule
from pipeline.runs.unsearched import in_short, unsearched
from tests.schedulers.examples import schedule


@pytest.mark.usefixtures("repository")
def test_of_a_problem_all_but_the_peak_rate_stays_as_written() -> None:
    problem = load_params(CATALOGUE).problem("diabetes")  # trained by Adam
    kept = "epochs, batch_size, model, loss, the optimizer's betas, eps, weight_decay, amsgrad, decoupled_weight_decay"
    assert unsearched([problem], {}) == kept
    assert in_short([problem], {}) == "epochs, batch_size, model, loss, the optimizer's other arguments"
    steps = {"A": schedule("StepLR", {"step_size": "30%"}), "B": schedule("StepLR", {"step_size": "30%"}, search={})}
    assert in_short([], steps) == "epochs, some arguments of 1 scheduler"


@pytest.mark.parametrize(
    ("label", "given", "kept"),
    [
        ("StepLR", schedule("StepLR", {"step_size": "30%"}), ""),
        ("Steps", schedule("StepLR", {"step_size": "30%"}, search={}), "Steps: step_size, gamma"),
        ("Cosine", schedule("CosineDecay", {}, warmup="5%"), "Cosine: warmup"),
        ("Cosine", schedule("CosineDecay", {}, warmup="0%"), ""),
        # what moves the momentum says nothing where nothing moves it; a start that a warmup settles is not searched
        ("One", schedule("OneCycleLR", {"cycle_momentum": False}), "One: max_lr, three_phase"),
        ("Line", schedule("LinearLR", {"total_iters": "50%"}, warmup="5%"), "Line: start_factor, warmup"),
    ],
)
def test_of_a_scheduler_what_no_study_tries(label: str, given: Schedule, kept: str) -> None:
    assert unsearched([], {label: given}).removeprefix("epochs; ").removeprefix("epochs") == kept
