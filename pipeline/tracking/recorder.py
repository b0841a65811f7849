"""A stage's runs as MLflow has them: names, tags, params, curves and final figures."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.config import files
from pipeline.problems.run import CURVES, Block
from pipeline.tracking.connection import connect
from pipeline.tracking.rows import NewRun, describe
from pipeline.tracking.tracker import Description, Places

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

FIGURES = ("test_loss", "test_metric")
SHOWN_AS = {
    "lr": "schedule/lr", "momentum": "schedule/momentum", "train_loss": "loss/train", "validation_loss": "loss/validation",
    "validation_metric": "metric/validation", "test_loss": "loss/test", "test_metric": "metric/test",
}  # fmt: skip
"""What MLflow calls each curve and figure: what stands before the slash is a group of charts."""
LONGEST = 6000
"""Characters of a param; MLflow's own limit, beyond which it refuses the run."""
Figures = dict[str, dict[str, float]]
"""Run → name → value."""


class Recorder:
    """Writes the runs of one stage to MLflow. What is there already is neither changed nor doubled.

    ``origin`` tags new runs with where they come from.
    """

    def __init__(self, problem: str, stage: str, described: Sequence[Description], origin: Mapping[str, str]) -> None:
        self._problem = problem
        self._client, self._experiment, self._store = connect(problem)
        self._tags = {"problem": problem, "stage": stage, "diverged": "false", **origin}
        self._measured: set[str] = set()
        known = self._store.known(self._experiment, stage)
        # The runs to be written: fingerprint → (place in the stack, MLflow's run id)
        self._open: dict[str, tuple[int, str]] = {}
        new = []
        for place, row in enumerate(described):
            run_id, is_finished = known.get(row["run"], ("", False))
            if not run_id:
                new.append((place, row))
            elif not is_finished:
                self._open[row["run"]] = (place, run_id)
                self._resume(row, run_id)
        created = self._store.create(self._experiment, [self._as_new(row) for _, row in new])
        self._open |= {row["run"]: (place, run_id) for (place, row), run_id in zip(new, created, strict=True)}
        self.ids = {fingerprint: run_id for fingerprint, (run_id, _) in known.items()}
        """MLflow's ids of all runs of the stage, by fingerprint."""
        self.ids |= {fingerprint: run_id for fingerprint, (_, run_id) in self._open.items()}
        self._epochs = {row["run"]: int(row["epochs"]) for row in described}

    @property
    def is_complete(self) -> bool:
        """Whether MLflow has all of the runs, finished."""
        return not self._open

    def log(self, blocks: Sequence[tuple[Block, Places]]) -> None:
        """Write blocks of curves of the runs at these places. A curve of NaN only was not measured and is left out."""
        run_at = dict(self._open.values())
        for block, places in blocks:
            self._measured |= {name for name in CURVES if not np.isnan(getattr(block, name)).all()}
            measured = sorted(self._measured)
            self._store.log(
                (run_at[place], _points(block, column, measured)) for column, place in enumerate(places) if place in run_at
            )

    def finish(self, runs: pd.DataFrame) -> None:
        """Write the final figures in a ``results.run_table`` and mark the runs FINISHED."""
        figures = _figures(runs)
        self._store.log(
            (run_id, [(SHOWN_AS[name], figures[run][name], self._epochs[run]) for name in FIGURES if name in figures[run]])
            for run, (_, run_id) in self._open.items()
        )
        self._store.finish({run_id: figures[run]["diverged"] > 0 for run, (_, run_id) in self._open.items()})
        self._open = {}

    def abandon(self, status: str) -> None:
        """Mark the runs that are not finished."""
        while self._open:
            _, (_, run_id) = self._open.popitem()
            self._client.set_terminated(run_id, status)

    def _as_new(self, row: Description) -> "NewRun":
        name = f"{row['scheduler']}/{row['variant']}/{row['seed']}" + (f"/{row['stream']}" if row["stream"] > 1 else "")
        tags = {name: str(row[name]) for name in ("variant", "scheduler", "seed", "device", "metric")}
        tags = {**self._tags, **tags, "fingerprint": row["run"]}
        return NewRun(name, tags, _params(row), _dataset(self._problem, row["dataset"]))

    def _resume(self, row: Description, run_id: str) -> None:
        """Go on with a run that is there and not finished; the params and inputs it lacks are added."""
        self._client.update_run(run_id, status="RUNNING")
        described, there = self._as_new(row), self._client.get_run(run_id).data.params
        lacking = {name: value for name, value in described.params.items() if name not in there}
        describe(self._client, run_id, lacking, described.dataset)


def _points(block: Block, column: int, measured: Sequence[str]) -> list[tuple[str, float, int]]:
    """The metrics of one of a block's runs: name, value and epoch."""
    values = {name: getattr(block, name)[:, column].tolist() for name in measured}
    return [(SHOWN_AS[name], value, epoch) for name in measured for epoch, value in enumerate(values[name], block.first_epoch)]


def _params(row: Description) -> dict[str, str]:
    """What MLflow's compare view shows: ``args.step_size`` as written (30%), ``resolved.step_size`` in torch's numbers (30)."""
    optimizer = json.loads(row["optimizer"])
    named = ("scheduler", "variant", "seed", "stream", "epochs", "name", "interval", "warmup")
    params = {name: str(row[name]) for name in named}
    params |= {"lr": str(float(row["lr"])), "optimizer": optimizer["name"]}
    groups = {"args": json.loads(row["args"]), "resolved": json.loads(row["resolved"])}
    groups |= {"optimizer": optimizer["args"], "average": optimizer.get("average", {})}
    return params | {
        f"{group}.{name}": _cut(value if isinstance(value, str) else json.dumps(value))
        for group, values in groups.items()
        for name, value in values.items()
    }


def _cut(text: str) -> str:
    """A text as long as MLflow takes it; the whole of it is in ``runs.parquet``."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _dataset(problem: str, digest: str) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": files.dataset_path(problem).as_posix()})
    return DatasetInput(Dataset(problem, digest, "local", source), [InputTag("mlflow.data.context", "training")])


def _figures(runs: pd.DataFrame) -> Figures:
    """Final figures by run; a figure that no run has was not measured."""
    names = [name for name in FIGURES if runs[name].notna().any()]
    rows: dict[Any, Any] = runs.set_index("run")[[*names, "diverged"]].astype(float).to_dict("index")
    return rows
