import pytest

from tests.conftest import quick_params
from tests.tracking.results import write_results


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Params that select two methods, and made-up results of theirs below the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_results(["deps", "rss"])
    return quick_params() | {"methods": ["deps", "rss"]}
