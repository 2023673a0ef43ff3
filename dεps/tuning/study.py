"""An Optuna study that any number of workers bring to exactly N finished trials.

A trial counts when it is complete or pruned. A worker that dies leaves its trial running; whoever comes next on the
same machine finds the worker's lock free and puts the trial back, with its parameters, and other machines do so when
its heartbeat stops. What is drawn depends on the finished trials and on the trial's place among them only, so one
worker gives the same study with and without interruption.
"""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from dεps.randomness import derive
from dεps.tuning.config import TuningConfig
from dεps.tuning.draw import POINT, draw, given
from dεps.tuning.storage import GRACE

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=ExperimentalWarning)

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
ACTIVE = (*FINISHED, TrialState.RUNNING)
#: user attributes
WORKER, OUTCOME, OPTIONS, READY = "worker", "outcome", "options", "ready"
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
    """What a trial gave: accuracies on validation in percent, costs in 10¹² MACs."""

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


#: report(share of the shrink phase done, intermediate accuracy, outcome so far) raises `TrialPruned` to end the trial
Report = Callable[[float, float, Outcome], None]
#: objective(number of the trial when it was first tried, its place, options, report)
Objective = Callable[[int, int, dict[str, Any], Report], Outcome]


class SurplusError(Exception):
    """Another worker was faster with the last trial."""


class _Hyperband(HyperbandPruner):
    """Brackets by a trial's place among those that count; numbers shift when a trial is put back."""

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        counted = FrozenTrial(**{**_fields(trial), "number": place(study, trial.number)})
        return super()._get_bracket_id(study, counted)


def _fields(trial: FrozenTrial) -> dict[str, Any]:
    return {"number": trial.number, "state": trial.state, "value": None, "datetime_start": None} | {
        "datetime_complete": None,
        "params": {},
        "distributions": {},
        "user_attrs": {},
        "system_attrs": {},
        "intermediate_values": {},
        "trial_id": trial._trial_id,
    }


def pruner(config: TuningConfig) -> BasePruner:
    """As `config` says."""
    first, factor = max(1, round(config.pruner_from * STEPS)), config.pruner_reduction
    if config.pruner == "asha":
        return SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)
    if config.pruner == "hyperband":
        return _Hyperband(min_resource=first, max_resource=STEPS, reduction_factor=factor)
    return NopPruner()


def open_study(plan: Plan, storage: RDBStorage) -> optuna.Study:
    """The study, made with its points on first use: by one process, whoever else comes at the same time."""
    directions = ["maximize", "minimize"][: len(plan.config.objectives)]
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
    study.pruner = pruner(plan.config)
    return study


