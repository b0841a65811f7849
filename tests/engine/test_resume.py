"""A run that is killed in the middle goes on from its checkpoint, to the bytes of one that nobody disturbed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.checkpoints import Checkpoint
from pipeline.engine import loop
from pipeline.problems.models import register
from pipeline.problems.optimizers import optimizers
from pipeline.problems.optimizers import register as register_optimizer
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, collect
from pipeline.schedulers.registry import register as register_scheduler
from tests.engine.helpers import CPU, Builder, assert_same_bits, run_of
from tests.engine.test_loop import Deep
from tests.repeated import few

SCHEDULES: dict[str, dict[str, Any]] = {
    "OneCycleLR": {"args": {"max_lr": "100%"}, "lr": "50%"},
    "CosineAnnealingWarmRestarts": {"args": {"T_0": "25%"}, "warmup": "20%"},
    "ReduceLROnPlateau": {"args": {"patience": 0, "factor": 0.5}},
    "GreedyLR": {"args": {"patience": 0, "factor": 0.7, "window": 2, "min_lr": "1%", "max_lr": "100%"}},
    "SWALR": {"args": {"swa_lr": "10%", "anneal_epochs": 3}, "average": {"swa": "50%"}},
    "Mean": {"name": "LinearLR", "average": {"ema": 0.9}},
    "ScheduleFree": {},
    "WarmupStableDecay": {"interval": "batch"},
}


class Normed(nn.Module):
    """BatchNorm, whose statistics are buffers, and dropout."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, outputs))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layers(x)
        return outputs


class Counting(Normed):
    """Hides how often it was called, which no ``state_dict`` tells."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return super().forward(x) * (1 + 0.01 * self.calls)


@pytest.fixture(autouse=True)
def models(own_registries: None) -> None:
    register("normed")(Normed)
    register("counting")(Counting)
    register("deep")(Deep)


def told_of(problem: Problem, run: Run, checkpoint: Checkpoint, *, kill_at: int, search: bool = False) -> None:
    """Train until a kill behind so many epochs."""
    epochs: Iterator[Any] = loop.train(problem, run, device=CPU, search=search, checkpoint=checkpoint)
    for number, _ in enumerate(epochs, 1):
        if number == kill_at:
            return


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that are trained, which the others' blocks are not."""
    found: list[int] = []
    real = loop.Script.train_epoch

    def counted(script: loop.Script) -> float:
        found.append(1)
        return real(script)

    monkeypatch.setattr(loop.Script, "train_epoch", counted)
    return found


def assert_goes_on(problem: Problem, run: Run, path: Path, trained: list[int], *, search: bool = False) -> None:
    """Killed behind epochs 3 and 6, with a checkpoint at each epoch."""
    expected = collect([run], loop.train(problem, run, device=CPU, search=search))
    for kill_at in (3, 6):
        told_of(problem, run, Checkpoint(path, every=0.0), kill_at=kill_at, search=search)
    trained.clear()
    found = collect([run], loop.train(problem, run, device=CPU, search=search, checkpoint=Checkpoint(path)))
    assert_same_bits(found, expected)
    assert len(trained) == 4, "epochs 5 to 8: the kept one is 4, believed because 5 comes out again"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.config.checkpoints.SHARE", float("inf"))


def test_its_best_epoch_so_far_goes_on(new_problem: Builder, tmp_path: Path, trained: list[int]) -> None:
    problem = new_problem({}, model={"name": "normed"}, engine="loop", optimizer={"name": "SGD", "lr": 2.0, "momentum": 0.9})
    assert_goes_on(problem, run_of(problem, "Baseline", at="best"), tmp_path / "run.pt", trained)


