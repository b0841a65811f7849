"""How a training is done: in compiled code, or as tensors where that is asked for, not worth it, or not possible."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.engine import cache, compiler, memory, stacked, training
from pipeline.engine.lanes.operations import REDUCTIONS
from pipeline.engine.names import name_of
from pipeline.engine.stacked import StackError
from pipeline.problems.models import register as register_model
from pipeline.problems.problem import Problem
from pipeline.problems.run import History, collect
from pipeline.runs.obtain import obtain
from tests.engine.helpers import CPU, Builder, assert_close, numbers_of, run_of

SCHEDULES: dict[str, dict[str, Any]] = {"StepLR": {"args": {"step_size": "30%"}}}


@pytest.fixture(autouse=True)
def nothing_told_yet() -> Iterator[None]:
    training.tell.cache_clear()
    compiler.machine.cache_clear()
    yield
    compiler.machine.cache_clear()


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """No training is too short to be compiled."""
    monkeypatch.setattr(training, "WORTH_COMPILING", 0)


@pytest.fixture
def makes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the programs that were made."""
    made: list[str] = []
    for module, name in ((training, "LaneProgram"), (stacked, "TensorProgram")):
        original = getattr(module, name)

        def note(*given: Any, original: Any = original, name: str = name, **options: Any) -> Any:
            program = original(*given, **options)
            made.append(name)
            return program

        monkeypatch.setattr(module, name, note)
    return made


def trained(problem: Problem, seeds: int = 2) -> History:
    runs = [run_of(problem, "StepLR", seed) for seed in range(seeds)]
    return collect(runs, training.train(problem, runs, device=CPU, dtype=torch.float64))


@pytest.mark.parametrize(
    ("asked", "epochs", "program"),
    [
        ("auto", 16, "TensorProgram"),
        ("auto", 17, "LaneProgram"),
        ("compiled", 8, "LaneProgram"),
        ("tensors", 500, "TensorProgram"),
    ],
)
def test_steps_decide_what_is_compiled(new_problem: Builder, makes: list[str], asked: str, epochs: int, program: str) -> None:
    """17 epochs of 6 steps are 102. The number of runs has no say, nor has a smaller budget."""
    problem = new_problem(SCHEDULES, epochs=epochs, engine=asked)
    for seeds, budget in ((1, epochs), (3, epochs), (2, 1)):
        runs = [run_of(problem, "StepLR", seed, epochs=budget) for seed in range(seeds)]
        next(training.train(problem, runs, device=CPU))
    assert makes == [program] * 3


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("broken", ["no-such-compiler", "false"])
def test_without_a_compiler_tensors_do_it_and_one_line_says_so(
    new_problem: Builder,
    makes: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
    tmp_path: Any,
) -> None:
    problem = new_problem(SCHEDULES)
    expected = trained(problem)
    compiler.machine.cache_clear()
    monkeypatch.setenv("CC", broken)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if broken == "no-such-compiler":
        monkeypatch.setattr("shutil.which", lambda name: None)
    with caplog.at_level(logging.WARNING):
        found = [trained(problem), trained(problem)]
    assert makes == ["LaneProgram", "TensorProgram", "TensorProgram"]
    (record,) = caplog.records
    assert "training the model linear without compiled code, which is slower: " in record.getMessage()
    assert ("apt install gcc" if broken == "no-such-compiler" else "false fails") in record.getMessage()
    for name, values in numbers_of(expected).items():
        assert_close(numbers_of(found[0])[name], values, 1e-10)


@pytest.mark.usefixtures("always")
@pytest.mark.usefixtures("own_registries")
def test_a_model_that_cannot_be_compiled_trains_as_tensors(
    new_problem: Builder, makes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Cumulative(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.layer = nn.Linear(inputs, outputs)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.logcumsumexp(dim=1))  # type: ignore[no-any-return]

    register_model("cumulative")(Cumulative)
    problem = new_problem(SCHEDULES, model={"name": "cumulative"})
    with caplog.at_level(logging.WARNING):
        trained(problem)
    assert makes == ["TensorProgram"]
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "problem small: training the model cumulative without compiled code, which is slower: "
    )
    assert record.getMessage().endswith("of the operation aten.logcumsumexp in the model Cumulative")


