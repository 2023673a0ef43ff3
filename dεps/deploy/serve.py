"""Serves several subnets from one supernet in memory, and switches between them from call to call.

Each subnet is a plain network on views of the same weights, with BN statistics of its own, which are computed once from
training images. A switch is the choice of a network; nothing is copied, and nothing changes, so threads may share a
server.

    weights of the supernet, once       ┌──────────────────────────────┐
                                        │ ▒▒▒▒▒▒▒▒                     │
                                        └──────────────────────────────┘
    subnet A = its slices (views)  + BN statistics of A ┐
    subnet B = its slices (views)  + BN statistics of B ├─ predict(images, max_ms=…) takes the most accurate that fits
    subnet C = its slices (views)  + BN statistics of C ┘
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from dεps.core.errors import UserError
from dεps.core.files import replace_atomic
from dεps.core.schema import checked, structured
from dεps.core.tensors import read_description, read_tensors, save_tensors
from dεps.data.arrays import Array, pixels_of
from dεps.data.augment import resize
from dεps.data.batches import Normalise
from dεps.data.splits import PreparedData
from dεps.deploy.export.config import macs_text
from dεps.deploy.latency.timing import Conditions, cpu_name, latencies
from dεps.evaluation.accuracy import Recalibration, accuracies, recalibrated
from dεps.nets.batchnorm import BatchNorm, batch_norms
from dεps.nets.extract import PlainNet, view
from dεps.nets.files import describe, supernet_of
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch

#: of the file's form
FORMAT = 1
#: numbers of images for which a call is timed; between them its time is interpolated
BATCHES = (1, 8, 32)
_NET = "net."
_WHAT, _CURE = "server", "write it again with Server.save"
_Text = Annotated[str, Field(max_length=500)]


class Answer(NamedTuple):
    """What a server says of images, and which subnet has said it."""

    #: float32 (n, classes)
    logits: Tensor
    arch: Arch


@checked
class Subnet:
    """One of the subnets that a server offers."""

    #: in the form of `str(arch)`
    arch: _Text
    macs: Annotated[int, Field(ge=1)]
    #: number of weights that it uses
    params: Annotated[int, Field(ge=1)]
    #: top-1 on validation in percent, by which a server chooses
    val_top1: Annotated[float, Field(ge=0, le=100)]


@checked
class Latencies:
    """Milliseconds of a call of each subnet, and what they hold for; empty where nothing has been timed."""

    #: numbers of images, ascending
    batches: list[Annotated[int, Field(ge=1, le=10**6)]] = field(default_factory=list)
    #: version of torch, processor and number of threads, in words
    runtime: _Text = ""
    #: by arch, as `str(arch)`, one for each of `batches`
    ms: dict[str, list[Annotated[float, Field(gt=0)]]] = field(default_factory=dict)


@checked
class _Description:
    """Header of a server's file."""

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]
    supernet: dict[str, Any]
    classes: Annotated[list[_Text], Field(min_length=1, max_length=100_000)]
    #: side of the images that it takes, in pixels
    size: Annotated[int, Field(ge=1, le=4096)]
    mean: Annotated[list[float], Field(min_length=1, max_length=1024)]
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1, max_length=1024)]
    data: _Text
    subnets: Annotated[list[Subnet], Field(min_length=1, max_length=10_000)]
    latencies: Latencies


@dataclass(frozen=True)
class _Images:
    """How a server's images become a network's input."""

    size: int
    mean: list[float]
    std: list[float]
    data: str


