import re

import pytest

from tests.tools.locks import CPU_LOCK, LOCK, SYSTEMS, for_cpus, gaps, needed

SMALL = """Jinja2==3.1.6
nvidia-cublas==13.1; sys_platform == "linux"
torch==2.14.1
triton==3.8.0; sys_platform == "linux"
tzdata==2026.6; sys_platform == "win32"
"""


def test_the_lock_for_cpus_leaves_out_what_only_gpus_need_and_takes_torch_s_own_builds_on_linux():
    made = for_cpus(SMALL)
    assert needed(made, "linux") == {"jinja2": "3.1.6", "torch": "2.14.1+cpu"}
    assert needed(made, "macos") == {"jinja2": "3.1.6", "torch": "2.14.1"}
    assert needed(made, "windows") == {"jinja2": "3.1.6", "torch": "2.14.1", "tzdata": "2026.6"}


def test_the_lock_for_cpus_is_made_from_the_lock():
    assert CPU_LOCK.read_text("utf-8") == for_cpus(LOCK.read_text("utf-8"))


@pytest.mark.parametrize("path", [LOCK, CPU_LOCK], ids=lambda path: path.name)
def test_no_lock_names_where_packages_come_from(path):
    assert not re.search(r"://|^-|@ ", path.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("system", ["macos", "windows"])
def test_other_systems_get_the_same_versions_without_cuda(system):
    lock = LOCK.read_text("utf-8")
    here, there = needed(lock, "linux"), needed(lock, system)
    assert {name for name in here.keys() - there.keys() if not re.match(r"nvidia-|cuda-|triton$", name)} <= {"gunicorn"}
    assert {name: there[name] for name in here if name in there} == {name: here[name] for name in here if name in there}


def test_what_a_system_needs_and_the_lock_lacks_is_named():
    requires = {
        "torch": ["jinja2>=3", "triton~=3.8; platform_system == 'Linux'", "fancy; extra == 'more'"],
        "jinja2": ["markupsafe; sys_platform == 'darwin'"],
        "triton": [],
    }
    found = {system: list(gaps(SMALL, ["torch>=2.14"], requires.get, system)) for system in SYSTEMS}
    assert found["linux"] == found["windows"] == []
    assert found["macos"] == ["markupsafe is not pinned for macos, where jinja2 needs it; add it to requirements.lock"]
    (extra,) = gaps(SMALL, ["torch[more]"], requires.get, "linux")
    assert extra.startswith("fancy is not pinned for linux, where torch needs it")
    (old,) = gaps(SMALL, ["torch>=3"], requires.get, "linux")
    assert old == "torch is pinned to 2.14.1 for linux, where the project needs >=3"
