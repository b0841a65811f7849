"""What is refused before anything is trained, each with its place in params.yaml."""

import json
import random
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pipeline.config.errors import ParamsError
from pipeline.data.datasets import frame
from pipeline.data.datasets import register as register_dataset
from pipeline.problems.dataset import Split
from pipeline.problems.losses import register as register_loss
from pipeline.problems.models import register as register_model
from pipeline.problems.problem import Problem
from pipeline.runs.inspection import absent_classes, inspect, nothing_counted, same_weights
from pipeline.schedulers.registry import register
from tests.engine.helpers import Builder

FILE = """\
seeds: 2
problems:
  small:
    dataset: {name: synthetic, train: 70, validation: 40, test: 30}
    model: {name: linear}
    optimizer: {name: SGD, lr: 0.1}
    epochs: 8
    batch_size: 12
    schedulers:
      StepLR: {args: {step_size: 2}}
OVERRIDES
schedulers:
  StepLR: {args: {step_size: 30%}}
  ConstantLR: {args: {factor: 1.0}}
COMMON
report: {baseline: ConstantLR}
"""
CYCLIC = "CyclicLR: {args: {base_lr: 50%, max_lr: 0.01, cycle_momentum: false}}"
NEGATIVE = "Negative: {args: {slope: 0.25}}"
RAISING = "Raising: {args: {at: 9}, interval: batch}"
BASE_ABOVE_MAX = "schedulers.CyclicLR.args: it cannot be built: base_lr (0.05) lies above max_lr (0.01)"  # 50% of 0.1
BECOMES_NEGATIVE = (
    "schedulers.Negative.args: its learning rate becomes -0.025 at epoch 6 (epoch 6 of 8)"  # 0.1 * (1 - 0.25 * 5)
)
RAISES_MIDWAY = "schedulers.Raising.args: raises at its step 9 of 48: no step 9 (epoch 2 of 8)"  # 8 epochs of 6 batches


@pytest.fixture(autouse=True)
def impossible_schedulers(own_registries: None) -> None:
    @register("Negative", interval="epoch")
    def negative(optimizer: Optimizer, total_steps: int, slope: float) -> LRScheduler:
        return LambdaLR(optimizer, lambda step: 1 - slope * step)

    @register("Raising")
    def raising(optimizer: Optimizer, total_steps: int, at: int) -> LRScheduler:
        def factor(step: int) -> float:
            if step == at:
                raise ValueError(f"no step {step}\nand a second line")
            return 1.0

        return LambdaLR(optimizer, factor)


def refusal(new_problem: Builder, monkeypatch: pytest.MonkeyPatch, overrides: list[str], common: list[str]) -> list[str]:
    """The lines of the error for these entries, each up to what was given."""
    text = FILE.replace("OVERRIDES", "\n".join(f"      {line}" for line in overrides))
    problem = new_problem.from_text(text.replace("COMMON", "\n".join(f"  {line}" for line in common)))
    monkeypatch.chdir(new_problem.folder)
    with pytest.raises(ParamsError) as error:
        inspect(problem)
    lines = [line.split(" (given: ") for line in str(error.value).splitlines()]
    assert all("; change its arguments" in remedy for _, remedy in lines)
    return [wrong for wrong, _ in lines]


@pytest.mark.parametrize(
    ("entry", "place", "message"),
    [
        (CYCLIC, "15:20", BASE_ABOVE_MAX),
        (NEGATIVE, "15:20", BECOMES_NEGATIVE),
        (RAISING, "15:19", RAISES_MIDWAY),
    ],
    ids=["base above max", "negative", "raises midway"],
)
def test_refused_with_its_place(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, entry: str, place: str, message: str
) -> None:
    """Line 15 is the first after the common schedulers; the column is that of the arguments."""
    assert refusal(new_problem, monkeypatch, [], [entry]) == [f"params.yaml:{place}: {message}"]


