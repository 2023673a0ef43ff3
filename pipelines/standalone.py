"""Stage `standalone`: one arch trained alone from scratch, the reference that a subnet is measured against."""

from __future__ import annotations

from pathlib import Path

from dεps.core.device import set_up
from dεps.evaluation.inputs import load_data
from dεps.methods import standalone
from dεps.spaces.space import SearchSpace
from dεps.training.config import TrainConfig
from dεps.training.loop import Trainer
from dεps.training.run import train
from dεps.workspace.identity import STANDALONE, standalone_method
from dεps.workspace.live import LiveFile
from dεps.workspace.stage import Context, run


def work(context: Context, out: Path) -> None:
    """Write the supernet, in which only this arch is trained, and the history."""
    set_up()
    space = context.section(SearchSpace, "space")
    arch = space.named(context.the_arch, STANDALONE)  # before the data is read
    config, data = context.section(TrainConfig, "train"), load_data(context)
    method = standalone.build(standalone.Options(context.the_arch), config.setup(space, data))
    trainer = Trainer(space, data, config, method, context.the_seed, {"alone": arch})
    name = standalone_method(context.the_arch)
    train(context, name, trainer, out, LiveFile.of(context, name, data.manifest))


if __name__ == "__main__":
    run(STANDALONE, work, ("experiment", "arch", "seed"))
