"""The object that a user's training script imports: what it hands over, what it tells, and what it refuses."""

import contextlib
import copy
import gc
import json
import math
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, Adam, Optimizer
from torch.optim.swa_utils import AveragedModel

from pipeline.catalogue import CATALOGUE
from pipeline.config.schedules import Schedule
from pipeline.schedulers.replay import Budget, trace
from pipeline.trial import Scheduler, Trial, TrialError
from tests.conftest import ROOT

STEPS, EPOCHS = 4, 3
New = Callable[..., Trial]


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> New:
    """A trial as the pipeline asks for one; the process that goes on with it is another one each time."""
    gc.collect()
    gc.freeze()  # what has a state by now is nothing of this test
    monkeypatch.setattr("pipeline.trial.SAVING", math.inf)  # a checkpoint is due behind every epoch

    def make(schedule: dict[str, Any] | None = None, **more: Any) -> Trial:
        lines = tmp_path / "lines.jsonl"
        lines.write_text("", "utf-8")
        asked = {"seed": 7, "split": 0, "epochs": EPOCHS, "lr": 0.1, "device": "cpu", "args": {}, "label": "It"}
        asked |= {"folder": str(tmp_path), "lines": str(lines), **more}
        if schedule:
            asked |= {"schedule": schedule, "base_lr": 0.1}
        (tmp_path / "run.json").write_text(json.dumps(asked), "utf-8")
        monkeypatch.setenv("PIPELINE_TRIAL", str(tmp_path / "run.json"))
        return Trial()

    return make


def told(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "lines.jsonl").read_text("utf-8").splitlines()]


def written(name: str, **entry: Any) -> dict[str, Any]:
    return Schedule.model_validate({"name": name, **entry}, context=CATALOGUE).model_dump(mode="json")


def optimizer_of(trial: Trial) -> Optimizer:
    torch.manual_seed(trial.seed)
    weights = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    groups: list[dict[str, Any]] = [{"params": [weights[0]]}, {"params": [weights[1]], "lr": trial.lr / 10}]
    return SGD(groups, lr=trial.lr, momentum=0.9)


