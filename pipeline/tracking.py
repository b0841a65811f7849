"""The MLflow mirror: one MLflow run for each training run, with its curves while it trains.

mlflow is imported in here only, and not in the process that trains. A busy thread takes Python's lock from training
(importing mlflow in one, 2.5 s, brings a loop of small torch operations to a stop; in a process of its own it costs
nothing), so a child process, :func:`follow`, does the work. It is told what to log over a pipe, one message at a time, and
answers each; what is logged meanwhile goes along with the next. Whatever fails there costs one warning and no result.

``python -m pipeline.tracking`` builds the mirror anew from the files under ``results/``.
"""

import contextlib
import gc
import hashlib
import importlib
import json
import logging
import math
import os
import pickle
import queue
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self, cast
from urllib.parse import quote

import numpy as np
import pandas as pd

from pipeline import follower, results
from pipeline.runs import CURVES, Block
from pipeline.stores import is_broken_database, set_aside, store_root

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

FLUSH_SECONDS = 0.5
PATIENCE = 60.0  # seconds that a stage waits for MLflow after training, and one more for each run; only what hangs takes them
LOCK_SECONDS = 20.0  # that a write waits for another process's; MLflow's own value
FIGURES = ("test_loss", "test_metric")
MAX_BATCH = 1000  # metrics in one `log_batch`; MLflow's own limit
REPORT = "report"  # the name of the report's experiment and runs
SERVED_WITH = ("mlflow", "numpy", "pandas", "pydantic", "ruamel.yaml", "safetensors", "scikit-learn", "torch")
COMMIT_EVERY = 100  # runs; no other process has to wait for long
REBUILT = {"rebuilt": "true"}  # the tag of runs that were mirrored from the results; which code wrote those is not known

# A server that is not there should fail in seconds; MLflow's defaults try for minutes.
MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

Description = dict[str, Any]
Figures = dict[str, dict[str, float]]  # run → name → value
Tags = dict[str, str]
Links = tuple[list[str], dict[str, str]]  # a Markdown line for each input, and its runs: fingerprint → MLflow's run id
Points = Iterable[tuple[str, list[tuple[str, float, int]]]]  # MLflow's run id and its (metric, value, step)

logger = logging.getLogger(__name__)


class MirrorError(Exception):
    """MLflow could not be told something; says what it answered."""


# ---------------------------------------------------------------------------------------------- in the process that trains


@contextlib.contextmanager
def mirror(problem: str, stage: str, described: list[Description]) -> Iterator["Mirror"]:
    """Mirror a stage's runs in MLflow while they train; ``described`` holds one description per run, in stack order.

    Leaving the block waits until MLflow knows everything. Runs whose training raised are marked FAILED, those whose process
    was killed or interrupted KILLED. A failing mirror is one warning, here at the end.
    """
    told = Mirror(problem, stage, described)
    try:
        yield told
    except Exception:
        told.close("abandon", "FAILED")
        raise
    except BaseException:
        told.hang_up()  # who interrupts does not want to wait: the child sees the pipe end and marks the runs KILLED
        raise
    told.close()


