"""``python -m pipeline check``: check params.yaml, the data that it names, and whether its scripts run.

Each mistake is told with its place and a remedy; what is allowed but hardly meant, such as a length beyond the run, is a
warning. Nothing is trained but a few steps of a script.
"""

from collections.abc import Sequence

from pipeline.catalogue import CATALOGUE
from pipeline.commands import arguments
from pipeline.config.errors import for_each
from pipeline.config.params import Params, load_params
from pipeline.config.stages import stage_names
from pipeline.config.terminal import tell
from pipeline.config.wording import counted
from pipeline.engine.device import find_device
from pipeline.runs.inspection import no_shorter
from pipeline.runs.unsearched import in_short, unsearched
from pipeline.stages.dataset import problem_made
from pipeline.stages.train import warned


def main(words: Sequence[str] = ()) -> None:
    """Say that all is right; a mistake is told with its place and its remedy, as the stages tell it."""
    parser = arguments("check", __doc__)
    parser.add_argument("--all", action="store_true", help="name every argument that tuning leaves as it is written")
    asked = parser.parse_args(words)
    params = load_params(CATALOGUE)
    find_device(params.device)
    for_each(params.problems, lambda name: _checked(params, name))
    print(f"params.yaml is right: {told(params)}")
    print(f"not searched, but as written: {left_as_written(params, whole=asked.all)}")


def _checked(params: Params, name: str) -> None:
    warned(params, problem := problem_made(params, name), "check")
    for warning in no_shorter(problem, params.sweep):
        tell(f"check@{name}: warning: {warning}")


def left_as_written(params: Params, *, whole: bool = False) -> str:
    """What no study tries, of all problems and schedulers, in a short line; with every argument if it is to be ``whole``."""
    given = params.problems.values(), {label: own for name in params.problems for label, own in params.schedules(name).items()}
    return unsearched(*given) if whole else f"{in_short(*given)} (`python -m pipeline check --all` names them)"


def told(params: Params) -> str:
    """What params.yaml asks for, in a few words."""
    seeds, labels = params.seed_range, {label for name in params.problems for label in params.schedules(name)}
    of_seeds = f"{seeds.least}" if seeds.least == seeds.most else f"{seeds.least} to {seeds.most}"
    problems, stages = len(params.problems), len(stage_names(params.problems))
    return (
        f"{counted(problems, 'problem')}, {counted(len(labels), 'scheduler')}, {of_seeds} seeds, "
        f"{counted(params.tune.trials, 'trial')}, {stages} stages"
    )
