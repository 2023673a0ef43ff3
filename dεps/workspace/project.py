"""A project outside the package's own repository: the files it is made of, and the code that it was made with.

There `dvc.yaml` names, in the place of folders of code, one file that says which code it is: another version of the
package runs everything again, once `deps init --upgrade` has written that file anew.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from dεps.core.errors import UserError
from dεps.core.hashing import digest, file_hash

PACKAGE = Path(__file__).resolve().parents[1]
#: says of which code the results in a project are
VERSION = Path("deps.version")
#: what a project is made of, beside `VERSION` and `params.yaml`
FILES = ("dvc.yaml", "params", "pipelines", "reports/published/README.md", ".dvcignore", ".gitignore", ".gitattributes")
FILES += (".dvc/.gitignore", ".dvc/config", ".dvc/plugins")
DVC_HEAD = f"""\
# The whole comparison. A stage is a script in pipelines/, a section of params and a folder of results, all of one name.
# {VERSION} says of which code of the package the results are. Names reach commands as `${{item}}`, which DVC writes as
# --experiment … --method … --seed …, quoted for the shell.
"""


def template() -> Path:
    """The folder with a project's files: within an installed package, or else the repository's own."""
    inside = PACKAGE / "project"
    return inside if inside.is_dir() else PACKAGE.parent


def groups() -> Path:
    """The folder of Hydra groups: `params` here, or where there is none that of the package."""
    here = Path("params")
    return here if here.is_dir() or not (template() / here).is_dir() else template() / here


def code_hash() -> str:
    """SHA-256 over the names and contents of all files of the package, in 16 digits."""
    files = {path.relative_to(PACKAGE): path for path in sorted(PACKAGE.rglob("*")) if path.is_file()}
    own = {name: path for name, path in files.items() if "__pycache__" not in name.parts and name.parts[0] != "project"}
    return digest([[name.as_posix(), file_hash(path)] for name, path in own.items()])


def check_code() -> None:
    """Raise `UserError` in a project whose results are of other code than the installed package's."""
    if not VERSION.exists():
        return
    recorded, own = VERSION.read_text("utf-8", "replace").strip(), version_text()
    if recorded.split()[-1:] != own.split()[-1:]:
        raise UserError(
            f"{VERSION} says {recorded!r}, installed is {own!r}; install what it says, or take over the installed one: "
            "'deps init --upgrade', then 'dvc repro' makes all results anew"
        )


def version_text() -> str:
    """Name, version and code of the package, as a line."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("deps-workbench")
    except PackageNotFoundError:
        number = "(not installed)"
    return f"deps-workbench {number} {code_hash()}"


def create(folder: Path, params: str) -> list[str]:
    """Write a new project's files, with `params` as `params.yaml`; their names. Raises `UserError` if one is there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".deps-init-") as scratch:
        files = _write(Path(scratch), params)
        for name in files:
            if (there := _in_the_way(folder, name)) is not None:
                raise UserError(f"{there} is there already; move it away, or name an empty folder")
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(scratch) / name).rename(folder / name)
    return files


def _in_the_way(folder: Path, name: str) -> Path | None:
    """What is where the file `name` would be written, or what is no folder where one would be made for it."""
    file, *folders = (folder / part for part in (name, *Path(name).parents[:-1]))
    others = (path for path in folders if os.path.lexists(path) and not path.is_dir())
    return file if os.path.lexists(file) else next(others, None)


def upgrade(folder: Path, params: str) -> tuple[list[str], list[str]]:
    """Record the installed package's code, and write files that are missing: names of those, and of others that differ.

    Of what was there before, only `VERSION` changes. Raises `UserError` where `folder` is no project.
    """
    if not (folder / VERSION).exists():
        raise UserError(f"{folder / VERSION} does not exist; 'deps init' begins a project")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".deps-init-") as scratch:
        files = _write(Path(scratch), params)
        missing = [name for name in files if not (folder / name).exists()]
        others = [name for name in files if name not in (*missing, str(VERSION), "params.yaml")]
        differ = [name for name in others if (folder / name).read_bytes() != (Path(scratch) / name).read_bytes()]
        for name in [*missing, str(VERSION)]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(scratch) / name).replace(folder / name)
    return missing, differ


def _write(folder: Path, params: str) -> list[str]:
    """Write all files into the empty `folder`; returns their names."""
    for name in FILES:
        source, target = template() / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    (folder / "dvc.yaml").write_text(_without_code((template() / "dvc.yaml").read_text("utf-8")), "utf-8")
    (folder / "params.yaml").write_text(params, "utf-8")
    (folder / VERSION).write_text(version_text() + "\n", "utf-8")
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _without_code(dvc: str) -> str:
    """The text of `dvc.yaml` with `VERSION` in the place of each stage's files and folders of the package."""
    _, body = re.split(r"^(?=stages:)", dvc, maxsplit=1, flags=re.MULTILINE)
    return DVC_HEAD + re.sub(
        r"^( *- )dεps(?:/\S*)?\n(?: *- dεps(?:/\S*)?\n)*", rf"\1{VERSION}\n", body, flags=re.MULTILINE
    )
