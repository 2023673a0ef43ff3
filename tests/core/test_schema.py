from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from dataclasses import field
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field, model_validator

from dεps.core.errors import UserError
from dεps.core.schema import DISTINCT, checked, formerly, new_name, one_of, structured


@checked
class Inner:
    size: int
    share: float = 0.5


@checked
class Outer:
    name: str = "x"
    inner: Inner = field(default_factory=lambda: Inner(1))
    many: list[Inner] = field(default_factory=list)
    maybe: int | None = None


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("expected an even number")
    return value


@checked
class Limits:
    side: Annotated[int, Field(ge=8, le=1024), formerly("size")] = 8
    rate: Annotated[float, Field(gt=0, le=1e6)] = 0.1
    share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    holdout: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    count: Annotated[int, Field(ge=1)] | None = None
    most: Annotated[int, Field(le=9)] = 9
    mode: Literal["fast", "slow"] = "fast"
    channels: Annotated[int, one_of(1, 3)] = 1
    pair: Annotated[int, AfterValidator(_even)] = 2
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), DISTINCT] = field(
        default_factory=lambda: [0]
    )
    times: dict[str, Annotated[float, Field(ge=0)]] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)
    on: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Limits:
        if self.count is not None and self.count > self.most:
            raise ValueError(f"count is {self.count}; expected at most most, {self.most}")
        return self


def test_values_are_converted_and_defaults_filled():
    value = structured(Outer, {"inner": {"size": "7"}, "many": [{"size": 1, "share": 1}], "maybe": 3}, "a.b")
    assert value == Outer("x", Inner(7, 0.5), [Inner(1, 1.0)], 3)
    assert type(value.many[0].share) is float


@pytest.mark.parametrize(
    ("key", "given", "read"),
    [
        ("side", "28", 28),
        ("side", " 1_0 ", 10),
        ("rate", "1e-3", 0.001),
        ("rate", 1, 1.0),
        ("on", "Yes", True),
        ("on", "off", False),
        ("on", 0, False),
        ("on", "1", True),
        ("count", "3", 3),
        ("count", None, None),
        ("channels", "3", 3),
        ("seeds", ["1", 2], [1, 2]),
        ("times", {"a": "0.5"}, {"a": 0.5}),
        ("anything", {"a": [None, "7"]}, {"a": [None, "7"]}),
    ],
)
def test_text_is_read_as_what_its_field_holds(key, given, read):
    data = {key: given}
    before = copy.deepcopy(data)
    value = getattr(structured(Limits, data, "a"), key)
    assert (value, type(value)) == (read, type(read))
    assert data == before


