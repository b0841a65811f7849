"""Repeated runs out of the tables that people have: which column is the label, the seed, the fold and the value.

Files of one's own, Weights & Biases' exports (of the runs, and of a chart), MLflow's ``search_runs``, Optuna's
``trials_dataframe`` and scikit-learn's ``cv_results_``. What a column is shows in its name, and what was taken for what is
told.
"""

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.commands.run_tables import TableError
from pipeline.config.wording import counted, few, suggestion
from pipeline.data.cells import THOUSANDS

if TYPE_CHECKING:
    Cells = pd.Series[Any]

# Names in small letters, the likelier first.
_LABELS = """label scheduler lr_scheduler lr_scheduler_type scheduler_name scheduler_type sched schedule
lr_schedule method algorithm algo arm treatment condition variant
config configuration setup model model_name architecture optimizer optim group name run_name mlflow_run_name dir_name run"""
_SEEDS = """seed random_seed random_state rng_seed model_seed init_seed run_seed replicate replication rep repeat repetition"""
_LOWER = """loss error err mse rmse mae mape smape mase nll perplexity ppl wer cer eer fid kid bpb bpc brier ece regret entropy
crossentropy bce logloss deviance distance cost"""
_HIGHER = """acc accuracy top1 top5 auc auroc auprc roc ap map f1 fscore r2 score precision recall bleu rouge rouge1 rouge2
rougel meteor iou miou dice jaccard mcc kappa psnr ssim reward return returns success winrate ndcg mrr spearman pearson
correlation likelihood elbo sensitivity specificity"""
_SHARES = """acc accuracy top1 top5 auc auroc auprc ap map f1 fscore precision recall iou miou dice jaccard sensitivity
specificity wer cer"""
_DONE = "finished complete completed success succeeded done ok"
_NOT_DONE = "failed fail crashed killed running pruned scheduled waiting pending error preempted canceled"
LABELS, SEEDS, LOWER, HIGHER = _LABELS.split(), _SEEDS.split(), set(_LOWER.split()), set(_HIGHER.split())
NAMES = LABELS[-5:]
"""Of runs; label and seed are taken out of those that occur once and end with a number."""
FOLDS = ["fold", "split", "cv_fold", "cv_split", "k_fold", "kfold", "outer_fold"]
STEPS = ["epoch", "step", "iteration", "iter", "global_step", "trainer_global_step", "round"]
SETTINGS = {"lr", "learning_rate", "batch_size", "weight_decay", "momentum", "dropout", "epochs"}
_CHANGES = """change decrease degradation delta diff difference disparity drop gain gap improvement increase inv inverse minus
reciprocal reduction sem std time seconds minutes hours steps epochs iterations iters"""
CHANGES = set(_CHANGES.split())
"""Words of what is made of a metric, which may go either way, or of how long one takes: of steps_to_accuracy less is better."""
NO_FINAL = {"std", "sem", "rank", "best", "min", "max", "lowest", "highest"}
"""Words of what is no run's final figure: the best of many epochs is chosen by itself."""
NAMELESS = ["", "unnamed_0", "index"]
_SUMMARIES = "mean avg average median std stdev sd sem se min max var all total overall summary"
SUMMARIES = _SUMMARIES.split()
"""What people write in place of a seed below the runs, in English; among numbers, any text is such."""
FACTORS = {*LABELS[: LABELS.index("group")], "dataset", "data", "task"}
"""What else may have been varied."""
GENERIC = {"value", "objective", "metric", "result", "fitness"}
VALIDATION, TEST, TRAINING = {"val", "valid", "validation", "eval", "dev"}, {"test"}, {"train", "training"}
NOT_FINITE = ["nan", "inf", "-inf", "+inf", "infinity", "-infinity"]
TENSORBOARD = ["Wall time", "Step", "Value"]
FARTHEST = 1e100
"""A value beyond has diverged."""
SHARES = set(_SHARES.split())
"""Metrics that some write as shares, others as percentages."""
_PREFIX = re.compile(
    r"^(params|param|parameters|hparams|hparam|hyperparameters|metrics|config|summary|tags|user_attrs|attributes|sys)[._/]"
)
_REPEAT = re.compile(rf"(({'|'.join([*SEEDS, *FOLDS, 'run', 's'])})_?)?\d+")
_NUMBERED = re.compile(r"(.+?)_?(\d+)")
_SPLIT, _CURVE = re.compile(r"split(\d+)_test_(.+)"), re.compile(r"(.+) - (.+)")
_RUN_NAME = re.compile(r"(.+?)(?:[\s_/.,(-]+(?:seed|run|rep|s)?[\s_=:-]*|seed[_=:]?)(\d+)\)?", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """What the command line says of the columns; what it leaves out is recognised."""

    label: Sequence[str] = ()
    seed: str | None = None
    fold: str | None = None
    value: str | None = None
    where: Sequence[str] = ()
    missing: str | None = None
    higher: bool | None = None


@dataclass(frozen=True)
class Replicates:
    """Of each label its values by seed and fold, NaN where the run diverged; and what was taken for what."""

    values: "dict[str, Cells]"
    took: dict[str, list[str]]
    higher: bool
    folds: int
    remarks: list[str]


def replicates(table: pd.DataFrame, asked: Asked) -> Replicates:
    """The repeated runs of a table; TableError with the reason and the remedy where there are none."""
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    if [*table.columns] == TENSORBOARD:
        what = "this is the curve of one run, as TensorBoard exports it"
        raise TableError(f"{what}; write a table with a row per run: its label, its seed, and the last Value of its curve")
    table = _chosen(table.apply(_texts).dropna(how="all"), asked.where)
    _refuse_summaries(table)
    remarks: list[str] = []
    table = _as_long(table, asked, remarks)
    if table.empty:
        raise TableError("there are no rows; give one row per run, below a header")
    took = _recognised(table, asked)
    higher = _higher(took["value"][0]) if asked.higher is None else asked.higher
    values, is_left_out = _values(table, took["value"][0], asked.missing, remarks)
    frame = pd.DataFrame({"label": _labels(table, took), "value": values})
    frame["unit"] = _units(table, frame["label"], took)
    frame, table = frame[~is_left_out], table[~is_left_out]
    if tuned := _settings_within(table, frame["label"], took, FACTORS):
        remarks.append(f"{few(tuned)} varies within a label, so a part of its noise is that")
    if {"variant", "stream"} <= set(table):  # this pipeline's own runs: two draws of weights and order a seed
        frame = frame.groupby(["label", "unit"], sort=False)["value"].mean(skipna=False).reset_index()
    _refuse_copies(table, frame, took)
    found = {str(label): rows.set_index("unit")["value"] for label, rows in frame.groupby("label", sort=False)}
    alike: dict[str, list[str]] = {}
    for label in found:
        alike.setdefault(label.casefold(), []).append(label)
    if same := [labels for labels in alike.values() if len(labels) > 1]:
        remarks.append(f"taken for different labels: {few(' and '.join(labels) for labels in same)}")
    if (folds := table[took["fold"][0]].nunique() if took["fold"] else 0) > 10:
        remarks.append(f"{folds} folds are taken for one cross-validation's; of K repeated ones say --overlap 1/K (5: 20%)")
    return Replicates(found, took, higher, folds, remarks)


def _texts(cells: "Cells") -> "Cells":
    """Cells as texts that can be printed, whole numbers in one spelling, 1 and 1.0; empty ones are missing."""
    texts = cells.astype("string").str.strip().str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
    return texts.map(lambda text: "".join(c if c.isprintable() else "?" for c in text), na_action="ignore").replace("", pd.NA)


def _bare(name: str) -> str:
    """A column's name in small letters, words parted by _, without what a tracker puts before it."""
    name = _PREFIX.sub("", re.sub("([a-z0-9])([A-Z])", r"\1_\2", name).lower())
    return re.sub("[^a-z0-9]+", "_", name).strip("_")


def _column(table: pd.DataFrame, given: str) -> str:
    """The column of that name, or the only one that is called so without its prefix."""
    near = [given] if given in table.columns else [name for name in table.columns if _bare(name) == _bare(given)]
    if len(near) == 1:
        return near[0]
    what = "there are several of them" if near else "there is no such column"
    raise TableError(f"{given}: {what}; {suggestion(given, near or table.columns)}")


def _chosen(table: pd.DataFrame, where: Sequence[str]) -> pd.DataFrame:
    """The rows for which all of ``COLUMN=VALUE`` and ``COLUMN!=VALUE`` hold."""
    for condition in where:
        name, separator, value = condition.partition("=")
        if not separator:
            raise TableError(f"--where {condition}: is no condition; write COLUMN=VALUE or COLUMN!=VALUE")
        cells = table[_column(table, name.removesuffix("!"))]
        same = (cells == _texts(pd.Series([value]))[0]).fillna(False).astype(bool)
        if not same.any():
            raise TableError(f"--where {condition}: no row has that; {suggestion(value, list(cells.dropna().unique()[:20]))}")
        table = table[~same if name.endswith("!") else same]
    return table


def _as_long(table: pd.DataFrame, asked: Asked, remarks: list[str]) -> pd.DataFrame:
    """One row per run and fold, of the formats that have several values in a row.

    Those are scikit-learn's ``cv_results_``, with a column per split; the export of a chart of Weights & Biases, with a
    column ``run - metric`` per run and a row per step, of which the last value counts; a sheet with a column per label; and
    a column per seed, with or without the metric's name before its number.
    """
    names, value = list(table.columns), asked.value
    if not asked.label and value not in names and (columns := _sheet(table)):
        said = f"each column is taken for a label ({few(columns, 6)})"
        if asked.higher is None and value is None:
            way = "say which way is better, --lower-is-better or --higher-is-better"
            raise TableError(f"{said}; {way}; where they are none, --label and --value COLUMN")
        remarks.append(said)
        return _melted(table, columns, "label", value)
    repeats = [name for name in names if _REPEAT.fullmatch(_bare(name))]
    if len(repeats) > 1 and value not in names and not any(_numbers_and_slips(table[name])[1].any() for name in repeats):
        role = "fold" if _bare(repeats[0]).startswith(tuple(FOLDS)) else "seed"
        remarks.append(f"each column is taken for a {role} ({few(repeats, 6)})")
        return _melted(table, repeats, role, value)
    if value not in names and (numbered := _numbered(names)):
        metric = _one_metric(numbered, value)
        remarks.append(f"each column is taken for a seed ({few(numbered[metric], 6)})")
        words = {name: {*_bare(name).split("_")} for name in names}
        means = [name for name, own in words.items() if own & {*SUMMARIES} and own & (LOWER | HIGHER)]
        return _melted(table.drop(columns=means), numbered[metric], "seed", metric)
    if splits := [found for found in map(_SPLIT.fullmatch, names) if found]:
        metric = _one_metric((part[2] for part in splits), value)
        keep = [name for name in names if not _SPLIT.fullmatch(name) and not re.match("(mean|std|rank)_", name)]
        rows = [table[keep].assign(fold=part[1], **{metric: table[part[0]]}) for part in splits if part[2] == metric]
        return pd.concat(rows, ignore_index=True)
    is_chart = len(names) > 1 and all(map(_CURVE.fullmatch, names[1:]))
    return _last_values(table, value, remarks) if is_chart else table


def _numbered(names: Iterable[str]) -> dict[str, list[str]]:
    """Columns of a metric with the number of a seed behind, from 0 or 1 upwards and three or more: acc1 and acc5 are none."""
    numbers: dict[str, dict[int, str]] = {}
    for name in names:
        found = _NUMBERED.fullmatch(_bare(name))
        if found and {*found[1].split("_")} & (LOWER | HIGHER):
            numbers.setdefault(found[1], {})[int(found[2])] = name
    are_seeds = {metric: sorted(own) in ([*range(len(own))], [*range(1, len(own) + 1)]) for metric, own in numbers.items()}
    return {metric: [*own.values()] for metric, own in numbers.items() if are_seeds[metric] and len(own) > 2}


def _last_values(chart: pd.DataFrame, value: str | None, remarks: list[str]) -> pd.DataFrame:
    """A row per line of a chart of Weights & Biases."""
    step, *lines = chart.columns
    curves = [found for found in map(_CURVE.fullmatch, lines) if found and not re.search("__(MIN|MAX)$", found[2])]
    if means := [part[1] for part in curves if ": " in part[1] and _has_band(chart, part[0])]:
        are = "is no run" if len(means) == 1 else "are no runs"
        what = f"{few(means)} {are} but means of several, as the chart groups them"
        raise TableError(f"{what}; ungroup the runs and export the chart again, or export the table of runs")
    metric = _one_metric((part[2] for part in curves), value)
    last = {part[1]: chart[part[0]].dropna().tail(1) for part in curves if part[2] == metric}
    steps = few(chart.loc[cells.index[0], step] for cells in last.values() if len(cells))
    remarks.append(f"the last value of each run, at {step} {steps}")
    values = [cells.iloc[0] if len(cells) else pd.NA for cells in last.values()]
    return pd.DataFrame({"name": list(last), metric: values}, dtype="string")


def _one_metric(found: Iterable[str], value: str | None) -> str:
    """The metric that columns have the values of, or of several the one that is asked for."""
    metrics = sorted(set(found))
    if len(metrics) > 1 and value not in metrics:
        raise TableError(f"there are values of {', '.join(metrics)}; say which: --value NAME")
    return value if value in metrics else metrics[0]


def _melted(table: pd.DataFrame, columns: list[str], role: str, value: str | None) -> pd.DataFrame:
    """A row per value of these columns, whose names are the ``role``."""
    kept = [name for name in table.columns if name not in columns]
    return table.melt(kept, columns, role, value or "value", ignore_index=False).astype("string")


def _has_band(table: pd.DataFrame, name: str) -> bool:
    """Whether a chart's line has others below itself: those of its group, ``setting: value``, or steps drawn as one."""
    lowest = f"{name}__MIN"
    return lowest in table and not _numbers(table[name]).equals(_numbers(table[lowest]))


def _sheet(table: pd.DataFrame) -> list[str]:
    """The columns of numbers, where nothing else but seeds and folds stands in a table, and no name tells of a metric."""
    columns = [name for name in table.columns if _bare(name) not in [*SEEDS, *FOLDS, *NAMELESS]]
    known = {*LABELS, *SETTINGS, *LOWER, *HIGHER, *GENERIC, *VALIDATION, *TEST, *TRAINING}
    words = {word for name in columns for word in (_bare(name), *_bare(name).split("_"))}
    found = {name: _numbers_and_slips(table[name]) for name in columns}
    are_steps = any(_bare(name) in STEPS and (own.dropna() % 1 == 0).all() for name, (own, _) in found.items())  # or StepLR
    are_numbers = len(columns) > 1 and not any(wrong.any() for _, wrong in found.values())
    is_sheet = are_numbers and known.isdisjoint(words) and not are_steps and not _labels_without_name(table)
    return columns if is_sheet else []


def _labels_without_name(table: pd.DataFrame) -> list[str]:
    """Columns of texts below no name that number nothing, as a table with a row per label has."""
    nameless = [name for name in table.columns if _bare(name) in NAMELESS]
    return [name for name in nameless if not all(_REPEAT.fullmatch(_bare(cell)) for cell in table[name].dropna())]


def _recognised(table: pd.DataFrame, asked: Asked) -> dict[str, list[str]]:
    """The columns of label, seed, fold and value; without a seed or a fold the list is empty."""
    varies = [name for name in table.columns if table[name].nunique() > 1]
    searched = [name for name in table.columns if name.startswith("param_") and _bare(name) not in SEEDS]

    def first(known: Sequence[str], given: str | None, among: Iterable[str] = varies) -> list[str]:
        if given is not None:
            return [_column(table, given)] if given else []
        return [name for word in known for name in among if _bare(name) == word][:1]

    label = [_column(table, name) for name in asked.label] or [name for name in searched if name in varies]
    took = {
        "label": label or first(LABELS, None) or first(LABELS, None, table.columns) or _labels_without_name(table)[:1],
        "seed": first(SEEDS, asked.seed, table.columns),
        "fold": first(FOLDS, asked.fold),
        "value": first((), asked.value) or _metrics(table)[:1],
    }
    for role, what in (("label", "what is compared"), ("value", "what is judged")):
        if not took[role]:
            there = few(table.columns, 30)
            raise TableError(f"which column holds {what} is not clear from the names ({there}); say it: --{role} COLUMN")
    for name in took["fold"]:
        if parts := {part for part in table[name].dropna() if _bare(part) in VALIDATION | TEST | TRAINING}:
            raise TableError(f"{name}: says which part a value is of ({few(sorted(parts))}); choose one: --where {name}=PART")
    return took


def _metrics(table: pd.DataFrame) -> list[str]:
    """Columns that look like something to be judged, the likeliest first: of validation, of test, without either word."""
    ranked = []
    for place, name in enumerate(table.columns):
        words = set(_bare(name).split("_"))
        part = 0 if words & VALIDATION else 1 if words & TEST else 2
        kind = 0 if "loss" in words else 1 if words & (LOWER | HIGHER) else 2
        is_one = words & (LOWER | HIGHER | GENERIC) and not words & (TRAINING | NO_FINAL)
        if is_one and table[name].notna().any():
            ranked.append((not _numbers(table[name]).notna().any(), kind == 2, part, kind, place, name))
    return [name for *_, name in sorted(ranked)]


def _higher(metric: str) -> bool:
    """Whether more of it is better: of ``1 - auc`` less is."""
    first, *more = _bare(metric).split("_")
    words = {first, *more}
    if not words & (LOWER | HIGHER) or words & CHANGES:
        what = "the name does not say which way is better"
        raise TableError(f"{metric}: {what}; say it: --lower-is-better or --higher-is-better")
    is_turned = bool(words & {"neg", "negative"}) or (first == "1" and bool(more))
    return (not words & LOWER) != is_turned


def _labels(table: pd.DataFrame, took: dict[str, list[str]]) -> "Cells":
    """The label of each row; where that is a run's name, it may bring the seed along."""
    names = took["label"]
    if len(names) > 1:
        named = (table[name].map(f"{_bare(name)}={{}}".format, na_action="ignore").fillna("") for name in names)
        return pd.Series([", ".join(filter(None, row)) for row in zip(*named, strict=True)], table.index)
    cells = table[names[0]]
    _refuse_empty(cells)
    are_of_runs = _bare(names[0]) in NAMES and cells.is_unique
    parts = [_RUN_NAME.fullmatch(name) for name in cells] if are_of_runs else [None]
    if not all(parts):
        return cells
    table["number in the name"] = [part[2] for part in parts if part]
    took["seed"] = took["seed"] or ["number in the name"]
    return pd.Series([part[1] for part in parts if part], table.index)


def _units(table: pd.DataFrame, labels: "Cells", took: dict[str, list[str]]) -> "Cells":
    """Seed and fold of each row, which pair the labels; without either, the row's number within its label."""
    if columns := took["seed"] + took["fold"]:
        for name in columns:
            _refuse_empty(table[name])
        return table[columns].agg("/".join, axis=1)
    if curve := next((n for n in table.columns if _bare(n) in STEPS and table.groupby(labels)[n].nunique().max() > 1), None):
        last = table[curve].iloc[int(_numbers(table[curve]).fillna(-math.inf).argmax())]
        what = f"no column holds seeds, and {curve} varies: these are curves"
        raise TableError(f"{what}; say which rows count: --where {curve}={last}")
    if tuned := _settings_within(table, labels, took):
        what = f"no column holds seeds, and {tuned[0]} varies within a label: these are trials of a search, not repeats"
        raise TableError(f"{what}; run the best of each label with several seeds, or name their column: --seed COLUMN")
    return labels.groupby(labels).cumcount()


def _settings_within(table: pd.DataFrame, labels: "Cells", took: dict[str, list[str]], known: Iterable[str] = ()) -> list[str]:
    """Columns of hyperparameters, and of what else is ``known``, that vary within a label."""
    used = {name for names in took.values() for name in names}
    others, known = [name for name in table.columns if name not in used], {*SETTINGS, *known}
    settings = [name for name in others if re.match("(params?|config)[._/]", name) or _bare(name) in known]
    return [n for n in settings if _bare(n) not in SEEDS + FOLDS and table.groupby(labels)[n].nunique().max() > 1]


def _refuse_summaries(table: pd.DataFrame) -> None:
    """Means and the like in a row below the runs; a note, which stands alone in its row."""
    if (notes := table[(table.notna().sum(axis=1) == 1) & (len(table.columns) > 2)]).size:
        text = notes.iloc[0].dropna().iloc[0]
        raise TableError(f"{_lines(notes[:1])}: {text[:30]!r} stands alone there, which is no run; take it out")
    for name in (each for each in table.columns if _bare(each) in [*SEEDS, *FOLDS, *NAMELESS]):
        cells = table[name].dropna()
        is_odd = ~cells.str.isdecimal() if cells.str.isdecimal().mean() > 0.5 else cells.str.lower().isin(SUMMARIES)
        if (found := cells[is_odd]).size:
            what = f"is {found.iloc[0]} in {_lines(found[:1])}, which is no run"
            raise TableError(f"{name}: {what}; leave such rows out: --where {shlex.quote(f'{name}!={found.iloc[0]}')}")


def _refuse_empty(cells: "Cells") -> None:
    if cells.isna().any():
        raise TableError(
            f"{cells.name}: is empty in {_lines(cells[cells.isna()])}; fill it, or leave other rows out with --where"
        )


def _values(table: pd.DataFrame, name: str, missing: str | None, remarks: list[str]) -> "tuple[Cells, Cells]":
    """The values, NaN where a run diverged, and which rows are left out."""
    texts, (values, wrong) = table[name], _numbers_and_slips(table[name])
    if wrong.any():
        what = f"{texts[wrong].iloc[0][:30]!r} in {_lines(texts[wrong])} is"
        if texts[wrong].str.contains(r"\d[ _]*(?:±|\+/?-|\\pm|\()", regex=True).all():
            raise TableError(f"{name}: {what} a mean of several runs; give the runs themselves, each in a row of its own")
        raise TableError(f"{name}: {what} no number; write one, or nan for a run that diverged")
    _refuse_unclear_commas(texts)
    gone, why = texts.isna(), f"{name}: is empty in"
    for column in (n for n in table.columns if _bare(n) in {"state", "status"}):
        states = table[column].str.lower().str.split(".").str[-1]
        undone = states.isin(_NOT_DONE.split())
        if undone.any() and (undone | states.isin(_DONE.split()) | states.isna()).all():
            gone, why = gone | undone, f"{column}: is {few(states[undone])}, or {name} empty, in"
    for column in (n for n in table.columns if _bare(n) in {"failed", "crashed"}):
        undone = table[column].str.lower().isin(["true", "1"])
        gone, why = gone | undone, f"{column}: is true, or {name} empty, in" if undone.any() else why
    if gone.any() and missing is None:
        remedy = "--missing diverged, or --missing drop if it has nothing to do with how they went"
        raise TableError(f"{why} {_lines(texts[gone])}; say what became of these runs: {remedy}")
    if gone.any():
        what = "left out" if missing == "drop" else "counted as diverged"
        remarks.append(f"{counted(gone.sum(), 'run')} without a final value {what}")
    _refuse_two_units(name, values)
    known = values.where(~gone & (values.abs() < FARTHEST))
    for column in (n for n in table.columns if _bare(n) == "diverged"):
        known = known.mask(table[column].str.lower().isin(["true", "1"]))
    return known, gone & (missing == "drop")


def _refuse_unclear_commas(texts: "Cells") -> None:
    """1,234 beside 987: the one or the thousand."""
    commas = texts[texts.str.contains(",", regex=False).fillna(False).astype(bool)]
    if len(commas) and commas.str.removesuffix("%").str.fullmatch(THOUSANDS).all():
        what = f"is {commas.iloc[0]} in {_lines(commas[:1])}, and a comma may part decimals or thousands"
        raise TableError(f"{texts.name}: {what}; write the numbers of this column with points, or without any mark")


def _refuse_two_units(name: str, values: "Cells") -> None:
    """0.92 beside 91.3: where all shares would be percentages like the others', they are that."""
    small, large = values[(values > 0) & (values < 1)], values[(values > 1) & (values <= 100)]
    if not set(_bare(name).split("_")) & SHARES or small.empty or large.empty:
        return
    if len(small) + len(large) == values.notna().sum() and (100 * small / large.median()).between(0.5, 2).all():
        raise TableError(
            f"{name}: is {small.iloc[0]:g} in {_lines(small[:1])} and {large.iloc[0]:g} in {_lines(large[:1])}, shares beside "
            "percentages; write all of them in one unit"
        )


def _numbers(texts: "Cells") -> "Cells":
    """The numbers in cells, without percent signs and with points for decimal commas where all cells have them; else NaN."""
    texts = texts.str.removesuffix("%") if texts.dropna().str.endswith("%").all() else texts
    texts = texts.str.replace(",", ".") if texts.dropna().str.fullmatch(r"[+-]?\d*,?\d+").all() else texts
    return pd.to_numeric(texts, errors="coerce").astype("float64")


def _numbers_and_slips(texts: "Cells") -> tuple["Cells", "Cells"]:
    """The same, and which cells hold something that is no number, nor says that there is none."""
    numbers = _numbers(texts)
    return numbers, numbers.isna() & texts.notna() & ~texts.str.lower().isin(NOT_FINITE)


def _refuse_copies(table: pd.DataFrame, frame: pd.DataFrame, took: dict[str, list[str]]) -> None:
    """A second run of a label with the same seed and fold: something else differs, or it is a copy."""
    twice = frame[frame.duplicated(["label", "unit"], keep=False)]
    if twice.empty:
        return
    label, unit = twice[["label", "unit"]].iloc[0]
    same = table.loc[twice.index[(twice["label"] == label) & (twice["unit"] == unit)]]
    what = f"{_lines(same)} are all {label} with {'/'.join(took['seed'] + took['fold'])} {unit}"
    used = {name for names in took.values() for name in names}
    used |= {name for name in _metrics(table) if _numbers(table[name]).notna().any()}  # or it says which metric a row is of
    apart = [
        n for n in table.columns if n not in used and same[n].nunique() == len(same) and table[n].nunique() <= len(table) / 2
    ]
    apart.sort(key=lambda name: (_bare(name) not in STEPS, _bare(name) not in LABELS, table[name].nunique()))
    if not apart:
        raise TableError(f"{what}; keep one of them, or number the seeds anew")
    one = f"--where {apart[0]}={same[apart[0]].iloc[-1]}"
    both = f", or compare them too: {' '.join(f'--label {n}' for n in [*took['label'], apart[0]])}"
    raise TableError(f"{what}, and {apart[0]} differs; choose one: {one}{both * (_bare(apart[0]) not in STEPS)}")


def _lines(rows: "Cells | pd.DataFrame") -> str:
    """Where rows stand in a file, below its header."""
    return f"line{'s' if len(rows) > 1 else ''} {few(place + 2 for place in rows.index)}"
