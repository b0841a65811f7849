"""params.yaml as frozen types.

Every mistake in the file is reported at once, each as
``params.yaml:LINE:COLUMN: path: what is wrong (what was given); what would be right``.
"""

import contextlib
import functools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from pipeline.config import document
from pipeline.config.callables import code_at
from pipeline.config.custom_module import MODULE
from pipeline.config.document import Loc, Mistake
from pipeline.config.errors import ParamsError
from pipeline.config.registry import STRICT, Alias, Registry
from pipeline.config.spaces import PeakRates, Range, SearchSpace, refuse_unfit
from pipeline.config.units import (
    Length,
    LengthOrZero,
    OptionalLengthOrZero,
    Percentage,
    PositiveRate,
    ShareUnit,
    percent,
    plain_length,
    share_of,
)
from pipeline.config.wording import in_words, is_path, mistake, suggestion

PARAMS_FILE = Path("params.yaml")
IGNORED = -100
"""The target that torch's cross-entropy leaves out, if no other is named."""
Interval = Literal["epoch", "batch"]
Epoch = Literal["last", "best"]
SamplerName = Literal["tpe", "random", "gp", "cmaes", "qmc"]


class Catalogue(Protocol):
    """The registered names that params.yaml may use: read-only attributes, so that any frozen class fits."""

    @property
    def datasets(self) -> Registry[Any]: ...  # noqa: D102  # the names say it
    @property
    def models(self) -> Registry[Any]: ...  # noqa: D102
    @property
    def optimizers(self) -> Registry[Any]: ...  # noqa: D102
    @property
    def losses(self) -> Registry[Any]: ...  # noqa: D102
    @property
    def metrics(self) -> Registry[Any]: ...  # noqa: D102
    @property
    def schedulers(self) -> Registry[Any]: ...  # noqa: D102


@dataclass(frozen=True)
class ComponentOf:
    """Validates ``{name: …, argument: …}`` against the registry that the catalogue holds under ``kind``.

    Without a catalogue it takes ``{name: …, args: {…}}``, which is what pydantic writes of one that was checked.
    """

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.validate)

    def validate(self, value: Any, info: core_schema.ValidationInfo) -> "Component":
        """The component with all its arguments, defaults filled in."""
        arguments = dict(_mapping(value))
        if info.context is None:
            return Component(**arguments)
        registry: Registry[Any] = getattr(info.context, self.kind)
        if self.kind == "datasets" and "path" in arguments:
            arguments.setdefault("name", "file")
        if "name" not in arguments:
            names = ", ".join(entry.name for entry in registry)
            raise _nested("name", None, mistake("is missing", f"add `name:` with one of {names}"))
        name = arguments.pop("name")
        try:
            entry = registry.find(name)
        except PydanticCustomError as error:
            raise _nested("name", name, error) from None
        if self.kind == "optimizers" and NO_DECAY in arguments and NO_DECAY not in entry.arguments.model_fields:
            spared = arguments.pop(NO_DECAY)
            own = entry.complete(arguments)
            return Component(entry.name, {**own, NO_DECAY: _no_decay(spared, own)})
        return Component(entry.name, entry.complete(arguments))


