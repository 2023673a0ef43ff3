"""A study of the made-up objective as the result files of stage `tune`."""

from pathlib import Path

from dεps.tuning.confirm import confirm, confirmation_table
from dεps.tuning.outputs import write
from dεps.tuning.storage import open_storage
from dεps.tuning.study import open_study, work
from tests.tuning.toy import again, objective, plan


def write_study(folder: Path, out: Path, **changes) -> dict:
    out.mkdir(parents=True)
    own = plan(folder, **changes)
    study = open_study(own, open_storage(f"sqlite:///{folder / 'study.db'}"))
    work(own, study, objective(), own.config.trials)
    confirm(own, study, again, own.config.trials)
    return write(own, study, "quick", 2.0, confirmation_table(own, study, own.config.trials), out)
