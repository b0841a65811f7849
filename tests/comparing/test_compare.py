"""A study from Python, of a model and data at hand: the same runs and verdicts as a stage's, and its own way of asking."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset, TensorDataset

import pipeline
from pipeline.analysis.statistics import compare as compared
from pipeline.comparing.given import CompareError, dataset_of, registered
from pipeline.config.errors import PipelineError
from pipeline.engine import training
from pipeline.problems.models import models
from tests.conftest import ROOT
from tests.pages import blocks, text
from tests.stages.study import watched

pytestmark = pytest.mark.usefixtures("here", "few_draws")
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(72, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
CLASSES = (X[:40], Y[:40]), (X[40:60], Y[40:60])
NUMBERS = (X[:40], 100 + X[:40, :1]), (X[40:60], 100 + X[40:60, :1])
TWO = {"ConstantLR": {"args": {"factor": 1.0}}, "StepLR": {"args": {"step_size": "50%"}}}
SMALL: dict[str, Any] = {"optimizer": {"name": "SGD", "lr": 0.1}, "epochs": 2, "batch_size": 16, "seeds": 2, "schedulers": TWO}


class Net(nn.Module):
    """With two outputs."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


ONE = Net()


class Doubling(Net):
    """Takes its inputs in another precision."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.double())


def climbing(params: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=lr, maximize=True)


class Several(Net):
    """With its hidden layer beside the outputs."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Any:
        found = {"logits": self.layers(x), "hidden": self.layers[0](x)}
        return tuple(found.values()) if self.kind is tuple else self.kind(**found)


class Pairs(Dataset[tuple[Tensor, int]]):
    """Map-style, with plain numbers as targets."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return torch.tensor(self.x[place]), int(self.y[place])


@pytest.fixture
def trained() -> Iterator[list[str]]:
    """Notes of the runs that are trained."""
    notes: list[str] = []
    with watched(lambda what, run: notes.append(run) if what == "began" else None):
        yield notes


def test_a_comparison_says_what_the_report_says(trained: list[str], tmp_path: Path) -> None:
    found = pipeline.compare(Net, *CLASSES, test=(X[60:], Y[60:]), trials=2, **SMALL)
    expected = compared(found.runs, "ConstantLR").query("variant == 'recommended'").set_index("scheduler")
    pd.testing.assert_series_equal(found.table["verdict"], expected["verdict"], check_names=False)
    pd.testing.assert_series_equal(found.table["regret_bound"], expected["regret_bound"], check_names=False)
    assert found.verdicts == found.table["verdict"].to_dict()
    assert set(found.runs["variant"]) == {"default", "tuned", "recommended"}
    assert np.isfinite(found.runs["test_loss"]).all()
    assert len(found.curves) == 2 * len(found.runs)
    assert found.recommended is not None
    assert found.recommended["scheduler"] == found.answer.scheduler
    assert "optimizer = torch.optim.SGD(model.parameters(), lr=LR)" in found.code
    assert found.answer.use in repr(found)
    assert str(found.answer.scheduler) in found._repr_html_()
    page = found.save(tmp_path / "shown" / "report.html").read_text("utf-8")
    with pytest.raises(CompareError, match=r"report\.html$"):
        found.save(tmp_path / "report.pdf")
    assert "speak of this split alone" in page
    assert not re.search(r"as (params\.yaml|written in)|Traps in params", page + repr(found))
    assert "best/comparison" not in page
    assert not list(tmp_path.rglob("mlflow.db"))
    assert not models.alias("Net")
    assert "Net" not in [entry.name for entry in models]

    before = len(trained)
    again = pipeline.compare(Net, *CLASSES, test=(X[60:], Y[60:]), trials=2, **SMALL)
    assert len(trained) == before
    pd.testing.assert_frame_equal(again.runs, found.runs)
    pipeline.compare(Net, *CLASSES, test=(X[60:], Y[60:]), **SMALL | {"schedulers": {**TWO, "REX": {"args": {"final": 0}}}})
    assert len(trained) == before + 4  # two seeds, two draws each


@pytest.mark.slow
def test_samples_are_taken_as_they_are_from_whatever_holds_them() -> None:
    """Targets of a regression are not standardised, and need no test part."""
    pairs = pipeline.compare(lambda: Net(1), *NUMBERS, **SMALL)
    tensors = [tuple(map(torch.tensor, part)) for part in NUMBERS]
    assert pairs.curves.query("epoch == 1")["train_loss"].gt(1000).all()
    assert pairs.runs["test_loss"].isna().all()
    same = pipeline.compare(lambda: Net(1), *(TensorDataset(*part) for part in tensors), **SMALL)
    pd.testing.assert_frame_equal(same.runs, pairs.runs)
    of_classes = pipeline.compare(Net, *CLASSES, **SMALL)
    items = pipeline.compare(Net, *(Pairs(*part) for part in CLASSES), **SMALL)
    pd.testing.assert_frame_equal(items.runs, of_classes.runs)
    one_more = pipeline.compare(lambda: Net(3), *CLASSES, **SMALL)  # an output for a class that no sample has
    assert set(one_more.runs["diverged"]) == {False}


class Augmented(Dataset[tuple[Any, int]]):
    """Samples that are others whenever they are drawn."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        return torch.from_numpy(X[place]) + torch.randn(3), int(Y[place])


