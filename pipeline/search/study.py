"""One study, as data that outlives the process: what was asked and told, and the Optuna study rebuilt from it."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.config.fingerprints import fingerprint, stream
from pipeline.config.params import SamplerName
from pipeline.config.schedules import Schedule
from pipeline.search.samplers import new_sampler
from pipeline.search.space import StudySpace
from pipeline.search.widening import widened

State = Literal["COMPLETE", "PRUNED"]


@dataclass(frozen=True)
class Trial:
    """A finished trial: what Optuna suggested, what was trained, what came of it.

    A diverged trial is PRUNED and has no value: TPE learns from it, and no score is made up. ``attrs`` is what the
    sampler keeps with the trial.
    """

    number: int
    params: Mapping[str, Any]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    state: State = "COMPLETE"
    value: float | None = None


@dataclass(frozen=True)
class Round:
    """Trials that were asked for together; ``attrs`` is what the sampler then kept with the study."""

    trials: tuple[Trial, ...]
    attrs: Mapping[str, Any]

    def as_json(self) -> bytes:
        """A round that is asked and not trained yet."""
        asked = [(trial.number, dict(trial.params), dict(trial.attrs)) for trial in self.trials]
        return json.dumps([asked, dict(self.attrs)]).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Round":
        """The round that :meth:`as_json` made this of."""
        trials, attrs = json.loads(content)
        return cls(tuple(Trial(number, params, of_trial) for number, params, of_trial in trials), attrs)


@dataclass(frozen=True)
class Study:
    """A study's name, its space and its finished rounds; Optuna's own study is rebuilt from them whenever it is asked."""

    name: str
    label: str
    seed: int
    sampler: SamplerName
    """One that works on the space."""
    space: StudySpace
    """What params.yaml says; the range of peak rates may grow, see :attr:`spaces`."""
    fingerprint: str
    """Names everything that the trials follow from."""
    rounds: tuple[Round, ...] = ()
    reruns: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """Trial number → its values on further streams, of the trials that were rerun."""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All finished trials, by number."""
        return tuple(trial for finished in self.rounds for trial in finished.trials)

    @cached_property
    def spaces(self) -> tuple[StudySpace, ...]:
        """What each finished round was asked in, then what the next one is."""
        found, tried, rate = [self.space], list[tuple[float, float | None]](), self.space.peak.name
        for finished in self.rounds:
            tried += [(trial.params[rate], trial.value) for trial in finished.trials]
            found.append(widened(found[-1], self.space, tried))
        return tuple(found)

    @property
    def searched(self) -> StudySpace:
        """What the last finished round was asked in."""
        return self.spaces[max(0, len(self.rounds) - 1)]

    def space_of(self, trial: Trial) -> StudySpace:
        """What the trial was asked in."""
        later = (space for space, r in zip(self.spaces, self.rounds, strict=False) if r.trials[-1].number >= trial.number)
        return next(later, self.spaces[-1])

    def next_fingerprint(self, count: int) -> str:
        """A name for all that the next ``count`` trials follow from."""
        told = [(trial.number, trial.params, trial.state, trial.value) for trial in self.trials]
        return fingerprint(self.fingerprint, count, told)

    def ask(self, count: int) -> Round:
        """The next ``count`` trials, yet without values; trial 0 is the configuration in params.yaml.

        They follow from the study's name and its finished rounds alone, whatever happened in between.
        """
        told = len(self.trials)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study, storage, key = self._rebuilt(self.spaces[-1])
            if not told:
                study.enqueue_trial(self.space.given)
            for _ in range(count):
                study.ask(self.spaces[-1].distributions)
        asked = storage.get_all_trials(key, deepcopy=False)[told:]
        trials = tuple(Trial(trial.number, trial.params, trial.system_attrs) for trial in asked)
        return Round(trials, storage.get_study_system_attrs(key))

    def tell(self, finished: Round) -> "Study":
        """The study with one more finished round."""
        return replace(self, rounds=(*self.rounds, finished))

    @property
    def best(self) -> Trial:
        """The trial of lowest value, of those that were rerun the one of lowest mean; trial 0 where none was completed.

        The earliest of equals.
        """
        rerun = [trial for trial in self.leaders(len(self.reruns)) if trial.number in self.reruns]
        means = {trial.number: float(np.mean([trial.value, *self.reruns[trial.number]])) for trial in rerun}
        by_mean = min(rerun, key=lambda trial: means[trial.number], default=None)
        return by_mean or next(iter(self.leaders(1)), self.trials[0])

    def leaders(self, count: int) -> list[Trial]:
        """The trials of lowest values, lowest first, the earlier of equals before the later."""
        complete = [trial for trial in self.trials if trial.value is not None]
        return sorted(complete, key=lambda trial: (trial.value, trial.number))[:count]

    def schedule(self, trial: Trial) -> Schedule:
        """What a trial trains: trial 0 is params.yaml to the letter."""
        return self.space.base if trial.number == 0 else self.space_of(trial).schedule(trial.params)

    def as_optuna(self) -> optuna.Study:
        """Optuna's own study with all finished trials."""
        return self._rebuilt(self.searched)[0]

    def _rebuilt(self, space: StudySpace) -> tuple[optuna.Study, InMemoryStorage, int]:
        """With all finished trials as if they had been asked in ``space``.

        What a sampler noted with a trial that was asked in another one means nothing there: CMA-ES and the Sobol sequence
        begin anew.
        """
        # In another range a sequence that fills the space is another one, or it would try the same shapes again.
        of_space = stream("sampler", self.name, *(space.rates if space != self.space else ()))
        sampler = new_sampler(self.sampler, of_space, stream("sampler", self.name, len(self.rounds)))
        storage = InMemoryStorage()
        key = storage.create_new_study([StudyDirection.MINIMIZE], self.name)
        for attribute, value in (self.rounds[-1].attrs if self.rounds else {}).items():
            storage.set_study_system_attr(key, attribute, value)
        study = optuna.load_study(study_name=self.name, storage=storage, sampler=sampler)
        for asked_in, finished in zip(self.spaces, self.rounds, strict=False):
            trials = finished.trials if asked_in == space else [replace(trial, attrs={}) for trial in finished.trials]
            study.add_trials([frozen(trial, space.distributions) for trial in trials])
        return study, storage, key


def frozen(trial: Trial, distributions: Mapping[str, Any], user_attrs: Mapping[str, Any] | None = None) -> FrozenTrial:
    """The trial as Optuna keeps it."""
    return create_trial(
        state=TrialState[trial.state],
        value=trial.value,
        params=dict(trial.params),
        distributions=dict(distributions),
        user_attrs=dict(user_attrs or {}),
        system_attrs=dict(trial.attrs),
    )
