"""The answer to a problem, in words and figures: what to use, what it may cost, how wrong the rate may be, what else costs.

The words are made here and nowhere else: the page shows them, ``reports/answer.json`` keeps them, and ``python -m pipeline``
prints them from there.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from pipeline.analysis.choice import Choice, simplest_first
from pipeline.analysis.ends import ends, warning
from pipeline.analysis.learned import learned
from pipeline.analysis.statistics import CRITERION, matrices
from pipeline.analysis.summary import (
    MISSING,
    NOTHING,
    UNBOUNDED,
    at_most,
    called,
    elsewhere,
    rounded,
    share,
    short,
    unusual,
)
from pipeline.analysis.tables import ProblemResults, Row, records
from pipeline.config.params import ReportParams
from pipeline.config.schedules import Schedule
from pipeline.config.wording import counted, listing
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import monitored
from pipeline.statistics import unpaired
from pipeline.statistics.comparison import Reason
from pipeline.statistics.components import level

CLOSEST = "the safest of the others"
SIMPLEST = "the simplest other scheduler"
COSTS = "on these data, at 95%"
"""What the costs of the alternatives speak of."""


@dataclass(frozen=True)
class Alternative:
    """What somebody might take instead, and its cost against the best: a share of the lowest mean loss, and its bound at 95%.

    Costs are those on these data.

    ``bound`` is NaN where nothing bounds the cost; ``cost`` is NaN too where no run finished.
    """

    scheduler: str
    what: str
    cost: float
    bound: float
    words: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a problem's last variant recommends.

    ``scheduler`` is None, and all of the configuration empty, where no run finished. ``arguments`` and the rates are rounded
    as a person would; ``lowest_lr`` and ``highest_lr`` are what the peak rate may be for 5% of loss, NaN where that is unknown.
    ``turned`` says who does better by another epoch than the one that is judged.
    """

    problem: str
    variant: str
    scheduler: str | None = None
    lr: str = MISSING
    arguments: Mapping[str, str] = field(default_factory=dict)
    stepped: str = ""
    kept: str = ""
    """Which epoch's weights, where it is not the last."""
    optimizer: str = ""
    bound: float
    like_these: float
    is_bounded: bool
    tolerance: float = math.nan
    lowest_lr: float = math.nan
    highest_lr: float = math.nan
    alternatives: Sequence[Alternative] = ()
    cost: str = ""
    turned: str = ""
    rate: str = ""
    caution: str = ""
    learned: str = ""
    """Where it is no better than the same answer for every sample, that."""

    @property
    def use(self) -> str:
        """What to use, in a line."""
        if self.scheduler is None:
            return NOTHING
        given = "".join(f", {name}={value}" for name, value in self.arguments.items())
        return f"{self.scheduler} with {self.optimizer}, peak learning rate {self.lr}{given}, {self.stepped}{self.kept}"

    @property
    def instead(self) -> str:
        """What the obvious alternatives cost, in a line."""
        return f"{COSTS}: " + "; ".join(f"{other.scheduler} ({other.what}) {other.words}" for other in self.alternatives)

    @property
    def titled(self) -> list[tuple[str, str]]:
        """What to use, what it may cost, how wrong the rate may be and what else costs, each behind what it is about.

        Where nothing is learned, that stands behind the first.
        """
        if self.scheduler is None:
            remedy = "lower the learning rates; a script's train_loss must not rise as it trains well"
            return [("use", self.use), ("cost", remedy), ("rate", MISSING)]
        but = [("but", self.learned)] if self.learned else []
        cost = "; ".join(filter(None, [self.cost, self.turned]))
        instead = [("instead", self.instead)] if self.alternatives else []
        return [("use", self.use), *but, ("cost", cost), ("rate", self.rate), *instead]

    def as_json(self) -> dict[str, Any]:
        """All of it, to be written to a file."""
        return {**asdict(self), "titled": self.titled}


def best_file(problem: str, label: str | None = None) -> str:
    """The file of a scheduler, or of what is recommended for a problem, beside the page, as a link writes it."""
    return f"best/{quote(problem)}.py" if label is None else f"best/{quote(problem)}/{quote(label)}.py"


