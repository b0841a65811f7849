"""Optuna's samplers by name, with every setting pinned that Optuna lets one give without a warning.

TPE's gamma, weights and prior and CMA-ES's first step size and population are deprecated as settings: they are those of the
pinned version, which :data:`VERSIONS` makes a part of every study.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import get_args

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from pipeline.config.params import SamplerName


def _tpe(seed: int) -> BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al., 2011), multivariate; waits for 10 trials, lies about running ones."""
    return TPESampler(n_startup_trials=10, n_ei_candidates=24, multivariate=True, group=False, constant_liar=True, seed=seed)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(
        seed=seed, n_startup_trials=10, deterministic_objective=False, independent_sampler=RandomSampler(seed),
        warn_independent_sampling=False,
    )  # fmt: skip


def _cmaes(seed: int) -> BaseSampler:
    return CmaEsSampler(
        seed=seed, n_startup_trials=1, independent_sampler=RandomSampler(seed), warn_independent_sampling=False,
        consider_pruned_trials=False, use_separable_cma=False, with_margin=False, lr_adapt=False,
    )  # fmt: skip


def _qmc(seed: int) -> BaseSampler:
    return QMCSampler(
        qmc_type="sobol", scramble=True, seed=seed, independent_sampler=RandomSampler(seed),
        warn_asynchronous_seeding=False, warn_independent_sampling=False,
    )  # fmt: skip


_SAMPLERS: dict[SamplerName, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "random": RandomSampler,
    "gp": _gp,
    "cmaes": _cmaes,
    "qmc": _qmc,
}
assert set(_SAMPLERS) == set(get_args(SamplerName))
VERSIONS = {package: version(package) for package in ("optuna", "cmaes", "scipy")}
"""What the suggestions follow from, beside the code here."""


def applicable(name: SamplerName, distributions: dict[str, BaseDistribution]) -> SamplerName:
    """``name``, or ``tpe`` where CMA-ES cannot work: on fewer than two dimensions, or with choices among them."""
    has_choices = any(isinstance(distribution, CategoricalDistribution) for distribution in distributions.values())
    return "tpe" if name == "cmaes" and (has_choices or len(distributions) < 2) else name


def new_sampler(name: SamplerName, study_seed: int, round_seed: int) -> BaseSampler:
    """The sampler of one round of a study.

    A sequence that fills the space (``qmc``) is one for the whole study, as long as its space stays; the others draw anew in
    each round, so that an interrupted study goes on exactly as it would have.
    """
    return _SAMPLERS[name]((study_seed if name == "qmc" else round_seed) % np.iinfo(np.uint32).max)
