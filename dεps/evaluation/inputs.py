"""Loads what most stages start from: the experiment's prepared data, and a supernet that fits it."""

from __future__ import annotations

from pathlib import Path

from dεps.core.errors import UserError
from dεps.core.params import section
from dεps.data.config import AugmentConfig, DatasetConfig
from dεps.data.splits import PreparedData
from dεps.evaluation.accuracy import AUGMENTED, Recalibration, check_fit
from dεps.nets.files import load_supernet, trained_with
from dεps.nets.supernet import Supernet
from dεps.spaces.space import SearchSpace
from dεps.workspace.identity import training_facts
from dεps.workspace.stage import Context


def load_data(context: Context) -> PreparedData:
    """The output of stage `prepare`. Raises `UserError` where it is missing, damaged, or of other params."""
    return PreparedData(context.data_folder(), context.section(DatasetConfig, "dataset"))


def recalibration(context: Context, data: PreparedData, images: int, seed: int | None = None) -> Recalibration:
    """Draw that many training images for BN, plain or augmented as `train.recalibrate_on` says.

    `seed` is by default the context's.
    """
    on = section(context.params, *context.keys("train")).get("recalibrate_on")
    augment = context.section(AugmentConfig, "train", "augment") if on == AUGMENTED else None
    return Recalibration.of(data.train, images, context.the_seed if seed is None else seed, augment)


def load_net(
    path: Path, data: PreparedData, context: Context, method: str | None = None, seed: int | None = None
) -> Supernet:
    """The supernet that a stage has written to `path`.

    Raises `UserError` where it was trained with other params or data than the context's, or with another method or
    seed than given (default: the context's), naming what differs.
    """
    net, cure = load_supernet(path), "run the stage that writes it again"
    check_fit(net, data, str(path))
    if net.space != context.section(SearchSpace, "space"):
        raise UserError(f"{path} is of another search space than params.yaml says; {cure}")
    method, seed = method or context.the_method, context.the_seed if seed is None else seed
    facts, found = training_facts(context.params, context.experiment, method, seed, data.manifest), trained_with(path)
    if found and (other := [key for key in facts if found.get(key) != facts[key]]):
        raise UserError(f"{path} was trained with another '{other[0]}' than params.yaml and {data.folder} say; {cure}")
    return net
