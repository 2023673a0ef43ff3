import math

import numpy as np
import pytest
import torch

from dεps.methods.losses import (
    AdaptiveAlpha,
    CrossEntropy,
    Distillation,
    InPlaceDistillation,
    Targets,
    soft_cross_entropy,
)


def test_label_smoothing_by_hand():
    logits, labels = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([1])  # probabilities 1/4 and 3/4
    expected = -(0.95 * math.log(3 / 4) + 0.05 * math.log(1 / 4))
    assert CrossEntropy(0.1)(logits, Targets(labels)).item() == pytest.approx(expected, rel=1e-6)


def test_distillation_by_hand():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3.0)]])
    targets = Targets(torch.tensor([0]), full=teacher)
    assert InPlaceDistillation()(student, targets).item() == pytest.approx(math.log(2), rel=1e-6)


def test_the_gradient_of_distillation_is_the_difference_of_probabilities():
    student = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    teacher = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    soft_cross_entropy(student, teacher).backward()
    torch.testing.assert_close(student.grad, (student.softmax(1) - teacher.softmax(1)).detach() / 3)


def test_ofas_loss_adds_the_teacher_to_the_labels():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3.0)]])
    targets = Targets(torch.tensor([0]), teacher=teacher)
    assert Distillation(0.0, ratio=2.0)(student, targets).item() == pytest.approx(3 * math.log(2), rel=1e-6)


def test_temperature_scales_both_sides_and_the_loss():
    student, teacher = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, -1.0]])
    expected = 4 * soft_cross_entropy(student / 2, teacher / 2)
    torch.testing.assert_close(soft_cross_entropy(student, teacher, 2.0), expected)


def distance(divergence: str, q: list[float], p: list[float], **options) -> tuple[float, np.ndarray]:
    """Value, and gradient by the subnet's logits, of one image whose subnet says `q` and whose full model says `p`."""
    logits = torch.tensor([q], dtype=torch.float64).log().requires_grad_()
    teacher = torch.tensor([p], dtype=torch.float64).log()
    loss = InPlaceDistillation(options.pop("temperature", 1.0), divergence, **options)
    value = loss(logits, Targets(torch.tensor([0]), full=teacher))
    value.backward()
    return value.item(), logits.grad[0].numpy()


def kl(a, b) -> float:
    return float(np.sum(np.array(a) * np.log(np.array(a) / np.array(b))))


def test_divergences_by_hand():
    q, p = [0.5, 0.5], [0.25, 0.75]
    forward, reverse = 0.75 * math.log(3) - math.log(2), math.log(2) - 0.5 * math.log(3)  # KL(p‖q), KL(q‖p)
    middle = [0.375, 0.625]
    assert distance("forward", q, p)[0] == pytest.approx(math.log(2))
    assert distance("reverse", q, p)[0] == pytest.approx(reverse)
    assert distance("symmetric", q, p)[0] == pytest.approx(0.5 * (forward + reverse)) == pytest.approx(math.log(3) / 8)
    assert distance("js", q, p)[0] == pytest.approx(0.5 * (kl(p, middle) + kl(q, middle)))
    # D_1 = KL(p‖q) = 0.1308; D_-1 = (Σ q²/p - 1) / 2 = (1 + 1/3 - 1) / 2 is larger
    assert distance("alpha", q, p)[0] == pytest.approx(1 / 6)


@pytest.mark.parametrize("divergence", ["reverse", "symmetric", "js"])
def test_gradients_of_divergences_are_those_of_their_values(divergence):
    q, p = np.array([0.2, 0.5, 0.3]), [0.6, 0.1, 0.3]
    _, gradient = distance(divergence, q.tolist(), p)
    for place in range(3):
        values = []
        for sign in (1, -1):
            moved = np.exp(np.log(q) + sign * 1e-6 * np.eye(3)[place])
            values.append(distance(divergence, (moved / moved.sum()).tolist(), p)[0])
        assert gradient[place] == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-7)


def test_divergences_that_are_no_cross_entropy_are_zero_where_the_subnet_agrees():
    for divergence in ("reverse", "symmetric", "js", "alpha"):
        value, gradient = distance(divergence, [0.2, 0.5, 0.3], [0.2, 0.5, 0.3])
        assert (value, *gradient) == pytest.approx((0, 0, 0, 0), abs=1e-12)
    assert distance("js", [1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9])[0] == pytest.approx(math.log(2), rel=1e-6)


