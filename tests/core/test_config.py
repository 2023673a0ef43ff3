from dataclasses import dataclass, field

import pytest

from dεps.core.config import read_params, section, structured
from dεps.core.errors import UserError


@dataclass
class Inner:
    size: int
    share: float = 0.5


@dataclass
class Outer:
    name: str = "x"
    inner: Inner = field(default_factory=lambda: Inner(1))
    many: list[Inner] = field(default_factory=list)
    maybe: int | None = None


def test_values_are_converted_and_defaults_filled():
    value = structured(Outer, {"inner": {"size": "7"}, "many": [{"size": 1, "share": 1}], "maybe": 3}, "a.b")
    assert value == Outer("x", Inner(7, 0.5), [Inner(1, 1.0)], 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"nam": 1}, r"^a\.b\.nam is no known key; allowed: name, inner, many, maybe$"),
        ({"inner": {"siz": 1}}, r"^a\.b\.inner\.siz is no known key; allowed: size, share$"),
        ({"inner": {}}, r"^a\.b\.inner\.size is missing"),
        ({"inner": {"size": "x"}}, r"^a\.b\.inner\.size: Value 'x'.* could not be converted to Integer$"),
        ({"inner": {"size": 1, "share": float("inf")}}, r"^a\.b\.inner\.share is inf; expected a finite number$"),
        ({"inner": 3}, r"^a\.b\.inner is 3; expected a mapping with the keys size, share$"),
        ({"many": {"size": 1}}, r"^a\.b\.many is .*; expected a list of mappings"),
        ({"many": [{"size": 1}, {}]}, r"^a\.b\.many\[1\]\.size is missing"),
        ({"name": None}, r"^a\.b\.name: "),
        ([], r"^a\.b is \[\]; expected a mapping"),
    ],
)
def test_errors_are_one_line_with_the_full_key(data, message):
    with pytest.raises(UserError, match=message) as caught:
        structured(Outer, data, "a.b")
    assert "\n" not in str(caught.value)


def test_sections_name_what_there_is():
    params = {"experiments": {"quick": {"train": {"epochs": 1}}}}
    assert section(params, "experiments", "quick", "train") == {"epochs": 1}
    with pytest.raises(UserError, match=r"no 'experiments\.slow'; there is: quick"):
        section(params, "experiments", "slow", "train")


@pytest.mark.parametrize("content", [None, "a: [", "- 1", ""])
def test_unreadable_params_are_named(tmp_path, content):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"params\.yaml"):
        read_params(path)
