"""Every registered model and optimizer."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from pipeline.config.components import Component
from pipeline.config.registry import Registered
from pipeline.problems.chance import Chance
from pipeline.problems.encoding import Columns
from pipeline.problems.models import applied, built, mlp, models, moved, register
from pipeline.problems.optimizers import optimizers

REQUIRED = {"hidden": [4], "lr": 0.5}
EVERY_MODEL = [pytest.param(each, id=each.name) for each in models]
EVERY_OPTIMIZER = [pytest.param(each, id=each.name) for each in optimizers]


def completed(each: Registered) -> dict[str, object]:
    return each.complete({name: REQUIRED[name] for name, field in each.arguments.model_fields.items() if field.is_required()})


Inputs = int | tuple[int, ...] | Columns
SHAPES: dict[str, list[Inputs]] = {
    "linear": [10, 1],
    "mlp": [10, 1],
    "cnn": [(1, 8, 8), (3, 5, 2)],
    "tabular": [Columns(2, (4, 9)), Columns(3), Columns(0, (2,))],
    "transformer": [10, (1, 8, 8), (3, 5, 2), (7, 2)],
}
"""Shapes of samples that a model takes: plain rows, columns, images, sequences of vectors."""


@pytest.mark.parametrize(
    ("each", "inputs"), [pytest.param(each, i, id=f"{each.name}-{i}") for each in models for i in SHAPES[each.name]]
)
@pytest.mark.parametrize("outputs", [2, 1])
def test_a_model_maps_samples_to_outputs(each: Registered, inputs: Inputs, outputs: int) -> None:
    model = each.function(inputs, outputs, **completed(each))
    if isinstance(inputs, Columns):
        inputs = inputs.numbers + len(inputs.categories)
    x = torch.zeros(7, *([inputs] if isinstance(inputs, int) else inputs))
    assert model(x).shape == (7, outputs)


@pytest.mark.parametrize("each", EVERY_MODEL)
def test_a_model_follows_from_torchs_seed_alone(each: Registered) -> None:
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        model = each.function(SHAPES[each.name][0], 3, **completed(each))
        drawn.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_tokens_are_embedded() -> None:
    """Order matters, and so does each token."""
    torch.manual_seed(0)
    model = models["transformer"].function((5,), 2, vocabulary=9, width=8, heads=2)
    x = torch.tensor([[0, 1, 2, 3, 8], [1, 0, 2, 3, 8], [0, 1, 2, 3, 7]])
    first, swapped, other = model(x)
    assert not torch.allclose(first, swapped)
    assert not torch.allclose(first, other)


def test_a_transformer_reads_the_rows_of_an_image() -> None:
    """What is embedded at a place is the row at that height, of all channels."""
    model = models["transformer"].function((2, 3, 4), 1, width=8)
    seen: list[torch.Tensor] = []
    model.embedding.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    model(x)
    assert seen[0][0].tolist() == [[*x[0, 0, row].tolist(), *x[0, 1, row].tolist()] for row in range(3)]


@pytest.mark.parametrize(
    ("name", "inputs", "arguments", "words"),
    [
        ("cnn", 64, {}, r"images of shape \(channels, height, width\), and a sample is of shape 64"),
        ("cnn", (1, 8, 8), {"channels": [8, 10]}, r"multiples of its 4 groups, and 10 is not"),
        ("transformer", (5,), {}, r"token ids need the size of their `vocabulary`"),
        ("transformer", (5, 2), {"vocabulary": 7}, r"only token ids have a `vocabulary`, .* \(5, 2\)"),
        ("transformer", 5, {"width": 10}, r"multiple of its 4 heads, and 10 is not"),
    ],
)
def test_what_a_model_cannot_take_is_refused(
    name: str, inputs: int | tuple[int, ...], arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        models[name].function(inputs, 2, **{**completed(models[name]), **arguments})


@pytest.mark.parametrize(("activation", "module"), [("relu", nn.ReLU), ("gelu", nn.GELU), ("tanh", nn.Tanh)])
def test_the_layers_of_an_mlp(activation: str, module: type[nn.Module]) -> None:
    model = mlp(8, 3, hidden=[5, 4], activation=activation)
    linear = [layer for layer in model.children() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == list(pairwise([8, 5, 4, 3]))
    assert [type(layer) for layer in model.children()] == [nn.Linear, module, nn.Linear, module, nn.Linear]


@pytest.mark.parametrize("each", EVERY_OPTIMIZER)
def test_an_optimizer_has_the_rate_it_is_given(each: Registered) -> None:
    parameter = torch.ones(2, 2, requires_grad=True)
    optimizer = each.function([parameter], **{**completed(each), "lr": 0.25})
    assert optimizer.param_groups[0]["lr"] == 0.25
    parameter.grad = torch.ones(2, 2)
    if each.name == "SparseAdam":
        parameter.grad = parameter.grad.to_sparse()
    optimizer.step(lambda: 1.0)
    assert (parameter < 1).any()


def test_all_of_torch_optim_is_there() -> None:
    kinds = [kind for kind in vars(torch.optim).values() if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)]
    assert {kind.__name__ for kind in kinds} - {"Optimizer"} <= {each.name for each in optimizers}


@pytest.mark.parametrize("each", EVERY_OPTIMIZER)
def test_an_optimizers_arguments_reach_torch(each: Registered) -> None:
    arguments = completed(each)
    group = each.function([torch.ones(2, 2, requires_grad=True)], **arguments).param_groups[0]
    as_torch = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
    assert {name: group[name] for name, value in arguments.items() if value is not None} == {
        name: value for name, value in as_torch.items() if value is not None
    }


def lazy(inputs: int | tuple[int, ...], outputs: int) -> nn.Module:
    layers = [nn.LazyConv1d(3, 2), nn.LazyBatchNorm1d()] if isinstance(inputs, tuple) else [nn.LazyLinear(3)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.5), nn.LazyLinear(outputs))


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize("blank", [torch.zeros(2, 6), torch.zeros(2, 4, 5)], ids=["rows", "sequences"])
def test_lazy_layers_take_shape_as_the_model_is_built(blank: torch.Tensor) -> None:
    """Their weights follow from the seed; nothing is gathered of the samples that give them their shapes."""
    register("lazy")(lazy)
    shape = tuple(blank.shape[1:])
    component = Component("lazy", {})

    def new(seed: int) -> nn.Module:
        with Chance(seed).used():
            return built(component, shape[0] if len(shape) == 1 else shape, 2, blank)

    states = [new(seed).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(values, states[1][name]) for name, values in states[0].items())
    assert not torch.equal(states[0]["0.weight"], states[2]["0.weight"])
    assert new(3).training
    assert new(3)(blank).shape == (2, 2)
    if len(shape) == 2:
        assert states[0]["1.num_batches_tracked"] == 0


@pytest.mark.usefixtures("own_registries")
def test_what_is_no_model_or_never_takes_shape_is_refused() -> None:
    @register("nothing")  # type: ignore[arg-type]
    def nothing(inputs: int, outputs: int) -> None: ...

    @register("unreached")
    class Unreached(nn.Linear):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__(inputs, outputs)
            self.more = nn.LazyLinear(3)

    with pytest.raises(ValueError, match=r"nothing gives None, and a torch\.nn\.Module is needed"):
        built(Component("nothing", {}), 3, 2, torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"unreached has a lazy layer that its forward does not reach \(more\.weight\)"):
        built(Component("unreached", {}), 3, 2, torch.zeros(2, 3))


def test_precision_is_that_of_real_and_of_complex_numbers() -> None:
    model = nn.Linear(3, 2).half()
    model.register_parameter("waves", nn.Parameter(torch.tensor([1 + 2j])))
    model.register_buffer("counts", torch.ones(2, dtype=torch.int64))
    there = moved(model, torch.device("cpu"), torch.float64).state_dict()
    assert {name: values.dtype for name, values in there.items()} == {
        "weight": torch.float64, "bias": torch.float64, "waves": torch.complex128, "counts": torch.int64,
    }  # fmt: skip
    assert there["waves"].tolist() == [1 + 2j]


class Slope(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.requires_grad_(True)
        outputs = super().forward(x)
        (slope,) = torch.autograd.grad(outputs.sum(), x, create_graph=True)
        return outputs + slope.mean(dim=1, keepdim=True)


def test_a_model_is_applied_without_gradients_but_those_that_it_takes() -> None:
    model, x = Slope(3, 2), torch.ones(4, 3)
    assert not applied(model, x.clone()).requires_grad
    torch.testing.assert_close(applied(model, x.clone()), model(x.clone()).detach())
    assert not applied(nn.Linear(3, 2), x).requires_grad
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        applied(nn.Linear(5, 2), x)


def test_categories_are_embedded_beside_the_numbers() -> None:
    """Half as many numbers as there are places, 50 at most; and none of a category that training lacked."""
    torch.manual_seed(0)
    model = models["tabular"].function(Columns(1, (9, 400)), 1, hidden=[3])
    assert [e.embedding_dim for e in model.embeddings] == [4, 50]
    assert model.layers[0].in_features == 1 + 4 + 50
    seen: list[torch.Tensor] = []
    model.layers.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    model(torch.tensor([[0.5, 0, 399], [0.5, 8, 0]]))
    assert seen[0][0].tolist() == [0.5, *[0.0] * 4, *model.embeddings[1].weight[399].tolist()]
    assert seen[0][1].tolist() == [0.5, *model.embeddings[0].weight[8].tolist(), *[0.0] * 50]


@pytest.mark.usefixtures("own_registries")
def test_a_model_of_ones_own_is_told_of_the_columns_if_it_asks() -> None:
    @register("asks")
    class Asks(nn.Linear):
        def __init__(self, inputs: Columns, outputs: int) -> None:
            super().__init__(inputs.numbers, outputs)

    register("asks too")(of_columns)
    register("does not")(mlp)
    assert [models[name].takes_columns for name in ("asks", "asks too", "does not")] == [True, True, False]
    with pytest.raises(ValueError, match=r"asks takes the columns of a table, and a sample is of shape \(1, 8, 8\)"):
        built(Component("asks", {}), (1, 8, 8), 2, torch.zeros(2, 1, 8, 8))


def of_columns(inputs: "Columns", outputs: int) -> nn.Module:
    return nn.Linear(inputs.numbers, outputs)
