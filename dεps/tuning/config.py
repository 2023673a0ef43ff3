"""The `tuning` section of an experiment: what a study searches, between which limits, and what it is after."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from dεps.core.errors import UserError, check_numbers
from dεps.core.params import LARGEST_SEED
from dεps.methods import registry
from dεps.methods.base import LARGEST
from dεps.training.trunk import FullModelConfig

OBJECTIVES = (["accuracy"], ["accuracy", "cost"])
PRUNERS = ("none", "asha", "hyperband")
COST_UNITS = ("full_model", "tmacs")
#: trials of a study
MOST = 1_000_000
#: the only method that has a shrink start and an ε ramp
METHOD = "deps"


@dataclass
class Range:
    """Numbers from `low` to `high`, in steps of `step` where given, drawn by their logarithm where `log`."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def check(self, where: str) -> None:
        """Raise `UserError` naming `where`."""
        if not self.low < self.high:
            raise UserError(f"{where} is empty: low {self.low}, high {self.high}; expected low below high")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise UserError(f"{where}.step is {self.step}; expected above 0 up to {self.high - self.low:g}, or null")
        if self.high - self.low > LARGEST or (self.step is not None and (self.high - self.low) / self.step > MOST):
            raise UserError(f"{where} has low {self.low}, high {self.high}, step {self.step}; expected a smaller range")
        if self.step is not None and abs((steps := (self.high - self.low) / self.step) - round(steps)) > 1e-6:
            raise UserError(f"{where}.step is {self.step}; expected a part of {self.high - self.low:g}, or null")
        if self.log and (self.low <= 0 or self.step is not None):
            raise UserError(f"{where}.log needs low above 0 and no step")


@dataclass
class Search:
    """What is searched; null leaves a parameter at its value in `base`."""

    #: shares of all epochs after which the trunk has a stored state
    shrink_start: list[float] | None = None
    ramp_shape: list[str] | None = None
    #: length of the ramp; not asked for in shape "constant"
    ramp_epochs: Range | None = None
    #: ε of a ramp that climbs
    epsilon: Range | None = None
    #: ε in shape "constant", where 0 would train no subnet
    constant_epsilon: Range | None = None
    #: of in-place distillation; not asked for without it
    temperature: Range | None = None

    def check_against(self, where: str, base: dict[str, Any]) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        for key, value in vars(self).items():
            if isinstance(value, Range):
                value.check(f"{where}.{key}")
                if key == "constant_epsilon":
                    check_numbers(value, f"{where}.{key}", low=(0, 1), high=(0, 1))
                    continue
                # What a method may be set to is for its own options to say.
                for end in (value.low, value.high):
                    registry.options({**base, key: end}, where)
            elif value is not None:
                if not value:
                    raise UserError(f"{where}.{key} is empty; expected at least one value, or null: not searched")
                if len(set(value)) != len(value):
                    raise UserError(f"{where}.{key} is {value}; expected different values")
                for item in value:
                    registry.options({**base, "epsilon": 1.0, key: item}, where)
        if all(value is None for value in vars(self).values()):
            raise UserError(f"{where} searches nothing; expected some of {', '.join(vars(self))}")
        constant = "constant" in (self.ramp_shape or [])
        if constant and self.constant_epsilon is None:
            raise UserError(f"{where}.constant_epsilon is null; ramp_shape constant needs a range of ε above 0")
        if constant and self.constant_epsilon.low <= 0:
            raise UserError(f"{where}.constant_epsilon.low is {self.constant_epsilon.low}; expected above 0")


