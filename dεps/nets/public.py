"""Checkpoints of the public OFA and DεpS code, read and written: the MobileNet family's names and ours.

Public names are those of the newest public code. An older file says `.mobile_inverted_conv.` where it says `.conv.`,
still older ones do without the inner `.conv` and `.bn` of elastic layers; `_canonical` maps all of them to one form.
The numbers need no change: channels are sliced alike, and a kernel-transformation matrix multiplies the flattened
crop from the same side (`linear(crop, matrix)`, OFA's `DynamicSeparableConv2d`).
"""

from __future__ import annotations

import argparse
import io
import itertools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dεps.core.errors import UserError
from dεps.core.files import write_atomic
from dεps.core.tensors import not_finite
from dεps.nets.files import MOST_CHANNELS, MOST_CLASSES
from dεps.nets.supernet import Supernet
from dεps.spaces.space import SearchSpace

FAMILY = "mobilenet"
#: decide the number of classes and of input channels
CLASSIFIER, STEM = "classifier.linear.weight", "first_conv.conv.weight"
BN_TENSORS = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"
#: endings of checkpoints' names; those of the public nets have none
SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin")
#: where trainers keep the weights; the first that a file has is taken
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_ema", "ema")
#: how far inside each other; a file may hold a mapping inside itself
DEEPEST = 3
#: what wrapping a network puts before its names
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
#: what trainers keep beside the weights that is plain data and runs nothing: NumPy's scalars, such as the best
#: accuracy, and parsed arguments
_SCALARS = "?SU" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"]
SAFE = [
    *((np._core.multiarray.scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(code)) for code in _SCALARS),
    argparse.Namespace,
]


@dataclass(frozen=True)
class Imported:
    """What came out of a checkpoint."""

    net: Supernet
    #: keys that were expected and are not needed: BN's counters of batches
    counters: int
    #: all other keys that were not used, as the file names them
    unused: tuple[str, ...]
    #: which of several state dicts was taken; empty where there was one
    taken: str = ""


def import_checkpoint(path: Path, space: SearchSpace, bn_eps: float | None = None) -> Imported:
    """The supernet of a public checkpoint, `.safetensors` or as written by `torch.save`.

    Code in the file is not run. Classes, input channels and whether kernels are transformed follow from the file. The
    epsilon of batch normalisation does not: it is `bn_eps`, by default the space's (OFA's ProxylessNAS was trained
    with 1e-3, that of DεpS with 1e-5; the wrong one costs accuracy and no error).
    Raises `UserError` where the file is damaged, holds more than plain data, or does not fit `space`.
    """
    _check_family(space)
    if bn_eps is not None:
        if not 0 < bn_eps <= 1:
            raise UserError(f"--bn-eps is {bn_eps}; expected a positive number up to 1")
        space = replace(space, bn_eps=bn_eps)
    tensors, others, taken = _state(_load(path), path)
    found = _canonical_keys(tensors, path)
    matrices = {_canonical(name) for ours, name in public_names(space, True).items() if ".transforms." in ours}
    transform = not matrices.isdisjoint(found)
    head, stem = space.head.features or space.head.expand, space.stem.width
    classes = _size(found, tensors, CLASSIFIER, 0, f"classes×{head}", path)
    channels = _size(found, tensors, STEM, 1, f"{stem}×channels×3×3", path)
    for size, most, what in ((classes, MOST_CLASSES, "classes"), (channels, MOST_CHANNELS, "input channels")):
        if size > most:
            raise UserError(f"{path} has {size:,} {what}; expected at most {most:,}")
    net = Supernet(space, classes, channels, transform)
    state, expected = {}, net.state_dict()
    names = public_names(space, transform)
    missing = [ours for ours, name in names.items() if _canonical(name) not in found]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        shape = _shape(expected[missing[0]])
        raise UserError(f"{path} has no {names[missing[0]]}{more}; the space {space.name} needs it, of shape {shape}")
    for ours, name in names.items():
        key = found.pop(_canonical(name))
        tensor, wanted = tensors[key], expected[ours]
        if tensor.shape != wanted.shape:
            there = f"{path}: {key} has shape {_shape(tensor)}"
            raise UserError(f"{there}; the space {space.name} needs {_shape(wanted)}")
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise UserError(f"{path}: {key} is {tensor.dtype}, {tensor.layout}; expected dense floating-point numbers")
        state[ours] = tensor
        if not_finite({key: tensor}):
            raise UserError(f"{path}: {key} has numbers that are not finite; expected the weights of a trained network")
    net.load_state_dict(state)
    unused = [key for canonical, key in found.items() if not canonical.endswith(f".{COUNTER}")]
    return Imported(net, len(found) - len(unused), (*unused, *others), taken)


