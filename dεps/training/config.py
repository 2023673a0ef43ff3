"""The `train` and `full_model` sections of an experiment: what all its methods share, and what the trunk keeps.

Nothing of torch is imported here until a `Setup` is asked for.
"""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from dεps.core.errors import UserError
from dεps.core.given import Hash, given_file
from dεps.core.schema import Images, Share, checked
from dεps.data.config import AugmentConfig
from dεps.methods.schedule import Decay
from dεps.spaces.space import SearchSpace

if TYPE_CHECKING:
    from dεps.data.splits import PreparedData
    from dεps.methods.base import Setup

#: epochs of a training; what is longer is a slip of the pen
LONGEST = 100_000
#: what `init` names
INIT = "a supernet file, or a public checkpoint"


@checked
class TrainConfig:
    """The `train` section of an experiment: what all its methods share."""

    #: of the full model's training, which is the horizon that methods are compared over
    epochs: Annotated[int, Field(ge=1, le=LONGEST)] = 8
    #: images of a step, over all processes
    batch_size: Images = 64
    #: peak of the schedule
    learning_rate: Annotated[float, Field(gt=0, le=10**6)] = 0.1
    #: epochs over which it climbs from 0; below `epochs`
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    #: how it falls from there to 0
    decay: Decay = "cosine"
    #: Nesterov momentum of SGD
    momentum: Share = 0.9
    #: of all weights but those of BN and biases
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = 3e-5
    #: share of a label's probability that is spread over all classes
    label_smoothing: Share = 0.1
    #: before the classifier, in the terms that a method gives it to
    dropout: Share = 0.1
    #: file whose weights every training begins with, a supernet's or a public checkpoint; null: the seed draws them
    init: str | None = None
    #: of that file, by which results know it; `deps params` fills it in
    init_sha256: Hash | None = None
    #: decay a step of an exponential moving average of the weights, evaluated beside them; 0: none. It remembers about
    #: 1 / (1 - ema) steps, which should be a small part of the training
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    #: epochs between two validations of the smallest and the largest arch
    validate_every: Annotated[int, Field(ge=1, le=10**9)] = 1
    #: training images for BN recalibration before each validation
    validate_recalibration: Images = 1000
    #: training images for the BN recalibration of a full model that is frozen as teacher
    teacher_recalibration: Images = 2000
    #: form of the training images on which BN is recalibrated in all stages: plain, or augmented as in training
    recalibrate_on: Literal["plain", "augmented"] = "plain"
    #: auto: cuda where there is one
    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: of forward and backward, fp16 on a GPU only; weights stay float32, evaluation too
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    #: memory format of images and weights
    channels_last: bool = True
    #: compile the full model, whose shape is fixed; subnets run as they are
    compile: bool = False
    #: what computes depthwise convolutions and BN in a step: native is faster on CPUs, and needs a C++ compiler
    operators: Literal["torch", "native"] = "torch"

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}; expected 0 up to below epochs, {self.epochs}")
        if self.init is None and self.init_sha256 is not None:
            raise ValueError("init_sha256 is set; expected init too, the file that has it")
        if self.operators == "native":
            needed = {"precision": "float32", "channels_last": True, "compile": False}
            if wrong := next((key for key, value in needed.items() if getattr(self, key) != value), None):
                needs = f"which needs {wrong} {str(needed[wrong]).lower()}"
                raise ValueError(f"operators is 'native', {needs}; set operators to torch, or that")
        return self

    def init_file(self, where: str = "train") -> Path | None:
        """Path of `init`. Raises `UserError` naming the key below `where` if it can't be read, or has another hash."""
        return None if self.init is None else given_file(self.init, self.init_sha256, f"{where}.init", INIT)

    def setup(self, space: SearchSpace, data: PreparedData) -> Setup:
        """What a method is built from."""
        if space.resolution[-1] != data.train.size:
            there = f"{data.train.size}×{data.train.size} pixels"
            raise UserError(
                f"space.resolution is {space.resolution}, images are {there}; the largest must be their side"
            )
        self.augment.check_images("train.augment", data.train.size, data.channels)
        return self.setup_for(space, len(data.train))

    def setup_for(self, space: SearchSpace, images: int) -> Setup:
        """What a method is built from, for so many training images."""
        from dεps.data.batches import steps_per_epoch
        from dεps.methods.base import Setup

        if self.compile and len(space.resolution) > 1:
            raise UserError("train.compile is true, which needs a space of one resolution; set it to false")
        steps = steps_per_epoch(images, self.batch_size)
        if steps == 0:
            raise UserError(f"train.batch_size is {self.batch_size}; expected at most the {images} images of train")
        rate, warmup = self.learning_rate, self.warmup_epochs
        smoothing, dropout = self.label_smoothing, self.dropout
        return Setup(space, self.epochs, steps, rate, warmup, smoothing, dropout, self.batch_size, self.decay)


@checked
class FullModelConfig:
    """The `full_model` section: which states of the full model's training are kept, for methods to branch from."""

    #: shares of all epochs after which a state is kept; the end is always kept
    keep: list[Annotated[float, Field(gt=0, le=1)]] = field(default_factory=lambda: [0.25, 0.5, 0.75])

    def epochs(self, total: int) -> list[int]:
        """The epochs after which a state is kept, ascending."""
        return sorted({max(1, round(share * total)) for share in [*self.keep, 1.0]})
