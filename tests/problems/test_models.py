"""Every registered model and optimizer."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from pipeline.problems.models import mlp, models
from pipeline.problems.optimizers import optimizers
from pipeline.registry import Registered

REQUIRED = {"hidden": [4], "lr": 0.5}
EVERY_MODEL = [pytest.param(each, id=each.name) for each in models]
EVERY_OPTIMIZER = [pytest.param(each, id=each.name) for each in optimizers]


def completed(each: Registered) -> dict[str, object]:
    return each.complete({name: REQUIRED[name] for name, field in each.arguments.model_fields.items() if field.is_required()})


@pytest.mark.parametrize("each", EVERY_MODEL)
@pytest.mark.parametrize(("inputs", "outputs"), [(10, 2), (1, 5)])
def test_a_model_maps_features_to_classes(each: Registered, inputs: int, outputs: int) -> None:
    model = each.function(inputs, outputs, **completed(each))
    assert model(torch.zeros(7, inputs)).shape == (7, outputs)


@pytest.mark.parametrize("each", EVERY_MODEL)
def test_a_model_follows_from_torchs_seed_alone(each: Registered) -> None:
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(torch.cat([p.detach().flatten() for p in each.function(6, 3, **completed(each)).parameters()]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("each", EVERY_MODEL)
def test_a_model_stacks(each: Registered) -> None:
    """Parameters only, and no dropout: what the stacked training relies on."""
    model = each.function(6, 3, **completed(each))
    x = torch.ones(2, 6)
    assert list(model.buffers()) == []
    assert torch.equal(model.train()(x), model.eval()(x))


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