def by_formula(q, p, alpha: float, clip: float) -> tuple[float, np.ndarray]:
    """D_α and its gradient by the logits of q: AlphaNet's formulas with w = min((p/q)^α, β), or w = p/q at α = 1."""
    q, p = np.array(q), np.array(p)
    if alpha == 1:
        return kl(p, q), q - p
    w = np.minimum((p / q) ** alpha, clip)
    # ∂ log q_i / ∂ z_j = [i = j] - q_j
    return (q @ w - 1) / (alpha * (alpha - 1)), -(q * w - q * (q @ w)) / alpha


#: subnet, full model, and whether D_α₋ is the larger of the two by hand
IMAGES = [
    # over-confident: a class with q = 0.4 has p = 0.01, q/p = 40 is clipped to 5; D_-1 = 0.73, D_1 = 0.27
    ([0.4, 0.3, 0.3], [0.01, 0.495, 0.495], True),
    # under-confident: a class with p = 0.9 has q = 0.01; D_-1 = 1.94 is clipped from 4.48, D_1 = 3.81
    ([0.01, 0.495, 0.495], [0.9, 0.05, 0.05], False),
    # nothing is clipped: D_-1 = 0.1667, D_1 = 0.1308
    ([0.5, 0.5], [0.25, 0.75], True),
]


@pytest.mark.parametrize(("q", "p", "low"), IMAGES)
@pytest.mark.parametrize("alphas", [(-1.0, 1.0), (-2.0, 0.5)])
def test_the_adaptive_alpha_divergence_by_its_formulas(q, p, low, alphas):
    results = [by_formula(q, p, alpha, 5.0) for alpha in alphas]
    if alphas == (-1.0, 1.0):
        assert (results[0][0] > results[1][0]) == low
    expected, gradient = max(results, key=lambda result: result[0])
    value, measured = distance("alpha", q, p, alpha=AdaptiveAlpha(*alphas, 5.0))
    assert value == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(measured, gradient, rtol=1e-9)


def test_clipped_importance_still_has_a_gradient_which_the_clipped_value_has_not():
    q, p, _ = IMAGES[0]
    _, gradient = distance("alpha", q, p)
    # w = min(q/p, 5) = 5, 20/33, 20/33; Σ q w = 2.3636; the gradient is q (w - Σ q w), α being -1
    w = np.array([5, 0.3 / 0.495, 0.3 / 0.495])
    np.testing.assert_allclose(gradient, [1.0545455, -0.5272727, -0.5272727], rtol=1e-6)
    # the derivative of Σ q min(q/p, 5) / 2 takes the clipped 5 for a constant
    q = np.array(q)
    slope = np.array([5, 2 * w[1], 2 * w[2]]) / 2
    assert q[0] * (slope[0] - q @ slope) == pytest.approx(0.4545455, rel=1e-6)
    # without a limit: q/p = 40
    free = distance("alpha", q.tolist(), p, alpha=AdaptiveAlpha(clip=1e9))[1]
    np.testing.assert_allclose(free, by_formula(q, p, -1, 1e9)[1], rtol=1e-9)
    assert free[0] == pytest.approx(9.4545455, rel=1e-6)


def test_each_image_has_its_own_alpha():
    q, p, _ = (torch.tensor([image[part] for image in IMAGES[:2]]) for part in range(3))
    loss = InPlaceDistillation(1.0, "alpha")(q.log(), Targets(torch.tensor([0, 0]), full=p.log()))
    values = [by_formula(IMAGES[0][0], IMAGES[0][1], -1, 5)[0], by_formula(IMAGES[1][0], IMAGES[1][1], 1, 5)[0]]
    assert loss.item() == pytest.approx(sum(values) / 2, rel=1e-5)


@pytest.mark.parametrize("divergence", ["forward", "reverse", "symmetric", "js", "alpha"])
def test_divergences_have_a_temperature_and_survive_extreme_logits(divergence):
    q, p = [0.2, 0.5, 0.3], [0.6, 0.1, 0.3]
    halved = [np.sqrt(np.array(one)) / np.sqrt(np.array(one)).sum() for one in (q, p)]
    expected = 4 * distance(divergence, *(one.tolist() for one in halved))[0]
    assert distance(divergence, q, p, temperature=2.0)[0] == pytest.approx(expected)
    logits = torch.tensor([[200.0, -200.0, 0.0]]).requires_grad_()
    value = InPlaceDistillation(1.0, divergence)(logits, Targets(torch.tensor([0]), full=-logits.detach()))
    value.backward()
    assert math.isfinite(value.item())
    assert logits.grad.isfinite().all()


def test_a_teacher_that_is_not_there_is_refused():
    for divergence in ("forward", "js"):
        with pytest.raises(ValueError, match="the teacher's logits are not there"):
            InPlaceDistillation(1.0, divergence)(torch.zeros(1, 2), Targets(torch.tensor([0])))
