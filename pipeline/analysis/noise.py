"""Where the noise of a problem comes from, and what would settle what its verdicts leave open."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.choice import Choice
from pipeline.analysis.statistics import CRITERION, lowest_loss, matrices
from pipeline.analysis.tables import ProblemResults
from pipeline.statistics import components
from pipeline.statistics.components import LEVEL, NOISE, Estimate, Losses, as_share, differences, remedy, with_tuning
from pipeline.statistics.forecast import MOST_SEEDS, detectable, seeds_needed
from pipeline.statistics.judgement import more_seeds

SETTLE = (
    "variant", "open", "settled_by", "seeds_low", "seeds_high", "found", "found_by_fourfold", "like_these", "enough_low",
    "enough_high", "sentence",
)  # fmt: skip
"""Columns of :func:`settle`."""


def noise(results: ProblemResults) -> pd.DataFrame:
    """Rows of (variant, source, variance, share, of_difference, sd): :func:`pipeline.statistics.components.noise`.

    It is that of the recommended configurations, which are fixed; what tuning adds is what the seeds' own winners vary more
    between splits. Where nothing was confirmed it is the last variant's; of winners, *split × scheduler* then has tuning in it.
    ``sd`` is the standard deviation of one run, in the unit of the loss.
    """
    variant, of = results.variants[-1], _losses(results)
    table = components.noise(of[variant])
    if variant == "recommended" and "tuned" in of and len(whole := with_tuning(table, components.noise(of["tuned"]))):
        table = whole
    table = pd.DataFrame(table, columns=list(NOISE)).assign(sd=np.sqrt(table["variance"].astype(float)))
    table.insert(0, "variant", variant)
    return table


def settle(results: ProblemResults, compared: pd.DataFrame, chosen: Choice, baseline: str, matters: float) -> pd.DataFrame:
    """One row of :data:`SETTLE` for the last variant: by what its ``open`` verdicts would be settled, and that in a sentence.

    *nothing that matters*, where the recommended scheduler costs too little to matter whatever is open. Else *seeds* or
    *trials* (each seed's search ends elsewhere), whichever part of the differences' error is the larger. For the median open
    pair: ``found`` and ``found_by_fourfold`` are the smallest differences, as shares of the baseline's loss, that four times
    in five are found on these data by as many seeds as there are, and by four times as many; from ``seeds_low`` to
    ``seeds_high`` seeds find one that matters, over the 80% interval of the spread. ``like_these`` is the smallest that any
    number of seeds finds for data like these: beyond that it takes other samples. From ``enough_low`` to ``enough_high`` seeds
    detect a difference that matters between the recommended scheduler and all others that may be the best, where its cost is
    not bounded.
    """
    rows = compared[compared["variant"] == chosen.variant]
    is_open = rows.loc[rows["verdict"] == "open", "scheduler"].tolist()
    found: dict[str, Any] = {
        "variant": chosen.variant,
        "open": len(is_open),
        "settled_by": "",
        "sentence": "No verdict is open.",
    }
    if is_open and chosen.is_bounded:
        least = f"{chosen.scheduler} costs too little more than the best to matter"
        said = f"{_verdicts(len(is_open))} open, and nothing that matters hangs on it: {least}."
        found |= {"settled_by": "nothing that matters", "sentence": said}
    if not chosen.is_bounded:
        of = _losses(results)
        own, known = of[chosen.variant], differences(of[chosen.variant])
        if is_open:
            rho, pairs = results.overlap.of(CRITERION), [(label, baseline) for label in is_open]
            scale = rows.loc[rows["scheduler"] == baseline, CRITERION].item()
            found |= _remedy(own, noise(results), [known[pair] for pair in pairs], scale, matters)
            if results.params.resample:  # one split says nothing of other samples
                wide = differences(own, rho, of.get("recommended") if chosen.variant == "tuned" else None)
                limit = as_share(smallest([wide[pair] for pair in pairs], own, MOST_SEEDS), scale)
                is_far = matters < limit < np.inf
                more = f" For data like these no number of seeds finds one below {limit:.1%}." if is_far else ""
                found |= {"like_these": limit, "sentence": found["sentence"] + more}
        if len(own) > 1:
            margin, level = matters * lowest_loss(rows), LEVEL / (len(own) - 1)
            enough = more_seeds(known, rows.set_index("scheduler"), chosen.scheduler, margin, level)
            found |= dict(zip(("enough_low", "enough_high"), enough, strict=True))
    return pd.DataFrame([found], columns=list(SETTLE))


def _remedy(losses: Losses, table: pd.DataFrame, pairs: list[Estimate], scale: float, matters: float) -> dict[str, Any]:
    """What would help and by how much; ``pairs`` are the open differences, ``scale`` is the baseline's loss."""
    splits, streams = next(iter(losses.values())).shape
    if table["variant"].eq("recommended").any():  # a fixed configuration's error has nothing of the search
        table = table.assign(variance=table["variance"].where(table["source"] != "tuning", 0.0))
    what = remedy(table, streams) if len(table) else "seeds"
    most = "more seeds would narrow it most"
    alpha = LEVEL / (len(losses) - 1)
    low, high = np.median([seeds_needed(pair, matters * abs(scale), alpha) for pair in pairs], axis=0)
    now, fourfold = (as_share(smallest(pairs, losses, n), scale) for n in (splits, 4 * splits))
    finds = f"{4 * splits} seeds in place of {splits} would detect a difference of {fourfold:.1%} in place of {now:.1%}"
    matter = f", and {low:.0f} to {high:.0f} what matters" if np.isfinite(high) else ""
    by = {
        "seeds": f"{most}: {finds}{matter}" if scale else f"{most}, and nothing is a share of the baseline's loss of 0",
        "trials": "more trials would narrow it most, since the searches of the seeds end in different places",
    }[what]
    found = {"settled_by": what, "seeds_low": low, "seeds_high": high, "found": now, "found_by_fourfold": fourfold}
    return {**found, "sentence": f"{_verdicts(len(pairs))} open; {by}."}


def smallest(pairs: list[Estimate], losses: Losses, seeds: int) -> float:
    """The difference that so many seeds find four times in five, for the median pair, of all labels at once."""
    return float(np.median([detectable(pair, LEVEL / (len(losses) - 1), splits=seeds) for pair in pairs]))


def _verdicts(count: int) -> str:
    return "One verdict is" if count == 1 else f"{count} verdicts are"


def _losses(results: ProblemResults) -> dict[str, Losses]:
    return {str(variant): matrices(own) for variant, own in results.runs.groupby("variant", sort=False)}
