"""Reads and writes checkpoints of public code; what a family's tensors are called there is said in its `public.py`."""

from __future__ import annotations

import argparse
import io
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dεps.core.errors import UserError
from dεps.core.files import write_atomic
from dεps.core.tensors import not_finite
from dεps.nets.files import MOST_CHANNELS, MOST_CLASSES
from dεps.nets.layers import ElasticBatchNorm
from dεps.nets.supernet import Supernet
from dεps.spaces.space import SearchSpace, families, family_module

COUNTER = "num_batches_tracked"
#: endings of checkpoints' names; those of the public nets have none
SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin")
#: where trainers keep the weights; the first that a file has is taken
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_ema", "ema")
#: wrappers inside each other that are looked through; a file may hold a mapping inside itself
DEEPEST = 3
#: what wrapping a network puts before its names
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
#: what trainers keep beside the weights that is plain data and runs nothing: NumPy's scalars, such as the best
#: accuracy, and parsed arguments
_SCALARS = "?SU" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"]
_SCALAR: Any = np.float64(0).__reduce__()[0]
SAFE: list[Any] = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(code)) for code in _SCALARS),
    argparse.Namespace,
]


class Naming(Protocol):
    """The module `public` of a family."""

    def names(self, space: SearchSpace, kernel_transform: bool) -> Iterator[tuple[str, str]]:
        """Our name of every tensor and its public one, in the public order; first the weight that reads the images."""
        ...

    def canonical(self, name: str) -> str:
        """One form of a public name for all the forms that it has had."""
        ...


@dataclass(frozen=True)
class Imported:
    """What came out of a checkpoint."""

    net: Supernet
    #: number of BN's batch counters, which are expected and not needed
    counters: int
    #: all other keys that were not used, as the file names them
    unused: tuple[str, ...]
    #: which of several state dicts was taken; empty where there was one
    taken: str = ""


def import_checkpoint(path: Path, space: SearchSpace, bn_eps: float | None = None) -> Imported:
    """The supernet of a public checkpoint, `.safetensors` or as written by `torch.save`.

    No code in the file is run. Classes, input channels and whether kernels are transformed follow from the file. The
    epsilon of batch normalisation does not: it is `bn_eps`, by default the space's (OFA's ProxylessNAS was trained
    with 1e-3, that of DεpS with 1e-5; the wrong one costs accuracy and raises no error).
    Raises `UserError` where the file is damaged, holds more than plain data, or does not fit `space`.
    """
    naming = _naming(space)
    if bn_eps is not None:
        if not 0 < bn_eps <= 1:
            raise UserError(f"--bn-eps is {bn_eps}; expected a positive number up to 1")
        if "bn_eps" not in {field.name for field in fields(space)}:
            raise UserError(f"--bn-eps is {bn_eps}; a space of the family {space.family} has no such choice")
        space = replace(space, bn_eps=bn_eps)
    tensors, others, taken = _state(_load(path), path)
    keys = _by_canonical_name(path, tensors, naming.canonical)
    matrices = [public for ours, public in naming.names(space, True) if ".transforms." in ours]
    transform = any(naming.canonical(public) in keys for public in matrices)
    names = dict(naming.names(space, transform))

    def size(public: str, dim: int, expected: str) -> int:
        """Size of a tensor in a dimension that the space leaves open."""
        if (key := keys.get(naming.canonical(public))) is None:
            raise UserError(f"{path} has no {public}; expected one of shape {expected}")
        shape = tensors[key].shape
        if len(shape) != len(expected.split("×")) or not shape[dim]:
            raise UserError(f"{path}: {key} has shape {_shape(tensors[key])}; expected {expected}")
        return shape[dim]

    first, *_, last = space.layers(space.largest(), 1, 1)
    images = f"{first.outputs}×channels×{first.kernel}×{first.kernel}"
    classes = size(names["classifier.weight"], 0, f"classes×{last.inputs}")
    channels = size(next(iter(names.values())), 1, images)
    for count, most, what in ((classes, MOST_CLASSES, "classes"), (channels, MOST_CHANNELS, "input channels")):
        if count > most:
            raise UserError(f"{path} has {count:,} {what}; expected at most {most:,}")
    net = Supernet(space, classes, channels, transform)
    state, expected = {}, net.state_dict()
    missing = [ours for ours, public in names.items() if naming.canonical(public) not in keys]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        shape = _shape(expected[missing[0]])
        raise UserError(f"{path} has no {names[missing[0]]}{more}; the space {space.name} needs it, of shape {shape}")
    for ours, public in names.items():
        key = keys.pop(naming.canonical(public))
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
    unused = [key for key in keys.values() if not key.endswith(f".{COUNTER}")]
    return Imported(net, len(keys) - len(unused), (*unused, *others), taken)


def export_checkpoint(net: Supernet, path: Path) -> None:
    """Write `net` as `{"state_dict": …}` in the newest public naming; the same network gives the same bytes.

    Raises `UserError` where its family has no public naming.
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
    eps = next(module.eps for module in net.modules() if isinstance(module, ElasticBatchNorm))
    text = f"{net.space.name}, {net.classes:,} classes, {net.channels} input channels, {parameters:,} parameters, "
    text += f"{kernels} kernel transformation, BN epsilon {eps:g}; "
    text += f"{imported.taken}; " if imported.taken else ""
    more = f" and {len(unused) - 10} more" if len(unused) > 10 else ""
    return text + ", ".join([f"not used: {imported.counters} BN counters", *unused[:10]]) + more


def to_public(net: Supernet) -> dict[str, Tensor]:
    """The weights under their public names, with the batch counters that strict loading asks for, at 0."""
    state, public = net.state_dict(), {}
    for ours, name in _naming(net.space).names(net.space, net.kernel_transform):
        public[name] = state[ours].detach().cpu().contiguous()
        if name.endswith(".running_var"):
            public[name.removesuffix("running_var") + COUNTER] = torch.zeros((), dtype=torch.int64)
    return public


def _naming(space: SearchSpace) -> Naming:
    known = families("public")
    if space.family not in known:
        there = f"the space {space.name} is of the family {space.family}"
        raise UserError(f"{there}; there are names of public checkpoints for: {', '.join(known)}")
    return cast(Naming, family_module(space.family, "public"))


def _by_canonical_name(path: Path, tensors: Mapping[str, Tensor], canonical: Callable[[str], str]) -> dict[str, str]:
    """The file's keys by one form of their public names, whatever form they have and whatever wraps them."""
    found: dict[str, str] = {}
    for key in tensors:
        name = key
        while name.startswith(PREFIXES):
            name = name.partition(".")[2]
        if (first := found.setdefault(canonical(name), key)) != key:
            raise UserError(f"{path} holds {first} and {key}, two names of one tensor; keep one")
    return found


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "()"


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
            why = "damaged, or not pickled as torch.save does by itself"
            raise UserError(f"{path} is {why}; fetch or save it again") from None
        raise UserError(f"{path} is damaged or no checkpoint ({type(error).__name__}); fetch it again") from None


def _check_archive(path: Path) -> None:
    """`torch.save` does not compress: a file that unpacks to more than its own size was made to fill the memory."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > path.stat().st_size:
        there = f"{path} is compressed, to {unpacked / 2**20:,.0f} MiB"
        raise UserError(f"{there}; expected a file as torch.save writes it")


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