def answer_to(
    results: ProblemResults, compared: pd.DataFrame, widths: pd.DataFrame, chosen: Choice, baseline: str,
    turned: str = "",
) -> Answer:  # fmt: skip
    """The answer that ``chosen`` gives; ``compared`` and ``widths`` have the problem's rows, as :func:`choices` takes them.

    ``turned`` says where another epoch would turn it (:func:`pipeline.analysis.epochs.turned`).
    """
    known: dict[str, Any] = {"problem": results.name, "variant": chosen.variant, "is_bounded": chosen.is_bounded}
    known |= {"bound": chosen.bound, "like_these": chosen.like_these}
    if chosen.scheduler is None or chosen.run is None:
        return Answer(**known)
    rows = {row["scheduler"]: row for row in records(compared[compared["variant"] == chosen.variant])}
    run = records(results.runs[results.runs["run"] == chosen.run])[0]
    rate, lowest, highest = _rate(chosen, records(widths[widths["scheduler"] == chosen.scheduler]))
    others = simplest_first(results, widths, baseline)
    return Answer(
        **known,
        scheduler=chosen.scheduler,
        lr=short(float(run["lr"])),
        arguments=_arguments(run),
        stepped=_stepped(run),
        kept=", with the weights of the epoch of lowest validation loss" if results.at == "best" else "",
        optimizer=_optimizer(results, run),
        tolerance=chosen.tolerance,
        lowest_lr=lowest,
        highest_lr=highest,
        alternatives=tuple(_alternatives(results, compared, rows, others, chosen, baseline)),
        cost=_cost(chosen, rows),
        turned=turned,
        rate=rate,
        caution=warning(ends(results.trials)),
        learned=learned(results, chosen.variant, chosen.scheduler),
    )


def one_for_all(answers: Sequence[Answer], comparison: pd.DataFrame, asked: ReportParams) -> str:
    """Whether one scheduler does for all problems, tuned for each: the baseline if it does, else what costs least at worst.

    Nothing where there is one problem, or one without an answer.
    """
    if len(answers) < 2 or any(answer.scheduler is None for answer in answers):
        return ""
    judged = pd.DataFrame([(answer.problem, answer.variant) for answer in answers], columns=["problem", "variant"])
    bounds = comparison.merge(judged).pivot(index="scheduler", columns="problem", values="regret_bound").astype(float)
    worst = bounds.max(axis="columns", skipna=False)
    worst = worst[np.isfinite(worst)]  # what a problem lacks is NaN
    tuned = "" if any(answer.variant == "default" for answer in answers) else " (tuned for each)"
    one = f"no one scheduler surely does for all {len(answers)} problems"
    if worst.empty:
        return f"{one}: what each costs is not known on some of them"
    label = asked.baseline if worst.get(asked.baseline, math.inf) <= asked.margin else str(worst.idxmin())
    most, where = at_most(float(worst[label])), bounds.loc[label].idxmax()
    if worst[label] <= asked.margin:
        return f"{label}{tuned} does for all {len(answers)} problems: at most {most} more loss than the best of any"
    return f"{one}; the safest is {label}{tuned}: at most {most} more loss than the best (on {where})"


Range = tuple[float, float]
NARROWED_BY = {
    "seeds": "raise seeds in params.yaml{enough}, then make repro",
    "trials": "raise tune.trials in params.yaml, then make repro",
}
"""What makes a bound narrower, by what the noise is mostly due to."""
MOST_ADVISED = 100
"""Seeds; more are no advice."""


def next_steps(
    answers: Sequence[Answer], due_to: Mapping[str, str], enough: Mapping[str, Range], to_paste: Collection[str] = ()
) -> list[str]:
    """What to try next, a line each; ``due_to`` is problem → a key of :data:`NARROWED_BY`, seeds where it does not say.

    ``enough`` is problem → from how many to how many seeds detect a difference that matters; of several problems,
    what all of them need.
    Where that is more than anybody trains, what is named is as good as it gets.

    What is recommended for the problems ``to_paste`` belongs into a script of the user's own.
    """
    known = [answer for answer in answers if answer.scheduler is not None]
    unsure: dict[str, list[str]] = {}
    for answer in known:
        if not answer.is_bounded:
            unsure.setdefault(due_to.get(answer.problem, "seeds"), []).append(answer.problem)
    steps = [
        f"{'paste it:' if answer.problem in to_paste else 'try it: python'} reports/{best_file(answer.problem)}"
        for answer in known[:1]
    ]
    for what, own in unsure.items():
        needed = {name: enough.get(name, (math.nan, math.nan)) for name in own}
        far = [name for name in own if what == "seeds" and needed[name][0] > MOST_ADVISED]
        if near := [name for name in own if name not in far]:
            low, high = np.max([needed[name] for name in near], axis=0)
            many = f"{low:.0f} {f'to {high:.0f}' if math.isfinite(high) else 'or more'}"
            told = f" ({many} would detect a difference that matters)"
            steps.append(f"narrow what {listing(near)} may cost: {NARROWED_BY[what].format(enough=told * math.isfinite(low))}")
        if far:
            least = f"it takes {min(needed[name][0] for name in far):.0f} seeds or more to detect a difference that matters"
            steps.append(f"take what is named for {listing(far)}: {least}, unless you write a larger report.matters")
    return steps + [f"{answer.problem}: {answer.caution}" for answer in known if answer.caution]


