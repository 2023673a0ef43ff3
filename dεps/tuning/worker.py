"""Opens a study and lets workers run its trials (`deps tune`); run as a program, it is one such worker."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from dεps.core.console import say, warn
from dεps.core.device import visible_gpus
from dεps.core.errors import UserError
from dεps.core.params import read_params, section, selected
from dεps.core.process import begin, guarded
from dεps.core.schema import structured
from dεps.tuning.config import TuningConfig
from dεps.tuning.confirm import confirm, confirmation_table
from dεps.tuning.dashboard import INSTALL, artifacts, show_best
from dεps.tuning.identity import STAGE
from dεps.tuning.objective import ShrinkPhase
from dεps.tuning.outputs import finished_trials, summarise, trials_table
from dεps.tuning.storage import VARIABLE, masked, open_storage, storage_url, watched
from dεps.tuning.study import count_diverged, count_finished, open_study, work
from dεps.tuning.verdict import verdict
from dεps.workspace.stage import Context


def tune(experiment: str | None, workers: int, trials: int | None, storage: str | None) -> None:
    """Bring an experiment's study to `trials` finished trials, with `workers` processes here. Raises `UserError`."""
    context, trials = _prepare(experiment, trials)
    phase = ShrinkPhase(context)
    phase.check_trunk()
    url = storage_url(storage, phase.plan.state)
    with watched(url):
        _tune(context, phase, workers, trials, url)


def _tune(context: Context, phase: ShrinkPhase, workers: int, trials: int, url: str) -> None:
    plan, study = phase.plan, open_study(phase.plan, open_storage(url))
    say(f"study {plan.name} in {masked(url)}: {count_finished(study)} of {trials} trials finished")
    if workers == 1:
        work(plan, study, phase, trials)
    else:
        # The password of a database must not show in a list of processes.
        environment = os.environ | {VARIABLE: url}
        command = [sys.executable, "-m", "dεps.tuning.worker", context.experiment, str(trials)]
        gpus = visible_gpus()
        processes = [subprocess.Popen(command, env=environment | _own_gpu(gpus, number)) for number in range(workers)]
        try:
            codes = [process.wait() for process in processes]
        except KeyboardInterrupt:
            for process in processes:
                process.wait()  # Ctrl-C has reached them too
            raise
        if any(codes):
            warn(f"{sum(map(bool, codes))} of {workers} workers failed")
    finished = count_finished(study)
    if finished < trials:
        raise UserError(f"{finished} of {trials} trials are finished; the same command goes on with the others")
    confirm(plan, study, phase.again, trials)  # what several workers have not done yet
    table = trials_table(plan, finished_trials(study, trials))
    confirmation, diverged = confirmation_table(plan, study, trials), count_diverged(study, trials)
    summary = summarise(phase.config, table, phase.full_model_tmacs(), confirmation, diverged)
    say("\n".join(f"{key.removeprefix('tune/').replace('_', ' ')}: {value:g}" for key, value in summary.items()))
    say(verdict(summary))
    noted = show_best(plan, study, context.experiment, table, summary)
    say(
        f"to look at it: optuna-dashboard {masked(url)} --artifact-dir {artifacts(plan)}"
        + ("" if noted else f"; notes of the best trial need it installed: {INSTALL}")
    )
    if phase.config.trials:
        say(f"'dvc repro' writes runs/{context.experiment}/{STAGE}/ from the first {phase.config.trials} trials")
    else:
        say(
            f"to make it a result of 'dvc repro': deps params experiment=[{context.experiment}] "
            f"experiments.{context.experiment}.tuning.trials={trials}"
        )


def _own_gpu(gpus: list[str], number: int) -> dict[str, str]:
    """Return the environment that lets a worker see one GPU only; workers take GPUs in turn."""
    return {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}


def _prepare(experiment: str | None, trials: int | None) -> tuple[Context, int]:
    params = read_params()
    name = experiment or selected(params, "names")[0]
    context = Context(STAGE, name, params=params)
    section(params, *context.keys())
    own = dict(section(params, *context.keys("tuning")))
    where = ".".join(context.keys("tuning"))
    trials = structured(TuningConfig, own, where).trials if trials is None else trials
    if not trials:
        raise UserError(f"{where}.trials is 0; give --trials, or set it")
    # Whoever asks for more than the params say means the same study.
    params["experiments"][name]["tuning"] = own | {"trials": trials}
    structured(TuningConfig, params["experiments"][name]["tuning"], where)
    return context, trials


def main() -> None:
    """Run one worker among several: the study exists, and the environment names its storage."""
    begin()
    parser = argparse.ArgumentParser(description="One worker of a study, as `deps tune --workers` starts it.")
    parser.add_argument("experiment")
    parser.add_argument("trials", type=int)
    arguments = parser.parse_args()

    def run() -> None:
        try:
            context, trials = _prepare(arguments.experiment, arguments.trials)
            phase = ShrinkPhase(context)
            plan = phase.plan
            url = storage_url(None, plan.state)
            with watched(url):
                study = open_study(plan, open_storage(url))
                work(plan, study, phase, trials)
                confirm(plan, study, phase.again, trials)
        except KeyboardInterrupt:  # which reaches all workers: the one line about it is their parent's
            sys.exit(130)

    guarded(run)


if __name__ == "__main__":
    main()