class Mirror:
    """What MLflow is told of a stage. No method waits but ``close``, and none raises."""

    def __init__(self, problem: str, stage: str, described: list[Description]) -> None:
        self._begin = (problem, stage, described)
        self._blocks: queue.SimpleQueue[Block] = queue.SimpleQueue()
        self._end: tuple[str, Any] | None = None
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._child: _Child | None = None
        self._thread = threading.Thread(target=self._relay, name="mirror", daemon=True)
        self._thread.start()

    def log(self, block: Block) -> None:
        """Log a block of epochs of all runs; returns at once."""
        if self._failure is None:
            self._blocks.put(block)

    def finish(self, runs: pd.DataFrame) -> None:
        """Log the final figures in ``runs`` (a ``results.run_table``) and mark the runs FINISHED; returns at once."""
        self._end = ("finish", _figures(runs))

    def close(self, *end: str) -> None:
        """Tell the rest, wait until it is told, and warn if anything could not be; ``end`` replaces what was to be the end."""
        if end:
            self._end = (end[0], end[1])
        self.hang_up()
        patience = PATIENCE + len(self._begin[2])
        self._thread.join(patience)
        if self._thread.is_alive() and self._child is not None:
            self._child.kill()
            self._failure = MirrorError(f"it was not done {patience:.0f} s after training")
        if self._failure is not None:
            logger.warning(
                "The MLflow mirror of %s, %s, failed: %s. No result depends on it; `make mirror` rebuilds it from the results.",
                *self._begin[:2], _one_line(self._failure),
            )  # fmt: skip

    def hang_up(self) -> None:
        """Tell the rest without waiting for it."""
        self._ended.set()

    def _relay(self) -> None:
        """Tell the child everything, in a thread of its own, since a full pipe would make training wait."""
        try:
            with _Child() as self._child:
                self._child.tell("begin", *self._begin, _revision())
                while not self._ended.wait(FLUSH_SECONDS):
                    self._relay_blocks(self._child)
                self._relay_blocks(self._child)
                if self._end is not None:
                    self._child.tell(*self._end)
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            self._failure = self._failure or error

    def _relay_blocks(self, child: "_Child") -> None:
        blocks = [self._blocks.get() for _ in range(self._blocks.qsize())]
        if blocks:
            child.tell("log", blocks)


class Publication:
    """The report's way to MLflow, where it links the runs of ``inputs``, (problem, stage) each.

    They are looked up there while the report is made. A failure is one warning, in the end.
    """

    def __init__(self, inputs: Sequence[tuple[str, str]]) -> None:
        self._child = _Child()
        self._child.say("link", inputs)

    def publish(self, folder: Path) -> None:
        """Keep the files in ``folder`` as artifacts of a run ``report``. The same files again add nothing."""
        try:
            with self._child:
                self._child.hear()
                self._child.tell("publish", folder, _revision())
        except Exception as error:  # noqa: BLE001 - whatever it is, the report is written
            words = "The report is not in MLflow: %s. No result depends on it; `make mirror` tries again."
            logger.warning(words, _one_line(error))


def register(problems: Sequence[str]) -> None:
    """Register each problem's best run, of ``reports/best``, as a model of that name with the alias ``champion``.

    The same model again adds nothing. A failure is one warning.
    """
    for problem in problems:
        try:
            with _Child() as child:
                child.tell("register", problem)
        except Exception as error:  # noqa: BLE001 - whatever it is, the weights are kept
            words = "The champion of %s is not in MLflow: %s. Its weights are kept; `make mirror` tries again."
            logger.warning(words, problem, _one_line(error))


class _Child:
    """The process that talks to MLflow."""

    def __init__(self) -> None:
        self._process = follower.taken()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.__exit__(None, None, None)

    def tell(self, *message: Any) -> None:
        """Send one message and wait for the answer; raises where that is not that all is well."""
        self.say(*message)
        self.hear()

    def say(self, *message: Any) -> None:
        """Send one message, whose answer is heard before the next."""
        stdin = cast(IO[bytes], self._process.stdin)
        with contextlib.suppress(BrokenPipeError):  # a child that ended has said why
            pickle.dump(message, stdin)
            stdin.flush()

    def hear(self) -> None:
        """Wait for the answer."""
        answer = cast(IO[bytes], self._process.stdout).readline().decode().strip()
        if answer != "ok":
            raise MirrorError(answer or f"its process ended (exit code {self._process.wait()})")

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()


def _figures(runs: pd.DataFrame) -> Figures:
    """Final figures by run; a figure that no run has was not measured."""
    names = [name for name in FIGURES if runs[name].notna().any()]
    rows = runs.set_index("run")[[*names, "diverged"]].astype(float)
    return {str(run): {str(name): float(value) for name, value in row.items()} for run, row in rows.iterrows()}


def _one_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0][:300].rstrip(".")
    return text if isinstance(error, MirrorError) else f"{type(error).__name__}: {text}"


# ---------------------------------------------------------------------------------------------- in the process that mirrors


