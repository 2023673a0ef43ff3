"""An Optuna study that any number of workers bring to exactly N finished trials.

A trial counts when it is complete or pruned. A worker that dies leaves its trial running. The next worker on the same
machine finds the dead worker's lock free and resumes the trial; a worker on another machine tries its parameters again
once the heartbeat stops. What is drawn depends only on the finished trials and on the trial's place among them, so a
single worker gives the same study with and without interruptions.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import BaseFileLock
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from dεps.core.console import warn
from dεps.core.errors import DivergenceError, UserError
from dεps.tuning.config import TuningConfig
from dεps.tuning.draw import POINT, draw, given
from dεps.tuning.private import heartbeat, is_reported, resumed, storage_of, url_of
from dεps.tuning.samplers import drawing
from dεps.tuning.storage import DAMAGED, GRACE, HEARTBEAT, masked
from dεps.workspace.locks import is_held, locked

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
ACTIVE = (*FINISHED, TrialState.RUNNING)
#: user attributes
WORKERS, OUTCOME, OPTIONS, READY, DIVERGED = "workers", "outcome", "options", "ready", "diverged"
#: resolution of the share of the shrink phase at which intermediate values are reported
STEPS = 1000
POLL = 0.5  # seconds


@dataclass(frozen=True)
class Plan:
    """One study."""

    #: tells apart studies over anything else, such as other data, parameters or code
    name: str
    config: TuningConfig
    #: locks and unfinished trainings on this machine
    state: Path
    #: in 10¹² MACs
    cost_limit: float | None = None


@dataclass
class Outcome:
    """Result of a trial: accuracies on validation in percent, costs in 10¹² MACs."""

    #: of the whole training, the full model's share included
    train_tmacs: float
    #: of what the trial itself trained
    own_tmacs: float
    #: mean Pareto accuracy; None while it is not known
    accuracy: float | None = None
    smallest: float | None = None
    largest: float | None = None
    #: one record an epoch that the trial itself trained
    history: list[dict[str, Any]] = field(default_factory=list)
    #: the Pareto points: name, macs, val_top1
    points: list[dict[str, Any]] = field(default_factory=list)


#: report(share of the shrink phase done, intermediate accuracy, outcome so far) raises `TrialPruned` to end the trial
Report = Callable[[float, float, Outcome], None]
#: objective(number of the trial, its place among those that count, options, report)
Objective = Callable[[int, int, dict[str, Any], Report], Outcome]


def pruner(config: TuningConfig) -> BasePruner:
    """As `config` says."""
    first, factor = max(1, round(config.pruner_from * STEPS)), config.pruner_reduction
    if config.pruner == "asha":
        return SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)
    if config.pruner == "hyperband":
        return HyperbandPruner(min_resource=first, max_resource=STEPS, reduction_factor=factor)
    return NopPruner()


def open_study(plan: Plan, storage: RDBStorage) -> optuna.Study:
    """Return the study; whichever process comes first creates it, with its given points."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directions: list[Literal["maximize", "minimize"]] = ["maximize", "minimize"]
    directions = directions[: len(plan.config.objectives)]
    with _turn(plan):
        try:
            study = optuna.create_study(study_name=plan.name, storage=storage, directions=directions)
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(study_name=plan.name, storage=storage)
            patience = time.monotonic() + GRACE
            while READY not in study.user_attrs and not _is_local(storage) and time.monotonic() < patience:
                time.sleep(POLL)  # another machine is at it
        if READY not in study.user_attrs:
            for name, point in plan.config.all_points().items():
                study.enqueue_trial(given(plan.config, point), user_attrs={POINT: name}, skip_if_exists=True)
            study.set_user_attr(READY, True)
    _check_results(study)
    study.pruner = pruner(plan.config)
    return study


def _check_results(study: optuna.Study) -> None:
    """Raise `UserError` if a finished trial has lost its results, or they differ from what was told to Optuna."""
    for trial in study.get_trials(deepcopy=False, states=FINISHED):
        outcome = trial.user_attrs.get(OUTCOME)
        told = [outcome["accuracy"], outcome["train_tmacs"]] if outcome else []
        as_told = trial.state != TrialState.COMPLETE or trial.values == told[: len(study.directions)]
        if not outcome or OPTIONS not in trial.user_attrs or not as_told:
            number = f"finished trial {trial.number} has no consistent results"
            raise UserError(f"the study's storage {_shown(storage_of(study))} is damaged: {number}; {DAMAGED}")


def are_finished(study: optuna.Study, count: int) -> bool:
    """Tell whether the first `count` trials are: later ones may be before them, and would take their places."""
    first = study.get_trials(deepcopy=False, states=ACTIVE)[:count]
    return len(first) == count and all(trial.state in FINISHED for trial in first)


def count_finished(study: optuna.Study) -> int:
    """Return the number of trials that count towards N."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def place(study: optuna.Study, number: int) -> int:
    """Return how many finished or running trials came before this one."""
    return sum(trial.number < number for trial in study.get_trials(deepcopy=False, states=ACTIVE))


def _diverged(study: optuna.Study, number: int) -> int:
    """Return how many trials before this one diverged."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return sum(DIVERGED in trial.user_attrs and trial.number < number for trial in trials)


def count_diverged(study: optuna.Study, count: int) -> int:
    """Return how many drawn trials diverged, and were replaced, before the first `count` were finished.

    A trial whose worker was killed is resumed, and diverges once: the number is the undisturbed study's.
    """
    finished = study.get_trials(deepcopy=False, states=FINISHED)[:count]
    return _diverged(study, finished[-1].number) if finished else 0


