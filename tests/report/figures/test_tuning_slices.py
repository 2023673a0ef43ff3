from dεps.report.figures.tuning_slices import draw


def test_a_trial_is_in_the_panels_of_the_options_that_it_has(study):
    trials = study.trials
    counts = {axes.get_xlabel(): len(axes.collections[0].get_offsets()) for axes in draw(study).axes[:5]}
    shown = {"ramp (epochs)": trials.ramp_shape != "constant", "temperature": trials.distill}
    assert 0 < shown["ramp (epochs)"].sum() < 10
    assert shown["temperature"].sum() == 9
    assert {name: counts[name] for name in shown} == {name: kept.sum() for name, kept in shown.items()}
    assert counts["ε"] == counts["shrink start"] == counts["ramp shape"] == 10
