"""params.yaml as frozen types.

Every mistake in the file is reported at once, each as
``params.yaml:LINE:COLUMN: path: what is wrong (what was given); what would be right``.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails

from pipeline.config import document
from pipeline.config.components import Catalogue, as_list
from pipeline.config.custom_module import MODULE
from pipeline.config.document import Loc, Mistake
from pipeline.config.errors import ParamsError
from pipeline.config.fingerprints import fingerprint
from pipeline.config.problem_params import Clipping, ProblemParams, Resources, Script, ScriptParams, problem_params
from pipeline.config.registry import STRICT
from pipeline.config.schedules import Average, Label, Schedule, Schedules
from pipeline.config.spaces import PeakRates, Range
from pipeline.config.units import Length, Percentage, ShareUnit, share_of
from pipeline.config.wording import in_words, mistake, such_that, suggestion

PARAMS_FILE = Path("params.yaml")
Epoch = Literal["last", "best"]
SamplerName = Literal["tpe", "random", "gp", "cmaes", "qmc"]


DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?")
Device = Annotated[str, such_that(DEVICE.fullmatch, "is not a device", "write auto, cpu, cuda, cuda:0, cuda:1 … or mps")]
_IMPORTED = "write it as in an import, such as mypackage.schedulers"
Module = Annotated[str, such_that(MODULE.fullmatch, "is not the name of a module", _IMPORTED)]
RESERVED = ("across", "all", "made", "reading", "report")
"""Sections and figures of the report that are of no problem, and the report's own experiment in MLflow."""
_RESERVED = ("is a name that the report has for itself", "give the problem another one")
ProblemName = Annotated[Label, such_that(lambda name: name not in RESERVED, *_RESERVED)]


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

    code: Annotated[list[Module], BeforeValidator(as_list)] = Field(default_factory=list)
    """Modules of the user's own that register something, beside ``pipeline/custom.py``."""
    device: Device = "auto"
    """Where to train: `auto`, `cpu`, `cuda`, `cuda:0`, … or `mps`."""
    keep_model: bool = False
    """Whether each problem's best run is kept as a model, in reports/best and in MLflow's registry."""
    seeds: Annotated[int | SeedRange, BeforeValidator(_seeds)]
    """Whole replicates, each with its own split, initial weights, data order and tuning; or `{least: 6, most: 40}`."""
    problems: dict[ProblemName, SerializeAsAny[Annotated[ProblemParams, BeforeValidator(problem_params)]]] = Field(min_length=1)
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
        return [name for name, problem in self.problems.items() if self.keep_model and problem.gives_weights]

    def problem(self, name: str) -> ProblemParams:
        """The problem of that name; :class:`ParamsError` with the nearest one where it is unknown."""
        if name not in self.problems:
            raise ParamsError(f"there is no problem {name!r} in params.yaml; {suggestion(name, self.problems)}")
        return self.problems[name]

    def schedules(self, problem: str) -> dict[str, Schedule]:
        """The schedules of a problem by label: the common ones, with the problem's own in place of or after them."""
        return self.schedulers | self.problems[problem].schedulers

    def digest(self, problem: str) -> str:
        """A name for all that is said of a problem, its schedules included."""
        schedules = {label: schedule.model_dump(mode="json") for label, schedule in self.schedules(problem).items()}
        return fingerprint(self.problems[problem].model_dump(mode="json"), schedules)


def load_params(catalogue: Catalogue, path: Path = PARAMS_FILE) -> Params:
    """params.yaml as it is now; raises :class:`ParamsError` with every mistake in it."""
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
    """Work in another folder, with these variables in the ``environment``."""
    before = {name: os.environ.get(name) for name in environment or {}}
    os.environ.update(environment or {})
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ |= {} if value is None else {name: value}


def placed_in(mistakes: Iterable[tuple[Loc, Any, str, str]]) -> ParamsError:
    """A :class:`ParamsError` for mistakes found after reading: (place in the file, given, what is wrong, what is right)."""
    file, _ = document.read(PARAMS_FILE)
    return file.error(Mistake(loc, wrong, right, given) for loc, given, wrong, right in mistakes)


def refuse(mistakes: Iterable[tuple[Loc, Any, str, str]]) -> None:
    """Raise it where there are some."""
    if found := list(mistakes):
        raise placed_in(found)


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
