"""Stage `check`: the whole of params.yaml, before any other stage runs, and the code of each method.

DVC takes names and lists as they stand in the file: a wrong one would be noticed hours later, or name another folder,
which DVC empties before the stage can look. And it knows a method by its name in params only, which need not be its
file's: the files written here let an edit of one method's code run that method again, and no other.
"""

from __future__ import annotations

from pathlib import Path

from dεps.core.errors import UserError
from dεps.core.files import output_folder, write_json
from dεps.core.params import read_params
from dεps.core.process import guarded, is_portable
from dεps.planning.check import check_params
from dεps.workspace.decides import METHODS_CODE, PACKAGE, STAGES, hash_of, method_files
from dεps.workspace.stage import STATE

DONE = Path("reports/checked")


def main() -> None:
    """Refuse wrong params in one line; else write the hash of the code of methods, for each stage that runs any.

    `params.json` is always the same, so that nothing runs again because other params were checked.
    """
    params = read_params()
    check_params(params)
    if params.get("portable") and not is_portable():
        raise UserError("params.yaml does not say portable: true in these very words; expected them, or false")
    with output_folder(DONE, STATE / "scratch" / "checked") as folder:
        write_json(folder / "params.json", {"params.yaml": "checked"})
        for name in params["names"]:
            methods = params["experiments"][name]["methods"]
            for stage, decides in STAGES.items():
                if decides.method:
                    for method in params["methods"]:
                        files = (*decides.methods, methods[method]["method"])
                        _write(folder / METHODS_CODE.format(name, f"{stage}-{method}"), files)
                elif decides.methods:
                    _write(folder / METHODS_CODE.format(name, stage), decides.methods)


def _write(path: Path, methods: tuple[str, ...]) -> None:
    files = method_files(*methods)
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [file.relative_to(PACKAGE.parent).as_posix() for file in files]
    write_json(path, {"files": names, "sha256": hash_of(files)})


if __name__ == "__main__":
    guarded(main)