class Server:
    """One supernet that answers as any of the subnets it offers; made by `build` or `load`.

    >>> server = Server.build(net, ["smallest", "largest"], data)
    >>> server.predict(images, max_ms=2.0).logits
    """

    def __init__(
        self,
        net: Supernet,
        classes: Sequence[str],
        images: _Images,
        subnets: Mapping[Arch, Subnet],
        statistics: Mapping[Arch, Sequence[tuple[Tensor, Tensor]]],
        latencies: Latencies | None = None,
    ) -> None:
        self.net, self.classes, self.subnets = net.eval().requires_grad_(False), list(classes), dict(subnets)
        self.latencies = latencies or Latencies()
        self._names = {arch: str(arch) for arch in subnets}
        #: what it offers, by ascending MACs
        self.archs = sorted(subnets, key=lambda arch: (subnets[arch].macs, self._names[arch]))
        self._images, device = images, net.classifier.weight.device
        self._normalise = Normalise(torch.tensor(images.mean, device=device), torch.tensor(images.std, device=device))
        self._plain = {arch: _with_statistics(view(net, arch), statistics[arch], arch) for arch in subnets}

    @classmethod
    def build(
        cls,
        net: Supernet,
        archs: Sequence[Arch | str],
        data: PreparedData,
        images: Recalibration | None = None,
        *,
        device: torch.device | str = "cpu",
        batches: Sequence[int] = BATCHES,
    ) -> Server:
        """A server of `archs`, with weights of its own, so that `net` may be trained on.

        Args:
            net: the supernet.
            archs: what to offer: archs of its space, or names such as "smallest" and "D3E2K3".
            data: BN statistics come from its training images, accuracies from its validation images.
            images: training images for BN, as in `recalibrated`, whose bits the subnets' are.
            device: where it computes.
            batches: numbers of images for which a call is timed on this machine; empty: none is, and `max_ms` asks for
                `measure` first.

        Raises `UserError` for an arch that is none of the space, and where net and data do not fit together.
        """
        chosen = [net.choices.named(arch, "archs") if isinstance(arch, str) else arch for arch in archs]
        chosen = list(dict.fromkeys(chosen))
        if not chosen:
            raise UserError("archs is empty; expected at least one, such as 'smallest'")
        own = supernet_of(dict(net.state_dict()), describe(net), Path("the supernet"), "train it").to(device)
        top1s = accuracies(own, chosen, data, [data.validation], images)
        subnets, statistics = {}, {}
        for arch, (top1,) in zip(chosen, top1s, strict=True):
            cost = arch_cost(own.space, arch, own.classes, own.channels)
            subnets[arch] = Subnet(str(arch), cost.macs, cost.params, round(top1, 4))
            statistics[arch] = [norm.statistics() for norm in batch_norms(recalibrated(own, arch, data, images))]
        facts = data.manifest
        form = _Images(facts["size"], list(facts["mean"]), list(facts["std"]), facts["name"])
        server = cls(own, data.classes, form, subnets, statistics)
        if batches:
            server.measure(batches)
        return server

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors that it holds: the supernet's once, then what each subnet has of its own."""
        return tensor_bytes(self.net, *self._plain.values())

    def predict(
        self,
        images: Array,
        *,
        arch: Arch | str | None = None,
        max_macs: float | None = None,
        max_ms: float | None = None,
    ) -> Answer:
        """Logits of images by the subnet that `choose` takes; may be called from several threads at once.

        `images` are uint8 squares of the training images' side, of NumPy or torch: (n, size, size), (n, size, size,
        channels) or (n, channels, size, size), 255 white. Raises `UserError` for other images, and as `choose`.
        """
        pixels = self._pixels(images)
        chosen = self.choose(arch=arch, max_macs=max_macs, max_ms=max_ms, images=len(pixels))
        with torch.inference_mode():
            logits = self._plain[chosen](self._normalise(resize(pixels, chosen.resolution)))
        return Answer(logits.cpu(), chosen)

    def choose(
        self,
        *,
        arch: Arch | str | None = None,
        max_macs: float | None = None,
        max_ms: float | None = None,
        images: int = 1,
    ) -> Arch:
        """The subnet `arch`, or the most accurate on validation within the limits; without limits, of all.

        `max_macs` limits the MACs of one image; `max_ms` the milliseconds of a call with so many `images`, as `measure`
        has found them. Raises `UserError` naming what is offered where nothing fits, or `arch` is not offered.
        """
        if arch is not None:
            if max_macs is not None or max_ms is not None:
                raise UserError("arch is given, and a limit; expected one of them")
            return self._offered(arch)
        for name, limit in (("max_macs", max_macs), ("max_ms", max_ms)):
            if limit is not None and not limit > 0:
                raise UserError(f"{name} is {limit}; expected a positive number")
        within = [one for one in self.archs if max_macs is None or self.subnets[one].macs <= max_macs]
        if not within:
            least = self.subnets[self.archs[0]].macs
            raise UserError(f"max_macs is {max_macs:g}; the smallest subnet offered has {macs_text(least)} ({least:,})")
        if max_ms is not None:
            times = {one: self.milliseconds(one, images) for one in within}
            fastest = min(times.values())
            within = [one for one in within if times[one] <= max_ms]
            if not within:
                count = f"{images} image{'s' * (images != 1)}"
                raise UserError(f"max_ms is {max_ms:g}; the fastest subnet offered takes {fastest:.3f} for {count}")
        return max(within, key=lambda one: (self.subnets[one].val_top1, -self.subnets[one].macs))

    def milliseconds(self, arch: Arch | str, images: int = 1) -> float:
        """Time of a call of `predict`, its median here: interpolated between the measured numbers of images.

        Beyond the largest of them it grows in proportion. Raises `UserError` where nothing has been measured under the
        conditions of this process: on another processor, version of torch, or with another number of threads.
        """
        known, here = self.latencies, runtime(self._device)
        if known.runtime != here:
            there = f"the latencies are of {known.runtime}" if known.runtime else "no latencies are known"
            raise UserError(f"{there}; server.measure() measures them for {here}")
        times = known.ms[self._names[self._offered(arch)]]
        if images > known.batches[-1]:
            return times[-1] * images / known.batches[-1]
        return float(np.interp(images, known.batches, times))

    def measure(self, batches: Sequence[int] = BATCHES) -> None:
        """Time a call of each subnet on this machine, with so many images, and torch's present number of threads."""
        sizes, channels, side = sorted(set(batches)), self.net.channels, self._images.size
        threads = torch.get_num_threads()
        if not sizes:
            raise UserError("batches is empty; expected numbers of images, such as [1, 8]")
        columns = []
        for count in sizes:
            shape, generator = (count, side, side, channels), torch.Generator().manual_seed(0)
            pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
            runs = [lambda arch=arch, pixels=pixels: self.predict(pixels, arch=arch) for arch in self.subnets]
            label = f"latency: {len(runs)} subnets, batch {count}"
            columns.append(latencies(runs, Conditions("torch", threads, count), label))
        rows = np.stack(columns, axis=1).round(6).tolist()
        times = dict(zip(map(str, self.subnets), rows, strict=True))
        self.latencies = Latencies(sizes, runtime(self._device), times)  # at once: other threads may be choosing

    # --- files -------------------------------------------------------------------------------------------------

    def save(self, path: Path | str) -> None:
        """Write one .safetensors file, from which `load` makes this server again; one server gives the same bytes."""
        path = Path(path)
        if path.suffix != ".safetensors":
            raise UserError(f"{path} is no name for a server; expected one that ends in .safetensors")
        tensors = {f"{_NET}{name}": tensor for name, tensor in self.net.state_dict().items()}
        for number, plain in enumerate(self._plain.values()):
            for place, norm in enumerate(batch_norms(plain)):
                mean, variance = norm.statistics()
                tensors |= {_name(number, place, "mean"): mean, _name(number, place, "var"): variance}
        described = {
            "format": FORMAT,
            "supernet": describe(self.net),
            "classes": self.classes,
            **asdict(self._images),
            "subnets": [asdict(one) for one in self.subnets.values()],
            "latencies": asdict(self.latencies),
        }
        replace_atomic(path, lambda temporary: save_tensors(tensors, temporary, (_WHAT, described)))

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str = "cpu") -> Server:
        """The server in a file, which holds no code. Raises `UserError` naming the file where it is damaged."""
        path = Path(path)
        tensors, described = read_tensors(path, _WHAT, _CURE), read_description(path, _WHAT, _WHAT, _CURE)
        about = structured(_Description, described, str(path))
        weights = {name.removeprefix(_NET): it for name, it in tensors.items() if name.startswith(_NET)}
        net = supernet_of(weights, about.supernet, path, _CURE).to(device)
        if len(about.classes) != net.classes or {len(about.mean), len(about.std)} != {net.channels}:
            raise UserError(f"{path} does not fit its own description: classes or channels differ; {_CURE}")
        subnets, statistics = {}, {}
        for number, one in enumerate(about.subnets):
            arch = net.space.named(one.arch, f"{path}: subnets[{number}].arch")
            count = sum(name.startswith(f"subnet.{number}.") for name in tensors) // 2
            names = [[_name(number, place, kind) for kind in ("mean", "var")] for place in range(count)]
            if any(name not in tensors for pair in names for name in pair):
                raise UserError(f"{path} lacks BN statistics of {one.arch}; {_CURE}")
            subnets[arch] = one
            statistics[arch] = [(tensors[mean].to(device), tensors[variance].to(device)) for mean, variance in names]
        timed, known = about.latencies, {one.arch for one in about.subnets} if about.latencies.batches else set()
        if timed.ms.keys() != known or any(len(row) != len(timed.batches) for row in timed.ms.values()):
            raise UserError(f"{path} does not fit its own description: its latencies are of other subnets; {_CURE}")
        form = _Images(about.size, about.mean, about.std, about.data)
        try:
            return cls(net, about.classes, form, subnets, statistics, about.latencies)
        except UserError as error:
            raise UserError(f"{path}: {error}; {_CURE}") from None

    # --- parts -------------------------------------------------------------------------------------------------

    @property
    def _device(self) -> torch.device:
        return self.net.classifier.weight.device

    def _offered(self, arch: Arch | str) -> Arch:
        found = self.net.choices.named(arch) if isinstance(arch, str) else arch
        if found not in self.subnets:
            raise UserError(f"arch {found} is not offered; offered: {', '.join(map(str, self.archs))}")
        return found

    def _pixels(self, images: Array) -> Tensor:
        pixels = pixels_of(images, "images")
        _, side, _, channels = pixels.shape
        if (side, channels) != (self._images.size, self.net.channels):
            wanted = f"{self._images.size}×{self._images.size} pixels and {self.net.channels} channels"
            raise UserError(f"images have {side}×{side} pixels and {channels} channels; expected {wanted}")
        return torch.from_numpy(pixels)


