"""``problems`` in params.yaml: data, model, optimizer and budget, or a script in their place."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from pipeline.config.components import Component, ComponentOf, as_list, nested
from pipeline.config.registry import STRICT, exactly_one_of
from pipeline.config.schedules import Schedules
from pipeline.config.units import Percentage
from pipeline.config.wording import is_path, mistake

IGNORED = -100
"""The target that torch's cross-entropy leaves out, if no other is named."""


class Clipping(BaseModel):
    """``clip``: either the largest ``norm`` of all gradients together, or the largest absolute ``value`` of each number."""

    model_config = STRICT

    norm: float | None = Field(default=None, gt=0, le=1e9)
    """The largest norm of all gradients together."""
    value: float | None = Field(default=None, gt=0, le=1e9)
    """The largest absolute value of each number."""

    _one_of_both = model_validator(mode="after")(exactly_one_of(("norm", "value")))


_BYTES = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*([MGT])(?:i?B)?")


def _memory(value: Any) -> Any:
    """Bytes of ``8G``, ``500M``, ``1.5 GiB``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or (match := _BYTES.fullmatch(value.strip())) is None:
        raise mistake("is no amount of memory", "write for instance 500M, 8G or 1.5T")
    return int(float(match[1]) * 2 ** {"M": 20, "G": 30, "T": 40}[match[2]])


class Resources(BaseModel):
    """``resources``: what one run, or one stack of runs, is given on a cluster. No result follows from it."""

    model_config = STRICT

    cpus: int = Field(default=1, ge=1, le=1024)
    """Cores; compiled code uses all of them."""
    gpus: int = Field(default=0, ge=0, le=64)
    """GPUs."""
    memory: Annotated[int, BeforeValidator(_memory), Field(ge=2**20)] | None = None
    """Main memory, such as `8G`."""


def _is_below(path: str) -> str:
    if path.startswith(("/", "~")) or ".." in path.split("/"):
        raise mistake("does not lie under inputs/", "put it there, or a link to it, and write its path from there")
    return is_path(path)


FIXED_BY = {
    "split": "would draw samples at random, those of the column's test part into the training part too",
    "order": "would draw samples of a series at random, past before future or not",
}
"""Arguments of a dataset that say which sample is in which part, and what drawing the parts anew would make of it."""


def _fixed_by(data: Mapping[str, Any]) -> str | None:
    """The argument by which the dataset of a problem, as far as that is read, fixes its parts."""
    dataset = data.get("dataset")
    given = dataset.args if isinstance(dataset, Component) else {}
    return next((name for name in FIXED_BY if given.get(name) is not None), None)


class ProblemParams(BaseModel):
    """One entry under ``problems``: data, model, optimizer and budget; ``schedulers`` overrides whole labels."""

    model_config = STRICT
    as_written: ClassVar[tuple[str, ...]] = ("batch_size", "model", "loss")
    """What no study searches, beside ``epochs`` and the optimizer's other arguments than ``lr``."""
    gives_weights: ClassVar[bool] = True
    """Whether what is trained can be kept as a model."""

    dataset: Annotated[Component, ComponentOf("datasets")]
    """The samples and their parts. With `path` it is a file of yours, and `name` is not needed."""
    resample: bool | None = None
    """Whether each seed draws a split of its own; true where it is left out and the dataset does not fix the parts itself."""
    model: Annotated[Component, ComponentOf("models")]
    """What is trained."""
    optimizer: Annotated[Component, ComponentOf("optimizers")]
    """What trains it; its `lr` is the 100% of all rates. `no_decay: [bias, norm]` spares these parameters its weight decay."""
    loss: Annotated[Component, ComponentOf("losses")] | None = None
    """What is minimised, and what all choices are made by; cross-entropy or squared error where it is left out."""
    metric: Annotated[Component, ComponentOf("metrics")] | None = None
    """What is shown beside the loss; accuracy or R² where it is left out."""
    epochs: int = Field(ge=1, le=100_000)
    """The budget: passes over the training part."""
    batch_size: int = Field(ge=1, le=1_000_000)
    """Samples per optimizer step; the last batch of an epoch may be smaller."""
    accumulate: int | None = Field(default=None, ge=2, le=100_000)
    """Batches whose gradients make one optimizer step: that of the mean over all of their samples. One where it is left out."""
    clip: Clipping | None = None
    """Bound on the gradients of each step."""
    engine: Literal["auto", "compiled", "tensors", "loop", "compiled-loop"] = "auto"
    """How runs are trained: side by side in compiled code or as stacked tensors, or each by itself, its model as it is or
    by ``torch.compile``.

    ``auto`` takes the fastest that is possible and worth its preparation, never ``compiled-loop``; any other is insisted on.
    """
    schedulers: Schedules = Field(default_factory=dict)
    """Entries for this problem alone, in place of those of the same label or beside them."""
    resources: Resources | None = Field(default=None, exclude=True)  # what is dumped names runs, and what DVC compares
    """What each of its runs is given on a cluster; nowhere else does it count."""

    @property
    def pace(self) -> str:
        """What an optimizer step takes in, in words."""
        return f"batches of {self.batch_size}" + (f", {self.accumulate} to a step" if self.accumulate else "")

    @property
    def samples_per_step(self) -> int:
        """Those that the gradients of an optimizer step are of."""
        return self.batch_size * (self.accumulate or 1)

    def trained_by(self) -> dict[str, Any]:
        """All that a run's numbers follow from, but its data, schedule and length.

        What came later is not in it where it is left out: earlier runs keep their names.
        """
        parts = self.model_dump(exclude={"dataset", "resample", "schedulers", "epochs"})
        if self.accumulate is None:
            del parts["accumulate"]
        if self.loss and self.loss.args.get("ignore_index") == IGNORED:
            parts["loss"] = {"name": self.loss.name, "args": {k: v for k, v in self.loss.args.items() if k != "ignore_index"}}
        return parts

    @field_validator("resample")
    @classmethod
    def _leaves_fixed_parts_alone(cls, resample: bool | None, info: ValidationInfo) -> bool:
        fixed = _fixed_by(info.data)
        if resample and fixed:
            raise mistake(FIXED_BY[fixed], "leave `resample` out, or write `resample: false`")
        return fixed is None if resample is None else resample


