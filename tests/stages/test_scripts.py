"""A problem that is a training script, from params.yaml to the report; and scripts that do what no script should."""

import contextlib
import json
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from pipeline.catalogue import CATALOGUE
from pipeline.commands import check as look
from pipeline.commands import schedulers
from pipeline.config.errors import PipelineError
from pipeline.config.params import load_params
from pipeline.config.problem_params import Script
from pipeline.problems.loading import load_problem
from pipeline.problems.scripts import ScriptProblem, digests
from pipeline.schedulers.replay import trace
from pipeline.stages import check, confirm, dataset, report, sweep, train, tune
from tests.conftest import ROOT
from tests.search import helpers
from tests.waiting import until

# Speaks the protocol without torch, whose import alone takes a second: descends a parabola by the rates that it is handed.
SCRIPT = """
import json, os, random, sys, time
from pathlib import Path

import part

asked = json.loads(Path(os.environ["PIPELINE_TRIAL"]).read_text())
with open(os.environ["NOTED"], "a") as noted:
    noted.write(asked["label"] + "\\n")
random.seed(asked["seed"])
weight, noise = random.random(), part.NOISE * random.random()


def tell(**line):
    with open(asked["lines"], "a") as lines:
        print(json.dumps(line), file=lines)


# here
for epoch in range(1, asked["epochs"] + 1):
    first = asked["rates"][2 * epoch - 2]
    for rate in asked["rates"][2 * epoch - 2 : 2 * epoch]:
        weight -= rate * (weight - 2 + noise)
    loss = (weight - 2) ** 2 + noise
    tell(epoch=epoch, lr=first, train_loss=loss, validation_loss=loss + noise, validation_metric=-loss)
tell(finish={"test_loss": loss})
"""
PARAMS = """
device: cpu
seeds: 2
problems:
  toy:
    script: {path: train.py, args: {width: 8, deep: true, sizes: [1, 2]}, inputs: [table.csv], steps_per_epoch: 2, timeout: 20}
    optimizer: {lr: 0.1}
    metric: {name: minus the loss}
    epochs: 3
schedulers:
  ConstantLR: {args: {factor: 1.0}}
  StepLR: {args: {step_size: 50%}}
tune: {trials: 2, batch: 2, sampler: tpe, lr: {low: 10%, high: 1000%}}
sweep: {points: 2, budgets: [50%]}
report: {every: 1, baseline: ConstantLR}
"""
STAGES = (train, tune, confirm, sweep)
BARS = (
    r"\r 17%|#7  | 8/48 [00:02<00:11,  3.48it/s]\n\x1b[A\n 0%|   | 0/4 [00:00<?, ?it/s]\n"
    r"8it [01:02, 3.48s/it]\n1/3 ━━ 0:00:01\n"
)
"""As tqdm and rich draw them once more where a script ends in their midst."""