NO_DECAY = "no_decay"
"""What every optimizer with a weight decay takes beside its own arguments: the parameters that it leaves alone."""
_WORDS: TypeAdapter[list[str]] = TypeAdapter(
    Annotated[list[Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9_.]+$")]], Field(min_length=1)]
)


def _no_decay(spared: Any, arguments: Mapping[str, Any]) -> list[str]:
    """``no_decay`` of an optimizer with these arguments."""
    right = "write [bias, norm], embedding, or parts of the parameters' names"
    try:
        words = _WORDS.validate_python(_as_list(spared))
    except ValidationError:
        raise _nested(NO_DECAY, spared, mistake("is no list of words", right)) from None
    if not arguments.get("weight_decay"):
        wrong = "spares parameters the weight decay, and there is none"
        raise _nested(NO_DECAY, spared, mistake(wrong, "write a weight_decay above 0, or leave it out"))
    return words


@dataclass(frozen=True)
class Component:
    """A registered function by name, with all its arguments."""

    name: str
    args: Mapping[str, Any]


class Average(BaseModel):
    """``average``: a run is evaluated at a mean of the weights that it has had, as torch's ``AveragedModel`` keeps it."""

    model_config = STRICT

    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential mean, which takes in the weights after every optimizer step."""
    swa: OptionalLengthOrZero = None
    """Epochs, or their share of the run, after which a plain mean begins to take in the weights at the end of each."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "Average":
        if (self.ema is None) == (self.swa is None):
            raise mistake(f"has {'neither' if self.ema is None else 'both'} of ema and swa", "write either ema or swa")
        return self

    def in_epochs(self, epochs: int) -> "Average":
        """The same for a run of so many epochs, in torch's numbers."""
        return self if self.swa is None else Average(swa=plain_length(self.swa, epochs))


class Schedule(BaseModel):
    """One entry under ``schedulers``: a registered scheduler, its arguments as written, and its peak learning rate."""

    model_config = STRICT

    name: str
    """A registered scheduler, by its name here or in Hugging Face or timm; the label where it is left out."""
    args: dict[str, Any] = Field(default_factory=dict)
    """The scheduler's own arguments, as torch has them."""
    lr: PositiveRate = "100%"  # type: ignore[assignment]  # as written
    """The peak rate; 100% is the optimizer's own."""
    warmup: LengthOrZero = 0
    """Scheduler steps in which the rate first rises from 0 to the peak, in a straight line, or their share of the run."""
    interval: Interval | None = None
    """What it is stepped per; the scheduler's own usual one where it is left out."""
    average: Average | None = None
    """The mean of its weights that a run is evaluated at; the last weights where it is left out."""
    search: SearchSpace | None = None
    """What a study tries for each argument, in place of the registered search space."""

    @model_validator(mode="before")
    @classmethod
    def _by_its_name_here(cls, entry: Any, info: ValidationInfo) -> Any:
        """A schedule of Hugging Face's or timm's under the name that it is registered by."""
        if info.context is None or not isinstance(entry, dict):
            return entry
        registry = info.context.schedulers
        alias = registry.alias(entry.get("name"))
        if alias is None:
            return entry
        _refuse_foreign(entry, alias, registry[alias.name].arguments.model_fields)
        return alias.applied(entry)

    @field_validator("name")
    @classmethod
    def _is_registered(cls, name: str, info: ValidationInfo) -> str:
        return name if info.context is None else str(info.context.schedulers.find(name).name)

    @field_validator("args", mode="plain")
    @classmethod
    def _fit_the_signature(cls, args: Any, info: ValidationInfo) -> dict[str, Any]:
        given = _mapping(args)
        if info.context is None or "name" not in info.data:
            return given
        checked: dict[str, Any] = info.context.schedulers[info.data["name"]].check(given)
        return checked

    @field_validator("warmup")
    @classmethod
    def _leads_up_to_a_schedule(cls, warmup: Any, info: ValidationInfo) -> Any:
        if info.context is None or "name" not in info.data or not warmup:
            return warmup
        entry = info.context.schedulers[info.data["name"]]
        if entry.live:
            wrong = f"has no meaning before {entry.name}, which reacts to the loss from the first epoch on"
            raise mistake(wrong, "leave `warmup` out")
        own = entry.complete(info.data["args"]).get("warmup") if "args" in info.data else None
        if own and percent(str(own)) != 0:
            wrong = f"comes before {entry.name}, which has a warmup of {own} of its own"
            raise mistake(wrong, "leave this one out, and write how long it is as args.warmup")
        return warmup

    @field_validator("interval")
    @classmethod
    def _default_interval(cls, interval: Interval | None, info: ValidationInfo) -> Interval | None:
        if info.context is None or "name" not in info.data:
            return interval
        entry = info.context.schedulers[info.data["name"]]
        if entry.live and interval == "batch":
            wrong = f"{entry.name} reacts to the loss of an epoch and cannot be stepped per batch"
            raise mistake(wrong, "leave `interval` out")
        return interval or ("batch" if info.data.get("warmup") else entry.interval)

    @field_validator("average")
    @classmethod
    def _averages_once(cls, average: Average | None, info: ValidationInfo) -> Average | None:
        if average is not None and info.context is not None and "name" in info.data:
            entry = info.context.schedulers[info.data["name"]]
            if entry.schedule_free:
                raise mistake(f"comes on top of {entry.name}, which averages the weights itself", "leave `average` out")
        return average

    @field_validator("search")
    @classmethod
    def _search_fits_the_signature(cls, search: SearchSpace | None, info: ValidationInfo) -> SearchSpace | None:
        if search is None or info.context is None or not {"name", "args"} <= info.data.keys():
            return search
        entry = info.context.schedulers[info.data["name"]]
        refuse_unfit(search, entry, info.data["args"], settled=entry.begins if info.data.get("warmup") else ())
        return search

    @property
    def key(self) -> str:
        """Canonical text; equal for schedules that train the same."""
        unused = {"search"} if self.average else {"search", "average"}
        code = code_at(self.args.values())
        return json.dumps(self.model_dump(exclude=unused) | ({"code": code} if code else {}), sort_keys=True)


def _refuse_foreign(entry: dict[str, Any], alias: Alias, known: Iterable[str]) -> None:
    """Arguments by the other library's names are told with ours."""
    error = mistake(f"is not an argument of {alias.name}, which {entry['name']} is here", alias.hint, key=True)
    args = entry.get("args")
    foreign = {key: args[key] for key in args if key not in known} if isinstance(args, dict) else {}
    if foreign:
        lines = [InitErrorDetails(type=error, loc=("args", key), input=value) for key, value in foreign.items()]
        raise ValidationError.from_exception_data("schedule", lines)


def _named_after_label(value: Any) -> Any:
    """A scheduler's name is its label where none is given."""
    if not isinstance(value, dict):
        return value
    return {label: {"name": label, **entry} if isinstance(entry, dict) else entry for label, entry in value.items()}


def _is_label(label: str) -> str:
    """Labels become file names, DVC stages, MLflow run names and study names; DVC reads a dot as a step into a mapping."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", label):
        raise mistake("is not a usable name", "use up to 64 letters, digits, _ and -, beginning with a letter or digit")
    return label


def _is_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name):
        raise mistake("is not a device", "write auto, cpu, cuda, cuda:0, cuda:1 … or mps")
    return name


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _is_module(name: str) -> str:
    if not MODULE.fullmatch(name):
        raise mistake("is not the name of a module", "write it as in an import, such as mypackage.schedulers")
    return name


Modules = Annotated[list[Annotated[str, AfterValidator(_is_module)]], BeforeValidator(_as_list)]

RESERVED = ("across", "all", "made", "reading", "report")
"""Sections and figures of the report that are of no problem, and the report's own experiment in MLflow."""


def _is_free(name: str) -> str:
    if name in RESERVED:
        raise mistake("is a name that the report has for itself", "give the problem another one")
    return name


Label = Annotated[str, AfterValidator(_is_label)]
ProblemName = Annotated[Label, AfterValidator(_is_free)]
Schedules = Annotated[dict[Label, Schedule], BeforeValidator(_named_after_label)]


class Clipping(BaseModel):
    """``clip``: either the largest ``norm`` of all gradients together, or the largest absolute ``value`` of each number."""

    model_config = STRICT

    norm: float | None = Field(default=None, gt=0, le=1e9)
    """The largest norm of all gradients together."""
    value: float | None = Field(default=None, gt=0, le=1e9)
    """The largest absolute value of each number."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "Clipping":
        if (self.norm is None) == (self.value is None):
            raise mistake(f"has {'neither' if self.norm is None else 'both'} of norm and value", "write either norm or value")
        return self


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


class Script(BaseModel):
    """``script``: a training script of your own, under `inputs/`; each run is a process of it."""

    model_config = STRICT

    path: Annotated[str, AfterValidator(_is_below)]
    """The script, under `inputs/`: one that ends in `.py` is started by this Python, any other by itself."""
    args: dict[str, Any] = Field(default_factory=dict)
    """What is handed over on its command line, as `--key value`; `true` as `--key` alone."""
    inputs: list[Annotated[str, AfterValidator(_is_below)]] = Field(default_factory=list)
    """Files and folders under `inputs/` that it reads: a run is another one where they have changed."""
    launcher: Annotated[list[str] | None, BeforeValidator(_as_list)] = None
    """What starts it, such as another Python, or `[torchrun, --nproc-per-node, "2"]`."""
    steps_per_epoch: int | None = Field(default=None, ge=1, le=10_000_000)
    """Optimizer steps in an epoch, where the script does not tell them itself: it is not written in Python, say."""
    timeout: float = Field(default=1800.0, gt=0, le=1e7)
    """Seconds without an optimizer step or a figure after which a run hangs, and is ended."""
    overlap: Percentage | None = None
    """With `resample: true` the share that a validation part is of all it is drawn from: what two seeds' have in common."""


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


def _by_path(script: Any) -> Any:
    return {"path": script} if isinstance(script, str) else script


def _own_optimizer(value: Any) -> Component:
    return value if isinstance(value, Component) else Component(ITS_OWN, OwnOptimizer.model_validate(value).model_dump())


class ScriptParams(ProblemParams):
    """One entry under ``problems`` with a ``script`` in place of dataset, model and batch size."""

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
                raise _nested(
                    key, entry[key], mistake("is settled by the script", "take it out, or hand it over as script.args")
                )
        script = _by_path(entry["script"])
        if not isinstance(script, dict):
            return entry
        data = Component("script", {**script, "resample": entry.get("resample", False)})
        return {**entry, "script": script, "dataset": data, "model": Component(str(script.get("path")), script.get("args", {}))}


THE_SCRIPTS = ("dataset", "model", "loss", "batch_size", "accumulate", "clip", "engine")
"""Keys of a problem that a script settles itself."""


def _problem(value: Any, info: ValidationInfo) -> ProblemParams:
    """The entry by its kind; what is wrong with it is told of that one."""
    if isinstance(value, ProblemParams):
        return value
    kind = ScriptParams if isinstance(value, dict) and "script" in value else ProblemParams
    return kind.model_validate(value, context=info.context)


class TuneParams(BaseModel):
    """``tune``: one study per scheduler and seed, of ``trials`` trials each.

    ``batch`` of them are asked for at a time, fewer in a last round where it does not divide them.
    """

    model_config = STRICT

    trials: int = Field(default=32, ge=1, le=100_000)
    """Trials of each study; the first is the configuration in params.yaml."""
    batch: int = Field(default=8, ge=1, le=10_000)
    """Trials that are asked for at a time, before any of them is told."""
    sampler: SamplerName = "tpe"
    """Optuna's sampler."""
    lr: PeakRates = PeakRates()
    """The range of peak rates."""


class SweepParams(BaseModel):
    """``sweep``: peak rates tried on each recommended shape, over the range of ``tune.lr``; budgets beside the full one."""

    model_config = STRICT

    points: int = Field(default=10, ge=2, le=1000)
    """Peak rates on each recommended shape, evenly in the logarithm."""
    budgets: list[Length] = Field(default=["10%", "25%", "50%"], max_length=100, validate_default=True)
    """Epochs, or shares of the problem's."""


def _none_is_nothing(value: Any) -> Any:
    return None if value == "none" else value


class Margins(BaseModel):
    """``matters``: the smallest differences of interest, as shares of what they are compared with."""

    model_config = STRICT

    loss: Percentage = "1%"
    """Of the loss it is compared with."""
    metric: Percentage = "1%"
    """Of the headline metric it is compared with."""


def _for_both(value: Any) -> Any:
    """A plain percentage is that of the loss and of the metric."""
    if isinstance(value, dict | Margins):
        return value
    share = ShareUnit().validate(value)
    return {"loss": share, "metric": share}


class ReportParams(BaseModel):
    """``report``: the tutorial's table shows every ``every``-th epoch; differences are taken to ``baseline``."""

    model_config = STRICT

    every: int = Field(default=10, ge=1, le=100_000)
    """The step between the epochs of `reports/learning_rates.csv`."""
    baseline: str
    """The label that all others are compared with."""
    at: Epoch = "last"
    """The epoch of each run that is judged, tested and kept: its last, or the one of lowest validation loss."""
    matters: Annotated[Margins, BeforeValidator(_for_both)] = Margins()
    """The smallest differences of interest, in loss and in the headline metric; a plain percentage is that of both."""
    target: dict[Label, Annotated[float, Field(gt=0, le=1e9)]] = Field(default_factory=dict)
    """Problem → the validation loss to be reached; where it is left out, what the untuned baseline comes to."""

    @property
    def margin(self) -> float:
        """The smallest difference in loss that matters, as a number from 0 to 1."""
        return share_of(self.matters.loss)

    @property
    def metric_margin(self) -> float:
        """The same of the headline metric."""
        return share_of(self.matters.metric)


FRESH = 1000
"""The first seed of a numbering that is not reached from 0: more seeds of either kind change none of the other."""


class SeedRange(BaseModel):
    """``seeds`` as a range: studies on ``least``, and a confirmation that goes on from as many up to ``most``."""

    model_config = STRICT

    least: int = Field(ge=2, le=FRESH)
    """Of every study, and the first look of the confirmation."""
    most: int = Field(ge=2, le=FRESH)
    """Of the confirmation, where fewer do not settle it."""

    @field_validator("most")
    @classmethod
    def _is_no_less_than_least(cls, most: int, info: ValidationInfo) -> int:
        least = info.data.get("least", most)
        if most < least:
            raise mistake(f"is below least, {least}", f"write {least} or more")
        return most


_NUMBER: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(strict=True, ge=2, le=FRESH)])


