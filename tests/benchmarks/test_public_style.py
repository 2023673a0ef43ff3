import torch

from benchmarks.public_style import PublicNet, PublicStep
from benchmarks.step import terms_of
from benchmarks.toys import sandwich_trainer


def renamed(name: str) -> str:
    """Our name of a public-style parameter."""
    name = name.replace("parts.", "")
    for theirs, ours in (("se.reduce.", "se.reduce_"), ("se.excite.", "se.expand_"), (".conv.", "."), (".bn.", ".")):
        name = name.replace(theirs, ours)
    return name if name.startswith("classifier") else f"body.{name}"


def test_it_does_the_same_step(monkeypatch):
    trainer, images, labels = sandwich_trainer("mbv3_micro", 8)
    net = PublicNet(trainer.space, trainer.net.classes, trainer.net.channels)
    own = dict(trainer.net.named_parameters())
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(own[renamed(name)])
    trainer.step = trainer.total_steps // 2  # the ramp is over
    terms = [term._replace(dropout=0.0) for term in terms_of(trainer)]
    monkeypatch.setattr(type(trainer.method), "terms", lambda *_: terms)
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    public = PublicStep(net, trainer.phases[-1].schedule(trainer.step), trainer.config.weight_decay)
    public(images.contiguous(), labels, terms)
    trainer._step(images, labels, trainer.phases[-1])
    assert len(own) == len(list(net.parameters()))
    for name, parameter in net.named_parameters():
        ours, theirs = own[renamed(name)].detach() - before[name], parameter.detach() - before[name]
        torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-3)
