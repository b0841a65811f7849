"""What the studies hand on: the table of all trials, and the recommended configurations as YAML."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from optuna.distributions import distribution_to_json
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline.config.fingerprints import as_json
from pipeline.config.ranges import as_params, written
from pipeline.config.schedules import Schedule
from pipeline.config.units import plain_rate
from pipeline.problems.problem import Problem
from pipeline.runs.results import RERUN_COLUMNS, TRIAL_COLUMNS
from pipeline.search.space import StudySpace
from pipeline.search.study import Study


class TrialTable:
    """The table of all trials of a problem's studies, as the search goes on."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._rows: dict[str, list[tuple[Any, ...]]] = {}

    def of(self, studies: Sequence[Study]) -> pd.DataFrame:
        """One row per trial; ``args`` as one would write them, ``lr`` in torch's numbers, ``params`` as Optuna knows them."""
        rows = [row for study in studies for row in self._rows_of(study)]
        return pd.DataFrame(rows, columns=list(TRIAL_COLUMNS)).astype({"value": float})

    def _rows_of(self, study: Study) -> list[tuple[Any, ...]]:
        """Those of the study; what was there before is not made again."""
        rows = self._rows.setdefault(study.name, [])
        for trial in study.trials[len(rows) :]:
            schedule = study.schedule(trial)
            lr = plain_rate(schedule.lr, self._problem.lr)
            told = (study.label, study.seed, trial.number, trial.state, trial.value, lr, as_json(schedule.args))
            asked_in = {n: distribution_to_json(d) for n, d in study.space_of(trial).distributions.items()}
            known = (study.name, study.fingerprint, study.sampler, as_json(dict(trial.params)), as_json(asked_in))
            rows.append((*told, *known))
        return rows


def rerun_table(studies: Sequence[Study]) -> pd.DataFrame:
    """One row per study, leading trial and stream for tuning, that of the search first; infinite where it diverged."""
    rows = [
        (study.label, study.seed, trial.number, stream, value)
        for study in studies
        for trial in study.leaders(len(study.reruns))
        for stream, value in enumerate([trial.value, *study.reruns[trial.number]], 1)
    ]
    return pd.DataFrame(rows, columns=list(RERUN_COLUMNS)).astype({"seed": "int64", "value": float})


def widened_ranges(studies: Sequence[Study]) -> str:
    """What to say of the studies whose best peak rate lay at an end of their range; empty where none's did."""
    grown = [study for study in studies if study.searched != study.space]
    still = [study for study in studies if study.spaces[-1] != study.searched]
    if not grown and not still:
        return ""
    is_percent, told = studies[0].space.peak.is_percent, []
    if grown:
        ends = (written(end, is_percent=is_percent) for end in _ends(study.searched for study in studies))
        shown = "\N{HORIZONTAL ELLIPSIS}".join(ends)
        told.append(f"the range of the peak rate was widened to {shown} in {len(grown)} of {len(studies)} studies")
    if still:
        told.append(f"the best peak rate of {len(still)} of {len(studies)} studies lies at an end of what was searched")
    before, after = (_ends(spaces) for spaces in ([s.space for s in studies], [s.spaces[-1] for s in studies]))
    other = f", or {'a larger' if after[1] > before[1] else 'a smaller'} lr of the optimizer," * is_percent
    return f"{'; '.join(told)}; write {as_params(*after, is_percent=is_percent)}{other} to search it from the beginning"


def _ends(spaces: Iterable[StudySpace]) -> tuple[float, float]:
    """Of the peak rates of all spaces together."""
    lows, highs = zip(*(space.rates for space in spaces), strict=True)
    return min(lows), max(highs)


def best_yaml(best: Mapping[str, Schedule]) -> str:
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
    return text.getvalue()
