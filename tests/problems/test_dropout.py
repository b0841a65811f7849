"""Masks that follow from numbers: as often 0 as asked, independent, and of whole channels where asked."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from pipeline.problems.dropout import LARGEST, CountedDropout, as_counted, counted, drawn, draws_of, repeated


def of_layer(dropout: nn.Module, layer: int) -> CountedDropout:
    as_counted(dropout, layer)
    assert isinstance(dropout, CountedDropout)
    return dropout


def mask(
    draw: tuple[int, int], shape: tuple[int, ...], p: float = 0.5, layer: int = 0, *, whole_channels: bool = False
) -> torch.Tensor:
    """1 where an element is kept."""
    dropout = of_layer(nn.Dropout2d(p) if whole_channels else nn.Dropout(p), layer)
    dropout.draw.copy_(torch.tensor(draw))
    kept: torch.Tensor = dropout(torch.ones(shape)) != 0
    return kept.double()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_are_dropped_as_asked(p: float) -> None:
    """Of 10⁶, within five standard deviations."""
    dropped = 1 - mask((1, 2), (1000, 1000), p).mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / 1e6) ** 0.5


@pytest.mark.parametrize(
    ("one", "other"),
    [(((1, 2), 0), ((1, 3), 0)), (((1, 2), 0), ((2, 2), 0)), (((1, 2), 0), ((1, 2), 1)), (((0, 0), 0), ((0, 1), 0))],
    ids=["second number", "first number", "layer", "smallest"],
)
def test_two_masks_are_independent(one: tuple[tuple[int, int], int], other: tuple[tuple[int, int], int]) -> None:
    """The correlation of 10⁶ pairs, at any shift, lies within five standard deviations of 0."""
    a, b = (mask(draw, (1_000_000, 1), layer=layer).flatten() - 0.5 for draw, layer in (one, other))
    spectrum = torch.fft.rfft(a) * torch.fft.rfft(b).conj()
    correlations = torch.fft.irfft(spectrum, n=len(a)) / (0.25 * len(a))
    assert correlations[0].abs() < 5 / len(a) ** 0.5
    assert correlations.abs().max() < 7 / len(a) ** 0.5  # of a million shifts


def test_neighbours_within_a_mask_are_independent() -> None:
    a = mask((5, 6), (1_000_000, 1)).flatten() - 0.5
    power = torch.fft.irfft(torch.fft.rfft(a).abs() ** 2, n=len(a)) / (0.25 * len(a))
    assert power[1:].abs().max() < 7 / len(a) ** 0.5


def test_the_rest_is_scaled_up() -> None:
    dropout = counted(nn.Dropout(0.2))
    assert set(dropout(torch.full((100, 7), 4.0)).flatten().tolist()) == {0.0, 5.0}


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_all_or_nothing(p: float) -> None:
    assert set(mask((1, 2), (10, 10), p).flatten().tolist()) == {1 - p}


def test_in_evaluation_nothing_is_dropped() -> None:
    x = torch.randn(5, 5)
    assert torch.equal(counted(nn.Dropout(0.5)).eval()(x), x)


def test_whole_channels() -> None:
    kept = mask((3, 4), (200, 50, 4, 4), 0.3, whole_channels=True)
    assert torch.equal(kept.amin(dim=(2, 3)), kept.amax(dim=(2, 3)))
    assert kept.mean().item() == pytest.approx(0.7, abs=0.03)


def test_what_a_smaller_batch_keeps_begins_as_that_of_a_larger() -> None:
    """The last batch of an epoch is filled up in a stack, and is not in a loop."""
    assert torch.equal(mask((1, 2), (12, 6))[:10], mask((1, 2), (10, 6)))


def test_masks_of_runs_side_by_side() -> None:
    dropout, x = counted(nn.Dropout(0.5)), torch.ones(50, 8)
    draws = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    first, second, third = vmap(lambda draw: functional_call(dropout, {"draw": draw}, (x,)))(draws)
    assert torch.equal(first, third)
    assert not torch.equal(first, second)


def test_every_kind_is_counted_at_any_depth() -> None:
    inner = nn.Sequential(nn.Dropout2d(0.2), nn.Identity())
    model = counted(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1), inner))
    assert [name for name, _ in draws_of(model)] == ["1.draw", "2.0.draw"]
    assert all(isinstance(model.get_submodule(place), CountedDropout) for place in ("1", "2.0"))
    assert isinstance(model.get_submodule("2.0"), nn.Dropout2d)
    assert not model.state_dict().keys() & {"1.draw", "2.0.draw"}, "nothing of it is kept with the weights"


def test_a_model_that_is_nothing_but_dropout() -> None:
    model = counted(nn.Dropout(0.3))
    assert isinstance(model, CountedDropout)
    assert [name for name, _ in draws_of(model)] == ["draw"]


class Held(nn.Module):
    """A layer that is also in a list, and that a hook is on."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.drop.register_forward_hook(lambda layer, given, found: 3 * found)
        self.steps = [self.drop]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dropped: torch.Tensor = self.steps[0](x)
        return dropped


def test_whoever_holds_a_layer_holds_its_counted_form() -> None:
    """Hooks stay, and a layer that is held elsewhere, too, drops nothing in evaluation."""
    model, x = counted(Held()), torch.ones(50, 8)
    assert {*model(x).flatten().tolist()} == {0.0, 6.0}
    assert torch.equal(model.eval()(x), 3 * x)


def test_in_place() -> None:
    x = torch.ones(50, 8)
    counted(nn.Dropout(0.5, inplace=True))(x)
    assert {*x.flatten().tolist()} == {0.0, 2.0}


class Reused(nn.Module):
    """One dropout layer behind each of two others, as many write it, and a third of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.once = nn.Dropout(0.5), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dropped: torch.Tensor = self.once(self.drop(self.drop(x)))
        return dropped


@pytest.mark.parametrize("model", [Reused(), nn.Sequential(shared := nn.Dropout(0.5), nn.Identity(), shared)])
def test_a_layer_that_is_applied_twice_keeps_torchs_form(model: nn.Module) -> None:
    names = repeated(model, torch.ones(4, 8))
    assert names == {"drop" if isinstance(model, Reused) else "0"}
    assert [name for name, _ in draws_of(counted(model, names))] == (["once.draw"] if isinstance(model, Reused) else [])


def test_numbers_are_exact_in_single_precision() -> None:
    numbers = drawn(np.random.default_rng(0), 1000)
    assert numbers.shape == (1000, 2)
    assert 0 <= numbers.min() < numbers.max() < LARGEST
    np.testing.assert_array_equal(numbers.astype(np.float32).astype(np.int64), numbers)
