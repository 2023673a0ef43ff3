"""What a training method is: phases, and for each step the subnets to train with their losses and weights.

The optimisation loop (`dεps.training.loop`) is shared. A method is one file here with a `@checked` class `Options` (its
keys in `params/method/*.yaml`) and a `build(options, setup)`, a subclass of `Method` or what makes one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import Field

from dεps.core.errors import UserError
from dεps.core.schema import ASCENDING, checked
from dεps.methods.losses import CrossEntropy, Loss
from dεps.methods.schedule import DECAYS, Decay, Schedule
from dεps.spaces.space import Arch, SearchSpace

#: of ratios of epochs, temperatures and weights; beyond it a step has no number, or a loss no value
LARGEST = 10_000
#: of epochs or of a learning rate, in units of the full model's
Multiple = Annotated[float, Field(gt=0, le=LARGEST)]
#: by which logits are divided before a softmax
Temperature = Annotated[float, Field(ge=1 / LARGEST, le=LARGEST)]
#: random subnets a step, beside the full model and the smallest
SubnetCount = Annotated[int, Field(ge=0, le=100)]


#: range over which channels are sorted: each expand group, or the whole width
Sorting = Literal["groups", "all"]


@dataclass(frozen=True)
class Setup:
    """What every method is built from: the space and the experiment's `train` section."""

    space: SearchSpace
    epochs: int
    steps_per_epoch: int
    learning_rate: float
    warmup_epochs: float
    label_smoothing: float
    dropout: float
    #: images of a step
    batch_size: int = 64
    decay: Decay = "cosine"

    @property
    def end(self) -> int:
        """Number of steps of the horizon."""
        return self.steps(self.epochs)

    def steps(self, epochs: float) -> int:
        """Steps in so many epochs."""
        return round(epochs * self.steps_per_epoch)

    def longer(self, ratio: float) -> Setup:
        """The same with `ratio` times the epochs, a whole number from one on. Raises `UserError` if all warm up."""
        epochs = max(1, round(self.epochs * ratio))
        if self.warmup_epochs >= epochs:
            there = f"a method's ratio {ratio:g} of train.epochs {self.epochs} makes epochs {epochs}"
            raise UserError(f"{there}; expected more than train.warmup_epochs, {self.warmup_epochs:g}")
        return replace(self, epochs=epochs)

    def schedule(self) -> Schedule:
        """The full model's learning rate over the whole horizon."""
        return DECAYS[self.decay](self.learning_rate, self.end, self.steps(self.warmup_epochs))


@checked
class Restricted:
    """Keys of every method: the part of the space that it trains and offers; null: all of it.

    Stages without a choice keep what they have.
    """

    #: kernel sizes, such as [7], as DεpS and BigNAS were published with
    kernels: Annotated[list[int], Field(min_length=1), ASCENDING] | None = None
    #: blocks a stage
    depths: Annotated[list[int], Field(min_length=1), ASCENDING] | None = None
    #: expand ratios
    expands: Annotated[list[float], Field(min_length=1), ASCENDING] | None = None

    def restricted(self, space: SearchSpace, where: str) -> SearchSpace:
        """That part of `space`. Raises `UserError` naming the key below `where` whose values it has not."""
        own = {"kernel": self.kernels, "depth": self.depths, "expand": self.expands}
        given = {choice: values for choice, values in own.items() if values is not None}
        for choice, values in given.items():
            _check_restriction(values, [getattr(stage, choice) for stage in space.stages], f"{where}.{choice}s")
        return space.restrict(**given) if given else space


def _check_restriction(values: list, offered: list[list], where: str) -> None:
    everything = sorted({choice for choices in offered for choice in choices})
    for value in values:
        if value not in everything:
            raise UserError(f"{where} holds {value:g}; the space offers {', '.join(f'{one:g}' for one in everything)}")
    for choices in offered:
        if len(choices) > 1 and choices[-1] not in values:
            there = ", ".join(f"{value:g}" for value in values)
            raise UserError(f"{where} is [{there}]; expected {choices[-1]:g} too, which the full model has")


@dataclass(frozen=True)
class Phase:
    """A stretch of training, from global step `start` up to but not including `end`; borders need not be epochs'."""

    name: str
    start: int
    end: int
    schedule: Schedule
    #: sort channels on entry: within expand groups, over the whole width, or not at all
    sort: Sorting | None = None
    #: the full model as it is on entry is frozen and teaches from then on
    freeze_teacher: bool = False
    #: that teacher normalises each batch by the batch's own statistics, instead of recalibrated ones
    teacher_in_train_mode: bool = False
    #: momentum starts at zero on entry, as that of a new optimizer does
    new_optimizer: bool = False
    #: on entry γ of the last BN in each residual block becomes 0, so that the block is the identity
    zero_gamma: bool = False
    #: largest absolute value of an element of the summed gradients; beyond it they are cut off. None: no limit
    gradient_clip: float | None = None
    #: nothing but the full model is trained: kernel transformations rest, and validation is that of the trunk
    alone: bool = False


class Term(NamedTuple):
    """One subnet's share of a step: `(weight * loss(logits, targets)).backward()`."""

    arch: Arch
    loss: Loss
    weight: float = 1.0
    dropout: float = 0.0
    #: the full model's own share, whose logits teach the rest; a random subnet that happens to be as large is not
    full: bool = False


@dataclass(frozen=True)
class Method(ABC):
    """A training method; everything it says is a pure function of the step."""

    options: Any
    setup: Setup

    @property
    def kernel_transform(self) -> bool:
        """Whether smaller kernels are a learned linear map of larger ones: the option of that name, if there is one."""
        return getattr(self.options, "kernel_transform", False)

    @property
    def space(self) -> SearchSpace:
        """The archs that the trained supernet offers."""
        return self.setup.space

    @property
    def resolution(self) -> Sequence[int]:
        """Sides of images that steps draw from, in pixels; by default all of the space's."""
        return self.setup.space.resolution

    @property
    def trunk_steps(self) -> int:
        """Number of leading steps that train only the full model; the method branches from the trunk after them."""
        return 0

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """All phases, one after the other from step 0."""

    @abstractmethod
    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        """The subnets that global step `step` trains; the full model first where it takes part."""

    def full_model_term(self) -> Term:
        """The full model's share of a step: the same in every method that trains it on labels."""
        loss = CrossEntropy(self.setup.label_smoothing)
        return Term(self.setup.space.largest(), loss, dropout=self.setup.dropout, full=True)


class Look(NamedTuple):
    """How figures and tables show a method."""

    label: str
    #: "#RRGGBB", from Okabe and Ito's palette where it has one left, which colour-blind readers tell apart
    colour: str
    #: in legends and tables, ascending
    place: int


class MethodFile(Protocol):
    """What a file in this folder offers."""

    Options: type
    #: None: figures never show it beside others
    LOOK: Look | None

    def build(self, options: Any, setup: Setup) -> Method: ...
