"""What no study tries: the hyperparameters that stay as they are written, so that nobody takes them for tuned."""

from collections.abc import Iterable, Iterator, Mapping

from pipeline.config.problem_params import ProblemParams, ScriptParams
from pipeline.config.schedules import Schedule
from pipeline.schedulers.registry import schedulers, searched


def unsearched(problems: Iterable[ProblemParams], schedules: Mapping[str, Schedule]) -> str:
    """In words: of these problems, and of the schedulers by label."""
    some = list(problems)
    plain = [problem for problem in some if not isinstance(problem, ScriptParams)]
    of_optimizers = dict.fromkeys(arg for problem in plain for arg in problem.optimizer.args if arg != "lr")
    kept = ["epochs", *(["batch_size", "model", "loss"] if plain else [])]
    kept += [f"the optimizer's {', '.join(of_optimizers)}"] * bool(of_optimizers)
    kept += ["all that a script settles itself"] * (len(plain) < len(some))
    left = {label: ", ".join(_left(schedule)) for label, schedule in schedules.items()}
    own = "; ".join(f"{label}: {names}" for label, names in left.items() if names)
    return "; ".join(filter(None, [", ".join(kept), own]))


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
