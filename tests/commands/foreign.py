"""Tables of repeated runs as people have them: by the tools themselves where these are here, else written as they do."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

EFFECTS = {"constant": 0.0, "cosine": -0.05, "linear": -0.048, "step": 0.001}
Run = tuple[str, int, float]


def runs(effects: dict[str, float] = EFFECTS, seeds: int = 6, sd: float = 0.02, own: float = 0.007, draw: int = 0) -> list[Run]:
    """Label, seed and loss; ``sd`` is what the labels have in common on a seed, ``own`` what they have not."""
    rng = np.random.default_rng(draw)
    common = rng.normal(0, sd, seeds)
    return [
        (label, seed, float(0.5 + effect + common[seed] + rng.normal(0, own)))
        for label, effect in effects.items()
        for seed in range(seeds)
    ]


def plain(path: Path, some: list[Run]) -> Path:
    pd.DataFrame(some, columns=["scheduler", "seed", "val_loss"]).to_csv(path, index=False)
    return path


def wandb_runs(path: Path, some: list[Run]) -> Path:
    """The runs table of Weights & Biases, exported as CSV: everything in quotes."""
    names = (
        "Name State Notes User Tags Created Runtime Sweep epochs learning_rate lr_scheduler seed epoch train_loss val_accuracy"
    )
    lines = [",".join(f'"{name}"' for name in [*names.split(), "val_loss"])]
    for n, (label, seed, loss) in enumerate(some):
        start = f'"fancy-sweep-{n}","finished","-","me","","2024-05-01T10:00:00.000Z","{60 + n}","abc"'
        lines.append(f'{start},"10","0.1","{label}","{seed}","10","{loss / 2}","{1 - loss}","{loss}"')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def wandb_chart(path: Path, some: list[Run]) -> Path:
    """The export of a chart: a row per step, three columns per run."""
    columns: dict[str, list[float]] = {"Step": [0, 10, 20]}
    for label, seed, loss in some:
        for end, least in (("", 0), ("__MIN", 0.01), ("__MAX", -0.01)):
            columns[f"{label}-seed{seed} - val_loss{end}"] = [loss + 1, loss + 0.5, loss - least]
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def trainer(path: Path, some: list[Run]) -> Path:
    """What a sweep over Hugging Face's Trainer is gathered into: ``trainer.evaluate()`` beside its arguments."""
    rows = [
        {
            "output_dir": f"out/{label}/{seed}", "lr_scheduler_type": label, "learning_rate": 2e-5, "seed": seed, "epoch": 3.0,
            "eval_loss": loss, "eval_accuracy": 1 - loss, "eval_runtime": 1.2 + seed, "eval_samples_per_second": 100.0 - seed,
            "train_loss": loss / 2,
        }
        for label, seed, loss in some
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def search_runs(path: Path, some: list[Run]) -> Path:
    """``mlflow.search_runs().to_csv()``."""
    rows = [
        {
            "run_id": f"{n:032x}", "experiment_id": "1", "status": "FINISHED", "artifact_uri": f"file:///a/{n}",
            "start_time": "2024-05-01 10:00:00+00:00", "end_time": "2024-05-01 10:01:00+00:00", "metrics.train_loss": loss / 2,
            "metrics.val_loss": loss, "params.seed": str(seed), "params.scheduler": label, "params.lr": "0.1",
            "tags.mlflow.runName": f"bold-cat-{n}", "tags.mlflow.source.name": "train.py", "tags.mlflow.user": "me",
        }
        for n, (label, seed, loss) in enumerate(some)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(path)
    return path


def trials(path: Path, some: list[Run]) -> Path:
    """``study.trials_dataframe().to_csv()`` of a grid over scheduler and seed."""
    import optuna

    of = {(label, seed): loss for label, seed, loss in some}
    labels, seeds = sorted({label for label, _ in of}), sorted({seed for _, seed in of})
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.GridSampler({"scheduler": labels, "seed": seeds}, seed=0))

    def objective(trial: "optuna.Trial") -> float:
        return of[trial.suggest_categorical("scheduler", labels), trial.suggest_int("seed", seeds[0], seeds[-1])]

    study.optimize(objective, n_trials=len(of))
    study.trials_dataframe().to_csv(path)
    return path


def cv_results(path: Path, folds: int = 5) -> Path:
    """``GridSearchCV.cv_results_`` of a real search: three labels by ten folds."""
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    x, y = make_classification(300, random_state=0)
    search = GridSearchCV(LogisticRegression(), {"C": [1e-4, 1.0, 1.001]}, cv=folds).fit(x, y)
    pd.DataFrame(search.cv_results_).to_csv(path, index=False)
    return path


def figures(text: str) -> list[str]:
    """Every number in a printed table."""
    return re.findall(r"[+-]?\d+\.\d+", text)


def sheet(path: Path, some: list[Run]) -> Path:
    """A spreadsheet: a column per label, a row per seed."""
    frame = pd.DataFrame(some, columns=["label", "seed", "loss"])
    frame.pivot(index="seed", columns="label", values="loss").reset_index().to_csv(path, index=False)
    return path


def json_lines(path: Path, some: list[Run]) -> Path:
    """A log of runs: an object a line, its configuration within."""
    rows = [{"config": {"scheduler": label, "seed": seed}, "summary": {"val_loss": loss}} for label, seed, loss in some]
    path = path.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
