"""Training scripts as problems: what a run costs beside the script's own time, and 20 kills in a study of one.

    python -m benchmarks.scripts           # both, in a few minutes
    python -m benchmarks.scripts minute    # the same of whole runs of a minute, in turns; and its parts, in ten minutes

Seconds are of the processor (user and system, all processes): other work on the machine does not enter them.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from pipeline.config.problem_params import Script
from pipeline.problems.process import lines_of

ROOT = Path(__file__).parents[1]
STEPS, EPOCHS, KILLS = 500, 10, 20
OF_A_MINUTE = 10_000
"""Steps in an epoch with which a script takes about a minute."""
OWN = """
import sys
import torch
from torch import nn
{imports}
torch.manual_seed({seed})
model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
x, y = torch.rand({samples}, 64), torch.randint(10, ({samples},))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
{scheduler}
for epoch in {epochs}:
    for step in range({steps}):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
    {report}
{finish}
"""
PLAIN = {
    "imports": "",
    "seed": "0",
    "scheduler": "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, {steps} * {epochs})",
    "epochs": "range({epochs})",
    "report": "print(loss.item())",
    "finish": "",
}
WITH_TRIAL = {
    "imports": "from pipeline.trial import trial",
    "seed": "trial.seed",
    "scheduler": "scheduler = trial.scheduler(optimizer, {steps})",
    "epochs": "trial.epochs(model=model, optimizer=optimizer)",
    "report": "trial.report(train_loss=loss, validation_loss=loss)",
    "finish": "trial.finish()",
}
# Without torch, so that twenty kills take a minute: a run is begun and ended by a line each, and takes a fifth of a second.
NOTING = """
import json, os, random, time
from pathlib import Path

asked = json.loads(Path(os.environ["PIPELINE_TRIAL"]).read_text())
random.seed(asked["seed"])
weight, noise = random.random(), 0.1 * random.random()


def tell(path, line):
    with open(path, "a") as file:
        file.write(line + "\\n")


for epoch in range(1, asked["epochs"] + 1):
    first = asked["rates"][2 * epoch - 2]
    for rate in asked["rates"][2 * epoch - 2 : 2 * epoch]:
        weight -= rate * (weight - 2 + noise)
    loss = (weight - 2) ** 2 + noise
    time.sleep(0.05)
    tell(asked["lines"], json.dumps({"epoch": epoch, "lr": first, "train_loss": loss, "validation_loss": loss + noise}))
tell(os.environ["NOTED"], Path(asked["lines"]).parent.name)
tell(asked["lines"], json.dumps({"finish": {"test_loss": loss}}))
"""
IDLE = """
import json, os, time

asked = json.load(open(os.environ["PIPELINE_TRIAL"]))
for epoch in range(asked["epochs"]):
    time.sleep(60 / asked["epochs"])
    with open(asked["lines"], "a") as file:
        print(json.dumps({"epoch": epoch + 1, "train_loss": 1.0, "validation_loss": 1.0}), file=file)
with open(asked["lines"], "a") as file:
    print(json.dumps({"finish": {}}), file=file)
"""
# Blocks of a hundred steps by torch's own scheduler and by the trial's, in turn, on the same model.
PAIRED = """
import statistics, time
import torch
from torch import nn
from pipeline.trial import trial

BLOCK = 100
x, y = torch.rand(64, 64), torch.randint(10, (64,))


def side(own):
    torch.manual_seed(trial.seed)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=trial.lr)
    steps = len(trial._asked["rates"]) // trial.budget
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR
    return model, optimizer, trial.scheduler(optimizer, steps) if own else cosine(optimizer, steps * trial.budget), steps


def seconds(model, optimizer, scheduler):
    begun = time.process_time()
    for _ in range(BLOCK):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
    return (time.process_time() - begun) / BLOCK, loss