def work(plan: Plan, study: optuna.Study, objective: Objective, target: int) -> None:
    """Run trials until the first `target` are finished; wait for others' trials, and resume those of dead workers."""
    worker = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
    path = _worker_lock(plan, worker)
    with locked(path):
        while not are_finished(study, target):
            with _turn(plan), warnings.catch_warnings():
                # That heartbeats are experimental, and that Optuna's own loop would send them.
                warnings.simplefilter("ignore")
                run = _begin(plan, study, worker, target)
            if run is None:
                time.sleep(POLL)
                continue
            # Whatever ends this process, Ctrl-C included, leaves the trial running, for the next worker to go on with.
            with _heartbeat(study, run.trial), suppress(UpdateFinishedTrialError):
                run.measure(objective)
    path.unlink(missing_ok=True)


def _begin(plan: Plan, study: optuna.Study, worker: str, target: int) -> _Run | None:
    """Return a dead worker's trial, or a waiting or new one; None while others run the last ones. Needs the turn."""
    # First what died here, however long ago: it goes on. Only then what another machine has not been heard of for.
    for trial in _dead(plan, study):
        heartbeat(study, trial)
    optuna.storages.fail_stale_trials(study)
    if dead := _dead(plan, study):
        trial = resumed(study, dead[0])
    elif len(study.get_trials(deepcopy=False, states=ACTIVE)) < target:
        trial = study.ask()
    else:
        return None
    heartbeat(study, trial)
    trial.set_user_attr(WORKERS, [*trial.user_attrs.get(WORKERS, []), worker])
    at = place(study, trial.number)
    if at >= target:  # another machine was faster with the last one
        study.tell(trial, state=TrialState.FAIL)
        return None
    config, failed = plan.config, _diverged(study, trial.number)
    others = [failed] if failed else []  # or the same options would be drawn again
    options = draw(trial, config, drawing(study, config, trial.number, at, others))
    trial.set_user_attr(OPTIONS, options)
    return _Run(plan, study, trial, at, options)


@dataclass
class _Run:
    """A running trial."""

    plan: Plan
    study: optuna.Study
    trial: optuna.Trial
    place: int
    options: dict[str, Any]

    def measure(self, objective: Objective) -> None:
        """Call the objective, and store what it returns."""
        try:
            outcome = objective(self.trial.number, self.place, self.options, self._report)
        except optuna.TrialPruned:
            self.study.tell(self.trial, state=TrialState.PRUNED)
            return
        except DivergenceError as error:
            # Options that are drawn may be to blame: another trial takes its place. Given ones are a yardstick.
            if POINT in self.trial.user_attrs or _diverged(self.study, self.trial.number) >= self.plan.config.trials:
                raise
            self.trial.set_user_attr(DIVERGED, True)
            self.study.tell(self.trial, state=TrialState.FAIL)
            warn(f"{error}; the trial has failed")
            return
        self._note(outcome, projected=outcome.train_tmacs)
        values = [outcome.accuracy, outcome.train_tmacs]
        self.study.tell(self.trial, values[: len(self.plan.config.objectives)])

    def _report(self, share: float, accuracy: float, outcome: Outcome) -> None:
        if len(self.plan.config.objectives) > 1:
            return
        step = round(share * STEPS)
        if not is_reported(self.study, self.trial, step):
            self.trial.report(accuracy, step)
        # The given points are there to be compared: they run to their end.
        if self.trial.should_prune() and share < 1 and POINT not in self.trial.user_attrs:
            self._note(outcome, projected=outcome.train_tmacs + outcome.own_tmacs * (1 / share - 1))
            raise optuna.TrialPruned

    def _note(self, outcome: Outcome, projected: float) -> None:
        self.trial.set_user_attr(OUTCOME, asdict(outcome))
        if self.plan.cost_limit is not None:
            self.trial.set_constraint("cost", projected - self.plan.cost_limit)


@contextmanager
def _heartbeat(study: optuna.Study, trial: optuna.Trial) -> Iterator[None]:
    """Keep telling other machines, during the block, that the trial is alive."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT):
            with suppress(Exception):  # of a database that is gone the worker itself will tell
                heartbeat(study, trial)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _dead(plan: Plan, study: optuna.Study) -> list[FrozenTrial]:
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in running if _is_dead(plan, study, trial)]


def _is_dead(plan: Plan, study: optuna.Study, trial: FrozenTrial) -> bool:
    """Tell whether a running trial's worker ran on this machine and is gone."""
    workers = trial.user_attrs.get(WORKERS)
    if not workers:
        # Workers of this machine say who they are before they pass on the turn, which is ours now.
        began = trial.datetime_start or datetime.now()
        return _is_local(storage_of(study)) or datetime.now() - began > timedelta(seconds=2 * GRACE)
    path = _worker_lock(plan, workers[-1])
    return path.exists() and not is_held(path)


def _worker_lock(plan: Plan, worker: str) -> Path:
    return plan.state / "workers" / f"{worker}.lock"


def _turn(plan: Plan) -> BaseFileLock:
    """Return the lock to hold while beginning a trial, because sqlite lets two processes begin the same one."""
    return locked(plan.state / "turn.lock")


def _is_local(storage: RDBStorage) -> bool:
    return _shown(storage).startswith("sqlite")


def _shown(storage: RDBStorage) -> str:
    return masked(url_of(storage))