def follow() -> None:
    """The child process: carry out the messages on standard input, answer each with a line on standard output."""
    os.nice(10)  # training goes first
    answers = sys.stdout
    recorder: Recorder | None = None
    links: Links = ([], {})
    with contextlib.redirect_stdout(sys.stderr):
        with contextlib.suppress(Exception):  # whatever it is, the first message meets it again
            _import_mlflow()
            if _database() is not None:
                importlib.import_module("mlflow.store.tracking.sqlalchemy_store")  # what takes half of the time to connect
        while message := _next_message():
            name, *arguments = message
            try:
                if name == "begin":
                    recorder = Recorder(*arguments)
                elif name == "link":
                    links = _links(*arguments)
                elif name == "publish":
                    _publish(*arguments, links=links)
                elif name == "register":
                    _register(*arguments)
                else:
                    getattr(recorder, name)(*arguments)
                answer = "ok"
            except Exception as error:  # noqa: BLE001 - it is reported
                answer, recorder = _one_line(error), None
            with contextlib.suppress(BrokenPipeError):  # the parent was killed; the next message says so
                answers.write(f"{answer}\n")
                answers.flush()
        if recorder is not None:
            recorder.abandon("KILLED")
    gc.freeze()  # or Python looks through all that MLflow is once more before it ends, while the stage waits


def _next_message() -> tuple[Any, ...] | None:
    """The next message; None where the parent has no more to say, or is no more."""
    try:
        message: tuple[Any, ...] = pickle.load(sys.stdin.buffer)  # our own parent wrote it
    except (EOFError, pickle.UnpicklingError):
        return None
    return message


def rebuild() -> None:
    """Mirror all results there are; what MLflow knows already stays as it is, and a database that is broken is set aside."""
    _mend()
    paths = sorted(results.RESULTS.glob("*/*/curves.parquet"))
    if not paths:
        logger.warning("there are no results to mirror; `dvc repro` writes them")
    for path in paths:
        problem, stage = path.parts[-3:-1]
        runs, curves = results.read_runs(problem, stage)
        recorder = Recorder(problem, stage, runs.to_dict("records"), REBUILT)  # type: ignore[arg-type]
        recorder.log([_whole(runs, curves)])
        recorder.finish(_figures(runs))
        logger.info("%s, %s: %d runs", problem, stage, len(runs))
    if (results.REPORTS / "report.html").exists():
        _publish(results.REPORTS, REBUILT, links=_links([path.parts[-3:-1] for path in paths]))
        logger.info("the report")
    for path in sorted((results.REPORTS / "best").glob("*.safetensors")):
        _register(path.stem)
        logger.info("%s: the champion", path.stem)


def _publish(folder: Path, origin: Tags, *, links: Links) -> None:
    """The child's part of a publication."""
    digest = _digest(folder)
    client, experiment, _ = _connect(REPORT)
    if client.search_runs([experiment], f"tags.fingerprint = '{digest}' and attributes.status = 'FINISHED'", max_results=1):
        return
    lines, known = links
    tags = {"fingerprint": digest, "mlflow.note.content": "\n".join(lines), **origin}
    run_id = client.create_run(experiment, run_name=REPORT, tags=tags).info.run_id
    client.log_dict(run_id, known, "inputs.json")
    client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id, "FINISHED")


