"""A problem by its name, of whatever kind it is, from what the stage ``dataset`` wrote."""

from collections.abc import Mapping

from pipeline.config import files
from pipeline.config.params import ProblemParams, Schedule, ScriptParams
from pipeline.problems import scripts
from pipeline.problems.dataset import Dataset, splits_of
from pipeline.problems.problem import Problem


def load_problem(name: str, params: ProblemParams, schedules: Mapping[str, Schedule]) -> Problem:
    """The problem of that name with its data; :class:`pipeline.config.files.ResultsError` where that is not there yet."""
    if isinstance(params, ScriptParams):
        return scripts.load(name, params, schedules)
    data = Dataset.of(name, files.read_dataset(name), splits_of(files.read_splits(name)))
    return Problem.of(data, params, schedules)