def runtime(device: torch.device) -> str:
    """What a server's latencies hold for: torch, device and number of threads, in words."""
    name, threads = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(), torch.get_num_threads()
    return f"torch {torch.__version__} on {name}, {threads} thread{'s' * (threads > 1)}"


def tensor_bytes(*nets: nn.Module) -> int:
    """Bytes of the parameters and buffers of networks together; what several share counts once."""
    tensors = [tensor for net in nets for tensor in (*net.parameters(), *net.buffers())]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _with_statistics(plain: PlainNet, statistics: Sequence[tuple[Tensor, Tensor]], arch: Arch) -> PlainNet:
    """The network with these BN statistics. Raises `UserError` where they are another's."""
    norms: list[BatchNorm] = batch_norms(plain)
    shapes = [(len(mean), len(variance)) for mean, variance in statistics]
    if shapes != [(norm.num_features,) * 2 for norm in norms]:
        raise UserError(f"the BN statistics of {arch} are those of another network")
    for norm, pair in zip(norms, statistics, strict=True):
        for own, given in zip(norm.statistics(), pair, strict=True):
            own.copy_(given)
    return plain


def _name(number: int, place: int, kind: str) -> str:
    """Tensor in a file: statistic of the BN layer at that place in the subnet of that number."""
    return f"subnet.{number}.{place}.{kind}"
