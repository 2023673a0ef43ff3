"""`deps export`: the best arch that search finds under a budget, as a file to take away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dεps.core.console import say
from dεps.core.device import best_device, set_up
from dεps.core.errors import UserError, check_choice
from dεps.core.params import section, selected
from dεps.data.splits import PreparedData
from dεps.deploy.export.card import ModelCard
from dεps.deploy.export.choice import Limit, candidates, known_test_top1, most_accurate, read_front, within_params
from dεps.deploy.export.config import ExportConfig, macs_text, parse_macs
from dεps.deploy.export.fast import Fast, fastest_enough
from dεps.deploy.export.formats import SUFFIXES, save_model
from dεps.deploy.export.int8 import quantise, save_int8
from dεps.deploy.export.subnet import card_of, comparison_batches
from dεps.deploy.latency.timing import Conditions, latencies, session_runner
from dεps.deploy.onnx.file import Comparison
from dεps.evaluation.accuracy import Recalibration, correct, recalibrated
from dεps.evaluation.inputs import load_data, load_net, recalibration
from dεps.evaluation.noise import Difference, difference
from dεps.nets.supernet import Supernet
from dεps.search.nsga2 import SearchConfig
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch
from dεps.workspace.outputs import INT8, SUPERNET
from dεps.workspace.stage import Context


@dataclass(frozen=True)
class Wish:
    """What is asked for; at most one of MACs, latency and arch."""

    max_macs: str | None = None
    #: beside MACs or alone
    max_params: str | None = None
    max_latency_ms: float | None = None
    arch: str | None = None
    conditions: Conditions = field(default_factory=Conditions)
    #: a latency table; default: the one that is kept, or a new one
    table: Path | None = None


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    format: str
    card: ModelCard
    comparison: Comparison
    latency: Fast | None
    smaller: Smaller | None
    int8: Int8 | None = None

    def to_json(self) -> str:
        data = {"file": str(self.path), "format": self.format, **vars(self.card)}
        latency = self.latency and {**asdict(self.latency), "arch": str(self.latency.arch)}
        smaller = self.smaller and asdict(self.smaller)
        data |= {"smaller_within_noise": smaller, "check": asdict(self.comparison), "latency": latency}
        data["int8"] = self.int8 and self.int8.to_json()
        return json.dumps(data, indent=1, ensure_ascii=False)


@dataclass(frozen=True)
class Int8:
    """The same subnet in int8, in a file of its own."""

    path: Path
    card: ModelCard
    #: int8 minus float on validation, on the same images
    lost: Difference
    #: milliseconds a call, measured in turn, under these conditions
    float_ms: float
    int8_ms: float
    conditions: Conditions

    def to_json(self) -> dict[str, Any]:
        data = {"file": str(self.path), **vars(self.card), "lost": self.lost._asdict()}
        return data | {"float_ms": self.float_ms, "int8_ms": self.int8_ms, "conditions": asdict(self.conditions)}


def export(
    params: dict[str, Any],
    experiment: str,
    method: str | None,
    seed: int | None,
    wish: Wish,
    format: str = "onnx",
    out: Path | None = None,
    int8: bool = False,
) -> Exported:
    """Choose, recalibrate, extract, write, and compare what was written with PyTorch on validation images.

    The method and seed are by default the first that `params`, the content of `params.yaml`, selects; the format is one
    of `SUFFIXES`; `out` is by default `<experiment>-<method>-<MACs><suffix>` here. With `int8` the quantised subnet is
    written beside it, `-int8` before the suffix. Raises `UserError` where something is missing, wrong or impossible.
    """
    set_up()
    limit = check_wish(wish, format, out)
    if int8 and (format != "onnx" or wish.conditions.engine != "onnxruntime"):
        raise UserError("--int8 goes with --format onnx and --engine onnxruntime, which runs it")
    context, _, data, net = source(params, experiment, method, seed, "export")
    images = recalibration(context, data, context.section(SearchConfig, "search").recalibration_images)
    measure = Validation(net, data, images)
    arch, fast = chosen(context, net, wish, limit, measure)
    val_top1 = measure([arch])[str(arch)]
    test_top1 = known_test_top1(context, str(arch), val_top1)
    method, seed = context.the_method, context.the_seed
    card = card_of(net, data, arch, val_top1, test_top1, experiment=experiment, method=method, seed=seed)
    path = out or default_path(card, format)
    batches = comparison_batches(net, data, data.validation, arch, len(data.validation))
    plain = recalibrated(net, arch, data, images)
    comparison = save_model(format, plain, net.space, card, path, batches)
    quantised = _in_int8(measure, arch, card, path, wish.conditions) if int8 else None
    return Exported(path, format, card, comparison, fast, measure.smaller(arch), quantised)


def _in_int8(measure: Validation, arch: Arch, card: ModelCard, path: Path, conditions: Conditions) -> Int8:
    """Write the quantised subnet beside the float one at `path`."""
    net, data, images = measure.net, measure.data, measure.images
    own = quantise(recalibrated(net, arch, data, images), net, arch, data, [data.validation], images)
    (lost,) = own.against([measure.right[str(arch)]])
    beside = path.with_name(f"{path.stem}{INT8}{path.suffix}")
    quantised = save_int8(own, card, beside)
    runners = [session_runner(file.read_bytes(), card.shape, conditions) for file in (path, beside)]
    float_ms, int8_ms = latencies(runners, conditions, "latency of float and int8").tolist()
    return Int8(beside, quantised, lost, float_ms, int8_ms, conditions)


def check_wish(wish: Wish, format: str, out: Path | None) -> float:
    """The limit of MACs, infinite where there is none. Raises `UserError` naming the option that is wrong."""
    check_choice(format, tuple(SUFFIXES), "--format")
    if sum(limit is not None for limit in (wish.max_macs, wish.max_latency_ms, wish.arch)) > 1:
        raise UserError("--max-macs, --max-latency-ms and --arch are alternatives; expected at most one")
    if wish.max_params is not None and (wish.max_latency_ms, wish.arch) != (None, None):
        raise UserError("--max-params goes with --max-macs or alone; for latencies set search.max_params")
    _params_limit(wish)
    if out is not None and out.suffix != SUFFIXES[format]:
        raise UserError(f"--out is {out}; expected a file name that ends in {SUFFIXES[format]}")
    return float("inf") if wish.max_macs is None else parse_macs(wish.max_macs, "--max-macs")


def _params_limit(wish: Wish) -> int | None:
    return None if wish.max_params is None else parse_macs(wish.max_params, "--max-params", "parameters")


def source(
    params: dict[str, Any], experiment: str, method: str | None, seed: int | None, stage: str
) -> tuple[Context, Path, PreparedData, Supernet]:
    """The context of a command like that `stage`, and the supernet to cut from: its file, its data and itself."""
    method = selected(params, "methods")[0] if method is None else method
    seed = selected(params, "seeds")[0] if seed is None else seed
    context = Context(stage, experiment, method, seed, params)
    check_choice(method, tuple(section(params, *context.keys("methods"))), "--method")
    weights, data = context.needed("train", SUPERNET), load_data(context)
    return context, weights, data, load_net(weights, data, context).to(best_device())


def chosen(context: Context, net: Supernet, wish: Wish, limit: float, measure: Validation) -> tuple[Arch, Fast | None]:
    """The arch that is wished for, the most accurate on validation where several are; and how fast, where that counts.

    Raises `UserError` where there is none.
    """
    if wish.arch is not None:
        return net.choices.named(wish.arch, "--arch"), None
    if wish.max_latency_ms is not None:
        fast = fastest_enough(context, net, wish.max_latency_ms, wish.conditions, wish.table, measure)
        return fast.arch, fast
    front = read_front(context, net.space)
    if (most := _params_limit(wish)) is not None:
        front = within_params(front, most)
    names = candidates(front, Limit(limit), context.section(ExportConfig, "export").candidates, "--max-macs")
    return Arch.parse(most_accurate(front, names, measure([Arch.parse(name) for name in names]))), None


def default_path(card: ModelCard, format: str, more: str = "") -> Path:
    """`<experiment>-<method>-<MACs><more><suffix>`, in the working folder."""
    return Path(f"{card.experiment}-{card.method}-{macs_text(card.macs).replace(' ', '')}{more}{SUFFIXES[format]}")


@dataclass(frozen=True)
class Smaller:
    """An arch with fewer MACs than the exported one, of which validation cannot tell that it is worse."""

    arch: str
    macs: int
    val_top1: float
    #: of the exported one over it, in points, with the standard error on the same images
    gain: float
    gain_std_error: float


class Validation:
    """Top-1 on validation in percent, by `str(arch)`; no arch is measured twice."""

    def __init__(self, net: Supernet, data: PreparedData, images: Recalibration) -> None:
        self.net, self.data, self.images = net, data, images
        self.known: dict[str, float] = {}
        #: which images are given their label
        self.right: dict[str, np.ndarray] = {}

    def __call__(self, archs: Sequence[Arch]) -> dict[str, float]:
        new = [arch for arch in dict.fromkeys(archs) if str(arch) not in self.known]
        rows = correct(self.net, new, self.data, [self.data.validation], self.images) if new else []
        self.right |= {str(arch): right.numpy() for arch, (right,) in zip(new, rows, strict=True)}
        self.known |= {str(arch): round(100.0 * float(self.right[str(arch)].mean()), 4) for arch in new}
        return {str(arch): self.known[str(arch)] for arch in archs}

    def smaller(self, arch: Arch) -> Smaller | None:
        """Of the measured archs that are smaller than `arch` and not worse by more than noise, the smallest."""
        sizes = {name: self._macs(Arch.parse(name)) for name in self.known}
        for name in sorted((name for name in sizes if sizes[name] < self._macs(arch)), key=lambda name: sizes[name]):
            gain = difference(self.right[str(arch)], self.right[name])
            if gain.is_noise or gain.points < 0:
                return Smaller(name, sizes[name], self.known[name], *gain)
        return None

    def _macs(self, arch: Arch) -> int:
        return arch_cost(self.net.space, arch, self.net.classes, self.net.channels).macs


def print_exported(result: Exported) -> None:
    """What was written, in a few lines."""
    card, check = result.card, result.comparison
    say(f"{result.path}: {card.experiment} {card.method}-{card.seed}, {len(card.classes)} classes of {card.data}")
    say(f"  arch        {card.arch}")
    say(f"  cost        {macs_text(card.macs)} MACs, {card.params:,} parameters")
    say(f"  accuracy    {', '.join(filter(None, map(card.accuracy, ('val', 'test'))))}")
    if (other := result.smaller) is not None:
        gain = f"{other.gain:+.2f} ± {other.gain_std_error:.2f} points, paired"
        say(f"  noise       {macs_text(other.macs)} MACs may do as well: {other.val_top1:.2f} % on validation ({gain})")
        say(f"              with --arch {other.arch}")
    if result.latency is not None:
        latency = result.latency
        say(f"  latency     {latency.measured_ms:.3f} ms, predicted {latency.predicted_ms:.3f} ms ({latency.of})")
    within = f"logits within {check.max_logit_difference:.1e}"
    say(f"  checked     {check.images:,} validation images: same top-1 as PyTorch, {within}")
    if (int8 := result.int8) is not None:
        noise = ", within noise" if int8.lost.is_noise else ""
        sizes = (f"{path.stat().st_size / 1000:,.0f} kB" for path in (int8.path, result.path))
        say(f"{int8.path}: {int8.card.quantised}")
        say(f"  size        {' in the place of '.join(sizes)}")
        say(f"  accuracy    {int8.card.accuracy('val')}: {int8.lost} to float, paired{noise}")
        say(f"  latency     {int8.int8_ms:.3f} ms, float {int8.float_ms:.3f} ms ({int8.conditions.runtime})")
