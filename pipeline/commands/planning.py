"""What is ahead: the runs that each stage wants, those of them that are in the store, what they cost, and that in words."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from pipeline.catalogue import CATALOGUE
from pipeline.commands import power
from pipeline.commands.check import left_as_written
from pipeline.config import terminal
from pipeline.config.errors import PipelineError, for_each
from pipeline.config.params import Params, load_params
from pipeline.config.stages import RUNS, stage_names
from pipeline.config.wording import in_bytes
from pipeline.engine.device import find_device
from pipeline.engine.training import Way
from pipeline.problems.loading import load_problem
from pipeline.problems.problem import Problem
from pipeline.problems.run import STREAMS
from pipeline.runs import results
from pipeline.runs.cost import Cost, cost
from pipeline.runs.executor import NOBODY, LackingError, process_count
from pipeline.runs.racing import Question, confirming, seeds_wanted
from pipeline.runs.wanted import Work, as_written, counted, unknown
from pipeline.search.forecast import Before, Best, asking_seconds, of_search, of_sweep
from pipeline.stages import check
from pipeline.stages.dataset import problem_made

Range = tuple[float, float]
Line = tuple[str, str]
HOW: dict[Way, str] = {
    "compiled": "side by side, compiled",
    "tensors": "side by side, as tensors",
    "loop": "run by run",
    "script": "each a process",
}
"""What is said of a way of training."""
STAGE = 3.5
"""Seconds for a stage to begin, to write its files and to end, DVC's own among them; here and below on one core of 2026."""
REPORT = 0.6
"""Seconds that a scheduler takes in the report, a problem."""
TRACKED = 0.012
"""Seconds to write a run of full curves into files and trackers."""
CURVE, RUN, TRIAL = 1600, 1000, 1200
"""Bytes of an epoch of full curves (in MLflow nearly all), of a run in the store, of a trial in Optuna's journal."""
WORTH_SAYING = 5
"""Seconds that a change of params.yaml must save to be named."""
LONG = 60
"""Seconds from which it is said how to make it less."""


@dataclass(frozen=True)
class ProblemPlan:
    """What is ahead of a problem: the runs that each stage wants, and what they cost."""

    problem: Problem
    work: dict[str, list[Work]]
    """By stage, of those that DVC would run."""
    cost: Cost | None
    """None where nothing is to be trained."""
    asking: float
    """Seconds for all trials to be asked for."""

    def of(self, stages: Sequence[str] = RUNS) -> list[Work]:
        """What these stages want."""
        return [work for stage in stages for work in self.work.get(stage, ())]

    def runs(self, stages: Sequence[str] = RUNS) -> tuple[int, int]:
        """To be trained, at least and at most."""
        return sum(work.least for work in self.of(stages)), sum(work.most for work in self.of(stages))

    @property
    def there(self) -> int:
        """In the store."""
        return sum(work.there for work in self.of())

    def seconds(self, stages: Sequence[str] = RUNS) -> Range:
        """Of training, and of all that is in proportion to it."""
        if (found := self.cost) is None:
            return 0.0, 0.0

        def taken(work: Work, runs: int) -> float:
            return found.seconds(self.problem, work, runs) + (0 if work.search else TRACKED * runs)

        works, asking = self.of(stages), self.asking * ("tune" in stages)
        return sum(taken(own, own.least) for own in works) + asking, sum(taken(own, own.most) for own in works) + asking

    @property
    def bytes(self) -> float:
        """On disk, about."""
        return sum(
            work.most * (RUN + (TRIAL * (stage == "tune") if work.search else CURVE * work.epochs))
            for stage in self.work
            for work in self.of([stage])
        )


def lines_of_plan(status: Callable[[], set[str] | None], stale: set[str] | None) -> Iterator[Line]:
    """The plan of what DVC finds ``stale``; it is asked by ``status`` once more where params.yaml is."""
    params = load_params(CATALOGUE)
    check.main()  # DVC compares the others with what it writes
    names = stage_names(params.problems)
    ahead = following(params, status() if stale and "check" in stale else stale, names)
    device, processes = find_device(params.device), process_count()
    problems = for_each(params.problems, lambda name: planned(params, name, ahead, device, processes))
    terminal.clear()
    yield from lines(params, problems, len(ahead), len(names), processes)


