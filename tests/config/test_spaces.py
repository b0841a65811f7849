"""Search spaces in params.yaml: what is right is read as written, what is wrong is told at its place."""
# ruff: noqa: E501  # a table of whole messages

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.catalogue import CATALOGUE
from pipeline.config.errors import ParamsError
from pipeline.config.params import Params, load_params
from pipeline.config.spaces import PeakRates, Range

TEXT = """\
seeds: 2
problems:
  tiny:
    dataset: {name: synthetic}
    model: {name: linear}
    optimizer: {name: SGD, lr: 0.5}
    epochs: 4
    batch_size: 16
schedulers:
  StepLR: {args: {step_size: 30%}, search: {SEARCH}}
  MultiStepLR: {args: {milestones: [30%, 80%]}, search: {LIST}}
  CyclicLR: {args: {base_lr: 1%, max_lr: 100%, cycle_momentum: false}, search: {CYCLIC}}
  LinearLR: {args: {start_factor: 1.0, end_factor: 0.0}, warmup: 5%, search: {WARM}}
tune: {TUNE}
report: {baseline: StepLR}
"""
HERE = "¦"
"""Stands before the place that a message must name."""
RANGE = "one of low, high, log, over, of, after"
LENGTH = "write a whole number from 1 up, or a percentage of the run such as 30%"
RATE = "write a number from 0 up, or a percentage of the optimizer's learning rate such as 10%"
PEAK = RATE.replace("from 0 up", "above 0")
END = "write a number, or a percentage such as 30%"
ENTRY = "write {low: …, high: …} or a list of at least two choices"
UNITS = "write both ends in one unit"
ORDER = "write low below high"
LOG = "write low above 0, or leave `log` out"
NO_PERCENT = "is neither a length nor a rate, so it has no percentage"
SHARE = "is no share of another argument"
SHARES = "write percentages up to 100%, and one of `of` and `after`"
GAMMA = "schedulers.StepLR.search.gamma"
STEP = "schedulers.StepLR.search.step_size"
LIST = "schedulers.MultiStepLR.search.milestones"
CYCLIC = "schedulers.CyclicLR.search"

