"""What a user would write in place of this project: one run at a time, logged to MLflow, searched with Optuna.

``python study_side.py lightning|loop FILE``: FILE is JSON with the paths of a dataset, the problem's numbers, and how many
logged runs and trials to do of each; prints the seconds of each as JSON. It imports nothing of the pipeline.
"""

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer, int, float], Any]] = {
    "StepLR": lambda optimizer, epochs, x: torch.optim.lr_scheduler.StepLR(optimizer, max(1, int(x * epochs))),
    "CosineAnnealingLR": lambda optimizer, epochs, x: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
    "ExponentialLR": lambda optimizer, epochs, x: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9 + x / 10),
}
Parts = dict[str, tuple[torch.Tensor, torch.Tensor]]


def load(given: dict[str, Any]) -> Parts:
    """The parts of the dataset on file."""
    data = pd.read_parquet(given["data"])
    x = torch.tensor(data.drop(columns=["split", "y"]).to_numpy("float32"))
    y = torch.tensor(data["y"].to_numpy("int64"))
    split = data["split"].to_numpy()
    return {part: (x[split == part], y[split == part]) for part in ("train", "validation", "test")}


def new_model(given: dict[str, Any]) -> nn.Module:
    """A linear layer, or an MLP with one hidden layer."""
    inputs, hidden, outputs = given["inputs"], given["hidden"], given["outputs"]
    if not hidden:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def loop_run(given: dict[str, Any], parts: Parts, name: str, lr: float, shape: float, seed: int, logged: bool) -> float:
    """The final validation loss of a run in a plain loop; batches are drawn with randperm, which is the faster way."""
    torch.manual_seed(seed)
    model = new_model(given)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    scheduler = SCHEDULERS[name](optimizer, given["epochs"], shape)
    (x, y), (vx, vy) = parts["train"], parts["validation"]
    loss = torch.tensor(0.0)
    if logged:
        mlflow.start_run(run_name=f"{name} {seed}")
        mlflow.log_params({"scheduler": name, "lr": lr, "seed": seed})
    for epoch in range(given["epochs"]):
        total = 0.0
        for rows in torch.randperm(len(y)).split(given["batch"]):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            batch = nn.functional.cross_entropy(model(x[rows]), y[rows])
            batch.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += batch.item() * len(rows)
        with torch.no_grad():
            outputs = model(vx)
            loss = nn.functional.cross_entropy(outputs, vy)
            accuracy = (outputs.argmax(1) == vy).float().mean()
        if logged:
            rate = optimizer.param_groups[0]["lr"]
            figures = {"lr": rate, "train_loss": total / len(y), "validation_loss": loss.item()}
            mlflow.log_metrics({**figures, "validation_accuracy": accuracy.item()}, step=epoch)
        scheduler.step()
    if logged:
        mlflow.end_run()
    return loss.item()


def lightning_run(given: dict[str, Any], parts: Parts, name: str, lr: float, shape: float, seed: int, logged: bool) -> float:
    """The final validation loss of a run with Lightning's Trainer, MLFlowLogger and LearningRateMonitor."""
    import lightning
    from lightning.pytorch.callbacks import LearningRateMonitor
    from lightning.pytorch.loggers import MLFlowLogger

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = new_model(given)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = nn.functional.cross_entropy(self.model(batch[0]), batch[1])
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            outputs = self.model(batch[0])
            self.log("validation_loss", nn.functional.cross_entropy(outputs, batch[1]))
            self.log("validation_accuracy", (outputs.argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr)
            return [optimizer], [SCHEDULERS[name](optimizer, given["epochs"], shape)]

    lightning.seed_everything(seed, verbose=False)
    trainer = lightning.Trainer(
        max_epochs=given["epochs"], accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1_000_000,
        logger=MLFlowLogger("study", run_name=f"{name} {seed}", tracking_uri=given["mlflow"]) if logged else False,
        callbacks=[LearningRateMonitor("epoch")] if logged else [],
        check_val_every_n_epoch=1 if logged else given["epochs"],
    )  # fmt: skip
    training = DataLoader(TensorDataset(*parts["train"]), given["batch"], shuffle=True)
    trainer.fit(Module(), training, DataLoader(TensorDataset(*parts["validation"]), 1000))
    return float(trainer.callback_metrics["validation_loss"])


def main() -> None:
    """Time a few of each."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    train = {"lightning": lightning_run, "loop": loop_run}[sys.argv[1]]
    given: dict[str, Any] = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    parts, names = load(given), list(SCHEDULERS)
    mlflow.set_tracking_uri(given["mlflow"])
    mlflow.set_experiment("study")
    train(given, parts, names[0], given["lr"], 0.3, 0, True)  # what is done once is not counted
    begun = time.perf_counter()
    for number in range(given["logged"]):
        train(given, parts, names[number % len(names)], given["lr"], 0.3, number, True)
    logged = (time.perf_counter() - begun) / given["logged"]
    study = optuna.create_study(storage=given["optuna"], sampler=optuna.samplers.TPESampler(seed=0, multivariate=True))

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", given["lr"] / 100, given["lr"] * 10, log=True)
        return train(given, parts, "StepLR", lr, trial.suggest_float("shape", 0.05, 0.6), 0, False)

    begun = time.perf_counter()
    study.optimize(objective, n_trials=given["trials"])
    print(json.dumps({"logged": logged, "trial": (time.perf_counter() - begun) / given["trials"]}))


if __name__ == "__main__":
    main()
