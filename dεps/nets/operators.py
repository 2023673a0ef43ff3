"""Computes depthwise convolutions, and BN with its activation, faster than torch does on CPUs: calls `operators.cpp`.

    layer                          forward      gradient of x    gradient of the weight
    depthwise, stride 1            own          own              own for kernels 5 and 7
    depthwise, stride 2            torch        torch            own for kernels 5 and 7
    BN and activation, training    own          own              own

In torch, the weight's gradient of a 7×7 depthwise convolution runs at a tenth of the speed of its forward, and BN and
activation read and write the same tensors one after the other. What is computed is the same up to rounding. Whatever
does not fit (another type or memory format, a GPU) goes to torch, and so does all that is not training.

The code is built when it is first used, and kept in the user's cache for this source, compiler and kind of processor.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dεps.core.errors import UserError
from dεps.core.hashing import digest

SOURCE = Path(__file__).with_suffix(".cpp")
COMPILERS = ("c++", "g++", "clang++")
#: nothing that would let the compiler change the order of additions, or take for granted that no number is NaN
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
#: the first that the compiler knows is taken
NATIVE = (["-march=native"], ["-mcpu=native"], [])
#: activations by their number in operators.cpp
ACTS = (None, "relu", "relu6", "h_swish")
#: of depthwise convolutions; of the smallest kernel the weight's gradient is quick enough in torch
KERNELS, STRIDES = (3, 5, 7), (1, 2)
#: channels of the widest vector; threads share whole ones
LANES = 16

_POINTER, _SIZE, _INT, _DOUBLE = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_double
_ARGUMENTS = {
    "depthwise": [*[_POINTER] * 3, *[_SIZE] * 4, _INT, *[_SIZE] * 2],
    "depthwise_weight": [*[_POINTER] * 3, *[_SIZE] * 4, _INT, _INT, *[_SIZE] * 2],
    "batch_norm": [*[_POINTER] * 7, *[_SIZE] * 2, _INT, _DOUBLE, _DOUBLE, *[_SIZE] * 2],
    "batch_norm_backward": [*[_POINTER] * 5, *[_SIZE] * 2, _INT, *[_SIZE] * 2],
}


# --- building -----------------------------------------------------------------------------------------------------


@cache
def build() -> Path:
    """Path of the built library, whose name is the hash of all that it is made of.

    Raises `UserError` where there is no compiler, or it fails.
    """
    named = os.environ.get("CXX")
    compiler = next(filter(None, map(shutil.which, [named] if named else COMPILERS)), None)
    if compiler is None and named:
        raise UserError(f"train.operators is 'native', and CXX is {named}, no command here; expected a C++ compiler")
    if compiler is None:
        raise UserError(
            "train.operators is 'native', which needs a C++ compiler (g++ or clang++); install one or set torch"
        )
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    key = digest([SOURCE.read_text("utf-8"), FLAGS, NATIVE, version, _processor()])
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deps-workbench"
    library = folder / f"operators-{key}.so"
    if not library.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as own:  # another process may build it at the same time
                os.replace(_compiled(compiler, Path(own) / library.name), library)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written ({error}); set XDG_CACHE_HOME, or train.operators to torch"
            ) from None
    return library


def _compiled(compiler: str, to: Path) -> Path:
    said = ""
    for native in NATIVE:
        command = [compiler, *FLAGS, *native, str(SOURCE), "-o", str(to)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return to
        said = said or next((line for line in done.stderr.splitlines() if "error" in line), "no reason given")
    raise UserError(f"train.operators is 'native', but {compiler} cannot build {SOURCE.name} ({said}); set it to torch")


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model", "cpu family"))}))


@cache
def _library() -> ctypes.CDLL:
    path = build()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be loaded ({error}); remove it, or set train.operators to torch") from None
    for name, arguments in _ARGUMENTS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    return library


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def _call(name: str, channels: int, *arguments: Any) -> None:
    """Call a function for all channels, which torch's number of threads shares; the bits don't depend on it."""
    function: Callable[..., None] = getattr(_library(), name)
    given = [one.data_ptr() if isinstance(one, Tensor) else one for one in arguments]
    threads = min(torch.get_num_threads(), -(-channels // LANES))
    if threads == 1:
        function(*given, 0, channels)
        return
    borders = [channels // LANES * part // threads * LANES for part in range(threads)] + [channels]
    list(_pool(threads).map(lambda first, last: function(*given, first, last), borders, borders[1:]))


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether x (batch, channels, height, width) is what this code computes with; anything else is for torch."""
    own = x.dim() == 4 and x.numel() > x.shape[1] and x.is_contiguous(memory_format=torch.channels_last)
    return own and all(one.dtype == torch.float32 and one.device.type == "cpu" for one in (x, weight))


