"""``python -m pipeline verdict FILE``: which label is the best, and how sure that is, from runs repeated with several seeds.

FILE is CSV, Parquet or JSON with a row per run, or an export of Weights & Biases, MLflow, Optuna or scikit-learn; ``--mlflow``
reads an experiment instead. See docs/verdict.md.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from pipeline.commands import arguments
from pipeline.commands.replicates import Asked, Replicates, replicates
from pipeline.commands.run_tables import TableError, read_table
from pipeline.commands.telling import Document, told
from pipeline.config.files import json_file, write_files
from pipeline.config.wording import few, suggestion
from pipeline.statistics.components import LEVEL, Floats
from pipeline.statistics.judgement import Judgement, judge

MOST = 60
"""Labels that can be compared with one another in seconds."""
USUAL = re.compile("baseline|control|default|none|vanilla|reference|constant(lr)?", re.IGNORECASE)


def main(words: Sequence[str]) -> None:
    """Print the verdict, or write it as JSON."""
    asked = _parser().parse_args(words)
    if (asked.file is None) == (asked.mlflow is None):
        raise TableError("give either a FILE or --mlflow EXPERIMENT")
    columns = Asked(asked.label, asked.seed, asked.fold, asked.value, asked.where, asked.missing, asked.higher)
    if asked.mlflow is not None:
        from pipeline.tracking.reading import experiment

        table = experiment(asked.mlflow)
    else:
        table = read_table(Path(asked.file))
    document = verdict(replicates(table, columns), asked.baseline, asked.matters, asked.overlap, unpaired=asked.unpaired)
    if asked.json == "-":
        sys.stdout.write(json_file(document).decode())
        return
    if asked.json:
        _write(Path(asked.json), json_file(document))
    for line in told(document):
        print(line)


def _parser() -> argparse.ArgumentParser:
    parser = arguments("verdict", __doc__)
    parser.add_argument("file", nargs="?", metavar="FILE", help="CSV, Parquet or JSON, one row per run")
    parser.add_argument("--mlflow", metavar="EXPERIMENT", help="read this experiment at MLFLOW_TRACKING_URI instead")
    parser.add_argument(
        "--label",
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="what is compared; give it several times to compare combinations",
    )
    parser.add_argument("--seed", metavar="COLUMN", help="tells the repeated runs of a label apart; '' for none")
    parser.add_argument("--fold", metavar="COLUMN", help="folds of a cross-validation; '' for none")
    parser.add_argument("--value", "--metric", metavar="COLUMN", help="the figure to judge by")
    parser.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE", help="only these rows; also COLUMN!=VALUE"
    )
    parser.add_argument("--missing", choices=("diverged", "drop"), help="how to take runs without a final value")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--higher-is-better", dest="higher", action="store_true", default=None)
    way.add_argument("--lower-is-better", dest="higher", action="store_false")
    parser.add_argument("--baseline", metavar="LABEL", help="the label that the others are compared with")
    parser.add_argument("--matters", default="1%", metavar="SIZE", help="the smallest difference of interest: 1%%, or 0.002")
    parser.add_argument(
        "--overlap", metavar="SHARE", help="of the evaluated samples, the share that two seeds have in common, such as 20%%"
    )
    parser.add_argument("--unpaired", action="store_true", help="runs with the same seed have nothing in common")
    parser.add_argument("--json", metavar="FILE", help="also write all figures to FILE; - prints JSON alone")
    return parser


def verdict(
    runs: Replicates, baseline: str | None = None, matters: str = "1%", overlap: str | None = None, *, unpaired: bool = False
) -> Document:
    """All that is told of the runs, as it stands in JSON, null for what has no bound; TableError where nothing can be told."""
    size, relative = _size("--matters", matters)
    values, paired = _aligned(runs, unpaired)
    _refuse_unfit(runs, values, paired)
    reference, why = _baseline(values, baseline)
    rho = _size("--overlap", overlap)[0] if overlap else 1 / runs.folds if runs.folds > 1 else 0.0
    if rho >= 1 or (rho and not paired):
        raise TableError(f"--overlap {overlap}: must be below 100%, of labels that are paired; leave it out")
    margin = None if relative else size
    found = judge(values, reference, higher=runs.higher, paired=paired, overlap=rho, share=size, margin=margin)
    mean, sd, seeds = (float(found.table[column][reference]) for column in ("mean", "sd", "seeds"))
    if relative and abs(mean) < 2 * sd / np.sqrt(seeds):
        what = f"the mean of {reference} may be 0, and what matters is {matters} of it"
        runs.remarks.append(f"{what}; give --matters as a number in the unit of {runs.took['value'][0]}")
    return _document(runs, found, reference, why, paired, rho)


def _size(option: str, text: str) -> tuple[float, bool]:
    """A number, and whether it is a share."""
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if not 0 <= number < np.inf:
        raise TableError(f"{option} {text}: is no size; write a share such as 1%, or a number such as 0.002")
    return number, text.endswith("%")


def _aligned(runs: Replicates, unpaired: bool) -> tuple[dict[str, Floats], bool]:
    """Of each label its values, (seeds, 1); where labels are paired, on the seeds and folds that they share."""
    of = runs.values
    shared = set.intersection(*(set(own.index) for own in of.values()))
    fewest, most = (pick(map(len, of.values())) for pick in (min, max))
    is_named = bool(runs.took["seed"] or runs.took["fold"])
    if unpaired or not is_named or 2 * len(shared) < max(4, fewest):
        if runs.folds and len(of) > 1 < fewest:
            raise TableError("labels with folds are compared on those they share; number folds and seeds alike for all of them")
        if not unpaired:
            why = f"since labels share {len(shared)} seeds" if is_named else "for want of seeds' names"
            runs.remarks.append(f"unpaired, {why}")
        return {label: own.to_numpy(float)[:, None] for label, own in of.items()}, False
    if len(shared) < most:
        there = f"labels have {fewest} to {most} seeds" if fewest < most else "labels have different seeds"
        runs.remarks.append(f"{there}; compared on the {len(shared)} that all have (--unpaired takes all)")
    order = sorted(shared, key=lambda unit: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", unit)])
    return {label: own.loc[order].to_numpy(float)[:, None] for label, own in of.items()}, True


def _refuse_unfit(runs: Replicates, values: dict[str, Floats], paired: bool) -> None:
    name = runs.took["label"][0]
    if len(values) < 2:
        raise TableError(f"{name}: only {next(iter(values))} is there, and two make a comparison; say --label COLUMN")
    if len(values) > MOST:
        raise TableError(f"{name}: holds {len(values)} labels, and {MOST} can be compared; choose with --where or --label")
    if single := [label for label, own in values.items() if len(own) < 2]:
        who = f"{few(single)} {'have one seed each' if len(single) > 1 else 'has one seed'}"
        less = f" (or leave it out: --where {name}!={single[0]})" if len(values) - len(single) > 1 else ""
        why = "so nothing tells a difference from the luck of a seed"
        raise TableError(f"{who}, {why}; run every label with 5 seeds or more, a row each{less}")
    finite = [own[np.isfinite(own)] for own in values.values()]
    if any(len(own) > 1 for own in finite) and all(len(np.unique(own)) < 2 for own in finite):
        raise TableError("the values of each label are all the same, so seeds change nothing; see that the runs use their seed")
    if paired and (twins := _shifted(values)):
        what = f"{twins[0]} and {twins[1]} differ by the same on every seed, so nothing tells their noise"
        right = f"leave one of the two out (--where {name}!={twins[1]})" if runs.folds else "compare --unpaired"
        raise TableError(f"{what}; give the values with more digits, or {right}")


def _shifted(values: dict[str, Floats]) -> tuple[str, str] | None:
    """Two labels of which one is the other and a number more: their values are rounded too far."""
    for a, b in combinations(values, 2):
        apart = (values[a] - values[b])[np.isfinite(values[a] - values[b])]
        if len(apart) > 1 and np.ptp(apart) <= 1e-9 * np.abs(apart).max() and apart.any():
            return a, b
    return None


def _baseline(values: dict[str, Floats], given: str | None) -> tuple[str, str]:
    """The label that differences are taken to, and why that one."""
    if given is not None and given not in values:
        raise TableError(f"--baseline {given}: there is no such label; {suggestion(given, values)}")
    if given is not None:
        return given, "given"
    usual = [label for label in values if USUAL.fullmatch(label)]
    if usual:
        return usual[0], "by its name"
    most = max(map(len, values.values()))
    equal = all(len(own) == most for own in values.values())
    return next(label for label, own in values.items() if len(own) == most), "the first" if equal else "it has the most seeds"


def _document(runs: Replicates, found: Judgement, baseline: str, why: str, paired: bool, overlap: float) -> Document:
    table, mean = found.table, abs(found.table["mean"][baseline])
    if away := int(table["diverged"][baseline]):
        runs.remarks.append(
            f"{baseline} diverged in {away} of {table['seeds'][baseline]} runs; differences to it are of those that finished"
        )
    low, high = found.more or (np.nan, np.nan)
    add = "no" if found.more is None else "unknown" if np.isnan(low) else "in vain" if np.isinf(low) else "yes"
    document = {
        "metric": runs.took["value"][0],
        "better": "higher" if runs.higher else "lower",
        "columns": runs.took,
        "remarks": runs.remarks,
        "paired": paired,
        "overlap": overlap,
        "level": 1 - LEVEL,
        "baseline": {"label": baseline, "why": why},
        "matters": {"difference": found.margin, "share": found.margin / mean if mean else None},
        "noise": {"between_seeds": found.noise, "of_difference": found.noise_of_difference},
        "labels": table.rename_axis("label").rename(columns={"in_set": "may_be_best"}).reset_index().to_dict("records"),
        "may_be_best": list(table.index[table["in_set"]]),
        "recommended": {
            "label": found.recommended.label,
            "reason": found.recommended.reason.name.lower(),
            "bound": table["bound"].get(found.recommended.label, np.inf),
        },
        "smallest_found": list(found.found),
        "seeds": {"add": add, "from": low, "to": high},
    }
    return dict(json.loads(json_file(document)))


def _write(path: Path, content: bytes) -> None:
    try:
        write_files([(path, content)])
    except OSError as error:
        raise TableError(
            f"--json {path}: cannot be written ({error.strerror}); name a file in a folder that is there"
        ) from None