WRONG: dict[str, tuple[str, str, str]] = {
    "an unknown argument": ("SEARCH", "¦gama: [0.1, 0.2]", "schedulers.StepLR.search.gama: is not an argument of StepLR (given: gama); did you mean gamma? (one of step_size, gamma)"),
    "the rate": ("SEARCH", "¦lr: {low: 1%, high: 10%}", "schedulers.StepLR.search.lr: is searched for every scheduler alike (given: lr); change `tune.lr` instead"),
    "a percentage of gamma": ("SEARCH", "gamma: ¦{low: 1%, high: 0.5}", f"{GAMMA}: mixes a percentage and a plain number (given: {{low: 1%, high: 0.5}}); {UNITS}"),
    "percentages of gamma": ("SEARCH", "gamma: {low: ¦1%, high: ¦50%}", f"{GAMMA}.low: {NO_PERCENT} (given: 1%); write a number|{GAMMA}.high: {NO_PERCENT} (given: 50%); write a number"),
    "low above high": ("SEARCH", "gamma: ¦{low: 0.5, high: 0.1}", f"{GAMMA}: is empty: low is not below high (given: {{low: 0.5, high: 0.1}}); {ORDER}"),
    "low and high alike": ("SEARCH", "step_size: ¦{low: 30%, high: 30.0%}", f"{STEP}: is empty: low is not below high (given: {{low: 30%, high: 30.0%}}); {ORDER}"),
    "a logarithm from 0": ("SEARCH", "gamma: ¦{low: 0, high: 0.5, log: true}", f"{GAMMA}: is logarithmic and does not begin above 0 (given: {{low: 0, high: 0.5, log: true}}); {LOG}"),
    "a logarithm from below 0": ("SEARCH", "gamma: ¦{low: -1, high: 0.5, log: true}", f"{GAMMA}: is logarithmic and does not begin above 0 (given: {{low: -1, high: 0.5, log: true}}); {LOG}"),
    "one choice": ("SEARCH", "gamma: ¦[0.1]", f"{GAMMA}: is no search space (given: [0.1]); {ENTRY}"),
    "no choice": ("SEARCH", "gamma: ¦[]", f"{GAMMA}: is no search space (given: []); {ENTRY}"),
    "a number": ("SEARCH", "gamma: ¦0.1", f"{GAMMA}: is no search space (given: 0.1); {ENTRY}"),
    "nothing": ("SEARCH", "¦gamma: ", f"{GAMMA}: is no search space (given: nothing); {ENTRY}"),
    "a word for an end": ("SEARCH", "gamma: {low: ¦small, high: 0.5}", f"{GAMMA}.low: is not the end of a range (given: small); {END}"),
    "true for an end": ("SEARCH", "gamma: {low: 0.1, high: ¦true}", f"{GAMMA}.high: is not the end of a range (given: true); {END}"),
    "NaN": ("SEARCH", "gamma: {low: ¦.nan, high: 0.5}", f"{GAMMA}.low: is not the end of a range (given: .nan); {END}"),
    "infinity": ("SEARCH", "gamma: {low: 0.1, high: ¦.inf}", f"{GAMMA}.high: is not the end of a range (given: .inf); {END}"),
    "NaN among choices": ("SEARCH", "gamma: [0.1, ¦.nan]", f"{GAMMA}.1: is not finite (given: .nan); write a usual number, such as 0.1"),
    "a negative end": ("SEARCH", "gamma: {low: ¦-0.5, high: 0.5}", f"{GAMMA}.low: must be at least 0 (given: -0.5); write 0 or more"),
    "a negative percentage": ("SEARCH", "step_size: {low: ¦-5%, high: 50%}", f"{STEP}.low: is not the end of a range (given: -5%); {END}"),
    "a percentage beyond all": ("SEARCH", "step_size: {low: 5%, high: ¦10000000%}", f"{STEP}.high: is not the end of a range (given: 10000000%); {END}"),
    "fractions of a step": ("SEARCH", "step_size: {low: ¦1.5, high: 5}", f"{STEP}.low: is not a length (given: 1.5); {LENGTH}"),
    "no end": ("SEARCH", "step_size: ¦{low: 5%}", f"{STEP}.high: is missing (given: nothing); add `high:`"),
    "an unknown key": ("SEARCH", "step_size: {low: 5%, high: 50%, ¦logg: true}", f"{STEP}.logg: is not known here (given: logg); did you mean log? ({RANGE})"),
    "a word for log": ("SEARCH", "step_size: {low: 5%, high: 50%, log: ¦yes}", f"{STEP}.log: is not true or false (given: yes); write true or false"),
    "a choice that is no length": ("SEARCH", "step_size: [30%, ¦long]", f"{STEP}.1: is not a length (given: long); {LENGTH}"),
    "a list for a search": ("SEARCH", None, "schedulers.StepLR.search: is not a mapping (given: [gamma]); write `key: value`, one a line, or {key: value, …}"),  # type: ignore[dict-item]
    "a range of lists": ("LIST", "milestones: {low: ¦[10%], high: 50%}", f"{LIST}.low: is not the end of a range (given: [10%]); {END}"),
    "a part of a list as a choice": ("LIST", "milestones: [¦30%, [50%]]", f"{LIST}.0: is not a list (given: 30%); write [\"30%\"]"),
    "a wrong milestone among choices": ("LIST", "milestones: [[30%], ¦[x]]", f"{LIST}.1: is not a length (given: [x]); {LENGTH}"),
    "a wrong end for a list": ("LIST", "milestones: {low: ¦0, high: 5}", f"{LIST}.low: must lie between 1 and 1000000000 (given: 0); {LENGTH}"),
    "a choice the signature has not": ("CYCLIC", "mode: [triangular, ¦triangle]", f"{CYCLIC}.mode.1: is not one of the choices (given: triangle); did you mean triangular? (one of triangular, triangular2, exp_range)"),
    "a range of words": ("CYCLIC", "mode: {low: ¦1, high: ¦2}", f"{CYCLIC}.mode.low: is not one of the choices (given: 1); write one of triangular, triangular2, exp_range|{CYCLIC}.mode.high: is not one of the choices (given: 2); write one of triangular, triangular2, exp_range"),
    "a number for true": ("CYCLIC", "cycle_momentum: [true, ¦1]", f"{CYCLIC}.cycle_momentum.1: is not true or false (given: 1); write true or false"),
    "a negative rate": ("CYCLIC", "base_lr: {low: ¦-1, high: 1}", f"{CYCLIC}.base_lr.low: is not a usable rate (given: -1); {RATE}"),
    "a share of nothing": ("CYCLIC", "base_lr: {low: 1%, high: 50%, of: ¦max}", f"{CYCLIC}.base_lr.of: is not another rate of CyclicLR (given: max); did you mean max_lr?"),
    "a share of oneself": ("CYCLIC", "base_lr: {low: 1%, high: 50%, of: ¦base_lr}", f"{CYCLIC}.base_lr.of: is not another rate of CyclicLR (given: base_lr); did you mean max_lr?"),
    "a share of what is left to torch": ("CYCLIC", "step_size_up: {low: 1%, high: 50%, after: ¦step_size_down}", f"{CYCLIC}.step_size_up.after: is for a length that another one bounds, and step_size_up is none (given: step_size_down); leave `after` out"),
    "a share of what is no length": ("CYCLIC", "step_size_down: {low: 1%, high: 50%, after: ¦gamma}", f"{CYCLIC}.step_size_down.after: is not another length of CyclicLR (given: gamma); write step_size_up"),
    "a length as a share of a rate": ("CYCLIC", "step_size_up: {low: 1%, high: 50%, of: ¦max_lr}", f"{CYCLIC}.step_size_up.of: is for a rate that another one bounds, and step_size_up is none (given: max_lr); leave `of` out"),
    "more than all of it": ("CYCLIC", "base_lr: ¦{low: 1%, high: 101%, of: max_lr}", f"{CYCLIC}.base_lr: {SHARE} (given: {{low: 1%, high: 101%, of: max_lr}}); {SHARES}"),
    "a share in plain numbers": ("CYCLIC", "base_lr: ¦{low: 0.1, high: 0.5, of: max_lr}", f"{CYCLIC}.base_lr: {SHARE} (given: {{low: 0.1, high: 0.5, of: max_lr}}); {SHARES}"),
    "a share of two": ("CYCLIC", "base_lr: ¦{low: 1%, high: 5%, of: max_lr, after: base_lr}", f"{CYCLIC}.base_lr: {SHARE} (given: {{low: 1%, high: 5%, of: max_lr, after: base_lr}}); {SHARES}"),
    "a start behind a warmup": ("WARM", "¦start_factor: [0.1, 0.5]", "schedulers.LinearLR.search.start_factor: decides where the schedule begins, which a warmup leaves at the peak (given: start_factor); leave it out"),
    "an unknown sampler": ("TUNE", "sampler: ¦tpee", "tune.sampler: is not one of the choices (given: tpee); did you mean tpe? (one of tpe, random, gp, cmaes, qmc)"),
    "no trials": ("TUNE", "trials: ¦0", "tune.trials: must be at least 1 (given: 0); write 1 or more"),
    "rates in two units": ("TUNE", "lr: ¦{low: 0.01, high: 1000%}", f"tune.lr: mixes a percentage and a plain number (given: {{low: 0.01, high: 1000%}}); {UNITS}"),
    "one rate in another unit": ("TUNE", "lr: ¦{low: 0.01}", f"tune.lr: mixes a percentage and a plain number (given: {{low: 0.01}}); {UNITS}"),
    "rates upside down": ("TUNE", "lr: ¦{low: 10%, high: 1%}", f"tune.lr: is empty: low is not below high (given: {{low: 10%, high: 1%}}); {ORDER}"),
    "a rate of 0": ("TUNE", "lr: {low: ¦0%, high: 1%}", f"tune.lr.low: is not a rate (given: 0%); {PEAK}"),
    "a negative peak": ("TUNE", "lr: {low: ¦-1, high: 1}", f"tune.lr.low: is not a usable rate (given: -1); {PEAK}"),
    "a rate that is no number": ("TUNE", "lr: {low: ¦.nan, high: 1}", f"tune.lr.low: is not a usable rate (given: .nan); {PEAK}"),
    "a logarithm of rates": ("TUNE", "lr: {low: 1%, high: 10%, ¦log: true}", "tune.lr.log: is not known here (given: log); did you mean low? (one of low, high)"),
    "a misspelt key of tune": ("TUNE", "¦trails: 8", "tune.trails: is not known here (given: trails); did you mean trials? (one of trials, batch, sampler, lr)"),
}  # fmt: skip
WHOLE = {
    "a list for a search": ("search: {SEARCH}", "search: ¦[gamma]"),
    "trials below the usual batch": ("tune: {TUNE}", "tune: ¦{trials: 4}"),
}