def step(optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = torch.ones_like(weight)
    optimizer.step()


def trained(trial: Trial, epochs: int = EPOCHS, loss: float = 1.0) -> list[list[float]]:
    """The rates of both groups at every optimizer step."""
    optimizer = optimizer_of(trial)
    scheduler, used = trial.scheduler(optimizer, STEPS), []
    for _ in range(epochs):
        for _ in range(STEPS):
            used.append([float(group["lr"]) for group in optimizer.param_groups])
            step(optimizer)
            scheduler.step()
        trial.report(train_loss=loss, validation_loss=torch.tensor(0.5))
    return used


def test_rates_are_those_of_the_schedule_and_groups_keep_their_ratio(new: New, tmp_path: Path) -> None:
    """Of a schedule of epochs with an interval of batches' own, a warmup and one that cycles the momentum."""
    schedules = [
        {"name": "StepLR", "args": {"step_size": "34%"}},
        {"name": "CosineAnnealingLR", "args": {"T_max": "100%"}, "warmup": "20%"},
        {"name": "OneCycleLR", "args": {"max_lr": "100%"}},
    ]
    for entry in schedules:
        schedule = Schedule.model_validate(entry, context=CATALOGUE)
        expected = trace(schedule, lambda parameters, lr: SGD(parameters, lr, 0.9), 0.1, Budget(EPOCHS, STEPS))
        trial = new(schedule.model_dump(mode="json"))
        used = trained(trial)
        trial.finish(test_loss=1.0)
        assert [rates[0] for rates in used] == pytest.approx(expected.lr.tolist(), rel=1e-12)
        assert [rates[1] for rates in used] == pytest.approx((expected.lr / 10).tolist(), rel=1e-12)
        start, *epochs, finish = told(tmp_path)
        assert [line["lr"] for line in epochs] == pytest.approx(expected.lr[::STEPS].tolist(), rel=1e-12)
        assert [line["momentum"] for line in epochs] == pytest.approx(expected.momentum[::STEPS].tolist(), rel=1e-12)
        assert start["start"]["optimizer"]["name"] == "SGD"
        assert start["start"]["versions"]["torch"] == torch.__version__
        assert finish == {"finish": {"test_loss": 1.0}}


def test_rates_that_are_handed_over_need_nothing_but_torch(new: New) -> None:
    rates = [0.1 * (number + 1) for number in range(STEPS * EPOCHS)]
    used = trained(new(rates=rates, momenta=[0.5] * len(rates)))
    assert [each for each, _ in used] == pytest.approx(rates)
    code = "import sys, pipeline.trial; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "pandas", "ruamel", "optuna", "mlflow", "scipy"} & set(loaded)


def test_a_plateau_goes_by_the_loss_that_is_reported(new: New) -> None:
    used = trained(new(written("ReduceLROnPlateau", args={"patience": 0, "factor": 0.5})))
    assert [each for each, _ in used[::STEPS]] == pytest.approx([0.1, 0.1, 0.05])


def misused(name: str, trial: Trial) -> None:  # noqa: C901  # a case each
    optimizer = optimizer_of(trial)
    scheduler = trial.scheduler(optimizer, STEPS)
    figures = {"train_loss": 1.0, "validation_loss": 1.0}

    def epoch(steps: int = STEPS) -> None:
        for _ in range(steps):
            step(optimizer)
            scheduler.step()

    match name:
        case "never stepped":
            for _ in range(2):
                step(optimizer)
        case "stepped twice":
            for _ in range(4):
                epoch(1)
                scheduler.step()
        case "stepped before":
            scheduler.step()
            step(optimizer)
        case "stepped per epoch":
            for _ in range(STEPS):
                step(optimizer)
            scheduler.step()
        case "second scheduler":
            torch.optim.lr_scheduler.StepLR(optimizer, step_size=30)
            epoch()
            trial.report(**figures)
        case "once more at the end":
            epoch()
            scheduler.step()
            trial.report(**figures)
        case "other number of steps":
            epoch(STEPS + 1)
            trial.report(**figures)
        case "other optimizer":
            other = SGD([torch.nn.Parameter(torch.ones(1))], lr=trial.lr)
            for _ in range(STEPS):
                step(other)
                scheduler.step()
            trial.report(**figures)
        case "rate by hand":
            optimizer.param_groups[0]["lr"] = 3.0
            epoch()
            trial.report(**figures)
        case "second rate by hand":
            optimizer.param_groups[1]["lr"] = 3.0
            epoch()
            trial.report(**figures)
        case "report forgotten":
            for _ in trial.epochs():
                epoch()
        case "figure forgotten":
            epoch()
            trial.report(train_loss=1.0)
        case "no number":
            epoch()
            trial.report(train_loss="low", validation_loss=1.0)
        case "unknown figure":
            trial.report(**figures, accuracy=1.0)
        case "figure by another name":
            trial.report(train_loss=1.0, val_loss=1.0)
        case "too few epochs":
            epoch()
            trial.report(**figures)
            trial.finish()
        case "too many epochs":
            for _ in range(EPOCHS + 1):
                epoch()
                trial.report(**figures)
        case "two schedulers":
            trial.scheduler(optimizer, STEPS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("never stepped", "not called behind the last optimizer step"),
        ("stepped twice", "called twice for an optimizer step"),
        ("stepped before", "called before the first optimizer step"),
        ("stepped per epoch", "not called behind the last optimizer step"),
        ("second scheduler", "a second scheduler is built on the optimizer"),
        ("once more at the end", "called once more at epoch 1"),
        ("other number of steps", "epoch 1 had 5 scheduler steps, and trial.scheduler was told of 4"),
        ("other optimizer", "made no step"),
        ("rate by hand", "was made at a rate of 3, and the schedule's is 0.1"),
        ("second rate by hand", "was made at a rate of parameter group 2 of 3, and the schedule's is 0.01"),
        ("report forgotten", "epoch 1 ended without its figures"),
        ("figure forgotten", "lacks validation_loss"),
        ("no number", "train_loss is 'low', and no number"),
        ("unknown figure", "and no accuracy; leave that out, or call it validation_metric where it is a metric"),
        ("figure by another name", "and no val_loss; did you mean validation_loss"),
        ("too few epochs", "called after reports of 1 of 3 epochs"),
        ("too many epochs", "called once more than the run has epochs"),
        ("two schedulers", "asked for twice"),
    ],
)
def test_wrong_use_is_found_and_told(new: New, tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(TrialError, match=words):
        misused(name, new(rates=[0.1] * STEPS * EPOCHS))
    assert words in told(tmp_path)[-1]["wrong"]
    assert "; " in told(tmp_path)[-1]["wrong"]


def test_figures_of_a_run_without_a_schedule_are_refused(new: New, tmp_path: Path) -> None:
    """As those of scikit-learn: all schedules would come out the same."""
    trial = new(rates=[0.1] * STEPS * EPOCHS)
    with pytest.raises(TrialError, match=r"nothing trains by the schedule; .* the file that PIPELINE_TRIAL names"):
        trial.report(train_loss=1.0, validation_loss=1.0)
    assert "wrong" in told(tmp_path)[-1]


def test_a_step_that_mixed_precision_leaves_out_is_no_wrong_use(new: New) -> None:
    """A scaler of gradients leaves a step out where they overflowed; the scheduler is stepped all the same."""
    trial = new(rates=[0.1] * STEPS * EPOCHS)
    optimizer = optimizer_of(trial)
    scheduler = trial.scheduler(optimizer, STEPS)
    for number in range(STEPS * EPOCHS):
        if number not in (2, 5, 6):
            step(optimizer)
        scheduler.step()
        if number % STEPS == STEPS - 1:
            trial.report(train_loss=1.0, validation_loss=1.0)
    trial.finish()


def test_layers_that_are_unfrozen_later_keep_their_ratio_from_there_on(new: New) -> None:
    trial = new(rates=[0.1, 0.08, 0.06, 0.04, 0.02, 0.01], epochs=2)
    torch.manual_seed(trial.seed)
    optimizer = SGD([torch.nn.Parameter(torch.ones(2))], lr=trial.lr)
    scheduler, used = trial.scheduler(optimizer, 3), []
    for _ in trial.epochs():
        for _ in range(3):
            step(optimizer)
            used.append([group["lr"] for group in optimizer.param_groups])
            scheduler.step()
        trial.report(train_loss=1.0, validation_loss=1.0)
        if len(optimizer.param_groups) == 1:
            optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "lr": trial.lr / 10})
    trial.finish()
    assert used[:3] == [[0.1], [0.08], [0.06]]
    assert used[3:] == [pytest.approx([rate, rate / 10]) for rate in (0.04, 0.02, 0.01)]