def count_finished(study: optuna.Study) -> int:
    """Trials that count towards N."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def place(study: optuna.Study, number: int) -> int:
    """How many trials that are finished or under way came before this one."""
    return sum(trial.number < number for trial in study.get_trials(deepcopy=False, states=ACTIVE))


def work(plan: Plan, study: optuna.Study, objective: Objective, target: int) -> None:
    """Run trials until `target` are finished; waits for those of other workers, and takes over from dead ones."""
    worker = uuid.uuid4().hex
    own = FileLock(_worker_lock(plan, worker))
    _worker_lock(plan, worker).parent.mkdir(parents=True, exist_ok=True)
    turn = _turn(plan)
    with own:
        while True:
            with turn:
                _put_back(plan, study)
            if count_finished(study) >= target:
                break
            turn.acquire()
            try:
                if len(study.get_trials(deepcopy=False, states=ACTIVE)) < target:
                    run = _Run(plan, study, objective, target, worker, turn)
                    study.optimize(run, n_trials=1, catch=(SurplusError,))
                    continue
            except UpdateFinishedTrialError:
                continue  # this process was thought dead, and its trial is another's now
            finally:
                turn.release(force=True)
            time.sleep(POLL)
            optuna.storages.fail_stale_trials(study)
    _worker_lock(plan, worker).unlink(missing_ok=True)


@dataclass
class _Run:
    """The function that Optuna calls. It holds the turn until it has its parameters."""

    plan: Plan
    study: optuna.Study
    objective: Objective
    target: int
    worker: str
    turn: FileLock

    def __call__(self, trial: optuna.Trial) -> list[float]:
        try:
            return self._measure(trial)
        except (optuna.TrialPruned, SurplusError):
            raise
        except BaseException:  # Ctrl-C, a full disk: whoever goes on finds the trial waiting
            _retry(self.study, self.study._storage.get_trial(trial._trial_id))
            raise

    def _measure(self, trial: optuna.Trial) -> list[float]:
        trial.set_user_attr(WORKER, self.worker)
        at = place(self.study, trial.number)
        if at >= self.target:
            raise SurplusError
        config = self.plan.config

        def reseed(parameter: str) -> None:
            seed = derive(config.sampler_seed, f"tuning/{parameter}", at) % 2**32
            self.study.sampler = TPESampler(n_startup_trials=config.startup_trials, seed=seed, multivariate=False)

        options = draw(trial, config, reseed)
        trial.set_user_attr(OPTIONS, options)
        self.turn.release(force=True)
        reported: set[int] = set()

        def report(share: float, accuracy: float, outcome: Outcome) -> None:
            step = round(share * STEPS)
            if len(config.objectives) > 1 or step in reported:
                return
            reported.add(step)
            trial.report(accuracy, step)
            if share < 1 and trial.should_prune():
                self._note(trial, outcome, projected=outcome.train_tmacs + outcome.own_tmacs * (1 / share - 1))
                raise optuna.TrialPruned

        stored = self.study._storage.get_trial(trial._trial_id)
        outcome = self.objective(stored.system_attrs.get("failed_trial", trial.number), at, options, report)
        self._note(trial, outcome, projected=outcome.train_tmacs)
        return [outcome.accuracy, outcome.train_tmacs][: len(config.objectives)]

    def _note(self, trial: optuna.Trial, outcome: Outcome, projected: float) -> None:
        trial.set_user_attr(OUTCOME, asdict(outcome))
        if self.plan.cost_limit is not None:
            trial.set_constraint("cost", projected - self.plan.cost_limit)


def _put_back(plan: Plan, study: optuna.Study) -> None:
    """Let the trials of dead workers wait for another one. The caller holds the turn."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_dead(plan, study, trial):
            try:
                study._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
            except UpdateFinishedTrialError:
                continue
            _retry(study, study._storage.get_trial(trial._trial_id))


def _retry(study: optuna.Study, trial: FrozenTrial) -> None:
    histories = (other.system_attrs.get("retry_history", []) for other in study.get_trials(deepcopy=False))
    if not any(trial.number in history for history in histories):
        RetryHeartbeatStaleTrialCallback()(study, trial)


def _is_dead(plan: Plan, study: optuna.Study, trial: FrozenTrial) -> bool:
    """Whether the worker of a running trial was one of this machine and is gone."""
    worker = trial.user_attrs.get(WORKER)
    if worker is None:
        # Workers of this machine say who they are before they pass on the turn, which is ours now.
        age = datetime.now() - trial.datetime_start
        return _is_local(study._storage) or age > timedelta(seconds=2 * GRACE)
    path = _worker_lock(plan, worker)
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return True
    except Timeout:
        return False


def _worker_lock(plan: Plan, worker: str) -> Path:
    return plan.state / "workers" / f"{worker}.lock"


def _turn(plan: Plan) -> FileLock:
    """Held while a trial is begun: sqlite lets two processes begin the same one."""
    plan.state.mkdir(parents=True, exist_ok=True)
    return FileLock(plan.state / "turn.lock")


def _is_local(storage: Any) -> bool:
    return str(getattr(storage, "_backend", storage).url).startswith("sqlite")