*plain, _ = side(False)
*own, steps = side(True)
seconds(*plain)
of_plain, more, reports = [], [], []
for _ in trial.epochs(model=own[0], optimizer=own[1]):
    for _ in range(steps // BLOCK):
        before, (after, loss) = seconds(*plain)[0], seconds(*own)
        of_plain.append(before)
        more.append(after - before)
    begun = time.process_time()
    trial.report(train_loss=loss, validation_loss=loss)
    reports.append(time.process_time() - begun)
low, middle, high = (1e6 * value for value in statistics.quantiles(more))
step, report = 1e6 * statistics.median(of_plain), 1e3 * statistics.median(reports)
trial._tell({"paired": f"a step of {step:.0f} µs takes {middle:+.0f} µs more than with torch's own scheduler "
             f"(quartiles {low:+.0f}, {high:+.0f}), a report {report:.1f} ms"})
trial.finish()
"""
PARAMS = """
device: cpu
seeds: 3
problems:
  toy:
    script: {path: train.py, steps_per_epoch: 2}
    optimizer: {lr: 0.1}
    epochs: 3
schedulers:
  ConstantLR: {args: {factor: 1.0}}
  StepLR: {args: {step_size: 50%}}
  CosineAnnealingLR: {args: {T_max: 100%}}
tune: {trials: 4, batch: 2, sampler: tpe, lr: {low: 10%, high: 1000%}}
sweep: {points: 2, budgets: [50%]}
report: {every: 1, baseline: ConstantLR}
"""
STUDY = """
from pipeline.stages import check, confirm, dataset, report, sweep, train, tune
from pipeline.tracking import trackers

trackers.TRACKERS = {}
check.main()
for stage in (dataset, train, tune, confirm, sweep):
    stage.main("toy")
report.main()
"""


def main() -> None:
    """Print both."""
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}, one thread a run\n")
    with temporary():
        if sys.argv[1:] == ["minute"]:
            minute()
            return
        costs()
        kills()


@contextmanager
def temporary() -> Iterator[None]:
    """Work in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        Path("inputs").mkdir()
        try:
            yield
        finally:
            os.chdir(before)


def costs() -> None:
    """What starting a process takes, and what a run of a minute takes beside the script's own time."""
    print("starting a process:")
    for what in ("pass", "import torch", "from pipeline.trial import trial"):
        print(f"  {what:34} {min(seconds(partial(started, '-c', what)) for _ in range(3)):6.2f} s")
    for samples in (64, 1024):
        plain, whole = (min(seconds(partial(how, samples, STEPS)) for _ in range(3)) for how in (by_itself, as_a_run))
        steps, more = STEPS * EPOCHS, whole - plain
        print(
            f"{steps} steps of {1000 * plain / steps:.2f} ms, {EPOCHS} epochs: {plain:.2f} s by itself, {whole:.2f} s as run: "
            f"{more:+.2f} s ({100 * more / 60:.1f}% of a minute, {1e6 * more / steps:.0f} µs a step)"
        )


def minute() -> None:
    """What a run of a minute takes beside the script: whole, and the process that watches it, its steps and its reports."""
    for _ in range(3):
        plain, whole = (seconds(partial(how, 64, OF_A_MINUTE)) for how in (by_itself, as_a_run))
        print(f"a script by itself takes {plain:.1f} s, as a run {whole:.1f} s: {100 * (whole / plain - 1):+.1f}%", flush=True)
    Path("inputs/idle.py").write_text(IDLE, "utf-8")
    asked = {"label": "", "number": 0, "seed": 0, "split": 0, "epochs": EPOCHS, "lr": 1e-3, "device": "cpu", "args": {}}
    asked |= {"rates": [1e-3] * STEPS * EPOCHS, "steps_per_epoch": STEPS}
    before = resource.getrusage(resource.RUSAGE_SELF)
    assert len(list(lines_of("toy", Script(path="idle.py"), asked, Path("progress/idle").resolve()))) == EPOCHS + 1
    after = resource.getrusage(resource.RUSAGE_SELF)
    watching = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"watching a script for a minute, in which it reports {EPOCHS} epochs: {watching:.2f} s ({100 * watching / 60:.1f}%)")
    Path("inputs/paired.py").write_text(PAIRED, "utf-8")
    for line in lines_of("toy", Script(path="paired.py"), asked, Path("progress/paired").resolve()):
        if "paired" in line:
            print(line["paired"])


def seconds(call: Callable[[], object]) -> float:
    """Of the processor, of this process and those it waits for."""

    def used() -> float:
        of = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in of)

    begun = used()
    call()
    return used() - begun


def started(*words: str) -> None:
    """A Python process, to its end."""
    settled = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *words], env=os.environ | settled, check=True, stdout=subprocess.DEVNULL)


def by_itself(samples: int, steps: int) -> None:
    """The script without a study."""
    Path("inputs/plain.py").write_text(written(PLAIN, samples, steps), "utf-8")
    started("inputs/plain.py")


def as_a_run(samples: int, steps: int) -> None:
    """The same as a run."""
    Path("inputs/run.py").write_text(written(WITH_TRIAL, samples, steps), "utf-8")
    asked = {"label": "", "number": 0, "seed": 0, "split": 0, "epochs": EPOCHS, "lr": 1e-3, "device": "cpu", "args": {}}
    asked |= {"rates": [1e-3] * steps * EPOCHS, "steps_per_epoch": steps}
    shutil.rmtree("progress", ignore_errors=True)
    assert any("finish" in line for line in lines_of("toy", Script(path="run.py"), asked, Path("progress/run").resolve()))


def written(parts: dict[str, str], samples: int, steps: int) -> str:
    """The script."""
    sizes = {"steps": steps, "epochs": EPOCHS}
    lines = {name: text.format(**sizes) for name, text in parts.items()}
    return OWN.format(samples=samples, steps=steps, **lines)


def kills() -> None:
    """A study is killed at random moments, and goes on to its end; then it is done without."""
    Path("inputs/train.py").write_text(NOTING, "utf-8")
    Path("params.yaml").write_text(PARAMS, "utf-8")
    draws, begun, killed = random.Random(0), time.time(), 0  # noqa: S311  # moments of kills
    while killed < KILLS:
        process, enough = study(), ended() + draws.randint(1, 10)
        while ended() < enough and process.poll() is None:
            time.sleep(0.01)
        time.sleep(draws.uniform(0, 0.2))
        os.killpg(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert study().wait() == 0
    trained = Counter(Path("noted.txt").read_text("utf-8").split())
    trained.pop("toy", None)  # the probe
    disturbed = files()
    for name in (".state", "results", "reports", "data"):
        shutil.rmtree(name)
    assert study().wait() == 0
    twice = sum(count > 1 for count in trained.values())
    print(
        f"\n{killed} kills in {time.time() - begun:.0f} s, {len(trained)} runs: {twice} finished runs trained twice, "
        f"{sum(disturbed[path] != content for path, content in files().items())} of {len(disturbed)} files of results other"
    )


def ended() -> int:
    """How many runs have come to their end."""
    return len(Path("noted.txt").read_text("utf-8").split()) if Path("noted.txt").exists() else 0


def study() -> "subprocess.Popen[bytes]":
    """All stages in a process group of their own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NOTED": str(Path("noted.txt").resolve()), "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-c", STUDY], env=environment, start_new_session=True, stdout=quiet, stderr=quiet)


def files() -> dict[str, bytes]:
    """What the study has written."""
    return {str(path): path.read_bytes() for name in ("results", "reports") for path in Path(name).rglob("*") if path.is_file()}


if __name__ == "__main__":
    main()
