"""``python -m pipeline init``: a small params.yaml for a table of one's own, with a word on each key, in this clone."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline.catalogue import CATALOGUE
from pipeline.cli import UsageError
from pipeline.commands import check
from pipeline.commands.quick import problem_named, size_for
from pipeline.config.files import write_files
from pipeline.config.locks import free_name
from pipeline.config.params import PARAMS_FILE, load_params
from pipeline.config.terminal import tell
from pipeline.stages.dataset import drawn

INPUTS = Path("inputs")
TEMPLATE = """\
# Which learning-rate scheduler for {name}? Every key: docs/params.md. `python -m pipeline plan` says what it costs.
seeds: 5 # whole replicates: split, initial weights and search anew; 10 make the answer surer, and cost twice as much

problems:
  {name}:
    dataset: {{path: {path}, target: {target}}} # under inputs/; missing cells, dates, groups, series: docs/data.md
    model: {{name: mlp, hidden: [32]}} # others, and your own: docs/models.md, docs/own-code.md
    optimizer: {{name: AdamW, lr: 0.01}} # this rate is the 100% of all rates
    epochs: {epochs} # the budget that you really have: the answer is one for it
    batch_size: {batch_size}

schedulers: # what is compared; `python -m pipeline schedulers --table` lists all there are
  ConstantLR: {{args: {{factor: 1.0}}}} # the baseline: no schedule
  StepLR: {{args: {{step_size: 30%, gamma: 0.1}}}} # lengths are shares of the run
  CosineAnnealingLR: {{args: {{T_max: 100%}}}}
  CosineWarmup: {{name: CosineAnnealingLR, args: {{T_max: 100%}}, warmup: 5%}}
  OneCycleLR: {{args: {{max_lr: 100%, cycle_momentum: false}}}}

tune: {{trials: 16}} # of each study: one per scheduler and seed, for shape and peak rate
sweep: none # or {{points: 10, budgets: [25%, 50%]}}: how much the rate and the budget matter
report: {{baseline: ConstantLR, matters: 1%}} # a smaller difference is of no interest
"""


def main(words: Sequence[str]) -> None:
    """Write params.yaml, and say what to do next."""
    asked = _parser().parse_args(words)
    table: Path = asked.table
    if not table.is_file():
        raise UsageError(f"{table} is not there; name a CSV or Parquet file")
    if PARAMS_FILE.exists() and not asked.replace:
        kept = "keeps the one that is there as params.yaml.old"
        raise UsageError(f"{PARAMS_FILE} is there already, and stays as it is; `--replace` writes a new one, and {kept}")
    path = _under_inputs(table)
    if PARAMS_FILE.exists():
        old = free_name(PARAMS_FILE, "old")
        PARAMS_FILE.rename(old)
        tell(f"{PARAMS_FILE} is {old} now")
    name, target = problem_named(table), _quoted(asked.target)
    _write(name, path, target, {"epochs": 20, "batch_size": 32})
    data, _ = drawn(load_params(CATALOGUE), name, tell)
    _write(name, path, target, size_for(data))
    print(f"{PARAMS_FILE} is written: {check.told(load_params(CATALOGUE))}")
    print("next:  edit it where you know better; `python -m pipeline plan` says what it costs, `make repro` does it")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m pipeline init", description=__doc__)
    parser.add_argument("table", type=Path, metavar="TABLE", help="CSV or Parquet, a row per sample; copied into inputs/")
    parser.add_argument("--target", metavar="COLUMN", required=True, help="what is to be predicted")
    parser.add_argument("--replace", action="store_true", help="in place of the params.yaml that is there")
    return parser


def _under_inputs(table: Path) -> str:
    """Its path below inputs/, where DVC watches it; a copy, where it lay elsewhere."""
    if table.resolve().is_relative_to(INPUTS.resolve()):
        return table.resolve().relative_to(INPUTS.resolve()).as_posix()
    copy = INPUTS / table.name
    if copy.exists() and copy.read_bytes() != table.read_bytes():
        raise UsageError(f"{copy} is there already, with other contents; rename {table}, or name {copy} itself")
    INPUTS.mkdir(exist_ok=True)
    shutil.copy(table, copy)
    tell(f"{table} is copied to {copy}")
    return table.name


def _quoted(text: str) -> str:
    """A text as YAML takes any."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _write(name: str, path: str, target: str, size: dict[str, int]) -> None:
    text = TEMPLATE.format(name=name, path=_quoted(path), target=target, **size)
    write_files([(PARAMS_FILE, text.encode())])
    load_params.cache_clear()