def _seeds(value: Any) -> int | SeedRange:
    """A number or a range; what is wrong is told of the one that is meant."""
    return SeedRange.model_validate(value) if isinstance(value, dict) else _NUMBER.validate_python(value)


class Params(BaseModel):
    """All of params.yaml."""

    model_config = STRICT

    code: Modules = Field(default_factory=list)
    """Modules of the user's own that register something, beside ``pipeline/custom.py``."""
    device: Annotated[str, AfterValidator(_is_device)] = "auto"
    """Where to train: `auto`, `cpu`, `cuda`, `cuda:0`, … or `mps`."""
    keep_model: bool = False
    """Whether each problem's best run is kept as a model, in reports/best and in MLflow's registry."""
    seeds: Annotated[int | SeedRange, BeforeValidator(_seeds)]
    """Whole replicates, each with its own split, initial weights, data order and tuning; or `{least: 6, most: 40}`."""
    problems: dict[ProblemName, SerializeAsAny[Annotated[ProblemParams, BeforeValidator(_problem)]]] = Field(min_length=1)
    """What to train on, by a name of yours."""
    schedulers: Schedules = Field(min_length=1)
    """What is compared, by a label of yours."""
    tune: TuneParams = TuneParams()
    """The search for each scheduler's best configuration."""
    sweep: Annotated[SweepParams | None, BeforeValidator(_none_is_nothing)] = SweepParams()
    """How much the peak rate and the budget matter; `none` leaves that out."""
    report: ReportParams
    """What the report compares with, and how exactly."""

    @property
    def seed_range(self) -> SeedRange:
        """``seeds`` as a range; a plain number is both ends of it."""
        return self.seeds if isinstance(self.seeds, SeedRange) else SeedRange(least=self.seeds, most=self.seeds)

    @property
    def fresh(self) -> range:
        """The seeds of replicates on which nothing is chosen, as many as it may take: there it is confirmed."""
        return range(FRESH, FRESH + self.seed_range.most)

    @property
    def replicates(self) -> list[int]:
        """Every seed that any stage may train on."""
        return [*range(self.seed_range.least), *self.fresh]

    @property
    def kept_models(self) -> list[str]:
        """The problems of which a model is kept; what a script trains is its own affair."""
        return [name for name, problem in self.problems.items() if self.keep_model and not isinstance(problem, ScriptParams)]

    def problem(self, name: str) -> ProblemParams:
        """The problem of that name; :class:`ParamsError` with the nearest one where it is unknown."""
        if name not in self.problems:
            raise ParamsError(f"there is no problem {name!r} in params.yaml; {suggestion(name, self.problems)}")
        return self.problems[name]

    def schedules(self, problem: str) -> dict[str, Schedule]:
        """The schedules of a problem by label: the common ones, with the problem's own in place of or after them."""
        return self.schedulers | self.problems[problem].schedulers


