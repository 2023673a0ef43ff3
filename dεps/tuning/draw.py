"""From a trial to the method's options: what is drawn, what a given point fixes, what stays as in base."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from optuna import Trial
from optuna.distributions import CategoricalDistribution, FloatDistribution

from dεps.tuning.config import Range, TuningConfig
from dεps.tuning.private import contains

#: user attribute of a trial that the study was given: the point's name
POINT = "point"
#: before the name of a parameter to which a point gives a value that is not searched
GIVEN = "given_"
#: significant digits of a number that is drawn: what is trained is short enough to be written everywhere as it is
DIGITS = 6


class Parameter(NamedTuple):
    """One parameter of a trial: its name, the option that it sets, and what it is drawn from."""

    name: str
    option: str
    distribution: CategoricalDistribution | FloatDistribution


def parameters(config: TuningConfig, options: dict[str, Any]) -> Iterator[Parameter]:
    """What to ask for, in order; whether some are asked for depends on the answers that `options` has by then."""
    search = config.search
    for name in ("shrink_start", "ramp_shape"):
        if getattr(search, name):
            yield Parameter(name, name, CategoricalDistribution(getattr(search, name)))
    constant = options["ramp_shape"] == "constant"
    numbers = {"constant_epsilon": "epsilon"} if constant else {"ramp_epochs": "ramp_epochs", "epsilon": "epsilon"}
    if options["distill"]:
        numbers["temperature"] = "temperature"
    for name, option in numbers.items():
        limits: Range | None = getattr(search, name)
        if limits:
            yield Parameter(name, option, FloatDistribution(limits.low, limits.high, limits.log, limits.step))


def given(config: TuningConfig, point: dict[str, Any]) -> dict[str, Any]:
    """The point's parameters as Optuna stores them: those within the search, and its own others under `GIVEN` names."""
    options = {**config.base, **point}
    found = {p.name: options[p.option] for p in parameters(config, options) if _holds(p, options)}
    extra = {GIVEN + key: _choice(value) for key, value in point.items() if key not in found}
    return found | extra


def draw(trial: Trial, config: TuningConfig, prepare: Callable[[str], None]) -> dict[str, Any]:
    """The method's options in this trial. `prepare` is told the name of each parameter before it is drawn."""
    name = trial.user_attrs.get(POINT)
    if name is None:
        options = dict(config.base)
        for parameter in parameters(config, options):
            prepare(parameter.name)
            value = _ask(trial, parameter)
            drawn = isinstance(parameter.distribution, FloatDistribution)
            options[parameter.option] = float(f"{value:.{DIGITS}g}") if drawn else value
        return options
    point = config.all_points()[name]
    options = {**config.base, **point}
    known = given(config, point)
    for parameter in parameters(config, options):
        if parameter.name in known:
            _ask(trial, parameter)
            known.pop(parameter.name)
    for name in known:  # not drawn from: shown with the trial, and TPE learns nothing of it
        key = name.removeprefix(GIVEN)
        values = [config.base.get(key), *(other[key] for other in config.points if key in other)]
        trial.suggest_categorical(name, list(dict.fromkeys(map(_choice, values))))
    return options


def _choice(value: Any) -> Any:
    """A value as Optuna takes it for a category: a list, as of kernels, is its text."""
    return json.dumps(value) if isinstance(value, list) else value


def _ask(trial: Trial, parameter: Parameter) -> Any:
    name, drawn = parameter.name, parameter.distribution
    if isinstance(drawn, CategoricalDistribution):
        return trial.suggest_categorical(name, drawn.choices)
    return trial.suggest_float(name, drawn.low, drawn.high, step=drawn.step, log=drawn.log)


def _holds(parameter: Parameter, options: dict[str, Any]) -> bool:
    """Whether the point's value can be drawn at all; a grid takes no values between its steps."""
    value, distribution = options[parameter.option], parameter.distribution
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return contains(distribution, float(value))
