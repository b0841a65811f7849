"""Which tables of ``reports/evidence`` the page shows, and in which of a problem's folds: an entry here is all it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.analysis.tables import Frames, records

FOLDS = {
    "comparison": "How do all schedulers compare?",
    "rate": "How wrong may the rate be?",
    "budget": "What if you train shorter?",
    "search": "What did tuning find?",
    "noise": "Where does the noise come from?",
    "curves": "Learning rates and losses, epoch by epoch",
    "traps": "Traps in the schedules",
    "sure": "How sure is that?",
}
"""A problem's folds in order, and what each is headed."""


@dataclass(frozen=True)
class Evidence:
    """A table of evidence on the page: its fold, what it is called, what it says, and the headings of its columns.

    A heading may name the form of its figures behind a bar: ``number`` (what numbers have without), ``rate``, ``share``,
    ``at most`` or ``signed``; ``value|low|high`` as a column's name has the ends of its interval, shown as ± half of it. What
    the table has not is left out, and so is a table that there is none of.
    """

    name: str
    fold: str
    title: str
    caption: str
    columns: Mapping[str, str]


TABLES = (
    Evidence(
        "widths", "rate", "Peak rates within 5% of the best",
        "Around each recommended shape's best rate, the range in which its mean validation loss stays within 5% of its own "
        "lowest. At the edge: the range reaches the end of what was tried and may go on.",
        {"scheduler": "Scheduler", "best_lr": "Best peak rate|rate", "lowest_lr": "From|rate", "highest_lr": "To|rate",
         "decades": "Width in decades|rate", "at_edge": "At the edge"},
    ),
    Evidence(
        "winners", "budget", "Lowest mean loss at each budget",
        "Every budget is trained in its own right, since a schedule depends on its horizon; losses are those of the last "
        "epoch. The lowest mean is not yet what to take: beside it stands by how much the second is behind, paired by seed, "
        "± half the 95% interval, and how many schedulers may be the best.",
        {"variant": "Variant", "epochs": "Epochs|rate", "scheduler": "Lowest", "runner_up": "Second",
         "behind|behind_low|behind_high": "Behind by|signed", "in_set": "May be the best"},
    ),
    Evidence(
        "too_short", "budget", "Left out", "What cannot be followed in so few epochs.",
        {"variant": "Variant", "epochs": "Epochs|rate", "scheduler": "Scheduler"},
    ),
    Evidence(
        "gains", "search", "What tuning changed",
        "Tuned minus default, paired by seed, ± half the 95% interval; negative is a gain. Bold: the interval excludes zero.",
        {"scheduler": "Scheduler", "seeds": "Seeds", "validation_loss|validation_loss_low|validation_loss_high":
         "Validation loss|signed", "test_loss|test_loss_low|test_loss_high": "Test loss|signed"},
    ),
    Evidence(
        "selection", "search", "How much too good the searches' own values are",
        "The lowest value of each study, and the same trial on streams that had no part in choosing it.",
        {"scheduler": "Scheduler", "studies": "Studies", "searched": "Found", "again": "Again", "bias": "Higher by|share",
         "kept": "Still chosen"},
    ),
    Evidence(
        "ends_told", "search", "Ends of the searched ranges",
        "Where winners lie in the outer tenth of what was searched, or the range was widened; of other parameters than the "
        "peak rate, which is in percent of the optimizer's, only where most winners do. A study's range of peak rates grows "
        "tenfold at the end where its best trial lies, up to three times; `search:` under a scheduler sets other ranges.",
        {"scheduler": "Scheduler", "parameter": "Parameter", "low": "From|rate", "high": "To|rate", "at_low":
         "Winners at the lower end", "at_high": "At the upper end", "studies": "Of studies", "widened": "Ranges widened"},
    ),
    Evidence(
        "budget_rates", "budget", "Peak rates within 5% of the best, by budget", "",
        {"epochs": "Epochs|rate", "scheduler": "Scheduler", "best_lr": "Best peak rate|rate", "lowest_lr": "From|rate",
         "highest_lr": "To|rate", "decades": "Width in decades|rate", "end": "Lies at the end"},
    ),
    Evidence(
        "growth", "budget", "What doubling the budget brings",
        "By which share the loss of the last epoch changes at each doubling of the epochs, ± half the 95% interval, and how "
        "that goes on.",
        {"variant": "Variant", "scheduler": "Scheduler", "doubling|doubling_low|doubling_high": "Each doubling|signed",
         "last|last_low|last_high": "The last one|signed", "speaks": "Goes on as"},
    ),
    Evidence(
        "winners_by_trials", "search", "Lowest mean loss at each number of trials", "",
        {"trials": "Trials|rate", "scheduler": "Lowest", "runner_up": "Second", "behind|behind_low|behind_high":
         "Behind by|signed", "in_set": "May be the best"},
    ),
    Evidence(
        "noise", "noise", "Components of the variance", "",
        {"variant": "Variant", "source": "Source", "variance": "Variance|rate", "share": "Share|share", "of_difference":
         "Of a difference|share", "sd": "Standard deviation of a run"},
    ),
    Evidence("settle", "sure", "What would settle what is open", "", {"sentence": "In a sentence"}),
    Evidence(
        "looks", "sure", "How the confirmation was raced",
        "What was known after so many seeds. Each scheduler is compared with the baseline and with the best; without "
        "prospects: even the most seeds would hardly settle it.",
        {"seeds": "Seeds|rate", "level": "Error allowed at this look|share", "comparisons": "Comparisons", "settled": "Settled",
         "hopeless": "Without prospects"},
    ),
    Evidence(
        "last_or_best", "sure", "By the best epoch instead of the last",
        "Mean validation loss at the last epoch of each run and at its best, the verdict by either, whether the scheduler "
        "may be the best, and what it costs at most.",
        {"variant": "Variant", "scheduler": "Scheduler", "last": "Loss, last epoch", "best": "Loss, best epoch", "lower":
         "Lower by|share", "epoch": "Best epoch, median|rate", "verdict_last": "Verdict, last", "verdict_best": "Verdict, best",
         "verdict_test": "Verdict, test part", "in_set_last": "May be the best, last", "in_set_best": "May be the best, best",
         "bound_last": "Costs at most, last|at most", "bound_best": "Costs at most, best|at most"},
    ),
    Evidence(
        "targets", "curves", "How fast",
        "Runs whose validation reached the target (report.target, else the median that the baseline as written comes to), and "
        "after how many epochs in the median; \N{EN DASH} where fewer than half did.",
        {"variant": "Variant", "scheduler": "Scheduler", "target": "Target", "hits": "Reached", "runs": "Of runs",
         "median": "Epochs|rate"},
    ),
    Evidence(
        "area", "curves", "Loss on the way", "The mean over all epochs, then over the seeds, ± half the 95% interval.",
        {"variant": "Variant", "scheduler": "Scheduler", "area|low|high": "Mean loss"},
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column as it is shown: ``low`` and ``high`` are the columns of its interval, empty where it has none."""

    name: str
    heading: str
    form: str
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Table:
    """A problem's rows of a table, ready to be shown."""

    name: str
    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]


def tables(fold: str, evidence: Frames, labels: Sequence[str]) -> list[Table]:
    """Those of a fold that have rows of the problem; ``labels`` are its schedulers, in the order of their rows."""
    own = [(shown, evidence[shown.name]) for shown in TABLES if shown.fold == fold and shown.name in evidence]
    return [_table(shown, frame, labels) for shown, frame in own if len(frame)]


def _table(shown: Evidence, frame: pd.DataFrame, labels: Sequence[str]) -> Table:
    columns = [_column(name, head, frame) for name, head in shown.columns.items() if set(name.split("|")) <= set(frame)]
    return Table(shown.name, shown.title, shown.caption, columns, records(_ordered(frame, labels)))


def _column(name: str, heading: str, frame: pd.DataFrame) -> Column:
    value, *interval = name.split("|")
    said, _, form = heading.partition("|")
    usual = "number" if pd.api.types.is_float_dtype(frame[value]) else "text"
    return Column(value, said, form or usual, *interval)


def _ordered(frame: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """By scheduler where there is one row, or one of each variant, for each; else as the rows come."""
    if "scheduler" not in frame or {"epochs", "trials"} & set(frame):
        return frame
    place = {label: number for number, label in enumerate(labels)}
    return frame.sort_values("scheduler", key=lambda column: column.map(place).fillna(len(place)), kind="stable")
