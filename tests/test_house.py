"""The floor plan: a folder is a floor, and imports only from floors below; no two modules import each other."""

import ast

from tests.conftest import ROOT

#: from the ground up
FLOORS = (
    *("core", "data", "spaces", "workspace", "nets", "methods", "sources", "evaluation", "training"),
    *("search", "tuning", "deploy", "report", "planning", "tracking", "cli"),
)
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.glob("dεps/**/*.py"))}


def imported(module: str) -> set[str]:
    """Modules of the package that one imports, inside functions and for types too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return (found | {f"{name}.__init__" for name in found}) & set(MODULES) - {module}


def floor(module: str) -> int:
    return FLOORS.index(module.split(".")[1])


IMPORTS = {module: imported(module) for module in MODULES}


def test_every_folder_is_a_floor_and_nothing_lies_beside_them():
    rooms = {path.name for path in (ROOT / "dεps").iterdir() if path.name != "__pycache__"}
    assert rooms - {"__init__.py", "py.typed"} == set(FLOORS)


def test_a_folder_imports_from_floors_below_only():
    up = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in sorted(others)
        if module != "dεps.__init__" and floor(other) > floor(module)
    ]
    assert up == []


def test_no_modules_import_each_other_in_a_circle():
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle: {' → '.join([*path[path.index(module) :], module])}"
        if module not in done:
            for other in sorted(IMPORTS[module]):
                visit(other, (*path, module))
            done.add(module)

    for module in MODULES:
        if module != "dεps.__init__":
            visit(module, ())
