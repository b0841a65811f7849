"""Every metric against torchmetrics' own class, run by run."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch

from pipeline.problems.metrics import Metric, MetricError, metrics, torchmetrics

CLASSES, RUNS, SAMPLES = 4, 3, 50


def their(name: str, *args: Any, **given: Any) -> Any:
    """A metric of torchmetrics, which takes seconds to import: every worker would wait for that."""
    import torchmetrics.classification

    return getattr(torchmetrics if hasattr(torchmetrics, name) else torchmetrics.classification, name)(*args, **given)


THEIRS: dict[str, Any] = {
    "Accuracy": lambda: their("MulticlassAccuracy", CLASSES, average="micro"),
    "BalancedAccuracy": lambda: their("MulticlassAccuracy", CLASSES, average="macro"),
    "F1Score": lambda: their("MulticlassF1Score", CLASSES, average="macro"),
    "CohenKappa": lambda: their("MulticlassCohenKappa", CLASSES),
    "MatthewsCorrCoef": lambda: their("MulticlassMatthewsCorrCoef", CLASSES),
    "AUROC": lambda: their("MulticlassAUROC", CLASSES),
    "AveragePrecision": lambda: their("MulticlassAveragePrecision", CLASSES),
    "MeanAbsoluteError": lambda: their("MeanAbsoluteError"),
    "MeanSquaredError": lambda: their("MeanSquaredError"),
    "R2Score": lambda: their("R2Score"),
    "SpearmanCorrCoef": lambda: their("SpearmanCorrCoef"),
    "PearsonCorrCoef": lambda: their("PearsonCorrCoef"),
}
BINARY: dict[str, Any] = {
    "Accuracy": lambda: their("BinaryAccuracy"),
    "BalancedAccuracy": lambda: (their("BinaryRecall") + their("BinarySpecificity")) / 2,
    "F1Score": lambda: their("BinaryF1Score"),
    "CohenKappa": lambda: their("BinaryCohenKappa"),
    "MatthewsCorrCoef": lambda: their("BinaryMatthewsCorrCoef"),
    "AUROC": lambda: their("BinaryAUROC"),
    "AveragePrecision": lambda: their("BinaryAveragePrecision"),
}
AVERAGED: dict[str, tuple[str, list[str]]] = {
    "F1Score": ("MulticlassF1Score", ["micro", "macro", "weighted"]),
    "AUROC": ("MulticlassAUROC", ["macro", "weighted"]),
    "AveragePrecision": ("MulticlassAveragePrecision", ["macro", "weighted"]),
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
    theirs = their(AVERAGED[name][0], CLASSES, average=average)
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


OF_SKLEARN: dict[str, Any] = {
    "BalancedAccuracy": lambda y, scores: sklearn.metrics.balanced_accuracy_score(y, scores.argmax(axis=1)),
    "F1Score": lambda y, scores: sklearn.metrics.f1_score(y, scores.argmax(axis=1), average="macro"),
    "CohenKappa": lambda y, scores: sklearn.metrics.cohen_kappa_score(y, scores.argmax(axis=1)),
    "MatthewsCorrCoef": lambda y, scores: sklearn.metrics.matthews_corrcoef(y, scores.argmax(axis=1)),
    "AUROC": lambda y, scores: np.mean([sklearn.metrics.roc_auc_score(y == c, scores[:, c]) for c in np.unique(y)]),
    "AveragePrecision": lambda y, scores: np.mean(
        [sklearn.metrics.average_precision_score(y == c, scores[:, c]) for c in np.unique(y)]
    ),
}


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true:UserWarning")
@pytest.mark.parametrize("absent", [[0], [3], [0, 2]])
@pytest.mark.parametrize("name", OF_SKLEARN)
def test_an_absent_class_counts_as_scikit_learn_has_it(name: str, absent: list[int]) -> None:
    """In no mean over the classes; the others are told from it all the same, where something was taken for it."""
    draw = torch.Generator().manual_seed(3)
    there = torch.tensor([c for c in range(CLASSES) if c not in absent])
    y = there[torch.randint(0, len(there), (RUNS, SAMPLES), generator=draw)]
    outputs = torch.randn((RUNS, SAMPLES, CLASSES), generator=draw)
    theirs = [OF_SKLEARN[name](y[run].numpy(), outputs[run].softmax(dim=-1).numpy()) for run in range(RUNS)]
    assert a_metric(name).of_runs(outputs, y) == pytest.approx(theirs, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("name", ["AUROC", "AveragePrecision"])
def test_confident_outputs_are_no_ties(name: str, outputs: int) -> None:
    """Probabilities in single precision are 0 or 1 from logits of a hundred on, as a high rate makes them."""
    draw = torch.Generator().manual_seed(4)
    y = torch.randint(0, 2, (RUNS, SAMPLES), generator=draw)
    logits = 100 * (torch.randn((RUNS, SAMPLES, outputs), generator=draw) + 0.3 * y[..., None])
    odds = logits[..., -1].double() - (logits[..., 0].double() if outputs == 2 else 0)
    theirs = {"AUROC": sklearn.metrics.roc_auc_score, "AveragePrecision": sklearn.metrics.average_precision_score}[name]
    expected = [theirs(y[run].numpy(), odds[run].numpy()) for run in range(RUNS)]
    assert a_metric(name, 2).of_runs(logits, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("average", ["macro", "weighted"])
@pytest.mark.parametrize("name", ["AUROC", "AveragePrecision"])
def test_a_perfect_ranking_of_the_classes_that_are_there_is_perfect(name: str, average: str) -> None:
    y = torch.tensor([[0, 2, 2, 0, 2, 2]])
    outputs = torch.nn.functional.one_hot(y, CLASSES) * 5.0
    assert a_metric(name, average=average).of_runs(outputs, y) == pytest.approx([1])


@pytest.mark.parametrize("classes", [2, CLASSES])
@pytest.mark.parametrize("name", ["AUROC", "AveragePrecision", "CohenKappa", "MatthewsCorrCoef"])
def test_one_class_alone_is_compared_with_nothing(name: str, classes: int) -> None:
    y = torch.ones((RUNS, SAMPLES), dtype=torch.int64)
    assert np.isnan(a_metric(name, classes).of_runs(torch.randn((RUNS, SAMPLES, classes)), y)).all()


@pytest.mark.parametrize("classes", [2, CLASSES])
@pytest.mark.parametrize("name", ["CohenKappa", "MatthewsCorrCoef"])
def test_one_class_for_all_samples_agrees_by_chance_alone(name: str, classes: int) -> None:
    """torchmetrics gives 0.24 here, of two classes."""
    y = torch.tensor([[0, 0, 0, 0, 0, 0, 1, 1, 1]])
    outputs = torch.nn.functional.one_hot(torch.zeros_like(y), classes) * 5.0
    assert a_metric(name, classes).of_runs(outputs, y).tolist() == [0.0]


class Broken(ModuleType):
    """As torchmetrics ends where it is imported beside a torchvision of another torch."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("operator torchvision::nms does not exist")