class Study:
    """A small study of a script in the working directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "inputs").mkdir()
        self.write(params=PARAMS)
        for name, text in {"train.py": SCRIPT, "part.py": "NOISE = 0.1\n", "other.py": "", "table.csv": "1\n"}.items():
            (folder / "inputs" / name).write_text(text, "utf-8")

    def write(self, params: str = "", here: str = "") -> None:
        """Another params.yaml, or what the script does beside."""
        if params:
            (self.folder / "params.yaml").write_text(params, "utf-8")
        if here:
            (self.folder / "inputs/train.py").write_text(SCRIPT.replace("# here", here), "utf-8")

    def run(self, *stages: object) -> dict[str, int]:
        """The stages after ``dataset``; how often the script was started, by label, the probe without one."""
        noted = self.folder / "noted.txt"
        noted.write_text("", "utf-8")
        with helpers.shown_here():
            check.main()
            for stage in (dataset, *stages):
                stage.main("toy")  # type: ignore[attr-defined]
        return dict(Counter(noted.read_text("utf-8").splitlines()))

    def runs(self, stage: str = "train") -> pd.DataFrame:
        """Of a stage."""
        return pd.read_parquet(self.folder / f"results/toy/{stage}/runs.parquet")


@pytest.fixture
def study(here: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("NOTED", str(here / "noted.txt"))
    return Study(here)


def failure(study: Study, *stages: object) -> str:
    """The line that a stage ends with."""
    with pytest.raises(PipelineError) as error:
        study.run(*stages)
    (line,) = str(error.value).splitlines()
    return line


def test_a_script_goes_from_params_to_a_report(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    begun = study.run(*STAGES)
    assert (
        "dataset@toy: train.py: the script's own, 2 steps in an epoch, train_loss, validation_loss" in capsys.readouterr().err
    )
    assert begun.pop("") == 1
    assert min(begun.values()) > 20
    with helpers.shown_here():
        report.main()
    answer = json.loads((study.folder / "reports/answer.json").read_text("utf-8"))
    assert [problem["problem"] for problem in answer["problems"]] == ["toy"]
    page = (study.folder / "reports/report.html").read_text("utf-8")
    assert "minus the loss" in page
    assert "path: train.py" in page
    compile((study.folder / "reports/best/toy.py").read_text("utf-8"), "toy.py", "exec")

    # What was used is what is replayed for all other problems, and what the stages ask for is what is reported.
    params = load_params(CATALOGUE)
    problem = load_problem(params, "toy")
    curves = pd.read_parquet(study.folder / "results/toy/train/curves.parquet")
    for label, schedule in problem.schedules.items():
        expected = trace(schedule, problem.optimizers_for(schedule), problem.lr, problem.budget()).lr[::2]
        for _, own in curves[curves["scheduler"] == label].groupby("run"):
            assert own["lr"].tolist() == expected.tolist()
    runs = study.runs("confirm")
    assert np.isfinite(runs[["train_loss", "validation_loss", "validation_metric", "test_loss"]].to_numpy(float)).all()
    assert set(runs["metric"]) == {"minus the loss"}


@pytest.mark.slow
def test_no_run_of_a_script_is_trained_twice(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a second call, not in other processes; what is new is trained alone."""
    study.run(*STAGES)
    before = {path: path.read_bytes() for path in (study.folder / "results").rglob("*.parquet")}
    of_train = {path: content for path, content in before.items() if path.parent.name == "train"}
    assert study.run(*STAGES) == {"": 1}
    study.write(params=PARAMS.replace("tune:", "  REX: {}\ntune:"))
    assert study.run(train) == {"": 1, "REX": 4}
    study.write(params=PARAMS.replace("seeds: 2", "seeds: 3"))
    assert study.run(train) == {"": 1, "ConstantLR": 2, "StepLR": 2}
    study.write(params=PARAMS)
    shutil.rmtree(study.folder / ".state")
    monkeypatch.setenv("PIPELINE_EXECUTOR", "local:2")
    study.run(train)
    assert {path: path.read_bytes() for path in of_train} == of_train
    assert not list((study.folder / ".state/progress").iterdir())


def test_results_begin_anew_where_the_script_or_what_it_reads_has_changed(study: Study) -> None:
    begun = study.run(train)
    (study.folder / "inputs/other.py").write_text("1", "utf-8")  # nobody imports it
    assert study.run(train) == {"": 1}
    changes = {"part.py": "NOISE = 0.2\n", "table.csv": "2\n", "train.py": SCRIPT + "\n"}
    for name, text in changes.items():
        (study.folder / "inputs" / name).write_text(text, "utf-8")
        assert study.run(train) == begun, name
    (study.folder / "inputs/train.py").write_text(SCRIPT, "utf-8")  # behind the back of the stage dataset
    with pytest.raises(PipelineError, match=r"has changed since it was tried out \(train.py\)"), helpers.shown_here():
        tune.main("toy")


def test_modules_above_the_scripts_folder_belong_to_it(here: Path) -> None:
    """As of a project whose scripts put its root into Python's path."""
    inside = {"train.py": "import src.net, json", "../src/net.py": "import parts", "../parts.py": "", "../../parts.py": ""}
    for name, text in {**inside, "../../../outside.py": ""}.items():
        place = here / "inputs/project/tools" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")
    found = digests("toy", Script(path="project/tools/train.py"))
    assert sorted(found) == ["parts.py", "project/parts.py", "project/src/net.py", "project/tools/train.py"]


