"""``python -m pipeline verdict``: words and JSON say one thing, known answers are found, mistakes are told in a line."""

import contextlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import __main__
from pipeline.commands import verdict
from pipeline.commands.replicates import Asked, replicates
from pipeline.commands.run_tables import TableError
from pipeline.commands.telling import ROWS, told
from tests.commands import foreign
from tests.conftest import ROOT

PAGE = (ROOT / "docs/verdict.md").read_text(encoding="utf-8")
Shown = pytest.CaptureFixture[str]


def judged(capsys: Shown, *words: object) -> dict[str, Any]:
    verdict.main([*map(str, words), "--json", "-"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def table(path: Path, columns: dict[str, list[object]]) -> Path:
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def by_label(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["label"]: row for row in document["labels"]}


def test_known_answers(tmp_path: Path, capsys: Shown) -> None:
    found = judged(capsys, foreign.plain(tmp_path / "a.csv", foreign.runs(seeds=20, own=0.001)), "--baseline", "constant")
    rows = by_label(found)
    assert {label: row["verdict"] for label, row in rows.items()} == {
        "constant": "baseline", "cosine": "better", "linear": "better", "step": "practically equal",
    }  # fmt: skip
    for label, effect in foreign.EFFECTS.items():
        assert rows[label]["difference"] == pytest.approx(effect, abs=0.002)
        assert rows[label]["bound"] >= effect + 0.05
    assert found["may_be_best"] == ["cosine"]
    assert found["recommended"] == {"label": "cosine", "reason": "preferred", "bound": 0.0}
    assert found["noise"]["of_difference"] == pytest.approx(0.001 * np.sqrt(2), rel=0.3)
    assert found["seeds"]["add"] == "no"
    assert found["baseline"] == {"label": "constant", "why": "given"}


def test_a_share_of_a_mean_that_may_be_zero_is_told(tmp_path: Path, capsys: Shown) -> None:
    values: list[object] = [0.011, -0.012, 0.002, -0.001, 0.051, 0.042, 0.037, 0.064]
    file = table(tmp_path / "a.csv", {"label": [*"aaaabbbb"], "seed": [1, 2, 3, 4] * 2, "score": values})
    found = judged(capsys, file, "--higher-is-better", "--baseline", "a")
    assert by_label(found)["a"]["mean"] == 0
    assert found["remarks"] == [
        "the mean of a may be 0, and what matters is 1% of it; give --matters as a number in the unit of score"
    ]
    assert judged(capsys, file, "--higher-is-better", "--baseline", "a", "--matters", "0.002")["remarks"] == []
    assert judged(capsys, file, "--higher-is-better", "--baseline", "b")["remarks"] == []


@pytest.mark.parametrize(
    ("effects", "own", "words"),
    [(foreign.EFFECTS, 0.007, []), (foreign.EFFECTS, 0.1, ["--unpaired"]), (dict.fromkeys(map(str, range(20)), 0.0), 0.01, [])],
)
def test_json_and_words_say_the_same(
    effects: dict[str, float], own: float, words: list[str], tmp_path: Path, capsys: Shown
) -> None:
    path = foreign.plain(tmp_path / "a.csv", foreign.runs(effects, own=own))
    document = judged(capsys, path, *words)
    verdict.main([str(path), *words, "--json", str(tmp_path / "a.json")])
    lines = capsys.readouterr().out.splitlines()
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == document
    assert lines == told(document)
    assert len(lines) <= 10 + min(len(effects), ROWS)
    numbers = [
        row[key] for row in document["labels"] for key in ("mean", "difference", "low", "high", "bound") if row[key] is not None
    ]
    numbers += [*document["noise"].values(), *document["matters"].values(), *document["smallest_found"]]
    known = np.array([number for number in numbers if number is not None])
    for figure in foreign.figures("\n".join(lines[1:])):
        places = len(figure.partition(".")[2])
        assert np.abs(known - float(figure)).min() <= 0.51 * 10**-places, figure
    if document["seeds"]["add"] == "yes":
        assert f"{document['seeds']['from']:.0f}" in lines[-1]


def test_every_format_gives_one_verdict(tmp_path: Path, capsys: Shown) -> None:
    some = foreign.runs()
    writers = (foreign.plain, foreign.wandb_runs, foreign.wandb_chart, foreign.trainer, foreign.search_runs, foreign.trials)
    found = [
        judged(capsys, write(tmp_path / "a.csv", some), "--lower-is-better", "--baseline", "constant") for write in writers
    ]
    for other in found[1:]:
        assert [row["label"] for row in other["labels"]] == [row["label"] for row in found[0]["labels"]]
        for row, first in zip(other["labels"], found[0]["labels"], strict=True):
            assert row["high"] == pytest.approx(first["high"])
            assert row["bound"] == pytest.approx(first["bound"])


def test_folds_speak_of_data_like_these(tmp_path: Path, capsys: Shown) -> None:
    path = foreign.cv_results(tmp_path / "cv.csv")
    found, these = judged(capsys, path), judged(capsys, path, "--overlap", "0")
    assert (found["overlap"], these["overlap"]) == (0.2, 0.0)
    wide, narrow = (np.ptp([by_label(x)["1"][end] for end in ("low", "high")]) for x in (found, these))
    assert wide == pytest.approx(narrow * 1.5, rel=1e-6)  # Nadeau and Bengio's √(1 + 5 / 4) of five folds
    verdict.main([str(path)])
    assert "Intervals speak of data like these, 20% of a part in common." in capsys.readouterr().out


def test_labels_with_other_seeds(tmp_path: Path, capsys: Shown) -> None:
    some = foreign.runs(seeds=8)
    partly = [run for run in some if not (run[0] == "cosine" and run[1] < 2)]
    found = judged(capsys, foreign.plain(tmp_path / "a.csv", partly))
    assert found["paired"]
    assert found["remarks"] == ["labels have 6 to 8 seeds; compared on the 6 that all have (--unpaired takes all)"]
    assert {row["seeds"] for row in found["labels"]} == {6}
    apart = [(label, seed + 100 * place, loss) for place, (label, seed, loss) in enumerate(some)]
    found = judged(capsys, foreign.plain(tmp_path / "a.csv", apart))
    assert not found["paired"]
    assert found["remarks"] == ["unpaired, since labels share 0 seeds"]
    assert found["noise"]["of_difference"] is None
    assert by_label(judged(capsys, foreign.plain(tmp_path / "a.csv", some), "--unpaired"))["step"]["high"] == pytest.approx(
        by_label(found)["step"]["high"]
    )


def test_repeats_without_seeds_are_unpaired(tmp_path: Path, capsys: Shown) -> None:
    path = table(tmp_path / "a.csv", {"method": ["a", "b"] * 4, "accuracy": [0.5, 0.9, 0.51, 0.91, 0.52, 0.89, 0.5, 0.9]})
    found = judged(capsys, path)
    assert (found["paired"], found["better"], found["recommended"]["label"]) == (False, "higher", "b")
    assert found["remarks"] == ["unpaired, for want of seeds' names"]
    assert by_label(found)["b"]["low"] < 0.3975 < by_label(found)["b"]["high"]


def test_diverged_runs_are_never_made_up_for(tmp_path: Path, capsys: Shown) -> None:
    path = foreign.plain(tmp_path / "a.csv", foreign.runs(own=0.001))
    frame = pd.read_csv(path, dtype=str)
    frame.loc[(frame["scheduler"] == "cosine") & (frame["seed"] < "2"), "val_loss"] = "nan"
    frame.to_csv(path, index=False)
    found = judged(capsys, path)
    assert (by_label(found)["cosine"]["verdict"], by_label(found)["cosine"]["bound"]) == ("diverged", None)
    assert found["recommended"]["label"] == "linear"
    verdict.main([str(path)])
    assert re.search(r"^cosine .* 2 of 6 diverged +none$", capsys.readouterr().out, re.MULTILINE)
    frame.assign(val_loss="inf").to_csv(path, index=False)
    verdict.main([str(path)])
    assert "Nothing can be recommended: no run finished." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("matters", "verdicts"), [("0.5%", "open"), ("20%", "practically equal"), ("0.1", "practically equal")]
)
def test_what_matters_decides(matters: str, verdicts: str, tmp_path: Path, capsys: Shown) -> None:
    found = judged(capsys, foreign.plain(tmp_path / "a.csv", foreign.runs({"a": 0.0, "b": 0.0})), "--matters", matters)
    assert by_label(found)["b"]["verdict"] == verdicts
    assert found["seeds"]["add"] == ("yes" if verdicts == "open" else "no")


@pytest.mark.parametrize(
    ("labels", "chosen", "why"),
    [
        (["cosine", "Baseline"], "Baseline", "by its name"),
        (["x", "ConstantLR"], "ConstantLR", "by its name"),
        (["x", "y"], "x", "the first"),
    ],
)
def test_the_baseline_is_told(labels: list[str], chosen: str, why: str, tmp_path: Path, capsys: Shown) -> None:
    found = judged(capsys, foreign.plain(tmp_path / "a.csv", foreign.runs(dict.fromkeys(labels, 0.0))))
    assert found["baseline"] == {"label": chosen, "why": why}


@settings(max_examples=10)
@given(order=st.permutations(range(24)), columns=st.permutations(["scheduler", "seed", "val_loss"]), draw=st.integers(0, 9))
def test_order_and_names_change_nothing(order: list[int], columns: list[str], draw: int, tmp_path: Path) -> None:
    path = foreign.plain(tmp_path / "a.csv", foreign.runs(draw=draw))
    frame = pd.read_csv(path)
    first = verdict.verdict(replicates(frame, Asked()), "constant")
    other = {"constant": "p", "cosine": "q", "linear": "r", "step": "s"}  # in the same order, on which random draws depend
    moved = frame.iloc[order][columns].replace({"scheduler": other})
    second = verdict.verdict(replicates(moved, Asked()), "p")
    for row, own in zip(first["labels"], second["labels"], strict=True):
        assert own | {"label": ""} == pytest.approx(row | {"label": ""}, nan_ok=True)
        assert own["label"] == other[row["label"]]


@pytest.mark.parametrize(
    ("rows", "words", "line"),
    [
        (
            "a,0,1 b,0,2",
            "",
            r"a, b have one seed each, so nothing tells .* luck of a seed; run every label with 5 seeds or more",
        ),
        ("a,0,1 a,1,2 b,0,2 b,1,4 c,0,1", "", r"c has one seed, .* \(or leave it out: --where model!=c\)"),
        ("a,0,1 a,1,2", "", "model: only a is there, and two make a comparison"),
        ("a,0,1 a,1,1 b,0,2 b,1,2", "", "so seeds change nothing; see that the runs use their seed"),
        ("a,0,1 a,1,2 b,0,2 b,1,4", "--baseline c", "--baseline c: there is no such label; write one of a, b"),
        ("a,0,1 a,1,2 b,0,2 b,1,4", "--matters little", "--matters little: is no size; write a share such as 1%"),
        ("a,0,1 a,1,2 b,0,2 b,1,4", "--matters=-1%", "--matters -1%: is no size"),
        ("a,0,1 a,1,2 b,0,2 b,1,4", "--overlap 100%", "--overlap 100%: must be below 100%"),
        ("a,0,1 a,1,2 b,0,2 b,1,4", "--overlap 20% --unpaired", "--overlap 20%: must be"),
        ("a,0,1 a,1,2 b,0,2 b,1,4", "--json /dev/null/a.json", "--json /dev/null/a.json: cannot be written"),
        ("a,0,1 a,1,2 b,0,2 b,1,3", "", "a and b differ by the same on every seed, .*; give the values with more digits"),
        (" ".join(f"{n},{s},{s + n}" for n in range(61) for s in range(2)), "", "holds 61 labels, and 60 can be compared"),
    ],
)
def test_what_tells_nothing_is_refused(rows: str, words: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("model,seed,loss\n" + rows.replace(" ", "\n"), encoding="utf-8")
    with pytest.raises(TableError, match=line) as told:
        verdict.main([str(path), *words.split()])
    assert "\n" not in str(told.value)


def test_a_call_without_anything_to_read(capsys: Shown) -> None:
    for words in ([], ["a.csv", "--mlflow", "digits"]):
        with pytest.raises(TableError, match="give either a FILE or --mlflow EXPERIMENT"):
            verdict.main(words)


def test_two_seeds_are_enough_for_a_wide_answer(tmp_path: Path, capsys: Shown) -> None:
    found = judged(capsys, foreign.plain(tmp_path / "a.csv", foreign.runs(seeds=2)))
    assert np.ptp([by_label(found)["step"][end] for end in ("low", "high")]) > 3 * found["noise"]["of_difference"]
    found = judged(capsys, foreign.plain(tmp_path / "a.csv", foreign.runs({"a": 0.0, "b": 0.0}, seeds=2)))
    assert np.ptp([by_label(found)["b"][end] for end in ("low", "high")]) > 17 * found["noise"]["of_difference"]  # 2 t / √2
    assert found["seeds"]["add"] == "yes"


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_any_size_of_numbers_can_be_told(size: float, tmp_path: Path, capsys: Shown) -> None:
    some = [(label, seed, loss * size) for label, seed, loss in foreign.runs()]
    verdict.main([str(foreign.plain(tmp_path / "a.csv", some))])
    assert max(map(len, capsys.readouterr().out.splitlines())) < 160


def test_a_baseline_that_never_finished(tmp_path: Path, capsys: Shown) -> None:
    some = [(label, seed, np.nan if label == "constant" else loss) for label, seed, loss in foreign.runs()]
    path = tmp_path / "a.parquet"
    pd.DataFrame(some, columns=["scheduler", "seed", "val_loss"]).to_parquet(path)
    found = judged(capsys, path, "--missing", "diverged", "--baseline", "constant")
    assert set(found["may_be_best"]) <= {"cosine", "linear"}
    best = min(row["mean"] for row in found["labels"] if row["mean"] is not None)
    assert found["matters"] == {"difference": pytest.approx(0.01 * best), "share": None}
    assert {row["verdict"] for row in found["labels"]} == {"better", "baseline"}
    verdict.main([str(path), "--missing", "diverged", "--baseline", "constant"])
    told = capsys.readouterr().out
    assert "Note: 6 runs without a final value counted as diverged." in told
    assert "Note: constant diverged in 6 of 6 runs; differences to it are of those that finished." in told
    assert "none that matters" not in told


def test_the_page_shows_what_is_printed(capsys: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the page runs from the repository's root, and prints what stands below it."""
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```sh\n(python -m pipeline verdict docs/[^\n]*)\n```\n+```\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == PAGE.count("verdict docs/") == 3
    for command, printed in blocks:
        monkeypatch.setattr("sys.argv", ["pipeline", *shlex.split(command)[3:]])
        with contextlib.suppress(SystemExit):
            __main__.main()
        shown = capsys.readouterr()
        assert (shown.out + shown.err).strip() == printed.strip()