def _register(problem: str) -> None:
    """The child's part of :func:`register`."""
    weights = (results.REPORTS / "best" / f"{problem}.safetensors").read_bytes()
    fingerprint, digest = results.run_of(weights), hashlib.sha256(weights).hexdigest()[:16]
    client, experiment, _ = _connect(problem)
    if not fingerprint or _champion(client, problem) == digest:
        return
    runs = client.search_runs([experiment], f"tags.fingerprint = '{fingerprint}'", max_results=1)
    if not runs:
        raise MirrorError(f"MLflow has no run {fingerprint}; `make mirror` brings it there")
    import mlflow
    from mlflow.models import infer_signature

    from pipeline.catalogue import CATALOGUE
    from pipeline.champion import Champion
    from pipeline.params import load_params
    from pipeline.problems.problem import load_problem

    classes = results.read_dataset(problem).attrs.get("classes", ())
    seed = int(runs[0].data.params["seed"])
    champion = Champion.of(load_problem(load_params(CATALOGUE), problem), weights, seed, classes)
    example = champion.example()
    mlflow.set_tracking_uri(tracking_uri())
    mlflow.set_registry_uri(tracking_uri())
    with mlflow.start_run(run_id=runs[0].info.run_id):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=champion.predict,
            code_paths=[str(Path(__file__).resolve().parent)],
            input_example=example,
            signature=infer_signature(example, champion.predict(example)),
            registered_model_name=problem,
            pip_requirements=[f"{name}=={version(name)}" for name in SERVED_WITH],
        )
    found = str(logged.registered_model_version)
    client.set_model_version_tag(problem, found, "digest", digest)
    client.set_model_version_tag(problem, found, "fingerprint", fingerprint)
    client.set_registered_model_alias(problem, "champion", found)


def _champion(client: "MlflowClient", problem: str) -> str:
    """The digest of the problem's present champion, nothing where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version_by_alias(problem, "champion").tags.get("digest", ""))
    except MlflowException:
        return ""


def _digest(folder: Path) -> str:
    """A name for all files in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _links(inputs: Sequence[Sequence[str]]) -> Links:
    """Those of the inputs that MLflow has runs of."""
    client, _, _ = _connect(REPORT)
    lines: list[str] = []
    known: dict[str, str] = {}
    for problem, stage in inputs:
        experiment = client.get_experiment_by_name(problem)
        if experiment is None:
            continue
        of_stage = _runs_of(client, experiment.experiment_id, stage)
        known |= {fingerprint: str(run.info.run_id) for fingerprint, run in of_stage.items()}
        query = quote(f'tags.stage = "{stage}"')
        where = f"#/experiments/{experiment.experiment_id}/runs?searchFilter={query}"
        lines.append(f"- [{problem}, {stage}: {len(of_stage)} runs]({where})")
    return lines, known


def _runs_of(client: "MlflowClient", experiment: str, stage: str) -> dict[str, "Run"]:
    """The stage's runs that MLflow has, by fingerprint; of two with the same, the finished one."""
    search = partial(client.search_runs, [experiment], f"tags.stage = '{stage}'", max_results=1000)
    page = search()
    found = list(page)
    while page.token:
        page = search(page_token=page.token)
        found += page
    found.sort(key=lambda run: run.info.status == "FINISHED")
    return {run.data.tags["fingerprint"]: run for run in found if "fingerprint" in run.data.tags}


def _whole(runs: pd.DataFrame, curves: pd.DataFrame) -> Block:
    """The curves of a stage as one block."""
    wide = curves.pivot(index="epoch", columns="run", values=list(CURVES))
    return Block(first_epoch=1, **{name: wide[name][runs["run"]].to_numpy(float) for name in CURVES})


