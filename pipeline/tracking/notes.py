"""What a report says of each study, as a note in Optuna's dashboard."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config import files
from pipeline.config.wording import raised


def notes(folder: Path, inputs: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Each study's name and its note, of the report in ``folder`` on these (problem, stage)."""
    try:
        answers = {answer["problem"]: answer for answer in json.loads((folder / "answer.json").read_text("utf-8"))["problems"]}
        comparison = pd.read_csv(folder / "comparison.csv")
    except (OSError, ValueError):  # a report of another version
        return
    page = (folder / "report.html").resolve().as_uri()
    for problem, answer in answers.items():
        path = files.stage_path(problem, "tune", "trials.parquet")
        if (problem, "tune") not in inputs or not path.exists():
            continue
        own = comparison[(comparison["problem"] == problem) & (comparison["variant"] == answer["variant"])]
        rows = {row["scheduler"]: row for row in own.to_dict("records")}
        studies = pd.read_parquet(path, columns=["study", "scheduler", "seed"]).drop_duplicates("study")
        for study, label, seed in studies.itertuples(index=False):
            if label in rows:
                yield study, _note(problem, label, int(seed), rows[label], answer, page)


def _note(problem: str, label: str, seed: int, row: Mapping[Any, Any], answer: Mapping[str, Any], page: str) -> str:
    """A study is one of many of its scheduler: what is known is known of all of them together."""
    is_it = answer["scheduler"] == label
    told = f"**{label} is what to use for {problem}.**" if is_it else f"What to use for {problem} is **{answer['scheduler']}**."
    standing = "may be the best" if row["in_set"] else "is not the best"
    cost = "" if pd.isna(row["regret"]) else f"; about {row['regret']:.1%} more loss than the lowest mean"
    bound = "" if pd.isna(row["regret_bound"]) else f", {raised(row['regret_bound']):.1%} at the most"
    against = "" if pd.isna(row["verdict"]) or not row["verdict"] else f"; against the baseline: {row['verdict']}"
    but = f"\n\nBut {answer['learned']}." if answer.get("learned") else ""
    return (
        f"{told}\n\nOver all seeds {label} {standing}{cost}{bound}{against}. This study is the one of seed {seed}.\n\n"
        f"To use: {dict(answer['titled'])['use']}{but}\n\nThe report: [{page}]({page})\n"
    )
