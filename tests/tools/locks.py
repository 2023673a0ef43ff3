"""Writes requirements-cpu.lock, and knows what requirements.lock has to pin for other systems.

    python -m tests.tools.locks

`requirements.lock` holds the versions for all systems; what only some need has a marker. `requirements-cpu.lock` is
made from it: on Linux PyTorch's own builds for CPUs, since the usual ones link CUDA's libraries and load only with
all of these there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK, CPU_LOCK = ROOT / "requirements.lock", ROOT / "requirements-cpu.lock"
#: what markers ask for on the systems that the lock is for
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}
#: distributions that only torch's build for GPUs needs, and those that have a build for CPUs
CUDA = re.compile(r"(nvidia-|cuda-)|triton$")
BUILDS = ("torch", "torchvision")
#: what every virtual environment has, and the project itself
UNLOCKED = {"pip", "setuptools", "wheel", "deps-workbench"}
HEAD = "# made from requirements.lock by: python -m tests.tools.locks\n"


def pins(lock: str) -> list[Requirement]:
    """Each line of a lock as a requirement, comments left out."""
    return [Requirement(line) for line in lock.splitlines() if line and not line.startswith("#")]


def version(pin: Requirement) -> str:
    """The one version that a pin allows."""
    (only,) = pin.specifier
    return only.version


def needed(lock: str, system: str) -> dict[str, str]:
    """Versions that the lock pins for a system, by canonical name."""
    return {
        canonicalize_name(pin.name): version(pin)
        for pin in pins(lock)
        if pin.marker is None or pin.marker.evaluate(SYSTEMS[system])
    }


def for_cpus(lock: str) -> str:
    """The lock without CUDA, with torch's builds for CPUs on Linux."""
    found = [HEAD]
    for pin in sorted(pins(lock), key=lambda pin: pin.name not in BUILDS):  # those first that may be lacking
        if pin.name in BUILDS:
            found.append(f'{pin}+cpu; sys_platform == "linux"\n{pin}; sys_platform != "linux"\n')
        elif not CUDA.match(pin.name):
            found.append(f"{pin}\n")
    return "".join(found)


def gaps(
    lock: str, roots: Iterable[str], requires: Callable[[str], Iterable[str] | None], system: str
) -> Iterator[str]:
    """What distributions need on a system, and the lock does not pin for it.

    Args:
        roots: requirements of the project itself.
        requires: requirements of a distribution by its canonical name; None where it is not installed here, as of what
            only other systems need.
    """
    pinned, seen = needed(lock, system), set()
    todo = [(Requirement(text), "the project") for text in roots]
    while todo:
        need, by = todo.pop()
        name = canonicalize_name(need.name)
        if name in UNLOCKED:
            continue
        if name not in pinned:
            yield f"{need.name} is not pinned for {system}, where {by} needs it; add it to {LOCK.name}"
            continue
        if not need.specifier.contains(pinned[name], prereleases=True):
            yield f"{need.name} is pinned to {pinned[name]} for {system}, where {by} needs {need.specifier}"
        for extra in {"", *need.extras} - {one for known, one in seen if known == name}:
            seen.add((name, extra))
            for text in requires(name) or ():
                further = Requirement(text)
                if further.marker is None or further.marker.evaluate({**SYSTEMS[system], "extra": extra}):
                    todo.append((further, name))


if __name__ == "__main__":
    CPU_LOCK.write_text(for_cpus(LOCK.read_text("utf-8")), "utf-8")
