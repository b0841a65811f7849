"""``python -m pipeline quick``: an answer within about a minute for one table, or one problem of params.yaml.

Five schedulers, five seeds and a small search, through the same stages as a whole study, in a folder of its own. The
params.yaml that it writes there is a good one to go on from.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.catalogue import CATALOGUE
from pipeline.commands import answer, arguments, look, tables
from pipeline.comparing.compare import BASELINE, SCHEDULERS, small_study
from pipeline.config.errors import PipelineError
from pipeline.config.params import PARAMS_FILE, load_params, working_in
from pipeline.config.terminal import tell
from pipeline.config.wording import as_yaml
from pipeline.stages import check, confirm, dataset, report, sweep, train, tune

SEEDS, TRIALS = 5, 8


def main(words: Sequence[str]) -> None:
    """Carry out the command; :class:`PipelineError` with what is wrong."""
    asked = _parser().parse_args(words)
    files = tables.named(asked.files)
    name, entry = _of_params(asked.problem) if asked.problem else _of_table(files, asked.target, ordered=not asked.unordered)
    folder = asked.folder or Path("quick") / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        copy = folder / "inputs" / tables.below(file)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    if asked.problem and Path("inputs").is_dir():
        shutil.copytree("inputs", folder / "inputs", dirs_exist_ok=True)
    tell(f"quick: works in {folder}; its params.yaml is the one to change")
    with working_in(folder, {"PIPELINE_TRACKERS": "none"}):
        with PARAMS_FILE.open("w", encoding="utf-8") as params:
            YAML().dump(small_study(name, entry, SCHEDULERS, BASELINE, SEEDS, TRIALS), params)
        dataset.main(name)
        check.main()
        for stage in (train, tune, confirm, sweep):
            stage.main(name)
        report.main()
        print(f"in {folder}, where the commands and files below are:")
        answer.main()
    print(f"to go on by make repro, copy params.yaml and inputs/ from {folder} here")


def _parser() -> argparse.ArgumentParser:
    parser = arguments("quick", __doc__)
    parser.add_argument(
        "files", nargs="*", metavar="TABLE", help="CSV or Parquet, a row per sample; several files or a pattern make one table"
    )
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict; left out, one is proposed")
    parser.add_argument(
        "--unordered", action="store_true", help="split at random, even where the rows look like a series in time"
    )
    parser.add_argument("--problem", metavar="NAME", help="a problem of params.yaml instead of a table")
    parser.add_argument("--folder", type=Path, help="where everything goes; left out, quick/NAME")
    return parser


def _of_table(files: Sequence[Path], target: str | None, *, ordered: bool) -> tuple[str, dict[str, Any]]:
    """A small network for the table."""
    if not files:
        raise PipelineError("quick needs a table, perhaps with --target COLUMN, or --problem NAME")
    proposal = look.looked_at(files, target)
    if not ordered:
        proposal.entry.pop("order", None)
    if proposal.chosen:
        tell(f"quick: predicting {proposal.entry['target']}, {proposal.chosen}")
    for key, value in list(proposal.entry.items())[2:]:
        tell(f"quick: took {key}: {as_yaml(value)}, as `python -m pipeline look` tells")
    look.tell_hints(proposal, "quick")
    model = {"model": {"name": "mlp", "hidden": [32]}, "optimizer": {"name": "AdamW", "lr": 0.01}}
    data = {"dataset": {"name": "file", **proposal.entry}}
    return tables.name_for(proposal.entry["path"]), {**data, **model, **look.size_for(proposal.data)}


def _of_params(name: str) -> tuple[str, dict[str, Any]]:
    """The problem as params.yaml has it, without schedulers of its own."""
    load_params(CATALOGUE).problem(name)  # a mistake is told before anything begins
    entry = YAML(typ="safe", pure=True).load(PARAMS_FILE.read_text("utf-8"))["problems"][name]
    return name, {key: value for key, value in entry.items() if key != "schedulers"}
