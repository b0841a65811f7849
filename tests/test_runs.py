"""Runs, histories, fingerprints and random streams."""

import shutil
from collections.abc import Generator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline import runs
from pipeline.params import Schedule
from pipeline.runs import CURVES, Block, Floats, History, Outcome, Run, collect, fingerprint, run_fingerprint, select, stream
from scripts.stage_deps import needed
from tests.conftest import ROOT

RUN = Run("label", Schedule(name="StepLR", args={"step_size": "30%"}), seed=0, epochs=10)


def block(first_epoch: int, epochs: int, runs: int = 3) -> Block:
    """Every figure tells its epoch and run: 10 × epoch + run."""
    figures: Floats = 10.0 * np.arange(first_epoch, first_epoch + epochs, dtype=np.float64)[:, None] + np.arange(runs)
    return Block(first_epoch, **dict.fromkeys(CURVES, figures))


def outcome(initial: Floats, finite: list[bool], final: Floats | None = None) -> Outcome:
    """Of runs whose batches stray by 0.1 from their initial loss."""
    runs = np.arange(len(finite), dtype=float)
    losses = initial, np.full_like(initial, 0.1), initial if final is None else final
    return Outcome(*losses, np.array(finite), runs, runs / 10, {"w": torch.arange(float(len(finite))).reshape(-1, 1)})


def finished(final: list[float], initial: list[float], finite: list[bool]) -> History:
    """Runs that end there in evaluation mode; as they were trained, with dropout, they ended far above it."""
    curves = Block(1, **dict.fromkeys(CURVES, np.array([[0.0] * len(final), [100.0] * len(final)])))
    return History((RUN,) * len(final), curves, outcome(np.array(initial), finite, np.array(final)))


def test_blocks_are_joined_and_heard_as_they_are_done() -> None:
    heard: list[int] = []
    end = outcome(np.ones(3), [True] * 3)

    def training() -> Generator[Block, None, Outcome]:
        for first, epochs in ((1, 2), (3, 1), (4, 3)):
            yield block(first, epochs)
            assert heard[-1] == first
        return end

    history = collect([RUN] * 3, training(), lambda done: heard.append(done.first_epoch))
    assert heard == [1, 3, 4]
    assert history.curves.first_epoch == 1
    assert history.outcome is end
    for name in CURVES:
        np.testing.assert_array_equal(getattr(history.curves, name), block(1, 6).lr)


def test_chosen_runs_keep_all_that_is_theirs() -> None:
    runs = [replace(RUN, seed=seed) for seed in range(3)]
    history = History(tuple(runs), block(1, 2), outcome(np.array([5.0, 6.0, 7.0]), [True, False, True]))
    chosen = select(history, [2, 1])
    assert [run.seed for run in chosen.runs] == [2, 1]
    for name in CURVES:
        assert getattr(chosen.curves, name).tolist() == [[12.0, 11.0], [22.0, 21.0]]
    assert chosen.outcome.initial_loss.tolist() == [7.0, 6.0]
    assert chosen.outcome.finite.tolist() == [True, False]
    assert chosen.outcome.test_loss.tolist() == [2.0, 1.0]
    assert chosen.outcome.test_metric.tolist() == [0.2, 0.1]
    assert chosen.outcome.weights["w"].tolist() == [[2.0], [1.0]]


@pytest.mark.parametrize(
    ("final", "initial", "finite", "diverged"),
    [
        (1.0, 2.0, True, False),
        (2.0, 2.0, True, False),
        (2.2, 2.0, True, False),  # the noise of a batch
        (2.4, 2.0, True, True),
        (1.0, 2.0, False, True),
        (np.nan, 2.0, True, True),
        (np.inf, 2.0, True, True),
        (1.0, np.nan, True, True),
    ],
)
def test_diverged(final: float, initial: float, finite: bool, diverged: bool) -> None:
    history = finished([final, 0.5], [initial, 1.0], [finite, True])
    assert history.diverged.tolist() == [diverged, False]


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 50)), unique=True, min_size=2, max_size=20))
def test_streams_of_different_names_differ(names: list[tuple[str, int]]) -> None:
    seeds = [stream(name, "problem", seed) for name, seed in names]
    assert len(set(seeds)) == len(names)
    assert all(0 <= seed < 2**56 for seed in seeds)


