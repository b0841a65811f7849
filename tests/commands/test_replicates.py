"""Tables of repeated runs: what foreign formats are taken for, and what is refused, with reason and remedy."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.commands.replicates import Asked, Replicates, replicates
from pipeline.commands.run_tables import TableError, read_table
from tests.commands import foreign

SOME = foreign.runs()
ROWS = [{"scheduler": label, "seed": seed, "val_loss": loss} for label, seed, loss in SOME]


def read(path: Path, **asked: object) -> Replicates:
    return replicates(read_table(path), Asked(**asked))  # type: ignore[arg-type]


def of(rows: object, **asked: object) -> Replicates:
    return replicates(pd.DataFrame(rows), Asked(**asked))  # type: ignore[arg-type, call-overload]


@pytest.mark.parametrize(
    ("write", "label", "value", "asked"),
    [
        (foreign.plain, "scheduler", "val_loss", {}),
        (foreign.wandb_runs, "lr_scheduler", "val_loss", {}),
        (foreign.wandb_chart, "name", "val_loss", {}),
        (foreign.trainer, "lr_scheduler_type", "eval_loss", {}),
        (foreign.search_runs, "params.scheduler", "metrics.val_loss", {}),
        (foreign.trials, "params_scheduler", "value", {"higher": False}),
        (foreign.sheet, "label", "val_loss", {"value": "val_loss"}),
        (foreign.json_lines, "config.scheduler", "summary.val_loss", {}),
    ],
)
def test_foreign_formats_hold_the_same_runs(
    write: object, label: str, value: str, asked: dict[str, object], tmp_path: Path
) -> None:
    found = read(write(tmp_path / "runs.csv", SOME), **asked)  # type: ignore[operator]
    assert found.took["label"] == [label]
    assert found.took["value"] == [value]
    assert not found.higher
    assert set(found.values) == set(foreign.EFFECTS)
    for name, seed, loss in SOME:
        assert found.values[name][str(seed)] == pytest.approx(loss)


def test_texts_are_unpacked_and_decoded_as_tables_are(tmp_path: Path) -> None:
    """Excel's CSV is in cp1252 or UTF-16, and what servers hand out is packed."""
    runs = [(label.replace("o", "ö"), seed, loss) for label, seed, loss in SOME]
    text = foreign.plain(tmp_path / "a.csv", runs).read_text("utf-8")
    expected = read(tmp_path / "a.csv").values
    kinds = {"b.csv": text.encode("cp1252"), "c.csv": text.encode("utf-16"), "d.csv.gz": gzip.compress(text.encode())}
    for name, content in kinds.items():
        (tmp_path / name).write_bytes(content)
        found = read(tmp_path / name).values
        assert {label: own.tolist() for label, own in found.items()} == {k: own.tolist() for k, own in expected.items()}


def test_labels_that_differ_only_in_capitals_are_noted() -> None:
    rows = [{**row, "scheduler": str(row["scheduler"]).upper() if row["seed"] == 1 else row["scheduler"]} for row in ROWS]
    assert "taken for different labels: constant and CONSTANT, cosine and COSINE" in of(rows).remarks[0]
    assert not of(ROWS).remarks


def test_a_search_of_scikit_learn_has_folds(tmp_path: Path) -> None:
    found = read(foreign.cv_results(tmp_path / "cv.csv"))
    assert found.took == {"label": ["param_C"], "seed": [], "fold": ["fold"], "value": ["score"]}
    assert found.higher
    assert found.folds == 5
    assert [len(own) for own in found.values.values()] == [5, 5, 5]