def export_checkpoint(net: Supernet, path: Path) -> None:
    """Write `net` as `{"state_dict": …}` in the newest public naming; the same network gives the same bytes.

    Raises `UserError` where there is no public naming for its family.
    """
    buffer = io.BytesIO()  # a file's own name would go into its bytes
    torch.save({"state_dict": to_public(net)}, buffer)
    write_atomic(path, buffer.getvalue())


def default_name(path: Path) -> str:
    """Name of the supernet file of a checkpoint; not `with_suffix`, because a public net is called `…_w1.0`."""
    name = path.name
    while name.endswith(SUFFIXES):
        name = name[: name.rindex(".")]
    return f"{name.removesuffix('.safetensors')}.safetensors"


def describe(imported: Imported) -> str:
    """Size of the supernet, and what of the file was not used."""
    net, unused = imported.net, imported.unused
    parameters = sum(parameter.numel() for parameter in net.parameters())
    kernels = "with" if net.kernel_transform else "without"
    text = f"{net.space.name}, {net.classes:,} classes, {net.channels} input channels, {parameters:,} parameters, "
    text += f"{kernels} kernel transformation, BN epsilon {net.space.bn_eps:g}; "
    text += f"{imported.taken}; " if imported.taken else ""
    text += f"not used: {imported.counters} BN counters"
    more = f" and {len(unused) - 10} more" if len(unused) > 10 else ""
    return text + (f", {', '.join(unused[:10])}{more}" if unused else "")


def to_public(net: Supernet) -> dict[str, Tensor]:
    """The weights under their public names, with the counters of batches that strict loading asks for, at 0."""
    _check_family(net.space)
    state, public = net.state_dict(), {}
    for ours, name in public_names(net.space, net.kernel_transform).items():
        public[name] = state[ours].detach().cpu().contiguous()
        if name.endswith(".running_var"):
            public[name.removesuffix("running_var") + COUNTER] = torch.zeros((), dtype=torch.int64)
    return public


def public_names(space: SearchSpace, kernel_transform: bool) -> dict[str, str]:
    """Our name of every tensor of a supernet of `space`, and its public name, in the public order."""
    return dict(_names(space, kernel_transform))


def _names(space: SearchSpace, kernel_transform: bool) -> Iterator[tuple[str, str]]:
    yield from _conv_bn("body.stem", "first_conv")
    kernels = [[3], *(stage.kernel for stage in space.stages for _ in range(stage.depth[-1]))]
    for spec, choices in zip(space.blocks(space.largest()), kernels, strict=True):
        ours, public = f"body.blocks.{spec.index}", f"blocks.{spec.index}.conv"
        elastic = spec.expansion  # the static block's layers are plain ones, not wrapped once more
        if elastic:
            yield from _conv_bn(f"{ours}.expand", f"{public}.inverted_bottleneck", elastic)
        yield from _conv_bn(f"{ours}.depthwise", f"{public}.depth_conv", elastic)
        if kernel_transform:
            for small, large in itertools.pairwise(choices):
                yield f"{ours}.depthwise.transforms.to{small}", f"{public}.depth_conv.conv.{large}to{small}_matrix"
        if spec.se:
            for layer in ("reduce", "expand"):
                for kind in ("weight", "bias"):
                    yield f"{ours}.se.{layer}_{kind}", f"{public}.depth_conv.se.fc.{layer}.{kind}"
        yield from _conv_bn(f"{ours}.project", f"{public}.point_linear", elastic)
    if space.head.features:
        yield from _conv_bn("body.final", "final_expand_layer")
        yield "body.mix.weight", "feature_mix_layer.conv.weight"
    else:
        yield from _conv_bn("body.final", "feature_mix_layer")
    for kind in ("weight", "bias"):
        yield f"classifier.{kind}", f"classifier.linear.{kind}"


def _conv_bn(ours: str, public: str, elastic: bool = False) -> Iterator[tuple[str, str]]:
    yield f"{ours}.weight", f"{public}.conv.conv.weight" if elastic else f"{public}.conv.weight"
    for kind in BN_TENSORS:
        yield f"{ours}_bn.{kind}", f"{public}.bn.bn.{kind}" if elastic else f"{public}.bn.{kind}"


