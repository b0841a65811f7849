"""Studies: what a sampler suggests follows from the finished rounds alone, and what is kept counts where it still holds."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import optuna
import pandas as pd
import pytest
import torch

from pipeline.config.params import SamplerName
from pipeline.engine import code, training
from pipeline.runs import dealing
from pipeline.search import rounds, samplers, study
from pipeline.search.rounds import search
from pipeline.search.study import Round, Study, Trial
from pipeline.search.table import rerun_table
from tests.conftest import ROOT
from tests.repeated import few
from tests.search import helpers
from tests.search.helpers import Edit

CPU = torch.device("cpu")
SAMPLERS = get_args(SamplerName)
WHOLE = [pytest.param(name, marks=[] if name == "tpe" else [pytest.mark.slow]) for name in SAMPLERS]
"""For whole stages, to which all samplers are one: what each suggests is tried by itself."""
TRIALS = "trials: 12, batch: 4"
SAMPLER = "sampler: tpe"


def new_studies(*edits: Edit) -> list[Study]:
    problem = helpers.problem(*edits)
    return rounds._new_studies(problem, helpers.params(*edits).tune, 2, CPU)


def value(params: dict[str, Any]) -> float:
    """A made-up objective; high rates diverge."""
    if params["lr %"] > 200:
        return math.inf
    return float(sum(math.sin(v) if isinstance(v, float) else len(str(v)) for v in params.values()))


def told(asked: Round, sign: int = 1) -> Round:
    return replace(asked, trials=tuple(rounds._told(t, sign * value(dict(t.params))) for t in asked.trials))


def searched(study: Study, count: int, between: Callable[[Study], Study] = lambda study: study, sign: int = 1) -> Study:
    for _ in range(count):
        study = between(study)
        study = study.tell(told(study.ask(4), sign))
    return study


def outline(study: Study) -> list[Any]:
    return [(trial.number, dict(trial.params), trial.state, trial.value) for trial in study.trials]


# The sampler


@pytest.mark.parametrize("sampler", few(SAMPLERS, *(each for each in SAMPLERS if each != "gp")))
def test_a_study_read_back_after_every_round_suggests_the_same(sampler: str, here: Path) -> None:
    """Also where the sampler keeps notes of its own with the trials (CMA-ES) or the study (the Sobol sequence)."""
    for label in ("StepLR", "ConstantLR") if sampler != "gp" else ("StepLR",):  # it takes its time
        fresh = fresh_study(sampler, label)

        def anew(study: Study, fresh: Study = fresh) -> Study:
            """The same rounds in another study, as a process that begins from nothing has it."""
            return replace(fresh, rounds=tuple(Round(tuple(Trial(**vars(t)) for t in r.trials), r.attrs) for r in study.rounds))

        straight, broken_off = searched(fresh, 5), searched(fresh, 5, anew)
        assert outline(broken_off) == outline(straight)
        assert {trial.state for trial in straight.trials} == {"COMPLETE", "PRUNED"}


def fresh_study(sampler: str, label: str = "StepLR") -> Study:
    return next(s for s in new_studies((SAMPLER, f"sampler: {sampler}")) if s.label == label)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_suggestions_differ_within_a_study_and_between_rounds(sampler: str, here: Path) -> None:
    suggested = [tuple(trial.params.values()) for trial in searched(fresh_study(sampler), 4).trials]
    assert len(set(suggested)) == 16


@pytest.mark.parametrize(
    ("sampler", "learns"), [("tpe", True), ("gp", True), ("cmaes", True), ("random", False), ("qmc", False)]
)
def test_a_sampler_that_learns_suggests_by_what_it_was_told(
    sampler: str, learns: bool, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "widened", lambda space, *_: space)  # the range of rates follows what was told in any case
    one, other = (searched(fresh_study(sampler), 5, sign=sign) for sign in (1, -1))
    assert ([t.params for t in one.trials] != [t.params for t in other.trials]) == learns


def test_tpe_learns_from_diverged_trials(here: Path) -> None:
    """At random half of the trials would diverge; their number is what makes the difference, not the trials' luck."""
    wide = ("lr: {low: 1%, high: 1000%}", "lr: {low: 100%, high: 2500%}")
    wasted = {}
    for sampler in ("random", "tpe"):
        studies = new_studies(wide, (SAMPLER, f"sampler: {sampler}"))
        wasted[sampler] = sum(trial.state == "PRUNED" for study in studies for trial in searched(study, 8).trials[16:])
    assert wasted["tpe"] < 0.7 * wasted["random"]


