"""One worker of a study with a made-up objective: python -m tests.tuning.toy STORAGE FOLDER TRIALS SECONDS."""

import sys
import time
from pathlib import Path

from dεps.tuning.config import Range, Search, TuningConfig
from dεps.tuning.storage import open_storage
from dεps.tuning.study import Outcome, Plan, open_study, work

BASE = {
    "method": "deps",
    "shrink_start": 0.5,
    "ramp_epochs": 0.5,
    "ramp_shape": "linear",
    "epsilon": 0.0,
    "random_subnets": 2,
    "distill": True,
    "temperature": 1.0,
    "divergence": "forward",
    "sort_channels": True,
    "kernels": None,
    "depths": None,
    "expands": None,
}


def config(**changes) -> TuningConfig:
    search = Search(
        shrink_start=[0.25, 0.5, 0.75],
        ramp_shape=["linear", "step", "constant"],
        ramp_epochs=Range(0.0, 2.0),
        epsilon=Range(0.0, 0.5),
        constant_epsilon=Range(0.05, 1.0, log=True),
        temperature=Range(0.5, 4.0, log=True),
    )
    points = [{"shrink_start": 0.25}, {"shrink_start": 0.75}, {"ramp_epochs": 0.0}, {"distill": False}]
    return TuningConfig(
        **{"trials": 8, "startup_trials": 6, "base": BASE, "search": search, "points": points, **changes}
    )


def plan(folder: Path, **changes) -> Plan:
    return Plan("toy", config(**changes), folder / "state", changes.get("cost_limit"))


def objective(seconds: float = 0.0):
    def measure(number, place, options, report) -> Outcome:
        cost = 2.0 - options["shrink_start"]
        top1 = 80 - 20 * (options["shrink_start"] - 0.5) ** 2 - abs(options["ramp_epochs"] - 1) - options["epsilon"]
        top1 -= 0.5 * abs(options["temperature"] - 1) + (0 if options["distill"] else 2)
        outcome = Outcome(cost, cost / 2)
        for epoch in range(1, 9):
            time.sleep(seconds / 8)
            record = {"epoch": epoch, "cost/train_tmacs": cost * epoch / 8, "val/smallest_top1": top1 * epoch / 8}
            record["val/largest_top1"] = 80 + (0 if options["ramp_epochs"] else epoch - 8)
            outcome.history.append(record)
            outcome.train_tmacs, outcome.own_tmacs = cost * epoch / 8, cost * epoch / 16
            report(epoch / 8, top1 * epoch / 8, outcome)
        outcome.accuracy, outcome.smallest, outcome.largest = round(top1, 4), round(top1 - 5, 4), round(top1 + 5, 4)
        outcome.points = [
            {"name": f"D{number}", "macs": 1_000_000 * number, "val_top1": round(top1 + 5 * (number - 2), 4)}
            for number in (1, 2, 3)
        ]
        return outcome

    return measure


def again(seed, several):
    """The same on another seed, where what leaves the preset's shrink start loses 3 points, and noise by seed."""
    for options in several:
        outcome = objective()(0, 0, options, lambda *_: None)
        outcome.accuracy -= 3 * (options["shrink_start"] != 0.5) + seed * (options != BASE) / 10
        yield outcome


if __name__ == "__main__":
    url, folder, trials, seconds = sys.argv[1:]
    own = plan(Path(folder))
    work(own, open_study(own, open_storage(url)), objective(float(seconds)), int(trials))