def test_an_optimizer_that_does_not_go_by_the_peak_rate_is_refused(new: New) -> None:
    """It had other ratios when the script was tried out, at another rate; and so had one of its groups."""
    rates = [0.1] * STEPS * EPOCHS
    trained(new(rates=rates, shares=[1.0, 0.1]))
    fixed = (
        r"parameter group 2 of the optimizer is built at a rate of 0\.01, which .* \(0\.1 in this run.*lr=trial\.lr \* 0\.05$"
    )
    with pytest.raises(TrialError, match=fixed):
        trained(new(rates=rates, shares=[1.0, 0.11], base_lr=0.2))
    with pytest.raises(TrialError, match="built at a rate of 0, and would train nothing"):
        new(rates=rates).scheduler(SGD([torch.nn.Parameter(torch.ones(1))], lr=0.0), STEPS)
    with pytest.raises(TrialError, match=r"built at a rate of 0\.1, 0\.01, which does not go by trial\.lr \(0\.1 in this run"):
        trained(new(rates=rates, shares=[2.0, 0.2]))


@pytest.mark.parametrize(
    ("lr", "words"), [(0.05, "the optimizer Adam is built at a rate of 0.05, which does not go by"), (0.01, "")]
)
def test_another_optimizer_at_a_rate_of_its_own_is_refused(new: New, lr: float, words: str) -> None:
    """It had the same rate when the script was tried out, at another peak rate; one within another is none."""
    trial = new(rates=[0.1] * STEPS * EPOCHS, others={"lr": 0.09, "rates": [[0.05]]})
    optimizer, inner = optimizer_of(trial), SGD([torch.nn.Parameter(torch.ones(2))], lr=0.05)
    other = Adam([torch.nn.Parameter(torch.ones(2))], lr=lr)
    inner.param_groups = optimizer.param_groups
    scheduler = trial.scheduler(optimizer, STEPS)
    step(optimizer)
    scheduler.step()
    step(inner)
    with pytest.raises(TrialError, match=words) if words else contextlib.nullcontext():
        step(other)
    step(other)


def test_another_optimizer_is_refused_that_is_built_behind_the_first_step(new: New) -> None:
    trial = new(rates=[0.1] * STEPS * EPOCHS, others={"lr": 0.09, "rates": [[0.05]]})
    optimizer = optimizer_of(trial)
    scheduler = trial.scheduler(optimizer, STEPS)
    step(optimizer)
    scheduler.step()
    with pytest.raises(TrialError, match=r"the optimizer Adam is built at a rate of 0\.05, which"):
        step(Adam([torch.nn.Parameter(torch.ones(2))], lr=0.05))


