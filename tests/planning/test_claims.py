from dεps.planning.claims import training_cost


def test_the_published_lengths_cost_what_deps_plan_says():
    """On ImageNet-1k; 950 P MACs of DεpS are those that the preset's head states."""
    found = training_cost("imagenet1k")
    assert round(found["deps"] / 1e15, -1) == 950
    assert 2.0 < found["ofa"] / found["deps"] < 2.2
    assert 0.5 < found["compofa"] / found["ofa"] < 0.6
