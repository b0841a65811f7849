"""What the reader is told of sureness follows from what was asked for and what there is."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.analysis.statistics import Overlap
from pipeline.analysis.sure import multiplicity, population
from pipeline.analysis.tables import ProblemResults, gather
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import Params, load_params
from tests.analysis.conftest import MakeRuns
from tests.analysis.test_noise import MakeCurves

PARAMS = """
seeds: 2
problems:
  P: {dataset: {name: digits}, model: {name: linear}, optimizer: {name: SGD, lr: 0.5}, epochs: 3, batch_size: 8}
  Fixed:
    {dataset: {name: digits}, resample: false, model: {name: linear}, optimizer: {name: SGD, lr: 1}, epochs: 3, batch_size: 1}
schedulers: {base: {name: ConstantLR}}
report: {baseline: base}
"""


@pytest.fixture
def params(tmp_path: Path) -> Params:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    return load_params(CATALOGUE, path)


@pytest.fixture
def results(params: Params, make_runs: MakeRuns, make_curves: MakeCurves) -> ProblemResults:
    runs = make_runs({("default", label): [0.1, 0.2] for label in ("base", "A", "B")})
    return gather("P", params.problems["P"], ["base"], [(runs, make_curves(runs, 2))])


def test_an_interval_says_what_it_speaks_of(params: Params, results: ProblemResults) -> None:
    fixed = replace(results, params=params.problems["Fixed"])
    shared = replace(results, overlap=Overlap(validation=0.2))
    assert "this split alone" in population(fixed)
    assert "fresh samples" in population(results)
    assert "a correlation of 0.20" in population(shared)


def test_families_are_counted(params: Params, results: ProblemResults) -> None:
    said = multiplicity(params, [results])
    assert "than base: within a problem and a variant all comparisons (2) are one family" in said[0]
    assert not any("problems, statements" in sentence for sentence in said)


def test_several_problems_are_not_one(params: Params, results: ProblemResults) -> None:
    *_, last = multiplicity(params, [results] * 4)
    assert last.startswith("Over 4 problems, statements that each hold with 95% may be false on one or another with up to 20%;")