def test_what_is_odd_about_samples_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    def told(train: Any, validation: Any) -> str:
        dataset_of("some", {"train": train, "validation": validation}, Net, [0], None, resample=False)
        return capfd.readouterr().err

    assert told(*CLASSES) == ""
    assert "50% of the validation samples are training samples, too" in told((X[:40], Y[:40]), (X[30:50], Y[30:50]))
    assert "the items of train change from draw to draw" in told(Augmented(), CLASSES[1])
    assert told([(x, int(y)) for x, y in zip(X[:40], Y[:40], strict=True)], CLASSES[1]) == ""


def test_each_seed_draws_its_own_split_where_that_is_asked_for() -> None:
    found = pipeline.compare(Net, *CLASSES, test=(X[60:], Y[60:]), resample=True, trials=1, **SMALL)
    rho = 20 / 60
    assert f"a correlation of {rho:.2f}" in found.html
    fixed = pipeline.compare(Net, *CLASSES, test=(X[60:], Y[60:]), **SMALL)
    drawn = found.runs[found.runs["variant"] == "default"]
    assert not np.array_equal(drawn["validation_loss"], fixed.runs["validation_loss"])


def mean_absolute(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).abs().mean()


def root(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean().sqrt()


def largest_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.squeeze(-1) - targets).abs().max()


class Slow(torch.optim.SGD):
    """At half the rate."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr / 2)


def halved(optimizer: torch.optim.Optimizer, total_epochs: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5 ** (epoch / total_epochs))


def unannotated(params: Any, lr) -> torch.optim.Optimizer:  # type: ignore[no-untyped-def]
    return torch.optim.SGD(params, lr=lr)


@pytest.mark.slow
def test_numbers_of_other_libraries_and_lambdas_are_taken(capfd: pytest.CaptureFixture[str]) -> None:
    plain = pipeline.compare(Net, *CLASSES, **SMALL, folder=None)
    sizes = {"epochs": np.int64(2), "batch_size": torch.tensor(16)}
    given = {**SMALL, **sizes, "optimizer": {"name": "SGD", "lr": np.float64(0.1)}, "folder": None}
    assert pipeline.compare(Net, *CLASSES, **given).runs.equals(plain.runs)
    given["optimizer"] = {"name": lambda params, lr: torch.optim.SGD(params, lr=lr), "lr": 0.1}
    for figures in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(pipeline.compare(Net, *CLASSES, **given).runs[figures], plain.runs[figures], rtol=1e-5)
    assert "are they classes" not in capfd.readouterr().err
    floats = ((X[:40], Y[:40].astype(np.float32)), (X[40:60], Y[40:60].astype(np.float32)))
    with pytest.raises(CompareError, match="let it end in 1 output per sample"):
        pipeline.compare(Net, *floats, **SMALL)
    told = capfd.readouterr().err
    assert "the targets are numbers to be predicted, for they are floats, 0 to 1; are they classes, hand over whole" in told
    one_hot = [(x, np.eye(2, dtype=np.float32)[y]) for x, y in CLASSES]
    plain, *others = (
        pipeline.compare(Net, *data, **SMALL, folder=None, loss=nn.CrossEntropyLoss()) for data in (CLASSES, floats, one_hot)
    )
    assert all(found.runs.equals(plain.runs) for found in others)


def flooded(outputs: Tensor, y: Tensor) -> Tensor:
    """Ishida et al., 2020: the mean of a batch is kept above a level, which it has not reached at first."""
    return (nn.functional.cross_entropy(outputs, y) - 0.1).abs() + 0.1


def bounded(outputs: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, y).clamp(max=5)


def hardest(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean of the ten largest of a batch."""
    return nn.functional.cross_entropy(outputs, y, reduction="none").topk(min(10, len(y))).values.mean()