@pytest.mark.parametrize(
    "lacking", [[], ["ema"], ["average"], ["second"], ["scaler"], ["weight"], ["ema", "second"], ["model", "optimizer"]]
)
def test_a_run_goes_on_only_where_all_is_kept_that_its_first_epoch_changed(
    new: New, tmp_path: Path, lacking: list[str]
) -> None:
    """A model that stays as it is need not be handed over."""
    trial = new(rates=[0.1] * STEPS * EPOCHS)
    torch.manual_seed(trial.seed)
    model, teacher, weight = (torch.nn.Linear(2, 1) for _ in range(3))
    ema, average = copy.deepcopy(model), AveragedModel(model)
    optimizer, second = SGD(model.parameters(), lr=trial.lr), SGD([{"params": weight.parameters()}], lr=trial.lr)
    scheduler, scaler = trial.scheduler(optimizer, 1), GradScaler("cpu")
    parts = {"model": model, "optimizer": optimizer, "ema": ema, "average": average}
    parts |= {"second": second, "scaler": scaler, "weight": weight}
    for epoch in trial.epochs(**{name: part for name, part in parts.items() if name not in lacking}):
        step(optimizer)
        step(second)
        scheduler.step()
        for mean, own in zip(ema.parameters(), model.parameters(), strict=True):
            mean.data.lerp_(own.data, 0.1)
        if epoch:
            average.update_parameters(model)
        trial.report(train_loss=teacher(torch.ones(2)), validation_loss=1.0)
    assert (tmp_path / "checkpoint.pt").exists() == (not lacking)


class Shadow:
    """An average of the weights as many scripts have it, without a state."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.weights = model, {name: each.detach().clone() for name, each in model.named_parameters()}

    def update(self) -> None:
        for name, each in self.model.named_parameters():
            self.weights[name] = self.weights[name].lerp(each.detach(), 0.1)


def averaged(trial: Trial, handed: tuple[str, ...], stop_after: int | None = None) -> list[torch.Tensor]:
    """The averages of a run's weights, and those of its best epoch, its second; killed after so many epochs."""
    torch.manual_seed(trial.seed)
    model = torch.nn.Linear(2, 1)
    optimizer = SGD(model.parameters(), lr=trial.lr)
    scheduler, shadow = trial.scheduler(optimizer, 1), Shadow(model)
    best: dict[str, Any] = {"loss": np.float64(math.inf), "weights": {}}
    states = {"shadow": shadow.weights, "best": best}
    for epoch in trial.epochs(model=model, optimizer=optimizer, **{name: states[name] for name in handed}):
        step(optimizer)
        scheduler.step()
        shadow.update()
        loss = np.float64(abs(epoch - 1))
        trial.report(train_loss=1.0, validation_loss=loss)
        if loss < best["loss"]:
            best |= {"loss": loss, "weights": copy.deepcopy(model.state_dict())}
        if epoch + 1 == stop_after:
            break
    return [*shadow.weights.values(), *best["weights"].values()]


@pytest.mark.parametrize("handed", [(), ("shadow",), ("best",), ("shadow", "best")])
def test_copies_of_the_weights_in_dictionaries_are_kept_or_the_run_begins_anew(
    new: New, tmp_path: Path, handed: tuple[str, ...]
) -> None:
    whole = averaged(new(rates=[0.1] * 4, epochs=4), handed)
    (tmp_path / "checkpoint.pt").unlink(missing_ok=True)
    averaged(new(rates=[0.1] * 4, epochs=4), handed, stop_after=4)
    assert (tmp_path / "checkpoint.pt").exists() == (len(handed) == 2)
    resumed = averaged(new(rates=[0.1] * 4, epochs=4), handed)
    assert all(map(torch.equal, whole, resumed))
    assert len(resumed) == 4


def test_what_begins_to_change_later_leaves_what_was_kept_before(new: New, tmp_path: Path) -> None:
    """As layers that are unfrozen do, which nobody handed over."""
    trial = new(rates=[0.1] * 4, epochs=4)
    torch.manual_seed(trial.seed)
    head, layers, kept = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1), list[bytes]()
    optimizer = SGD(head.parameters(), lr=trial.lr)
    scheduler = trial.scheduler(optimizer, 1)
    for epoch in trial.epochs(head=head, optimizer=optimizer):
        kept += [(tmp_path / "checkpoint.pt").read_bytes()] if epoch > 1 else []
        if epoch:
            layers.weight.data += 1
        step(optimizer)
        scheduler.step()
        trial.report(train_loss=1.0, validation_loss=1.0)
    assert kept == [(tmp_path / "checkpoint.pt").read_bytes()] * 2


