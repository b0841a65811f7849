"""Several targets a sample, as in next-token prediction: in every engine what torch's own loss gives, ignored ones left out."""

from collections.abc import Mapping
from contextlib import chdir
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from pipeline.config.errors import ParamsError
from pipeline.data.datasets import datasets
from pipeline.data.datasets import register as register_dataset
from pipeline.data.tables import frame
from pipeline.engine import loop
from pipeline.problems.models import register as register_model
from pipeline.problems.problem import Problem
from pipeline.problems.run import collect
from pipeline.runs.champion import Champion, weights_of
from pipeline.runs.inspection import inspect
from tests.engine.helpers import CPU, Builder, run_of, train
from tests.engine.test_twin import assert_same_history

LENGTH, VOCABULARY = 6, 5
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "as torch ignores": {},
    "another index": {"loss": {"name": "CrossEntropyLoss", "ignore_index": 0, "label_smoothing": 0.1}},
    "weighted": {"loss": {"name": "CrossEntropyLoss", "weight": [0.5, 1.0, 2.0, 1.0, 3.0]}},
}


def walks(ignored: int = -100) -> pd.DataFrame:
    """Tokens that go up by one or stay; each is followed by the next, the last ones by none in some samples."""
    draw = np.random.default_rng(0)
    tokens = np.cumsum(draw.integers(0, 2, (120, LENGTH + 1)), axis=1) % VOCABULARY
    x, y = tokens[:, :-1], tokens[:, 1:].copy()
    y[::3, -2:] = ignored
    return frame(x, y, np.repeat(["train", "validation", "test"], [60, 30, 30]))


class Bigram(nn.Module):
    """Each place by itself."""

    def __init__(self, inputs: tuple[int, ...], outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(VOCABULARY, 4), nn.LayerNorm(4)
        self.dropout, self.last = nn.Dropout(dropout), nn.Linear(4, outputs)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.dropout(self.norm(self.embedding(x))))
        return outputs


def tokens_of(new_problem: Builder, setting: str, **more: Any) -> Problem:
    if "walks" not in {entry.name for entry in datasets}:
        register_dataset("walks")(walks)
        register_model("bigram")(Bigram)
    optimizer = {"name": "AdamW", "lr": 0.05, "no_decay": ["bias", "norm", "embedding"]}
    given: dict[str, Any] = {"dataset": {"name": "walks"}, "model": {"name": "bigram"}, "optimizer": optimizer}
    given |= {"batch_size": 8, "epochs": 3}
    if setting == "another index":
        given["dataset"] = {"name": "walks", "ignored": 0}
    return new_problem({}, **{**given, **SETTINGS[setting], **more})


@pytest.mark.usefixtures("own_registries")
def test_a_negative_target_that_is_not_ignored_is_told(new_problem: Builder) -> None:
    problem = tokens_of(new_problem, "as torch ignores", loss={"name": "CrossEntropyLoss", "ignore_index": 0})
    with pytest.raises(ParamsError, match=r"dataset: has the target -100.*ignore_index: -100"), chdir(new_problem.folder):
        inspect(problem)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.usefixtures("own_registries")
def test_as_torch_computes_it_alone_and_as_a_stack(new_problem: Builder, setting: str) -> None:
    problem = tokens_of(new_problem, setting)
    inspect(problem)
    runs = [run_of(problem, "Baseline", seed) for seed in (1, 0)]
    ours = train(problem, runs)
    for index, run in enumerate(runs):
        history = collect([run], loop.train(problem, run, device=CPU, dtype=torch.float64))
        assert_same_history(ours, index, history, 1e-9, exactly=("lr", "momentum"))
        np.testing.assert_allclose(ours.curves.validation_metric[:, index], history.curves.validation_metric[:, 0])
    samples = problem.data.samples([0])
    x, y = (torch.tensor(values[samples.parts["validation"][0]]) for values in (samples.x, samples.y))
    model = problem.new_model(0, "final").double().eval()
    model.load_state_dict({name: values[0] for name, values in history.outcome.weights.items()})
    outputs = model(x).detach()
    own = {key: value for key, value in SETTINGS[setting].get("loss", {}).items() if key != "name"}
    weight = torch.tensor(own.pop("weight")).double() if "weight" in own else None
    expected = nn.functional.cross_entropy(outputs.flatten(0, 1), y.flatten(), weight=weight, **own)
    measured = (outputs.argmax(-1) == y)[y != own.get("ignore_index", -100)].double().mean()
    assert history.curves.validation_loss[-1, 0] == pytest.approx(expected.item(), rel=1e-9)
    assert history.curves.validation_metric[-1, 0] == pytest.approx(measured.item(), rel=1e-9)
    kept = Champion.of(problem, weights_of(history, 0), 0)
    told = kept.predict(samples.x[samples.parts["validation"][0]])
    assert list(told) == [f"prediction({place})" for place in range(1, LENGTH + 1)]
    assert (told.to_numpy(int) == outputs.argmax(-1).numpy()).all()