def focal(outputs: Tensor, y: Tensor) -> Tensor:
    losses = nn.functional.cross_entropy(outputs, y, reduction="none")
    return ((1 - (-losses).exp()) ** 2 * losses).mean()


@pytest.mark.parametrize(
    ("loss", "way"),
    [
        *((flooded, "loop"), (bounded, "loop"), (hardest, "loop"), (focal, None)),
        *((nn.CrossEntropyLoss(reduction="sum"), "loop"), (nn.CrossEntropyLoss(torch.tensor([1.0, 2.0])), None)),
    ],
)
def test_a_loss_that_is_no_mean_is_noticed(loss: Any, way: str | None) -> None:
    """Where it only comes to show as training goes on, or in batches larger than a few samples, too."""
    data = dataset_of("small", dict(zip(("train", "validation"), CLASSES, strict=True)), Net, [0], None, resample=False)
    with registered(data, Net, SMALL["optimizer"], loss, None, TWO) as found:
        assert found.entries.get("engine") == way


def test_code_of_ones_own_stands_where_a_name_does(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(training, "tell", told.append)
    named = pipeline.compare(lambda: Net(1), *NUMBERS, loss="L1Loss", **SMALL)
    for loss in (nn.L1Loss(), mean_absolute):
        own = pipeline.compare(lambda: Net(1), *NUMBERS, loss=loss, **SMALL)
        np.testing.assert_allclose(own.runs["validation_loss"], named.runs["validation_loss"], rtol=1e-5)
    assert pipeline.compare(lambda: Net(1), *NUMBERS, loss=root, **SMALL).runs["validation_loss"].notna().all()  # no mean
    more = {
        "optimizer": {"name": Slow, "lr": 0.2},
        "metric": {"name": largest_error, "higher_is_better": False},
        "schedulers": {"Step": {"name": lr_scheduler.StepLR, "args": {"step_size": 1}}, "halved": halved},
    }  # fmt: skip
    found = pipeline.compare(lambda: Net(1), *NUMBERS, loss="L1Loss", **SMALL | more)
    assert list(found.table.index) == ["Step", "halved"]
    assert set(found.runs["name"]) == {"StepLR", "halved"}
    assert found.runs["validation_metric"].gt(found.runs["validation_loss"]).all()
    rates = found.curves[found.curves["scheduler"] == "halved"].groupby("epoch")["lr"].first()
    assert rates.tolist() == pytest.approx([0.2, 0.2 / 2**0.5])


def test_other_code_is_another_run_and_what_cannot_be_named_is_not_kept(
    trained: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    base = Net()
    one, other = lambda: Net(2), lambda: nn.Sequential(nn.Linear(3, 2))  # two of a line
    pipeline.compare(one, *CLASSES, **SMALL)
    pipeline.compare(other, *CLASSES, **SMALL)
    assert len(trained) == 16

    def pretrained() -> nn.Module:
        model = Net()
        model.load_state_dict(base.state_dict())
        return model

    first = pipeline.compare(pretrained, *CLASSES, **SMALL)
    with torch.no_grad():
        next(base.parameters()).add_(5)
    second = pipeline.compare(pretrained, *CLASSES, **SMALL)
    assert len(trained) == 32
    assert not np.array_equal(first.runs["validation_loss"], second.runs["validation_loss"])

    class Odd:
        width = 2

    odd = Odd()
    for _ in range(2):
        pipeline.compare(lambda: Net(odd.width), *CLASSES, **SMALL)
    assert len(trained) == 48
    assert "compare: model_fn goes by values that cannot be named" in capfd.readouterr().err


NOTEBOOK = """
import threading, torch
from torch import nn
threading.Thread(target=threading.Event().wait, daemon=True).start()  # as a notebook's kernel has them
import pipeline
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    def forward(self, x):
        return self.layer(x) * FACTOR
x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
y = (x[:, 0] > 0).long()
schedulers = {"ConstantLR": {"args": {"factor": 1.0}}, "StepLR": {"args": {"step_size": 1}}}
for FACTOR in (1, 1, 2):
    found = pipeline.compare(Net, (x[:40], y[:40]), (x[40:], y[40:]), optimizer={"name": "SGD", "lr": 0.1}, epochs=2,
                             batch_size=10, seeds=2, schedulers=schedulers, folder="kept")
    print(found.runs["validation_loss"].sum(), sorted(found.verdicts))
"""


@pytest.mark.slow
def test_without_a_file_a_main_guard_or_the_repository_as_the_working_directory(tmp_path: Path) -> None:
    """Through standard input, with threads and two processes; only a changed value of the cell's trains anew."""
    more = {"PYTHONPATH": str(ROOT), "PIPELINE_EXECUTOR": "fork:2", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-"], input=NOTEBOOK, cwd=tmp_path, env=more, capture_output=True, text=True, check=True
    )
    first, again, other = done.stdout.splitlines()
    assert first == again != other
    assert done.stderr.count("100% done") == 2, done.stderr
    assert (tmp_path / "kept/.state/runs.sqlite").is_file()


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    """With fewer seeds and epochs; what else is shown is a fragment each."""
    example, fragments = blocks(text("docs/python.md"), "python")
    for old, new in (("epochs=10", "epochs=2"), ("seeds=5", "seeds=2")):
        assert old in example
        example = example.replace(old, new)
    exec(compile(example, "docs/python.md", "exec"), {"__name__": "example"})
    assert "speak of this split alone" in (tmp_path / "report.html").read_text("utf-8")
    compile(fragments, "docs/python.md", "exec")


def cox(outputs: Tensor, y: Tensor) -> Tensor:
    """The partial likelihood: y is (time, whether it ended then), and one output of a sample counts."""
    risk = outputs[:, 0][y[:, 0].argsort(descending=True)]
    return -((risk - risk.logcumsumexp(0)) * y[y[:, 0].argsort(descending=True), 1]).mean()


def coral(outputs: Tensor, levels: Tensor) -> Tensor:
    """Ordinal regression: whether the class is above each but the last."""
    return nn.functional.binary_cross_entropy_with_logits(outputs, levels.to(outputs.dtype))


def test_a_loss_with_another_number_of_outputs_than_targets_is_told_how_it_is_trained() -> None:
    """And what it is told to do works."""
    times = np.stack([np.abs(X[:, 0]), X[:, 1] > 0], axis=1).astype(np.float32)
    parts = (X[:40], times[:40]), (X[40:60], times[40:60])
    how = "hand over targets of floats with as many columns as there are outputs"
    with pytest.raises(CompareError, match=rf"loss cannot be called with .*IndexError: .*{how}"):
        pipeline.compare(lambda: Net(1), *parts, loss=cox, **SMALL, folder=None)
    assert pipeline.compare(Net, *parts, loss=cox, **SMALL, folder=None).recommended
    classes = np.digitize(X[:, 0], [-0.5, 0.5])
    odd = (X[:40], classes[:40]), (X[40:60], classes[40:60])
    with pytest.raises(CompareError, match=rf"and \(10, 3\) is needed .*let it end in 3 outputs per sample; .*{how}"):
        pipeline.compare(Net, *odd, loss=lambda o, y: coral(o, y[:, None] > torch.arange(2)), **SMALL, folder=None)
    levels = (classes[:, None] > np.arange(2)).astype(np.float32)
    parts = (X[:40], levels[:40]), (X[40:60], levels[40:60])
    assert pipeline.compare(Net, *parts, loss=coral, **SMALL, folder=None).recommended


def test_importing_the_package_is_cheap() -> None:
    asked = "import sys, pipeline; print('torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
    with pytest.raises(AttributeError, match="has no attribute 'comparee'"):
        pipeline.comparee  # noqa: B018


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model_fn": lambda width: Net()}, "model_fn cannot be called without arguments"),
        ({"model_fn": nn.Linear(3, 2)}, "model_fn is a model, and every run needs a new one"),
        ({"model_fn": lambda: ONE}, "model: shares parts that training changes with another"),
        ({"model_fn": dict}, "model_fn gives a dict; let it return a torch.nn.Module"),
        ({"model_fn": lambda: nn.Linear(5, 2)}, r"cannot be applied to inputs of shape \(3,\)"),
        (
            {"model_fn": lambda: nn.Linear(3, 2).double()},
            r"its parameters are torch.float64 .* leave `\.double\(\)` and its like",
        ),
        (
            {"model_fn": lambda: Net(2), "train": NUMBERS[0], "validation": NUMBERS[1]},
            r"and \(10, 1\) is needed \(given: lambda\); let it end in 1 output per sample$",
        ),
        ({"model_fn": Doubling}, r"samples and models are torch\.float32: leave `\.double\(\)` and its like out"),
        (
            {"optimizer": {"name": climbing, "lr": 0.1}},
            r"makes the loss as large as can be .*; leave maximize out, and let the loss",
        ),
        (
            {"optimizer": {"name": "SGD", "lr": 0.1, "maximize": True}},
            r"maximize: is not known here .*; leave it out, and let the",
        ),
        ({"model_fn": lambda: nn.Sequential(Net(), Total())}, "gives one number for all samples; let it return a row"),
        (
            {"model_fn": lambda: Several(dict)},
            r"gives a dict of 'logits', 'hidden', and loss .* such as self\.model\(x\)\['logits'\]",
        ),
        ({"model_fn": lambda: Several(SimpleNamespace)}, r"gives a SimpleNamespace, .* such as self\.model\(x\)\.logits"),
        ({"model_fn": lambda: Several(tuple)}, r"gives a tuple of 2, .* such as self\.model\(x\)\[0\]"),
        (
            {"train": DataLoader(TensorDataset(torch.ones(3, 3)))},
            "train is a DataLoader; hand over its dataset, batches are made here$",
        ),
        (
            {"train": DataLoader(TensorDataset(torch.ones(3, 3)), collate_fn=list)},
            "hand over its dataset, .*, and do to its items before what collate_fn does",
        ),
        ({"train": {"x": X, "y": Y}}, r"train\[0\] cannot be drawn \(KeyError: 0\); hand over a pair \(inputs, targets\)"),
        (
            {"train": [{"labels": 1, "input_ids": X[0], "attention_mask": X[0]}] * 3},
            r"as \[\(each\['input_ids'\], each\['labels'\]\) for each in train\]; what else the model takes, such as a mask",
        ),
        (
            {"train": (X[:40], Y[:40] + 1), "validation": (X[40:], Y[40:] + 1)},
            "classes 1 to 2, of 2 outputs; number classes from",
        ),
        ({"train": [{"image": X[0], "label": 1}] * 3}, r"items of train are mappings with 'image', 'label'; let them be pairs"),
        ({"train": ["ab", "cd", "ef"]}, "items of train are strs; let them be pairs"),
        ({"train": [(X[0], 1, 2)] * 3}, "items of train are tuples of 3; let them be pairs"),
        (
            {"train": (np.where(X[:9] == X[:9].max(), np.nan, X[:9]), Y[:9])},
            "train are not all finite, in 1 of 9 samples",
        ),
        ({"train": (X[:3], Y[:2])}, "train has 3 inputs and 2 targets"),
        ({"validation": (X[:3, :2], Y[:3])}, r"a sample of validation is of shape \(2,\)"),
        ({"train": (X[:3], np.full(3, -1))}, "number classes from 0 up"),
        ({"train": (X[:3], np.array(["a", "b", "c"]))}, "targets of train are <U1"),
        ({"optimizer": {"name": "SDG", "lr": 0.1}}, r"compare: optimizer\.name: is not a registered optimizer.*SGD"),
        ({"optimizer": "SGD"}, r'compare: optimizer: lacks its learning rate; write \{"name": "SGD", "lr": 0\.1\}'),
        ({"schedulers": {"StepLR": {"args": {"step": 3}}}}, r"compare: schedulers\.StepLR\.args\.step: "),
        ({"schedulers": []}, "schedulers is empty"),
        (
            {"optimizer": torch.optim.SGD(ONE.parameters(), lr=0.1)},
            r"compare: optimizer is one SGD that is made, .* write \{\"name\": \"SGD\", …\}",
        ),
        (
            {"optimizer": {"name": unannotated, "lr": 0.1}},
            "compare: optimizer: unannotated: the argument lr needs .* annotate it",
        ),
        (
            {"schedulers": {"Mine": {"name": "LambdaLR", "args": {"lr_lambda": abs}}, **TWO}},
            r"compare: schedulers\.Mine\.args\.lr_lambda is a builtin_function_or_method, .* hand a function over",
        ),
        ({"trials": -1}, "trials is -1; write a whole number, 0 for no tuning"),
        ({"trials": True}, "trials is True; write a whole number"),
        ({"folder": 3}, "folder is 3; write a path, or None to keep nothing"),
        ({"schedulers": 5}, "schedulers is a int; write a list of names, or entries by label"),
        ({"clip": 1.0}, "clip: is not a mapping"),
        ({"baseline": "Other"}, r"compare: report\.baseline: is not the label"),
        ({"epochs": 0}, r"compare: epochs: "),
        ({"seeds": 1}, "seeds is 1"),
        ({"loss": "MSELoss"}, r"compare: loss\.name: is for regression"),
        ({"loss": lambda outputs, y: outputs}, "loss gives no single number"),
        ({"metric": largest_error}, "which way is largest_error better"),
    ],
)
def test_what_is_wrong_is_told_of_its_argument(changed: dict[str, Any], said: str) -> None:
    given = {"model_fn": Net, "train": CLASSES[0], "validation": CLASSES[1], **SMALL, **changed}
    with pytest.raises(PipelineError, match=said) as error:
        pipeline.compare(**given)
    assert isinstance(error.value, CompareError)
    assert "params.yaml" not in str(error.value)


