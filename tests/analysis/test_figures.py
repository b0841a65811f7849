"""Colours that can be told apart, drawings that are the page's own, and the same bytes every time."""

import itertools
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from pipeline.analysis import figures
from pipeline.analysis.figures import PALETTE, Panel, forest, learning_rate_gallery, loss_curves, palette, styles, swatch
from pipeline.analysis.statistics import compare

MakeRuns = Callable[[dict[tuple[str, str], list[float]]], pd.DataFrame]
MakeCurves = Callable[[pd.DataFrame, int], pd.DataFrame]
Array = npt.NDArray[np.float64]
NAN = float("nan")
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
    assert min(max(c / page, page / c) for c in colours) >= 2.9


def test_thirty_labels_all_look_different_and_keep_their_look() -> None:
    labels = [f"S{number}" for number in range(30)]
    looks = styles(labels)
    assert len(set(looks.values())) == 30
    assert styles(labels[:9]) == {label: looks[label] for label in labels[:9]}
    assert "stroke-dasharray" in swatch(looks["S8"])
    assert f"--scheduler-{looks['S8'].colour}" in palette(0)


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
        *learning_rate_gallery("P", curves, style),
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


def test_drawings_are_the_same_bytes_every_time(runs: pd.DataFrame, make_curves: MakeCurves, panels: list[Panel]) -> None:
    again = loss_curves("P", make_curves(runs, 5), "train_loss", "training loss", styles(["A", "B", "C"]))
    assert again == panels[:2]


def test_panels_of_a_figure_share_their_axes(panels: list[Panel]) -> None:
    for default, tuned in (panels[:2], panels[4:]):
        assert re.findall(r">([^<>\n]+)</text>", default.svg) == re.findall(r">([^<>\n]+)</text>", tuned.svg)


def test_small_rates_keep_their_digits(runs: pd.DataFrame, make_curves: MakeCurves) -> None:
    curves = make_curves(runs, 5)
    curves["lr"] = 10.0 ** -curves["epoch"]
    panel = learning_rate_gallery("P", curves, styles(["A", "B", "C"]))[0]
    assert ">0.001</text>" in panel.svg


def test_the_recommended_run_is_the_thick_line(runs: pd.DataFrame, make_curves: MakeCurves) -> None:
    curves = make_curves(runs, 5)
    curves.loc[curves["seed"] == 1, "lr"] = 0.9
    style = styles(["A", "B", "C"])
    assert learning_rate_gallery("P", curves, style, {"A": "tuned-A-1"}) != learning_rate_gallery("P", curves, style)


@pytest.mark.parametrize("losses", [[NAN, NAN], [0.1, NAN], [0.1, 0.1], [0.0, 0.0]])
def test_odd_results_can_be_drawn(make_runs: MakeRuns, make_curves: MakeCurves, losses: list[float]) -> None:
    runs = make_runs({("default", "A"): losses, ("default", "B"): [0.1, 0.1]})
    curves, style = make_curves(runs, 1), styles(["A", "B"])
    kept = curves[~curves["run"].isin(runs.loc[runs["diverged"], "run"])]
    assert loss_curves("P", kept, "train_loss", "loss", style)
    assert learning_rate_gallery("P", curves.assign(lr=0.0), style)
    assert ("no seed to compare" in forest("P", compare(runs, "B"), "difference", "d", style)[0].svg) == np.isnan(losses[0])


def test_nothing_is_drawn_where_every_run_diverged(make_runs: MakeRuns, make_curves: MakeCurves) -> None:
    curves = make_curves(make_runs({("default", "A"): [NAN]}), 2)
    assert loss_curves("P", curves.iloc[:0], "train_loss", "loss", styles(["A"])) == []


def test_an_interval_from_few_seeds_does_not_squeeze_the_others() -> None:
    rows = pd.DataFrame({"variant": "default", "scheduler": ["A", "B", "C"], "diverged": [8, 0, 0], "d": [0.1, 0.2, 0.0]})
    rows = rows.assign(d_low=[-50.0, 0.19, 0.0], d_high=[50.2, 0.21, 0.0])
    svg = forest("P", rows, "d", "d", styles(["A", "B", "C"]))[0].svg
    ticks = [float(text.replace("\N{MINUS SIGN}", "-")) for text in re.findall(r">([+\N{MINUS SIGN}]?[\d.]+)</text>", svg)]
    assert max(map(abs, ticks)) < 1


def test_long_curves_are_thinned_to_what_can_be_seen(runs: pd.DataFrame, make_curves: MakeCurves) -> None:
    short, long = (
        len(loss_curves("P", make_curves(runs, epochs), "train_loss", "loss", styles(["A", "B", "C"]))[0].svg)
        for epochs in (figures.POINTS, 20 * figures.POINTS)
    )
    assert long < 1.2 * short
