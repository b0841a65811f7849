"""Names of other libraries in params.yaml: what they become, what is told, and hints for those that are not taken."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.catalogue import CATALOGUE
from pipeline.commands import schedulers as gallery
from pipeline.config.errors import ParamsError
from pipeline.config.registry import folded
from pipeline.config.schedules import Schedule
from pipeline.schedulers.aliases import HINTS, HUGGING_FACE, TIMM, told
from pipeline.schedulers.registry import schedulers
from tests.fixtures import Edited
from tests.schedulers.known import of_ours, of_timm, of_transformers, timm, transformers

STEPS, PEAK, WARMUP = 100, 0.3, 10


def test_every_name_of_both_libraries_is_taken() -> None:
    assert HUGGING_FACE.keys() == {each.value for each in transformers().TYPE_TO_SCHEDULER_FUNCTION}
    factory = inspect.getsource(timm().create_scheduler_v2).partition('"""')[2].partition('"""')[2]
    named = " ".join(re.findall(r"sched (?:==|!=|in) (.*):", factory))
    assert TIMM.keys() | {"cosine", "constant"} == {*re.findall(r"'(\w+)'", named)}


# Hugging Face's name → its own arguments and ours, beside a warmup of 10 of 100 steps
DEFAULTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "linear": ({}, {}),
    "cosine": ({}, {}),
    "cosine_with_restarts": ({}, {}),
    "polynomial": ({}, {}),
    "constant_with_warmup": ({}, {}),
    "cosine_with_min_lr": ({"min_lr_rate": 0.1}, {}),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_goes_with_a_name_are_its_defaults(name: str) -> None:
    theirs, ours = DEFAULTS[name]
    found = of_ours(name, ours, STEPS, PEAK, WARMUP)
    np.testing.assert_allclose(found, of_transformers(name, STEPS, PEAK, WARMUP, **theirs), rtol=1e-12, atol=1e-15)


# and those whose warmup is among the arguments
OWN_WARMUP: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "constant": (lambda: of_transformers("constant", STEPS, PEAK), {}),
    "inverse_sqrt": (lambda: of_transformers("inverse_sqrt", STEPS, PEAK, WARMUP), {"warmup": WARMUP}),
    "warmup_stable_decay": (
        lambda: of_transformers("warmup_stable_decay", STEPS, PEAK, WARMUP, num_decay_steps=20),
        {"warmup": WARMUP, "decay": 20},
    ),
    "cosine_warmup_with_min_lr": (
        lambda: of_transformers("cosine_warmup_with_min_lr", STEPS, PEAK, WARMUP, min_lr_rate=0.1, warmup_lr_rate=0.2),
        {"warmup": WARMUP - 1, "first": STEPS - WARMUP, "final": "10%", "start": "20%"},
    ),
    "tanh": (lambda: of_timm("TanhLRScheduler", STEPS, PEAK, t_initial=STEPS, warmup_t=WARMUP), {"warmup": WARMUP}),
    "poly": (lambda: of_timm("PolyLRScheduler", STEPS, PEAK, t_initial=STEPS, warmup_t=WARMUP), {"warmup": WARMUP}),
    "step": (lambda: of_timm("StepLRScheduler", STEPS, PEAK, decay_t=30, decay_rate=0.1), {"every": 30}),
    "multistep": (lambda: of_timm("MultiStepLRScheduler", STEPS, PEAK, decay_t=[30, 60], decay_rate=0.1), {"at": [29, 59]}),
    "wsd": (lambda: of_timm("WSDLRScheduler", STEPS, PEAK, t_initial=STEPS, decay_t=20), {}),
    "rsqrt": (
        lambda: of_timm(
            "WSDLRScheduler", STEPS, PEAK, t_initial=90, decay_t=18, warmup_t=10, stable_fn="rsqrt", decay_fn="linear"
        ),
        {"warmup": 10, "decay": 18, "timescale": 10},
    ),
    "none": (lambda: np.full(STEPS, PEAK), {}),
}


@pytest.mark.parametrize("name", OWN_WARMUP)
def test_a_name_with_its_own_warmup(name: str) -> None:
    theirs, ours = OWN_WARMUP[name]
    np.testing.assert_allclose(of_ours(name, ours, STEPS, PEAK), theirs(), rtol=1e-12, atol=1e-15)


def read(entry: dict[str, Any]) -> Schedule:
    return Schedule.model_validate(entry, context=CATALOGUE)


def test_what_is_written_holds() -> None:
    assert read({"name": "cosine", "args": {"final": "5%"}}).args == {"final": "5%"}
    assert read({"name": "tanh"}).interval == "epoch"
    assert read({"name": "tanh", "interval": "batch"}).interval == "batch"
    assert read({"name": "linear"}) == read({"name": "LinearDecay"})


@pytest.mark.usefixtures("own_registries")
def test_a_scheduler_of_the_users_own_keeps_its_name() -> None:
    from pipeline.schedulers.builtin import step_lr
    from pipeline.schedulers.registry import register

    register("step")(step_lr)
    assert read({"name": "step", "args": {"step_size": 3}}).name == "step"


def test_one_of_their_arguments_is_told_with_ours() -> None:
    with pytest.raises(ValidationError) as error:
        read({"name": "cosine_with_restarts", "args": {"num_cycles": 3}})
    (told,) = error.value.errors()
    assert told["loc"] == ("args", "num_cycles")
    assert told["msg"] == "is not an argument of CosineRestarts, which cosine_with_restarts is here"
    assert told["ctx"]["right"] == "num_warmup_steps is the entry's `warmup`, num_cycles is cycles"


def test_each_is_told_of_once() -> None:
    data: dict[str, Any] = {
        "schedulers": {"cosine": {"warmup": "5%"}, "Mine": {"name": "tanh"}, "StepLR": {}},
        "problems": {"a": {}, "b": {"schedulers": {"greedy": {}}}},
    }
    first, second = told(data, "a")
    assert first.startswith("schedulers.cosine: Hugging Face's cosine is CosineDecay {final: 0%} here; num_warmup_steps is")
    assert second.startswith("schedulers.Mine: timm's tanh is Annealing {shape: tanh}, interval: epoch here; t_initial,")
    (own,) = told(data, "b")
    assert own.startswith("problems.b.schedulers.greedy: Hugging Face's greedy is GreedyLR here; ")


@pytest.mark.parametrize("name", [*HINTS, "fit_one_cycle", "ExponentialDecay", "CosineDecayRestarts", "PiecewiseConstantDecay"])
def test_other_names_are_refused_with_what_to_write(name: str) -> None:
    with pytest.raises(ValidationError) as error:
        read({"name": name})
    assert error.value.errors()[0]["ctx"]["right"] == HINTS[folded(name)]


@pytest.mark.parametrize("hint", sorted({*HINTS.values()}), ids=lambda hint: hint[:40])
def test_a_hint_names_what_there_is(hint: str) -> None:
    """Schedulers by their names, and arguments that they have."""
    for name, written in re.findall(r"([A-Z]\w+) \{(.*?)\}", hint):
        arguments = re.findall(r"(\w+):", written)
        assert {*arguments} <= schedulers[name].arguments.model_fields.keys()


@pytest.mark.parametrize("name", schedulers.aliases)
def test_what_a_name_stands_for_fits_its_signature(name: str) -> None:
    alias = schedulers.aliases[name]
    schedulers[alias.name].check(dict(alias.args))


def test_near_names_lead_to_the_one_that_is_taken(edited: Edited) -> None:
    with pytest.raises(ParamsError, match=r"schedulers\.REX\.name: is not a registered scheduler .*; did you mean linear\?"):
        edited(("  REX: {", "  REX: {name: Linear, "))


def test_the_gallery_says_what_a_name_became(edited: Edited, capsys: pytest.CaptureFixture[str]) -> None:
    edited(("  REX: {", "  REX: {name: linear, "))
    gallery.main(["synthetic"])
    assert "schedulers.REX: Hugging Face's linear is LinearDecay here; num_warmup_steps is" in capsys.readouterr().out