def test_parquet_and_csv_say_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS)
    frame.to_parquet(tmp_path / "runs.parquet")
    frame.to_csv(tmp_path / "runs.csv", sep=";", decimal=",", index=False)
    first, second = (read(tmp_path / name) for name in ("runs.parquet", "runs.csv"))
    for label, own in first.values.items():
        assert own.tolist() == second.values[label].tolist()


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        ("val_loss", False), ("valLoss", False), ("metrics.test/accuracy", True), ("R2Score", True), ("f1", True),
        ("eval_wer", False), ("neg_mean_squared_error_score", True), ("negative_log_likelihood", False), ("brier_score", False),
        ("error_rate", False), ("1-auc", False), ("1 - loss", True), ("1_minus_auc", None), ("loss_reduction", None),
        ("accuracy_gap", None), ("inverse_perplexity", None), ("acc_std", None), ("steps_to_accuracy", None),
        ("time_to_acc", None), ("epochs to 90% accuracy", None), ("val_acc_epoch", True), ("val_loss_step", False),
    ],
)  # fmt: skip
def test_direction_is_in_the_name(metric: str, higher: bool | None) -> None:
    rows = [{"model": m, "seed": s, metric: 0.1 * s} for m in "ab" for s in range(3)]
    if higher is None:
        with pytest.raises(TableError, match="the name does not say which way is better"):
            of(rows, value=metric)
    else:
        assert of(rows, value=metric).higher is higher


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (["loss", "val_accuracy", "val_loss"], "val_loss"),
        (["test_acc", "val_acc"], "val_acc"),
        (["train_loss", "test_acc"], "test_acc"),
        (["value", "loss"], "loss"),
        (["min_val_loss", "val_loss"], "val_loss"),
        (["std_score", "eval_runtime", "score"], "score"),
    ],
)
def test_the_likeliest_metric_is_judged(columns: list[str], chosen: str) -> None:
    rows = [{"model": m, "seed": s, **dict.fromkeys(columns, 0.5)} for m in "ab" for s in range(3)]
    assert of(rows).took["value"] == [chosen]


@pytest.mark.parametrize(
    ("name", "label", "seed"),
    [
        ("cosine-seed3", "cosine", "3"),
        ("cosine_s3", "cosine", "3"),
        ("a/b (seed 12)", "a/b", "12"),
        ("warm-up-07", "warm-up", "07"),
    ],
)
def test_names_of_runs_hold_label_and_seed(name: str, label: str, seed: str) -> None:
    found = of([{"run_name": name, "val_loss": 1.0}, {"run_name": "other-1", "val_loss": 1.0}])
    assert found.values[label].index.tolist() == [seed]


def test_names_that_repeat_are_labels() -> None:
    found = of([{"name": f"resnet-{n}", "seed": s, "val_loss": s} for n in (18, 50) for s in range(3)])
    assert list(found.values) == ["resnet-18", "resnet-50"]


def test_percent_signs_are_left_out() -> None:
    found = of([{"model": m, "seed": s, "accuracy": f"9{s}.5%"} for m in "ab" for s in range(3)])
    assert found.values["a"].tolist() == [90.5, 91.5, 92.5]


def test_what_diverged_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("model,seed,val_loss\na,0,nan\na,1,inf\na,2,1e200\na,3,-Infinity\na,4,1.5\nb,0,1\n", encoding="utf-8")
    assert read(path).values["a"].isna().tolist() == [True] * 4 + [False]
    flagged = of([row | {"diverged": row["seed"] == 0} for row in ROWS])
    assert flagged.values["cosine"].isna().tolist() == [True] + [False] * 5


def test_runs_without_a_final_value_are_asked_about(tmp_path: Path) -> None:
    rows = [row | {"state": "COMPLETE"} for row in ROWS]
    rows[3] |= {"state": "PRUNED"}
    with pytest.raises(
        TableError, match=r"state: is pruned, or val_loss empty, in line 5; say what .*: --missing diverged, or"
    ):
        of(rows)
    assert of(rows, missing="diverged").values["constant"].isna().sum() == 1
    dropped = of(rows, missing="drop")
    assert len(dropped.values["constant"]) == 5
    assert dropped.remarks == ["1 run without a final value left out"]


@pytest.mark.parametrize(("chance", "metric"), [(1.2, "val_acc"), (0.3, "mean_error")])
def test_small_numbers_beside_large_ones_are_in_one_unit_where_they_may_be(chance: float, metric: str) -> None:
    """One model at chance among a hundred classes beside others; an error in no unit at all."""
    rows = [{"scheduler": m, "seed": s, metric: x + s} for m, x in (("a", chance), ("b", 40.0)) for s in (0, 0.1)]
    assert len(of(rows).values) == 2


