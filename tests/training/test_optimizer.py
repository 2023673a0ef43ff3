import torch

from dεps.nets.supernet import Supernet
from dεps.training.config import TrainConfig
from dεps.training.optimizer import momentum_of, set_rate, sgd


def test_weights_decay_and_bn_and_biases_do_not(micro):
    net = Supernet(micro, 4, 1, kernel_transform=True)
    optimizer = sgd(net, TrainConfig(learning_rate=0.5, momentum=0.8, weight_decay=0.01))
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    weights, biases, transforms = ([names[id(one)] for one in group["params"]] for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0, 0.01]
    assert all(group["nesterov"] and group["momentum"] == 0.8 for group in optimizer.param_groups)
    assert len(weights) + len(biases) + len(transforms) == len(names)
    assert all(".transforms." in name for name in transforms)
    assert transforms
    shapes = {name: parameter.dim() for name, parameter in net.named_parameters()}
    assert all(shapes[name] > 1 for name in weights)
    assert all(shapes[name] == 1 for name in biases)
    set_rate(optimizer, 0.125, transforms_decay=0.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125] * 3
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0, 0.0]


def test_gradients_and_momentum_are_there_from_the_start(micro):
    net = Supernet(micro, 4, 1)
    optimizer = sgd(net, TrainConfig(learning_rate=0.5, momentum=0.5, weight_decay=0.25))
    weight = net.classifier.weight
    before = weight.detach().clone()
    for parameter in net.parameters():
        assert not parameter.grad.any()
        assert momentum_of(optimizer, parameter).shape == parameter.shape
    optimizer.step()  # a weight that no subnet has used: w - η (1 + m) λ w
    torch.testing.assert_close(weight.detach(), before * (1 - 0.5 * 1.5 * 0.25))
    torch.testing.assert_close(momentum_of(optimizer, weight), 0.25 * before)