def _words(args: Any) -> Any:
    """Arguments by name, or the words of a command line as they stand."""
    if isinstance(args, dict):
        return args
    if not isinstance(args, list) or not all(type(word) in (str, int, float) for word in args):
        raise mistake("are neither named nor a list of words", "write {width: 32, amp: true}, or [--width, 32, --amp]")
    return [str(word) for word in args]


class Script(BaseModel):
    """``script``: a training script of your own, under `inputs/`; each run is a process of it."""

    model_config = STRICT

    path: Annotated[str, AfterValidator(_is_below)]
    """The script, under `inputs/`: one that ends in `.py` is started by this Python, any other by itself."""
    args: Annotated[dict[str, Any] | list[str], BeforeValidator(_words)] = Field(default_factory=dict)
    """What is handed over on its command line, as `--key value`, `true` as `--key` alone; or its words, as a list."""
    inputs: list[Annotated[str, AfterValidator(_is_below)]] = Field(default_factory=list)
    """Files and folders under `inputs/` that it reads: a run is another one where they have changed."""
    launcher: Annotated[list[str] | None, BeforeValidator(as_list)] = None
    """What starts it, such as another Python, or `[torchrun, --nproc-per-node, "2"]`; behind a last `-m`, as a module."""
    steps_per_epoch: int | None = Field(default=None, ge=1, le=10_000_000)
    """Optimizer steps in an epoch, where the script does not tell them itself: it is not written in Python, say."""
    timeout: float = Field(default=1800.0, gt=0, le=1e7)
    """Seconds without an optimizer step or a figure after which a run hangs, and is ended."""
    overlap: Percentage | None = None
    """With `resample: true` the share that a validation part is of all it is drawn from: what two seeds' have in common."""

    @property
    def module(self) -> str:
        """The script as a module of its package, ``package.train``, where the launcher takes one; else nothing."""
        return ".".join(PurePosixPath(self.path).with_suffix("").parts) if (self.launcher or [""])[-1] == "-m" else ""


