"""Small studies from the data to the report: headline, script, model and verdict speak of one and the same configuration."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.summary import at_most
from pipeline.commands.answer import lines_of
from pipeline.config import files
from pipeline.config.params import Params
from pipeline.runs import results
from pipeline.runs.champion import Champion
from pipeline.stages import confirm, report, sweep, train, tune
from tests.problems.helpers import from_files
from tests.search import helpers

FEW = (("trials: 12, batch: 4", "trials: 3, batch: 3"), ("device: cpu\n", "device: cpu\nkeep_model: true\n"))
STUDIES: dict[str, list[helpers.Edit]] = {
    "as it is": [],
    "nothing is too large to be forgiven": [("{every: 1, ", "{every: 1, matters: 100%, ")],
    "nothing is small enough": [("{every: 1, ", "{every: 1, matters: 0.0001%, ")],
    "some diverge": [("lr: {low: 1%, high: 1000%}", "lr: {low: 1000%, high: 100000%}")],
    "the best rates are high": [("SGD, lr: 0.5", "SGD, lr: 0.005")],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "edits",
    STUDIES.values(),
    ids=STUDIES,
)
def test_all_speak_of_one_configuration(edits: list[helpers.Edit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    helpers.problem(*FEW, *edits)
    params = helpers.params(*FEW, *edits)
    with helpers.shown_here():
        for stage in (train, tune, confirm, sweep):
            stage.main("tiny")
        report.main()
    chosen: Any = pd.read_csv("reports/evidence/choices.csv").iloc[-1]
    label, best = chosen["scheduler"], results.read_best("tiny")[chosen["scheduler"]]
    assert chosen["variant"] == "recommended"
    row = model_of(params)
    assert (row["variant"], row["scheduler"], row["run"]) == ("recommended", label, chosen["run"])
    assert json.loads(row["args"]) == best["args"]
    script = " ".join(Path("reports/best/tiny.py").read_text("utf-8").split())
    assert script.startswith(f'"""{label} on tiny')
    assert f"LR = {row['lr']:.10g} " in script
    headline = re.compile(rf"(Take|Keep) {label}: ")
    assert headline.search(script)
    assert headline.search(Path("reports/report.html").read_text("utf-8"))
    all_name_it(label, row, chosen)
    comparison = pd.read_csv("reports/comparison.csv").query("variant == 'recommended'").set_index("scheduler")
    bounds = comparison["regret_bound"].fillna(np.inf)
    within = bounds[bounds <= params.report.margin]
    assert bounds[label] == (bounds.min() if within.empty else within[label])
    if "ConstantLR" in within:
        assert label == "ConstantLR"


def all_name_it(label: str, row: Any, chosen: Any) -> None:
    """The terminal's lines, the page's first screen and the metrics: the same scheduler, rate and bound."""
    (answer,) = json.loads(Path("reports/answer.json").read_text("utf-8"))["problems"]
    use, cost, rate, *_ = (line for title, line in answer["titled"] if title != "but")
    assert use.startswith(f"{label} with SGD, peak learning rate {float(f'{row.lr:.2g}'):.10g}")
    bound = at_most(float(chosen["regret_bound"]))
    assert bound in cost or cost.startswith(("nothing", "not settled: its loss is the lowest"))
    assert rate.startswith("anything from ") == np.isfinite(chosen["tolerance"])
    printed = " ".join("\n".join(lines_of({"problems": [answer], "next": []}, 80)).split())
    page = " ".join(re.sub(r"<[^>]+>", " ", Path("reports/report.html").read_text("utf-8")).split())
    for line in (use, cost, rate):
        assert line in printed
    assert cost.replace("'", "&#39;") in page
    assert answer["rate"] in page
    for other in answer["alternatives"]:
        assert f"{other['scheduler']} , {other['what']}: {other['words']}" in page
    metrics = json.loads(Path("reports/metrics.json").read_text("utf-8"))["tiny"]
    assert (metrics["lr"], metrics["validation_loss"] > 0) == (row["lr"], True)
    assert metrics.get("regret_bound", np.inf) == chosen["regret_bound"]


def model_of(params: Params) -> Any:
    """The row of the run whose model was kept; its test figures are those of that row."""
    weights = (files.REPORTS / "best/tiny.safetensors").read_bytes()
    runs, _ = results.read_runs("tiny", "confirm")
    row = runs[runs["run"] == results.run_of(weights)].iloc[0]
    problem = from_files(params, "tiny")
    rows = problem.data.split(int(row["seed"])).test
    shares = Champion.of(problem, weights, int(row["seed"])).predict(problem.data.x[rows]).filter(like="p(").to_numpy()
    loss = -np.log(shares[np.arange(len(rows)), problem.data.y[rows]]).mean()
    assert loss == pytest.approx(row["test_loss"], rel=1e-4)
    return row
