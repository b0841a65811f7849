"""Stage ``report``: join the results of all problems into tables, figures, scripts and one page, under ``reports/``."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import cli
from pipeline.analysis.assembled import assemble, report_files
from pipeline.analysis.choice import Choice, last
from pipeline.analysis.constant import constant
from pipeline.analysis.script import Data
from pipeline.analysis.statistics import Overlap
from pipeline.analysis.tables import VARIANTS, ProblemResults, gather
from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.files import REPORTS
from pipeline.config.params import Params, load_params
from pipeline.engine.device import find_device
from pipeline.problems.loading import is_in_memory, load_problem
from pipeline.problems.run import Run, stream
from pipeline.runs import results
from pipeline.runs.champion import named
from pipeline.runs.executor import executor
from pipeline.runs.obtain import weights
from pipeline.runs.results import STAGES, run_of
from pipeline.runs.store import store
from pipeline.runs.unfinished import forget_unfinished
from pipeline.statistics.sequential import Plan


def main() -> None:
    """Write everything under ``reports/``, all together; the store of runs is kept to its size."""
    with executor() as workers:
        params = load_params(CATALOGUE)
        problems = list(workers.map(partial(read, params), params.problems))
        report = assemble(params, problems, workers)
        written = {REPORTS / name: content for name, content in report_files(report, workers).items()}
        for problem in problems:
            if problem.name in params.kept_models:
                kept = champion(params, problem, last(report.choices[problem.name]))
                written[REPORTS / "best" / f"{problem.name}.safetensors"] = kept
        files.write_files(written.items())
        for folder in ("best", "evidence", "figures"):
            forget(REPORTS / folder, set(written))
    store().shrink()
    forget_unfinished()


def champion(params: Params, problem: ProblemResults, chosen: Choice) -> bytes:
    """The weights of the run that stands for what is recommended: as its stage or the store keeps them, else trained again."""
    if chosen.run is None:
        return named(b"", "")
    stage = STAGES[VARIANTS.index(chosen.variant)]
    kept = results.read_weights(problem.name, stage)
    if run_of(kept) == chosen.run:
        return kept
    row = problem.runs[problem.runs["run"] == chosen.run].iloc[0]
    whole = load_problem(params, problem.name)
    schedules = whole.schedules if chosen.variant == "default" else results.read_schedules(problem.name)
    of_stream, label = stream("final", int(row["stream"])), str(row["scheduler"])
    run = Run(label, schedules[label], int(row["seed"]), int(row["epochs"]), of_stream, at=params.report.at)
    return named(weights(whole, run, find_device(params.device)), chosen.run)


def read(params: Params, name: str) -> ProblemResults:
    """The results of a problem: of stage train, and of stages tune, confirm and sweep where they have been run."""
    whole = load_problem(params, name)
    dataset = whole.data.digest
    tuned, confirmed, swept = (files.stage_path(name, s, "runs.parquet").exists() for s in ("tune", "confirm", "sweep"))
    there = {"train": True, "tune": tuned, "confirm": confirmed}
    parts = [results.read_runs(name, stage, dataset) for stage in STAGES if there[stage]]
    more: dict[str, Any] = {"traps": results.read_findings(name)}
    if tuned:
        trials, importances = results.read_tuning(name, dataset)
        more |= {"best": results.read_best(name), "trials": trials, "importances": importances}
        more |= {"reruns": results.read_reruns(name, dataset)}
    if swept:
        more |= {"sweep": results.read_sweep(name, dataset)}
    asked = params.seed_range
    if asked.least < asked.most:
        more |= {"plan": Plan(asked.least, asked.most)}
    in_memory = is_in_memory(name)
    more |= {
        "constant": constant(whole, pd.concat([runs["seed"] for runs, _ in parts]).unique().tolist()),
        "overlap": Overlap(**whole.overlap),
        "batches": whole.budget().steps_per_epoch,
        "data": Data.of(whole.data, is_in_memory=in_memory) if whole.has_samples else Data(has_own_loop=True),
    }
    return gather(name, params.problem(name), params.schedules(name), parts, **more)


def forget(folder: Path, written: set[Path]) -> None:
    """Take away what an earlier report had in a folder of its own: of a problem or a scheduler that is no more, say."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            forget(path, written)
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in written:
            path.unlink()


if __name__ == "__main__":
    cli.run(main)
