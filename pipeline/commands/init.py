"""``python -m pipeline init``: write a small params.yaml for your table or training script, with a comment on each key."""

import argparse
from collections.abc import Mapping, Sequence

from pipeline.catalogue import CATALOGUE
from pipeline.cli import UsageError
from pipeline.commands import arguments, check, look, tables
from pipeline.config.files import write_files
from pipeline.config.locks import free_name
from pipeline.config.params import PARAMS_FILE, load_params
from pipeline.config.terminal import tell
from pipeline.config.wording import as_yaml, few
from pipeline.data.proposal import Proposal
from pipeline.data.reading import is_table
from pipeline.stages.dataset import problem_made

TABLE = """\
    dataset: {dataset} # under inputs/, as `python -m pipeline look` proposes it; all keys: docs/data.md
    model: {{name: mlp, hidden: [32]}} # others, and your own: docs/models.md, docs/own-code.md
    optimizer: {{name: AdamW, lr: 0.01}} # this rate is the 100% of all rates
    epochs: {epochs} # the budget that you really have: the answer is one for it
    batch_size: {batch_size}
"""
SCRIPT = """\
    script: {{path: {path}}} # under inputs/, with all that it reads; what it has to do: docs/own-training.md
    optimizer: {{lr: 0.1}} # TODO your usual peak rate: it is the 100% of all rates
    epochs: 10 # TODO the budget that you really have: the answer is one for it
"""
TEMPLATE = """\
# Which learning-rate scheduler for {name}? Every key: docs/params.md. `python -m pipeline plan` says what it costs.
seeds: {seeds}

problems:
  {name}:
{problem}
schedulers: # {schedulers}
  ConstantLR: {{args: {{factor: 1.0}}}} # the baseline: no schedule
  StepLR: {{args: {{step_size: 30%, gamma: 0.1}}{shape}}} # lengths are shares of the run
  CosineAnnealingLR: {{args: {{T_max: 100%}}{shape}}}
  CosineWarmup: {{name: CosineAnnealingLR, args: {{T_max: 100%}}, warmup: 5%{shape}}}
  OneCycleLR: {{args: {{max_lr: 100%, cycle_momentum: false}}{shape}}}

tune: {tune}
sweep: none # or {{points: 10, budgets: [25%, 50%]}}: how much the rate and the budget matter
report: {{baseline: ConstantLR, matters: 1%}} # a smaller difference is of no interest
"""
WHOLE = {
    "seeds": "5 # whole replicates, searches too; twice as many make the answer surer, and cost twice as much",
    "schedulers": "what is compared; `python -m pipeline schedulers --table` lists all there are",
    "shape": "",
    "tune": "{trials: 16} # of each study: one per scheduler and seed, for shape and peak rate",
}
"""What a study asks for whose runs take seconds."""
FRUGAL = {
    "seeds": "{least: 3, most: 10} # whole replicates; beyond 3 only where a comparison is open",
    "schedulers": "`search: {}` keeps a shape as it is written: a few trials find a peak rate, and no more",
    "shape": ", search: {}",
    "tune": "{trials: 4, batch: 4, sampler: qmc} # of each study: one per scheduler and seed, spread over the peak rates",
}
"""The same where a run may take an hour."""


def main(words: Sequence[str]) -> None:
    """Write params.yaml, and say what to do next."""
    asked = _parser().parse_args(words)
    files = tables.named(asked.files, "a CSV or Parquet file, or a training script")
    are_tables = all(map(is_table, files))
    if not are_tables and len(files) > 1:
        raise UsageError(f"{few(files)}: give one training script, or tables of the same columns")
    if PARAMS_FILE.exists() and not asked.replace:
        kept = "keeps the one that is there as params.yaml.old"
        raise UsageError(f"{PARAMS_FILE} is there already, and stays as it is; `--replace` writes a new one, and {kept}")
    proposal = look.looked_at(files, asked.target) if are_tables else None
    path = tables.copied(files)
    if PARAMS_FILE.exists():
        old = free_name(PARAMS_FILE, "old")
        PARAMS_FILE.rename(old)
        tell(f"{PARAMS_FILE} is {old} now")
    name = tables.name_for(path)
    if proposal is not None:
        _write_for_table(name, proposal)
    else:
        _write(name, SCRIPT.format(path=as_yaml(path)), FRUGAL)
    print(f"{PARAMS_FILE} is written: {check.told(load_params(CATALOGUE))}")
    print(FOR_A_TABLE if are_tables else FOR_A_SCRIPT)
    print("       `python -m pipeline plan` says what it costs, `make repro` does it")


FOR_A_TABLE = "next:  edit it where you know better"
FOR_A_SCRIPT = "next:  fill in what says TODO, and do what docs/own-training.md asks of the script"


def _parser() -> argparse.ArgumentParser:
    parser = arguments("init", __doc__)
    told = "a table (CSV or Parquet, a row per sample; several files or a pattern make one), or a script; copied into inputs/"
    parser.add_argument("files", nargs="+", metavar="TABLE_OR_SCRIPT", help=told)
    parser.add_argument("--target", metavar="COLUMN", help="the column of a table to predict; left out, one is proposed")
    parser.add_argument("--replace", action="store_true", help="set aside the params.yaml that is there, as params.yaml.old")
    return parser


def _write_for_table(name: str, proposal: Proposal) -> None:
    """With epochs and batches for as many samples as it has."""
    sizes = look.size_for(proposal.data)
    _write(name, TABLE.format(dataset=as_yaml(proposal.entry), **sizes), WHOLE)
    problem_made(load_params(CATALOGUE), name)  # says what there is to say about the file
    look.tell_hints(proposal, "init")


def _write(name: str, problem: str, study: Mapping[str, str]) -> None:
    write_files([(PARAMS_FILE, TEMPLATE.format(name=name, problem=problem, **study).encode())])
