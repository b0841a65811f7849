"""``python -m pipeline check``: whether params.yaml and the data that it names are right; one line where they are."""

import argparse
from collections.abc import Sequence

from pipeline.catalogue import CATALOGUE
from pipeline.config import terminal
from pipeline.config.params import Params, load_params
from pipeline.config.stages import stage_names
from pipeline.engine.device import find_device
from pipeline.stages.dataset import drawn


def main(words: Sequence[str] = ()) -> None:
    """Say that all is right; a mistake is told with its place and its remedy, as the stages tell it."""
    argparse.ArgumentParser("python -m pipeline check", description=__doc__).parse_args(words)
    params = load_params(CATALOGUE)
    find_device(params.device)
    for name in params.problems:
        drawn(params, name, terminal.tell)
    print(f"params.yaml is right: {told(params)}")


def told(params: Params) -> str:
    """What params.yaml asks for, in a few words."""
    seeds, labels = params.seed_range, {label for name in params.problems for label in params.schedules(name)}
    of_seeds = f"{seeds.least}" if seeds.least == seeds.most else f"{seeds.least} to {seeds.most}"
    problems, stages = len(params.problems), len(stage_names(params.problems))
    plural = "" if problems == 1 else "s"
    return (
        f"{problems} problem{plural}, {len(labels)} schedulers, {of_seeds} seeds, {params.tune.trials} trials, {stages} stages"
    )