def _arguments(run: Row) -> dict[str, str]:
    """The arguments in torch's own numbers, but for those that are torch's defaults."""
    fields = schedulers[run["name"]].arguments.model_fields
    resolved = json.loads(run["resolved"])
    given = {name: value for name, value in resolved.items() if name not in fields or value != fields[name].default}
    warmup = {"warmup": f"{int(run['warmup'])} steps"} if run["warmup"] else {}
    return {**{name: rounded(value) for name, value in given.items() if value is not None}, **warmup}


def _stepped(run: Row) -> str:
    """After what the scheduler is stepped, and with which figure where it watches one."""
    watched = monitored(Schedule(name=run["name"], args=json.loads(run["resolved"]), interval=run["interval"]))
    figure = f" with its {watched.replace('train_', 'training_').replace('_', ' ')}" if watched else ""
    return f"stepped after every {run['interval']}{figure}"


def _optimizer(results: ProblemResults, run: Row) -> str:
    """The optimizer with what is not torch's default, the clipping of gradients and the averaging of weights."""
    found, clip = json.loads(run["optimizer"]), results.params.clip
    args = {**found["args"], "lr": float(run["lr"])}
    unlike = {name: value for name, value in unusual(found["name"], args).items() if name != "lr"}
    given = {name: rounded(value) if isinstance(value, list) else value for name, value in unlike.items()}
    words = [called(found["name"], given)]
    if clip:
        kind, most = ("norm", clip.norm) if clip.norm else ("value", clip.value)
        words.append(f"gradients clipped to a {kind} of {most:g}")
    if found.get("average"):
        words.append(f"weights averaged ({', '.join(f'{key} {value}' for key, value in found['average'].items())})")
    return ", ".join(words)


def _cost(chosen: Choice, rows: Mapping[str, Row]) -> str:
    """How close it is, what it may cost to choose this one of the schedulers, and how often it diverged."""
    row = rows[str(chosen.scheduler)]
    failed = f"; it diverged in {row['diverged']} of {counted(int(row['runs']), 'run')}" if row["diverged"] else ""
    if chosen.reason is Reason.LOWEST_LOSS:
        return f"not settled: {UNBOUNDED}{failed}"
    if at_most(chosen.bound) == "0.0%":
        return f"{'nothing: no other scheduler is better' if len(rows) > 1 else 'there is no other'}{failed}"
    if chosen.is_bounded:
        how, why = "near tie", "the simplest of those that cost too little to matter"
    elif float(row["regret"]) == 0:
        how, why = "not settled", "its mean is the lowest, but another may be better by as much as that"
    else:
        how, why = "not settled", "every other scheduler may cost more"
    able = sum(bool(other["in_set"]) for other in rows.values())
    said = f"{able} of {counted(len(rows), 'scheduler')} may be the best" if row["in_set"] else "another is better"
    most = f"at most {at_most(chosen.bound)} more loss than the best{elsewhere(chosen)}"
    return f"{how} ({said}): at 95%, {most}; {why}{failed}"


def _rate(chosen: Choice, swept: Sequence[Row]) -> tuple[str, float, float]:
    """How wrong the peak rate may be, and from which to which rate 5% of loss are not exceeded, NaN where that is unknown.

    ``swept`` is the row of the scheduler's own sweep, if there was one.
    """
    why = "no sweep of rates has been run on it"
    for row in swept:
        best, low, high = (float(row[name]) for name in ("best_lr", "lowest_lr", "highest_lr"))
        span = f"from {short(low)} to {short(high)}"
        if not math.isnan(chosen.tolerance):
            return f"anything {span} stays within about 5% of the lowest loss", low, high
        why = f"its sweep was best at {short(best)}, with at most 5% more loss {span}; more sweep.points tell more"
        if math.isnan(best):
            why = "at every rate of its sweep some run diverged"
    return f"how wrong it may be is not known: {why}", math.nan, math.nan


