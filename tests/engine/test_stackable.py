"""What cannot be stacked is found out before training, told with its remedy, and trained run by run."""

import logging
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pipeline.data.datasets import frame
from pipeline.data.datasets import register as register_dataset
from pipeline.engine import loop, merging, stackable, stacked, training
from pipeline.engine.optimizers import STACKED
from pipeline.engine.stackable import obstacle
from pipeline.problems.models import register
from pipeline.problems.optimizers import optimizers
from pipeline.problems.problem import Problem
from pipeline.problems.run import History, Run, collect
from tests.engine.helpers import CPU, MLP, Builder, assert_same_bits, numbers_of, run_of
from tests.engine.test_twin import assert_same_history
from tests.repeated import few

SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"args": {"step_size": "30%"}},
    "ReduceLROnPlateau": {"args": {"patience": 0}},
}
ENGINES = ("tensors", "compiled")


class Branching(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        outputs = super().forward(x)
        return outputs if outputs.sum() > 0 else 2 * outputs


class Noisy(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.1 * torch.randn_like(x)) if self.training else super().forward(x)


class Counting(nn.Linear):
    count: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return super().forward(x)


class Projecting(nn.Linear):
    projection: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("projection", torch.randn(inputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x @ self.projection)


class Idle(nn.Linear):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.unused = nn.Parameter(torch.ones(3))


def frozen(inputs: int, outputs: int) -> nn.Module:
    layer = nn.Linear(inputs, outputs)
    layer.bias.requires_grad_(False)
    return layer


def plain(inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs)


def normed(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs))


def counting(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(inputs, momentum=None), nn.Linear(inputs, outputs))


class Centred(nn.Linear):
    """Takes a statistic of the batch by itself."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(dim=0))


class Choosing(nn.Linear):
    """Draws otherwise than by dropout and the like."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, torch.randperm(x.shape[1])] if self.training else x)


class Coin(nn.Linear):
    """Draws from Python's generator, and hardly ever does anything about it."""

    def forward(self, x: Tensor) -> Tensor:
        outputs = super().forward(x)
        return 2 * outputs if self.training and random.random() < 1e-9 else outputs


class Noise(nn.Linear):
    """Draws from numpy's generator, in evaluation alone."""

    def forward(self, x: Tensor) -> Tensor:
        outputs = super().forward(x)
        return outputs if self.training else outputs + 0.1 * float(np.random.standard_normal())


class Seeded(nn.Linear):
    """Draws from a generator of its own."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.draw = random.Random(0)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.draw.choice([0.0, 0.01])


class Annealed(nn.Linear):
    """Goes by the number of its steps."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.done = [0]

    def forward(self, x: Tensor) -> Tensor:
        self.done[0] += self.training
        return super().forward(x) * (1 - 0.5 ** (1 + self.done[0]))


class Fourier(nn.Linear):
    """Holds a random tensor that is no buffer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.waves = torch.randn(inputs, inputs)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.sin(x @ self.waves.to(x.dtype)))


class Flipped(nn.Linear):
    """Built by the toss of a coin, of which four seeds may all have one side: its values tell, whatever holds them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        sign = float(torch.randn(()))
        self.signed = lambda values: sign * values

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.signed(super().forward(x))  # type: ignore[no-untyped-call]
        return outputs


class Writing(nn.Linear):
    """Into a tensor that is the same for all runs."""

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.zeros(len(x), self.out_features, dtype=x.dtype)
        outputs[:, 0] = x[:, 0]
        return super().forward(x) + outputs


class Columns(nn.Linear):
    """What torch can compute for all runs on one batch, but not for each on its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.column_stack([x]))


class Physical(nn.Module):
    """Takes gradients itself, in evaluation too."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.field = nn.Sequential(nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = x.requires_grad_(True)
        values: Tensor = self.field(x)
        return values + torch.autograd.grad(values.sum(), x, create_graph=True)[0].mean(dim=1, keepdim=True)


class Waves(nn.Linear):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.spectrum = nn.Parameter(torch.randn(inputs // 2 + 1, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.fft.irfft(torch.fft.rfft(x) * self.spectrum, n=x.shape[-1]))


def layered(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(Columns(inputs, 4), nn.Linear(4, outputs))


class Dropping(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.3))


def spectral(inputs: int, outputs: int) -> nn.Module:
    return nn.utils.parametrizations.spectral_norm(nn.Linear(inputs, outputs))


def checkpointed(inputs: int, outputs: int) -> nn.Module:
    class Again(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = checkpoint(super().forward, x, use_reentrant=False)
            return found

    return Again(inputs, outputs)


class Even(nn.Linear):
    """Takes from each sample's gradient the mean of the batch's."""

    def forward(self, x: Tensor) -> Tensor:
        outputs = super().forward(x)
        if outputs.requires_grad:
            outputs.register_hook(lambda gradient: gradient - 0.5 * gradient.mean(dim=0))  # type: ignore[no-untyped-call]
        return outputs


def weight_normed(inputs: int, outputs: int) -> nn.Module:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        return nn.utils.weight_norm(nn.Linear(inputs, outputs))


class Shrinking(nn.Linear):
    """Changes its weights as they are used."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.clamp_(-0.1, 0.1)
        return super().forward(x)


OBSTACLES: Mapping[str, tuple[Callable[[int, int], nn.Module], str]] = {
    "statistics of all batches": (counting, r"has BatchNorm of all batches so far, `momentum=None` \(0\); with a momentum"),
    "statistics of the batch": (Centred, r"mixes the samples of a batch \(Centred\); BatchNorm, GroupNorm and LayerNorm"),
    "control flow": (Branching, r"depends on the values of tensors \(an `if`.*use torch\.where"),
    "random numbers": (Choosing, r"draws random numbers of its own; torch's dropout, rand, randn and bernoulli can be"),
    "a buffer in place": (Counting, r"changes its buffers as it is trained \(itself: Counting\)"),
    "an idle parameter": (Idle, r"parameters that take no part in its output \(unused\)"),
    "Python's random numbers": (Coin, r"draws random numbers of its own"),
    "numpy's random numbers": (Noise, r"draws random numbers of its own"),
    "gradients that are mixed": (Even, r"computes something else side by side with others than alone"),
    "a parameter in place": (Shrinking, r"changes its parameters as it is trained \(itself: Shrinking\)"),
    "a generator": (Seeded, r"draws random numbers of its own"),
    "random numbers in evaluation too": (Dropping, r"draws random numbers of its own"),
    "a count of its own": (Annealed, r"changes its own `done` as it is trained, which runs side by side would share"),
    "a tensor of its own": (Fourier, r"is built with another `waves` for every seed; make it the same, or a buffer"),
    "a number that nothing shows": (Flipped, r"computes something else side by side with others than alone"),
    "a layer": (
        layered,
        r"cannot be computed for many runs at once by torch\.func\.vmap \(Batching rule .* aten::column_stack",
    ),
    "an operation on batches": (Columns, r"cannot be computed for many runs at once .* aten::column_stack"),
    "a new tensor that is written to": (Writing, r"inplace arithmetic.*; write into x\.new_zeros\(…\), not torch\.zeros"),
    "gradients of its own": (Physical, r"cannot be computed for many runs at once .*requires_grad_"),
    "complex numbers": (Waves, r"has parameters that are no real numbers \(spectrum\)"),
    "a power iteration": (spectral, r"changes its buffers as it is trained"),
    "weights by an old hook": (
        weight_normed,
        r"has torch\.nn\.utils\.weight_norm; write torch\.nn\.utils\.parametrizations\.weight_n",
    ),
    "checkpoints": (checkpointed, r"cannot be computed for many runs at once .* saved tensor hooks"),
}


@pytest.fixture(autouse=True)
def told_anew() -> None:
    """What is told once in a process is told in each test."""
    training.tell.cache_clear()


@pytest.mark.parametrize(
    "kind",
    few(OBSTACLES, "statistics of the batch", "control flow", "random numbers", "a buffer in place",
        "an idle parameter", "gradients that are mixed", "a parameter in place", "Python's random numbers",
        "a count of its own", "an operation on batches"),
)  # fmt: skip
@pytest.mark.usefixtures("own_registries")
def test_an_obstacle_is_told_and_the_runs_train_as_by_hand(
    new_problem: Builder, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    builder, words = OBSTACLES[kind]

    @register("odd")
    def odd(inputs: int, outputs: int) -> nn.Module:
        return builder(inputs, outputs)

    problem = new_problem(SCHEDULES, model={"name": "odd"}, epochs=2)
    runs = [run_of(problem, label, seed) for label in problem.schedules for seed in range(2)]
    with pytest.raises(
        stacked.StackError, match=rf"problem small cannot be stacked: .*the model odd .*{words}.*`engine: auto`"
    ):
        next(stacked.train(problem, runs, device=CPU))
    with caplog.at_level(logging.WARNING):
        history = collect(runs, training.train(problem, runs, device=CPU, dtype=torch.float64))
    assert [record.message.partition(":")[0] for record in caplog.records] == ["problem small"]
    assert "training run by run, which is slower: " in caplog.text
    for index, run in enumerate(runs):
        theirs = collect([run], loop.train(problem, run, device=CPU, dtype=torch.float64))
        assert_same_history(history, index, theirs, tolerance=0)


@pytest.mark.usefixtures("own_registries")
def test_running_statistics_are_trained_as_by_hand(new_problem: Builder) -> None:
    """Against a loop that is written out here."""
    register("normed")(normed)
    problem = new_problem({}, model={"name": "normed"}, epochs=3)
    run = run_of(problem, "Baseline")
    history = collect([run], training.train(problem, [run], device=CPU, dtype=torch.float64))

    model, split = problem.new_model(0, "final").double(), problem.data.split(0)
    x, y = torch.tensor(problem.data.x).double(), torch.tensor(problem.data.y)
    optimizer, order = torch.optim.SGD(model.parameters(), 0.1), problem.new_order(0, "final")

    @torch.no_grad()
    def evaluated(part: str) -> float:
        rows = torch.tensor(getattr(split, part))
        loss = nn.functional.cross_entropy(model.eval()(x[rows]), y[rows]).item()
        model.train()
        return loss

    for epoch in range(3):
        for batch in torch.randperm(70, generator=order).split(12):  # type: ignore[no-untyped-call]
            rows = torch.tensor(split.train)[batch]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        assert history.curves.validation_loss[epoch, 0] == pytest.approx(evaluated("validation"), rel=1e-12)
    assert history.outcome.test_loss[0] == pytest.approx(evaluated("test"), rel=1e-12)
    by_hand = model.state_dict()
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} < by_hand.keys() == history.outcome.weights.keys()
    for name, values in by_hand.items():
        torch.testing.assert_close(history.outcome.weights[name][0], values, rtol=1e-10, atol=1e-12)


class Active(nn.BatchNorm1d):
    """With an activation behind it, as in timm."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).tanh()


class Normed(nn.Module):
    """BatchNorm of every kind; one layer in two places."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(inputs, 6), nn.Linear(6, outputs)
        self.norm, self.active = nn.BatchNorm1d(6, momentum=0.3, eps=1e-3), Active(6, affine=False)
        self.channels, self.drop = nn.BatchNorm1d(2), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.active(self.drop(self.norm(self.norm(self.first(x)).relu())))
        outputs: Tensor = self.last(self.channels(hidden.reshape(len(x), 2, 3)).reshape(len(x), 6))
        return outputs


def untracked(inputs: int, outputs: int) -> nn.Module:
    normed = nn.BatchNorm1d(6, track_running_stats=False)
    return nn.Sequential(nn.Linear(inputs, 6), normed, nn.ReLU(), nn.Linear(6, outputs))


def drop_path(x: Tensor, p: float, *, training: bool) -> Tensor:
    """Stochastic depth, as timm has it."""
    if not training:
        return x
    drawn = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - p)
    drawn.div_(1 - p)
    return x * drawn


def stochastic_depth(x: Tensor, p: float, *, training: bool) -> Tensor:
    """As torchvision has it, of whole batches."""
    if not training:
        return x
    noise = torch.empty([1] * x.ndim, dtype=x.dtype, device=x.device)
    return x * noise.bernoulli_(1 - p).div_(1 - p)


class Drawing(nn.Module):
    """Random numbers by functions, as people draw them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.last, self.drop = nn.Linear(inputs, 6), nn.Linear(6, outputs), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        f, on = nn.functional, self.training
        hidden = self.drop(f.dropout(self.first(x + 0.1 * torch.randn_like(x) if on else x).tanh(), 0.2, training=on))
        hidden = hidden + drop_path(hidden.sin(), 0.2, training=on) + stochastic_depth(hidden.cos(), 0.3, training=on)
        hidden = f.dropout(hidden, 0.1, on, inplace=True) * ((torch.rand(len(x), 1) < 0.9) if on else 1.0)
        outputs: Tensor = self.last(f.alpha_dropout(hidden, 0.2, training=on))
        return outputs


class DroppingInside(nn.Module):
    """Layers of torch that drop by themselves, with torch's own defaults, and one dropout layer for two places."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Linear(1, 4), nn.Linear(4, outputs)
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, dropout=0.2, batch_first=True)
        self.memory = nn.LSTM(4, 4, num_layers=2, dropout=0.3, batch_first=True)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.drop(self.encoder(self.embedding(x.unsqueeze(-1))))
        rows = self.drop(rows + self.attention(rows, rows, rows)[0])
        outputs: Tensor = self.head(self.memory(rows)[0][:, -1])
        return outputs


MIXING: list[Callable[[int, int], nn.Module]] = [Normed, Drawing, DroppingInside, untracked]


@pytest.mark.parametrize(("builder", "compiled"), [
    *((builder, False) for builder in MIXING), (Normed, True), pytest.param(Drawing, True, marks=pytest.mark.slow),
])  # fmt: skip
@pytest.mark.usefixtures("own_registries", "flags")
def test_batches_and_random_numbers_of_a_stack_are_those_of_the_loop(
    new_problem: Builder, builder: Callable[[int, int], nn.Module], compiled: bool
) -> None:
    """In the last batch, too, which a stack fills up; the weights with their statistics, and a run alone to the same bits."""

    @register("own")
    def own(inputs: int, outputs: int) -> nn.Module:
        return builder(inputs, outputs)

    more: dict[str, Any] = {"epochs": 3, "engine": "compiled" if compiled else "tensors"}
    problem = new_problem(SCHEDULES, model={"name": "own"}, **more)
    if compiled and builder is Drawing:
        runs = [run_of(problem, "StepLR", seed) for seed in range(2)]
        alone = collect(runs, training.train_by("loop", problem, runs, device=CPU))
        for name, values in numbers_of(collect(runs, training.train(problem, runs, device=CPU))).items():
            np.testing.assert_allclose(values, numbers_of(alone)[name], rtol=1e-4, atol=1e-5)
        return
    assert_as_in_the_loop(problem)


@pytest.mark.parametrize("name", few((each.name for each in optimizers if each.name not in STACKED), "LBFGS", "Muon", "RAdam"))
def test_any_other_optimizer_of_torch_trains_run_by_run(new_problem: Builder, name: str) -> None:
    """SparseAdam and Muon refuse this model, as they do by hand."""
    shorter = {"max_iter": 2} if name == "LBFGS" else {}  # of the twenty evaluations that it makes of every batch
    problem = new_problem(SCHEDULES, optimizer={"name": name, "lr": 0.05, **shorter}, model=MLP, epochs=4)
    assert f"the optimizer {name} has no stacked form" in str(obstacle(problem, problem.params.optimizer))
    runs = [run_of(problem, label, seed) for label in problem.schedules for seed in range(2)]
    if name in ("SparseAdam", "Muon"):
        with pytest.raises((RuntimeError, ValueError), match=r"dense gradients|only supports 2D"):
            collect(runs, training.train(problem, runs, device=CPU))
        return
    history = collect(runs, training.train(problem, runs, device=CPU))
    if name != "LBFGS":  # it is made for whole batches
        assert (history.curves.train_loss[-1] < history.outcome.initial_loss).all()
    assert np.isfinite(history.outcome.test_loss).all()


@pytest.mark.usefixtures("own_registries")
def test_what_is_known_to_be_stackable_is_not_tried_again(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not in another process either; unless there is code that the problem's fingerprint does not name, as that of a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    register("own")(plain)
    assert obstacle(new_problem(SCHEDULES), new_problem(SCHEDULES).params.optimizer) is None
    own = new_problem(SCHEDULES, model={"name": "own"})
    assert obstacle(own, own.params.optimizer) is None

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("tried again")

    monkeypatch.setattr(stackable, "vmap", refuse)
    assert obstacle(new_problem(SCHEDULES), new_problem(SCHEDULES).params.optimizer) is None
    again = new_problem(SCHEDULES, model={"name": "own"})
    assert "tried again" in str(obstacle(again, again.params.optimizer))


def tied(inputs: int, outputs: int) -> nn.Module:
    """Two layers with one weight."""
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    return nn.Sequential(nn.Linear(inputs, 4), first, nn.Tanh(), second, nn.Linear(4, outputs))


def shared(inputs: int, outputs: int) -> nn.Module:
    """One layer in two places."""
    layer = nn.Linear(4, 4)
    return nn.Sequential(nn.Linear(inputs, 4), layer, nn.Tanh(), layer, nn.Linear(4, outputs))


def local(inputs: int, outputs: int) -> nn.Module:
    """A class made anew for every model, which cannot be shown."""

    class Local(nn.Linear):
        def __repr__(self) -> str:
            raise RuntimeError("cannot be shown")

    return Local(inputs, outputs)


def single(inputs: int, outputs: int) -> nn.Module:
    """Knows single precision alone."""

    class Single(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.to(self.weight.dtype) @ torch.eye(x.shape[1]).to(self.weight.dtype))

    return Single(inputs, outputs).half()


def lazy(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.LazyLinear(4), nn.ReLU(inplace=True), nn.LazyLinear(outputs))


def normalised(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(inputs, 4)), nn.GELU(), nn.Linear(4, outputs))


class Attention(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Linear(1, 4), nn.Linear(4, outputs)
        layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.encoder(self.embedding(x.unsqueeze(-1))).mean(dim=1))
        return outputs


class Recurrent(nn.Module):
    """Each kind of recurrent layer, in directions and layers, with what may be left out and added."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.memory = nn.LSTM(1, 4, num_layers=2, bidirectional=True, proj_size=3, batch_first=True)
        self.gates = nn.GRU(6, 4, num_layers=2, bias=False)
        self.plain = nn.Sequential(nn.RNN(4, 4, nonlinearity="relu"))
        self.inner, self.outer = nn.LSTMCell(4, 4), nn.GRUCell(4, 4, bias=False)
        self.head = nn.Linear(5, outputs)

    def forward(self, x: Tensor) -> Tensor:
        values, (last, _) = self.memory(x.unsqueeze(-1))
        hidden, state = self.plain(self.gates(values.transpose(0, 1))[0])
        inner, cell = self.inner(hidden[-1])
        hidden = self.outer(inner, self.inner(state[0], (inner, cell))[1])
        outputs: Tensor = self.head(torch.cat([hidden, last.mean(dim=(0, 2))[:, None]], dim=1))
        return outputs


class Adapted(nn.Module):
    """Adapters (Hu et al., 2021) beside one frozen layer in two places, on waves that are drawn (Rahimi and Recht, 2007)."""

    waves: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("waves", torch.randn(inputs, 4))
        self.base = nn.Linear(4, 4).requires_grad_(requires_grad=False)
        self.layers = nn.Sequential(self.base, nn.Tanh(), self.base)
        self.down, self.up, self.head = nn.Linear(4, 2, bias=False), nn.Linear(2, 4), nn.Linear(4, outputs)

    def forward(self, x: Tensor) -> Tensor:
        hidden = (x @ self.waves).cos()
        outputs: Tensor = self.head(self.layers(hidden) + self.up(self.down(hidden)))
        return outputs


STACKABLE: list[Callable[[int, int], nn.Module]] = [
    tied, shared, local, single, lazy, normalised, Attention, Recurrent, Projecting, frozen, Adapted
]  # fmt: skip


STACK_AND_LOOP: tuple[training.Way, ...] = ("tensors", "loop")


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("builder", [
    pytest.param(builder, id=builder.__name__, marks=[pytest.mark.slow] if builder is Recurrent else [])
    for builder in STACKABLE
])  # fmt: skip
@pytest.mark.usefixtures("own_registries")
def test_models_as_people_write_them_are_stacked(new_problem: Builder, builder: Callable[[int, int], nn.Module]) -> None:
    @register("own")
    def own(inputs: int, outputs: int) -> nn.Module:
        return builder(inputs, outputs)

    problem = new_problem(SCHEDULES, model={"name": "own"}, epochs=3)
    assert_as_in_the_loop(problem)
    runs = [run_of(problem, "StepLR", seed) for seed in range(2)]
    stack, alone = (
        collect(runs, training.train_by(way, problem, runs, device=CPU, dtype=torch.float64)).outcome.weights
        for way in STACK_AND_LOOP
    )
    assert stack.keys() == alone.keys()
    for name, values in stack.items():
        torch.testing.assert_close(values, alone[name], rtol=1e-8, atol=1e-8)


@pytest.mark.usefixtures("own_registries")
def test_what_is_refused_as_it_begins_is_trained_run_by_run(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the trial has not seen; but no other error is swallowed, nor that of a stack that was asked for."""
    register("columns")(Columns)
    monkeypatch.setattr("pipeline.engine.training.obstacle", lambda *_: None)
    monkeypatch.setattr("pipeline.engine.stacked.obstacle", lambda *_: None)
    problem = new_problem(SCHEDULES, model={"name": "columns"}, epochs=2)
    runs = [run_of(problem, "StepLR", seed) for seed in range(2)]
    with caplog.at_level(logging.WARNING):
        history = collect(runs, training.train(problem, runs, device=CPU, dtype=torch.float64))
    (record,) = caplog.records
    assert "problem small: training run by run, which is slower: Batching rule not implemented for aten::colu" in record.message
    for index, run in enumerate(runs):
        theirs = collect([run], loop.train(problem, run, device=CPU, dtype=torch.float64))
        assert_same_history(history, index, theirs, tolerance=0)
    asked = new_problem(SCHEDULES, model={"name": "columns"}, engine="tensors")
    with pytest.raises(stacked.StackError, match=r"cannot be stacked: Batching rule .* Write `engine: auto`"):
        next(training.train(asked, runs, device=CPU))


def test_a_constant_buffer_is_no_obstacle(new_problem: Builder) -> None:
    problem = new_problem(SCHEDULES, model=MLP)
    assert obstacle(problem, problem.params.optimizer) is None


@pytest.mark.usefixtures("own_registries")
def test_models_with_constant_buffers_are_stacked(new_problem: Builder) -> None:
    class Weighing(nn.Linear):
        weights: Tensor

        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__(inputs, outputs)
            self.register_buffer("weights", torch.arange(inputs) / 3.0)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * self.weights)

    @register("weighing")
    def weighing(inputs: int, outputs: int) -> nn.Module:
        return Weighing(inputs, outputs)

    assert_as_in_the_loop(new_problem(SCHEDULES, model={"name": "weighing"}))


@pytest.mark.parametrize(
    "dropout", [nn.Dropout, pytest.param(nn.Dropout1d, marks=pytest.mark.slow)], ids=lambda kind: kind.__name__
)
@pytest.mark.usefixtures("own_registries", "flags")
def test_dropout_in_a_stack_is_that_of_the_loop(new_problem: Builder, dropout: type[nn.Module]) -> None:
    """The same masks, also in the last batch, which a stack fills up."""

    class Dropping(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(inputs, 12), nn.Linear(12, outputs)
            self.drop, self.again = dropout(0.3), nn.Dropout(0.1)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.drop(self.first(x).relu().reshape(len(x), 4, 3)).reshape(len(x), 12)
            outputs: Tensor = self.last(self.again(hidden))
            return outputs

    @register("dropping")
    def dropping(inputs: int, outputs: int) -> nn.Module:
        return Dropping(inputs, outputs)

    given: dict[str, Any] = {"model": {"name": "dropping"}, "epochs": 4}
    assert_as_in_the_loop(*(new_problem(SCHEDULES, engine=engine, **given) for engine in ENGINES))


TWICE = {label: {"name": "StepLR", "args": {"step_size": "30%"}} for label in ("One", "Other")}
"""Equal schedules under two labels share split, weights and order, and part by their masks alone."""
HALVED = {"name": "mlp", "hidden": [16], "dropout": 0.5}


@pytest.mark.parametrize("engine", few(ENGINES, "tensors"))
def test_dropout_masks_differ_between_runs(new_problem: Builder, engine: str) -> None:
    problem = new_problem(TWICE, model=HALVED, engine=engine)
    history = as_the_stages_do(problem, [run_of(problem, label) for label in TWICE])
    assert history.outcome.initial_loss[0] == history.outcome.initial_loss[1]
    assert (history.curves.train_loss[:, 0] != history.curves.train_loss[:, 1]).all()


@pytest.mark.slow
def test_dropout_masks_repeat_in_any_process(new_problem: Builder) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
        for engine in ENGINES:
            problem = new_problem(TWICE, model=HALVED, engine=engine)
            runs = [run_of(problem, label) for label in TWICE]
            assert_same_bits(as_the_stages_do(problem, runs), elsewhere.submit(as_the_stages_do, problem, runs).result())


def as_the_stages_do(problem: Problem, runs: Sequence[Run]) -> History:
    """Train the runs; another process can be told of it."""
    return collect(runs, training.train(problem, runs, device=CPU))


def tokens() -> pd.DataFrame:
    """Sequences of five token ids; the class is that of the first."""
    draw = np.random.default_rng(0)
    x = draw.integers(7, size=(150, 5))
    return frame(x, x[:, 0] % 3, np.resize(["train", "train", "train", "validation", "test"], 150))


def images() -> pd.DataFrame:
    """Of 2 channels, 5 by 4 pixels."""
    x = np.random.default_rng(0).normal(size=(150, 2, 5, 4))
    return frame(x, (x[:, 0].mean(axis=(1, 2)) > 0).astype(int), np.resize(["train", "train", "validation", "test"], 150))


MODELS: Mapping[str, Mapping[str, Any]] = {
    "cnn": {"model": {"name": "cnn", "channels": [4, 4], "groups": 2, "dropout": 0.2}, "dataset": {"name": "images"}},
    "transformer on images": {
        "model": {"name": "transformer", "width": 8, "heads": 2, "layers": 1},
        "dataset": {"name": "images"},
    },
    "transformer on tokens": {
        "model": {"name": "transformer", "width": 8, "heads": 2, "layers": 1, "vocabulary": 7, "dropout": 0.1},
        "dataset": {"name": "tokens"},
    },
    "mlp": {"model": {"name": "mlp", "hidden": [8, 8], "activation": "gelu", "dropout": 0.5}},
}


@pytest.mark.parametrize("given", [
    pytest.param(given, id=name, marks=[] if name == "mlp" else [pytest.mark.slow])
    for name, given in MODELS.items()
])  # fmt: skip
@pytest.mark.usefixtures("own_registries", "flags")
def test_every_model_in_a_stack_is_that_of_the_loop(
    new_problem: Builder, given: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    register_dataset("tokens")(tokens)
    register_dataset("images")(images)
    optimizer = {"name": "AdamW", "lr": 0.01, "eps": 1e-3}
    with caplog.at_level(logging.WARNING):
        assert_as_in_the_loop(
            *(new_problem(SCHEDULES, optimizer=optimizer, epochs=3, engine=engine, **given) for engine in ENGINES)
        )
    assert not caplog.records, "none of them falls back"


@pytest.mark.parametrize(
    "clip",
    [{"norm": 0.05}, *(pytest.param(clip, marks=pytest.mark.slow) for clip in ({"value": 0.01}, {"norm": 1e6}))],
    ids=str,
)
@pytest.mark.usefixtures("flags")
def test_clipped_gradients_are_torchs(new_problem: Builder, clip: dict[str, float]) -> None:
    problem, compiled = (new_problem(SCHEDULES, model=MLP, clip=clip, engine=engine) for engine in ENGINES)
    assert_as_in_the_loop(problem, compiled)
    unclipped = new_problem(SCHEDULES, model=MLP)
    run = run_of(problem, "Baseline")
    ours, free = (collect([run], loop.train(p, run, device=CPU, dtype=torch.float64)) for p in (problem, unclipped))
    is_same = np.allclose(ours.curves.train_loss, free.curves.train_loss, rtol=1e-12)
    assert is_same == ("norm" in clip and clip["norm"] == 1e6), "the bound is felt exactly where it is meant to be"


class Counted:
    """Notes how many trainings are merged."""

    def __init__(self, merged: Callable[..., Any]) -> None:
        self.merged, self.trainings = merged, list[int]()

    def __call__(self, own: Sequence[Any], *more: Any) -> Any:
        self.trainings.append(len(own))
        return self.merged(own, *more)


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param({"name": "SGD", "lr": 0.5, "momentum": 0.9, "weight_decay": 0.01}, marks=pytest.mark.slow),
        {"name": "AdamW", "lr": 0.02, "weight_decay": 0.1},
    ],
    ids=lambda given: str(given["name"]),
)
@pytest.mark.usefixtures("flags")
def test_schedule_free_competitors_beside_schedules(
    new_problem: Builder, optimizer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of two optimizers in one training, a live schedule among them, each as in the loop."""
    free: dict[str, dict[str, Any]] = {
        "Free": {"name": "ScheduleFree", "args": {"momentum": 0.8}, "warmup": "10%"},
        "Plain": {"name": "ScheduleFree"},
    }
    counted = Counted(merging.merged)
    monkeypatch.setattr("pipeline.engine.training.merged", counted)
    schedules = {**SCHEDULES, **free}
    problem, compiled = (new_problem(schedules, optimizer=optimizer, model=MLP, engine=engine) for engine in ENGINES)
    assert_as_in_the_loop(problem, compiled)
    assert counted.trainings == [2, 2], "the momentum is a run's own: all schedule-free runs are one stack"
    component = problem.optimizer_of(problem.schedules["Free"])
    assert component.name == f"{optimizer['name']}ScheduleFree"
    kept = {"lr": optimizer["lr"], "weight_decay": optimizer["weight_decay"]}
    assert {key: component.args[key] for key in kept} == kept


def assert_as_in_the_loop(*problems: Problem) -> None:
    """All schedules of the problem, trained as the stages do, none of them run by run, against the plain loop.

    ``problems`` is the same one with each of several engines.
    """
    runs = [run_of(problems[0], label, seed) for seed in (1, 0) for label in problems[0].schedules]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", None)
        ours = [collect(runs, training.train(each, runs, device=CPU, dtype=torch.float64)) for each in problems]
    for index, run in enumerate(runs):
        theirs = collect([run], loop.train(problems[0], run, device=CPU, dtype=torch.float64))
        for each in ours:
            assert_same_history(each, index, theirs, tolerance=1e-10)


def test_forced_loop_is_the_stack_to_rounding(new_problem: Builder) -> None:
    stack, alone = (new_problem(SCHEDULES, model=MLP, engine=engine) for engine in ("tensors", "loop"))
    runs = [run_of(stack, label, seed) for label in stack.schedules for seed in range(2)]
    one, other = (collect(runs, training.train(p, runs, device=CPU, dtype=torch.float64)) for p in (stack, alone))
    for name, values in numbers_of(one).items():
        np.testing.assert_allclose(values, numbers_of(other)[name], rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("own_registries")
def test_forced_stacking_of_what_cannot_be_is_an_error(new_problem: Builder) -> None:
    register("counting")(counting)
    problem = new_problem(SCHEDULES, model={"name": "counting"}, engine="tensors")
    runs = [run_of(problem, "StepLR")]
    with pytest.raises(stacked.StackError, match=r"Write `engine: auto`, and it is trained run by run"):
        next(training.train(problem, runs, device=CPU))


class Kept(nn.Linear):
    """Projects its inputs by a matrix that it keeps."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.size = inputs
        self.register_buffer("matrix", self.drawn(), persistent=False)

    def drawn(self) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return torch.randn(self.size, self.size)

    def projection(self) -> Tensor:
        return self.get_buffer("matrix")

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x @ self.projection().to(x.dtype))


class DrawnAgain(Kept):
    """By the same matrix, which it draws in each forward from a seed of its own."""

    def projection(self) -> Tensor:
        return self.drawn()


@pytest.mark.usefixtures("own_registries")
def test_what_a_model_draws_from_a_seed_of_its_own_is_the_same_each_time(new_problem: Builder) -> None:
    """In training another matrix was drawn at each step, and only in evaluation the one of the seed."""
    histories = []
    for kind in (Kept, DrawnAgain):

        @register(kind.__name__)
        def odd(inputs: int, outputs: int, kind: type[nn.Module] = kind) -> nn.Module:
            return kind(inputs, outputs)

        problem = new_problem(SCHEDULES, model={"name": kind.__name__}, epochs=2)
        run = run_of(problem, "StepLR", 0)
        histories.append(collect([run], training.train(problem, [run], device=CPU, dtype=torch.float64)))
    kept, drawn = histories
    assert_same_history(kept, 0, drawn, tolerance=1e-6)
