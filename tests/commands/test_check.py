"""What is said of a params.yaml that is right, and will hardly be meant."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from pipeline.commands import check, plan
from pipeline.config.errors import PipelineError

PARAMS = """
device: cpu
seeds: 2
problems:
  few:
    dataset: {path: few.csv, target: y}
    model: {name: mlp, hidden: [4]}
    optimizer: {name: SGD, lr: 0.1}
    epochs: 60
    batch_size: 64
    accumulate: 2
schedulers:
  ConstantLR: {args: {factor: 1.0}}
  CosineAnnealingLR: {args: {T_max: 1000}}
  StepLR: {args: {step_size: 500}, search: {step_size: {low: 5, high: 700}}}
  MultiStepLR: {args: {milestones: [30, 80]}}
  CyclicLR: {args: {base_lr: 1%, max_lr: 100%, step_size_up: 2000, cycle_momentum: false}}
  ReduceLROnPlateau: {args: {patience: 100}}
sweep: {points: 2, budgets: [50%, 90]}
report: {baseline: ConstantLR}
"""
WARNED = (
    "CosineAnnealingLR, epoch 60: T_max is 1000 epochs, and the schedule has 60",
    "StepLR, epoch 60: step_size is 500 epochs, and the schedule has 60; what should happen then never does",
    "StepLR, epoch 1: the rate is 0.1 from the first step to the last",
    "StepLR, epoch 60: search.step_size goes up to 700, and the schedule has 60 epochs; trials go to lengths that none reaches",
    "MultiStepLR, epoch 60: milestones is 80 epochs, and the schedule has 60",
    "CyclicLR, epoch 60: step_size_up is 2000 batches, and the schedule has 60",
    "ReduceLROnPlateau, epoch 60: the rate cannot be lowered within 60 epochs",
    "problems.few.batch_size is 64, and the training part has 30 samples: one batch is all of it, and an epoch a single step",
    "problems.few.accumulate is 2, and an epoch has 1 batch: an epoch is a single step",
    "sweep.budgets holds 90, and a run of few has 60 epochs: no shorter run is that, and it is left out",
)
REMEDIED = {
    "64": "10", "accumulate: 2": "accumulate: 3", "1000": "60", "500": "20", "700": "50", "80": "50", "2000": "10",
    "patience: 100": "patience: 5", "90]": "45]",
}  # fmt: skip


def test_what_is_larger_than_the_whole_is_a_warning(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its value and what comes of it; and no more is said once it is mended."""
    draw = np.random.default_rng(0)
    Path("inputs").mkdir()
    pd.DataFrame({"x": draw.normal(size=50), "y": draw.normal(size=50)}).to_csv("inputs/few.csv", index=False)
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    check.main()
    said = capsys.readouterr()
    for warning in WARNED:
        assert f"check@few: warning: {warning}" in said.err
    assert said.out.startswith("params.yaml is right: ")
    params = PARAMS
    for old, new in REMEDIED.items():
        assert old in params
        params = params.replace(old, new)
    Path("params.yaml").write_text(params, encoding="utf-8")
    check.main()
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize("command", [check, plan])
def test_what_is_wrong_with_several_problems_is_told_at_once(here: Path, command: ModuleType) -> None:
    first, last = PARAMS.index("  few:"), PARAMS.index("schedulers:")
    more = PARAMS[first:last].replace("few:", "more:").replace("few.csv", "none.csv")
    Path("params.yaml").write_text(PARAMS[:last] + more + PARAMS[last:], encoding="utf-8")
    with pytest.raises(PipelineError, match=r"problems\.few\.dataset.*\n.*problems\.more\.dataset.*") as told:
        command.main([])
    assert told.value.exit_code == 2
