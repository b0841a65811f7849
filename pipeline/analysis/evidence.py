"""Evidence behind a comparison, as small tables: how fast, how safely, how robustly a scheduler gets where it gets.

Frames of runs, curves and trials have the columns of the parquet files and hold one problem; a frame of a stage that was
not run may be empty, with or without columns, and gives an empty table. Losses are validation losses, means over samples;
the test split enters nothing here. A run that diverged is counted and enters no mean. ``overlap`` is the correlation ρ of
two seeds' validation losses, for which the intervals of means are corrected; differences speak of these data. Rows come in
order of appearance; the order of the rows of the input changes nothing else, to the last bit.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.analysis.statistics import CRITERION, UNKNOWN, Interval, finished, matrices, mean_interval
from pipeline.config.arrays import Floats
from pipeline.statistics.comparison import best
from pipeline.statistics.components import as_share, differences, level

FARTHEST = 4.0
"""Up to how many times the fastest scheduler's epochs a profile looks; as in AlgoPerf."""
QUARTILES = (0.5, 0.25, 0.75)
_LEAST = 3  # budgets, for a bend to show; and seeds
BUDGETS = (
    "variant", "epochs", "scheduler", CRITERION, "low", "high", "diverged", "rank", "in_set", "regret", "regret_bound",
)  # fmt: skip
"""Columns of :func:`budgets`."""
WINNERS = (
    "variant", "epochs", "scheduler", "runner_up", "behind", "behind_low", "behind_high", "in_set", "regret_bound",
)  # fmt: skip
"""Columns of :func:`winners`."""
RATES = (
    "epochs", "scheduler", "best_lr", "best_loss", "lowest_lr", "highest_lr", "decades", "at_edge", "end",
)  # fmt: skip
"""Columns of :func:`budget_rates`."""
GROWTH = (
    "variant", "scheduler", "budgets", "seeds", "doubling", "doubling_low", "doubling_high", "bend", "bend_low", "bend_high",
    "last", "last_low", "last_high", "speaks",
)  # fmt: skip
"""Columns of :func:`growth`."""
_RUN = ["variant", "scheduler", "seed", "stream"]


def usual_loss(runs: pd.DataFrame, baseline: str) -> float:
    """The target where none is asked for: the median over seeds of the loss of the untuned ``baseline``.

    It is over the runs that finished; NaN where none did.
    """
    if runs.empty:
        return np.nan
    own = finished(runs[(runs["variant"] == "default") & (runs["scheduler"] == baseline)])
    return float(own.groupby("seed")[CRITERION].mean().median())


def epochs_to_target(runs: pd.DataFrame, curves: pd.DataFrame, target: float) -> pd.DataFrame:
    """Rows of (variant, scheduler, seed, stream, epochs): when each run reached the loss ``target``.

    ``epochs`` is the first epoch, from 1, at whose end the validation loss was at most ``target``; NaN where it never was. A
    miss is a miss, however close; a run that diverged misses even where it had been at the target before, for what it came
    to is of no use.
    """
    if runs.empty or curves.empty:
        return _table([], (*_RUN, "epochs"))
    first = curves[curves[CRITERION] <= target].groupby(_RUN)["epoch"].min().astype(float).rename("reached")
    reached_at = runs.join(first, on=_RUN)["reached"].where(~runs["diverged"].astype(bool))
    return runs[_RUN].assign(epochs=reached_at).reset_index(drop=True)