class Recorder:
    """Writes the runs of one stage to MLflow. What is there already is neither changed nor doubled.

    ``origin`` tags new runs with where they come from.
    """

    def __init__(self, problem: str, stage: str, described: Sequence[Description], origin: Tags) -> None:
        self._problem = problem
        self._client, self._experiment, self._store = _connect(problem)
        self._tags = {"problem": problem, "stage": stage, "diverged": "false", **origin}
        self._measured: set[str] = set()
        known = _runs_of(self._client, self._experiment, stage)
        # The runs to be written: fingerprint → (place in the stack, MLflow's run id)
        self._open: dict[str, tuple[int, str]] = {}
        new = []
        for place, row in enumerate(described):
            run = known.get(row["run"])
            if run is None:
                new.append((place, row))
            elif run.info.status != "FINISHED":
                self._open[row["run"]] = (place, self._resumed(row, run))
        created = self._store.create(self._experiment, [self._as_new(row) for _, row in new])
        self._open |= {row["run"]: (place, run_id) for (place, row), run_id in zip(new, created, strict=True)}
        self._epochs = {row["run"]: int(row["epochs"]) for row in described}

    def log(self, blocks: Sequence[Block]) -> None:
        """Write the curves of consecutive blocks. A curve of NaN only was not measured and is left out."""
        curves = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in CURVES}
        self._measured |= {name for name, values in curves.items() if not np.isnan(values).all()}
        first = blocks[0].first_epoch
        self._store.log(
            (
                run_id,
                [
                    (name, value, step)
                    for name in sorted(self._measured)
                    for step, value in enumerate(curves[name][:, place].tolist(), first)
                ],
            )
            for place, run_id in self._open.values()
        )

    def finish(self, figures: Figures) -> None:
        """Write final figures and mark the runs FINISHED."""
        self._store.log(
            (run_id, [(name, figures[run][name], self._epochs[run]) for name in FIGURES if name in figures[run]])
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
        name = f"{row['scheduler']}/{row['variant']}/{row['seed']}"
        return NewRun(name, self._tags | _tags(row), _params(row), _dataset(self._problem, row["dataset"]))

    def _resumed(self, row: Description, run: "Run") -> str:
        """The id of a run that is there and not finished; the params and inputs it lacks are added."""
        run_id = str(run.info.run_id)
        self._client.update_run(run_id, status="RUNNING")
        described = self._as_new(row)
        lacking = {name: value for name, value in described.params.items() if name not in run.data.params}
        _describe(self._client, run_id, lacking, described.dataset)
        return run_id


def _describe(client: "MlflowClient", run_id: str, params: dict[str, str], dataset: "DatasetInput") -> None:
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(name, value) for name, value in params.items()])
    client.log_inputs(run_id, [dataset])


def _tags(row: Description) -> Tags:
    named = {name: str(row[name]) for name in ("variant", "scheduler", "seed", "device", "metric")}
    return named | {"fingerprint": row["run"]}


def _params(row: Description) -> dict[str, str]:
    """What MLflow's compare view shows: ``args.step_size`` as written (30%), ``resolved.step_size`` in torch's numbers (30)."""
    optimizer = json.loads(row["optimizer"])
    params = {name: str(row[name]) for name in ("scheduler", "variant", "seed", "epochs", "name", "interval", "warmup")}
    params |= {"lr": str(float(row["lr"])), "optimizer": optimizer["name"]}
    groups = {"args": json.loads(row["args"]), "resolved": json.loads(row["resolved"]), "optimizer": optimizer["args"]}
    return params | {
        f"{group}.{name}": value if isinstance(value, str) else json.dumps(value)
        for group, values in groups.items()
        for name, value in values.items()
    }


def _dataset(problem: str, digest: str) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": results.dataset_path(problem).as_posix()})
    return DatasetInput(Dataset(problem, digest, "local", source), [InputTag("mlflow.data.context", "training")])


def _revision() -> Tags:
    """The code's git revision (``-dirty`` with changes that are not committed), and DVC's experiment where it is one.

    Elsewhere DVC has no revisions of its own: its files are in git, and ``dvc.lock`` is written only after the stage.
    """
    experiment = {"dvc_experiment": "DVC_EXP_NAME", "dvc_baseline": "DVC_EXP_BASELINE_REV"}
    tags = {tag: os.environ[name] for tag, name in experiment.items() if os.environ.get(name)}
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # no git, or no commit yet
        git = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        tags |= {"git": git, "mlflow.source.git.commit": git.removesuffix("-dirty")}
    return tags


# ---------------------------------------------------------------------------------------------- where the mirror is


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or the SQLite file ``mlflow.db`` at the root, where a relative one is looked for too."""
    given = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    scheme, separator, path = given.partition(":///")
    return f"sqlite:///{store_root() / path}" if separator and scheme == "sqlite" else given


def _connect(problem: str) -> tuple["MlflowClient", str, "Store"]:
    """A client, the id of the problem's experiment, and the quickest way to write runs there."""
    _import_mlflow()
    uri, database = tracking_uri(), _database()
    if database is None:
        client, experiment = _client_and_experiment(uri, problem)
        return client, experiment, Store(client)
    with _alone(database):  # of two processes that create the tables at once, one would crash
        _check(database)
        client, experiment = _client_and_experiment(uri, problem)
    return client, experiment, SqliteStore(client, database)


