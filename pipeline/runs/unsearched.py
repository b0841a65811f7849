"""What no study tries: the hyperparameters that stay as they are written, so that nobody takes them for tuned."""

from collections.abc import Iterable, Iterator, Mapping

from pipeline.config.problem_params import ProblemParams
from pipeline.config.schedules import Schedule
from pipeline.config.wording import counted
from pipeline.schedulers.registry import schedulers, searched


def unsearched(problems: Iterable[ProblemParams], schedules: Mapping[str, Schedule]) -> str:
    """In words: of these problems, and of the schedulers by label."""
    kept, of_optimizers = _of_problems(problems)
    kept += [f"the optimizer's {', '.join(of_optimizers)}"] * bool(of_optimizers)
    left = {label: ", ".join(_left(schedule)) for label, schedule in schedules.items()}
    return "; ".join([", ".join(kept), *(f"{label}: {names}" for label, names in left.items() if names)])


def in_short(problems: Iterable[ProblemParams], schedules: Mapping[str, Schedule]) -> str:
    """The same without the names of arguments."""
    kept, of_optimizers = _of_problems(problems)
    kept += ["the optimizer's other arguments"] * bool(of_optimizers)
    some = sum(any(_left(schedule)) for schedule in schedules.values())
    return ", ".join([*kept, *[f"some arguments of {counted(some, 'scheduler')}"] * bool(some)])


def _of_problems(problems: Iterable[ProblemParams]) -> tuple[list[str], list[str]]:
    """What of problems stays as it is written, and the arguments of their optimizers that do."""
    some = list(problems)
    kept = dict.fromkeys(["epochs", *(name for problem in some for name in problem.as_written)])
    return [*kept], [*dict.fromkeys(name for problem in some for name in problem.optimizer.args if name != "lr")]


def _left(schedule: Schedule) -> Iterator[str]:
    """The arguments of a schedule that mean something and are not searched."""
    given = schedulers[schedule.name].complete(schedule.args)
    tried = searched(schedule, is_warmed_up=schedule.warmup not in (0, "0%"))
    moves_momentum = given.get("cycle_momentum", True)
    for name, value in given.items():
        if name not in tried and value is not None and value != [] and (moves_momentum or "momentum" not in name):
            yield name
    yield from ["warmup"] * (schedule.warmup not in (0, "0%"))
    yield from ["average"] * (schedule.average is not None)
