import pytest

from dεps.core.errors import UserError
from dεps.core.schema import structured
from dεps.deploy.export.config import Budget, ExportConfig, macs_text, parse_macs


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        ("3M", 3_000_000),
        ("3.5m", 3_500_000),
        (" 1G ", 10**9),
        ("3e6", 3_000_000),
        ("2.5E3k", 2_500_000),
        (".5M", 500_000),
    ],
)
def test_macs_as_text(text, macs):
    assert parse_macs(text, "--max-macs") == macs


@pytest.mark.parametrize("text", ["", "M", "3 M M", "-3M", "0", "nan", "inf", "1e400", "3MB", "٣M", "1_000"])
def test_text_that_is_no_macs(text):
    with pytest.raises(UserError, match="--max-macs is"):
        parse_macs(text, "--max-macs")


def test_macs_for_people():
    assert [macs_text(macs) for macs in (12, 357_488, 2_046_000, 1.2e9)] == ["12", "357 k", "2.05 M", "1.2 G"]


def test_a_budget_is_a_share_or_macs():
    assert [Budget("a", share).macs(100, 1100) for share in (0.1, 1.0, 500.0)] == [200, 1100, 500]


@pytest.mark.parametrize(
    ("budgets", "key"),
    [
        ([], "budgets"),
        ([{"name": "a", "max_macs": 0}], "max_macs"),
        ([{"name": "a"}], "max_macs is missing; expected it, max_ms or both"),
        ([{"name": "a", "max_ms": 0}], "max_ms"),
        ([{"name": "a", "max_macs": "nan"}], "max_macs"),
        ([{"name": "../a", "max_macs": 1}], "name"),
        ([{"name": "latest", "max_macs": 1}], "name"),
        ([{"name": "a", "max_macs": 1}, {"name": "a", "max_macs": 2}], "budgets"),
    ],
)
def test_budgets_that_cannot_be(budgets, key):
    with pytest.raises(UserError, match=key):
        structured(ExportConfig, {"budgets": budgets}, "export")