def test_what_aim_and_neptune_put_before_a_name_is_left_out() -> None:
    """With a column of theirs for runs that failed."""
    neptune = {"scheduler": "parameters/scheduler", "seed": "parameters/seed", "val_loss": "metrics/val_loss"}
    aim = {"scheduler": "hparams.scheduler", "seed": "hparams.seed"}
    frame = pd.DataFrame(ROWS)
    for names in (neptune, aim):
        found = of(frame.rename(columns=names).assign(Run=[f"run-{n}" for n in range(len(ROWS))]))
        assert found.took["label"] == [names["scheduler"]]
        assert found.took["seed"] == [names["seed"]]
    failed = frame.rename(columns=neptune).assign(**{"sys/failed": [True] + [False] * (len(ROWS) - 1)})
    with pytest.raises(TableError, match=r"sys/failed: is true, or metrics/val_loss empty, in line 2; say what became"):
        of(failed)
    assert len(of(failed, missing="drop").values["constant"]) == 5


@pytest.mark.parametrize("name", ["model", "dataset"])
def test_what_else_varies_is_noted(name: str) -> None:
    found = of([row | {name: "ab"[row["seed"] > 2]} for row in ROWS])  # type: ignore[operator]
    assert found.remarks == [f"{name} varies within a label, so a part of its noise is that"]


def test_the_index_of_a_parquet_file_is_read(tmp_path: Path) -> None:
    """As groupby leaves labels and seeds there."""
    frame = pd.DataFrame(ROWS)
    frame.set_index(["scheduler", "seed"]).to_parquet(tmp_path / "runs.parquet")
    found = read(tmp_path / "runs.parquet")
    assert (found.took["label"], found.took["seed"]) == (["scheduler"], ["seed"])
    assert found.values["step"].tolist() == frame[frame.scheduler == "step"].val_loss.tolist()


def test_several_columns_make_a_label() -> None:
    rows = [row | {"optimizer": name} for row in ROWS for name in ("sgd", "adam")]
    found = of(rows, label=["scheduler", "optimizer"])
    assert len(found.values) == 8
    assert "scheduler=cosine, optimizer=adam" in found.values
    assert set(of(rows, where=["optimizer=adam", "scheduler!=step"]).values) == {"constant", "cosine", "linear"}


@pytest.mark.parametrize("name", ["seed_{}", "seed {}", "run{}", "s{}", "{}"])
def test_each_column_may_be_a_seed(name: str) -> None:
    """A label a row, as papers print it."""
    found = of([{"scheduler": m} | {name.format(s): s + (m == "b") * s for s in range(3)} for m in "ab"], higher=True)
    assert found.values["b"].tolist() == [0, 2, 4]
    assert found.took["seed"] == ["seed"]
    assert of([{"method": m, "fold1": 1, "fold2": 2} for m in "ab"], higher=True).folds == 2


def test_each_column_may_be_a_metric_of_a_seed() -> None:
    """With a mean of them beside, which is no run; the metric's name says which way is better."""
    rows = [{"model": m} | {f"{what}_{s}": s + (m == "b") * s for what in ("val_acc", "loss") for s in (1, 2, 3)} for m in "ab"]
    found = of([row | {"val_acc_mean": 9} for row in rows], value="val_acc")
    assert found.values["b"].tolist() == [2, 4, 6]
    assert found.higher
    by_rate = of([{"max_lr": m} | {f"acc{s}": s + m * s for s in range(3)} for m in (1, 2)], label=["max_lr"])
    assert by_rate.values["2"].tolist() == [0, 3, 6]
    with pytest.raises(TableError, match="there are values of loss, val_acc; say which"):
        of(rows)


def test_the_numbers_of_a_metric_may_be_its_own() -> None:
    """The share of the right class among the first one, and among the first five."""
    rows = [{"model": m, "seed": s, "acc1": s + (m == "b") * s, "acc5": 1.0} for m in "ab" for s in range(3)]
    assert of(rows, value="acc1", higher=True).values["b"].tolist() == [0, 2, 4]
    with pytest.raises(TableError, match="which column holds what is judged is not clear"):
        of(rows)


def test_json_tells_what_diverged_from_what_is_empty(tmp_path: Path) -> None:
    """NaN is no JSON, but Python writes it."""
    rows = [row | {"val_loss": float("nan")} if n == 1 else row for n, row in enumerate(ROWS)]
    (tmp_path / "runs.json").write_text(json.dumps(rows))
    assert sum(own.isna().sum() for own in read(tmp_path / "runs.json").values.values()) == 1
    (tmp_path / "runs.json").write_text(json.dumps(rows).replace("NaN", "null"))
    with pytest.raises(TableError, match="val_loss: is empty in line 3; say what became of these runs"):
        read(tmp_path / "runs.json")


