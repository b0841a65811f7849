"""How sure the report may make its reader: of what each interval speaks, and how many statements are made at once."""

from collections.abc import Sequence

from pipeline.analysis.statistics import CONFIDENCE, CRITERION
from pipeline.analysis.tables import ProblemResults
from pipeline.config.params import Params
from pipeline.statistics.components import LEVEL


def population(results: ProblemResults) -> str:
    """What a problem's intervals speak of: which data, drawn anew, they would cover."""
    if not results.params.resample:
        return "Differences and losses speak of this split alone: other data may say otherwise, and these seeds cannot tell."
    rho = results.overlap.of(CRITERION)
    if not rho:
        return "Differences and losses speak of data like these: each seed draws fresh samples from the same source."
    return (
        "Verdicts, differences and bounds speak of these data: the average over other splits of the same samples, with other "
        "weights and orders. If you will train on other samples from the same source, go by the figures for data like these: "
        f"splits share samples (a correlation of {rho:.2f}), so as far as splits cause a difference its interval is wider. "
        "Intervals of losses themselves speak of data like these."
    )


def multiplicity(params: Params, problems: Sequence[ProblemResults]) -> tuple[str, ...]:
    """Which statements are made at once, at which level, and what may be concluded from several problems together."""
    baseline, count = params.report.baseline, len(problems)
    labels = max(len(problem.labels) for problem in problems)
    verdicts = (
        f"*Better* and *worse* than {baseline}: within a problem and a variant all comparisons ({labels - 1}) are one family: "
        f"with {CONFIDENCE:.0%} confidence none of them is false. Their p is adjusted by max-t."
    )
    costs = (
        "The schedulers that may be the best, and what each costs at most, are another family: with "
        f"{CONFIDENCE:.0%} confidence the best is among them and all the bounds hold."
    )
    alone = (
        "*Practically equal*, *no worse* and *no better* hold for each pair by itself, and are wrong in at most "
        f"{LEVEL / 2:.1%}. Intervals, also those in figures, are each at {CONFIDENCE:.0%}: of twenty, one may miss."
    )
    apart = (
        "Variants, budgets, numbers of trials and metrics are not adjusted for one another. The recommendation follows from "
        "the last variant and the validation loss alone."
    )
    together = (
        f"Over {count} problems, statements that each hold with {CONFIDENCE:.0%} may be false on one or another with up to "
        f"{min(1.0, count * LEVEL):.0%}; this includes what the answer says of all problems together. "
        f"evidence/across has on how many problems at least a scheduler is better than {baseline}, with {CONFIDENCE:.0%}."
    )
    return (verdicts, costs, alone, apart, *([together] if count > 1 else []))
