"""What a model keeps and computes, by torch's own count, is what pencil and paper say: of 5 features and 3 classes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.engine.work import activations, multiplications
from pipeline.problems.models import register
from tests.engine.helpers import MLP, Builder

SCHEDULES: dict[str, dict[str, Any]] = {"StepLR": {"args": {"step_size": "30%"}}}
BATCH = 10


class Attention(nn.Module):
    """One token that looks at itself; torch computes an encoder's layer as a whole where it may."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(inputs, 1, batch_first=True), nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.unsqueeze(1)
        found: Tensor = self.head(self.attention(tokens, tokens, tokens)[0].squeeze(1))
        return found


class Scale(nn.Module):
    """A model without a product."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(inputs, 1).weight[0, :outputs])

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : len(self.weight)] * self.weight


MODELS: dict[str, tuple[Any, float]] = {
    "layers": (lambda i, o: nn.Sequential(nn.Linear(i, 6), nn.ReLU(), nn.Linear(6, o)), (5 * 6 + 6 * 3) / 2),
    "convolution": (
        lambda i, o: nn.Sequential(nn.Unflatten(1, (1, i)), nn.Conv1d(1, 5, 3), nn.Flatten(), nn.Linear(5 * (i - 2), o)),
        (5 * 3 * 3 + 15 * 3) / 2,
    ),
    "attention": (Attention, (5 * 15 + 5 + 5 + 5 * 5 + 5 * 3) / 5),
    "scale": (Scale, 0),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.usefixtures("own_registries")
def test_multiplications_of_a_product(new_problem: Builder, name: str) -> None:
    build, expected = MODELS[name]
    register(name)(build)
    assert multiplications(new_problem(SCHEDULES, model={"name": name}, batch_size=BATCH)) == BATCH * expected


def test_activations_are_those_of_every_layer(new_problem: Builder) -> None:
    problem = new_problem(SCHEDULES, model=MLP)
    model = problem.new_model(0, "final")
    layers = [m for m in model.modules() if not list(m.children())]
    x = torch.tensor(problem.data.x[:1])
    expected = x.numel()
    for layer in layers:
        x = layer(x)
        expected += x.numel()
    assert activations(problem) == expected
