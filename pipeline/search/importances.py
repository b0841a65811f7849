"""How much of a study's differences each hyperparameter explains."""

import contextlib
import multiprocessing
import sys
import warnings
from collections.abc import Iterator, Sequence

import optuna
import pandas as pd

from pipeline.runs.results import IMPORTANCE_COLUMNS
from pipeline.search.study import Study

ENOUGH = 10
"""Complete trials below which a study says nothing about importance."""


def importances(studies: Sequence[Study]) -> pd.DataFrame:
    """Rows of (scheduler, seed, parameter, importance), the importances of a study adding up to 1.

    They are PED-ANOVA's (Watanabe et al., 2023, arXiv:2304.10255), Optuna's default. A study with too few complete trials
    has none, and one with a single parameter is left out: there is nothing to divide.
    """
    rows = [
        (study.label, study.seed, parameter, importance)
        for study in studies
        if len(study.space.dimensions) > 1 and sum(trial.value is not None for trial in study.trials) >= ENOUGH
        for parameter, importance in _of(study).items()
    ]
    return pd.DataFrame(rows, columns=list(IMPORTANCE_COLUMNS)).astype({"seed": "int64", "importance": float})


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """In the block, a module is not there: Optuna would import it for evaluators that are not asked here, in a second.

    It knows from then on that they cannot be used, and so this is done in a hand's process alone.
    """
    is_left_out = multiprocessing.parent_process() is not None and module not in sys.modules
    if is_left_out:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if is_left_out:
            del sys.modules[module]


def _of(study: Study) -> dict[str, float]:
    with _without("sklearn.ensemble"):
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of the sampler, which is not asked here
        return get_param_importances(study.as_optuna(), evaluator=PedAnovaImportanceEvaluator())
