"""The `tuning` section of an experiment: what a study searches, between which limits, and what it is after."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, field, fields
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from dεps.core.errors import UserError
from dεps.core.params import Seed
from dεps.core.schema import DISTINCT, checked
from dεps.methods import registry
from dεps.methods.base import LARGEST
from dεps.methods.schedule import Shape
from dεps.training.config import FullModelConfig

#: trials of a study
MOST = 1_000_000
#: what draws a trial: TPE, a Gaussian process, one of the two by the search, NSGA-II, or nothing but chance
Sampler = Literal["tpe", "gp", "auto", "nsga2", "random"]
#: the only method that has a shrink start and an ε ramp
METHOD = "deps"


@checked
class Range:
    """Numbers from `low` to `high`."""

    low: float
    high: float
    #: distance of the numbers that are tried, a whole part of the range; null: any number
    step: Annotated[float, Field(gt=0)] | None = None
    #: draw by the number's logarithm
    log: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Range:
        width = self.high - self.low
        if width <= 0:
            raise ValueError(f"low is {self.low}; expected below high, {self.high}")
        if width > LARGEST:
            raise ValueError(f"high is {self.high}; expected at most low + {LARGEST:,}, {self.low + LARGEST:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log is true, which needs low above 0 and no step")
        if self.step is None:
            return self
        steps = width / self.step
        if not 1 <= steps <= MOST or abs(steps - round(steps)) > 1e-6:
            raise ValueError(f"step is {self.step}; expected a part of {width:g}, in at most {MOST:,} steps, or null")
        return self


@checked
class Search:
    """What is searched; null leaves a parameter at its value in `base`."""

    #: shares of all epochs after which the trunk has a stored state
    shrink_start: Annotated[list[float], Field(min_length=1), DISTINCT] | None = None
    ramp_shape: Annotated[list[Shape], Field(min_length=1), DISTINCT] | None = None
    #: length of the ramp in epochs; not asked for in shape "constant"
    ramp_epochs: Range | None = None
    #: ε of a ramp that climbs, as a share of the full rate
    epsilon: Range | None = None
    #: ε in shape "constant", where 0 would train no subnet
    constant_epsilon: Range | None = None
    #: of in-place distillation; not asked for without it
    temperature: Range | None = None

    @model_validator(mode="after")
    def _fits(self) -> Search:
        if all(value is None for value in vars(self).values()):
            raise ValueError(f"ramp_shape is null, as all others are; expected some of {', '.join(vars(self))}")
        constant = self.constant_epsilon
        if constant is None:
            if "constant" in (self.ramp_shape or ()):
                raise ValueError("constant_epsilon is null; ramp_shape constant needs a range of ε above 0")
        elif not 0 <= constant.low < constant.high <= 1:
            raise ValueError(f"constant_epsilon is {constant.low} to {constant.high}; expected a part of 0 to 1")
        elif constant.low == 0 and "constant" in (self.ramp_shape or ()):
            raise ValueError("constant_epsilon.low is 0; expected above 0, as ramp_shape constant needs")
        return self

    def check_against(self, where: str, base: dict[str, Any]) -> None:
        """Raise `UserError` naming the key below `where` that holds what the method's own options may not be."""
        for key in SEARCHED:
            value = getattr(self, key)
            for one in (value.low, value.high) if isinstance(value, Range) else value or ():
                registry.options({**base, "epsilon": 1.0, key: one}, where)


