"""Losses: each engine's form against the torch module itself."""

from typing import Any

import pytest
import torch

from pipeline.problems.losses import Loss, losses

GIVEN: list[tuple[str, dict[str, Any]]] = [
    ("CrossEntropyLoss", {}),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}),
    ("CrossEntropyLoss", {"weight": [0.2, 1.0, 3.0]}),
    ("CrossEntropyLoss", {"weight": [0.2, 1.0, 3.0], "label_smoothing": 0.3}),
    ("BCEWithLogitsLoss", {}),
    ("BCEWithLogitsLoss", {"pos_weight": 2.5}),
    ("MSELoss", {}),
    ("L1Loss", {}),
    ("HuberLoss", {"delta": 0.3}),
    ("SmoothL1Loss", {"beta": 0.3}),
]


def test_all_are_tested() -> None:
    assert {loss.name for loss in losses} == {name for name, _ in GIVEN}


@pytest.mark.parametrize(("name", "given"), GIVEN)
def test_the_mean_of_its_parts_is_torchs_own(name: str, given: dict[str, Any]) -> None:
    loss = Loss(name, losses[name].complete(given))
    draw = torch.Generator().manual_seed(0)
    is_classes = losses[name].task == "classification"
    outputs = torch.randn((20, loss.outputs(3) if is_classes else 1), generator=draw, dtype=torch.float64)
    y = torch.randint(0, 2 if loss.is_binary else 3, (20,), generator=draw) if is_classes else torch.randn(20, generator=draw)
    parts, counts = loss.per_sample(outputs, y), loss.counts(y, like=outputs)
    mean = parts.mean() if counts is None else parts.sum() / counts.sum()
    arguments = {
        key: torch.tensor(value, dtype=torch.float64) if key.endswith("weight") else value for key, value in given.items()
    }
    flat, wanted = (outputs, y) if outputs.shape[1] > 1 else (outputs[:, 0], y.double())
    expected = getattr(torch.nn, name)(**arguments)(flat, wanted)
    assert mean.item() == pytest.approx(expected.item(), rel=1e-6)  # weights are kept in single precision
    assert loss.mean(outputs, y).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "BCEWithLogitsLoss", "MSELoss", "HuberLoss"])
@pytest.mark.parametrize("targets", [1, 2])
def test_a_sample_of_weight_two_counts_as_two_samples(name: str, targets: int) -> None:
    classes = losses[name].task == "classification"
    if classes and targets > 1:
        return
    draw = torch.Generator().manual_seed(0)
    outputs = torch.randn(9, {"CrossEntropyLoss": 2}.get(name, targets), generator=draw, dtype=torch.float64)
    y = torch.randint(2, (9,), generator=draw) if classes else torch.randn(9, targets, generator=draw, dtype=torch.float64)
    weights = torch.randint(1, 4, (9,), generator=draw)
    arguments = {"weight": [0.3, 2.0]} if name == "CrossEntropyLoss" else {}
    packed = torch.column_stack([y, weights.double()])
    targets_alone = y.squeeze(-1) if targets == 1 and not classes else y
    expected = Loss(name, arguments).mean(*(values.repeat_interleave(weights, 0) for values in (outputs, targets_alone)))
    assert Loss(name, arguments, weighted=True).mean(outputs, packed).item() == pytest.approx(expected.item())
