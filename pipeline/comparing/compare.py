"""``compare``: which scheduler for a model and data that are at hand in Python, and how sure that is."""

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML
from torch import Tensor, nn

from pipeline import cli
from pipeline.analysis import page
from pipeline.analysis.answer import Answer
from pipeline.analysis.assembled import assemble
from pipeline.analysis.choice import last
from pipeline.analysis.configurations import configuration
from pipeline.analysis.page import Report
from pipeline.analysis.tables import ProblemResults, markdown, readable
from pipeline.catalogue import CATALOGUE
from pipeline.comparing.given import NAME, CompareError, Data, called, dataset_of, registered, takes_no_arguments
from pipeline.config import terminal
from pipeline.config.errors import ParamsError
from pipeline.config.files import stage_path, write_files
from pipeline.config.params import FRESH, PARAMS_FILE, load_params, working_in
from pipeline.problems.loading import held
from pipeline.runs.executor import HERE, VARIABLE
from pipeline.stages import confirm, report, train, tune

BASELINE = "ConstantLR"
SCHEDULERS: Mapping[str, Any] = {
    BASELINE: {"args": {"factor": 1.0}},
    "StepLR": {"args": {"step_size": "30%", "gamma": 0.1}},
    "CosineAnnealingLR": {"args": {"T_max": "100%"}},
    "CosineWarmup": {"name": "CosineAnnealingLR", "args": {"T_max": "100%"}, "warmup": "5%"},
    "OneCycleLR": {"args": {"max_lr": "100%", "cycle_momentum": False}},
}
"""Compared where nothing else is asked for; a label of these alone means what stands here."""


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found; every figure in it is over seeds, and made as the report makes it."""

    name: str
    table: pd.DataFrame
    """A row per scheduler, of the last variant: losses with their intervals, ``verdict``, ``regret_bound``, ``in_set`` …"""
    runs: pd.DataFrame
    """A row per run: variant, scheduler, seed, configuration, final figures."""
    curves: pd.DataFrame
    """A row per run and epoch: rate, momentum, training and validation loss, metric."""
    recommended: Mapping[str, Any] | None
    """The scheduler to use by its label, its ``name``, peak ``lr``, ``args`` in torch's numbers, and so on."""
    answer: Answer
    """The same in words: ``answer.titled``."""
    code: str
    """Optimizer and scheduler of what is recommended, to be pasted into a training loop."""
    report: Report
    """What the page is made of: tables and evidence by name."""
    registered: Callable[[], AbstractContextManager[Any]]
    """Lends the names of the code that was handed over."""

    @cached_property
    def html(self) -> str:
        """The whole report as a page."""
        with self.registered():
            return page.render(self.report, HERE)[0]

    @property
    def verdicts(self) -> dict[str, str]:
        """What is said of each scheduler beside the baseline."""
        return {str(label): str(verdict) for label, verdict in self.table["verdict"].items()}

    def save(self, path: str | Path) -> Path:
        """Write the report as one HTML file that needs nothing else; the file's name ends in .html or .htm, or in nothing."""
        place = Path(path)
        if place.suffix.lower() not in {"", ".html", ".htm"}:
            raise CompareError(f"save writes a page of HTML, and {place} says otherwise; write {place.with_suffix('.html')}")
        write_files([(place, self.html.encode())])
        return place

    def __repr__(self) -> str:
        """The answer, and the table as a person reads it."""
        lines = [f"  {name:8}{line}" for name, line in self.answer.titled]
        return "\n".join([self.name, *lines, "", markdown(_readable(self.table))])

    def _repr_html_(self) -> str:
        """For a notebook."""
        lines = "<br>".join(escape(line) for _, line in self.answer.titled)
        table = _readable(self.table).to_html(index=False, float_format="{:.4g}".format)
        return f"<p><b>{escape(self.name)}</b><br>{lines}</p>{table}"


