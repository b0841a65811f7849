"""The best run as a model: the weights that were kept, predictions from raw samples, MLflow's registry and a server of it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import torch
from safetensors.torch import load, save

from pipeline.catalogue import CATALOGUE
from pipeline.config.params import load_params
from pipeline.data.tables import dataset_of
from pipeline.engine.training import train_by
from pipeline.problems.problem import Problem
from pipeline.problems.run import History, collect
from pipeline.runs import results
from pipeline.runs.champion import Champion, ChampionError, best_of, named, weights_of
from pipeline.stages import dataset, report, track, train
from pipeline.tracking.trackers import trackers
from tests.engine.helpers import CPU, MLP, Builder, run_of
from tests.engine.helpers import train as train_stack
from tests.problems.helpers import from_files, from_frame
from tests.waiting import until

ROOT = Path(__file__).parents[2]
SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"args": {"step_size": "30%"}},
    "Wild": {"name": "ConstantLR", "args": {"factor": 1.0}, "lr": 1e9},
}


def trained(problem: Problem) -> History:
    runs = [run_of(problem, label, seed) for label in problem.schedules for seed in range(2)]
    return train_stack(problem, runs, torch.float32)


def of_best(problem: Problem) -> tuple[Champion, History, int]:
    """The champion, what it was among, and its place there."""
    history = trained(problem)
    best = best_of(history)
    assert best is not None
    return Champion.of(problem, weights_of(history, best), history.runs[best].seed), history, best


def test_the_best_is_the_lowest_validation_loss_of_those_that_did_not_diverge(new_problem: Builder) -> None:
    history = trained(new_problem(SCHEDULES, model=MLP))
    best = best_of(history)
    losses = np.where(history.diverged, np.inf, history.curves.validation_loss[-1])
    assert history.diverged.any()
    assert losses[best] == losses.min()


def test_where_all_diverged_nothing_is_kept(new_problem: Builder) -> None:
    problem = new_problem(SCHEDULES)
    history = train_stack(problem, [run_of(problem, "Wild"), run_of(problem, "Wild", 1)])
    assert best_of(history) is None
    kept = named(b"", "")
    assert load(kept) == {}
    assert results.run_of(kept) == ""


def test_a_file_of_weights_names_its_run(new_problem: Builder) -> None:
    history = trained(new_problem(SCHEDULES))
    weights = weights_of(history, 1)
    kept = named(weights, "abc")
    assert results.run_of(kept) == "abc"
    assert load(kept).keys() == load(weights).keys()
    for name, values in load(kept).items():
        assert torch.equal(values, history.outcome.weights[name][1])


def test_its_predictions_have_the_loss_that_was_reported(new_problem: Builder) -> None:
    champion, history, best = of_best(problem := new_problem(SCHEDULES, model={**MLP, "dropout": 0.2}))
    rows = problem.data.split(history.runs[best].seed).test
    found = champion.predict(problem.data.x[rows])
    assert list(found) == ["prediction", "p(0)", "p(1)", "p(2)"]
    shares = found.filter(like="p(").to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    loss = -np.log(shares[np.arange(len(rows)), problem.data.y[rows]]).mean()
    assert loss == pytest.approx(history.outcome.test_loss[best], rel=1e-5)
    hits = (found["prediction"].to_numpy() == problem.data.y[rows].astype(str)).mean()
    assert hits == pytest.approx(history.outcome.test_metric[best])


def a_table() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    size, colour = draw.normal(50, 9, 120), np.resize(["red", "green", "blue"], 120)
    return pd.DataFrame({"size": size, "colour": colour, "price": 2 * size + 10 * (colour == "red"), "sold": colour == "red"})


def of_table(
    new_problem: Builder,
    target: str,
    more_columns: dict[str, Any] | None = None,
    how: dict[str, Any] | None = None,
    **more: Any,
) -> tuple[Problem, pd.DataFrame]:
    """A problem on the table, and its dataset, made as ``how`` says; ``more`` are further keys of the problem."""
    given = {"model": {"name": "linear"}, "optimizer": {"name": "SGD", "lr": 0.1}, "epochs": 40, "batch_size": 12, **more}
    problems = {"table": {"dataset": {"path": "my.csv", "target": target}, **given}}
    text = json.dumps({"seeds": 2, "problems": problems, "schedulers": SCHEDULES, "report": {"baseline": "StepLR"}})
    drop = [name for name in ("price", "sold") if name != target]
    data = dataset_of(a_table().assign(**more_columns or {}), target, drop=drop, **how or {})
    return from_frame(new_problem.params(text), "table", data), data


def test_what_the_dataset_made_of_columns_it_makes_of_those_it_is_given(new_problem: Builder) -> None:
    """Missing categories, rare ones, parts of dates, and where a number is missing."""
    shop = ["often", " often", None, *[f"rare {number}" for number in range(3)]] * 20
    more: dict[str, Any] = {
        "shop": shop,
        "age": [None, 1.0, 2.0, 3.0] * 30,
        "day": pd.date_range("2024-01-01", periods=120, tz="Europe/Berlin"),
    }
    how = {"missing": "indicate", "most_categories": 3, "dates": {"day": ["month"]}}
    problem, data = of_table(new_problem, "price", more, how)
    champion, _, _ = of_best(problem)
    own = a_table().assign(**more)
    np.testing.assert_allclose(champion.predict(own), champion.predict(champion.example(120)), rtol=1e-6)  # single precision
    assert [column["name"] for column in data.attrs["columns"]][-3:] == ["age", "age (missing)", "day (month)"]
    assert np.isfinite(champion.predict(own.assign(shop="never seen"))["prediction"]).all()
    with pytest.raises(ChampionError, match="the column day holds no dates such as 2024-12-31"):
        champion.predict(own.assign(day="soon"))


def test_a_table_is_taken_as_it_is_and_a_number_told_in_its_own_unit(new_problem: Builder) -> None:
    problem, _ = of_table(new_problem, "price")
    champion, _, _ = of_best(problem)
    found = champion.predict(pd.DataFrame({"unused": [1, 2], "colour": ["red", "blue"], "size": [50.0, 50.0]}))
    assert found["prediction"].tolist() == pytest.approx([110, 100], abs=3)
    example = champion.example()
    assert isinstance(example, pd.DataFrame)
    pd.testing.assert_frame_equal(
        example, a_table()[["size", "colour"]].head(3), check_exact=False, rtol=1e-6, check_dtype=False
    )


def test_of_arrays_too_a_number_is_told_in_its_own_unit(new_problem: Builder) -> None:
    """Of images, tokens and plain rows, whose inputs stay as they are."""
    base = new_problem(SCHEDULES, model=MLP, epochs=60)
    y = 1e6 + 500 * base.data.x[:, 0].astype(float)
    problem = replace(base, data=replace(base.data, y=y))
    champion, history, best = of_best(problem)
    rows = problem.data.split(history.runs[best].seed).test
    found = champion.predict(problem.data.x[rows])["prediction"].to_numpy()
    deviation = y[problem.data.split(history.runs[best].seed).train].std()
    assert (((found - y[rows]) / deviation) ** 2).mean() == pytest.approx(history.outcome.test_loss[best], rel=1e-4)
    assert np.abs(found - y[rows]).max() < deviation


@pytest.mark.parametrize("hours", [[8, 9, 10], [8, 9, None]], ids=["whole", "with an empty cell"])
def test_a_number_that_is_a_category_has_one_name(new_problem: Builder, hours: list[int | None]) -> None:
    """However it is written: pandas makes 8.0 of it in a column with an empty cell, and JSON knows but one kind of number."""
    column = pd.Series(np.resize(np.array(hours, dtype=float if None in hours else int), 120))
    problem, _ = of_table(new_problem, "price", {"hour": column}, {"categorical": ["hour"], "missing": "impute"})
    weights = save(problem.new_model(0, "final").state_dict(), metadata={"run": "x"})
    champion = Champion.of(problem, weights, 0)
    first, second, *_ = champion.example(2)["hour"]
    assert (first, second) == ("8", "9")
    rows = pd.DataFrame({"size": 50.0, "colour": "red", "hour": pd.Series([8, 8.0, "8", "8.0", 9], dtype=object)})
    *same, other = champion.predict(rows)["prediction"]
    same += champion.predict(rows[:2].astype({"hour": float}))["prediction"].tolist()
    assert same == pytest.approx([same[0]] * 6, rel=1e-5)
    assert other != pytest.approx(same[0], rel=1e-3)


def test_classes_have_their_names(new_problem: Builder) -> None:
    problem, _ = of_table(new_problem, "sold", loss={"name": "BCEWithLogitsLoss"})
    champion, _, _ = of_best(problem)
    found = champion.predict(pd.DataFrame({"colour": ["red", "blue"], "size": [50.0, 50.0]}))
    assert found["prediction"].tolist() == ["True", "False"]
    assert list(found) == ["prediction", "p(False)", "p(True)"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame({"size": [1.0]}), r"the columns colour are missing"),
        (
            pd.DataFrame({"size": [1.0], "colour": ["pink"]}),
            r"the column colour has no category 'pink' \(one of blue, green, red\)",
        ),
    ],
)
def test_what_it_cannot_take_is_told(new_problem: Builder, given: pd.DataFrame, message: str) -> None:
    champion, _, _ = of_best(of_table(new_problem, "price")[0])
    with pytest.raises(ChampionError, match=message):
        champion.predict(given)


def test_weights_of_another_model_are_refused(new_problem: Builder) -> None:
    other = save({"bias": torch.ones(3)}, metadata={"run": "x"})
    with pytest.raises(ChampionError, match="the weights are of another model than mlp"):
        Champion.of(new_problem(SCHEDULES, model=MLP), other, 0)


def test_running_statistics_are_kept(new_problem: Builder, own_registries: None) -> None:
    """What is trained is more than parameters, side by side too."""
    from torch import nn

    from pipeline.problems.models import register

    @register("normed")
    def normed(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(inputs), nn.Linear(inputs, outputs))

    problem = new_problem(SCHEDULES, model={"name": "normed"})
    runs, rows = [run_of(problem, "StepLR"), run_of(problem, "StepLR", seed=1)], problem.data.split(1).test
    for way in ("tensors", "loop"):
        history = collect(runs, train_by(way, problem, runs, device=CPU))
        champion = Champion.of(problem, weights_of(history, 1), 1)
        shares = champion.predict(problem.data.x[rows]).filter(like="p(").to_numpy()
        loss = -np.log(shares[np.arange(len(rows)), problem.data.y[rows]]).mean()
        assert loss == pytest.approx(history.outcome.test_loss[1], rel=1e-5)


# Through the stages, into MLflow and behind a server

PARAMS = """
keep_model: true
seeds: 2
problems:
  houses:
    dataset: {path: houses.csv, target: price, drop: [sold]}
    model: {name: mlp, hidden: [4]}
    optimizer: {name: Adam, lr: 0.05}
    epochs: 20
    batch_size: 16
  marks:
    dataset: {path: marks.npz, target: kind}
    model: {name: cnn, channels: [2], groups: 1}
    optimizer: {name: Adam, lr: 0.05}
    epochs: 10
    batch_size: 16
    engine: tensors
