from pathlib import Path

import pytest

from tests.report import made_up
from tests.tuning.tables import write_study

results = made_up.results
#: of a study in which trials are pruned
PRUNED = {"objectives": ["accuracy"], "pruner": "asha", "pruner_from": 0.125, "trials": 16}


@pytest.fixture
def study(results, tmp_path):
    """The made-up results with a study of ten trials."""
    write_study(tmp_path / "study", Path("runs/quick/tune"), trials=10)
    return results


@pytest.fixture(scope="session")
def report_folder(tmp_path_factory) -> Path:
    """A working directory with made-up results, a study among them, and the report on them."""
    folder = tmp_path_factory.mktemp("report")
    made_up.write_results(folder)
    write_study(folder / "study", folder / "runs/quick/tune", trials=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made_up.write_report()
    return folder
