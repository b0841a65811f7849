"""Colours that can be told apart, drawings that are the page's own, and the same bytes every time."""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis import figures
from pipeline.analysis.figures import (
    PALETTE,
    Panel,
    best_so_far,
    budget,
    critical_difference,
    forest,
    importances,
    learning_rate_gallery,
    loss_curves,
    palette,
    profile,
    sensitivity,
    standalone,
    styles,
    swatch,
)
from pipeline.analysis.statistics import compare

MakeRuns = Callable[[dict[tuple[str, str], list[float]]], pd.DataFrame]
MakeCurves = Callable[[pd.DataFrame, int], pd.DataFrame]
Array = npt.NDArray[np.float64]
NAN = float("nan")
ROOT = Path(__file__).parents[2]
PAGES = ("#ffffff", "#161a20")  # --card in the template, light and dark

# Machado, Oliveira & Fernandes (2009), severity 1.0, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> Array:
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: Array) -> Array:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_colours_can_be_told_apart(theme: int, sight: str) -> None:
    seen = [lab(np.array(SIGHT[sight]) @ linear(colours[theme])) for colours in PALETTE]
    # CIE76; 2.3 is what one just notices side by side, 10 is seen at a glance
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2)) > 18


@pytest.mark.parametrize("theme", [0, 1])
def test_every_colour_stands_out_from_its_page(theme: int) -> None:
    luminance = [float(linear(c) @ [0.2126, 0.7152, 0.0722]) + 0.05 for c in [PAGES[theme], *(p[theme] for p in PALETTE)]]
    page, *colours = luminance
    assert min(max(c / page, page / c) for c in colours) >= 3


def test_thirty_labels_all_look_different_and_keep_their_look() -> None:
    labels = [f"S{number}" for number in range(30)]
    looks = styles(labels)
    assert len(set(looks.values())) == 30
    assert styles(labels[:9]) == {label: looks[label] for label in labels[:9]}
    assert "stroke-dasharray" in swatch(looks["S8"])
    assert palette(0)[f"--scheduler-{looks['S8'].number}"] == PALETTE[looks["S8"].colour][0]


def test_dvcs_plots_have_the_same_colours_and_tell_as_many_apart() -> None:
    """By colour and marker; dashes are the revision's there."""
    line, points = json.loads((ROOT / ".dvc/plots/by_scheduler.json").read_text())["spec"]["layer"]
    colours, shapes = (points["encoding"][channel]["scale"]["range"] for channel in ("color", "shape"))
    assert colours == line["encoding"]["stroke"]["scale"]["range"] == [light for light, _ in PALETTE]
    assert len({(colours[n % len(colours)], shapes[n % len(shapes)]) for n in range(30)}) == 30
    assert line["encoding"]["strokeDash"]["field"] == "rev"


def test_points_differ_where_colours_repeat(make_runs: MakeRuns) -> None:
    """The eighth label has the first one's colour; its point in a forest is another shape."""
    labels = [f"S{number}" for number in range(8)]
    looks = styles(labels)
    assert (looks["S7"].colour, looks["S7"].marker != looks["S0"].marker) == (looks["S0"].colour, True)
    table = compare(make_runs({("default", label): [0.3, 0.4] for label in ("S0", "S7")}), "S0")
    drawn = {label: forest("P", table.assign(scheduler=label)[:1], "difference", "d", looks)[0].svg for label in ("S0", "S7")}
    curves = {label: len(re.findall(r"C[-\d]", svg)) for label, svg in drawn.items()}
    assert curves["S0"] > curves["S7"] == 0


def test_names_stand_beside_their_lines_and_none_over_another(make_runs: MakeRuns, make_curves: MakeCurves) -> None:
    """Twelve lines that end at the same loss: their names are a line of text apart, and stay in the panel."""
    labels = [f"S{number}" for number in range(12)]
    drawn = loss_curves("P", make_curves(make_runs({("default", label): [0.3, 0.4] for label in labels}), 3),
                        "validation_loss", "loss", styles(labels))[0].svg  # fmt: skip
    heights = sorted(float(y) for y, _ in re.findall(r'y="([\d.]+)"[^>]*>(S\d+)<', drawn))
    assert len(heights) == 12
    assert min(np.diff(heights)) > 8
    assert heights[0] > 0
    assert heights[-1] < 190


