"""Every schedule of a problem followed to the end of its run, before anything is trained."""

from pipeline.document import Loc
from pipeline.params import placed_in
from pipeline.problems.problem import Problem
from pipeline.schedulers.replay import ScheduleError
from pipeline.schedulers.traps import Followed, follow


def inspect(problem: Problem) -> list[Followed]:
    """All schedules of the problem, in order; :func:`pipeline.schedulers.traps.findings` names the traps in each.

    Raises :class:`pipeline.params.ParamsError` with a placed line for each that cannot be followed.
    """
    followed, mistakes = [], []
    for label, schedule in problem.schedules.items():
        try:
            followed.append(follow(label, schedule, problem.optimizers_for(schedule), problem.lr, problem.budget()))
        except ScheduleError as error:
            own: Loc = ("problems", problem.name) if label in problem.params.schedulers else ()
            right = f"change its arguments; README.md and torch's own page on {schedule.name} say what they mean"
            if error.key == "warmup":
                right = "leave `warmup` out, or make it shorter"
            mistakes.append(((*own, "schedulers", label, error.key), getattr(schedule, error.key), str(error), right))
    if mistakes:
        raise placed_in(mistakes)
    return followed
