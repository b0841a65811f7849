"""Over problems: is a mixed model better than Student's t over the problems' own means? ``python -m benchmarks.mixed``.

Drawn are relative differences of ten seeds on each of a few problems, whose true means vary between problems and whose noise
differs by up to a factor of ten, as it does in the default study. Compared are what :mod:`pipeline.statistics.across` does and
statsmodels' ``MixedLM`` by REML, a random effect of the problem and one residual variance, with its own interval (Wald) and
with Student's t of problems - 1 degrees of freedom. Coverage of nominal 95%, the median width as a multiple of the first's, and
how many fits give no interval, or one a hundred times as wide.
"""

import warnings

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf  # type: ignore[import-untyped]
from scipy.special import stdtrit

from benchmarks.machine import conditions
from pipeline.statistics.components import LEVEL, Floats

TIMES, SEEDS = 200, 10
TRUTH = 0.02
Interval = tuple[float, float]


def main() -> None:
    """Print the table."""
    print(conditions())
    rows = [row(problems, spread) for spread in (0.0, 0.02) for problems in (4, 5, 7, 10)]
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".3g"))


def row(problems: int, spread: float) -> dict[str, float]:
    """Coverage and width of each, for so many problems whose true means have this standard deviation."""
    rng = np.random.default_rng([problems, int(1000 * spread)])
    drawn = [draw(rng, problems, spread) for _ in range(TIMES)]
    ours = np.array([of_means(each) for each in drawn])
    wald, student = np.array([mixed(each) for each in drawn]).transpose(1, 0, 2)
    found: dict[str, float] = {"problems": problems, "spread": spread}
    usual = float(np.median(ours[:, 1] - ours[:, 0]))
    for name, ends in {"t": ours, "mixed, Wald": wald, "mixed, t": student}.items():
        (low, high), widths = ends.T, (ends[:, 1] - ends[:, 0]) / usual
        found |= {name: float(np.mean((low <= TRUTH) & (high >= TRUTH))), f"{name}, width": float(np.nanmedian(widths))}
    return found | {"mixed, none": float(np.mean(~(widths < 100)))}


def draw(rng: np.random.Generator, problems: int, spread: float) -> Floats:
    """Relative differences, (problems, seeds)."""
    means = TRUTH + spread * rng.standard_normal((problems, 1))
    noise = 0.01 * 10 ** rng.uniform(0, 1, (problems, 1))
    return np.asarray(means + noise * rng.standard_normal((problems, SEEDS)))


def of_means(differences: Floats) -> Interval:
    """Student's t of the problems' means, each problem alike."""
    means = differences.mean(axis=1)
    return about(float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means))), len(means) - 1)


def mixed(differences: Floats) -> tuple[Interval, Interval]:
    """The mixed model's intervals, by the normal and by Student's t."""
    problems, seeds = differences.shape
    table = pd.DataFrame({"y": differences.ravel(), "problem": np.repeat(np.arange(problems), seeds)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at a spread of nothing the fit lies on the boundary, and says so
        fit = smf.mixedlm("y ~ 1", table, groups="problem").fit(reml=True)
    mean, error = float(fit.params["Intercept"]), float(fit.bse["Intercept"])
    return about(mean, error, 1e9), about(mean, error, problems - 1)


def about(mean: float, error: float, freedom: float) -> Interval:
    """The interval at 95%."""
    half = -error * float(stdtrit(freedom, LEVEL / 2))
    return mean - half, mean + half


if __name__ == "__main__":
    main()