@pytest.mark.parametrize(("label", "used"), [("StepLR", "cmaes"), ("ConstantLR", "tpe")])
def test_cmaes_gives_way_where_it_cannot_work(label: str, used: str, here: Path) -> None:
    """One dimension, or a choice among words; the table says what was used."""
    assert fresh_study("cmaes", label).sampler == used
    assert samplers.applicable("cmaes", {"mode": optuna.distributions.CategoricalDistribution(("a", "b"))}) == "tpe"


# Keeping


def stop_before(round_number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise at the ``round_number``-th training."""
    evaluate, calls = rounds.evaluate, iter(range(1, 100))

    def counted(*args: Any) -> Any:
        if next(calls) == round_number:
            raise KeyboardInterrupt
        return evaluate(*args)

    monkeypatch.setattr(rounds, "evaluate", counted)


@pytest.mark.parametrize("sampler", WHOLE)
def test_a_search_that_was_interrupted_is_the_same_search(sampler: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only = [("  ReduceLROnPlateau: {args: {factor: 0.1, patience: 10%}}\n", ""), ("baseline: ConstantLR", "baseline: StepLR")]
    only += [("  ConstantLR: {args: {factor: 1.0}}\n", ""), (TRIALS, "trials: 18, batch: 6")]
    edits = ((SAMPLER, f"sampler: {sampler}"), *only)
    helpers.run_tune(*edits)
    straight = helpers.contents(here)
    forget()
    with monkeypatch.context() as patch:
        stop_before(3, patch)
        with pytest.raises(KeyboardInterrupt):
            helpers.run_tune(*edits)
    helpers.run_tune(*edits)
    assert helpers.contents(here) == straight


def forget() -> None:
    for path in Path(".state").glob("runs.sqlite*"):
        path.unlink()


def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all searches' trainings from here on."""
    sizes: list[int] = []

    def counted(way: training.Way, problem: Any, runs: Sequence[Any], *, search: bool = False, **how: Any) -> Any:
        if search:
            sizes.append(len(runs))
        return training.train_by(way, problem, runs, search=search, **how)

    monkeypatch.setattr(dealing, "train_by", counted)
    return sizes


CANDIDATES = 6
AGAIN = 6 * 3 * 2  # three trials of each of six studies, on two more streams
"""Three schedulers' two winners, each on the other's seed, unless both agree; on its own each is a trial."""


def asked_again(*_: Any, **__: Any) -> Round:
    raise AssertionError("it was asked before")


@pytest.mark.parametrize("sampler", few(SAMPLERS))
def test_what_was_asked_is_not_asked_again(sampler: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = ("sampler: tpe", f"sampler: {sampler}")
    helpers.run_tune(edit)
    before = helpers.contents(here)
    with monkeypatch.context() as patch:
        patch.setattr(Study, "ask", asked_again)
        helpers.run_tune(edit)
    assert helpers.contents(here) == before
    helpers.run_tune(edit, ("trials: 12", "trials: 16"))
    more = helpers.contents(here)
    forget()
    helpers.run_tune(edit, ("trials: 12", "trials: 16"))
    assert helpers.contents(here) == more


def test_a_last_round_may_be_smaller(here: Path) -> None:
    found = helpers.run_tune((TRIALS, "trials: 11, batch: 4"))
    assert found.groupby("study")["number"].apply(list).tolist() == [list(range(11))] * 6
    whole = helpers.run_tune((TRIALS, "trials: 8, batch: 4"))
    pd.testing.assert_frame_equal(found[found["number"] < 8].reset_index(drop=True), whole)


def test_raising_trials_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = helpers.run_tune((TRIALS, "trials: 8, batch: 4"))
    sizes = trained(monkeypatch)
    many = helpers.run_tune((TRIALS, "trials: 16, batch: 4"))
    assert sizes[:2] == [24, 24]  # the two rounds that were missing
    assert sum(sizes[2:]) <= AGAIN + CANDIDATES
    pd.testing.assert_frame_equal(many[many["number"] < 8].reset_index(drop=True), few)
    from_scratch = helpers.contents(here)
    forget()
    helpers.run_tune((TRIALS, "trials: 16, batch: 4"))
    assert helpers.contents(here) == from_scratch


@pytest.mark.slow
def test_lowering_trials_and_raising_them_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helpers.run_tune()
    before = helpers.contents(here)
    sizes = trained(monkeypatch)
    few = helpers.run_tune((TRIALS, "trials: 4, batch: 4"))
    assert few["number"].max() == 3
    assert helpers.run_tune((TRIALS, "trials: 8, batch: 4"))["number"].max() == 7
    helpers.run_tune()
    assert helpers.contents(here) == before
    assert sum(sizes) <= 2 * (AGAIN + CANDIDATES)  # no round, and other leaders and winners than before


@pytest.mark.slow
def test_raising_seeds_keeps_the_earlier_studies(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = helpers.run_tune()
    sizes = trained(monkeypatch)
    three = helpers.run_tune(("seeds: 2", "seeds: 3"))
    assert sizes[:3] == [12, 12, 12]  # three rounds of the third seed
    pd.testing.assert_frame_equal(three[three["seed"] < 2].reset_index(drop=True), two)
    from_scratch = helpers.contents(here)
    forget()
    helpers.run_tune(("seeds: 2", "seeds: 3"))
    assert helpers.contents(here) == from_scratch
    helpers.run_tune()
    pd.testing.assert_frame_equal(helpers.trials(), two)


@pytest.mark.slow
def test_another_scheduler_more_or_less_changes_no_study(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = helpers.run_tune()
    sizes = trained(monkeypatch)
    more = ("  ConstantLR:", "  ExponentialLR: {args: {gamma: 0.9}}\n  ConstantLR:")
    after = helpers.run_tune(more)
    assert sizes[:3] == [8, 8, 8]
    others = after[after["scheduler"] != "ExponentialLR"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, before)
    pd.testing.assert_frame_equal(helpers.run_tune(), before)


def names(*edits: Edit, device: str = "cpu") -> dict[str, str]:
    """Study → fingerprint."""
    problem = helpers.problem(*edits)
    studies = rounds._new_studies(problem, helpers.params(*edits).tune, 2, torch.device(device))
    return {study.name: study.fingerprint for study in studies}


ALL = {"StepLR", "ReduceLROnPlateau", "ConstantLR"}
DEFINING: dict[str, tuple[Edit, set[str]]] = {
    "the model": (("model: {name: linear}", "model: {name: mlp, hidden: [3]}"), ALL),
    "the optimizer": (("{name: SGD, lr: 0.5}", "{name: SGD, lr: 0.5, momentum: 0.9}"), ALL),
    "the optimizer's rate": (("{name: SGD, lr: 0.5}", "{name: SGD, lr: 0.4}"), ALL),
    "the epochs": (("epochs: 4", "epochs: 5"), ALL),
    "the batch size": (("batch_size: 16", "batch_size: 20"), ALL),
    "resampling": (("    model:", "    resample: false\n    model:"), ALL),
    "the arguments of a schedule": (("gamma: 0.1", "gamma: 0.2"), {"StepLR"}),
    "the rate of a schedule": (("gamma: 0.1}}", "gamma: 0.1}, lr: 50%}"), {"StepLR"}),
    "the interval of a schedule": (("gamma: 0.1}}", "gamma: 0.1}, interval: batch}"), {"StepLR"}),
    "a search space": (("gamma: 0.1}}", "gamma: 0.1}, search: {gamma: {low: 0.1, high: 0.5}}}"), {"StepLR"}),
    "a schedule under the problem": (
        ("    schedulers: {}", "    schedulers: {StepLR: {args: {step_size: 30%, gamma: 0.2}}}"),
        {"StepLR"},
    ),
    "the range of rates": (("lr: {low: 1%, high: 1000%}", "lr: {low: 1%, high: 500%}"), ALL),
    "the sampler": ((SAMPLER, "sampler: random"), ALL),
    "the batch of trials": ((TRIALS, "trials: 12, batch: 3"), ALL),
}


@pytest.mark.parametrize("change", DEFINING)
def test_what_defines_the_objective_begins_afresh(change: str, here: Path) -> None:
    before = names()
    edit, labels = DEFINING[change]
    after = names(edit)
    assert {name for name in before if before[name] != after[name]} == {n for n in before if n.split("/")[1] in labels}


@pytest.mark.parametrize(
    "edit",
    [("seeds: 2", "seeds: 5"), ("every: 1,", "every: 2,"), (TRIALS, "trials: 20, batch: 4"), ("device: cpu", "device: auto")],
)
def test_what_does_not_define_it_changes_nothing(edit: Edit, here: Path) -> None:
    assert names(edit) == names()


def test_the_data_the_device_the_code_and_the_versions_define_it_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names()
    assert before == names()
    variants = [names(device="cuda")]
    with monkeypatch.context() as patch:
        patch.setattr(rounds, "code_fingerprint", lambda *_: "other search")
        variants.append(names())
    with monkeypatch.context() as patch:
        patch.setattr(code, "_versions", lambda: ("another numpy",))
        variants.append(names())
    with monkeypatch.context() as patch:
        patch.setattr(rounds, "VERSIONS", {"optuna": "0"})
        variants.append(names())
    (here / "data/tiny.parquet").unlink()
    variants.append(names(("condition: 10", "condition: 11")))
    for variant in variants:
        assert not set(variant.values()) & set(before.values())
    assert len({json.dumps(variant) for variant in variants}) == 5


def test_every_file_that_asks_or_tells_defines_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drift: all of search but what only reads, writes and shows."""
    asked: list[str] = []

    def noted(*files: str) -> str:
        asked.extend(files)
        return "code"

    monkeypatch.setattr(rounds, "code_fingerprint", noted)
    names()
    beside = {"__init__", "forecast", "importances", "sweeps", "table"}
    search = {path.name for path in (ROOT / "pipeline/search").glob("*.py") if path.stem not in beside}
    assert sorted(asked) == sorted(["config/ranges.py", *(f"search/{name}" for name in search)])


def test_a_changed_schedule_is_searched_anew_and_the_others_are_not(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = helpers.run_tune()
    sizes = trained(monkeypatch)
    edit = ("gamma: 0.1}}", "gamma: 0.2}}")
    after = helpers.run_tune(edit)
    assert sizes[0] == 2  # trial 0 of both seeds: what TPE draws before it has learnt is the same
    assert sum(sizes[1:3]) <= 16
    same = before["scheduler"] != "StepLR"
    pd.testing.assert_frame_equal(after[same], before[same])
    assert not set(after.loc[~same, "fingerprint"]) & set(before.loc[~same, "fingerprint"])
    assert json.loads(after["args"][0])["gamma"] == 0.2


# Diverging


def test_where_most_of_the_space_diverges_a_completed_trial_wins(here: Path) -> None:
    edits = (("lr: {low: 1%, high: 1000%}", "lr: {low: 50%, high: 1000000%}"), (TRIALS, "trials: 16, batch: 8"))
    trials = helpers.run_tune(*edits)
    pruned = trials["state"] == "PRUNED"
    assert pruned.mean() > 0.5
    assert trials.loc[pruned, "value"].isna().all()
    assert np.isfinite(trials.loc[~pruned, "value"]).all()
    runs = pd.read_parquet("results/tiny/tune/runs.parquet")
    completed = trials.loc[~pruned, ["scheduler", "seed", "lr"]]
    won = runs[["scheduler", "seed", "lr"]].drop_duplicates()
    assert len(won) == len(won.merge(completed)) == 6


def test_where_everything_diverges_trial_0_wins_and_its_runs_say_so(here: Path) -> None:
    everything = (("{name: SGD, lr: 0.5}", "{name: SGD, lr: 1e8}"), ("low: 1%, high: 1000%", "low: 90%, high: 1000000%"))
    without_plateau = ("  ReduceLROnPlateau: {args: {factor: 0.1, patience: 10%}}\n", "")
    trials = helpers.run_tune(*everything, without_plateau)
    assert set(trials["state"]) == {"PRUNED"}
    runs = pd.read_parquet("results/tiny/tune/runs.parquet")
    assert runs["diverged"].all()
    assert set(runs["lr"]) == {1e8}
    best = (here / "results/tiny/tune/best.yaml").read_text()
    assert "StepLR: {name: StepLR, args: {step_size: 30%, gamma: 0.1}, lr: 100%, interval: epoch}\n" in best


def test_a_combination_that_torch_refuses_is_pruned_and_costs_no_other_trial(here: Path) -> None:
    """In a space of the user's own ``base_lr`` stays a share of the peak rate, and ``max_lr`` is none: it may lie below."""
    search = "search: {step_size_up: {low: 5%, high: 50%}}"
    cyclic = f"  CyclicLR: {{args: {{base_lr: 10%, max_lr: 0.06, cycle_momentum: false}}, {search}}}\n  ConstantLR:"
    trials = helpers.run_tune(("  ConstantLR:", cyclic))
    mine = trials[trials["scheduler"] == "CyclicLR"]
    base = [float(json.loads(args)["base_lr"].rstrip("%")) / 100 for args in mine["args"]]
    impossible = (base * mine["lr"]) > 0.06
    assert impossible.any()
    assert (mine.loc[impossible, "state"] == "PRUNED").all()
    assert (mine.loc[~impossible, "state"] == "COMPLETE").any()
    others = trials[trials["scheduler"] != "CyclicLR"].reset_index(drop=True)
    forget()
    pd.testing.assert_frame_equal(others, helpers.run_tune())


def test_a_round_of_nothing_but_impossible_combinations_trains_nothing(here: Path) -> None:
    problem = helpers.problem()
    base = problem.schedules["StepLR"]
    impossible = base.model_copy(update={"name": "CyclicLR", "args": {"base_lr": 2.0, "max_lr": 1.0}, "interval": "batch"})
    assert rounds.evaluate(problem, [("CyclicLR", impossible, 0)], CPU, "none").tolist() == [math.inf]


def test_leading_trials_are_run_again_and_the_lowest_mean_wins(here: Path) -> None:
    problem = helpers.problem()
    searched = search(problem, helpers.params().tune, 2, CPU, lambda _: None)
    again = rounds.rerun(problem, searched, CPU)
    for before, after in zip(searched, again, strict=True):
        leaders = before.leaders(3)
        assert leaders[0] == before.best
        assert after.trials == before.trials
        assert list(after.reruns) == [trial.number for trial in leaders]
        of = [(after.label, after.schedule(trial), after.seed) for trial in leaders]
        values = rounds.evaluate(problem, of, CPU, "again", streams=(1, 2, 3)).reshape(3, 3)
        assert values[:, 0].tolist() == [trial.value for trial in leaders]
        assert values[:, 1:].tolist() == list(after.reruns.values())
        assert after.best == leaders[int(values.mean(axis=1).argmin())]
    assert any(after.best != before.best for before, after in zip(searched, again, strict=True))
    table = rerun_table(again)
    assert len(table) == 6 * 3 * 3
    assert table["value"].iloc[:2].tolist() == [again[0].leaders(1)[0].value, again[0].reruns[table["number"].iloc[0]][0]]


def test_where_all_trials_diverged_there_is_nothing_to_run_again(here: Path) -> None:
    problem = helpers.problem()
    (first, *_) = rounds._new_studies(problem, helpers.params().tune, 2, CPU)
    pruned = Round(tuple(Trial(n, first.space.given, state="PRUNED") for n in range(2)), {})
    assert [found.best.number for found in rounds.rerun(problem, [first.tell(pruned)], CPU)] == [0]


def test_the_studies_are_handed_out_after_each_round(here: Path) -> None:
    heard: list[list[int]] = []
    problem = helpers.problem()
    search(problem, helpers.params().tune, 2, CPU, lambda studies: heard.append([len(s.trials) for s in studies]))
    assert heard == [[4] * 6, [8] * 6, [12] * 6]
    heard.clear()
    search(problem, helpers.params().tune, 2, CPU, lambda studies: heard.append([len(s.trials) for s in studies]))
    assert heard == [[4] * 6, [8] * 6, [12] * 6]  # once more, from the store
