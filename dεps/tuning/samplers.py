"""Draws a trial's parameters: by TPE, a Gaussian process, NSGA-II or at random.

TPE and random draws take one parameter at a time. The other two need trials that all have the same parameters, which a
study over ramps has not: a constant ramp has no length, and points may lie outside what is searched. So they see a copy
of the study in which each trial has all parameters, those that it did not need at the middle of their range:

    study   trial 1  linear    ramp_epochs 3   epsilon 0.1        copy   ramp_epochs 3   epsilon 0.1   constant 0.22
            trial 2  constant  constant 0.4                              ramp_epochs 10  epsilon 0.25  constant 0.4
            trial 3  a point with a value that is not searched           –

What is drawn is a function of the finished trials, the trial's place among them and `sampler_seed`, so it is the same
again where a trial is resumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from dεps.core.randomness import derive
from dεps.tuning.config import Sampler, TuningConfig
from dεps.tuning.draw import GIVEN, parameters
from dεps.tuning.private import contains, in_generation

#: finished trials after which "auto" leaves Gaussian processes, whose time grows with their cube
MOST_FOR_GP = 250


def chosen(config: TuningConfig, finished: int) -> Sampler:
    """The sampler of a trial before which so many are finished: the one that is named, or what "auto" stands for.

    TPE where trials are pruned, which it alone learns from, where parameters depend on others, or after many trials; a
    Gaussian process otherwise. Optuna's own AutoSampler decides alike, but fetches its code when it runs.
    """
    if config.sampler != "auto":
        return config.sampler
    conditional = len({tuple(sorted(_space(config, shape))) for shape in _shapes(config)}) > 1
    return "tpe" if config.pruner != "none" or conditional or finished >= MOST_FOR_GP else "gp"


def drawing(
    study: optuna.Study, config: TuningConfig, number: int, at: int, others: list[int]
) -> Callable[[str], None]:
    """Function that, told the name of a parameter, gives `study` the sampler to draw it with.

    Args:
        study: whose finished trials are learnt from.
        config: names the sampler.
        number: of the trial.
        at: its place among those that count.
        others: what tells it apart from an earlier trial at that place, which diverged.
    """
    kind, startup = chosen(config, at), config.startup_trials

    def seed(purpose: str) -> int:
        return derive(config.sampler_seed, purpose, at, *others) % 2**32

    if kind == "tpe":
        return lambda name: _use(
            study, TPESampler(n_startup_trials=startup, seed=seed(f"tuning/{name}"), multivariate=False)
        )
    if kind == "random":
        return lambda name: _use(study, RandomSampler(seed=seed(f"tuning/{name}")))
    told: list[dict[str, Any]] = []

    def use(name: str) -> None:
        if not told:  # only now: a point that is given has nothing to draw
            own = seed(f"tuning/{kind}")
            if kind == "gp":
                sampler = GPSampler(seed=own, n_startup_trials=startup, warn_independent_sampling=False)
            else:
                sampler = NSGAIISampler(population_size=max(2, startup), seed=own)
            told.append(_copy(study, config, number, sampler).ask({**_whole_space(config)}).params)
        _use(study, _Told(told[0]))

    return use


def _use(study: optuna.Study, sampler: BaseSampler) -> None:
    study.sampler = sampler


class _Told(BaseSampler):
    """Gives each parameter the value that it was told."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """None: parameters are asked for one by one."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """None either."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value."""
        return self.values[param_name]


def _shapes(config: TuningConfig) -> list[str]:
    return list(config.search.ramp_shape or [config.base["ramp_shape"]])


def _space(config: TuningConfig, shape: str) -> dict[str, CategoricalDistribution | FloatDistribution]:
    """Parameters of trials with that shape, by name."""
    return {one.name: one.distribution for one in parameters(config, {**config.base, "ramp_shape": shape})}


def _whole_space(config: TuningConfig) -> dict[str, CategoricalDistribution | FloatDistribution]:
    """Parameters of trials of any shape, by name."""
    return {name: one for shape in _shapes(config) for name, one in _space(config, shape).items()}


def _copy(study: optuna.Study, config: TuningConfig, number: int, sampler: BaseSampler) -> optuna.Study:
    """A study in memory with the trials before `number` in which all that differs from base is searched.

    Those that others are at are among them, so that several workers do not all draw the same.
    """
    copy = optuna.create_study(directions=study.directions, sampler=sampler)
    space, finished = _whole_space(config), 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING)):
        running = trial.state == TrialState.RUNNING
        if (running and trial.number >= number) or not _within(trial, config):
            continue
        params = {name: trial.params.get(name, _middle(one)) for name, one in space.items()}
        made = optuna.create_trial(
            state=trial.state,
            params=params,
            distributions={**space},
            values=None if running else trial.values,
            constraints=dict(trial.constraints),
            system_attrs={} if running else in_generation(finished // max(2, config.startup_trials)),
        )
        copy.add_trial(made)
        finished += not running
    return copy


def _within(trial: FrozenTrial, config: TuningConfig) -> bool:
    """Whether the trial has all parameters of its shape, and no value that is not searched."""
    shape, names = trial.params.get("ramp_shape", config.base["ramp_shape"]), trial.params.keys()
    own = list(parameters(config, {**config.base, "ramp_shape": shape}))
    # A point says ε of a constant ramp under the option's name; the trial has it under the parameter's too.
    known = {GIVEN + one.option for one in own}
    return {one.name for one in own} <= names and all(not one.startswith(GIVEN) or one in known for one in names)


def _middle(distribution: CategoricalDistribution | FloatDistribution) -> Any:
    """The first choice, or the middle of a range as it is drawn from."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    low, high = distribution.low, distribution.high
    if distribution.log:
        return math.sqrt(low * high)
    if distribution.step is None:
        return (low + high) / 2
    middle = low + distribution.step * round((high - low) / distribution.step / 2)
    return middle if contains(distribution, middle) else low