@pytest.fixture
def runs(make_runs: MakeRuns) -> pd.DataFrame:
    return make_runs(
        {
            (variant, label): [0.3 + 0.1 * place, 0.32, 0.5]
            for variant in ("default", "tuned")
            for place, label in enumerate(("A", "B", "C"))
        }
    )


@pytest.fixture
def panels(runs: pd.DataFrame, make_curves: MakeCurves) -> list[Panel]:
    """One of each kind of figure."""
    curves, style = make_curves(runs, 5), styles(["A", "B", "C"])
    return [
        *loss_curves("P", curves, "train_loss", "training loss", style),
        *learning_rate_gallery("P", curves, style, {}),
        *forest("P", compare(runs, "C"), "difference", "difference", style),
    ]


def test_there_is_a_panel_for_each_variant(panels: list[Panel]) -> None:
    assert [panel.variant for panel in panels] == ["default", "tuned"] * 3


def test_drawings_are_valid_described_and_take_their_colours_from_the_page(panels: list[Panel]) -> None:
    for panel in panels:
        # the namespace prefix is one that HTML knows by itself
        root = ElementTree.fromstring(str(panel.svg).replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))
        assert "A, B, C" in root.attrib["aria-label"]
        assert {"width", "height"}.isdisjoint(root.attrib)
        assert "currentColor" in panel.svg
        assert "var(--scheduler-2)" in panel.svg
        assert not re.search(r"#fe[01]|font-family|<style|<metadata|DejaVu", panel.svg)
        assert not re.search(rb"var\(|currentColor", standalone(panel.svg))


def test_drawings_are_the_same_bytes_every_time(runs: pd.DataFrame, make_curves: MakeCurves, panels: list[Panel]) -> None:
    again = loss_curves("P", make_curves(runs, 5), "train_loss", "training loss", styles(["A", "B", "C"]))
    assert again == panels[:2]


def test_panels_of_a_figure_share_their_axes(panels: list[Panel]) -> None:
    for default, tuned in (panels[:2], panels[4:]):
        assert re.findall(r">([^<>\n]+)</text>", default.svg) == re.findall(r">([^<>\n]+)</text>", tuned.svg)


def test_small_rates_keep_their_digits(runs: pd.DataFrame, make_curves: MakeCurves) -> None:
    curves = make_curves(runs, 5)
    curves["lr"] = 10.0 ** -curves["epoch"]
    panel = learning_rate_gallery("P", curves, styles(["A", "B", "C"]), {})[0]
    assert ">0.001</text>" in panel.svg


def test_the_recommended_run_is_the_thick_line(runs: pd.DataFrame, make_curves: MakeCurves) -> None:
    curves = make_curves(runs, 5)
    curves.loc[curves["seed"] == 1, "lr"] = 0.9
    style = styles(["A", "B", "C"])
    assert learning_rate_gallery("P", curves, style, {"A": "tuned-A-1"}) != learning_rate_gallery("P", curves, style, {})


@pytest.mark.parametrize("losses", [[NAN, NAN], [0.1, NAN], [0.1, 0.1], [0.0, 0.0]])
def test_odd_results_can_be_drawn(make_runs: MakeRuns, make_curves: MakeCurves, losses: list[float]) -> None:
    runs = make_runs({("default", "A"): losses, ("default", "B"): [0.1, 0.1]})
    curves, style = make_curves(runs, 1), styles(["A", "B"])
    kept = curves[~curves["run"].isin(runs.loc[runs["diverged"], "run"])]
    assert loss_curves("P", kept, "train_loss", "loss", style)
    assert learning_rate_gallery("P", curves.assign(lr=0.0), style, {})
    assert ("no seed to compare" in forest("P", compare(runs, "B"), "difference", "d", style)[0].svg) == np.isnan(losses[0])


def test_nothing_is_drawn_where_every_run_diverged(make_runs: MakeRuns, make_curves: MakeCurves) -> None:
    curves = make_curves(make_runs({("default", "A"): [NAN]}), 2)
    assert loss_curves("P", curves.iloc[:0], "train_loss", "loss", styles(["A"])) == []


def ticks(svg: str) -> list[float]:
    """The numbers that stand at axes, in the order drawn."""
    found = re.findall(r">([+\N{MINUS SIGN}]?[\d.]+)</text>", svg)
    return [float(text.replace("\N{MINUS SIGN}", "-")) for text in found]