@pytest.mark.parametrize("ignored", [-100, 0])
@pytest.mark.usefixtures("own_registries")
def test_a_sample_of_one_target_may_be_ignored_too(new_problem: Builder, ignored: int) -> None:
    """Not among the first ones, on which a stack is tried."""

    @register_dataset("partly labelled")
    def partly_labelled() -> pd.DataFrame:
        draw = np.random.default_rng(0)
        x, y = draw.normal(size=(90, 3)), draw.integers(1, 4, 90)
        y[20:60:3], y[62::4] = ignored, ignored
        return frame(x, y, np.repeat(["train", "validation", "test"], [60, 20, 10]))

    loss = {"name": "CrossEntropyLoss", "ignore_index": ignored, "weight": [1.0, 2.0, 0.5, 1.0]}
    problem = new_problem({}, dataset={"name": "partly labelled"}, resample=False, loss=loss, epochs=3)
    inspect(problem)
    run = run_of(problem, "Baseline", 0)
    ours, history = train(problem, [run]), collect([run], loop.train(problem, run, device=CPU, dtype=torch.float64))
    assert_same_history(ours, 0, history, 1e-9, exactly=("lr", "momentum"))
    samples = problem.data.samples([0])
    x, y = (torch.tensor(values[samples.parts["validation"][0]]) for values in (samples.x, samples.y))
    model = problem.new_model(0, "final").double().eval()
    model.load_state_dict({name: values[0] for name, values in history.outcome.weights.items()})
    outputs, weight = model(x.double()).detach(), torch.tensor(loss["weight"]).double()
    expected = nn.functional.cross_entropy(outputs, y.long(), weight=weight, ignore_index=ignored)
    measured = (outputs.argmax(-1) == y)[y != ignored].double().mean()
    assert history.curves.validation_loss[-1, 0] == pytest.approx(expected.item(), rel=1e-6)
    assert history.curves.validation_metric[-1, 0] == pytest.approx(measured.item(), rel=1e-6)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.usefixtures("own_registries")
def test_accumulated_gradients_are_those_of_all_samples_of_the_step(new_problem: Builder, setting: str) -> None:
    """However many targets each batch has that count; and the schedule goes by optimizer steps."""
    whole, parts = tokens_of(new_problem, setting, batch_size=24), tokens_of(new_problem, setting, batch_size=8, accumulate=3)
    assert whole.budget() == parts.budget()
    for problem in (whole, parts):
        inspect(problem)
    one, other = (
        collect([run], loop.train(problem, run, device=CPU, dtype=torch.float64))
        for problem in (whole, parts)
        for run in [run_of(problem, "Baseline")]
    )
    assert_same_history(one, 0, other, tolerance=1e-9, exactly=("lr", "momentum"))


@pytest.mark.usefixtures("own_registries")
def test_each_batch_of_a_step_has_dropout_of_its_own(new_problem: Builder) -> None:
    """Its masks follow from its numbers."""
    problem = tokens_of(new_problem, "as torch ignores", accumulate=3, model={"name": "bigram", "dropout": 0.5})
    script = loop.Script(problem, run_of(problem, "Baseline"), CPU, torch.float32)
    drawn: list[list[float]] = []
    script.model.get_submodule("dropout").register_forward_pre_hook(lambda layer, given: drawn.append(layer.draw.tolist()))
    script.train_epoch()
    assert len(drawn) == 8  # 60 samples
    assert len({tuple(draw) for draw in drawn}) == 8