@checked(kw_only=True)
class TuningConfig:
    """The `tuning` section of an experiment."""

    #: finished trials, those that were pruned included; base and `points` come first; 0: no study
    trials: Annotated[int, Field(ge=0, le=MOST)] = 0
    #: of the trials: the first of the experiment's seeds
    seed: int = 0
    #: mean Pareto accuracy on validation, alone or against training MACs
    objectives: list[Literal["accuracy", "cost"]] = field(default_factory=lambda: ["accuracy", "cost"])
    #: trials that cost more to train do not count; null: no limit
    cost_limit: Annotated[float, Field(gt=0)] | None = None
    #: of `cost_limit`: multiples of the full model's training cost, or 10¹² MACs
    cost_unit: Literal["full_model", "tmacs"] = "full_model"
    #: with objectives [accuracy]: whether and how trials stop early, by validation accuracy during the shrink phase
    pruner: Literal["none", "asha", "hyperband"] = "none"
    #: share of the shrink phase before the first decision to prune
    pruner_from: Annotated[float, Field(gt=0, lt=1)] = 0.25
    #: one trial in so many passes each decision
    pruner_reduction: Annotated[int, Field(ge=2, le=1000)] = 2
    #: how trials are drawn (`dεps.tuning.samplers`); gp and nsga2 without a pruner, nsga2 with both objectives
    sampler: Sampler = "tpe"
    #: finished trials, the given points included, before the sampler takes over from random draws; with nsga2 also the
    #: size of a generation
    startup_trials: Annotated[int, Field(ge=1, le=MOST)] = 10
    #: decides what is drawn
    sampler_seed: Seed = 0
    #: on which the best trial and the default are measured once more; `seed`, which has chosen, is left out
    confirm_seeds: Annotated[list[Seed], DISTINCT] = field(default_factory=list)
    #: the method that is tuned, with all its options; they are the first trial
    base: dict[str, Any]
    search: Search
    #: trials that come next, each as what differs from `base`, searched or not
    points: list[dict[str, Any]] = field(default_factory=list)

    @field_validator("base")
    @classmethod
    def _complete(cls, base: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Of the right types: from here on everything may count on each key."""
        if base.get("method") != METHOD:
            raise ValueError(f"expected a mapping with method {METHOD}")
        return {"method": METHOD, **vars(registry.options(base, f"{_where(info)}.base"))}

    @field_validator("search")
    @classmethod
    def _within_options(cls, search: Search, info: ValidationInfo) -> Search:
        if "base" in info.data:
            search.check_against(f"{_where(info)}.search", info.data["base"])
        return search

    @field_validator("points")
    @classmethod
    def _as_options(cls, points: list[dict[str, Any]], info: ValidationInfo) -> list[dict[str, Any]]:
        found = []
        for number, point in enumerate(points if "base" in info.data else ()):
            where = f"{_where(info)}.points[{number}]"
            if not point or "method" in point:
                raise UserError(f"{where} is {point}; expected some keys of {METHOD}'s, and other values than in base")
            options = registry.options({**info.data["base"], **point}, where)
            found.append({key: getattr(options, key) for key in point})
        return found

    @model_validator(mode="after")
    def _fits(self) -> TuningConfig:
        if self.objectives not in (["accuracy"], ["accuracy", "cost"]):
            raise ValueError(f"objectives is {self.objectives}; allowed: [accuracy], [accuracy, cost]")
        if self.pruner != "none" and len(self.objectives) > 1:
            raise ValueError(f"pruner is {self.pruner!r}, which needs objectives [accuracy]; or set it to none")
        if self.pruner != "none" and self.sampler in ("gp", "nsga2"):
            learns = f"sampler is {self.sampler!r}, which learns nothing of pruned trials"
            raise ValueError(f"{learns}; expected tpe, auto or random, or pruner none")
        if self.sampler == "nsga2" and len(self.objectives) < 2:
            raise ValueError("sampler is 'nsga2', which needs objectives [accuracy, cost]; or set it to gp or tpe")
        return self

    def check_trunk(self, where: str, epochs: int, keep: FullModelConfig) -> None:
        """Raise `UserError` where a shrink start has no stored state of the trunk to branch from."""
        if not self.trials:
            return
        stored = [0, *(epoch for epoch in keep.epochs(epochs) if epoch < epochs)]
        shares = [("base", self.base["shrink_start"])]
        shares += [("search", share) for share in self.search.shrink_start or ()]
        shares += [(f"points[{number}]", point.get("shrink_start", 0.0)) for number, point in enumerate(self.points)]
        for key, share in shares:
            if round(share * epochs) not in stored:
                raise UserError(
                    f"{where}.{key}.shrink_start holds {share}, epoch {round(share * epochs)} of {epochs}; the trunk "
                    f"keeps states to shrink from after epochs {', '.join(map(str, stored[1:]))} (full_model.keep)"
                )

    def limit_tmacs(self, full_model_tmacs: float) -> float | None:
        """`cost_limit` in 10¹² MACs."""
        if self.cost_limit is None:
            return None
        return self.cost_limit * (full_model_tmacs if self.cost_unit == "full_model" else 1.0)

    def all_points(self) -> dict[str, dict[str, Any]]:
        """What differs from `base`, by name: base itself, then `points`."""
        named = {"base": {}}
        for point in self.points:
            named[", ".join(f"{key} {_text(value)}" for key, value in point.items())] = point
        return named

    def determinants(self) -> dict[str, Any]:
        """All that decides what trials there are, in order, and how they end; not how many, nor what follows."""
        return {key: value for key, value in asdict(self).items() if key not in ("trials", "confirm_seeds")}

    def other_seeds(self) -> list[int]:
        """Those of `confirm_seeds` that have not chosen the best trial."""
        return [seed for seed in self.confirm_seeds if seed != self.seed]


def as_option(value: Any) -> Any:
    """The option's value, of a cell as tables that were read have it: a list is text, None is NaN."""
    if isinstance(value, str) and value.startswith("["):
        return json.loads(value)
    return None if isinstance(value, float) and math.isnan(value) else value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if not isinstance(value, int | float):
        return value
    return text if float(text := f"{value:g}") == value else repr(value)


def _where(info: ValidationInfo) -> str:
    """Key of the section that is read, which `structured` says."""
    return info.context or "tuning"


#: options of the method that the search can set
SEARCHED = tuple(key.name for key in fields(Search) if key.name != "constant_epsilon")