schedulers:
  StepLR: {args: {step_size: 30%}}
  ConstantLR: {args: {factor: 1.0}}
report: {baseline: ConstantLR}
"""


def marks() -> dict[str, Any]:
    """Images with one bright row or column."""
    images, kind = np.zeros((60, 1, 4, 4), dtype=np.float32), np.resize(["row", "column"], 60)
    for number, image in enumerate(images[:, 0]):
        place = number // 2 % 4
        image[(place, slice(None)) if kind[number] == "row" else (slice(None), place)] = 1
    return {"image": images, "kind": kind}


@pytest.fixture
def champion_in_mlflow(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (repository / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (repository / "inputs").mkdir()
    a_table().to_csv(repository / "inputs" / "houses.csv", index=False)
    np.savez(repository / "inputs" / "marks.npz", **marks())
    shutil.copytree(ROOT / "pipeline", repository / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PYTHONWARNINGS", "")  # MLflow warns of its own ways with models, and so does its server
    for problem in ("houses", "marks"):
        dataset.main(problem)
        train.main(problem)
    report.main()
    track.main()
    return repository


@pytest.fixture
def served(champion_in_mlflow: Path) -> Iterator[Callable[[Any], Any]]:
    """Asks a real `mlflow models serve` of the champion."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        "models:/houses@champion",
        "-p",
        str(port),
        "--env-manager",
        "local",
    ]
    folder = str(Path(sys.executable).parent)
    given = {"MLFLOW_TRACKING_URI": f"sqlite:///{champion_in_mlflow / 'mlflow.db'}", "PATH": f"{folder}:{os.environ['PATH']}"}
    with (champion_in_mlflow / "serve.log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **given}, stdout=log, stderr=log, start_new_session=True)
        try:
            yield lambda content: ask(f"http://127.0.0.1:{port}", content, champion_in_mlflow / "serve.log")
        finally:
            os.killpg(server.pid, 15)
            server.wait()


def ask(address: str, content: Any, log: Path) -> Any:
    """The server's answer, once it is there."""
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(content).encode(), {"Content-Type": "application/json"}
    )

    def is_there() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/ping"):
            return True
        return False

    until(is_there, f"the server answers, of which {log} tells")
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")  # both are of MLflow's own
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
@pytest.mark.slow
def test_the_champion_is_served(
    served: Callable[[Any], Any], champion_in_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{champion_in_mlflow / 'mlflow.db'}")
    monkeypatch.setattr(sys, "path", [*sys.path])
    rows: dict[str, Any] = {"columns": ["size", "colour"], "data": [[50.0, "red"], [40.0, "blue"]]}
    answer = served({"dataframe_split": rows})
    weights = (champion_in_mlflow / "reports/best/houses.safetensors").read_bytes()
    runs, _ = results.read_runs("houses", "train")
    best = runs[runs["run"] == results.run_of(weights)].iloc[0]
    beside = runs["validation_loss"] - runs.groupby("seed")["validation_loss"].transform("mean")
    assert beside[runs["run"] == best["run"]].item() == beside[runs["scheduler"] == best["scheduler"]].min()
    problem = from_files(load_params(CATALOGUE), "houses")
    ours = Champion.of(problem, weights, int(best["seed"])).predict(pd.DataFrame(rows["data"], columns=rows["columns"]))
    assert [row["prediction"] for row in answer["predictions"]] == pytest.approx(ours["prediction"].tolist(), rel=1e-6)
    assert ours["prediction"].tolist() == pytest.approx([110, 80], abs=10)

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{champion_in_mlflow / 'mlflow.db'}")
    with trackers() as told:
        told.tell("register", "houses")  # the same again adds nothing
    (version,) = client.search_model_versions("name = 'houses'")
    assert client.get_model_version_by_alias("houses", "champion").version == version.version
    assert version.tags["fingerprint"] == best["run"]
    assert client.get_run(str(version.run_id)).data.tags["fingerprint"] == best["run"]
    houses, marked = loaded("houses"), loaded("marks")
    assert str(houses.metadata.signature.inputs) == "['size': double (required), 'colour': string (required)]"
    assert str(houses.metadata.signature.outputs) == "['prediction': double (required)]"
    pd.testing.assert_frame_equal(houses.input_example, a_table()[["size", "colour"]].head(3), rtol=1e-6)
    assert str(marked.metadata.signature.inputs) == "[Tensor('float32', (-1, 1, 4, 4))]"
    assert marked.metadata.signature.outputs.input_names() == ["prediction", "p(column)", "p(row)"]
    np.testing.assert_array_equal(marked.input_example, marks()["image"][:3])
    for model in (houses, marked):
        assert len(model.predict(model.input_example)) == 3
    assert set(marked.predict(marks()["image"])["prediction"]) <= {"row", "column"}


def loaded(problem: str) -> Any:
    """The champion as a user of MLflow loads it."""
    import mlflow

    return mlflow.pyfunc.load_model(f"models:/{problem}@champion")


@pytest.mark.usefixtures("told_here")
def test_a_server_that_is_not_there_costs_one_warning(
    repository: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    kept = repository / "reports/best/houses.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(save({"weight": torch.ones(2)}, metadata={"run": "x"}))
    with trackers() as told:
        told.tell("register", "houses")
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("pipeline.")]
    assert line.startswith("MLflow was not told everything: ")
    assert "`make mirror` rebuilds it" in line


@pytest.mark.parametrize(
    ("metric", "theirs"),
    [
        pytest.param({"name": "MeanAbsoluteError"}, sklearn.metrics.mean_absolute_error, marks=pytest.mark.slow),
        pytest.param(
            {"name": "MeanSquaredError", "squared": False}, sklearn.metrics.root_mean_squared_error, marks=pytest.mark.slow
        ),
        ({"name": "R2Score"}, sklearn.metrics.r2_score),
    ],
)
@pytest.mark.parametrize("how", [{"transform": "log", "weight": "area"}, {"more_targets": ["area"]}], ids=["log", "several"])
def test_the_metric_is_that_of_predictions_in_the_targets_own_unit(
    new_problem: Builder, metric: dict[str, Any], theirs: Callable[..., float], how: dict[str, Any]
) -> None:
    """As scikit-learn computes it from what the kept model predicts, and from the table as it is."""
    area = {"area": 1000 * np.random.default_rng(1).gamma(3, 1, len(a_table()))}
    problem, data = of_table(new_problem, "price", how=how, more_columns=area, metric=metric, resample=False)
    champion, history, best = of_best(problem)
    test = data["split"] == "test"
    predicted = champion.predict(champion.example(len(data)))[test]
    names = ["prediction(price)", "prediction(area)"] if "more_targets" in how else ["prediction"]
    assert list(predicted) == names
    expected = theirs(data.loc[test, ["y", "y1"][: len(names)]], predicted)
    assert history.outcome.test_metric[best] == pytest.approx(expected, rel=1e-4)