def _import_mlflow() -> None:
    """Import what talks to the store, with our defaults."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    importlib.import_module("mlflow.tracking")


def _database() -> Path | None:
    """The SQLite file that is the store; None where it is anything else."""
    from sqlalchemy import make_url

    uri = tracking_uri()
    return Path(str(make_url(uri).database)) if uri.startswith("sqlite:///") else None


@contextlib.contextmanager
def _alone(database: Path) -> Iterator[None]:
    """Hold the database against all other processes of the pipeline; its folder is made."""
    from filelock import FileLock

    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock", timeout=PATIENCE):
        yield


def _mend() -> None:
    """Make room for a new database where the one there is broken."""
    database = _database()
    if database is None:
        return
    with _alone(database):
        if is_broken_database(database):
            set_aside(database)


def _check(database: Path) -> None:
    """Raise where the file is no database, read-only or locked; MLflow would retry for 100 s."""
    with contextlib.closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def _client_and_experiment(uri: str, problem: str) -> tuple["MlflowClient", str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(problem)
    if experiment is None:
        place = None if uri.startswith("http") else (store_root() / "mlartifacts" / problem).as_uri()
        return client, str(client.create_experiment(problem, artifact_location=place))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return client, str(experiment.experiment_id)


def _shown(value: float) -> float:
    """MLflow turns infinity into 1.8e308, beside which no chart shows anything else; NaN is a gap."""
    return value if math.isfinite(value) else math.nan


def _milliseconds(step: int) -> int:
    """A metric's time: one second a step, from the step alone, so that the same point logged again is the same point."""
    return 1000 * step


class NewRun(NamedTuple):
    """A run that MLflow does not know yet."""

    name: str
    tags: Tags
    params: dict[str, str]
    dataset: "DatasetInput"


class Store:
    """How runs are written to MLflow: in the documented way, at 15 ms a run and 0.24 ms a point."""

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client

    def create(self, experiment: str, runs: Sequence[NewRun]) -> list[str]:
        """Write runs that are about to be trained; their ids."""
        return [self._created(experiment, run) for run in runs]

    def _created(self, experiment: str, run: NewRun) -> str:
        run_id = str(self._client.create_run(experiment, run_name=run.name, tags=run.tags).info.run_id)
        _describe(self._client, run_id, run.params, run.dataset)
        return run_id

    def log(self, points: Points) -> None:
        """Write metrics; a point that is there already is the same."""
        from mlflow.entities import Metric

        for run_id, of_run in points:
            metrics = [Metric(name, _shown(value), _milliseconds(step), step) for name, value, step in of_run]
            for start in range(0, len(metrics), MAX_BATCH):
                self._client.log_batch(run_id, metrics[start : start + MAX_BATCH])

    def finish(self, diverged: Mapping[str, bool]) -> None:
        """Mark runs FINISHED, by id, and those that have diverged as such."""
        for run_id, has_diverged in diverged.items():
            if has_diverged:
                self._client.set_tag(run_id, "diverged", "true")
            self._client.set_terminated(run_id, "FINISHED")


# The rows that `log_batch` would write (NaN is a zero with a mark); a point that is there already stays.
_INSERT_POINT = """
    INSERT OR IGNORE INTO metrics (run_uuid, key, value, is_nan, timestamp, step) VALUES (?, ?, ?, ?, ?, ?)
"""
_UPDATE_LATEST = """
    INSERT INTO latest_metrics (run_uuid, key, value, is_nan, timestamp, step) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (run_uuid, key) DO UPDATE SET value = excluded.value, is_nan = excluded.is_nan,
    timestamp = excluded.timestamp, step = excluded.step WHERE excluded.step > latest_metrics.step
"""


