from dεps.report.figures.tuning_slices import draw


def test_a_trial_is_in_the_panels_of_the_options_that_it_has(study):
    trials = study.trials
    counts = {axes.get_xlabel(): len(axes.collections[0].get_offsets()) for axes in draw(study).axes[:5]}
    constant, ramps = trials.ramp_shape == "constant", trials.ramp_epochs > 0
    shown = {"ramp (epochs)": ~constant, "ε": constant | ramps, "ramp shape": constant | ramps}
    shown["temperature"] = trials.distill
    assert 0 < shown["ramp (epochs)"].sum() < 10
    assert shown["ε"].sum() == shown["temperature"].sum() == 9  # one trial has no ramp, one no teacher
    assert {name: counts[name] for name in shown} == {name: kept.sum() for name, kept in shown.items()}
    assert counts["shrink start"] == 10