@functools.cache
def load_params(catalogue: Catalogue, path: Path = PARAMS_FILE) -> Params:
    """params.yaml, read once per process; raises :class:`ParamsError` with every mistake in it."""
    file, data = document.read(path)
    mistakes = [*_baseline_is_missing(data), *_target_of_no_problem(data)]
    try:
        params = Params.model_validate(data, context=catalogue)
    except ValidationError as error:
        mistakes += [_placed(e) for e in error.errors()]
    if mistakes or file.unusable:
        raise file.error(mistakes)
    return params


@contextlib.contextmanager
def working_in(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Work in another folder, whose params.yaml is another one, with these variables in the ``environment``."""
    before = {name: os.environ.get(name) for name in environment or {}}
    load_params.cache_clear()
    os.environ.update(environment or {})
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ |= {} if value is None else {name: value}
        load_params.cache_clear()


def placed_in(mistakes: Iterable[tuple[Loc, Any, str, str]], path: Path = PARAMS_FILE) -> ParamsError:
    """A :class:`ParamsError` for mistakes found after reading: (place in the file, given, what is wrong, what is right)."""
    file, _ = document.read(path)
    return file.error(Mistake(loc, wrong, right, given) for loc, given, wrong, right in mistakes)


def _baseline_is_missing(data: dict[str, Any]) -> Iterator[Mistake]:
    """Compared with the labels as written, so that it is told beside whatever else is wrong."""
    baseline = _entries(data.get("report")).get("baseline")
    common, problems = _entries(data.get("schedulers")), _entries(data.get("problems"))
    own = [_entries(_entries(problem).get("schedulers")) for problem in problems.values()]
    labels = [*common, *(label for label in (own[0] if own else []) if all(label in others for others in own))]
    if isinstance(baseline, str) and labels and baseline not in labels:
        yield Mistake(("report", "baseline"), "is not the label of a scheduler in every problem", suggestion(baseline, labels))


def _target_of_no_problem(data: dict[str, Any]) -> Iterator[Mistake]:
    """As above, by the problems as written."""
    problems = _entries(data.get("problems"))
    for name in _entries(_entries(data.get("report")).get("target")):
        if isinstance(name, str) and problems and name not in problems:
            yield Mistake(("report", "target", name), "is not a problem", suggestion(name, problems), key=True)


def _entries(section: Any) -> dict[str, Any]:
    return section if isinstance(section, dict) else {}


def _placed(error: ErrorDetails) -> Mistake:
    words = in_words(error, _known_keys(error["loc"])).context or {}
    loc = tuple(part for part in error["loc"] if part != "[key]")
    key = words["key"] or loc != error["loc"]
    given = None if error["type"] == "missing" else error["input"]
    return Mistake(loc, words["wrong"], words["right"], given, key)


SECTIONS: Mapping[str, type[BaseModel]] = {
    "report": ReportParams, "seeds": SeedRange, "sweep": SweepParams, "tune": TuneParams,
}  # fmt: skip
OF_A_PROBLEM: Mapping[str, type[BaseModel]] = {"clip": Clipping, "resources": Resources, "script": Script}


def _known_keys(loc: Loc) -> Iterable[str]:
    """The keys that are known beside an unknown one."""
    match loc:
        case (_,):
            return Params.model_fields
        case ("problems", _, str(section), _) if section in OF_A_PROBLEM:
            return OF_A_PROBLEM[section].model_fields
        case (*_, "schedulers", _, "average", _):
            return Average.model_fields
        case ("problems", _, _):
            return {**ProblemParams.model_fields, **ScriptParams.model_fields}
        case ("report", "matters", _):
            return Margins.model_fields
        case (str(section), _) if section in SECTIONS:
            return SECTIONS[section].model_fields
        case ("tune", "lr", _):
            return PeakRates.model_fields
        case (*_, "search", _, _):
            return Range.model_fields
        case _:
            return Schedule.model_fields


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise mistake("is not a mapping", "write `key: value`, one a line, or {key: value, …}")
    return value


def _nested(key: str, given: Any, error: PydanticCustomError) -> ValidationError:
    """``error`` as one about the entry ``key`` of what is validated."""
    return ValidationError.from_exception_data("params", [InitErrorDetails(type=error, loc=(key,), input=given)])