def test_names_of_a_stream_do_not_run_together() -> None:
    assert stream("a", "b c") != stream("a", "b", "c") != stream("a b", "c")


def test_streams_and_fingerprints_never_change() -> None:
    """Measured once: another value would give every seed other splits and weights than in earlier results."""
    assert stream("split", "synthetic", 0) == 44093865194508943
    assert fingerprint("a", {"b": 1}) == "8b5348e0de4f9e59"


def test_a_fingerprint_does_not_follow_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint("a", "b") != fingerprint("b", "a") != fingerprint("ab")


NOT_DEFINING = {
    "they read, write and tell": {
        "catalogue.py", "champion.py", "cli.py", "errors.py", "progress.py", "record.py", "results.py", "stages/__init__.py",
        "stages/train.py", "stores.py", "wording.py",
    },
    "what comes of them is in the fingerprint itself": {"document.py", "params.py", "spaces.py"},
    "it warns, and takes one name for another": {"schedulers/traps.py", "schedulers/aliases.py"},
    "they say where what is done, and keep what would be found again": {"cache.py", "hands.py", "obtain.py", "store.py"},
    "what is the user's counts function by function": {"custom.py", "own.py", "sources.py"},
}  # fmt: skip


def read_anew() -> str:
    """The fingerprint of the code as another process would have it."""
    runs._sources.cache_clear()
    return runs.code_fingerprint()


def test_the_fingerprint_of_the_code_follows_every_file_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drift: each file that the stage runs on is changed in turn, in a copy of the package."""
    package = tmp_path / "pipeline"
    shutil.copytree(ROOT / "pipeline", package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(runs, "__file__", str(package / "runs.py"))
    before = read_anew()
    followed = set()
    used = {path.relative_to(ROOT / "pipeline").as_posix() for path in needed("train")}
    assert {"engine/loop.py", "engine/lanes/lanes.c"} <= used
    for file in used:
        content = (package / file).read_bytes()
        (package / file).write_bytes(content + b"\n")
        followed |= {file} if read_anew() != before else set()
        (package / file).write_bytes(content)
    assert read_anew() == before
    assert used - followed == set().union(*NOT_DEFINING.values())


@pytest.mark.parametrize("package", ["numpy", "schedulefree", "torchmetrics"])
def test_the_fingerprint_of_the_code_follows_what_it_runs_on(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = runs.code_fingerprint()
    runs._versions.cache_clear()
    monkeypatch.setattr(runs, "version", lambda asked: "0" if asked == package else version(asked))
    after = runs.code_fingerprint()
    runs._versions.cache_clear()
    assert after != before


OTHERS = [
    replace(RUN, label="other"),
    replace(RUN, variant="tuned"),
    replace(RUN, seed=1),
    replace(RUN, epochs=11),
    replace(RUN, stream="tune"),
    replace(RUN, schedule=Schedule(name="StepLR", args={"step_size": "31%"})),
    replace(RUN, schedule=Schedule(name="StepLR", args={"step_size": "30%"}, lr="50%")),
    replace(RUN, schedule=Schedule(name="StepLR", args={"step_size": "30%"}, interval="batch")),
    replace(RUN, schedule=Schedule(name="Other", args={"step_size": "30%"})),
]


def test_a_runs_fingerprint_tells_all_that_defines_it() -> None:
    names = [run_fingerprint(run, "problem") for run in [RUN, *OTHERS]] + [run_fingerprint(RUN, "other")]
    assert len(set(names)) == len(names)
    assert run_fingerprint(replace(RUN), "problem") == names[0]