def following(params: Params, stale: set[str] | None, names: Sequence[str]) -> set[str]:
    """Those stages and all that take what they write."""
    if stale is None:
        return set(names)
    ahead = {name for name in names if name in stale}
    for problem in params.problems:
        if f"dataset@{problem}" in ahead:
            ahead |= {f"{stage}@{problem}" for stage in RUNS}
        if f"tune@{problem}" in ahead:
            ahead |= {f"{stage}@{problem}" for stage in ("confirm", "sweep")}
    return ahead | ({"report", "track"} if ahead - {"check", "track"} else set())


def planned(params: Params, name: str, ahead: set[str], device: torch.device, processes: int) -> ProblemPlan:
    """What is ahead of the problem of that name."""
    stages = [stage for stage in RUNS if f"{stage}@{name}" in ahead]
    if not stages:
        return ProblemPlan(load_problem(params, name), {}, None, 0)
    terminal.doing(f"plan: {name}: what is wanted, and what it costs")
    problem = problem_made(params, name, tell=lambda line: None) if f"dataset@{name}" in ahead else load_problem(params, name)
    work = dict(wanted(params, problem, stages, device))
    if not sum(found.most for works in work.values() for found in works):
        return ProblemPlan(problem, work, None, 0)
    seeds, trials = params.seed_range.least, work.get("tune", [unknown(1, 0)])[0].most
    share = trials / (len(problem.schedules) * seeds * params.tune.trials)
    asking = asking_seconds(problem, params.tune, seeds, processes) * share if share else 0
    return ProblemPlan(problem, work, cost(problem, device, processes), asking)


def wanted(params: Params, problem: Problem, stages: Sequence[str], device: torch.device) -> Iterator[tuple[str, list[Work]]]:
    """Each stage and the runs it wants."""
    seeds, epochs = params.seed_range, problem.params.epochs
    best: Best | None = None if "tune" in stages else results.read_schedules(problem.name)
    if "train" in stages:
        yield "train", [counted(problem, as_written(problem, seeds.least, params.report.at), device)]
    if "tune" in stages:
        work, best = of_search(problem, params.tune, seeds.least, device, _before(problem.name), params.report.at)
        yield "tune", work
    if "confirm" in stages:
        yield "confirm", _confirmed(params, problem, best, device, epochs)
    if "sweep" in stages and params.sweep:
        fresh = params.fresh[: seeds.least]
        yield "sweep", list(of_sweep(problem, params.sweep, params.tune, best, seeds.least, fresh, device))


def _confirmed(params: Params, problem: Problem, best: Best | None, device: torch.device, epochs: int) -> list[Work]:
    least, most = params.seed_range.least, params.seed_range.most
    if best is None:
        count = len(problem.schedules) * STREAMS
        return [unknown(epochs, count * least, count * most)]
    at = params.report.at
    first, all_ = (counted(problem, confirming(best, seeds, epochs, at), device) for seeds in (least, most))
    if not first.least:
        asked = Question(params.seed_range, params.report.baseline, params.report.margin, at)
        with contextlib.suppress(LackingError):
            enough = seeds_wanted(problem, best, asked, device, NOBODY, tell=lambda line: None)
            return [counted(problem, confirming(best, enough, epochs, at), device)]
    return [Work(epochs, first.least, all_.most, all_.there)]


def _before(problem: str) -> Before:
    """What the search was of that there are results of."""
    with contextlib.suppress(PipelineError):
        trials, _ = results.read_tuning(problem)
        return set(trials["scheduler"]), trials["seed"].nunique()
    return (), 0