def compare(
    model_fn: Callable[[], nn.Module],
    train: Data,
    validation: Data,
    *,
    optimizer: Any,
    epochs: int,
    batch_size: int,
    schedulers: Mapping[str, Any] | Sequence[Any] | None = None,
    baseline: str | None = None,
    seeds: int = 10,
    trials: int = 0,
    loss: Any = None,
    metric: Any = None,
    test: Data | None = None,
    resample: bool = False,
    clip: Mapping[str, float] | None = None,
    device: str = "auto",
    matters: str = "1%",
    name: str = "comparison",
    folder: str | Path | None = "comparison",
    track: bool = False,
) -> Comparison:
    """Train ``model_fn()`` with every scheduler and seed, and say which scheduler to use and how sure that is.

    ``model_fn`` is called without arguments and returns a new ``torch.nn.Module``; a class will do. ``train``, ``validation``
    and ``test`` are pairs (inputs, targets) of arrays, tensors or frames, or map-style Datasets of such pairs, whose items are
    drawn once. They are taken as they are: nothing is scaled.

    ``optimizer``, ``loss``, ``metric`` and each scheduler are what params.yaml takes, with a class or function in place of a
    name where it is your own: ``{"name": "AdamW", "lr": 1e-3}``, ``{"name": MyOptimizer, "lr": 0.1}``, ``nn.HuberLoss()``, a
    function ``f(outputs, targets)`` that returns the mean over a batch, ``{"name": f, "higher_is_better": True}``. Lengths
    may be shares of the run (``"30%"``), rates shares of the optimizer's. ``schedulers`` are entries by label, or a list of
    labels of :data:`SCHEDULERS`, names and classes; differences are taken to ``baseline``, the first of them.

    With ``trials`` each scheduler and seed has a tuning study of so many, and what is recommended is confirmed on as many seeds
    that no study saw; without, all run as written.

    **What the seeds repeat.** The validation set is given, so that all seeds share it: a replicate is a draw of initial
    weights and of the data order (two such draws a seed), and with ``trials`` its own tuning. Intervals and verdicts speak of
    *this training and this validation set*: of what other weights and orders would come to on them. Nothing is resampled, and
    no interval needs a correction for splits that overlap; by the same token nothing tells how other data would decide. With
    ``resample=True`` training and validation samples are pooled and each seed draws its own split of the same sizes: verdicts
    then speak of these samples, whichever way they are split, and beside them stands what holds for data like these. A
    ``test`` set stays as it is, is evaluated once on each final run, and decides nothing.

    Everything is kept in ``folder``, and a second call trains what is new; None keeps nothing. ``track`` tells MLflow and
    Optuna's storage, which then lie there, too. Runs of code that goes by what cannot be named (an open file, an object of
    some class) are not kept. Raises :class:`pipeline.config.errors.PipelineError`, which names the argument.
    """
    entries = _entries(schedulers)
    _refuse_mistaken(model_fn, seeds, trials, folder)
    drawn = [*range(seeds), *range(FRESH, FRESH + seeds)]
    parts = {"train": train, "validation": validation, "test": test}
    data = dataset_of(name, parts, model_fn, drawn, loss, resample=resample)
    names = partial(registered, data, model_fn, optimizer, loss, metric, entries)
    with names() as found:
        own = {key: entry for key, entry in found.entries.items() if key != "schedulers"} | ({"clip": clip} if clip else {})
        sizes = {"epochs": epochs, "batch_size": batch_size, "resample": resample}
        problem = {"dataset": {"name": NAME}, **own, **sizes}
        asked = small_study(name, problem, found.entries["schedulers"], baseline or next(iter(entries)), seeds, trials)
        asked |= {"device": device, "report": {**asked["report"], "matters": matters}}
        if found.unnamed:
            terminal.tell(
                f"compare: {', '.join(found.unnamed)} goes by values that cannot be named: these runs are not kept; hand over "
                "plain values, arrays or modules to have them kept"
            )
        with _inside(None if found.unnamed else folder, track=track), held(data):
            return _compared(asked, name, trials, names)


def _refuse_mistaken(model_fn: Any, seeds: Any, trials: Any, folder: Any) -> None:
    """Raise what is wrong with these, which params.yaml would not say in a caller's words."""
    if isinstance(model_fn, nn.Module):
        raise CompareError("model_fn is a model, and every run needs a new one; write lambda: Net(…), or its class")
    if not takes_no_arguments(model_fn):
        raise CompareError("model_fn cannot be called without arguments; write lambda: Net(…)")
    if not isinstance(seeds, int) or not 2 <= seeds <= FRESH:
        raise CompareError(f"seeds is {seeds!r}; write a whole number from 2 to {FRESH}")
    if not isinstance(trials, int) or isinstance(trials, bool) or trials < 0:
        raise CompareError(f"trials is {trials!r}; write a whole number, 0 for no tuning")
    if not isinstance(folder, str | Path | None):
        raise CompareError(f"folder is {folder!r}; write a path, or None to keep nothing")


def _entries(schedulers: Mapping[str, Any] | Sequence[Any] | None) -> dict[str, Any]:
    """Entries by label."""
    if schedulers is None:
        return dict(SCHEDULERS)
    if isinstance(schedulers, str):
        schedulers = [schedulers]
    if not isinstance(schedulers, Mapping | Sequence):
        raise CompareError(f"schedulers is a {type(schedulers).__name__}; write a list of names, or entries by label")
    if not isinstance(schedulers, Mapping):
        schedulers = {each if isinstance(each, str) else called(each): each for each in schedulers}
    if not schedulers:
        raise CompareError("schedulers is empty; name some, or leave it out")
    return {label: _entry(label if entry is None else entry) for label, entry in schedulers.items()}


