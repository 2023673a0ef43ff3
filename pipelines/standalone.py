"""Stage `standalone`: one arch trained alone from scratch, the reference that a subnet is measured against."""

from __future__ import annotations

from pathlib import Path

from dεps.device import set_up
from dεps.experiment import load_data
from dεps.identity import STANDALONE, standalone_method
from dεps.runner import train
from dεps.search_space import SearchSpace
from dεps.stage import Context, run
from dεps.strategies import standalone
from dεps.training import TrainConfig, Trainer


def work(context: Context, out: Path) -> None:
    """Write the supernet, in which only this arch is trained, and the history."""
    set_up()
    space = context.section(SearchSpace, "space")
    arch = space.named(context.arch, STANDALONE)  # before the data is read
    config, data = context.section(TrainConfig, "train"), load_data(context)
    strategy = standalone.build(standalone.Options(context.arch), config.setup(space, data))
    trainer = Trainer(space, data, config, strategy, context.seed, {"alone": arch})
    train(context, standalone_method(context.arch), trainer, out)


if __name__ == "__main__":
    run(STANDALONE, work, ("experiment", "arch", "seed"))
