"""What the studies hand on: the table of all trials, and the recommended configurations as YAML."""

import io
from collections.abc import Mapping, Sequence

import pandas as pd
from optuna.distributions import distribution_to_json
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline.params import Schedule
from pipeline.problems.problem import Problem
from pipeline.results import TRIAL_COLUMNS
from pipeline.runs import as_json
from pipeline.schedulers.replay import resolve
from pipeline.search.study import Study


def trial_table(problem: Problem, studies: Sequence[Study]) -> pd.DataFrame:
    """One row per trial; ``args`` as one would write them, ``lr`` in torch's numbers, ``params`` as Optuna knows them."""
    rows = []
    for study in studies:
        distributions = as_json({n: distribution_to_json(d) for n, d in study.space.distributions.items()})
        for trial in study.trials:
            schedule = study.schedule(trial)
            lr = resolve(schedule, problem.lr, problem.budget()).lr
            told = (study.label, study.seed, trial.number, trial.state, trial.value, lr, as_json(schedule.args))
            known = (study.name, study.fingerprint, study.sampler, as_json(dict(trial.params)), distributions)
            rows.append((*told, *known))
    return pd.DataFrame(rows, columns=list(TRIAL_COLUMNS)).astype({"value": float})


def best_yaml(best: Mapping[str, Schedule]) -> bytes:
    """The recommended configurations, to be pasted under ``problems.P.schedulers`` as they are."""
    yaml = YAML()
    yaml.width = 200
    rows = CommentedMap()
    for label, schedule in best.items():
        unused = set() if schedule.warmup else {"warmup"}
        rows[label] = CommentedMap(schedule.model_dump(mode="json", exclude_none=True, exclude=unused))
        rows[label].fa.set_flow_style()
    text = io.StringIO()
    yaml.dump(rows, text)
    return text.getvalue().encode()
