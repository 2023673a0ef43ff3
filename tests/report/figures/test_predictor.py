from dεps.report.figures.predictor import draw


def test_a_panel_a_method_with_its_tau(results):
    deps, rss = draw(results).axes
    assert deps.get_title(loc="left").endswith("\nτ = 0.50 ± 0.10")
    assert rss.lines[1].get_ydata().tolist() == [70.5, 70.9] * 2
    assert deps.texts[0].get_text() == "MACs 0.25\ntest 0.75\nn = 4"