def height_of_axis(svg: str) -> float:
    """The highest number at the vertical axis of curves over six epochs, whose own numbers end at 6."""
    return max(number for number in ticks(svg) if number not in range(1, 7))


def test_one_wide_band_does_not_set_the_scale_of_all_losses(make_runs: MakeRuns, make_curves: MakeCurves) -> None:
    usual: dict[tuple[str, str], Sequence[float]] = {("default", label): [0.41, 0.43, 0.45] for label in "ABCDE"}
    # Seed 3 puts the upper quartile of F at 0.45 + (40 less 0.45) / 4, about 10; its median is 0.44, the others' 0.43.
    wild = usual | {("default", "F"): [0.41, 0.43, 0.45, 40.0]}
    drawn = [
        loss_curves(
            "P", make_curves(make_runs({k: list(v) for k, v in losses.items()}), 6), "train_loss", "loss", styles("ABCDEF")
        )
        for losses in (usual, wild)
    ]
    calm, thrown = (height_of_axis(panels[0].svg) for panels in drawn)
    assert thrown == pytest.approx(calm, rel=0.15)  # linear, and as high as without F


def test_a_median_above_all_others_is_still_shown_whole(make_runs: MakeRuns, make_curves: MakeCurves) -> None:
    runs = make_runs({("default", label): [0.4, 0.4] for label in "ABCDE"} | {("default", "F"): [4.0, 4.0]})
    svg = loss_curves("P", make_curves(runs, 6), "train_loss", "loss", styles("ABCDEF"))[0].svg
    assert {0.5, 1, 5} <= set(ticks(svg))  # logarithmic from 0.4 to 8: the curves fall from twice their final loss


def test_an_interval_from_few_seeds_does_not_squeeze_the_others() -> None:
    rows = pd.DataFrame({"variant": "default", "scheduler": ["A", "B", "C"], "diverged": [8, 0, 0], "d": [0.1, 0.2, 0.0]})
    rows = rows.assign(d_low=[-50.0, 0.19, 0.0], d_high=[50.2, 0.21, 0.0])
    svg = forest("P", rows, "d", "d", styles(["A", "B", "C"]))[0].svg
    assert max(map(abs, ticks(svg))) < 1


def test_long_curves_are_thinned_to_what_can_be_seen(runs: pd.DataFrame, make_curves: MakeCurves) -> None:
    short, long = (
        len(loss_curves("P", make_curves(runs, epochs), "train_loss", "loss", styles(["A", "B", "C"]))[0].svg)
        for epochs in (figures.POINTS, 20 * figures.POINTS)
    )
    assert long < 1.2 * short


LABELS = tuple(f"Scheduler{number}" for number in range(12))  # as many as the default study has
RATES = (0.001, 0.01, 0.1, 1.0, 10.0)


