"""The stages of dvc.yaml by name, in the order in which DVC runs them."""

from collections.abc import Iterable

RUNS = ("train", "tune", "confirm", "sweep")
"""Those that want runs, each once a problem."""


def stage_names(problems: Iterable[str]) -> list[str]:
    """Every stage there is for these problems."""
    of_problems = [f"{stage}@{problem}" for stage in ("dataset", *RUNS) for problem in problems]
    return ["check", *of_problems, "report", "track"]
