"""Whether the environment is the locked one, locks are complete, and imports are the declared dependencies.

    python -m tests.tools.audit

Needs no network. Known advisories are asked for where `pip-audit` is installed and its server answers.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata, util

from tests.tools.locks import CPU_LOCK, LOCK, ROOT, SYSTEMS, UNLOCKED, for_cpus, gaps, needed

#: dependencies that are called, not imported
COMMANDS = {"dvc"}
#: extras that are not in the lock: they bring half a gigabyte, and pin what others need newer
APART = {"litert"}
#: dependencies of which private or undocumented parts are used
BOUNDED = {"dvc", "hydra-core", "mlflow", "optuna"}


def canonical(name: str) -> str:
    """A distribution's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def consistency() -> Iterator[str]:
    """What `pip check` has to say."""
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    yield from (line for line in done.stdout.splitlines() if done.returncode)


def lock_differences(locked: dict[str, str], installed: dict[str, str], file: str = LOCK.name) -> Iterator[str]:
    """Where a lock and the installed packages differ, both ways."""
    for name in sorted(locked.keys() | installed.keys() - UNLOCKED):
        if locked.get(name) != installed.get(name):
            there = f"{file} has {locked.get(name, 'none')}, installed is {installed.get(name, 'none')}"
            yield f"{name}: {there}; install {file}, or write it anew"


def lock_problems(installed: dict[str, str], roots: list[str]) -> Iterator[str]:
    """Where the lock differs from what is installed, and what it lacks for other systems."""
    own = CPU_LOCK if installed.get("torch", "").endswith("+cpu") else LOCK
    system = {"win32": "windows", "darwin": "macos"}.get(sys.platform, "linux")
    yield from lock_differences(needed(own.read_text("utf-8"), system), installed, own.name)
    lock = LOCK.read_text("utf-8")
    if CPU_LOCK.read_text("utf-8") != for_cpus(lock):
        yield f"{CPU_LOCK.name} is not made from {LOCK.name}; run: python -m tests.tools.locks"

    def requires(name: str) -> list[str] | None:
        return metadata.requires(name) if name in installed else None

    for one in SYSTEMS:
        yield from gaps(lock, roots, requires, one)


def imported(folders: tuple[str, ...] = ("dεps", "deps", "pipelines")) -> set[str]:
    """Top-level modules that the code imports, those of Python and its own left out."""
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"dεps", "deps", "pipelines"}


def declaration_differences(declared: set[str], modules: set[str], extras: set[str] = frozenset()) -> Iterator[str]:
    """Imports that pyproject.toml does not declare, be it as an extra, and what it declares for nothing."""
    providers = metadata.packages_distributions()
    # an extra that is not installed is known by its name alone
    used = {module: {canonical(name) for name in providers.get(module, [module])} for module in modules}
    for module in sorted(module for module, names in used.items() if not names & (declared | extras)):
        yield f"{module} is imported, but no dependency of pyproject.toml brings it; declare it"
    for name in sorted(declared - COMMANDS - set().union(*used.values())):
        yield f"{name} is a dependency in pyproject.toml, but nothing imports it; remove it"


def unbounded(dependencies: list[str]) -> Iterator[str]:
    """Which of BOUNDED may be of any later major version."""
    for text in dependencies:
        name = canonical(re.match(r"[\w.-]+", text)[0])
        if name in BOUNDED and not re.search(r"<\d", text):
            yield f"{name} has no upper bound in pyproject.toml, though what is used of it may change; add one"


def advisories() -> Iterator[str]:
    """Known vulnerabilities of the locked versions; a line on stdout where they cannot be asked for."""
    if util.find_spec("pip_audit") is None:
        print("audit: advisories were not checked (pip-audit is not installed)")
        return
    command = [sys.executable, "-m", "pip_audit", "-r", str(LOCK), "--no-deps", "--disable-pip"]
    try:
        done = subprocess.run([*command, "-f", "json"], capture_output=True, text=True, timeout=120, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        print("audit: advisories were not checked (their server does not answer)")
        return
    for package in packages:
        for known in package.get("vulns", []):
            yield f"{package['name']} {package['version']}: {known['id']}, mended in {known['fix_versions']}"


def main() -> None:
    """Print what is wrong, and exit with 1 where anything is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonical(re.match(r"[\w.-]+", text)[0]) for text in project["dependencies"]}
    extras = {
        canonical(re.match(r"[\w.-]+", text)[0])
        for name, texts in project["optional-dependencies"].items()
        if name != "dev"
        for text in texts
    }
    installed = {canonical(found.name): found.version for found in metadata.distributions()}
    locked = (texts for name, texts in project["optional-dependencies"].items() if name not in APART)
    asked = [*project["dependencies"], *(text for texts in locked for text in texts)]
    problems = [*consistency(), *lock_problems(installed, asked)]
    problems += unbounded(project["dependencies"])
    problems += [*declaration_differences(declared, imported(), extras), *advisories()]
    print("\n".join(f"audit: {problem}" for problem in problems) or "audit: environment and declarations agree")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