def test_a_torchvision_of_another_torch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", Broken("torchmetrics"))
    with pytest.raises(MetricError) as error:
        torchmetrics()
    assert str(error.value).startswith(
        "the metric cannot be had, for torchmetrics cannot be imported (RuntimeError: operator torchvision::nms does not "
        "exist); run `pip uninstall -y torchvision`, or install the one that belongs to torch "
    )


def test_the_root_of_the_squared_error() -> None:
    outputs, y = data("MeanSquaredError")
    root: Metric = metrics["MeanSquaredError"].function(1, squared=False)
    np.testing.assert_allclose(root.of_runs(outputs, y), np.sqrt(a_metric("MeanSquaredError").of_runs(outputs, y)))
    assert (root.power, a_metric("MeanSquaredError").power, a_metric("R2Score").power) == (1, 2, 0)


def test_targets_that_do_not_vary_leave_nothing_to_explain() -> None:
    outputs, y = torch.randn((RUNS, SAMPLES, 1)), torch.full((RUNS, SAMPLES), 3.0)
    assert a_metric("R2Score").of_runs(outputs, y).tolist() == [0.0] * RUNS
    assert their("R2Score")(outputs[0, :, 0], y[0]) == 0


@pytest.mark.parametrize("name", THEIRS)
def test_a_diverged_run_has_none_and_disturbs_no_other(name: str) -> None:
    outputs, y = data(name)
    whole = a_metric(name).of_runs(outputs, y)
    outputs[1, 3, 0] = torch.nan
    found = a_metric(name).of_runs(outputs, y)
    assert np.isnan(found[1])
    np.testing.assert_array_equal(found[[0, 2]], whole[[0, 2]])
