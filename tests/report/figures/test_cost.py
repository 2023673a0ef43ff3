from dεps.report.figures.cost import draw


def test_costs_are_compared_with_deps(results):
    (axes,) = draw(results).axes
    assert [text.get_text().strip() for text in axes.texts] == ["0.400 (1.00 ×)"] * 2
    results.params["dataset"]["name"], results.params["space"]["name"] = "imagenet1k", "mbv3_224"
    (axes,) = draw(results).axes
    assert axes.texts[0].get_text().strip() == "0.400 (1.00 ×; published GPU-hours 1.00 ×)"