def _alternatives(
    results: ProblemResults,
    compared: pd.DataFrame,
    rows: Mapping[str, Row],
    order: Sequence[str],
    chosen: Choice,
    baseline: str,
) -> Iterator[Alternative]:
    """The baseline, the one of the lowest bound and the simplest of all others, and the recommended one as it was written."""
    able = [label for label, row in rows.items() if not math.isnan(float(row[CRITERION]))]
    others = [label for label in order if label in able and label not in (chosen.scheduler, baseline)]
    if baseline in rows and baseline != chosen.scheduler:
        yield _alternative(rows[baseline], "the baseline")
    bounded = [label for label in others if math.isfinite(float(rows[label]["regret_bound"]))]
    closest = min(bounded, key=lambda label: (float(rows[label]["regret_bound"]), label), default=None)
    if closest:
        yield _alternative(rows[closest], CLOSEST)
    if others and others[0] != closest:
        yield _alternative(rows[others[0]], SIMPLEST)
    written = records(compared[(compared["variant"] == "default") & (compared["scheduler"] == chosen.scheduler)])
    if chosen.variant != "default" and written:
        own = results.runs[results.runs["scheduler"] == chosen.scheduler].set_index("variant")[["lr", "resolved", "warmup"]]
        first, recommended = own.loc[["default"]].iloc[0], own.loc[[chosen.variant]].iloc[0]
        if not first.equals(recommended):  # else it is as it was written
            what = f"untuned, as you wrote it, at peak learning rate {short(float(first['lr']))}"
            yield _as_written(written[0], what, results, chosen)


def _as_written(row: Row, what: str, results: ProblemResults, chosen: Choice) -> Alternative:
    """The same scheduler as it was written: on other seeds, so that the difference is that of independent means."""
    own = results.runs[results.runs["scheduler"] == chosen.scheduler]
    both = ("default", chosen.variant)
    losses = {variant: next(iter(matrices(own[own["variant"] == variant]).values())) for variant in both}
    mean = abs(level(losses[chosen.variant]).mean)
    if math.isnan(float(row[CRITERION])) or not mean > 0:
        return _alternative({**row, "regret": math.nan, "regret_bound": math.nan}, what)
    cost, low, high = unpaired.excess(losses, "default", chosen.variant)
    words = _between(low, high) if high >= low else _about(cost)
    return Alternative(str(row["scheduler"]), what, cost, high, f"{words} than tuned{_diverged(row)}")


def _between(low: float, high: float) -> str:
    """An interval of what something costs more, in words."""
    least, most = (share(abs(end)) if abs(end) < 0.1 else f"{abs(end):.0%}" for end in (low, high))
    if low > 0:
        return f"{least} to {most} more" if least != most else f"{most} more"
    if low <= -1:  # no loss is less than nothing: these runs cannot tell
        return f"anything up to {most} more" if high > 0 else f"at least {most} less"
    return f"{least} less to {most} more" if high > 0 else f"{most} to {least} less"


def _alternative(row: Row, what: str) -> Alternative:
    cost, bound = float(row["regret"]), float(row["regret_bound"])
    is_there = not math.isnan(float(row[CRITERION]))
    words = f"{_more(cost, bound)}{_diverged(row)}" if is_there else "diverged in every run"
    return Alternative(str(row["scheduler"]), what, cost, bound if math.isfinite(bound) else math.nan, words)


def _diverged(row: Row) -> str:
    return f", diverged in {row['diverged']} of {row['runs']} runs" if row["diverged"] else ""


def _more(cost: float, bound: float) -> str:
    if math.isfinite(bound):
        return f"at most {at_most(bound)} more than the best"
    return f"{_about(cost)} than the best" if math.isfinite(cost) else "is not comparable"


def _about(cost: float) -> str:
    """What something costs more, in words, where nothing tells how surely."""
    return f"about {share(abs(cost)) if abs(cost) < 0.1 else f'{abs(cost):.0%}'} {'less' if cost < 0 else 'more'}"
