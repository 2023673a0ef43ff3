import math

import pytest
import torch

from dεps.methods.losses import CrossEntropy, Distillation, InPlaceDistillation, Targets, soft_cross_entropy


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