def filled(name: str, edit: str) -> str:
    text = TEXT.replace(name, edit)
    return re.sub("SEARCH|LIST|CYCLIC|WARM|TUNE", "", text)


def load(path: Path, text: str) -> Params:
    path.write_text(text, encoding="utf-8")
    return load_params(CATALOGUE, path)


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_told_at_its_place(case: str, tmp_path: Path) -> None:
    name, edit, expected = WRONG[case]
    text = filled("", "") if case not in WHOLE else re.sub("SEARCH|LIST|CYCLIC|WARM|TUNE", "", TEXT.replace(*WHOLE[case]))
    text = text if edit is None else filled(name, edit)
    places = []
    for number, line in enumerate(text.split("\n"), 1):
        found = [match.start() for match in re.finditer(HERE, line)]
        places += [f"{number}:{column + 1 - before}" for before, column in enumerate(found)]
    with pytest.raises(ParamsError) as raised:
        load(tmp_path / "params.yaml", text.replace(HERE, ""))
    messages = expected.split("|")
    assert str(raised.value).split("\n") == [f"params.yaml:{at}: {m}" for at, m in zip(places, messages, strict=True)]


def test_what_is_right_is_read_as_written(tmp_path: Path) -> None:
    edits = {"SEARCH": "step_size: {low: 2, high: 9}, gamma: {low: 0.1, high: 0.5, log: true}",
             "LIST": "milestones: [[30%], [50%, 5]]", "CYCLIC": "base_lr: {low: 0%, high: 10%, of: max_lr}, mode: [triangular, exp_range]",
             "WARM": "end_factor: [0.0, 0.1]", "TUNE": "trials: 9, batch: 3, sampler: qmc, lr: {low: 0.001, high: 10}"}  # fmt: skip
    text = TEXT
    for name, edit in edits.items():
        text = text.replace(name, edit, 1) if name != "LIST" else text.replace("{LIST}", "{" + edit + "}")
    params = load(tmp_path / "params.yaml", text)
    read: dict[str, Any] = {label: schedule.search for label, schedule in params.schedulers.items()}
    assert read["StepLR"] == {"step_size": Range(low=2, high=9), "gamma": Range(low=0.1, high=0.5, log=True)}
    assert read["MultiStepLR"] == {"milestones": (["30%"], ["50%", 5])}
    assert read["CyclicLR"] == {"base_lr": Range(low="0%", high="10%", of="max_lr"), "mode": ("triangular", "exp_range")}
    assert params.tune.lr == PeakRates(low=0.001, high=10.0)
    assert (params.tune.trials, params.tune.batch, params.tune.sampler) == (9, 3, "qmc")


@pytest.mark.parametrize(
    ("tried", "percent", "ends"),
    [
        (Range(low="5%", high="60%"), True, (5.0, 60.0)),
        (Range(low="0.1%", high="1e2%"), True, (0.1, 100.0)),
        (Range(low=2, high=9), False, (2, 9)),
        (Range(low=0.5, high=9), False, (0.5, 9)),
        (PeakRates(), True, (1.0, 1000.0)),
    ],
)
def test_the_ends_of_a_range(tried: Range | PeakRates, percent: bool, ends: tuple[float, float]) -> None:
    assert tried.is_percent == percent
    assert tried.ends == ends
    assert [type(end) for end in tried.ends] == [type(end) for end in ends]
