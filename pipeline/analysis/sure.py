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
        "Verdicts, differences and bounds speak of these data: what would come out, on average, on other splits of the same "
        "samples, with other weights and orders. Beside them stands what holds for data like these, other samples from the "
        f"same source: splits share samples, so those intervals are wider, for a correlation of {rho:.2f} and as far as splits "
        "cause a difference. Intervals of losses themselves speak of data like these."
    )


def multiplicity(params: Params, problems: Sequence[ProblemResults]) -> tuple[str, ...]:
    """Which statements are made at once, at which level, and what may be concluded from several problems together."""
    baseline, count = params.report.baseline, len(problems)
    labels = max(len(problem.labels) for problem in problems)
    verdicts = (
        f"*Better* and *worse* than {baseline}: within a problem and a variant the {labels - 1} comparisons are one family, "
        f"and with {CONFIDENCE:.0%} none of them is false; p is adjusted for all of them by the largest of their correlated t."
    )
    costs = (
        "The schedulers that may be the best, and what each costs at the most, are another: with "
        f"{CONFIDENCE:.0%} the best is among them and all the bounds hold at once."
    )
    alone = (
        "*Practically equal*, *no worse* and *no better* are said of each pair by itself, and err in "
        f"{LEVEL / 2:.1%} at the most; intervals, those in figures too, are each by themselves at {CONFIDENCE:.0%}: of twenty, "
        "one may miss."
    )
    apart = (
        "Variants, budgets, numbers of trials and metrics are families of their own, and not adjusted for one another. The "
        "recommendation follows from the last variant and the validation loss alone; all else is to look at."
    )
    together = (
        f"Over {count} problems, statements that each hold with {CONFIDENCE:.0%} may be false on one or another with up to "
        f"{min(1.0, count * LEVEL):.0%}; whoever picks the problem on which a scheduler does best has picked among {count}. "
        f"On how many problems at least a scheduler is better than {baseline}, with {CONFIDENCE:.0%}, is counted in "
        "evidence/across."
    )
    return (verdicts, costs, alone, apart, *([together] if count > 1 else []))
