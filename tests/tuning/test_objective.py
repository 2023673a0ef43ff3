from dεps.tuning.objective import CODE, code_hash
from tests.conftest import ROOT
from tests.test_dag import closure

#: imported too, but without a say in what a trial gives
ELSE = {"device", "files", "identity", "live", "progress", "stage", "tuning/storage"}


def test_a_studys_name_depends_on_all_code_that_decides():
    package = ROOT / "dεps"
    named = {path.relative_to(ROOT).as_posix() for name in CODE for path in package.glob(f"{name}.py")}
    named = {file for file in named if (ROOT / file).stat().st_size}
    imported = closure(package / "tuning/objective.py")
    assert {file for file in imported if "/strategies/" not in file} - named == {
        f"dεps/{name}.py" for name in ELSE if name != "device"
    }
    assert named <= imported
    assert len(code_hash()) == 16