@pytest.mark.parametrize("search", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("label", few(SCHEDULES, "OneCycleLR", "GreedyLR", "SWALR", "ScheduleFree"))
def test_every_kind_of_schedule_goes_on(
    new_problem: Builder, tmp_path: Path, trained: list[int], label: str, search: bool
) -> None:
    problem = new_problem({label: SCHEDULES[label]}, model={"name": "normed"}, engine="loop")
    assert_goes_on(problem, run_of(problem, label), tmp_path / "kept/run.pt", trained, search=search)


OTHERS = {"Muon": "takes matrices alone", "SparseAdam": "takes sparse gradients alone"}


@pytest.mark.parametrize(
    "name",
    few((entry.name for entry in optimizers if entry.name not in OTHERS), "SGD", "NAdam", "Adafactor", "AdamWScheduleFree"),
)
def test_every_optimizer_goes_on(new_problem: Builder, tmp_path: Path, trained: list[int], name: str) -> None:
    more = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    problem = new_problem({}, optimizer={"name": name, "lr": 0.01, **more}, model={"name": "deep"}, engine="loop")
    assert_goes_on(problem, run_of(problem, "Baseline"), tmp_path / "run.pt", trained)


def assert_begins_again(problem: Problem, label: str, path: Path, trained: list[int]) -> None:
    run = run_of(problem, label)
    expected = collect([run], loop.train(problem, run, device=CPU))
    told_of(problem, run, Checkpoint(path, every=0.0), kill_at=6)
    trained.clear()
    found = collect([run], loop.train(problem, run, device=CPU, checkpoint=Checkpoint(path)))
    assert_same_bits(found, expected)
    assert len(trained) >= problem.params.epochs


def test_what_no_state_dict_tells_begins_again(
    new_problem: Builder, tmp_path: Path, trained: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong result would be worse than a late one."""
    problem = new_problem({}, model={"name": "counting"}, engine="loop")
    assert_begins_again(problem, "Baseline", tmp_path / "run.pt", trained)
    assert "run.pt is not used: it does not lead on" in caplog.text

    @register_scheduler("Moody", live=True)
    def moody(optimizer: Any, total_steps: int) -> Any:
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        step = plateau.step
        moods.append(len(moods))

        def stepped(*figures: Any) -> None:
            step(*figures)
            optimizer.param_groups[0]["lr"] *= 1 - 0.01 * bool(optimizer.state)

        plateau.step = stepped  # type: ignore[method-assign,assignment]
        return plateau

    moods: list[int] = []
    by_state = new_problem({"Moody": {}}, optimizer={"name": "AdamW", "lr": 0.01}, model={"name": "normed"}, engine="loop")
    assert_begins_again(by_state, "Moody", tmp_path / "other.pt", trained)
    assert "the scheduler does not follow from its steps alone" in caplog.text


class Boxed(torch.optim.SGD):
    """Keeps what can be kept, and an object of its own beside it."""

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        self.state[self.param_groups[0]["params"][0]]["box"] = Path("box")
        return loss


@pytest.mark.parametrize(
    "damage", few(["cut", "flipped", "empty", "folder", "pickle", "another's", "an object's"], "flipped", "pickle", "another's")
)
def test_a_file_of_no_use_costs_time_alone(
    new_problem: Builder, tmp_path: Path, trained: list[int], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """One line says so; nothing in it is run."""
    register_optimizer("Boxed")(lambda parameters, lr=0.1: Boxed(parameters, lr))
    how = {"optimizer": {"name": "Boxed", "lr": 0.1}} if damage == "an object's" else {}
    problem = new_problem({}, model={"name": "normed"}, engine="loop", **how)
    run, path = run_of(problem, "Baseline"), tmp_path / "run.pt"
    expected = collect([run], loop.train(problem, run, device=CPU))
    told_of(problem, run, Checkpoint(path, every=0.0), kill_at=6)
    content = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "another's":
        path.unlink()
        other = new_problem({}, model={"name": "linear"}, engine="loop")
        told_of(other, run_of(other, "Baseline"), Checkpoint(path, every=0.0), kill_at=6)
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        damaged = {"cut": content[:middle], "flipped": flipped, "empty": b"", "pickle": b"cos\nsystem\n(S'false'\ntR."}
        path.write_bytes(damaged.get(damage, content))
    found = collect([run], loop.train(problem, run, device=CPU, checkpoint=Checkpoint(path)))
    assert_same_bits(found, expected)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{path} is not used: ")
    assert line.endswith("; what it was of is trained from its beginning")


def test_a_full_disk_ends_no_training(new_problem: Builder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    problem = new_problem({}, model={"name": "normed"}, engine="loop")
    run, checkpoint = run_of(problem, "Baseline"), Checkpoint(tmp_path / "file/run.pt", every=0.0)
    checkpoint.load = lambda: None  # type: ignore[method-assign]
    assert_same_bits(
        collect([run], loop.train(problem, run, device=CPU, checkpoint=checkpoint)),
        collect([run], loop.train(problem, run, device=CPU)),
    )
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{tmp_path}/file/run.pt cannot be written")
