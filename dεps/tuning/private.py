"""What is used of Optuna that is not public, all of it; its test says what an upgrade must keep."""

from __future__ import annotations

from typing import cast

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import NSGAIISampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial


def storage_of(study: optuna.Study) -> RDBStorage:
    """The database that the study was opened with."""
    return cast(RDBStorage, study._storage)


def url_of(storage: RDBStorage) -> str:
    """The address of a study's database, with its password; a study that was opened again has it behind a cache."""
    return str(getattr(storage, "_backend", storage).url)


def heartbeat(study: optuna.Study, trial: optuna.Trial | FrozenTrial) -> None:
    """Tell other machines that the trial is alive."""
    storage_of(study).record_heartbeat(trial._trial_id)


def resumed(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """A running trial as its worker has it, to go on with."""
    return optuna.Trial(study, trial._trial_id)


def is_reported(study: optuna.Study, trial: optuna.Trial, step: int) -> bool:
    """Whether the trial has an intermediate value at this step."""
    return step in storage_of(study).get_trial(trial._trial_id).intermediate_values


def contains(distribution: FloatDistribution, value: float) -> bool:
    """Whether the value can be drawn; a grid holds no values between its steps."""
    return distribution._contains(value)


def in_generation(number: int) -> dict[str, int]:
    """System attributes of a trial that belongs to that generation of NSGA-II, from 0 on."""
    return {NSGAIISampler._get_generation_key(): number}
