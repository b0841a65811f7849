"""Stage ``report``: join the results of all problems into tables and one page, under ``reports/``."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline import cli, results
from pipeline.analysis import tables
from pipeline.analysis.page import render
from pipeline.analysis.statistics import compare
from pipeline.analysis.tables import ProblemResults, gather
from pipeline.catalogue import CATALOGUE
from pipeline.params import Params, load_params
from pipeline.results import REPORTS, ResultsError


def main() -> None:
    """Write everything under ``reports/``, all together."""
    params = load_params(CATALOGUE)
    problems = [read(params, name) for name in params.problems]
    comparison = joined({p.name: compare(p.runs, params.report.baseline) for p in problems})
    curves = joined({p.name: tables.mean_curves(p) for p in problems})
    rates = tables.learning_rates(curves, params.report.every)
    results.write_files(
        [
            (REPORTS / "comparison.csv", csv(comparison)),
            (REPORTS / "comparison.md", tables.markdown(comparison).encode()),
            (REPORTS / "learning_rates.csv", csv(rates)),
            (REPORTS / "curves.csv", csv(curves)),
            (REPORTS / "metrics.json", results.as_json(tables.metrics(comparison))),
            (REPORTS / "report.html", render(params, problems, comparison, rates).encode()),
        ]
    )


def read(params: Params, name: str) -> ProblemResults:
    """The results of a problem: of stage train, and of stage tune where it has been run."""
    tuned = results.stage_path(name, "tune", "runs.parquet").exists()
    parts = [results.read_runs(name, stage) for stage in ("train", *(["tune"] if tuned else []))]
    return gather(
        name, params.problems[name], params.schedules(name), parts, _best(name) if tuned else {}, results.read_findings(name)
    )


def joined(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The frames of all problems under each other, ``problem`` as their first column."""
    return pd.concat(frames, names=["problem"]).reset_index(level=0).reset_index(drop=True)


def csv(frame: pd.DataFrame) -> bytes:
    """The frame as a CSV file's bytes; numbers to the last bit, NaN as nothing."""
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _best(name: str) -> Mapping[str, Mapping[str, Any]]:
    """``best.yaml`` of a problem; empty where it is not there."""
    path = results.stage_path(name, "tune", "best.yaml")
    if not path.exists():
        return {}
    try:
        best = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except (OSError, ValueError, YAMLError) as error:
        line = str(error).splitlines()[0]
        raise ResultsError(f"{path} cannot be read ({line}); delete it, then `dvc repro tune@{name}` writes it anew") from None
    return best if isinstance(best, dict) else {}


if __name__ == "__main__":
    cli.run(main)
