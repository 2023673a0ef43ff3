"""A study of the made-up objective as the result files of stage `tune`."""

from pathlib import Path

from dεps.tuning.outputs import write
from dεps.tuning.storage import open_storage
from dεps.tuning.study import open_study, work
from tests.tuning.toy import objective, plan


def write_study(folder: Path, out: Path, **changes) -> dict:
    out.mkdir(parents=True)
    own = plan(folder, **changes)
    study = open_study(own, open_storage(f"sqlite:///{folder / 'study.db'}"))
    work(own, study, objective(), own.config.trials)
    return write(own, study, "quick", 2.0, out)
