"""Wrong values anywhere in params are refused in one line that names the key; what is accepted can be computed with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, asdict, fields, is_dataclass
from datetime import date
from importlib import import_module
from random import Random
from typing import Any, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dεps.core.errors import UserError
from dεps.core.params import read_params
from dεps.core.schema import structured
from dεps.data.config import DatasetConfig, SplitFolders
from dεps.deploy.export.card import ModelCard
from dεps.evaluation.accuracy import PopulationConfig
from dεps.methods import registry
from dεps.planning.check import Experiment, Selection, check_params, compose_params
from dεps.search.latency.table import LatencyTable
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch, SearchSpace, families, family_module
from dεps.training.config import FullModelConfig, TrainConfig
from dεps.tuning.config import Range, TuningConfig
from dεps.tuning.draw import given as given_parameters
from dεps.workspace.resume import CheckpointConfig
from dεps.workspace.stage import Context
from tests.conftest import ROOT, quick_params
from tests.tools.refusals import assert_one_line, refusal

#: by a section's key
SCHEMAS = {key: kind for key, kind in get_type_hints(Experiment).items() if is_dataclass(kind)}
#: keys and positions from the root to a value
Place = tuple[str | int, ...]
REMOVED = object()


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every key and list position of the tree, its inner nodes too."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*place, key)
        yield from places(inner, (*place, key))


def at(params: Any, place: Place) -> Any:
    for key in place:
        params = params[key]
    return params


def changed(place: Place, value: Any) -> dict[str, Any]:
    """The default params with another value there, or without it."""
    params = quick_params()
    if value is REMOVED:
        del at(params, place[:-1])[place[-1]]
    else:
        at(params, place[:-1])[place[-1]] = value
    return params


DEFAULT = quick_params()
PLACES = sorted(places(DEFAULT), key=str)
MAPPINGS = [(), *(place for place in PLACES if isinstance(at(DEFAULT, place), dict))]
LONG = "long" * 50_000
#: for every type some that are none, and at the ends of each what no computation survives
NUMBERS = [-1, 0, 1, 2, 3, -(10**9), 10**6, 10**12, 2**63, 10**400, 1 << 20_000, True, False]
FRACTIONS = [-0.5, 0.3333333333, 1.5, 1e-320, 1e-30, 1e30, 1e308, -1e308, float("nan"), float("inf"), -float("inf")]
TEXTS = ["", " ", "0", "-1", "nan", "inf", "1e999", "none", "null", "???", "${train}", "${oc.env:HOME}", "{a", LONG]
ODD_TEXTS = [
    "a\nb",
    "\x1b[31mred\x1b[0m",
    "\x00",
    "\ud800",
    "a\u2028b",
    "\u202eabc",
    "ε",
    "💥",
    "../../up",
    "/abs",
    "a/b",
]
JUNK = [
    None,
    [],
    {},
    [[]],
    [{}],
    {"": 0},
    {"a": {"b": [None]}},
    {1: 2},
    {None: 3},
    {"a\nb": 1},
    [None],
    [1, "a"],
    [0, 0],
]
FOREIGN = [date(2024, 1, 1), b"bytes", {1, 2}, (1, 2), object]
DEEP = {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]]]]]}
VALUES = [*NUMBERS, *FRACTIONS, *TEXTS, *ODD_TEXTS, *JUNK, *FOREIGN, DEEP, REMOVED]
KEYS = ["unknown", "", "a\nb", "\x1b[31m", "\ud800", "../up", "ε", LONG, 1, None, True, 1.5, "???", "${a}"]


def is_about(place: Place, message: str) -> bool:
    """Whether a message names the key, what it is in, or, where the value was taken away, what is missing."""
    names = [part for part in place if isinstance(part, str)]
    return any(name in message for name in names[-2:])


def outcome(params: dict[str, Any], place: Place) -> bool:
    """Whether the params are refused, as they should be; accepted ones are computed with."""
    try:
        check_params(params)
    except UserError as error:
        assert_one_line(str(error))
        assert is_about(place, str(error)), f"{place}: {error}"
        return True
    compute(params)
    return False


def compute(params: dict[str, Any]) -> None:
    """What is cheap to compute from params, as the stages do it."""
    for name in params["names"]:
        own = params["experiments"][name]
        train = structured(TrainConfig, own["train"], "train")
        dataset = structured(DatasetConfig, own["dataset"], "dataset")
        space = structured(SearchSpace, own["space"], "space")
        use_space(space, dataset.channels)
        assert structured(FullModelConfig, own["full_model"], "full_model").epochs(train.epochs)
        tuning = structured(TuningConfig, own["tuning"], "tuning")
        for point in tuning.all_points().values():
            assert given_parameters(tuning, point) is not None
        for method in params["methods"]:
            built = registry.build(own["methods"][method], method, train.setup_for(space, 7 * train.batch_size))
            use_method(built)


def use_space(space: SearchSpace, channels: int) -> None:
    archs = [space.largest(), space.smallest(), space.sample(Random(0)), *space.pareto_archs().values()]
    for arch in archs:
        assert Arch.parse(str(arch)) == arch
        assert space.from_genome(space.to_genome(arch)) == arch
        assert arch_cost(space, arch, 10, channels).macs > 0
    assert space.size() > 1


def use_method(method: Any) -> None:
    for phase in method.phases():
        for step in (phase.start, phase.end - 1):
            assert 0 <= phase.schedule(step) < float("inf")
            terms = method.terms(step, Random(0))
            assert terms
            assert all(0 <= term.weight < 1e9 for term in terms)


def count_refused(cases: st.SearchMethod, examples: int, case: Callable[[Any], bool]) -> tuple[int, int]:
    """How many generated cases there were, and how many of them were refused."""
    results = []

    @settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=HealthCheck)
    @given(cases)
    def run(drawn: Any) -> None:
        results.append(case(drawn))

    run()
    return len(results), sum(results)


def test_wrong_values_are_refused_in_one_line():
    cases = st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES))
    total, refused = count_refused(cases, 345, lambda case: outcome(changed(*case), case[0]))
    print(f"{refused} of {total} wrong values refused")
    assert refused >= 300


SPACES = [family_module(family, "geometry").Space for family in families()]
OPTIONS = [import_module(f"dεps.methods.{name}").Options for name in registry.names()]
OWN = [kind for kind in SCHEMAS.values() if kind is not SearchSpace] + [*SPACES, *OPTIONS]
OWN += [CheckpointConfig, LatencyTable, ModelCard, PopulationConfig, Range, Selection, SplitFolders, TuningConfig]


@pytest.mark.parametrize("schema", OWN, ids=lambda schema: f"{schema.__module__}.{schema.__name__}")
def test_every_schema_allows_its_defaults_and_says_its_keys(schema):
    message = refusal(lambda: structured(schema, {"unheard_of": 1}, "a"), "a.unheard_of")
    assert message == f"a.unheard_of is no known key; allowed: {', '.join(field.name for field in fields(schema))}"
    if not any(field.default is field.default_factory is MISSING for field in fields(schema)):
        made = schema()
        assert structured(schema, asdict(made), "a") == made


def test_unknown_keys_are_refused_in_one_line():
    def case(drawn: tuple[Place, Any]) -> bool:
        place = (*drawn[0], drawn[1])
        return outcome(changed(place, 1), place if str(drawn[1]) in "unknown../up" else drawn[0])

    total, refused = count_refused(st.tuples(st.sampled_from(MAPPINGS), st.sampled_from(KEYS)), 60, case)
    print(f"{refused} of {total} unknown keys refused")
    assert refused == total


def test_a_stage_reads_its_own_sections_as_strictly():
    own = [place for place in PLACES if len(place) > 3 and place[2] in SCHEMAS]

    def case(drawn: tuple[Place, Any]) -> bool:
        place, value = drawn
        context = Context("any", "quick", params=changed(place, value))
        try:
            context.section(SCHEMAS[place[2]], place[2])
        except UserError as error:
            assert_one_line(str(error))
            assert is_about(place, str(error)), f"{place}: {error}"
            return True
        return False

    total, refused = count_refused(st.tuples(st.sampled_from(own), st.sampled_from(VALUES)), 100, case)
    print(f"{refused} of {total} wrong values refused by a stage")
    assert refused >= 75


#: as users mistype them; what is right stays in, for what it is put together with
OVERRIDE_VALUES = [
    "",
    "[",
    "[1,",
    "{a: 1",
    "'",
    "$",
    "${nope}",
    "${oc.env:HOME}",
    "${seeds",
    "nan",
    "1e400",
    "-1",
    "null",
]
OVERRIDE_VALUES += [
    "???",
    "a\nb",
    "\x1b[31m",
    "\ud800",
    "9" * 30,
    "9" * 5000,
    "[[]]",
    "{}",
    "a=b",
    "\\",
    "x" * 9000,
    "💥",
]


def test_wrong_overrides_are_refused_in_one_line(tmp_path):
    signs = st.sampled_from(["", "", "", "", "+", "++", "~"])
    keys = st.sampled_from([".".join(map(str, place)) for place in PLACES] + ["experiment", "", "a b", "..", "ε"])

    def case(override: str) -> bool:
        try:
            compose_params([override], ROOT / "params", tmp_path / "params.yaml")
        except UserError as error:
            assert_one_line(str(error))
            assert list(tmp_path.iterdir()) == []
            return True
        compute(read_params(tmp_path / "params.yaml"))
        (tmp_path / "params.yaml").unlink()
        return False

    cases = st.builds(lambda *parts: "".join(parts), signs, keys, st.just("="), st.sampled_from(OVERRIDE_VALUES))
    total, refused = count_refused(cases, 34, case)
    print(f"{refused} of {total} wrong overrides refused")
    assert refused >= 30


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\x00\xff\xfe",
        b"\xff\xfea\x00",
        b"",
        b"just text",
        b"- 1\n- 2\n",
        b"a: [1\n",
        b"a: &x [*x]\n",
        b"a: &a [1]\nb: &b [*a,*a]\nc: [*b,*b]\n",
        b"a: &a {x: 1}\nb: {<<: [*a, *a]}\n",
        b"a: !!python/object/apply:os.system ['true']\n",
        b"a: 2001-99-99\n",
        b"a: 2001-01-01\n",
        b"a: .nan\n",
        b"1: 2\n",
        b'a: "\\x1b[31m"\n',
        b"a: 0x" + b"f" * 6000 + b"\n",
        b"a: " + b"9" * 6000 + b"\n",
        b"a: " + b"[" * 5000 + b"]" * 5000 + b"\n",
        b"a: " + b"{b: " * 60 + b"1" + b"}" * 60 + b"\n",
    ],
)
def test_files_that_are_no_params_are_refused(tmp_path, content):
    path = tmp_path / "best.yaml"
    path.write_bytes(content)
    refusal(lambda: read_params(path), str(path))
    refusal(lambda: compose_params([f"+from={path}"], ROOT / "params", tmp_path / "params.yaml"), str(path))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "override",
    [
        "++experiments.quick.space.stem=" + "9" * 5000,
        "+=9",
        "~experiments.quick.tuning.points.1=null",
        "~experiments.quick.methods.deps.shrink_start" + "9" * 300,
    ],
)
def test_overrides_that_hydra_lets_python_stumble_over(tmp_path, override):
    refusal(lambda: compose_params([override], ROOT / "params", tmp_path / "params.yaml"), override[:40])
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_does_not_divide_its_range():
    params = changed(("experiments", "quick", "tuning", "search", "epsilon", "step"), 0.3333333333)
    refusal(lambda: check_params(params), "tuning.search.epsilon.step")
