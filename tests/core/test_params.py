import pytest

from dεps.core.errors import UserError
from dεps.core.params import read_params, section, selected


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


@pytest.mark.parametrize("seeds", [["0"], [0.0], [True], [None], 0, None, [], [0, 0], [-1], [2**32], [2**70], ["${x}"]])
def test_seeds_are_taken_as_they_are_or_refused(seeds):
    """Nothing is converted: other readers of the file see what is written."""
    with pytest.raises(UserError, match=r"^seeds"):
        selected({"seeds": seeds}, "seeds")
    assert selected({"seeds": [2**32 - 1, 0]}, "seeds") == [2**32 - 1, 0]