class SqliteStore(Store):
    """The same rows put straight into MLflow's tables: 130 runs of 100 epochs in 1 s instead of 20 s."""

    def __init__(self, client: "MlflowClient", database: Path) -> None:
        super().__init__(client)
        self._database = database

    def create(self, experiment: str, runs: Sequence[NewRun]) -> list[str]:
        """The first is MLflow's own work, and the others are copies of its rows with what is theirs."""
        first = super().create(experiment, runs[:1])
        with self._connected() as connection:
            return [*first, *(_copied(connection, first[0], run) for run in runs[1:])]

    def log(self, points: Points) -> None:
        """Write metrics at 0.01 ms each."""
        with self._connected() as connection:
            for number, (run_id, of_run) in enumerate(points, 1):
                rows = [(run_id, name, *_stored(value), _milliseconds(step), step) for name, value, step in of_run]
                latest = {name: row for row, (name, _, _) in zip(rows, of_run, strict=True)}  # steps ascend
                connection.executemany(_INSERT_POINT, rows)
                connection.executemany(_UPDATE_LATEST, latest.values())
                if number % COMMIT_EVERY == 0:
                    connection.commit()

    def finish(self, diverged: Mapping[str, bool]) -> None:
        """Mark all at once."""
        ends = [(int(1000 * time.time()), run_id) for run_id in diverged]
        with self._connected() as connection:
            marked = [(run_id,) for run_id, has_diverged in diverged.items() if has_diverged]
            connection.executemany("UPDATE tags SET value = 'true' WHERE key = 'diverged' AND run_uuid = ?", marked)
            connection.executemany("UPDATE runs SET status = 'FINISHED', end_time = ? WHERE run_uuid = ?", ends)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection; what is written is there when the block ends well."""
        with contextlib.closing(sqlite3.connect(self._database, timeout=LOCK_SECONDS)) as connection:
            yield connection
            connection.commit()


def _copied(connection: sqlite3.Connection, template: str, run: NewRun) -> str:
    """The id of a run whose rows are those of another of the same stage, with a name, tags and params of its own."""
    run_id = uuid.uuid4().hex
    (place,) = connection.execute("SELECT artifact_uri FROM runs WHERE run_uuid = ?", (template,)).fetchone()
    own = {"run_uuid": run_id, "name": run.name, "artifact_uri": place.replace(template, run_id)}
    _copy(connection, "runs", "run_uuid", template, own)
    tags = dict(connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (template,)).fetchall())
    for table, entries in (("tags", tags | run.tags | {"mlflow.runName": run.name}), ("params", run.params)):
        rows = [(run_id, key, value) for key, value in entries.items()]
        connection.executemany(f"INSERT INTO {table} (run_uuid, key, value) VALUES (?, ?, ?)", rows)
    inputs = connection.execute("SELECT input_uuid FROM inputs WHERE destination_id = ?", (template,)).fetchall()
    for (given,) in inputs:
        own = {"input_uuid": uuid.uuid4().hex}
        _copy(connection, "inputs", "input_uuid", given, own | {"destination_id": run_id})
        _copy(connection, "input_tags", "input_uuid", given, own)
    return run_id


def _copy(connection: sqlite3.Connection, table: str, key: str, value: str, own: dict[str, str]) -> None:
    """Copy the rows that have a value in a column, with other values in some columns."""
    found = connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", (value,))
    columns = [column for column, *_ in found.description]
    rows = [[own.get(column, old) for column, old in zip(columns, row, strict=True)] for row in found.fetchall()]
    connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})", rows)


def _stored(value: float) -> tuple[float, bool]:
    """A value and its NaN mark, as MLflow stores them."""
    return (value, False) if math.isfinite(value) else (0.0, True)


def main() -> None:
    """``python -m pipeline.tracking``: rebuild the mirror."""
    if sys.argv[1:] == ["follow"]:
        follow()
        return
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    try:
        rebuild()
    except Exception as error:  # noqa: BLE001 - the user gets one line
        sys.exit(f"the MLflow mirror could not be rebuilt: {_one_line(error)}")


if __name__ == "__main__":
    main()