class ReportedMetric(BaseModel):
    """``metric`` of a script: what its `validation_metric` and `test_metric` are called, and which way they are better."""

    model_config = STRICT

    name: Annotated[str, Field(min_length=1, max_length=40)] = "metric"
    """As it is written in the report."""
    higher_is_better: bool = True
    """Whether more of it is better."""


ITS_OWN = "the script's own"
"""The name of an optimizer that params.yaml says no more of than its rate."""


class OwnOptimizer(BaseModel):
    """``optimizer`` of a script, which builds it itself."""

    model_config = STRICT

    lr: float = Field(gt=0, le=1e9)
    """Its learning rate, the 100% of all rates: `trial.lr` is what a run makes of it."""


def _own_optimizer(value: Any) -> Component:
    return value if isinstance(value, Component) else Component(ITS_OWN, OwnOptimizer.model_validate(value).model_dump())


THE_SCRIPTS = ("dataset", "model", "loss", "batch_size", "accumulate", "clip", "engine")
"""Keys of a problem that a script settles itself."""


class ScriptParams(ProblemParams):
    """One entry under ``problems`` with a ``script`` in place of dataset, model and batch size."""

    as_written = ("all that a script settles itself",)
    gives_weights = False
    script: Script
    """What trains; docs/own-training.md says what it has to do."""
    resample: bool = False
    """Whether each seed is to draw a split of its own, by `trial.split`."""
    optimizer: Annotated[Component, BeforeValidator(_own_optimizer)]
    """The rate of its optimizer: the 100% of all rates."""
    metric: ReportedMetric = ReportedMetric()  # type: ignore[assignment]  # it is told, not computed
    """What it reports beside the losses."""
    dataset: Component
    """Its files, as other problems name their data."""
    model: Component
    """Its arguments, as other problems name their model."""
    batch_size: int = 1
    """It makes the batches."""

    @property
    def pace(self) -> str:
        """The script settles it."""
        return "batches as the script makes them"

    @model_validator(mode="after")
    def _overlaps_where_it_draws(self) -> "ScriptParams":
        if self.script.overlap is not None and not self.resample:
            raise mistake("has a script.overlap, and all seeds have one split", "write `resample: true`, or leave it out")
        return self

    @model_validator(mode="before")
    @classmethod
    def _trains_itself(cls, entry: Any) -> Any:
        """What a script settles itself is none of params.yaml's; it stands where other problems have dataset and model."""
        for key in THE_SCRIPTS:
            if key in entry:
                wrong = mistake("is settled by the script", "take it out, or hand it over as script.args")
                raise nested(key, entry[key], wrong)
        script = {"path": entry["script"]} if isinstance(entry["script"], str) else entry["script"]
        if not isinstance(script, dict):
            return entry
        data, args = Component("script", {**script, "resample": entry.get("resample", False)}), script.get("args", {})
        model = Component(str(script.get("path")), args if isinstance(args, dict) else {"args": args})
        return {**entry, "script": script, "dataset": data, "model": model}


def problem_params(value: Any, info: ValidationInfo) -> ProblemParams:
    """The entry by its kind; what is wrong with it is told of that one."""
    if isinstance(value, ProblemParams):
        return value
    kind = ScriptParams if isinstance(value, dict) and "script" in value else ProblemParams
    return kind.model_validate(value, context=info.context)