@pytest.mark.parametrize(("width", "one_by_one"), [pytest.param(200, False, marks=pytest.mark.slow), (2000, True)])
@pytest.mark.usefixtures("always", "own_registries")
def test_a_model_whose_products_are_large_trains_run_by_run(
    new_problem: Builder, makes: list[str], caplog: pytest.LogCaptureFixture, width: int, one_by_one: bool
) -> None:
    """In a step of 16 samples a product of such a width takes 0.6 or 64 million multiplications."""
    register_model("wide")(lambda inputs, outputs: nn.Sequential(nn.LazyLinear(width), nn.Linear(width, width), nn.ReLU()))
    problem = new_problem(SCHEDULES, model={"name": "wide"}, batch_size=16, epochs=1)
    with caplog.at_level(logging.WARNING):
        trained(problem)
    assert makes == [] if one_by_one else ["LaneProgram"]
    told = [record.getMessage() for record in caplog.records]
    line = "problem small: training run by run, which is as fast: its model is large enough to keep a core busy by itself"
    assert told == [line] * one_by_one


@pytest.mark.usefixtures("always")
def test_a_model_that_is_compiled_wrongly_trains_as_tensors(
    new_problem: Builder, makes: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    problem = new_problem(SCHEDULES)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(REDUCTIONS, torch.ops.aten.sum.default, REDUCTIONS[torch.ops.aten.mean.default])
    with caplog.at_level(logging.WARNING):
        trained(problem)
    assert makes == ["TensorProgram"]
    (record,) = caplog.records
    assert (
        "training the model linear without compiled code, which is slower: its compiled code does not " in record.getMessage()
    )


def test_models_too_large_to_be_side_by_side_train_one_by_one(new_problem: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """First those whose activations are, then those whose parameters are; however many runs there are."""
    problem = new_problem(SCHEDULES, epochs=100)
    optimizer = problem.params.optimizer
    assert training.ways(problem, optimizer, CPU) == ("compiled", "tensors", "loop")
    monkeypatch.setattr(memory, "IN_MEMORY", 200_000)
    assert training.ways(problem, optimizer, CPU) == ("compiled", "loop")
    monkeypatch.setattr(memory, "IN_MEMORY", 2_000)
    assert training.ways(problem, optimizer, CPU) == ("loop",)


def test_fingerprints_name_the_compiler(new_problem: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code may round in another way, so that results of both are never taken for the same."""
    problem, same = new_problem(SCHEDULES), new_problem(SCHEDULES)
    name = name_of(problem, run_of(problem, "StepLR"), CPU)
    assert name == name_of(same, run_of(same, "StepLR"), CPU)
    monkeypatch.setattr(compiler, "identity", lambda: "another")
    assert name_of(problem, run_of(problem, "StepLR"), CPU) != name


@pytest.mark.usefixtures("own_registries")
def test_compiled_code_that_is_insisted_on_or_an_error(new_problem: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    compiler.machine.cache_clear()
    problem = new_problem(SCHEDULES, engine="compiled")
    with pytest.raises(StackError, match=r"problem small cannot be compiled: there is no C compiler .*Write `engine: auto`"):
        trained(problem)


@pytest.mark.usefixtures("always")
def test_a_compiler_that_fails_once_leaves_no_numbers_of_another_way(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They would be kept under the name of compiled code."""

    def full(*_: object) -> bytes:
        raise compiler.NoCompilerError("cc fails: No space left on device")

    problem = new_problem(SCHEDULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    run = run_of(problem, "StepLR")
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        patch.setattr(cache, "_chosen", {})
        patch.setattr(compiler, "_compiled", full)
        with pytest.raises(StackError, match=r"small: cc fails: No space left .*; mend that, or write `engine: tensors`"):
            obtain(problem, [run], CPU, title="test")
    found, right = obtain(problem, [run], CPU, title="test"), collect([run], training.train(problem, [run], device=CPU))
    assert found.curves.validation_loss.tobytes() == right.curves.validation_loss.tobytes()