@dataclass
class TuningConfig:
    """The `tuning` section of an experiment."""

    #: finished trials, those that were pruned included; base and `points` come first; 0: no study
    trials: int = 0
    #: of the trials: the first of the experiment's seeds
    seed: int = 0
    #: [accuracy, cost]: mean Pareto accuracy on validation against training MACs; or [accuracy]
    objectives: list[str] = field(default_factory=lambda: ["accuracy", "cost"])
    #: trials that cost more to train do not count; null: no limit
    cost_limit: float | None = None
    #: of `cost_limit`: multiples of the full model's training cost, or 10¹² MACs
    cost_unit: str = "full_model"
    #: with objectives [accuracy]: none, asha or hyperband, on validation accuracy during the shrink phase
    pruner: str = "none"
    #: share of the shrink phase before the first decision to prune
    pruner_from: float = 0.25
    #: one trial in so many passes each decision
    pruner_reduction: int = 2
    #: finished trials, the given points included, before TPE takes over from random draws
    startup_trials: int = 10
    #: decides what is drawn
    sampler_seed: int = 0
    #: on which the best trial and the default are measured once more; `seed`, which has chosen, is left out
    confirm_seeds: list[int] = field(default_factory=list)
    #: the method that is tuned; its own parameters are the first trial
    base: dict[str, Any] = field(default_factory=dict)
    search: Search = field(default_factory=Search)
    #: trials that come next, each as what differs from `base`, searched or not
    points: list[dict[str, Any]] = field(default_factory=list)

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        check_numbers(self, where, trials=(0, MOST), startup_trials=(1, MOST), sampler_seed=(0, LARGEST_SEED))
        check_numbers(self, where, pruner_reduction=(2, 1000))
        seeds = self.confirm_seeds
        if len(set(seeds)) != len(seeds) or not all(0 <= seed <= LARGEST_SEED for seed in seeds):
            raise UserError(f"{where}.confirm_seeds is {seeds}; expected different numbers from 0 up to {LARGEST_SEED}")
        if self.objectives not in OBJECTIVES:
            raise UserError(f"{where}.objectives is {self.objectives}; allowed: [accuracy], [accuracy, cost]")
        if self.pruner not in PRUNERS:
            raise UserError(f"{where}.pruner is {self.pruner!r}; allowed: {', '.join(PRUNERS)}")
        if self.pruner != "none" and len(self.objectives) > 1:
            raise UserError(f"{where}.pruner is {self.pruner!r}, which needs objectives [accuracy]; or set it to none")
        if not 0 < self.pruner_from < 1:
            raise UserError(f"{where}.pruner_from is {self.pruner_from}; expected above 0, below 1")
        if self.cost_unit not in COST_UNITS:
            raise UserError(f"{where}.cost_unit is {self.cost_unit!r}; allowed: {', '.join(COST_UNITS)}")
        if self.cost_limit is not None and self.cost_limit <= 0:
            raise UserError(f"{where}.cost_limit is {self.cost_limit}; expected a positive number, or null")
        if self.base.get("method") != METHOD:
            there = self.base.get("method")
            raise UserError(f"{where}.base has method {there!r}; expected a method of method {METHOD!r}")
        # Completed and of the right types: from here on everything may count on each key.
        self.base = {"method": METHOD, **vars(registry.options(self.base, f"{where}.base"))}
        self.search.check_against(f"{where}.search", self.base)
        self.points = [self._checked(point, f"{where}.points[{n}]") for n, point in enumerate(self.points)]

    def _checked(self, point: dict[str, Any], where: str) -> dict[str, Any]:
        if not point or "method" in point:
            raise UserError(f"{where} is {point}; expected some keys of {METHOD}'s, and other values than in base")
        options = registry.options({**self.base, **point}, where)
        return {key: getattr(options, key) for key in point}

    def check_trunk(self, where: str, epochs: int, keep: FullModelConfig) -> None:
        """Raise `UserError` where a shrink start has no stored state of the trunk to branch from."""
        if not self.trials:
            return
        stored = [0, *(epoch for epoch in keep.epochs(epochs) if epoch < epochs)]
        shares = {f"{where}.base.shrink_start": [self.base["shrink_start"]]}
        shares |= {f"{where}.search.shrink_start": self.search.shrink_start or []}
        for number, point in enumerate(self.points):
            shares[f"{where}.points[{number}].shrink_start"] = [point.get("shrink_start", 0.0)]
        for key, values in shares.items():
            for share in values:
                if round(share * epochs) not in stored:
                    raise UserError(
                        f"{key} holds {share}, epoch {round(share * epochs)} of {epochs}; the trunk keeps states to "
                        f"shrink from after epochs {', '.join(map(str, stored[1:]))} (full_model.keep)"
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


def _text(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else f"{value:g}" if _number(value) else value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


#: options of the method that the search can set
SEARCHED = tuple(key.name for key in fields(Search) if key.name != "constant_epsilon")
