from dεps.core.hashing import digest
from dεps.tuning.identity import kernels, study_digest
from tests.conftest import quick_params


def test_other_kernels_are_another_study_and_the_usual_ones_say_nothing():
    own = quick_params()["experiments"]["quick"]
    usual = study_digest("quick", own, "data")
    sections = [own["space"], {**own["train"]}, own["full_model"], own["evaluate"]]
    for key in ("init", "init_sha256", "ema"):
        sections[1].pop(key)
    assert usual == digest(["quick", "tune", own["tuning"], sections, "data"])
    assert study_digest("quick", own | kernels({"portable": False}), "data") == usual
    assert study_digest("quick", own | kernels({}), "data") == usual
    assert kernels({"portable": True, "seeds": [0]}) == {"portable": True}
    assert study_digest("quick", own | kernels({"portable": True}), "data") != usual