def lines(params: Params, problems: Sequence[ProblemPlan], ahead: int, stages: int, processes: int) -> Iterator[Line]:
    """The plan in words, each line behind what it is about."""
    least, most = (sum(of) for of in zip(*(p.runs() for p in problems), strict=True))
    there = sum(p.there for p in problems)
    schedulers = sum(len(p.problem.schedules) for p in problems)
    around = STAGE * ahead + REPORT * schedulers
    low, high = (sum(of) + around for of in zip(*(p.seconds() for p in problems), strict=True))
    size = sum(p.bytes for p in problems)
    runs = f"{ahead} of {stages} stages, {_ranged(least, most)} runs to train, {there:,} in the store"
    taken = f"about {_duration(low, high)} with {processes} process{'es' * (processes > 1)}, {in_bytes(size)} of disk"
    yield "plan: ", f"{runs}; {taken}"
    width = max(len("beside"), *(len(p.problem.name) for p in problems))
    for plan in problems:
        if plan.cost:
            yield f"  {plan.problem.name:{width}}  ", _of_problem(plan, plan.cost)
    yield f"  {'beside':{width}}  ", f"{_duration(around, around)} to begin and end stages, and for the report"
    for plan in problems:
        if plan.cost and plan.cost.why:
            taken = _duration(*plan.seconds())
            yield "  ", f"{plan.problem.name} is trained run by run, which takes {taken} of it: {plan.cost.why}"
    to_tell = {plan.problem.name: _to_tell(params, plan) for plan in problems if plan.cost}
    if to_tell:
        before = ", before the first runs in standard deviations of that difference over seeds"
        unknown = "" if all(is_measured for _, is_measured in to_tell.values()) else before
        yield "  ", f"the smallest difference to {params.report.baseline} that is found four times in five{unknown}:"
    for name, (told, _) in to_tell.items():
        yield f"  {name:{width}}  ", told
    if any("tune" in plan.work for plan in problems):
        yield "  not searched, but as written: ", left_as_written(params)
    if high > LONG and (cuts := list(_cuts(params, problems))):
        yield "  to make it less: ", f"{'; '.join(cuts)} (each alone, in params.yaml)"


def _to_tell(params: Params, plan: ProblemPlan) -> tuple[str, bool]:
    """What the seeds could tell, and a smaller study at what it costs; and whether that was measured from runs."""
    seeds, labels = params.seed_range.most, len(plan.problem.schedules)
    counts, high = [seeds, *power.smaller(seeds)], plan.seconds()[1]
    if of_runs := power.measured(params, plan.problem.name, counts):
        found, unit = [f"{share:.1%}" for share in of_runs], "of its loss"
    else:
        found = [f"{each:.2g}" for each in power.assumed(labels, counts)]
        unit = "standard deviations"
    fewer = [
        f"{effect} with {count} ({_duration(*[high * count / seeds] * 2)})"
        for count, effect in zip(counts[1:], found[1:], strict=True)
    ]
    return ", ".join([f"{found[0]} {unit} with {seeds} seeds", *fewer]), bool(of_runs)


def _of_problem(plan: ProblemPlan, found: Cost) -> str:
    epochs = 1 / (found.step * plan.problem.budget().steps_per_epoch)
    how = HOW[found.way]
    stored = f", {plan.there:,} in the store" if plan.there else ""
    speed = f"{epochs:,.0f}" if epochs >= 10 else f"{epochs:.2g}"
    return f"{_ranged(*plan.runs())} runs{stored}: {_duration(*plan.seconds())}; {how}, {speed} epochs a second"


def _cuts(params: Params, problems: Sequence[ProblemPlan]) -> Iterator[str]:
    """Which key saves how much, the largest first."""
    of_stage = {stage: sum(plan.seconds([stage])[1] for plan in problems) for stage in RUNS}
    seeds, trials = params.seed_range, params.tune.trials
    all_ = sum(of_stage.values())
    saved = []
    if params.sweep:
        saved.append((of_stage["sweep"], "sweep: none"))
    if trials > 1:
        of_trials = sum(plan.seconds(["tune"])[1] * _share_of_trials(plan) for plan in problems)
        saved.append((of_trials * (1 - trials // 2 / trials), f"tune: {{trials: {trials // 2}}}"))
    if seeds.most > seeds.least:
        confirmed = sum(plan.seconds(["confirm"])[1] - plan.seconds(["confirm"])[0] for plan in problems)
        saved.append((confirmed, f"seeds: {seeds.least}"))
    if seeds.least > 5:
        saved.append((all_ * (1 - 5 / seeds.least), "seeds: 5"))
    for amount, key in sorted(saved, reverse=True):
        if amount > WORTH_SAYING:
            yield f"`{key}` saves {_duration(amount, amount)}"


def _share_of_trials(plan: ProblemPlan) -> float:
    """Of the runs of stage ``tune``."""
    return plan.work["tune"][0].most / max(1, plan.runs(["tune"])[1]) if "tune" in plan.work else 0.0


def _ranged(least: int, most: int) -> str:
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def _duration(low: float, high: float) -> str:
    """In the unit that suits the larger one."""
    unit, name = (1, "s") if high < 90 else (60, "min") if high < 5400 else (3600, "h")
    shown = [f"{value / unit:.2g}" if value / unit < 10 else f"{value / unit:.0f}" for value in (low, high)]
    return f"{shown[1]} {name}" if shown[0] == shown[1] else f"{shown[0]} to {shown[1]} {name}"
