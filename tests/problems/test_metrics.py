"""Every metric against torchmetrics' own class, run by run."""

from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from torchmetrics import classification

from pipeline.problems.metrics import Metric, metrics

CLASSES, RUNS, SAMPLES = 4, 3, 50
THEIRS: dict[str, Any] = {
    "Accuracy": lambda: classification.MulticlassAccuracy(CLASSES, average="micro"),
    "BalancedAccuracy": lambda: classification.MulticlassAccuracy(CLASSES, average="macro"),
    "F1Score": lambda: classification.MulticlassF1Score(CLASSES, average="macro"),
    "CohenKappa": lambda: classification.MulticlassCohenKappa(CLASSES),
    "MatthewsCorrCoef": lambda: classification.MulticlassMatthewsCorrCoef(CLASSES),
    "AUROC": lambda: classification.MulticlassAUROC(CLASSES),
    "AveragePrecision": lambda: classification.MulticlassAveragePrecision(CLASSES),
    "MeanAbsoluteError": torchmetrics.MeanAbsoluteError,
    "MeanSquaredError": torchmetrics.MeanSquaredError,
    "R2Score": torchmetrics.R2Score,
    "SpearmanCorrCoef": torchmetrics.SpearmanCorrCoef,
    "PearsonCorrCoef": torchmetrics.PearsonCorrCoef,
}
BINARY: dict[str, Any] = {
    "Accuracy": classification.BinaryAccuracy,
    "BalancedAccuracy": lambda: (classification.BinaryRecall() + classification.BinarySpecificity()) / 2,
    "F1Score": classification.BinaryF1Score,
    "CohenKappa": classification.BinaryCohenKappa,
    "MatthewsCorrCoef": classification.BinaryMatthewsCorrCoef,
    "AUROC": classification.BinaryAUROC,
    "AveragePrecision": classification.BinaryAveragePrecision,
}
AVERAGED: dict[str, tuple[Any, list[str]]] = {
    "F1Score": (classification.MulticlassF1Score, ["micro", "macro", "weighted"]),
    "AUROC": (classification.MulticlassAUROC, ["macro", "weighted"]),
    "AveragePrecision": (classification.MulticlassAveragePrecision, ["macro", "weighted"]),
}


def a_metric(name: str, classes: int = CLASSES, **given: Any) -> Metric:
    made: Metric = metrics[name].function(classes, **metrics[name].complete(given))
    return made


def data(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    if metrics[name].task == "classification":
        y = torch.randint(0, CLASSES, (RUNS, SAMPLES), generator=draw)
        return torch.randn((RUNS, SAMPLES, CLASSES), generator=draw).round(decimals=1), y  # with ties
    y = torch.randn((RUNS, SAMPLES), generator=draw)
    return (y + torch.randn((RUNS, SAMPLES), generator=draw))[..., None], y


def test_all_are_tested() -> None:
    assert {metric.name for metric in metrics} == set(THEIRS)
    assert {metric.name for metric in metrics if metric.task == "classification"} == set(BINARY)


@pytest.mark.filterwarnings("ignore:Metric `SpearmanCorrcoef` will save all:UserWarning")
@pytest.mark.parametrize("name", THEIRS)
def test_equals_torchmetrics(name: str) -> None:
    outputs, y = data(name)
    found = a_metric(name).of_runs(outputs, y)
    for run in range(RUNS):
        theirs = THEIRS[name]()
        theirs.update(outputs[run].softmax(dim=-1) if metrics[name].task == "classification" else outputs[run, :, 0], y[run])
        assert found[run] == pytest.approx(theirs.compute().item(), rel=1e-5)
        assert theirs.higher_is_better in (metrics[name].higher_is_better, None)


@pytest.mark.parametrize(("name", "average"), [(name, each) for name, (_, averages) in AVERAGED.items() for each in averages])
def test_the_average_over_the_classes(name: str, average: str) -> None:
    outputs, y = data(name)
    theirs = AVERAGED[name][0](CLASSES, average=average)
    theirs.update(outputs[0].softmax(dim=-1), y[0])
    assert a_metric(name, average=average).of_runs(outputs, y)[0] == pytest.approx(theirs.compute().item(), rel=1e-5)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("outputs", [1, 2])
def test_of_two_classes(name: str, outputs: int) -> None:
    """With an output for each, or one for the logit of class 1, which is rare: what looks at one class shows."""
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn((RUNS, SAMPLES, outputs), generator=draw)
    y = (torch.rand((RUNS, SAMPLES), generator=draw) < 0.2).long()
    of_one = torch.sigmoid(logits[..., 0]) if outputs == 1 else logits.softmax(dim=-1)[..., 1]
    found = a_metric(name, 2).of_runs(logits, y)
    for run in range(RUNS):
        theirs = BINARY[name]()
        theirs.update(of_one[run], y[run])
        assert found[run] == pytest.approx(theirs.compute().item(), rel=1e-5)


def test_the_root_of_the_squared_error() -> None:
    outputs, y = data("MeanSquaredError")
    root: Metric = metrics["MeanSquaredError"].function(1, squared=False)
    np.testing.assert_allclose(root.of_runs(outputs, y), np.sqrt(a_metric("MeanSquaredError").of_runs(outputs, y)))
    assert (root.power, a_metric("MeanSquaredError").power, a_metric("R2Score").power) == (1, 2, 0)


def test_targets_that_do_not_vary_leave_nothing_to_explain() -> None:
    outputs, y = torch.randn((RUNS, SAMPLES, 1)), torch.full((RUNS, SAMPLES), 3.0)
    assert a_metric("R2Score").of_runs(outputs, y).tolist() == [0.0] * RUNS
    assert torchmetrics.functional.r2_score(outputs[0, :, 0], y[0]) == 0


@pytest.mark.parametrize("name", THEIRS)
def test_a_diverged_run_has_none_and_disturbs_no_other(name: str) -> None:
    outputs, y = data(name)
    whole = a_metric(name).of_runs(outputs, y)
    outputs[1, 3, 0] = torch.nan
    found = a_metric(name).of_runs(outputs, y)
    assert np.isnan(found[1])
    np.testing.assert_array_equal(found[[0, 2]], whole[[0, 2]])