def over_rates(losses: Mapping[str, Sequence[float]], diverged: Sequence[int] = (0, 0, 0, 0, 0)) -> pd.DataFrame:
    """A table for ``sensitivity``: loss of each scheduler at the rates of the grid, an interval of ± 0.01, ten seeds."""
    rows = [
        {"scheduler": label, "lr": lr, "validation_loss": loss, "diverged": count, "seeds": 10}
        for label, values in losses.items()
        for lr, loss, count in zip(RATES, values, diverged, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["scheduler", "lr", "validation_loss", "diverged", "seeds"])
    return table.assign(low=table["validation_loss"] - 0.01, high=table["validation_loss"] + 0.01)


def over_budgets(labels: Sequence[str]) -> pd.DataFrame:
    rows = [
        {"variant": variant, "epochs": epochs, "scheduler": label, "validation_loss": 1 + 1 / epochs, "low": 0.9, "high": 1.2}
        for variant, label, epochs in itertools.product(("default", "tuned"), labels, (12, 25, 50, 100))
    ]
    return pd.DataFrame(rows, columns=["variant", "epochs", "scheduler", "validation_loss", "low", "high"])


def over_trials(labels: Sequence[str], trials: int) -> pd.DataFrame:
    rows = [
        {"scheduler": label, "trial": trial, "middle": 1 + 1 / trial, "low": 0.9 + 1 / trial, "high": 1.1 + 1 / trial}
        for label, trial in itertools.product(labels, range(1, trials + 1))
    ]
    return pd.DataFrame(rows, columns=["scheduler", "trial", "middle", "low", "high"])


def solved(labels: Sequence[str], steps: int) -> pd.DataFrame:
    rows = [
        {"scheduler": label, "tau": 1 + 3 * step / steps, "share": step / steps}
        for label, step in itertools.product(labels, range(steps + 1))
    ]
    return pd.DataFrame(rows, columns=["scheduler", "tau", "share"])


def explained(labels: Sequence[str]) -> pd.DataFrame:
    rows = [
        {"scheduler": label, "parameter": parameter, "importance": 0.5, "low": 0.4, "high": 0.6}
        for label, parameter in itertools.product(labels, ("lr", "pct_start", "final_div_factor", "anneal_strategy"))
    ]
    return pd.DataFrame(rows, columns=["scheduler", "parameter", "importance", "low", "high"])


def evidence(labels: Sequence[str]) -> dict[str, list[Panel]]:
    """Every figure of the evidence, as large as a study of these schedulers draws it."""
    style = styles(labels)
    return {
        "sensitivity": sensitivity("P", over_rates(dict.fromkeys(labels, (0.9, 0.6, 0.5, 0.7, 0.9)), (0, 0, 0, 2, 9)), style),
        "best_so_far": best_so_far("P", over_trials(labels, 200), style),
        "budget": budget("P", over_budgets(labels), style),
        "profile": profile("P", solved(labels, 100), style),
        "importances": importances("P", explained(labels), style),
        "critical_difference": critical_difference("P", {label: 1.0 + n for n, label in enumerate(labels)}, 3.5, style),
    }


@pytest.fixture(scope="module")
def large() -> dict[str, list[Panel]]:
    return evidence(LABELS)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(standalone(svg))


def dots(svg: str) -> list[str]:
    """The fills of all markers."""
    return re.findall(r"<use [^>]*?style=\"fill: ([^;\"]+)", svg)


def paths(svg: str, style: str) -> list[str]:
    """The outlines of all paths with this in their style."""
    found = [path for path in parsed(svg).iter("{http://www.w3.org/2000/svg}path") if style in path.attrib.get("style", "")]
    return [path.attrib["d"] for path in found]


def points(outline: str) -> list[tuple[float, float]]:
    """The corners of an outline in points of the drawing, from its upper left."""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", outline)]


def test_evidence_is_small_described_and_has_ids_of_its_own(large: dict[str, list[Panel]]) -> None:
    ids = []
    for panel in itertools.chain.from_iterable(large.values()):
        assert len(panel.svg.encode()) <= 60_000
        assert all(label in parsed(panel.svg).attrib["aria-label"] for label in LABELS)
        own = re.findall(r' id="([^"]+)"', panel.svg)
        assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', panel.svg)) == set(own)
        ids += own
    assert len(ids) == len(set(ids))  # on one page, over all figures


@pytest.mark.slow
def test_evidence_is_the_same_bytes_every_time(large: dict[str, list[Panel]]) -> None:
    assert evidence(LABELS) == large


def test_evidence_has_a_panel_for_each_variant_it_is_of(large: dict[str, list[Panel]]) -> None:
    variants = {kind: [panel.variant for panel in panels] for kind, panels in large.items()}
    assert variants.pop("budget") == ["default", "tuned"]
    assert all(names == [""] for names in variants.values())
    both = pd.concat([solved("AB", 2).assign(variant=variant) for variant in ("default", "tuned")])
    assert [panel.variant for panel in profile("P", both, styles("AB"))] == ["default", "tuned"]


def test_tables_without_rows_draw_nothing() -> None:
    assert not any(evidence([]).values())


def test_where_all_seeds_diverged_there_is_nothing_to_draw() -> None:
    table = over_rates({"A": [NAN] * 5}, [10] * 5)
    assert sensitivity("P", table, styles("A")) == []
    assert sensitivity("P", over_rates({"A": [0.5] * 5}, [10] * 5), styles("A")) == []  # whatever number stands there
    for nothing in (NAN, float("inf")):
        assert best_so_far("P", over_trials("A", 3).assign(middle=nothing, low=nothing, high=nothing), styles("A")) == []
    assert budget("P", over_budgets("A").assign(validation_loss=NAN, low=NAN, high=NAN), styles("A")) == []


def test_points_with_diverged_seeds_are_hollow_and_lines_stop_where_all_diverged() -> None:
    svg = sensitivity("P", over_rates({"A": (0.9, 0.6, 0.5, 0.7, NAN)}, (0, 0, 0, 3, 10)), styles("A"))[0].svg
    assert dots(svg) == ["var(--scheduler-0)"] * 3 + ["var(--card)"]
    (line,) = paths(svg, "stroke-width: 1.2")
    assert len(points(line)) == 4
    assert 10 in ticks(svg)  # the axis goes on to where nothing was left


def test_a_loss_far_above_the_best_leaves_the_panel() -> None:
    svg = sensitivity("P", over_rates({"A": (50.0, 0.6, 0.5, 0.7, 9.0), "B": (80.0, 70.0, 60.0, 60.0, 60.0)}), styles("AB"))[
        0
    ].svg
    vertical = [number for number in ticks(svg) if number not in RATES]
    assert 1.2 <= max(vertical) <= 1.6  # the lowest is 0.5 less 0.01 of its interval; three times that is 1.47


def test_budgets_are_the_ticks_and_equal_factors_lie_equally_far_apart() -> None:
    svg = budget("P", over_budgets("A"), styles("A"))[0].svg
    assert {12, 25, 50, 100} <= set(ticks(svg))
    (line,) = paths(svg, "stroke-width: 1.2")
    x = [x for x, _ in points(line)]
    assert x[2] - x[1] == pytest.approx(x[3] - x[2], abs=0.11)  # 25 to 50 as 50 to 100


def test_steps_hold_their_value_until_the_next_change() -> None:
    table = pd.DataFrame({"scheduler": "A", "tau": [1.0, 2.0, 3.0], "share": [0.5, 0.5, 1.0]})
    (line,) = paths(profile("P", table, styles("A"))[0].svg, "stroke-width: 1.4")
    x, y = zip(*points(line), strict=True)
    width, left = 215.8, 36  # of the panel: 280 points less margins of 36, and of 28.2 with the name of the line
    # At tau 1 from nothing to a half; the row at tau 2 changes nothing; at 3, two thirds across, up to all; on to tau 4.
    assert sorted(set(x)) == pytest.approx([left, left + width * 2 / 3, left + width], abs=0.11)
    assert len(set(y)) == 3
    assert list(y) == sorted(y, reverse=True)  # upwards is less in a drawing


@settings(max_examples=15)
@given(st.lists(st.floats(1, 9), max_size=12), st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_a_profile_spans_the_axis_and_never_falls(taus: list[float], shares: list[float]) -> None:
    table = pd.DataFrame(
        {"scheduler": "A", "tau": sorted([1.0, *taus]), "share": [*np.sort(shares)[: len(taus)].tolist(), 1.0]}
    )
    (line,) = paths(profile("P", table, styles("A"))[0].svg, "stroke-width: 1.4")
    x, y = zip(*points(line), strict=True)
    assert (x[0], x[-1]) == (36, 251.8)
    assert list(x) == sorted(x)
    assert list(y) == sorted(y, reverse=True)


def test_long_studies_do_not_make_a_large_drawing() -> None:
    short, long = (len(best_so_far("P", over_trials("AB", trials), styles("AB"))[0].svg) for trials in (300, 3000))
    assert long < 1.3 * short


def test_the_bars_end_where_the_importance_is() -> None:
    table = explained(["A"]).iloc[:3].assign(importance=[0.25, 1.0, NAN])
    svg = importances("P", table, styles("A"))[0].svg
    widths = [max(x for x, _ in points(bar)) - min(x for x, _ in points(bar)) for bar in paths(svg, "opacity: 0.75")]
    assert widths[0] == pytest.approx(widths[1] / 4, abs=0.11)
    assert len(widths) == 2
    assert ">unknown</text>" in svg
    words = ["peak rate", "pct_start", "final_div_factor"]
    assert [text for text in re.findall(r">([a-z_ ]+)</text>", svg) if text in words] == words


def bars(ranks: Mapping[str, float], cd: float) -> list[list[float]]:
    """The ranks from and to which each bar of a group reaches, read from the drawing."""
    svg = critical_difference("P", ranks, cd, styles(list(ranks)))[0].svg
    (axis, *_), groups = paths(svg, "stroke-width: 0.8"), paths(svg, "stroke-width: 2.6")
    (left, _), (right, _) = points(axis)
    per_rank = (right - left) / (len(ranks) - 1)
    return [[round(1 + (x - left) / per_rank, 1) for x, _ in points(bar)] for bar in groups]


def test_bars_join_the_largest_groups_that_do_not_differ() -> None:
    ranks = {"D": 3.0, "A": 1.0, "B": 1.5, "C": 2.0, "E": 4.0}
    assert bars(ranks, 0.75) == [[1, 1.5], [1.5, 2]]  # A and C are 1 apart, D and E alone
    assert bars(ranks, 1.25) == [[1, 2], [2, 3], [3, 4]]  # A to C in one; B and D are 1.5 apart
    assert bars(ranks, 1.0) == [[1, 1.5], [1.5, 2]]  # at least the critical difference apart: they differ (Demšar, 2006)
    assert bars(ranks, 9) == [[1, 4]]
    assert bars(ranks, 0.25) == []


def test_equal_ranks_and_a_single_scheduler_can_be_ranked() -> None:
    assert len(bars({"A": 1.5, "B": 1.5}, 1.0)) == 1
    assert critical_difference("P", {"A": 1.0}, 1.0, styles("A"))


def test_the_axis_of_ranks_holds_the_bar_of_the_critical_difference() -> None:
    svg = critical_difference("P", {"A": 1.0, "B": 2.5, "C": 2.5}, 1.25, styles("ABC"))[0].svg
    axis, *_, bar = (points(line) for line in paths(svg, "stroke-width: 0.8"))
    assert np.ptp([x for x, _ in bar]) == pytest.approx(np.ptp([x for x, _ in axis]) * 1.25 / 2, abs=0.11)
    assert ">critical difference 1.25</text>" in svg


def test_a_standalone_file_needs_no_page(large: dict[str, list[Panel]]) -> None:
    for panel in itertools.chain.from_iterable(large.values()):
        content = standalone(panel.svg)
        root = ElementTree.fromstring(content)
        assert content.startswith(b"<?xml ")
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].attrib == {"width": "280", "height": root.attrib["viewBox"].split()[3], "fill": "#fff"}  # the paper
        assert not re.search(rb"var\(|currentColor", content)


def test_a_standalone_file_names_the_schedulers_it_is_asked_to(large: dict[str, list[Panel]]) -> None:
    style = styles(["A & <B>", "var(--ink)", "a label so long that it needs a row of its own"])
    plain, named = (ElementTree.fromstring(standalone(large["profile"][0].svg, legend)) for legend in (None, style))
    texts = [element.text for element in named.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[-3:] == list(style)  # a name stays what it is, also one that looks like a colour
    assert float(named.attrib["viewBox"].split()[3]) > float(plain.attrib["viewBox"].split()[3])


def test_a_standalone_file_has_the_colours_of_the_light_page(large: dict[str, list[Panel]]) -> None:
    page = Path(figures.__file__).parents[1] / "templates" / "report.css"
    light = dict(re.findall(r"(--[\w-]+): (#\w+)", page.read_text(encoding="utf-8").partition("@media")[0])) | palette(0)
    used = set(re.findall(r"#[0-9a-f]{6}|#[0-9a-f]{3}\b", standalone(large["profile"][0].svg).decode()))
    assert used == {light[name] for name in ("--ink", "--grid", "--card", *palette(0))}


def test_only_a_figure_becomes_a_file() -> None:
    with pytest.raises(ValueError, match="not an SVG element"):
        standalone("<p>no</p>")


def test_a_drawing_does_not_hang_on_the_styles_of_others() -> None:
    """Others in the process, or a matplotlibrc, may have set anything; here all that matplotlib's ggplot style does."""
    import matplotlib.pyplot as plt

    table = pd.DataFrame({"scheduler": ["A"] * 3, "trial": [1, 2, 3], "middle": [3.0, 2.0, 2.0]})
    table = table.assign(low=table["middle"] - 0.5, high=table["middle"] + 0.5)
    style = figures.styles(["A"])
    before = figures.best_so_far("P", table, style)
    with plt.style.context("ggplot"):
        assert figures.best_so_far("P", table, style) == before