def test_several_at_once(new_problem: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """An override is placed, and named, under its problem; it stands in for the common one of its label."""
    lines = refusal(new_problem, monkeypatch, [NEGATIVE], [CYCLIC, "Negative: {args: {slope: 0.0}}", RAISING])
    assert sorted(lines) == [
        f"params.yaml:11:24: problems.small.{BECOMES_NEGATIVE}",
        f"params.yaml:15:20: {BASE_ABOVE_MAX}",
        f"params.yaml:17:19: {RAISES_MIDWAY}",
    ]


def test_what_is_possible_passes(new_problem: Builder) -> None:
    inspect(new_problem.from_text(FILE.replace("OVERRIDES\n", "").replace("COMMON\n", "")))


@pytest.mark.parametrize(
    ("entry", "place", "wrong"),
    [
        ("Late: {name: LinearDecay, warmup: 48}", "14:37", "leaves nothing of the run's 48 steps"),
        ("Late: {name: LinearLR, warmup: 5}", "14:34", "leads to a schedule that begins at 0.333 of its own peak"),
    ],
)
def test_a_warmup_without_a_meaning(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, entry: str, place: str, wrong: str
) -> None:
    problem = new_problem.from_text(FILE.replace("OVERRIDES\n", "").replace("COMMON", f"  {entry}"))
    monkeypatch.chdir(new_problem.folder)
    with pytest.raises(ParamsError) as error:
        inspect(problem)
    assert str(error.value).startswith(f"params.yaml:{place}: schedulers.Late.warmup: {wrong} (given: ")
    assert "; leave `warmup` out, or make it shorter" in str(error.value)


# The parts of a problem and its data

FOR_CLASSES, FOR_NUMBERS = "and the targets are 2 classes", "and the targets are numbers to be predicted"
PARTS: dict[str, tuple[str, str, str, str]] = {
    "a loss for numbers": (
        "loss: {name: MSELoss}", "loss.name", f"is for regression, {FOR_CLASSES}",
        "write one of CrossEntropyLoss, BCEWithLogitsLoss"),
    "a loss for classes": (
        "dataset: {name: diabetes}, loss: {name: CrossEntropyLoss}", "loss.name", f"is for classification, {FOR_NUMBERS}",
        "write one of MSELoss, L1Loss"),
    "a binary loss": (
        "dataset: {name: iris}, loss: {name: BCEWithLogitsLoss}", "loss.name", "is for 2 classes, and there are 3",
        "write CrossEntropyLoss"),
    "weights of other classes": (
        "loss: {name: CrossEntropyLoss, weight: [1.0, 2.0, 3.0]}", "loss.weight", "has 3 weights, and there are 2 classes",
        "write one weight per class"),
    "a metric for numbers": (
        "metric: {name: R2Score}", "metric.name", f"is for regression, {FOR_CLASSES}", "write one of Accuracy, "),
    "a model for images": (
        "model: {name: cnn}", "model", "cannot be built for samples of shape (10,): cnn needs images of shape (channels",
        "change its arguments, or the dataset"),
    "a token beyond the table": (
        "dataset: {name: tokens}, model: {name: transformer, vocabulary: 6}", "model",
        "cannot be applied to samples of shape (5,): IndexError: index out of range in self", "change its arguments"),
    "too few outputs": (
        "model: {name: narrow}", "model", "gives outputs of shape (10, 1) for 10 samples, and (10, 2) is needed",
        "let it end in 2 outputs per sample"),
    "an optimizer for matrices": (
        "optimizer: {name: Muon, lr: 0.1}", "optimizer", "cannot train the model linear: Muon only supports 2D parameters",
        "change its arguments, or take another one"),
    "an optimizer for sparse gradients": (
        "optimizer: {name: SparseAdam, lr: 0.1}", "optimizer",
        "cannot train the model linear: RuntimeError: SparseAdam does not support dense gradients", "change its arguments"),
    "arguments that torch refuses": (
        "optimizer: {name: Adadelta, lr: 0.1, rho: 1.5}", "optimizer", "cannot train the model linear: Invalid rho value: 1.5",
        "change its arguments"),
    "a last batch without statistics": (
        "model: {name: normed}, batch_size: 27", "batch_size",  # 1000 = 37 * 27 + 1
        "leaves 1 of 1000 training samples for the last batch, which the model normed cannot be trained on: Expected more",
        "write a size that leaves more, or build the model with GroupNorm"),
    "one sample to evaluate": (
        "model: {name: untracked}, dataset: {name: synthetic, train: 60, validation: 30, test: 1}, resample: false",
        "dataset", "has one sample in its test part, which the model untracked cannot be applied to", "let that part have"),
    "statistics of other weights": (
        "model: {name: normed}, optimizer: {name: SGDScheduleFree, lr: 0.1}", "optimizer.name",
        "is evaluated at averaged weights, and the running statistics of the model normed (BatchNorm's, or the like) are those",
        "leave it out, or build the model with GroupNorm"),
}  # fmt: skip


def module(forward: Callable[[nn.Linear, Tensor], Any]) -> Callable[[int, int], nn.Module]:
    """A builder of linear layers with another forward."""

    class Odd(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return forward(self, x)

    return Odd


class Unseeded(nn.Linear):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.draw = np.random.default_rng()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + float(self.draw.normal())


class Drawn(nn.Linear):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.weight.data = torch.from_numpy(np.random.default_rng().normal(size=(outputs, inputs))).float()


class Listed(nn.Linear):
    """Its first layer lies in a plain list."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(4, outputs)
        self.hidden = [nn.Linear(inputs, 4)]

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.hidden[0](x).relu())


def of_any_width(inputs: int, outputs: int) -> nn.Module:
    width = random.randrange(1, 1000)
    return nn.Sequential(nn.Linear(inputs, width), nn.Linear(width, outputs))


BACKBONE, NORM = nn.Linear(10, 4), nn.BatchNorm1d(10).requires_grad_(False)


OWN: dict[str, tuple[Callable[[int, int], nn.Module], str, str]] = {
    "several outputs": (module(lambda m, x: (x @ m.weight.T, x)), "gives a tuple, and a tensor is", "let it end in 2"),
    "named outputs": (
        module(lambda m, x: {"logits": x @ m.weight.T}),
        "gives a dict, and a tensor is",
        "let it end in 2",
    ),
    "one number": (
        module(lambda m, x: (x @ m.weight.T).mean()),
        "gives outputs of shape () for 10",
        "let it end in 2",
    ),
    "whole numbers": (module(lambda m, x: (x @ m.weight.T).long()), "gives outputs of torch.int64", "let it return one tensor"),
    "cut off": (module(lambda m, x: (x @ m.weight.T).detach()), "gives outputs that do not hang on any parameter", "leave out"),
    "another argument": (
        lambda i, o: nn.Bilinear(i, i, o),
        "cannot be applied to samples of shape (10,): TypeError: ",
        "change its arguments, or mend tests/runs/test_inspection.py:",
    ),
    "a file that is not there": (
        lambda i, o: torch.load("best.pt"),
        "cannot be built for samples of shape (10,): FileNotFoundError: ",
        "change its arguments, or mend tests/runs/test_inspection.py:",
    ),
    "no parameter": (lambda i, o: nn.Flatten(), "gives outputs of shape (10, 10) for 10 samples", "let it end in 2"),
    "numbers of its own": (
        Unseeded,
        "gives other outputs each time that it is given",
        "let it draw from torch's",
    ),
    "weights of its own": (
        Drawn,
        "has other weights each time that it is built",
        "let it draw from torch's",
    ),
    "layers of another's": (
        lambda i, o: nn.Sequential(BACKBONE, nn.Linear(4, o)),
        "shares parts that training changes with another that is built",
        "let it build all its layers anew",
    ),
    "frozen statistics of another's": (
        lambda i, o: nn.Sequential(NORM, nn.Linear(i, o)),
        "shares parts that training changes with another that is built",
        "let it build all its layers anew",
    ),
    "layers in a list": (
        Listed,
        "computes with tensors (of shape (4, 10), (4,)) that need gradients",
        "hold layers in nn.ModuleList",
    ),
    "without a last axis": (
        lambda i, o: nn.Sequential(nn.Linear(i, 1), nn.Flatten(0)),
        "gives outputs of shape (10,) for 10 samples, and (10, 2) is needed",
        "without a squeeze or flatten behind them, let it end in 2 outputs per sample",
    ),
    "another width": (of_any_width, "has parameters of other shapes for another seed", "let its arguments alone settle"),
}


@pytest.mark.parametrize(("builder", "wrong", "right"), OWN.values(), ids=OWN)
def test_models_that_cannot_be_trained(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, builder: Callable[[int, int], nn.Module], wrong: str, right: str
) -> None:
    @register_model("odd")
    def odd(inputs: int, outputs: int) -> nn.Module:
        return builder(inputs, outputs)

    made = new_problem.from_text(FILE.replace("linear", "odd").replace("OVERRIDES\n", "").replace("COMMON\n", ""))
    monkeypatch.chdir(new_problem.folder)
    with pytest.raises(ParamsError) as error:
        inspect(made)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"params.yaml:5:12: problems.small.model: {wrong}")
    assert f"); {right}" in line


@pytest.mark.parametrize(("mean", "none", "wrong"), [("mean", "mean", r"\(\) .*none"), ("none", "none", r"\(10,\) .*mean")])
def test_losses_that_give_no_number_per_sample_or_no_mean(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, mean: str, none: str, wrong: str
) -> None:
    @register_loss("odd", "classification")
    def odd(reduction: str) -> nn.Module:
        return nn.CrossEntropyLoss(reduction=mean if reduction == "mean" else none)

    made = new_problem.from_text(FILE.replace("OVERRIDES\n", "    loss: {name: odd}\n").replace("COMMON\n", ""))
    monkeypatch.chdir(new_problem.folder)
    with pytest.raises(ParamsError, match=rf"small\.loss: gives shape {wrong}\" .*; let it give .* \(tests/runs/test_insp"):
        inspect(made)


def test_what_training_leaves_alone_may_be_shared(new_problem: Builder) -> None:
    frozen = nn.Linear(10, 4).requires_grad_(False)

    @register_model("odd")
    def odd(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(frozen, nn.ReLU(), nn.Linear(4, outputs))

    inspect(new_problem.from_text(FILE.replace("linear", "odd").replace("OVERRIDES\n", "").replace("COMMON\n", "")))


@pytest.mark.parametrize(("entry", "place", "wrong", "right"), PARTS.values(), ids=PARTS)
def test_parts_that_do_not_fit_the_data(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, entry: str, place: str, wrong: str, right: str
) -> None:
    @register_dataset("tokens")
    def tokens() -> pd.DataFrame:
        x = np.random.default_rng(0).integers(7, size=(60, 5))
        return frame(x, x[:, 0] % 2, np.resize(["train", "validation", "test"], 60))

    @register_model("narrow")
    def narrow(inputs: int, outputs: int) -> nn.Module:
        return nn.Linear(inputs, 1)

    @register_model("untracked")
    def untracked(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(inputs, track_running_stats=False), nn.Linear(inputs, outputs))

    register_model("normed")(batch_normed)
    usual = {"dataset": {"name": "synthetic"}, "model": {"name": "linear"}, "optimizer": {"name": "SGD", "lr": 0.1}}
    problem = {**usual, "epochs": 8, "batch_size": 12, **YAML(typ="safe").load(f"{{{entry}}}")}
    given = {"problems": {"small": problem}, "schedulers": {"ConstantLR": {"args": {"factor": 1.0}}}}
    made = new_problem.from_text(json.dumps({"seeds": 2, **given, "report": {"baseline": "ConstantLR"}}))
    monkeypatch.chdir(new_problem.folder)
    with pytest.raises(ParamsError) as error:
        inspect(made)
    (line,) = str(error.value).splitlines()
    assert re.match(r"params\.yaml:1:\d+: ", line)
    assert f"problems.small.{place}: {wrong}" in line
    assert f"); {right}" in line


def batch_normed(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 8), nn.BatchNorm1d(8), nn.Linear(8, outputs))


def group_normed(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 8), nn.GroupNorm(2, 8), nn.Linear(8, outputs))


FREE = "Free: {name: ScheduleFree}"


@pytest.mark.parametrize(
    ("model", "own", "common", "places"),
    [
        (batch_normed, "", FREE, ["params.yaml:15:9: schedulers.Free: is"]),
        (batch_normed, FREE, "", ["params.yaml:11:13: problems.small.schedulers.Free: is"]),
        (batch_normed, "", "", []),
        (group_normed, FREE, FREE, []),
    ],
    ids=["common", "own", "no averages", "no statistics"],
)
def test_running_statistics_beside_averaged_weights(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, model: Any, own: str, common: str, places: list[str]
) -> None:
    register_model("normed")(model)
    text = FILE.replace("linear", "normed").replace("OVERRIDES", f"      {own}").replace("COMMON", f"  {common}")
    problem = new_problem.from_text(text)
    monkeypatch.chdir(new_problem.folder)
    told = ""
    try:
        inspect(problem)
    except ParamsError as error:
        told = str(error)
    assert [line.partition(" evaluated at averaged weights")[0] for line in told.splitlines()] == places


def instance_normed(inputs: int, outputs: int) -> nn.Module:
    normed = nn.InstanceNorm1d(1, track_running_stats=True)
    return nn.Sequential(nn.Unflatten(1, (1, inputs)), normed, nn.Flatten(), nn.Linear(inputs, outputs))


class Computed(nn.Linear):
    """Holds a tensor that was computed of its weights, as torch's old ``weight_norm`` does."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.doubled = 2 * self.weight


class Doubling(nn.Linear):
    """Changes its inputs in place, and keeps nothing of them."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(2))


EMA = "Ema: {name: StepLR, args: {step_size: 2}, average: {ema: 0.9}}"
OF_OTHERS = "is evaluated at averaged weights, and the running statistics of the model normed"
COPIED = "keeps a copy of the model normed, which cannot be copied: RuntimeError: Only Tensors created explicitly by the user"
FREE_ALREADY = "comes on top of the optimizer SGDScheduleFree of small, which averages the weights itself"


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize(
    ("model", "optimizer", "own", "common", "told"),
    [
        (batch_normed, "SGD", EMA, "", []),
        (group_normed, "SGD", "", EMA, []),
        (instance_normed, "SGD", "", "", []),
        (instance_normed, "SGD", "", EMA, [("15:54: schedulers.Ema.average", OF_OTHERS)]),
        (instance_normed, "SGD", EMA, "", [("11:58: problems.small.schedulers.Ema.average", OF_OTHERS)]),
        (Doubling, "SGD", "", EMA, []),
        (Computed, "SGD", "", EMA, [("15:54: schedulers.Ema.average", COPIED)]),
        (group_normed, "SGDScheduleFree", "", EMA, [("15:54: schedulers.Ema.average", FREE_ALREADY)]),
    ],
    ids=["gathered anew", "no statistics", "no averages", "common", "own", "in place", "no copy", "averaged already"],
)
def test_means_of_weights_that_cannot_be_evaluated(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, model: Any, optimizer: str, own: str, common: str, told: Any
) -> None:
    """BatchNorm's statistics torch can gather anew; it knows of no others."""
    register_model("normed")(model)
    text = FILE.replace("linear", "normed").replace("OVERRIDES", f"      {own}").replace("COMMON", f"  {common}")
    problem = new_problem.from_text(text.replace("name: SGD,", f"name: {optimizer},"))
    monkeypatch.chdir(new_problem.folder)
    lines = []
    try:
        inspect(problem)
    except ParamsError as error:
        lines = str(error).splitlines()
    assert [line.partition(" (")[0] for line in lines] == [f"params.yaml:{place}: {wrong}" for place, wrong in told]


def test_a_schedule_free_form_that_there_is_not(new_problem: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    text = FILE.replace("SGD, lr", "RMSprop, lr").replace("OVERRIDES", "").replace("COMMON", "  ScheduleFree: {}")
    problem = new_problem.from_text(text)
    monkeypatch.chdir(new_problem.folder)
    with pytest.raises(ParamsError, match=r"schedulers\.ScheduleFree.*: RMSprop has no schedule-free form, as SGD, "):
        inspect(problem)


def of_classes(new_problem: Builder, counts: list[int], metric: str, **more: Any) -> Problem:
    """A problem whose split is given: the first rows train, then half of what is left validates."""
    problem = new_problem({}, metric={"name": metric}, resample=False, **more)
    y = np.concatenate([np.arange(30) % 3, *(np.repeat(c, count) for c, count in enumerate(counts))])
    left = len(y) - 30
    split = Split(*np.split(np.arange(len(y)), [30, 30 + left // 2]))
    names = ("usual", "other", "rare")
    data = replace(problem.data, x=problem.data.x[: len(y)], y=y, splits=dict.fromkeys(range(3), split), classes_called=names)
    return replace(problem, data=data)


def test_classes_that_a_part_lacks_are_told(new_problem: Builder) -> None:
    problem = of_classes(new_problem, [10, 10, 4], "AUROC")
    problem.data.y[30:] = np.resize([0, 1], 24)
    problem.data.y[-1] = 2
    (said,) = absent_classes(problem, 3)
    assert said == (
        "of the 6 validation and test parts of 3 seeds, some have no sample of the class rare (in 3); there, AUROC is the mean "
        "over the other classes"
    )
    assert not list(absent_classes(of_classes(new_problem, [10, 10, 4], "Accuracy"), 3))


@pytest.mark.parametrize("ignored", [-100, 2])
def test_targets_that_the_loss_ignores_are_of_no_class(new_problem: Builder, ignored: int) -> None:
    problem = of_classes(new_problem, [12, 12, 0], "AUROC", loss={"name": "CrossEntropyLoss", "ignore_index": ignored})
    problem.data.y[problem.data.y == 2] = ignored
    problem.data.y[30:] = np.resize([0, 1, ignored], 24)
    assert not list(absent_classes(problem, 3))


@pytest.mark.parametrize("ignored", [-100, 2])
def test_samples_that_the_loss_ignores_altogether_are_told(new_problem: Builder, ignored: int) -> None:
    loss = {"name": "CrossEntropyLoss", "ignore_index": ignored}
    problem = of_classes(new_problem, [24, 0, 0], "Accuracy", loss=loss, batch_size=2)
    problem.data.y[problem.data.y == 2] = 0
    assert not list(nothing_counted(problem))
    problem.data.y[:6] = ignored
    (said,) = nothing_counted(problem)
    assert said.startswith(f"6 of 54 samples have no target but {ignored}, which the loss ignores; a batch of such alone (")
    many = of_classes(new_problem, [24, 0, 0], "Accuracy", loss=loss, batch_size=20)
    many.data.y[:6] = ignored
    assert not list(nothing_counted(many))


@pytest.mark.usefixtures("own_registries")
def test_a_model_that_seeds_its_own_weights_is_told(new_problem: Builder) -> None:
    @register_model("seeded")
    def seeded(inputs: int, outputs: int) -> nn.Module:
        torch.manual_seed(3)
        return nn.Linear(inputs, outputs)

    @register_model("nought")
    def nought(inputs: int, outputs: int) -> nn.Module:
        layer = nn.Linear(inputs, outputs)
        for values in layer.parameters():
            nn.init.zeros_(values)
        return layer

    (said,) = same_weights(new_problem({}, model={"name": "seeded"}))
    assert said.startswith("the model seeded begins at the same weights for every seed; ")
    assert not [*same_weights(new_problem({}, model={"name": "nought"})), *same_weights(new_problem({}))]


def test_a_part_of_one_class_is_told(new_problem: Builder) -> None:
    (said,) = absent_classes(of_classes(new_problem, [10, 5, 5], "MatthewsCorrCoef"), 2)
    assert said.startswith("2 of the 4 validation and test parts of 2 seeds have samples of one class only; there, Matthews")


def test_without_torchmetrics_a_metric_of_it_is_refused(new_problem: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(ParamsError, match=r"problems\.small\.metric\.name: cannot be had.*pip install --force-reinstall"):
        inspect(new_problem({}, metric={"name": "AUROC"}))
    assert inspect(new_problem({}, metric={"name": "Accuracy"}))