# --- depthwise convolution ----------------------------------------------------------------------------------------


def depthwise(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolution of x (batch, channels, height, width) with weight (channels, 1, kernel, kernel), padded by its half.

    Both must be such that `fits`.
    """
    return _Depthwise.apply(x, weight, stride)


def _convolved(x: Tensor, taps: Tensor) -> Tensor:
    """X convolved with taps (kernel, kernel, channels), stride 1."""
    y, (batch, channels, *size) = torch.empty_like(x), x.shape
    _call("depthwise", channels, x, taps.contiguous(), y, batch, channels, *size, len(taps))
    return y


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        if stride == 1 and weight.shape[-1] in KERNELS:
            return _convolved(x, weight[:, 0].permute(1, 2, 0))
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, 1, x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), stride, (for_x, for_weight, _) = ctx.saved_tensors, ctx.stride, ctx.needs_input_grad
        (batch, channels, *size), kernel = x.shape, weight.shape[-1]
        dy = dy.contiguous(memory_format=torch.channels_last)
        own = (for_x and stride == 1 and kernel in KERNELS, for_weight and stride in STRIDES and kernel in KERNELS[1:])
        rest = [for_x and not own[0], for_weight and not own[1], False]
        fixed = ([stride] * 2, [kernel // 2] * 2, [1, 1], False, [0, 0], channels)
        dx, gradient = None, None
        if any(rest):
            dx, gradient, _ = torch.ops.aten.convolution_backward(dy, x, weight, None, *fixed, rest)
        if own[0]:
            dx = _convolved(dy, weight[:, 0].flip(1, 2).permute(1, 2, 0))
        if own[1]:
            taps = torch.zeros(kernel, kernel, channels, 1)
            _call("depthwise_weight", channels, x, dy, taps, batch, channels, *size, kernel, stride)
            gradient = taps.permute(2, 3, 0, 1)
        return dx, gradient, None


# --- batch normalisation and activation ---------------------------------------------------------------------------


def batch_norm(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, momentum: float, eps: float, act: str | None
) -> Tensor:
    """Activation of x (batch, channels, height, width) normalised by its own statistics.

    The running `mean` and `var` (channels,) are moved towards them. x and weight must be such that `fits`.
    """
    return _BatchNorm.apply(x, mean, var, weight, bias, momentum, eps, ACTS.index(act))


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> Tensor:
        momentum, eps, act = rest
        y, channels = torch.empty_like(x), x.shape[1]
        saved, rows = torch.empty(4, channels), x.numel() // channels
        _call("batch_norm", channels, x, weight, bias, mean, var, saved, y, rows, channels, act, momentum, eps)
        ctx.save_for_backward(x, saved)
        ctx.act = act
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, saved = ctx.saved_tensors
        dx, channels = torch.empty_like(x), x.shape[1]
        dy, gradients = dy.contiguous(memory_format=torch.channels_last), torch.empty(2, channels)
        rows = x.numel() // channels
        _call("batch_norm_backward", channels, x, dy, saved, gradients, dx, rows, channels, ctx.act)
        return dx, None, None, gradients[0], gradients[1], None, None, None