def _entry(given: Any) -> Any:
    """What a name stands for: what is written of it in :data:`SCHEDULERS`, else the scheduler with nothing said."""
    return {"name": given, **SCHEDULERS.get(given, {})} if isinstance(given, str) else given


def small_study(
    name: str, problem: Mapping[str, Any], entries: Mapping[str, Any], baseline: str, seeds: int, trials: int
) -> dict[str, Any]:
    """What params.yaml says of one problem without a sweep; ``entries`` are the schedulers by label."""
    return {
        "seeds": seeds,
        "problems": {name: problem},
        "schedulers": dict(entries),
        "tune": {"trials": max(1, trials), "batch": min(8, max(1, trials))},
        "sweep": "none",
        "report": {"baseline": baseline},
    }


@contextlib.contextmanager
def _inside(folder: str | Path | None, *, track: bool) -> Iterator[None]:
    """Work in the folder, or in one that is gone afterwards, with copies of this process, and tell no tracker unasked."""
    processes = os.environ.get(VARIABLE) or ("fork" if sys.platform == "linux" else "local:1")
    with contextlib.ExitStack() as stack:
        place = Path(folder or stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        place.mkdir(parents=True, exist_ok=True)
        stack.enter_context(working_in(place, {VARIABLE: processes, **({} if track else {"PIPELINE_TRACKERS": "none"})}))
        stack.enter_context(cli.only_one("compare"))
        yield


def _compared(asked: Mapping[str, Any], name: str, trials: int, names: Callable[[], AbstractContextManager[Any]]) -> Comparison:
    """The stages, one after the other, and what the report makes of them."""
    with PARAMS_FILE.open("w", encoding="utf-8") as file:
        YAML().dump(_plain(asked, name), file)
    for earlier in ("tune", "confirm"):  # of a call before
        stage_path(name, earlier, "runs.parquet").unlink(missing_ok=True)
    try:
        params = load_params(CATALOGUE)
        for stage in (train, tune, confirm) if trials else (train,):
            stage.main(name)
        return _comparison(assemble(params, [report.read(params, name)]), names)
    except ParamsError as error:
        raise CompareError(_of_arguments(str(error), name)) from None


def _plain(value: Any, name: str, *place: str) -> Any:
    """The same as YAML has it: numbers of numpy's and torch's are Python's own."""
    if isinstance(value, Mapping):
        return {key: _plain(each, name, *place, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, name, *place) for each in value]
    if isinstance(value, np.generic | np.ndarray | Tensor):
        return value.tolist()
    if value is None or isinstance(value, str | int | float):
        return value
    where = ".".join(place).removeprefix(f"problems.{name}.")
    raise CompareError(
        f"{where} is a {type(value).__name__}, and a plain number or word is needed; hand a function over in place "
        "of the name, and let it set what is no plain value"
    )


def _of_arguments(told: str, name: str) -> str:
    """What is told of params.yaml, told of the arguments that it was made of, and of code by its name alone."""
    placed = re.sub(rf"^params\.yaml:\d+:\d+: (?:problems\.{re.escape(name)}\.)?", "", told, flags=re.MULTILINE)
    return re.sub(r"\(given: name: (\w+) version: [0-9a-f]*\)", r"(given: \1)", placed)


def _comparison(found: Report, names: Callable[[], AbstractContextManager[Any]]) -> Comparison:
    (problem,), (answer,) = found.problems, found.answers.values()
    compared = found.tables["comparison"]
    return Comparison(
        problem.name,
        compared[compared["variant"] == problem.variants[-1]].set_index("scheduler", drop=False).rename_axis(None),
        problem.runs,
        problem.curves,
        _recommended(found, problem),
        answer,
        page.code(found, problem),
        found,
        names,
    )


def _recommended(found: Report, problem: ProblemResults) -> dict[str, Any] | None:
    chosen = found.choices[problem.name]
    of_label = configuration(found.params, problem, chosen, label) if (label := last(chosen).scheduler) else None
    if of_label is None:
        return None
    run = of_label.run
    told = {"scheduler": label, "name": run["name"], "lr": float(run["lr"]), "args": json.loads(run["resolved"])}
    return {**told, "warmup": int(run["warmup"]), "interval": run["interval"]}


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    return readable(table).drop(columns="problem").sort_values("validation loss", kind="stable")
