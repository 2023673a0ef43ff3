"""The one optimisation loop, for all methods.

A method declares a step as data: the subnets to train, their losses and weights (`Method.terms`). The loop runs them,
sums their gradients and makes one SGD step. It starts from nothing, from a file of weights (`train.init`) or from a
trained supernet (`Trainer.begin_at`), or goes on from a `Snapshot`: an interrupted run's checkpoint, or a state of the
trunk, which is the full model's training that methods begin with and share:

    epochs   0             25 %            50 %            75 %           100 %
    trunk    full model ────●───────────────●───────────────●───────────────●   (evaluated as the full model alone)
                            │               │                               └── OFA: shrinking, with it as teacher
                            │               └── DεpS, shrink_start 0.5 ─────┤
                            └── DεpS, shrink_start 0.25 ────────────────────┤
    RSS      random subnets ────────────────────────────────────────────────┤   (no trunk)

At ● stage `full_model` keeps a state (`full_model.keep`). A branch gives the same bits as the method trained from
epoch 0, since randomness is a function of seed and step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dεps.core.device import compiled
from dεps.core.errors import DivergenceError, UserError
from dεps.core.randomness import derive, python_rng
from dεps.core.stopwatch import computing
from dεps.core.tensors import not_finite
from dεps.data.batches import Normalise, steps_per_epoch, training_batches
from dεps.data.splits import PreparedData
from dεps.evaluation import parallel
from dεps.evaluation.accuracy import AUGMENTED, Recalibration, accuracies, recalibrated
from dεps.methods.base import Method, Phase, Setup, Term
from dεps.methods.losses import Targets
from dεps.nets.extract import extract
from dεps.nets.initial import begin_from
from dεps.nets.sorting import sort_channels
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import FORWARD_BACKWARD, macs_counter
from dεps.spaces.space import Arch, SearchSpace
from dεps.training.config import TrainConfig
from dεps.training.optimizer import momentum_of, set_rate, sgd
from dεps.training.precision import Precision, device_of
from dεps.training.snapshot import Snapshot
from dεps.training.sums import Sums
from dεps.workspace.identity import FULL_MODEL

#: what is known of an epoch when it ends; the keys with a slash are metrics
Record = dict[str, Any]


class Trainer:
    """One run of one method: `net` is trained while `run()` is iterated over.

    Args:
        space: the archs of the supernet.
        data: its train split teaches, its validation split is measured.
        config: the `train` section, shared by all methods.
        method: built for these; or a function that builds it, such as `method("deps")` of `dεps.methods.registry`.
        seed: decides weights, order, augmentation, dropout and sampled archs.
        validated: archs to validate, by the name in `val/<name>_top1`; default: the `SearchSpace.ends` of what the
            method offers.
    """

    def __init__(
        self,
        space: SearchSpace,
        data: PreparedData,
        config: TrainConfig,
        method: Method | Callable[[Setup], Method],
        seed: int = 0,
        validated: dict[str, Arch] | None = None,
    ) -> None:
        if callable(method):
            method = method(config.setup(space, data))
        self.space, self.data, self.config, self.method = space, data, config, method
        self.seed, self.validated = seed, validated
        self.phases = list(method.phases())
        self.steps_per_epoch = steps_per_epoch(len(data.train), config.batch_size)
        self.device = device_of(config)
        self.part = parallel.part(self.device)
        if config.batch_size % self.part.count:
            expected = f"expected a multiple of the {self.part.count} processes that share it"
            raise UserError(f"train.batch_size is {config.batch_size}; {expected}")
        self.normalise = Normalise.of(data, self.device)
        self.macs_of = macs_counter(space, len(data.classes), data.channels)
        self.net = Supernet(space, len(data.classes), data.channels, method.kernel_transform, derive(seed, "weights"))
        self.net.choices = method.space
        #: what was taken over from the file that the weights come from; empty where the seed has drawn them
        self.begins = ""
        if path := config.init_file():
            self.begins = begin_from(self.net, path)
        self.memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        self.net.to(self.device).to(memory_format=self.memory_format)
        if config.operators == "native":
            self.net.use_native_operators()
        full = partial(self.net.body, arch=space.largest())
        self.full_body = compiled(full) if config.compile else full
        self.precision = Precision(config.precision, self.device)
        self.optimizer = sgd(self.net, config)
        #: the moving average of the weights, in a net of its own; its first update takes them as they are
        self.ema = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(config.ema)) if config.ema else None
        self.teacher: nn.Module | None = None
        self.step, self.macs, self.history, self.sums = 0, 0, list[Record](), Sums()
        #: weights of a trained supernet that it begins at, and the MACs that these have cost; none: at random ones
        self.beginning: tuple[Mapping[str, Tensor], int] | None = None
        #: called after every step
        self.on_step: Callable[[], None] = lambda: None
        #: name of this training in errors
        self.label = "training"

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run."""
        return self.phases[-1].end

    def run(self, until: int | None = None) -> Iterator[Record]:
        """Train up to the end of the epoch of global step `until` (default: the last), yielding each epoch's record.

        In `on_step`, and between two records, `snapshot()` may be saved.
        """
        until = self.total_steps if until is None else until
        while self.step < until or self.sums:
            ended = self.step % self.steps_per_epoch == 0 or self.step == self.total_steps
            if not (self.sums and ended):
                self._train_to_the_epochs_end()
            yield self._close_epoch()

    @computing()
    def _train_to_the_epochs_end(self) -> None:
        epoch, first = divmod(self.step, self.steps_per_epoch)
        batches = training_batches(
            self.data.train,
            self.normalise,
            self.config.augment,
            batch_size=self.config.batch_size,
            seed=self.seed,
            epoch=epoch,
            start=first,
            workers=self.data.workers,
            size=[self._resolution(epoch * self.steps_per_epoch + step) for step in range(self.steps_per_epoch)],
            part=self.part,
        )
        for images, labels in itertools.islice(batches, self.total_steps - self.step):
            phase = self._phase(self.step)
            if self.step == phase.start:
                self._enter(phase)
            # Nothing here waits for a GPU: it would stand still until the next step is launched.
            images = images.to(memory_format=self.memory_format)
            self._step(images, labels.to(self.device, non_blocking=True), phase)
            self.on_step()

    def _phase(self, step: int) -> Phase:
        return next(phase for phase in self.phases if phase.start <= step < phase.end)

    def _enter(self, phase: Phase) -> None:
        """Do what the phase asks for before its first step."""
        if phase.freeze_teacher:
            if phase.teacher_in_train_mode:
                self.teacher = extract(self.net, self.space.largest()).train()
            else:
                images = self._recalibration(self.config.teacher_recalibration)
                self.teacher = recalibrated(self.net, self.space.largest(), self.data, images)
        if phase.sort:
            sort_channels(self.net, self._momentum, phase.sort)
        if phase.new_optimizer:
            for parameter in self.net.parameters():
                self._momentum(parameter).zero_()
        if phase.zero_gamma:
            for scale in self.net.residual_scales():
                nn.init.zeros_(scale)
        if self.ema is not None and (phase.sort or phase.zero_gamma):
            self.ema.n_averaged.zero_()  # what it remembers are weights in other places, or other weights

    def _step(self, images: Tensor, labels: Tensor, phase: Phase) -> None:
        """Train on images (batch, channels, size, size) and labels int64 (batch,): one update."""
        self.net.train()
        # Kernel transformations do not exist while the full model trains alone: they stay what they are.
        set_rate(self.optimizer, phase.schedule(self.step), 0.0 if phase.alone else self.config.weight_decay)
        # Zeroed, not dropped: weights that no subnet of this step uses still decay and keep their momentum.
        self.optimizer.zero_grad(set_to_none=False)
        targets, size, count = Targets(labels), images.shape[-1], len(images) * self.part.count
        if self.teacher is not None:
            with torch.no_grad(), self.precision.autocast():
                targets.teacher = self.teacher(images).float()
            self.macs += count * self.macs_of(self.space.largest().at(size))
        terms, losses = self.method.terms(self.step, python_rng(self.seed, "archs", self.step)), list[Tensor]()
        for number, term in enumerate(terms):
            # One size per batch: whatever resolution an arch was drawn with, it sees this batch.
            arch, largest = term.arch.at(size), self.space.largest().at(size)
            with self.precision.autocast():
                features = self.full_body(images) if arch == largest else self.net.body(images, arch)
                logits = self.net.classify(features, term.dropout, self._dropout_generator(term, number)).float()
                if term.full:
                    targets.full = logits.detach()
                loss = term.loss(logits, targets)
            self.precision.backward(term.weight * loss)
            losses.append(loss.detach())
            self.macs += FORWARD_BACKWARD * count * self.macs_of(arch)
        gradients = [parameter.grad for parameter in self.net.parameters() if parameter.grad is not None]
        parallel.average([*gradients, *losses])
        # A GPU would be waited for: there `check_finite` finds it, before anything is saved.
        if self.device.type == "cpu" and not all(math.isfinite(loss) for loss in losses):
            raise self._diverged("the loss is", f"in step {self.step + 1}")
        if phase.gradient_clip is not None:
            self.precision.clip(self.optimizer, phase.gradient_clip)
        self.precision.step(self.optimizer)
        if self.ema is not None:
            self.ema.update_parameters(self.net)
        for term, loss in zip(terms, losses, strict=True):
            self.sums.add(term, loss)
        self.step += 1

    def _resolution(self, step: int) -> int:
        """Side, in pixels, of the images of a global step: one of the method's, drawn anew for each batch."""
        choices = self.method.resolution
        return choices[0] if len(choices) == 1 else python_rng(self.seed, "resolution", step).choice(choices)

    def _dropout_generator(self, term: Term, number: int) -> Generator | None:
        if term.dropout == 0.0:
            return None
        rank = [self.part.number] if self.part.number else []
        return Generator(self.device).manual_seed(derive(self.seed, "dropout", self.step, number, *rank))

    def _close_epoch(self) -> Record:
        """Check the state, validate where it is time, and write the epoch's record."""
        self.check_finite()
        # The last epoch may be a part of one: phases end at any step.
        phase, epoch = self._phase(self.step - 1), -(-self.step // self.steps_per_epoch)
        record = {"epoch": epoch, "step": self.step, "phase": phase.name, **self.sums.means()}
        if any(isinstance(value, float) and not math.isfinite(value) for value in record.values()):
            raise self._diverged("all losses of an epoch in fp16 are", f"by step {self.step}")
        if begun := self._begun((epoch - 1) * self.steps_per_epoch):
            record["phases"] = begun
        record["train/learning_rate"] = round(phase.schedule(self.step - 1), 8)
        record["cost/train_tmacs"] = round(self.macs / 1e12, 6)
        # A trunk validates at its end: so does the run that would have branched there.
        trunks_end = phase.alone and epoch == self.config.epochs
        if epoch % self.config.validate_every == 0 or self.step >= self.total_steps or trunks_end:
            record |= self._validate(phase)
        self.sums = Sums()
        self.history.append(record)
        return record

    def _begun(self, first: int) -> dict[str, float]:
        """Phases that have begun from step `first` on, with their starts in epochs."""
        return {
            phase.name: round(phase.start / self.steps_per_epoch, 6)
            for phase in self.phases
            if first <= phase.start < self.step
        }

    @computing()
    def _validate(self, phase: Phase) -> Record:
        """Top-1 in percent on validation, BN recalibrated, of the smallest and the largest arch (or `validated`)."""
        images = self._recalibration(self.config.validate_recalibration)
        archs = self.validated or self.method.space.ends()
        if phase.alone:  # the trunk's, or a branch would not be its own trunk
            trunk = self.space.ends()
            archs = {own: trunk[name] for name, own in self._trunk_names().items() if own}
        record: Record = {}
        for prefix, net in {"val": self.net, **({"val_ema": self.averaged} if self.averaged else {})}.items():
            try:
                rows = accuracies(net, list(archs.values()), self.data, [self.data.validation], images, self.part)
            except DivergenceError as error:
                raise DivergenceError(f"{self.label}: {error}") from None
            record |= {f"{prefix}/{name}_top1": round(value, 4) for name, (value,) in zip(archs, rows, strict=True)}
        return record

    @property
    def averaged(self) -> Supernet | None:
        """The supernet with the moving average of the weights (`train.ema`); BN statistics are to be recalibrated."""
        return None if self.ema is None else cast(Supernet, self.ema.module)

    def _recalibration(self, images: int) -> Recalibration:
        augment = self.config.augment if self.config.recalibrate_on == AUGMENTED else None
        return Recalibration.of(self.data.train, images, self.seed, augment)

    def _trunk_names(self) -> dict[str, str | None]:
        """The method's names of the two archs that the trunk validates; None: it has no name for it.

        In a method that offers only a part of the space, "smallest" and "largest" may be other archs than the trunk's.
        """
        trunk, own = self.space.ends(), self.method.space.ends()
        others = {"smallest": None, "largest": FULL_MODEL}
        return {name: name if arch == own[name] else others[name] for name, arch in trunk.items()}

    def _in_own_names(self, record: Record) -> Record:
        """Turn a record of the trunk into what the method would have written; leave others as they are."""
        if record["step"] > max((phase.end for phase in self.phases if phase.alone), default=0):
            return record
        names = {
            f"{split}/{name}_top1": own and f"{split}/{own}_top1"
            for name, own in self._trunk_names().items()
            for split in ("val", "val_ema")
        }
        return {own: value for key, value in record.items() if (own := names.get(key, key))}

    # --- state -------------------------------------------------------------------------------------------------

    def begin_at(self, weights: Mapping[str, Tensor], macs: int) -> None:
        """Begin at the weights of a trained supernet, whose training cost, `macs`, counts on."""
        self.net.load_state_dict(weights)
        self.macs, self.beginning = macs, (weights, macs)

    def anew(self) -> Trainer:
        """The same run at its beginning."""
        other = Trainer(self.space, self.data, self.config, self.method, self.seed, self.validated)
        if self.beginning:
            other.begin_at(*self.beginning)
        other.label = self.label
        return other

    def snapshot(self) -> Snapshot:
        """The state at the current step, which may be within an epoch; tensors are not copied."""
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        for name, parameter in self.net.named_parameters():
            tensors[f"momentum.{name}"] = self._momentum(parameter)
        if self.ema is not None:
            tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.state_dict().items()}
        if self.teacher is not None:
            tensors |= {f"teacher.{name}": tensor for name, tensor in self.teacher.state_dict().items()}
        tensors |= self.precision.state() | self.sums.state()
        return Snapshot(tensors, self.step, self.macs, list(self.history))

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        """Go on from `snapshot`; kernel transformations, which a trunk does not have, stay at the identity.

        Raises `UserError` where it is of another search space.
        """
        if any(name.startswith("teacher.") for name in snapshot.tensors):
            mode = next(phase.teacher_in_train_mode for phase in self.phases if phase.freeze_teacher)
            self.teacher = extract(self.net, self.space.largest()).train(mode)
        self.sums = Sums.of(snapshot.tensors, self.device)
        own = self.snapshot().tensors
        missing = [name for name in own if name not in snapshot.tensors and ".transforms." not in name]
        if missing or any(name not in own for name in snapshot.tensors):
            name = (missing or sorted(set(snapshot.tensors) - set(own)))[0]
            raise UserError(f"the training state does not fit the search space: '{name}' is in one of them only")
        for name, tensor in snapshot.tensors.items():
            if tensor.shape != own[name].shape:
                raise UserError(f"the training state does not fit the search space: '{name}' has another shape")
            own[name].copy_(tensor)
        self.precision.restore(snapshot.tensors)
        self.step, self.macs = snapshot.step, snapshot.macs
        self.history = [self._in_own_names(record) for record in snapshot.history]

    def check_finite(self) -> None:
        """Raise `DivergenceError` where a loss of this epoch, a weight, a BN statistic or a momentum is not finite.

        Waits for a GPU. Called at the end of each epoch; to be called before a snapshot is saved.
        """
        if not self.precision.overflows and not self.sums.finite():
            raise self._diverged("a loss is", f"by step {self.step}")
        if name := not_finite(self.snapshot().tensors):
            raise self._diverged(f"'{name}' is", f"by step {self.step}")
        if self.precision.exhausted:
            raise self._diverged("every step in fp16 overflows, so the gradients are", f"by step {self.step}")

    def _diverged(self, what: str, when: str) -> DivergenceError:
        rate, precision = self.optimizer.param_groups[0]["lr"], self.config.precision
        cure = "lower train.learning_rate or raise train.warmup_epochs"
        cure += ", or set train.precision to bf16 or float32" if precision == "fp16" else ""
        what = f"{what} not finite any more {when} of {self.total_steps}"
        return DivergenceError(f"{self.label}: {what} (learning rate {rate:g}, {precision}); {cure}")

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        return momentum_of(self.optimizer, parameter)