def reached(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of (variant, scheduler, hits, runs, median) from a table of :func:`epochs_to_target`.

    ``hits`` of ``runs`` reached the target. ``median`` is over all of them, in epochs; a miss counts as later than
    any hit, so that the median is NaN where it is, or lies beside, a miss.
    """

    def figures(own: pd.DataFrame) -> tuple[Any, ...]:
        return own["epochs"].notna().sum(), len(own), _quantile(_worst(own["epochs"])[None], 0.5)[0]

    return _by(["variant", "scheduler"], table, figures, ["hits", "runs", "median"])


def profiles(per_problem: Mapping[str, pd.DataFrame], variant: str) -> pd.DataFrame:
    """Rows of (scheduler, tau, share): performance profiles over problems, from a table of :func:`epochs_to_target` each.

    An instance is a problem, a seed and a stream. ``share`` is the share of all instances on which the scheduler reached the
    target in at most ``tau`` times the epochs of the fastest scheduler there; an instance that it missed, that it was not
    run on, or that nobody solved, counts against it. A scheduler's ``tau`` are 1, :data:`FARTHEST`, and between them all
    at which its share changes: it is a step function, constant from each ``tau`` up to the next.

    Sources: Dolan and Moré (2002), https://arxiv.org/abs/cs/0102001; Dahl et al. (2023), https://arxiv.org/abs/2306.07179.
    """
    ratios = _ratios(per_problem, variant)
    rows = ((label, tau, share) for label in ratios for tau, share in _profile(_worst(ratios[label])))
    return _table(rows, ("scheduler", "tau", "share"))


def profile_score(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of (scheduler, score) from :func:`profiles`: the mean share from ``tau`` 1 to :data:`FARTHEST`, 0 to 1.

    It is AlgoPerf's benchmark score, the area under the profile divided by its width; 1 is who was the fastest everywhere.
    """

    def score(own: pd.DataFrame) -> tuple[float]:
        tau, share = own.sort_values("tau")[["tau", "share"]].to_numpy(float).T
        return (np.sum(share[:-1] * np.diff(tau)) / (FARTHEST - 1),)

    return _by(["scheduler"], table, score, ["score"])


def area(curves: pd.DataFrame, runs: pd.DataFrame, overlap: float = 0.0) -> pd.DataFrame:
    """Rows of (variant, scheduler, area, low, high): how low the loss was all the way, not only at the end.

    ``area`` is the mean over epochs of the validation loss, then over the seeds that finished, with its 95% interval.
    """
    whole = pd.DataFrame()
    if len(runs) and len(curves):
        # In order of the epochs, so that rounding does not depend on the order of the rows.
        whole = runs.join(curves.sort_values("epoch").groupby(_RUN)[CRITERION].mean().rename("area"), on=_RUN)
    return _by(["variant", "scheduler"], whole, lambda own: mean_interval(own, "area", overlap), ["area", "low", "high"])


def sensitivity(sweep: pd.DataFrame, overlap: float = 0.0) -> pd.DataFrame:
    """Rows of (scheduler, lr, validation_loss, low, high, diverged, seeds) from the sweep over peak rates, rates ascending.

    At the full budget. The loss is the mean over the seeds that finished, with its 95% interval; ``diverged`` of ``seeds``
    runs did not.
    """
    rates = _of_kind(sweep, "rate")
    rows = (
        (*scheduler, *rate, *mean_interval(runs, CRITERION, overlap), _diverged(runs), len(runs))
        for scheduler, own in _groups(rates[rates["epochs"] == rates["epochs"].max()] if len(rates) else rates, ["scheduler"])
        for rate, runs in _groups(own.sort_values("lr"), ["lr"])
    )
    return _table(rows, ("scheduler", "lr", CRITERION, "low", "high", "diverged", "seeds"))


def widths(table: pd.DataFrame, within: float = 0.05) -> pd.DataFrame:
    """How wide the range of good peak rates is, from :func:`sensitivity`: a wide one forgives a bad guess.

    Rows of (scheduler, best_lr, best_loss, lowest_lr, highest_lr, decades, at_edge). ``best_lr`` is the rate of the grid
    with the lowest mean loss among those at which nobody diverged (the lowest such rate among equals; NaN, and all else
    with it, where there is none). From ``lowest_lr`` to ``highest_lr`` the mean loss exceeds ``best_loss`` by at most the
    share ``within``; each end lies where the line between two points of the grid, its rates on a logarithmic axis, does.
    Towards a rate at which any seed diverged the range ends at the last point of the grid that is good. ``decades`` is the
    range's width. ``at_edge`` says that it touches an end of the grid and may go on beyond it.
    """
    return _by(["scheduler"], table, lambda own: _width(own.sort_values("lr"), within), RATES[2:-1])


def above_best(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with their values above the lowest that any study of their seed found.

    Some seeds' splits are harder than others', which would hide how the searches go.
    """
    return trials.assign(value=trials["value"] - trials.groupby("seed")["value"].transform("min")) if len(trials) else trials


def best_so_far(trials: pd.DataFrame) -> pd.DataFrame:
    """Rows of (scheduler, trial, middle, low, high): how far tuning had come after each trial, from 1.

    Of each study (scheduler and seed) the lowest value so far; a pruned trial improves nothing, and a study that is over
    keeps what it found. ``middle``, ``low`` and ``high`` are the median and the quartiles over the seeds; a study that has
    nothing yet counts as worse than any other, and NaN is where that leaves none.
    """
    rows = ((*key, number + 1, *figures) for key, own in _groups(trials, ["scheduler"]) for number, figures in _progress(own))
    return _table(rows, ("scheduler", "trial", "middle", "low", "high"))


def selection(reruns: pd.DataFrame) -> pd.DataFrame:
    """Rows of (scheduler, studies, searched, again, bias, kept): how much too low the value is that a search chose by.

    ``searched`` is the lowest value of each study, ``again`` the mean of the same trial on streams that had no part in that,
    both means over the studies whose reruns all finished; ``bias`` is by which share of ``searched`` it is higher. In ``kept``
    of them the trial was chosen by all streams together, too.
    """
    return _by(["scheduler"], reruns, _selected, ["studies", "searched", "again", "bias", "kept"])


def budget_rates(sweep: pd.DataFrame) -> pd.DataFrame:
    """Rows of :data:`RATES`: the best peak rate at each budget, as :func:`widths` has it, and the ``end`` that it lies at.

    ``end`` is that of the rates that were tried at the budget, ``low`` or ``high``; empty inside.
    """
    rates = _of_kind(sweep, "rate")
    rows = [
        (*epochs, *row, _end_of_grid(own[own["scheduler"] == row[0]]["lr"], row[1]))
        for epochs, own in _groups(rates, ["epochs"])
        for row in widths(sensitivity(own)).itertuples(index=False)
    ]
    return _table(sorted(rows, key=lambda row: row[0]), RATES)


def with_full_budget(sweep: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """All runs by budget: those of a sweep over shorter budgets, and of its variants those at the full one; else none.

    All are at their last epoch, since a sweep evaluates no other.
    """
    shorter = _of_kind(sweep, "budget")
    if shorter.empty:
        return shorter
    return pd.concat([shorter, runs[runs["variant"].isin(shorter["variant"])].assign(kind="budget")], ignore_index=True)


def budgets(sweep: pd.DataFrame, overlap: float = 0.0) -> pd.DataFrame:
    """Rows of :data:`BUDGETS` from the sweep over budgets.

    ``epochs`` ascend within a variant. The loss is the mean over the seeds that finished, with its 95% interval. ``rank``
    is within variant and epochs: fewest diverged runs first, then the lowest mean; equals share the better rank. ``in_set``
    says whether the scheduler may be the best there, ``regret`` and ``regret_bound`` what choosing it costs and costs at the
    most, as shares of the lowest mean loss, at 95% for all schedulers at once.
    """
    rows = (
        (*variant, *epochs, *row)
        for variant, own in _groups(_of_kind(sweep, "budget"), ["variant"])
        for epochs, runs in _groups(own.sort_values("epochs", kind="stable"), ["epochs"])
        for row in _ranked(runs, overlap)
    )
    return _table(rows, BUDGETS)


def winners(table: pd.DataFrame, sweep: pd.DataFrame) -> pd.DataFrame:
    """Who ranks first and second at each budget, and how far apart they are: rows of :data:`WINNERS`.

    ``table`` is that of :func:`budgets`, ``sweep`` the runs it is made of. Among equals the first in the alphabet; missing
    where too few schedulers have a run that finished. ``behind`` is the second's loss minus the first's, paired by seed, with
    the pair's own interval; ``in_set`` of them may be the best, at 95% for all at once, and ``regret_bound`` is the first's.
    """
    runs = dict(_groups(_of_kind(sweep, "budget"), ["variant", "epochs"]))
    rows = ((*key, *_podium(own, runs[key])) for key, own in _groups(table, ["variant", "epochs"]))
    return _table(rows, WINNERS)


def winners_by_trials(trials: pd.DataFrame, overlap: float = 0.0) -> pd.DataFrame:
    """Who leads after 1, 2, 4, 8 … trials and after all: rows of :data:`WINNERS` with ``trials`` in the place of a budget.

    Of each study it is the lowest validation loss so far, which is too low by what the luckiest trial owes to its luck, the
    more so the more trials there are; so it compares schedulers at one number of trials, and no numbers of trials. A study
    that has found nothing yet counts as diverged.
    """
    columns = ["trials", *WINNERS[2:]]
    if trials.empty:
        return pd.DataFrame(columns=columns)
    last = int(trials["number"].max()) + 1
    counts = sorted({2**power for power in range(last.bit_length())} | {last})
    values = trials.assign(value=_worst(trials["value"].where(trials["state"] == "COMPLETE")))
    found = [_so_far(values[values["number"] < count]).assign(epochs=count) for count in counts]
    so_far = pd.concat(found, ignore_index=True).assign(kind="budget", variant="tuned")
    return winners(budgets(so_far, overlap), so_far).rename(columns={"epochs": "trials"})[columns]


def growth(sweep: pd.DataFrame, overlap: float = 0.0) -> pd.DataFrame:
    """Rows of :data:`GROWTH`: what doubling the budget brings, from the runs at each budget.

    ``doubling`` is by which share the validation loss changes at each doubling, if it falls as a power of the budget: a
    straight line through log loss over log epochs, seed by seed, with the 95% interval of the seeds' mean. ``bend`` is the
    second coefficient, which is 0 for a power law. ``last`` is the change at each doubling from the second longest budget to
    the full one. ``speaks``: *levels off* or *steepens* where a bend shows, so that the line is no forecast beyond the full
    budget; else *power law*, or *no change* where not even a slope shows; *too few budgets* below three, *too few seeds*
    below three that finished at all of them; *no power law* where a loss is 0 or less, which has no logarithm. A bend that does
    not show in so few points may be there.
    """
    return _by(["variant", "scheduler"], _of_kind(sweep, "budget"), lambda runs: _grown(runs, overlap), GROWTH[2:])


def too_short(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of (variant, epochs, scheduler) from :func:`budgets`: what could not be followed in so few epochs.

    A schedule that is there at one of a variant's budgets and not at another was left out by stage sweep.
    """
    rows = (
        (variant, epochs, label)
        for (variant,), own in _groups(table, ["variant"])
        for (epochs,), present in _groups(own, ["epochs"])
        for label in own["scheduler"].unique()
        if label not in set(present["scheduler"])
    )
    return _table(rows, ("variant", "epochs", "scheduler"))


def _table(rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(columns))


def _by(
    keys: list[str], rows: pd.DataFrame, figures: Callable[[pd.DataFrame], Iterable[Any]], columns: Sequence[str]
) -> pd.DataFrame:
    """A row for each group: its keys, and its figures under ``columns``."""
    return _table(((*key, *figures(own)) for key, own in _groups(rows, keys)), [*keys, *columns])


def _groups(rows: pd.DataFrame, by: list[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Keys and rows in order of appearance; nothing of an empty frame, which need not even have the columns."""
    if not rows.empty:
        yield from rows.groupby(by, sort=False)


def _of_kind(sweep: pd.DataFrame, kind: str) -> pd.DataFrame:
    return sweep if sweep.empty else sweep[sweep["kind"] == kind]


def _diverged(runs: pd.DataFrame) -> int:
    return int(runs["diverged"].astype(bool).sum())


def _worst(values: "pd.Series[float]") -> Floats:
    """The values, with infinity for those that are missing: worse than any other."""
    x = values.to_numpy(float)
    return np.where(np.isfinite(x), x, np.inf)


def _quantile(values: Floats, share: float) -> Floats:
    """Quantile of each row of ``values``, shape (rows, seeds), between neighbours by a straight line as numpy's.

    NaN where it is infinite or between a number and infinity; numpy would warn there, and for a quantile that falls onto
    the last finite value give NaN too.
    """
    place = share * (values.shape[1] - 1)
    below, above = np.sort(values, axis=1)[:, [int(np.floor(place)), int(np.ceil(place))]].T
    known = np.isfinite(above)
    found = np.full(len(values), np.nan)
    found[known] = below[known] + place % 1 * (above[known] - below[known])
    return found


def _ratios(per_problem: Mapping[str, pd.DataFrame], variant: str) -> pd.DataFrame:
    """Each scheduler's epochs over the fewest, NaN for a miss: one column per scheduler, one row per instance."""
    named = [table.assign(problem=name) for name, table in per_problem.items() if not table.empty]
    if not named:
        return pd.DataFrame()
    rows = pd.concat(named)
    rows = rows[rows["variant"] == variant]
    epochs = rows.pivot(index=["problem", "seed", "stream"], columns="scheduler", values="epochs")[rows["scheduler"].unique()]
    return epochs.div(epochs.min(axis="columns"), axis="index")


def _profile(ratios: Floats) -> list[tuple[float, float]]:
    """The steps (tau, share) of ``ratios``, shape (instances,), infinite where the target was missed."""
    taus = np.unique([1.0, *ratios[ratios <= FARTHEST], FARTHEST])
    shares = (ratios[:, None] <= taus).mean(axis=0)
    return list(zip(taus.tolist(), shares.tolist(), strict=True))


def _width(own: pd.DataFrame, within: float) -> tuple[float, float, float, float, float, bool]:
    """The figures of :func:`widths` for one scheduler, rates ascending."""
    rates = own["lr"].to_numpy(float)
    losses = _worst(own[CRITERION].where(own["diverged"] == 0))
    best = int(np.argmin(losses))
    if np.isinf(losses[best]):
        return np.nan, np.nan, np.nan, np.nan, np.nan, False
    ceiling = float(losses[best] + within * abs(losses[best]))
    first, last = (_last_good(losses <= ceiling, best, step) for step in (-1, 1))
    lowest, highest = _end(rates, losses, ceiling, first, -1), _end(rates, losses, ceiling, last, 1)
    decades = float(np.log10(highest / lowest))
    return float(rates[best]), float(losses[best]), lowest, highest, decades, first == 0 or last == len(rates) - 1


def _last_good(good: npt.NDArray[np.bool_], place: int, step: int) -> int:
    """How far one can go from ``place`` in the direction ``step`` without a gap."""
    while 0 <= place + step < len(good) and good[place + step]:
        place += step
    return place


def _end(rates: Floats, losses: Floats, ceiling: float, inner: int, step: int) -> float:
    """Where the loss crosses ``ceiling`` beyond the point ``inner``, the last good one in the direction ``step``."""
    outer = inner + step
    if not 0 <= outer < len(rates) or np.isinf(losses[outer]):
        return float(rates[inner])
    share = (ceiling - losses[inner]) / (losses[outer] - losses[inner])
    # A power of the ratio and not exp(log …): no rounding can put the end on the wrong side of a point that is good.
    return float(rates[inner] * (rates[outer] / rates[inner]) ** share)


def _progress(trials: pd.DataFrame) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Trial number, median and quartiles over the studies of one scheduler."""
    values = trials["value"].where(trials["state"] == "COMPLETE")
    table = trials.assign(value=_worst(values)).pivot(index="number", columns="seed", values="value")
    best = np.minimum.accumulate(table.fillna(np.inf).to_numpy(float), axis=0)
    figures = np.column_stack([_quantile(best, share) for share in QUARTILES])
    for number, row in zip(table.index, figures.tolist(), strict=True):
        yield int(number), tuple(row)


def _selected(own: pd.DataFrame) -> tuple[int, float, float, float, int]:
    """The figures of :func:`selection` for one scheduler."""
    table = own.pivot(index=["seed", "number"], columns="stream", values="value").astype(float)
    first = table[1].groupby("seed").idxmin().loc[lambda of: np.isfinite(table.loc[of.to_numpy()]).all(axis=1).to_numpy()]
    chosen = table.mean(axis="columns").groupby("seed").idxmin()
    leading = table.loc[first.to_numpy()]
    searched, again = float(leading[1].mean()), float(leading.drop(columns=1).mean(axis="columns").mean())
    bias = as_share(again - searched, searched)
    return len(first), searched, again, bias, int((chosen.loc[first.index] == first).sum())


def _end_of_grid(rates: "pd.Series[float]", best: float) -> str:
    return "low" if best == rates.min() else "high" if best == rates.max() else ""


def _so_far(trials: pd.DataFrame) -> pd.DataFrame:
    """The lowest value of each study as a run."""
    lowest = trials.groupby(["scheduler", "seed"], sort=False)["value"].min().rename(CRITERION).reset_index()
    return lowest.assign(diverged=np.isinf(lowest[CRITERION]))


def _ranked(runs: pd.DataFrame, overlap: float) -> Iterator[tuple[Any, ...]]:
    """Rows of (scheduler, mean, low, high, diverged, rank, in_set, regret, regret_bound) of one variant and budget."""
    rows = [(*key, *mean_interval(own, CRITERION, overlap), _diverged(own)) for key, own in _groups(runs, ["scheduler"])]
    keys = [(diverged, np.inf if np.isnan(mean) else mean) for _, mean, _, _, diverged in rows]
    costs = best(matrices(runs))
    lowest = min(keys)[1]
    for row, own in zip(rows, keys, strict=True):
        cost = costs.loc[row[0]]
        regret = as_share(cost["regret"], lowest)
        yield (*row, 1 + sum(other < own for other in keys), bool(cost["in_set"]), regret, cost["relative"])


def _podium(rows: pd.DataFrame, runs: pd.DataFrame) -> tuple[Any, ...]:
    """Winner and runner-up among the schedulers of one budget that have a mean, how far apart they are, the set, the bound."""
    known = rows[rows[CRITERION].notna()].sort_values(["rank", "scheduler"])
    first, second, *_ = [*known["scheduler"], None, None]
    behind = UNKNOWN if second is None else Interval.of(differences(matrices(runs))[second, first])
    bound = known["regret_bound"].iloc[0] if len(known) else np.nan
    return first, second, *behind, int(rows["in_set"].sum()), bound


def _grown(runs: pd.DataFrame, overlap: float) -> tuple[Any, ...]:
    """The figures of :func:`growth` for one variant and scheduler."""
    values = runs[CRITERION].where(~runs["diverged"].astype(bool))
    logs_of = runs.assign(log=np.log2(values.where(values > 0)))
    table = logs_of.pivot_table(index="seed", columns="epochs", values="log", dropna=False)
    logs = table.dropna().to_numpy(float)  # of seeds that finished at all budgets
    doublings = np.log2(table.columns.to_numpy(float))
    is_none = (values <= 0).any()
    if is_none or len(doublings) < _LEAST or len(logs) < _LEAST:
        short = "no power law" if is_none else "too few budgets" if len(doublings) < _LEAST else "too few seeds"
        return len(doublings), len(logs), *[np.nan] * 9, short
    slope, (bend, *_) = np.polyfit(doublings, logs.T, 1)[0], np.polyfit(doublings, logs.T, 2)
    last = (logs[:, -1] - logs[:, -2]) / (doublings[-1] - doublings[-2])
    line, curve, end = (Interval.of(level(of[:, None], overlap)) for of in (slope, bend, last))
    bent, sloped = "levels off" if curve.mean > 0 else "steepens", "power law" if line.excludes_zero else "no change"
    speaks = bent if curve.excludes_zero else sloped
    as_share = [2**value - 1 for value in line], list(curve), [2**value - 1 for value in end]
    return len(doublings), len(logs), *(figure for three in as_share for figure in three), speaks