@pytest.mark.parametrize("name", [7, 1.5])
def test_numbers_are_read_as_text(name):
    assert structured(Outer, {"name": name}, "a").name == str(name)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"nam": 1}, "a.b.nam is no known key; allowed: name, inner, many, maybe"),
        ({"inner": {"siz": 1}}, "a.b.inner.siz is no known key; allowed: size, share"),
        ({"inner": {}}, "a.b.inner.size is missing; it has no default"),
        ({"inner": {"size": "???"}}, "a.b.inner.size is not set; it has no default"),
        ({"inner": {"size": "x"}}, "a.b.inner.size is 'x'; expected a whole number"),
        ({"inner": {"size": "7.0"}}, "a.b.inner.size is '7.0'; expected a whole number"),
        ({"inner": {"size": 7.0}}, "a.b.inner.size is 7.0; expected a whole number"),
        ({"inner": {"size": True}}, "a.b.inner.size is true; expected a whole number"),
        ({"inner": {"size": None}}, "a.b.inner.size is null; expected a whole number"),
        ({"inner": {"size": 10**30}}, "a.b.inner.size is a number of 100 bits; expected at most 63"),
        ({"inner": {"size": "9" * 30}}, "a.b.inner.size is a number of 100 bits; expected at most 63"),
        ({"inner": {"size": 1, "share": float("inf")}}, "a.b.inner.share is inf; expected a finite number"),
        ({"inner": {"size": 1, "share": "nan"}}, "a.b.inner.share is nan; expected a finite number"),
        ({"inner": {"size": 1, "share": "1e400"}}, "a.b.inner.share is inf; expected a finite number"),
        ({"inner": {"size": 1, "share": False}}, "a.b.inner.share is false; expected a number"),
        ({"inner": 3}, "a.b.inner is 3; expected a mapping with the keys size, share"),
        ({"many": {"size": 1}}, "a.b.many is {'size': 1}; expected a list of mappings with the keys size, share"),
        ({"many": [{"size": 1}, {}]}, "a.b.many[1].size is missing; it has no default"),
        ({"many": [None]}, "a.b.many[0] is null; expected a mapping with the keys size, share"),
        ({"maybe": "x"}, "a.b.maybe is 'x'; expected a whole number, or null"),
        ({"name": None}, "a.b.name is null; expected text"),
        ({"name": True}, "a.b.name is true; expected text"),
        ({"name": ["x"]}, "a.b.name is ['x']; expected text"),
        ({"name": "${oc.env:HOME}"}, "a.b.name is '${oc.env:HOME}'; expected a value without references, which 'dep"),
        ({"name": "a\nb"}, r"a.b.name is 'a\nb'; expected up to 4096 characters, no control ones"),
        ({"a\nb": 1}, r"a.b has the key 'a\nb'; expected a word"),
        ({1: 1}, "a.b has the key 1; expected a word"),
        ({"name": b"x"}, "a.b.name is a bytes; expected text, a number, true, false, null or a list"),
        ([], "a.b is []; expected a mapping with the keys name, inner, many, maybe"),
    ],
)
def test_errors_are_one_line_with_the_full_key(data, message):
    with pytest.raises(UserError) as caught:
        structured(Outer, data, "a.b")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("side", 7, "side is 7; expected 8 to 1,024"),
        ("side", "1025", "side is 1025; expected 8 to 1,024"),
        ("side", "x", "side is 'x'; expected a whole number, 8 to 1,024"),
        ("side", 8.5, "side is 8.5; expected a whole number, 8 to 1,024"),
        ("size", 8, "size is no known key; it is called side now"),
        ("rate", 0, "rate is 0; expected above 0 up to 1,000,000"),
        ("share", 1, "share is 1; expected 0 up to below 1"),
        ("holdout", 0.5, "holdout is 0.5; expected above 0, below 0.5"),
        ("count", 0, "count is 0; expected 1 or more, or null"),
        ("count", 10, "count is 10; expected at most most, 9"),
        ("most", 10, "most is 10; expected 9 or less"),
        ("mode", "slo", "mode is 'slo'; allowed: fast, slow"),
        ("mode", 1, "mode is 1; allowed: fast, slow"),
        ("channels", 2, "channels is 2; allowed: 1, 3"),
        ("channels", True, "channels is true; expected a whole number"),
        ("pair", 3, "pair is 3; expected an even number"),
        ("seeds", [], "seeds is []; expected a non-empty list of whole numbers"),
        ("seeds", [0, -1], "seeds[1] is -1; expected 0 or more"),
        ("seeds", [1, 1], "seeds is [1, 1]; expected different values"),
        ("times", {"a": 0, "b": -0.5}, "times.b is -0.5; expected 0 or more"),
        ("anything", 3, "anything is 3; expected a mapping"),
        ("on", 2, "on is 2; expected true or false"),
        ("on", "y", "on is 'y'; expected true or false"),
    ],
)
def test_limits_are_named(key, value, message):
    with pytest.raises(UserError) as caught:
        structured(Limits, {key: value}, "a")
    assert str(caught.value) == f"a.{message}"


def test_nesting_has_an_end():
    data: Any = 0
    for _ in range(30):
        data = [data]
    with pytest.raises(UserError, match=r"is nested too deeply; expected at most 20 levels$"):
        structured(Limits, {"anything": {"a": data}}, "a")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Limits(side=3), "Limits.side is 3; expected 8 to 1,024"),
        (lambda: Limits(3), "Limits.side is 3; expected 8 to 1,024"),
        (lambda: Limits(side="9"), "Limits.side is '9'; expected a whole number, 8 to 1,024"),
        (lambda: Limits(rate=float("nan")), "Limits.rate is nan; expected above 0 up to 1,000,000"),
        (lambda: Limits(breadth=3), "Limits.breadth is no known key; allowed: side, rate"),
        (lambda: Limits(count=10), "Limits.count is 10; expected at most most, 9"),
        (lambda: dataclasses.replace(Limits(), pair=3), "Limits.pair is 3; expected an even number"),
        (lambda: Outer(inner=Inner("x")), "Inner.size is 'x'; expected a whole number"),
        (lambda: Outer(inner=3), "Outer.inner is 3; expected a mapping with the keys size, share"),
        (lambda: Inner(), "Inner.size is missing; it has no default"),
        (lambda: Inner(1, 0.5, 3), "Inner[2] is no known key; allowed: size, share"),
    ],
)
def test_python_is_checked_as_files_are(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_objects_are_plain_frozen_dataclasses():
    value = Outer(many=[Inner(2)])
    assert (
        [field.name for field in dataclasses.fields(value)] == list(vars(value)) == ["name", "inner", "many", "maybe"]
    )
    assert dataclasses.asdict(value)["many"] == [{"size": 2, "share": 0.5}]
    assert dataclasses.replace(value, name="y") == Outer("y", many=[Inner(2)])
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.name = "z"


def test_new_names_are_found():
    assert new_name(Limits, "size") == "side"
    assert new_name(Limits, "sides") is None


def test_the_start_of_the_program_imports_no_schema():
    code = "import sys; import dεps.cli.main; assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