def test_both_runs_of_a_seed_of_this_pipeline_are_averaged() -> None:
    """A seed whose one run diverged has no value."""
    rows = [{"variant": "default", "scheduler": m, "seed": s, "stream": t, "validation_loss": s + t + (m == "a")}
            for m in "ab" for s in range(3) for t in (1, 2)]  # fmt: skip
    assert of(rows).values["a"].tolist() == [2.5, 3.5, 4.5]
    diverged = {**rows[0], "validation_loss": float("inf")}
    assert of([diverged, *rows[1:]]).values["a"].isna().tolist() == [True, False, False]


def test_a_header_of_two_levels(tmp_path: Path) -> None:
    """A CSV file's is refused, two columns of one name are; Parquet keeps both levels of each."""
    levels = [("params", "scheduler"), ("params", "seed"), ("val_loss", "")]
    frame = pd.DataFrame([list(row.values()) for row in ROWS], columns=pd.MultiIndex.from_tuples(levels))
    frame.to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(TableError, match="its header has params more than once; export without multi_index"):
        read(tmp_path / "runs.csv")
    frame.to_parquet(tmp_path / "runs.parquet")
    assert read(tmp_path / "runs.parquet").took["seed"] == ["params_seed"]


def test_many_folds_may_be_repeated_ones() -> None:
    rows = [{"method": m, "fold": fold, "accuracy": fold + (m == "a")} for m in "ab" for fold in range(15)]
    assert of(rows).remarks == ["15 folds are taken for one cross-validation's; of K repeated ones say --overlap 1/K (5: 20%)"]
    assert not of(rows[5:15] + rows[20:]).remarks


def test_rows_without_seeds_are_repeats() -> None:
    found = of([{"method": m, "accuracy": x} for m in "ab" for x in (0.1, 0.2, 0.3)])
    assert found.took["seed"] == []
    assert found.values["a"].tolist() == [0.1, 0.2, 0.3]


def test_hyperparameters_that_vary_are_noted() -> None:
    found = of([row | {"lr": 0.1 * row["seed"]} for row in ROWS])  # type: ignore[operator]
    assert found.remarks == ["lr varies within a label, so a part of its noise is that"]


def test_a_column_without_a_name_holds_the_labels_of_a_row_each() -> None:
    """As a merged cell above leaves it; means beside the seeds are none."""
    rows = [{"": label, "Seed 1": 0.1 + n, "Seed 2": 0.3 + n, "Mean": 0.2 + n} for n, label in enumerate(("cosine", "step"))]
    found = of(rows, higher=False)
    assert {label: [*values] for label, values in found.values.items()} == {"cosine": [0.1, 0.3], "step": [1.1, 1.3]}
    assert found.took == {"label": [""], "seed": ["seed"], "fold": [], "value": ["value"]}