def test_an_optimizer_that_is_built_later_leaves_what_was_kept_before(new: New, tmp_path: Path) -> None:
    """It cannot be handed over any more; one that is gone as the epoch ends is not missed."""
    trial = new(rates=[0.1] * 4, epochs=4)
    torch.manual_seed(trial.seed)
    model, head, kept = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1), list[bytes]()
    optimizer, late = SGD(model.parameters(), lr=trial.lr), list[Optimizer]()
    scheduler = trial.scheduler(optimizer, 1)
    for epoch in trial.epochs(model=model, head=head, optimizer=optimizer):
        kept += [(tmp_path / "checkpoint.pt").read_bytes()] if epoch > 1 else []
        step(optimizer)
        scheduler.step()
        step(Adam(head.parameters()))
        if epoch:
            late = late or [Adam(head.parameters())]
            step(late[0])
        trial.report(train_loss=1.0, validation_loss=1.0)
    assert kept == [(tmp_path / "checkpoint.pt").read_bytes()] * 2


def test_a_seed_that_nobody_asks_for_is_told_before_the_first_step(new: New) -> None:
    """Runs would be repeated by none, or all be one."""
    trial = new(rates=[0.1] * STEPS * EPOCHS)
    optimizer = SGD([torch.nn.Parameter(torch.ones(1))], lr=trial.lr)
    trial.scheduler(optimizer, STEPS)
    with pytest.raises(TrialError, match=r"trial\.seed is not asked for .*; seed every generator with it"):
        step(optimizer)