class Total(nn.Module):
    """Adds everything up."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum()


class Shifting(nn.Linear):
    """Changes its inputs in place."""

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5
        return super().forward(x)


def of_forty(outputs: Tensor, y: Tensor) -> Tensor:
    """As one writes it who has all samples in mind."""
    return (torch.ones(40) * nn.functional.cross_entropy(outputs, y, reduction="none")).mean()


def test_a_loss_that_takes_no_batch_is_told_as_such() -> None:
    with pytest.raises(PipelineError, match=r"compare: loss: cannot take outputs of shape .* batches are of any size"):
        pipeline.compare(Net, *CLASSES, **SMALL, folder=None, loss=of_forty)


def summed(outputs: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, y, reduction="sum")


def tagged(outputs: Tensor, y: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(outputs, y, pos_weight=torch.tensor([3.0, 0.5]))


@pytest.mark.parametrize(
    ("outputs", "given", "same"),
    [
        (2, nn.CrossEntropyLoss(reduction="sum"), summed),
        (2, nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0, 0.5])), tagged),
        (1, nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0])), {"name": "BCEWithLogitsLoss", "pos_weight": 3.0}),
    ],
)
def test_torchs_losses_are_trained_as_they_were_made(outputs: int, given: Any, same: Any) -> None:
    """With all that they were made with: a sum was trained as a mean, and several tags for a sample were refused."""
    data = [(x, np.stack([0.9 * y, 1 - 0.9 * y], axis=1)) for x, y in CLASSES] if same is tagged else CLASSES
    found, own = (pipeline.compare(lambda: Net(outputs), *data, **SMALL, folder=None, loss=loss) for loss in (given, same))
    np.testing.assert_allclose(found.runs["validation_loss"], own.runs["validation_loss"], rtol=1e-6)


def test_a_model_that_changes_its_inputs_in_place_changes_no_sample() -> None:
    """The samples that it is tried on were handed over as they lie: they were shifted for all runs."""
    x, y = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32), np.arange(60) / 60
    parts = {"train": (x[:40], y[:40]), "validation": (x[40:], y[40:])}
    data = dataset_of("odd", parts, lambda: Shifting(3, 1), [0], None, resample=False)
    assert np.array_equal(data.x, x)


class TwoPasses(torch.optim.SGD):
    """Goes by the gradients at other weights, as sharpness-aware minimization does."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        moves = [0.05 * parameter.grad for parameter in parameters]
        torch._foreach_add_(parameters, moves)
        self.zero_grad()
        closure()
        torch._foreach_sub_(parameters, moves)
        return super().step()


def test_an_optimizer_that_calls_its_closure_at_other_weights_is_compared() -> None:
    def twice(params: Any, lr: float) -> torch.optim.Optimizer:
        return TwoPasses(params, lr=lr)

    given = {**SMALL, "optimizer": {"name": twice, "lr": 0.1}, "folder": None}
    found = pipeline.compare(Net, *CLASSES, **given)
    plain = pipeline.compare(Net, *CLASSES, **{**given, "optimizer": {"name": "SGD", "lr": 0.1}})
    assert np.isfinite(found.runs["validation_loss"]).all()
    assert not np.allclose(found.runs["validation_loss"], plain.runs["validation_loss"], rtol=1e-6)
