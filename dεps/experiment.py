"""What most stages start from: the experiment's prepared data, and a supernet that fits it."""

from __future__ import annotations

from pathlib import Path

from dεps.config import section
from dεps.data.augment import AugmentConfig
from dεps.data.config import DatasetConfig
from dεps.data.splits import PreparedData
from dεps.errors import UserError
from dεps.evaluation import AUGMENTED, Recalibration
from dεps.search_space import SearchSpace
from dεps.stage import Context
from dεps.supernet.files import load_supernet
from dεps.supernet.network import Supernet


def load_data(context: Context) -> PreparedData:
    """The output of stage `prepare`. Raises `UserError`."""
    return PreparedData(context.data_folder(), context.section(DatasetConfig, "dataset"))


def recalibration(context: Context, data: PreparedData, images: int, seed: int | None = None) -> Recalibration:
    """So many training images for BN statistics, as `train.recalibrate_on` says; `seed` is by default the context's."""
    on = section(context.params, *context.keys("train")).get("recalibrate_on")
    augment = context.section(AugmentConfig, "train", "augment") if on == AUGMENTED else None
    return Recalibration.of(data.train, images, context.seed if seed is None else seed, augment)


def load_net(path: Path, data: PreparedData, space: SearchSpace | None = None) -> Supernet:
    """The supernet of a file, for that data and, where given, of that space. Raises `UserError`."""
    net = load_supernet(path)
    check_fit(net, data, path)
    if space is not None and net.space != space:
        raise UserError(f"{path} is of another search space than params.yaml says; run the stage that writes it again")
    return net


def check_fit(net: Supernet, data: PreparedData, path: Path) -> None:
    """Raise `UserError` where the supernet of file `path` cannot be used with the data."""
    for what, own, there in (
        ("classes", net.classes, len(data.classes)),
        ("input channels", net.channels, data.channels),
    ):
        if own != there:
            raise UserError(f"{path} has {own} {what}, {data.folder} has {there}; expected the same")