def test_a_worker_that_imports_the_script_once_more_trains_nothing(new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = new(rates=[0.1] * STEPS * EPOCHS)
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(TrialError, match=r'; put all but .* under `if __name__ == "__main__":`'):
        trial.scheduler(optimizer_of(trial), STEPS)


def test_what_has_no_state_is_told(new: New) -> None:
    with pytest.raises(TrialError, match=r"handed stopper, a set, which lacks state_dict or load_state_dict; write both"):
        next(new().epochs(stopper=set()))


@pytest.mark.parametrize("steps", [0, -1, 2.5, math.inf, math.nan, None])
def test_what_is_no_number_of_steps_is_refused(new: New, steps: Any) -> None:
    """Lightning's own number of batches is infinite until it has the data; a batch larger than the data gives none."""
    trial = new(rates=[0.1] * STEPS * EPOCHS)
    with pytest.raises(TrialError, match=rf"{steps}.* no number.*; "):
        trial.scheduler(optimizer_of(trial), steps)


@pytest.mark.parametrize("handed", [(), ("model",), ("optimizer",), ("model", "optimizer")])
def test_a_run_goes_on_only_from_its_model_and_its_optimizer(new: New, tmp_path: Path, handed: tuple[str, ...]) -> None:
    """Without one of them its first epochs would be those of a run, and the others of a model that is new."""
    trial = new(rates=[0.1] * STEPS * EPOCHS)
    torch.manual_seed(trial.seed)
    model = torch.nn.Linear(2, 1)
    optimizer = SGD(model.parameters(), lr=trial.lr)
    scheduler, parts = trial.scheduler(optimizer, 1), {"model": model, "optimizer": optimizer}
    for _ in trial.epochs(**{name: parts[name] for name in handed}):
        step(optimizer)
        scheduler.step()
        trial.report(train_loss=1.0, validation_loss=1.0)
    assert (tmp_path / "checkpoint.pt").exists() == (len(handed) == 2)


def drawn(trial: Trial, stop_after: int | None = None) -> list[torch.Tensor]:
    """The weights at the end of a run that draws numbers; killed after so many epochs."""
    torch.manual_seed(trial.seed)
    model = torch.nn.Linear(3, 1)
    optimizer = Adam(model.parameters(), lr=trial.lr)
    scheduler, own = trial.scheduler(optimizer, 2), torch.Generator().manual_seed(3)
    for epoch in trial.epochs(model=model, optimizer=optimizer, draws=own):
        for _ in range(2):
            loss = (model(torch.rand(5, 3) + torch.rand(5, 3, generator=own)) ** 2).mean()
            loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        (model(torch.rand(5, 3)) ** 2).mean().backward()  # a batch too few for a step, which goes into the next
        trial.report(train_loss=loss, validation_loss=loss)
        if epoch + 1 == stop_after:
            break
    return [weight.detach().clone() for weight in model.parameters()]


@pytest.mark.parametrize("name", ["StepLR", "ReduceLROnPlateau"])
def test_a_run_goes_on_from_its_last_epoch_as_if_nothing_had_been(new: New, tmp_path: Path, name: str) -> None:
    args = {"StepLR": {"step_size": "30%"}, "ReduceLROnPlateau": {"patience": 0, "threshold": 0.9}}[name]
    schedule = written(name, args=args)
    whole = drawn(new(schedule, epochs=5))
    undisturbed = told(tmp_path)
    (tmp_path / "checkpoint.pt").unlink()
    drawn(new(schedule, epochs=5), stop_after=4)  # the checkpoint is that of the second, so that the third is repeated
    assert (tmp_path / "checkpoint.pt").exists()
    resumed = drawn(new(schedule, epochs=5))
    assert all(map(torch.equal, whole, resumed))
    assert told(tmp_path) == undisturbed


def test_parameters_without_a_module_are_kept_in_their_list(new: New, tmp_path: Path) -> None:
    """The script and its optimizer hold the same tensors under other names."""

    def descended(trial: Trial, stop_after: int = 0) -> list[torch.Tensor]:
        torch.manual_seed(trial.seed)
        weight, bias = (torch.ones(2, requires_grad=True) for _ in range(2))
        parameters = [weight, bias]
        optimizer = SGD(parameters, lr=trial.lr)
        scheduler = trial.scheduler(optimizer, 1)
        for epoch in trial.epochs(parameters=parameters, optimizer=optimizer):
            optimizer.zero_grad()
            (weight**2 + bias).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            scheduler.step()
            trial.report(train_loss=1.0, validation_loss=1.0)
            if epoch + 1 == stop_after:
                break
        return [weight.detach(), bias.detach()]

    whole = descended(new(rates=[0.1] * 4, epochs=4))
    (tmp_path / "checkpoint.pt").unlink()
    descended(new(rates=[0.1] * 4, epochs=4), stop_after=3)
    assert (tmp_path / "checkpoint.pt").exists()
    assert all(map(torch.equal, whole, descended(new(rates=[0.1] * 4, epochs=4))))


def test_a_framework_that_keeps_the_schedulers_state_goes_on_with_it(new: New, tmp_path: Path) -> None:
    schedule = written("StepLR", args={"step_size": "30%"})
    trained(new(schedule))
    undisturbed = told(tmp_path)
    before = new(schedule)
    trained(before, epochs=2)
    state, draws = before._scheduler.state_dict() if before._scheduler else {}, torch.rand(3)
    after = new(schedule)
    optimizer = optimizer_of(after)
    scheduler: Scheduler = after.scheduler(optimizer, STEPS)
    scheduler.load_state_dict(state)
    assert torch.equal(torch.rand(3), draws)
    for _ in range(STEPS):
        step(optimizer)
        scheduler.step()
    after.report(train_loss=1.0, validation_loss=0.5)
    assert told(tmp_path) == undisturbed


def test_by_hand_it_is_the_problem_of_params_yaml_or_plain_defaults(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PIPELINE_TRIAL", raising=False)
    monkeypatch.setattr(sys, "argv", ["inputs/train.py"])
    trial = Trial()
    assert (trial.budget, trial.lr, trial.seed) == (1, 1e-3, 0)
    assert "trial: started by hand, as a constant rate, for there is no params.yaml here" in capsys.readouterr().err
    problem = "toy: {script: train.py, optimizer: {lr: 0.2}, epochs: 3}"
    schedulers = "{StepLR: {args: {step_size: 34%}, lr: 50%}}"
    text = f"seeds: 2\nproblems: {{{problem}}}\nschedulers: {schedulers}\nreport: {{baseline: StepLR}}\n"
    (here / "params.yaml").write_text(text, "utf-8")
    trial = Trial()
    assert (trial.budget, trial.lr, trial.seed) == (3, 0.1, 0)
    assert [each for each, _ in trained(trial)[::STEPS]] == pytest.approx([0.1, 0.01, 0.001])
    assert "started by hand, as problem toy, StepLR: seed 0, peak rate 0.1, epochs: 3" in capsys.readouterr().err
    assert not list(here.glob("lines*"))