def _canonical(key: str) -> str:
    """One name for all namings: as the oldest files have it."""
    while key.startswith(PREFIXES):
        key = key.partition(".")[2]
    key = key.replace(".mobile_inverted_conv.", ".conv.")
    key = key.replace(".conv.conv.weight", ".conv.weight")
    return key.replace(".bn.bn.", ".bn.").replace(".linear.linear.", ".linear.")


def _canonical_keys(tensors: Mapping[str, Tensor], path: Path) -> dict[str, str]:
    """The file's key of each canonical name."""
    found: dict[str, str] = {}
    for key in tensors:
        first = found.setdefault(_canonical(key), key)
        if first != key:
            raise UserError(f"{path} holds {first} and {key}, two names of one tensor; keep one")
    return found


def _size(found: dict[str, str], tensors: dict[str, Tensor], name: str, dim: int, expected: str, path: Path) -> int:
    """Size of a tensor in a dimension that the space leaves open."""
    if name not in found:
        raise UserError(f"{path} has no {name}; expected one of shape {expected}")
    shape = tensors[found[name]].shape
    if len(shape) != len(expected.split("×")) or not shape[dim]:
        raise UserError(f"{path}: {found[name]} has shape {_shape(tensors[found[name]])}; expected {expected}")
    return shape[dim]


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "()"


def _check_family(space: SearchSpace) -> None:
    if space.family != FAMILY:
        there = f"the space {space.name} is of the family {space.family}"
        raise UserError(f"{there}; public checkpoints are supported for the family {FAMILY} only")


# --- files ----------------------------------------------------------------------------------------------------


def _load(path: Path) -> Any:
    """Content of the file, tensors and plain containers only."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"{path} is no file, but a pipe or a device")
        with path.open("rb"):
            pass
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _check_archive(path)
        # Warnings are about what is refused by an error anyway.
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(SAFE):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except SafetensorError as error:
        raise UserError(f"{path} is no readable safetensors file ({error}); fetch it again") from None
    except Exception as error:  # a damaged file can raise anything, OSError too
        if foreign := re.search(r"(?:GLOBAL |but got <class ')([\w.]+)", str(error)):
            cure = "save its state dict alone, where you trust it"
            raise UserError(f"{path} holds more than tensors ({foreign[1]}), which is not loaded; {cure}") from None
        if "Unsupported operand" in str(error):
            raise UserError(
                f"{path} is damaged, or not pickled as torch.save does by itself; fetch or save it again"
            ) from None
        raise UserError(f"{path} is damaged or no checkpoint ({type(error).__name__}); fetch it again") from None


def _check_archive(path: Path) -> None:
    """`torch.save` does not compress: a file that unpacks to more than its own size was made to fill the memory."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > path.stat().st_size:
        raise UserError(
            f"{path} is compressed, to {unpacked / 2**20:,.0f} MiB; expected a file as torch.save writes it"
        )


def _state(content: Any, path: Path) -> tuple[dict[str, Tensor], list[str], str]:
    """The tensors, bare or in one of `WRAPPERS`, the keys of everything else, and which of several was taken."""
    others: list[str] = []
    taken: list[str] = []
    for _ in range(DEEPEST):
        there = [key for key in WRAPPERS if _holds_tensors(content, key)]
        if not there:
            break
        taken.append(there[0] + (f" (not {', '.join(there[1:])})" if there[1:] else ""))
        others += [str(key) for key in content if key != there[0]]
        content = content[there[0]]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        keys = f"; its keys are {', '.join(map(str, list(content)[:5]))}" if isinstance(content, Mapping) else ""
        raise UserError(f"{path} holds no state dict{keys}")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    others += [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    return tensors, others, f"taken: {' → '.join(taken)}" if any("(" in name for name in taken) else ""


def _holds_tensors(content: Any, key: str, depth: int = DEEPEST) -> bool:
    """Whether `content` has a mapping of that name with tensors in it, or in a wrapper inside it."""
    inner = content.get(key) if isinstance(content, Mapping) and depth else None
    if not isinstance(inner, Mapping):
        return False
    own = any(isinstance(value, Tensor) for value in inner.values())
    return own or any(_holds_tensors(inner, name, depth - 1) for name in WRAPPERS)
