"""Stage `tune`: an Optuna study over shrink timing and the ε ramp, brought to its end by one worker."""

from __future__ import annotations

from pathlib import Path

from dεps.core.console import say
from dεps.tuning.config import TuningConfig
from dεps.tuning.confirm import confirm, confirmation_table
from dεps.tuning.dashboard import show_best
from dεps.tuning.identity import STAGE
from dεps.tuning.objective import ShrinkPhase, clean
from dεps.tuning.outputs import finished_trials, trials_table, write
from dεps.tuning.storage import open_storage, storage_url, watched
from dεps.tuning.study import open_study
from dεps.tuning.study import work as run_trials
from dεps.tuning.verdict import verdict
from dεps.workspace.stage import Context, run


def work(context: Context, out: Path) -> None:
    """Write the tables of trials and curves, `best.yaml` and `summary.json`; empty ones where there is no study.

    Goes on with a study that `deps tune` or an interrupted run of this stage has begun.
    """
    trials = context.section(TuningConfig, "tuning").trials
    phase = ShrinkPhase(context, trunks_are_new=True)
    plan, study = phase.plan, None
    url = storage_url(None, plan.state)
    with watched(url):
        if trials:
            study = open_study(plan, open_storage(url))
            run_trials(plan, study, phase, trials)
            confirm(plan, study, phase.again, trials)
        confirmation = confirmation_table(plan, study, trials)
        summary = write(plan, study, context.experiment, phase.full_model_tmacs(), confirmation, out)
        if study is not None:
            table = trials_table(plan, finished_trials(study, trials))
            show_best(plan, study, context.experiment, table, summary)
    clean(plan)
    if "tune/best_val_top1" in summary:
        text = verdict(summary)
        say(
            f"{context.label}: {summary['tune/trials']} trials, best {summary['tune/best_val_top1']:.2f} % mean on "
            f"validation, default {summary.get('tune/default_val_top1', float('nan')):.2f} %; branching saved "
            f"{summary['tune/saved_percent']:.0f} % of the compute{text and f'; {text}'}"
        )


if __name__ == "__main__":
    run(STAGE, work)