@pytest.mark.parametrize(
    ("rows", "asked", "line"),
    [
        ([], {}, "there are no rows; give one row per run, below a header"),
        (
            [{"a": 1, "b": 2}],
            {},
            r"each column is taken for a label \(a, b\); say which way is better, --lower-is-better or .*--label and --value",
        ),
        (
            [{"a": 1, "b": "x"}],
            {},
            r"which column holds what is compared is not clear from the names \(a, b\); say it: --label COLUMN",
        ),
        ([{"model": m, "x": 2} for m in "ab"], {}, r"what is judged is not clear .*: --value COLUMN"),
        (ROWS, {"value": "vall_loss"}, r"vall_loss: there is no such column; did you mean val_loss\?"),
        (
            [{"method": m, "seed": 0, "metric": k, "value": 1.0} for m in "ab" for k in ("loss", "acc")],
            {"higher": True},
            "lines 2, 3 are all a with seed 0, and metric differs; choose one: --where metric=acc",
        ),
        (ROWS, {"where": ["seed"]}, "--where seed: is no condition; write COLUMN=VALUE"),
        (ROWS, {"where": ["seed=9"]}, "--where seed=9: no row has that; write one of 0, 1, 2"),
        ([{"model": m, "seed": 0, "objective": 1} for m in "ab"], {}, "objective: the name does not say which way is better"),
        ([*ROWS, ROWS[0]], {}, "lines 2, 26 are all constant with seed 0; keep one of them"),
        (
            [row | {"dataset": d} for row in ROWS for d in "xy"],
            {},
            r"lines 2, 3 are all constant with seed 0, and dataset differs; .*: --where dataset=y, or .*--label dataset",
        ),
        (
            [row | {"epoch": e} for row in ROWS for e in range(3)],
            {},
            r"lines 2, 3, 4 .* epoch differs; choose one: --where epoch=2$",
        ),
        (
            [row | {"epoch": e} for row in ROWS for e in range(3)],
            {"seed": ""},
            "epoch varies: .* --where epoch=2",
        ),
        (
            [{"scheduler": m, "params_lr": n, "val_loss": n} for m in "ab" for n in range(9)],
            {},
            "trials of a search, not repeats",
        ),
        (
            [row | {"split": p} for row in ROWS for p in ("train", "val")],
            {},
            r"split: says which part .*\(train, val\); choose one",
        ),
        (
            [row | {"val_loss": "0.5±0.1"} for row in ROWS],
            {"value": "val_loss"},
            r"val_loss: '0.5±0.1' in lines 2, 3, 4, 5, 6 and 19 more",
        ),
        ([*ROWS, {"scheduler": "a", "val_loss": 1.0}], {}, "seed: is empty in line 26; fill it"),
        ([*ROWS, {"seed": 1, "val_loss": 1.0}], {}, "scheduler: is empty in line 26; fill it"),
        (
            [{"seed": s, "a": 0.1, "b": 0.2} for s in (0, 1, "MW")],
            {"higher": False},
            "seed: is MW in line 4, which is no run; leave such rows out: --where 'seed!=MW'",
        ),
        (
            [{"method": m, "accuracy": "91.2 ± 0.3"} for m in "ab"],
            {},
            "accuracy: '91.2 ± 0.3' in lines 2, 3 is a mean of several runs; give the runs themselves",
        ),
        (
            [{"seed": s, "a": 0.1, "b": 0.2} for s in (0, 1, "mean", "std")],
            {"higher": False},
            "seed: is mean in line 4, which is no run; leave such rows out: --where 'seed!=mean'",
        ),
        (
            [{"scheduler": m, "seed": s, "perplexity": x} for m in "ab" for s, x in enumerate(("987", "1,005"))],
            {},
            "perplexity: is 1,005 in line 3, and a comma may part decimals or thousands; write the numbers",
        ),
        (
            [{"": label, "a": 0.1, "b": 0.2} for label in ("cosine", "step")],
            {"higher": False},
            r"which column holds what is judged is not clear from the names \(, a, b\)",
        ),
        (
            [*ROWS, {"scheduler": "* on one GPU"}],
            {},
            r"line 26: '\* on one GPU' stands alone there, which is no run; take it out",
        ),
        ([*ROWS, {"scheduler": "a", "seed": 1}], {}, "val_loss: is empty in line 26; say what became of these runs"),
        (
            [{"model": "a", "split0_test_f1": 1.0, "split0_test_acc": 1.0}],
            {"label": ["model"]},
            "there are values of acc, f1; say which: --value NAME",
        ),
        (
            [{"scheduler": m, "seed": s, "val_acc": 0.91 * unit} for m, unit in (("a", 1), ("b", 100)) for s in (0, 1)],
            {},
            r"val_acc: is 0.91 in line 2 and 91 in line 4, shares beside percentages; write all of them in one unit",
        ),
        (
            [{"Step": 1, "lr: 1 - acc": 0.8, "lr: 1 - acc__MIN": 0.7, "lr: 1 - acc__MAX": 0.9}],
            {},
            "lr: 1 is no run but means of several, as the chart groups them; ungroup the runs",
        ),
        (
            [{"Wall time": 1.7e9, "Step": 1, "Value": 0.5}],
            {},
            "curve of one run, as TensorBoard exports it; write a table with",
        ),
    ],
)
def test_mistakes_have_a_reason_and_a_remedy(rows: list[dict[str, object]], asked: dict[str, object], line: str) -> None:
    with pytest.raises(TableError, match=line) as told:
        of(rows, **asked)
    assert "\n" not in str(told.value)


def test_nothing_in_a_file_runs_or_reaches_the_terminal(tmp_path: Path) -> None:
    evil = "__import__('os').system('touch evil')"
    rows = [{"param_a": evil, "params": evil, "split0_test_score": 1.0}, {"param_a": "\x1b[2J", "split0_test_score": 0.0}]
    assert list(of(rows).values) == [evil, "?[2J"]
    assert not Path("evil").exists()