def test_what_a_script_reads_and_nobody_named_is_told(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """By the texts in it; by what it opens where it imports trial. A change of it would train nothing anew."""
    (study.folder / "inputs/conf").mkdir()
    for name in ("conf/base.yaml", "more.json"):
        (study.folder / "inputs" / name).write_text("1", "utf-8")
    study.write(here="open('table.csv').read(), 'conf', 'base', 'other', 'nothing', '', '.', '..', 'part.py'")
    study.run()
    assert "train.py reads conf, and a change of it would train nothing anew; name it" in capsys.readouterr().err
    (study.folder / "inputs/late.py").write_text("", "utf-8")
    opened = "from pipeline.trial import trial; open('mo' + 're.json').read(); __import__('la' + 'te'); trial._end_probe()"
    study.write(here=opened)
    study.run()
    assert "train.py reads late.py, more.json, and a change" in capsys.readouterr().err


def test_what_a_script_writes_under_inputs_is_told(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs would overwrite each other's. It is no input, whatever texts the script has, and told each time it is written."""
    (study.folder / "inputs/package").mkdir()
    (study.folder / "inputs/package/__init__.py").write_text("", "utf-8")
    written = "(out := Path(__file__).parent / 'out').mkdir(exist_ok=True); (out / 'w.pt').write_text('1')"
    study.write(here=f"import package; {written}")
    for _ in range(2):
        study.run()
        told = capsys.readouterr().err
        assert "warning: train.py writes out under inputs/, where one run overwrites another's" in told
        assert "train.py reads" not in told


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ("raise ValueError('no such table')", "ended with exit code 1 in epoch 1; its last words: .*ValueError: no such table"),
        (
            "open('beside.bin')",
            r"ended with .* such file .*; put it under inputs/ and name it as .*Path\(__file__\).parent .* makes itself$",
        ),
        ("open('/beside.bin')", r"ended with .* such file .*; put it there, or correct its path$"),
        (
            "raise RuntimeError('Parent directory out does not exist.')",
            r"ended with .*; let the script make that folder, os.makedirs\(…, exist_ok=True\), or write into trial.folder",
        ),
        ("import not_here", rf"ended with .*named 'not_here' .*; install it for {sys.executable}, or name a Python"),
        (
            "class Scheduler: pass\nScheduler().step_update(1)",
            "ended with .* no attribute 'step_update' .*; call scheduler.step.. once behind every optimizer.step",
        ),
        (
            "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('data')\nparser.parse_args([])",
            r"ended with exit code 2 .* arguments are required: data .*; its command line is script.args: .* a list of words",
        ),
        ("os.kill(os.getpid(), 9)", r"was killed \(SIGKILL\) in epoch 1; it printed nothing"),
        ("sys.exit()", r"ended after figures of 0 of 3 epochs, and without trial.finish"),
        ("# endless", r"never ends its run: neither it .* has `trial.finish\(…\)`.*; call it once, behind the last epoch"),
        ("tell(epoch=1, lr=asked['lr'], train_loss=1.0)\nsys.exit()", "tells no validation_loss of an epoch"),
        (
            "tell(epoch=1, train_loss=1, validation_loss=1)\nsys.exit()",
            "tells no lr in its line of epoch 1, and the schedule's is 0.09",
        ),
        (
            "tell(epoch=1, lr=0.3, train_loss=1, validation_loss=1)\nsys.exit()",
            "tells an lr of 0.3 .* of epoch 1, .*; train step n by",
        ),
        ("print('x' * 10**7)\nprint('the end')\nsys.exit(3)", "ended with exit code 3 in epoch 1; its last words: .*the end"),
        (
            f"print('No such table\\n{BARS}')\nsys.exit(3)",
            r"ended with exit code 3 in epoch 1; its last words: No such table \(",
        ),
        ("time.sleep(60)", "was ended after 0.5 seconds without a step or a figure"),
        ("tell(epoch=1, train_loss=1, validation_loss=1)  # untold\nsys.exit()", "tells nobody how many steps an epoch has"),
        (
            "print('what stands there', flush=True)\ntell(wrong='it is stepped twice; step it once')\nsys.exit(1)",
            r"it is stepped twice; what it printed is in .state/failed/toy.txt .given: .*; step it once",
        ),
    ],
)
def test_what_is_wrong_with_a_script_is_told_before_anything_is_spent(study: Study, beside: str, words: str) -> None:
    params = PARAMS.replace("timeout: 20", "timeout: 0.5") if "sleep" in beside else PARAMS
    study.write(params.replace("steps_per_epoch: 2, ", "") if "# untold" in beside else params, beside)
    if "# endless" in beside:
        script = study.folder / "inputs/train.py"
        script.write_text(script.read_text("utf-8").replace('tell(finish={"test_loss": loss})', ""), "utf-8")
    line = failure(study)
    assert re.match(r"params.yaml:6:13: problems.toy.script: .*" + words, line), line
    assert len(line) < 1500
    assert not list((study.folder / "results").rglob("*"))


