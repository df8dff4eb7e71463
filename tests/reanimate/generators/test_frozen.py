"""What is kept of frozen weights is never out of date."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from conftest import tiny_generator
from torch import nn

from reanimate.generators.frozen import Frozen
from reanimate.generators.stylegan2 import StyleGAN2


def counting() -> tuple[list[int], Callable[[nn.Parameter], float]]:
    calls: list[int] = []
    frozen: Frozen[float] = Frozen()

    def value(weight: nn.Parameter) -> float:
        def compute() -> float:
            calls.append(1)
            return float(weight.detach().sum())

        return frozen.of([weight], compute)

    return calls, value


def test_frozen_weights_are_looked_at_once() -> None:
    weight, (calls, value) = nn.Parameter(torch.ones(3), requires_grad=False), counting()
    assert [value(weight) for _ in range(3)] == [3.0] * 3
    assert len(calls) == 1


def test_trained_weights_are_looked_at_every_time() -> None:
    weight, (calls, value) = nn.Parameter(torch.ones(3)), counting()
    value(weight), value(weight)
    assert len(calls) == 2


def test_changed_exchanged_and_converted_weights_are_noticed() -> None:
    weight, (_, value) = nn.Parameter(torch.ones(3), requires_grad=False), counting()
    assert value(weight) == 3
    weight.mul_(2)
    assert value(weight) == 6
    weight.data = torch.full([3], 5.0)
    assert value(weight) == 15
    assert value(nn.Parameter(torch.zeros(3), requires_grad=False)) == 0


def shift(generator: StyleGAN2) -> StyleGAN2:
    for layer in generator.synthesis_network.parameters():
        with torch.no_grad():
            layer.add_(0.1)
    return generator


CHANGES: dict[str, Callable[[StyleGAN2], StyleGAN2]] = {
    "in place": shift,
    "a copy in place": lambda generator: shift(copy.deepcopy(generator)),
    "other weights loaded": lambda generator: (generator.load_state_dict(tiny_generator(1).state_dict()), generator)[1],
    "other weights assigned": lambda generator: (
        generator.load_state_dict(tiny_generator(1).state_dict(), assign=True),
        generator,
    )[1],
    "double precision": lambda generator: generator.double(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_generator_draws_what_a_new_one_of_its_weights_draws(change: str) -> None:
    generator, ws = tiny_generator(), torch.randn(2, 6, 8)
    before = generator.synthesis(ws)
    changed = CHANGES[change](generator)
    now = changed.synthesis(ws.to(changed.w_avg.dtype))
    new = tiny_generator().to(changed.w_avg.dtype)
    new.load_state_dict(changed.state_dict())
    assert torch.equal(now, new.synthesis(ws.to(changed.w_avg.dtype)))
    assert not torch.equal(now, before)


def test_gradients_reach_weights_that_were_frozen_before() -> None:
    generator, ws = tiny_generator(), torch.randn(2, 6, 8)
    generator.synthesis(ws)
    generator.requires_grad_(True)
    generator.synthesis(ws).square().sum().backward()
    layers = [layer for name, layer in generator.synthesis_network.named_parameters() if "conv" in name]
    assert all(layer.grad is not None and layer.grad.abs().sum() > 0 for layer in layers)


def test_code_can_be_optimised_after_a_look_in_inference_mode() -> None:
    generator, ws = tiny_generator(), torch.randn(1, 6, 8, requires_grad=True)
    with torch.inference_mode():
        generator.synthesis(ws)
    generator.synthesis(ws).sum().backward()
    assert ws.grad is not None
