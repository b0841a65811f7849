"""How much of a study's differences each hyperparameter explains."""

import warnings
from collections.abc import Sequence

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


def _of(study: Study) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # late: a second, for scikit-learn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of the sampler, which is not asked here
        return get_param_importances(study.as_optuna(), evaluator=PedAnovaImportanceEvaluator())