def test_a_script_that_asks_for_no_run_is_told_before_it_trains(study: Study) -> None:
    """It would train as it always did, perhaps for days; a module that asks may be in a folder that is named."""
    mute = "import runpy\nrunpy.run_module('package.train', run_name='__main__')\n"
    (study.folder / "inputs/start.py").write_text(mute, "utf-8")
    study.write(PARAMS.replace("train.py", "start.py"))
    assert "does not ask which run it is to do" in failure(study)
    assert not (study.folder / "noted.txt").read_text("utf-8")
    package = study.folder / "inputs/package"
    package.mkdir()
    shutil.copy(study.folder / "inputs/train.py", package)
    study.write(PARAMS.replace("train.py", "start.py").replace("[table.csv]", "[package]"))
    assert study.run() == {"": 1}


def test_a_script_that_is_a_part_of_a_package_is_told_how_it_can_be_one(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is, once that is done."""
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)  # else Python's warning of it comes first, as an error
    package = study.folder / "inputs/package"
    package.mkdir()
    for name in ("train.py", "part.py"):
        (study.folder / "inputs" / name).rename(package / name)
    (package / "train.py").write_text(SCRIPT.replace("import part", "from . import part"), "utf-8")
    study.write(PARAMS.replace("train.py", "package/train.py"))
    line = failure(study)
    assert "ImportError: attempted relative import with no known parent package" in line
    assert line.endswith('and not as a part of package: write `launcher: [python, "-m"]` beside it in `script`')
    (package / "__init__.py").touch()
    as_module = PARAMS.replace("path: train.py", f"path: package/train.py, launcher: [{sys.executable}, -m]")
    study.write(as_module)
    assert study.run() == {"": 1}
    problem = load_problem(load_params(CATALOGUE), "toy")
    assert isinstance(problem, ScriptProblem)
    assert {"package/train.py", "package/part.py", "package/__init__.py"} <= problem.data.parts.keys()

    study.write(as_module.replace("-m]", "-m, package.train]"))
    line = failure(study)
    assert "problems.toy.script.launcher: starts package.train, and hands the script's path to that" in line
    assert line.endswith('"-m"]` and `path: package/train.py`')

    shutil.copy(package / "train.py", study.folder / "inputs/train.py")
    study.write(PARAMS)
    assert failure(study).endswith("; it stands in no package: leave the dots out of what it imports")


@pytest.mark.parametrize(("more", "told"), [(-1, 2), (1, 4)])
def test_a_run_of_another_length_than_asked_for_is_none(study: Study, more: int, told: int) -> None:
    study.write(here=f"asked['rates'] *= 2\nasked['epochs'] += {more} if asked['label'] else 0\n")
    assert f"ended after figures of {told} of 3 epochs; " in failure(study, train)


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        (
            "asked['lines'] and os.remove(asked['lines']); time.sleep(1)",
            r"took its lines away \(.*lines.jsonl: No such ",
        ),
        ("tell(epoch=1, lr=0.1, train_loss='much', validation_loss=1)", "tells 'much' as train_loss; .*let figures be numbers"),
        ("tell(epoch=1, lr=0.1, train_loss=[1], validation_loss=1)", r"tells '\[1\]' as train_loss; "),
        ("tell(epoch=0, lr=0.1, train_loss=1, validation_loss=1)", "tells epoch 0 where 1 is due; .*count epochs from 1"),
        ("tell(epoch='1', lr=0.1, train_loss=1, validation_loss=1)", "tells epoch '1' where 1 is due; "),
        ("tell(finish=0.5)", "tells 0.5 as finish, and no object of figures; "),
        ("tell(finish={'test_loss': 'much'})", "tells 'much' as test_loss; "),
    ],
)
def test_lines_of_which_no_run_can_be_made_are_told(study: Study, beside: str, words: str) -> None:
    study.write(here=beside)
    assert re.search(f"problems.toy.script: {words}", line := failure(study)), line


def test_null_stands_for_what_is_not_finite(study: Study) -> None:
    """JSON has no NaN, and most languages write null in its place."""
    told = SCRIPT.replace("validation_loss=loss + noise", "validation_loss=None if diverges else loss + noise")
    diverges = "diverges = asked['label'] == 'StepLR' and asked['number'] == 1"
    (study.folder / "inputs/train.py").write_text(told.replace("# here", diverges), "utf-8")
    study.run(train)
    diverged = study.runs().set_index("scheduler")["diverged"].groupby(level=0).sum()
    assert dict(diverged) == {"ConstantLR": 0, "StepLR": 2}


def test_a_clock_that_is_set_ends_no_script(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a machine that slept while the script trained."""
    real, begun = time.time, time.time()
    monkeypatch.setattr(time, "time", lambda: real() + 86_400 * (real() > begun + 1))
    study.write(here="time.sleep(1.5)")
    study.run()


def test_a_script_that_trains_at_one_rate_is_no_run_of_a_schedule(study: Study) -> None:
    """All schedules would come out the same, and which of them is the best would be told of nothing."""
    study.write(here="asked['rates'] = [asked['lr']] * 6")
    assert "StepLR, seed 0: tells an lr of 0.1 in its line of epoch 3, and the schedule's is 0.01" in failure(study, train)


def test_seeds_that_change_nothing_are_told_after_the_first_runs(study: Study) -> None:
    """The script goes by a seed of its own; else intervals of no width would be told, and be believed."""
    study.write(here="weight, noise = 0.5, 0.05")
    line = failure(study, train)
    assert "params.yaml:6:13: problems.toy.script: all 4 runs of a scheduler came out the same to the last digit" in line
    assert line.endswith("; seed every generator with trial.seed")


def test_a_script_with_a_rate_of_its_own_shows_in_its_first_run(study: Study) -> None:
    """It was tried out at another rate than any run's, so that not a whole stage is trained before one has another."""
    study.run()
    asked = json.loads((study.folder / ".state/probes/toy/run.json").read_bytes())
    assert [asked["lr"], *asked["rates"]] == pytest.approx([0.09] * 7)
    assert load_problem(load_params(CATALOGUE), "toy").lr == 0.1


TORCHS = """
import torch
from torch.optim import SGD
from pipeline.trial import trial

torch.manual_seed(trial.seed)
model, head, mean = (torch.nn.Linear(1, 1) for _ in range(3))
optimizer, second = SGD(model.parameters(), lr=trial.lr), SGD(head.parameters(), lr=SECOND)
scheduler, best = trial.scheduler(optimizer, steps_per_epoch=1), {}
for _ in trial.epochs(model=model, head=head, optimizer=optimizer, MORE):
    head(model(torch.ones(1, 1))).sum().backward()
    for each in (optimizer, second, scheduler):
        each.step()
    mean.weight.data += 1
    trial.report(train_loss=1.0, validation_loss=1.0)
    best.update({name: weights.clone() for name, weights in model.state_dict().items()})
trial.finish()
"""


def test_what_a_killed_run_would_lose_is_told(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    ended = "{'steps': [time.time()] * 2, 'end': time.time(), 'lost': ['mean (Linear)', 'second (SGD)']}"
    study.write(here=f"tell(epoch=1, lr=asked['lr'], train_loss=1, validation_loss=1, probe={ended})\nsys.exit()")
    study.run()
    assert "trial.epochs is not handed mean (Linear), second (SGD); hand over all that has a state" in capsys.readouterr().err


@pytest.mark.slow
def test_what_a_killed_run_would_lose_and_rates_that_are_fixed_are_told_by_torchs_own(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the script is tried out the first, in the first run the second, for that has another peak rate."""
    study.write(PARAMS.replace("steps_per_epoch: 2, ", "").replace("timeout: 20", "timeout: 300"))
    script = study.folder / "inputs/train.py"
    script.write_text(TORCHS.replace("MORE", "").replace("SECOND", "0.05"), "utf-8")
    line = failure(study, train)
    assert "trial.epochs is not handed best (dict), mean (Linear), second (SGD); hand over all" in capsys.readouterr().err
    assert "the optimizer SGD is built at a rate of 0.05, which does not go by trial.lr (0.1 in this run" in line
    assert line.endswith("; build it with a multiple of that, such as lr=trial.lr * 0.5")
    right = TORCHS.replace("MORE", "mean=mean, second=second, best=best").replace("SECOND", "trial.lr / 2")
    for loop, told in {"trial.epochs(": False, "range(trial.budget) or (": True}.items():
        script.write_text(right.replace("trial.epochs(", loop).replace("or (model=", "or dict(model="), "utf-8")
        study.run()
        assert ("trial.epochs is not handed anything; hand over all that has a state" in capsys.readouterr().err) == told


def test_that_all_runs_diverged_is_told_behind_the_first(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """A weight of its loss that grows, as in a VAE, and its training loss rises however well it trains."""
    (study.folder / "inputs/train.py").write_text(SCRIPT.replace("train_loss=loss", "train_loss=9 * epoch + loss"), "utf-8")
    study.run(train)
    said = capsys.readouterr().err
    assert (
        "train@toy: warning: all 8 runs diverged (a loss is not finite, or the training loss ends more than 10% above" in said
    )
    assert "report a train_loss that falls as the training goes well" in said


def test_an_accuracy_that_is_told_as_a_loss_is_doubted_behind_the_first_runs(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worst configuration would be recommended."""
    study.run(train)
    assert "validation_loss ends" not in capsys.readouterr().err
    told = SCRIPT.replace("validation_loss=loss + noise", "validation_loss=1 - loss")
    (study.folder / "inputs/train.py").write_text(told, "utf-8")
    study.run(train)
    said = capsys.readouterr().err
    assert "train@toy: warning: in 8 of 8 runs validation_loss ends higher than it began, while train_loss falls" in said
    assert "is it an accuracy, report that as validation_metric" in said


def test_one_configurations_failure_costs_no_other_run(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    """One dies, one tells of nothing that is finite; where all die the stage ends with a line, after three."""
    bad = "if asked['label'] == 'StepLR' and asked['number'] == 1:\n    sys.exit('out of luck')\n"
    nan = "if asked['label'] == 'ConstantLR' and asked['number'] == 1:\n    weight = float('nan')\n"
    study.write(here=bad + nan)
    begun = study.run(train)
    runs = study.runs()
    diverged = runs[runs["diverged"]].groupby("scheduler")["seed"].unique()
    assert {label: list(seeds) for label, seeds in diverged.items()} == {"StepLR": [1], "ConstantLR": [1]}
    told = [line for line in caplog.messages if "out of luck" in line]
    assert len(told) == 2
    assert "StepLR, seed 1: ended with exit code 1 in epoch 1; its last words: out of luck (all in .state/failed/" in told[0]
    assert study.run(train) == {"": 1}  # they are not tried again

    study.write(here="if asked['label']:\n    sys.exit('never')\n")
    assert "its last words: never" in failure(study, train)
    (study.folder / "inputs/train.py").write_text(SCRIPT + "if asked['label']:\n    sys.exit('no plot')\n", "utf-8")
    assert "ended with exit code 1 behind its last epoch; its last words: no plot" in failure(study, train)
    assert begun == {"": 1, "ConstantLR": 4, "StepLR": 4}


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os.kill(os.getpid(), 9)", r"was killed \(SIGKILL\) in epoch 1"),
        pytest.param("sys.exit(137)", r"was killed \(SIGKILL\) in epoch 1", marks=pytest.mark.slow),
        pytest.param(
            "raise OSError(28, 'No space left on device')",
            "ended with exit code 1 in epoch 1; .*OSError: ",
            marks=pytest.mark.slow,
        ),
        ("raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')", "ended with exit code 1 in epoch 1; .*memory"),
        (f"print('CUDA out of memory.\\n{BARS}')\n    sys.exit(1)", "ended with exit code 1 in epoch 1; .*memory"),
    ],
)
def test_what_failed_for_a_reason_outside_the_run_is_tried_again(study: Study, end: str, words: str) -> None:
    """It is no diverged run: all others go on, a line says it at the end, and the next call trains that run alone."""
    once = "asked['label'] == 'StepLR' and asked['number'] == 1 and not os.path.exists(dead)"
    study.write(here=f"dead = os.environ['NOTED'] + '.dead'\nif {once}:\n    open(dead, 'w').close()\n    {end}\n")
    line = failure(study, train)
    assert re.search(rf"StepLR, seed 1: {words}.*the next `dvc repro` tries this run again", line), line
    assert not list((study.folder / "results").rglob("*"))
    assert study.run(train) == {"": 1, "StepLR": 1}
    assert not study.runs()["diverged"].any()


def test_what_splits_have_in_common_is_said_in_params(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    resampled = PARAMS.replace("optimizer: {lr", "resample: true\n    optimizer: {lr")
    study.write(resampled)
    study.run()
    assert "have in common is not known" in capsys.readouterr().err
    plain = load_problem(load_params(CATALOGUE), "toy")
    study.write(resampled.replace("timeout: 20", "timeout: 20, overlap: 25%"))
    study.run()
    assert "in common" not in capsys.readouterr().err
    declared = load_problem(load_params(CATALOGUE), "toy")
    assert (plain.overlap["validation"], declared.overlap["validation"]) == (0.0, 0.25)
    assert plain.fingerprint == declared.fingerprint
    assert "has a script.overlap, and all seeds have one split" in refused(
        study, [("timeout: 20", "timeout: 20, overlap: 25%")]
    )


def refused(study: Study, changes: Sequence[tuple[str, str]]) -> str:
    params = PARAMS
    for old, new in changes:
        assert old in params
        params = params.replace(old, new)
    study.write(params)
    return failure(study, train)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("path: train.py", "path: gone.py", "problems.toy.script.path: is not there: inputs/gone.py"),
        ("path: train.py", "path: ../train.py", "problems.toy.script.path: does not lie under inputs/"),
        ("path: train.py", f"path: {'x' * 256}.py", "problems.toy.script.path: has a name of more than 255 bytes"),
        ("inputs: [table.csv]", "inputs: [images]", "problems.toy.script.inputs: is not there: inputs/images"),
        ("    epochs: 3", "    epochs: 3\n    batch_size: 3", "problems.toy.batch_size: is settled by the script"),
        (
            "args: {width: 8, deep: true, sizes: [1, 2]}",
            "args: [--deep, true]",
            "script.args: are neither named nor a list",
        ),
        ("timeout: 20", "time: 20", "problems.toy.script.time: is not known here"),
        (
            "timeout: 20",
            "launcher: [python, train.py]",
            "problems.toy.script.launcher: starts train.py, and hands",
        ),
        ("{lr: 0.1}", "{name: SGD, lr: 0.1}", "problems.toy.optimizer.name"),
        ("args: {step_size: 50%}", "name: ScheduleFree", "brings an optimizer of its own, and train.py has one already"),
        ("args: {step_size: 50%}", "name: ReduceLROnPlateau", "is handed all rates before it begins"),
        ("{args: {step_size: 50%}}", "{args: {step_size: 50%}, average: {ema: 0.9}}", "is the business of train.py"),
    ],
)
def test_a_mistake_in_params_is_told_with_its_place(study: Study, old: str, new: str, words: str) -> None:
    line = refused(study, [(old, new)])
    assert line.startswith("params.yaml:")
    assert words in line


def test_commands_look_at_its_schedules_before_any_stage_has_run(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    schedulers.main([])
    assert "toy: 3 epochs of 2 steps, learning rate 0.1" in capsys.readouterr().out
    study.write(PARAMS.replace("args: {step_size: 50%}", "name: ReduceLROnPlateau"))
    with pytest.raises(PipelineError, match="is handed all rates before it begins"):
        look.main()
    assert not list(study.folder.glob("data/*"))


def test_arguments_and_environment_are_what_a_script_expects(study: Study) -> None:
    """The command line, a folder of its own where all that lies under inputs/ is found, one thread; and its own environment."""
    study.write(here="json.dump([sys.argv[1:], os.getcwd(), os.environ['OMP_NUM_THREADS'], open('table.csv').read()], "
                "open(os.environ['NOTED'] + '.json', 'w'))\nopen('best.pt', 'w').write('mine')")  # fmt: skip
    study.run()
    words, folder, threads, table = json.loads((study.folder / "noted.txt.json").read_text("utf-8"))
    assert words == ["--width", "8", "--deep", "--sizes", "1", "2"]
    assert folder.endswith("/work")
    assert (threads, table) == (os.environ.get("OMP_NUM_THREADS", "1"), "1\n")
    assert not (study.folder / "best.pt").exists()
    assert not (study.folder / "inputs/best.pt").exists()
    study.write(PARAMS.replace("args: {width: 8, deep: true, sizes: [1, 2]}", "args: [images, -b, 64, width=0.5]"))
    study.run()
    assert json.loads((study.folder / "noted.txt.json").read_text("utf-8"))[0] == ["images", "-b", "64", "width=0.5"]


def test_a_killed_stage_takes_its_script_along_and_a_run_that_ended_is_not_begun_again(study: Study) -> None:
    """The script has finished, and whoever began it had no time to keep that."""
    end = "if asked['label'] == 'StepLR':\n    open(os.environ['NOTED'] + str(os.getpid()), 'w').close()\n    time.sleep(999)\n"
    (study.folder / "inputs/train.py").write_text(SCRIPT + end, "utf-8")
    study.run()
    pid = os.fork()
    if not pid:
        try:
            study.run(train)
        finally:
            os._exit(0)
    begun = until(lambda: list(study.folder.glob("noted.txt[0-9]*")), "the script has finished")
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    script = int(begun[0].name.removeprefix("noted.txt"))
    until(lambda: not is_alive(script), "the script ends, which nobody reads")
    (study.folder / "inputs/train.py").write_text(SCRIPT + end.replace("999", "0"), "utf-8")
    study.run(train)


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def test_the_perl_example_is_a_script_like_any_other(study: Study) -> None:
    shutil.copy(ROOT / "examples/train.pl", study.folder / "inputs")
    script = "{path: train.pl, steps_per_epoch: 60}"
    study.write(re.sub(r"script: .*", f"script: {script}", PARAMS).replace("seeds: 2", "seeds: 2"))
    study.run(train)
    runs = study.runs()
    assert not runs["diverged"].any()
    assert runs["test_metric"].between(0.5, 1).all()


FORGETS = """
kept, dead = Path(asked["folder"]) / "checkpoint.pt", os.environ["NOTED"] + ".dead"
told = json.loads(kept.read_text()) if kept.exists() else []
count = KEEPS and len(told)
for line in told:
    tell(**line)
for epoch in range(len(told) + 1, 4):
    count += 1
    told.append(dict(epoch=epoch, lr=asked["rates"][0], train_loss=weight, validation_loss=1 / count))
    tell(**told[-1])
    if epoch == 2 and asked["label"] and not os.path.exists(dead):
        open(dead, "w").close()
        kept.write_text(json.dumps(told[:1]))
        os.kill(os.getpid(), 9)
tell(finish={})
sys.exit()
"""


@pytest.mark.parametrize("keeps", [True, False])
def test_a_run_that_goes_on_repeats_an_epoch_or_begins_anew(
    study: Study, caplog: pytest.LogCaptureFixture, keeps: bool
) -> None:
    """What a script counts itself nobody keeps: its figures behind the kill would be those of a run that has just begun."""
    study.write(PARAMS.replace("  StepLR: {args: {step_size: 50%}}\n", ""), FORGETS.replace("KEEPS", str(keeps)))
    assert "was killed (SIGKILL) in epoch 3" in failure(study, train)
    begun = study.run(train)
    curves = pd.read_parquet(study.folder / "results/toy/train/curves.parquet")
    assert set(curves["validation_loss"].round(3)) == {1.0, 0.5, 0.333}
    told = [line.partition("ConstantLR, seed 0: ")[2] for line in caplog.messages if "went on" in line]
    anew = "went on where it was killed, and validation_loss of epoch 2 is 1, which was 0.5 before"
    assert [line.partition(" (given")[0] for line in told] == ([] if keeps else [anew])
    assert begun == {"": 1, "ConstantLR": 1 if keeps else 2}
