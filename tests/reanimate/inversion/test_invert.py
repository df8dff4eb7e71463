from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny_encoder, tiny_generator

from reanimate.errors import ConfigError
from reanimate.generators.stylegan2 import StyleGAN2
from reanimate.images import to_pictures, to_tensor
from reanimate.inversion.clip import ONWARD, ClipInversion
from reanimate.inversion.invert import PRESETS, Inverter, InvertParams, Solution
from reanimate.inversion.losses import MultiScaleLoss
from reanimate.inversion.optimisers import Memory
from reanimate.inversion.spaces import Space, mean, w_rms

PLAIN = InvertParams(
    init="mean", first_steps=40, steps=10, optimiser="adam", lr=0.05, warm_lr=0.02, precision="float32"
)  # in which a loss is the same wherever it is taken


def inverter(generator: StyleGAN2, **changes: object) -> Inverter:
    params = replace(PLAIN, **changes)  # type: ignore[arg-type]
    encoder = tiny_encoder(generator) if params.init == "encoder" else None
    return Inverter(generator, encoder, MultiScaleLoss(params.norm), params)


def target_of(generator: StyleGAN2, count: int = 2, *, per_layer: bool = True) -> torch.Tensor:
    """Pictures that the generator can make; with `per_layer`, only of codes that differ between layers."""
    draw = torch.Generator().manual_seed(5)
    if not per_layer:
        return generator.synthesis(generator.mapping(torch.randn(count, 8, generator=draw)))
    w = generator.mapping(torch.randn(count * generator.num_ws, 8, generator=draw))[:, 0]
    return generator.synthesis(w.view(count, generator.num_ws, 8))


def loss_of(generator: StyleGAN2, ws: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    loss = MultiScaleLoss()
    with torch.no_grad():
        return loss(generator.synthesis(ws), loss.prepare(target))


@pytest.mark.parametrize("space", ["w", "w+"])
@pytest.mark.parametrize("init", ["zeros", "mean", "encoder"])
def test_optimising_lowers_the_loss_of_every_picture(generator: StyleGAN2, space: Space, init: str) -> None:
    target = target_of(generator)
    solver = inverter(generator, space=space, init=init)
    before = inverter(generator, space=space, init=init, first_steps=0).first(target)
    after = solver.first(target)
    assert (after.loss < before.loss).all()
    assert after.ws.shape == (2, 6, 8)
    assert after.variable.shape == {"w": (2, 1, 8), "w+": (2, 6, 8)}[space]


def test_optimising_z_never_ends_above_its_start(generator: StyleGAN2) -> None:
    """Zeros are no direction, and the mapping looks at nothing else: the first step away from them is a leap."""
    target = target_of(generator, 6)
    before = inverter(generator, space="z", first_steps=0).first(target)
    after = inverter(generator, space="z").first(target)
    assert (after.loss <= before.loss).all() and after.loss.sum() < 0.95 * before.loss.sum()
    assert after.variable.shape == (6, 8) and after.ws.shape == (6, 6, 8)


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_loss_that_is_returned_is_that_of_the_codes_that_are(generator: StyleGAN2, space: Space) -> None:
    target = target_of(generator)
    for solution in (inverter(generator, space=space).first(target), inverter(generator, lr=5.0).first(target)):
        assert torch.allclose(solution.loss, loss_of(generator, solution.ws, target), rtol=1e-5)


def test_best_codes_are_kept_even_if_the_steps_overshoot(generator: StyleGAN2) -> None:
    target = target_of(generator)
    start = inverter(generator, first_steps=0).first(target)
    wild = inverter(generator, lr=1000.0, first_steps=5, decay=False).first(target)
    assert (wild.loss <= start.loss).all()


def test_one_code_per_layer_recovers_more_than_one_for_all(generator: StyleGAN2) -> None:
    target = target_of(generator)
    by_space = {space: inverter(generator, space=space, first_steps=100).first(target).loss for space in ("w", "w+")}
    assert (by_space["w+"] < 0.8 * by_space["w"]).all()


def test_picture_of_one_w_is_recovered_in_w(generator: StyleGAN2) -> None:
    target = target_of(generator, per_layer=False)
    start = inverter(generator, space="w", first_steps=0).first(target)
    found = inverter(generator, space="w", first_steps=120, lr=0.1).first(target)
    assert (found.loss < 0.2 * start.loss).all()


def test_pictures_of_a_batch_do_not_influence_each_other(generator: StyleGAN2) -> None:
    target = target_of(generator, 3)
    solver = inverter(generator, init="encoder")
    together = solver.first(target)
    alone = [solver.first(one[None]) for one in target]
    # Adam turns the last bit of a tiny gradient into a step, so that codes agree less closely than pictures
    assert torch.allclose(together.loss, torch.cat([s.loss for s in alone]), rtol=1e-2)
    assert torch.allclose(together.ws, torch.cat([s.ws for s in alone]), atol=0.05 * float(together.ws.abs().max()))


def test_same_input_gives_the_same_codes_to_the_bit(generator: StyleGAN2) -> None:
    target = target_of(generator)
    first, again = (inverter(generator, init="encoder").first(target) for _ in range(2))
    assert torch.equal(first.ws, again.ws) and torch.equal(first.loss, again.loss)


def test_global_random_state_does_not_matter_and_is_left_alone(generator: StyleGAN2) -> None:
    target = target_of(generator)
    torch.manual_seed(1)
    first = inverter(generator).first(target)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(inverter(generator).first(target).ws, first.ws)
    assert torch.equal(torch.get_rng_state(), before)


def test_frozen_model_stays_as_it_is(generator: StyleGAN2) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    inverter(generator).first(target_of(generator))
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_zero_steps_return_the_start(generator: StyleGAN2) -> None:
    target = target_of(generator)
    solver = inverter(generator, first_steps=0, steps=0, init="encoder")
    start = solver.start(target)
    for solution in (solver.first(target), solver.next(target, start)):
        assert torch.equal(solution.variable, start)
        assert solution.passes == 0
        assert torch.allclose(solution.loss, loss_of(generator, start, target))


def test_start_is_what_init_says(generator: StyleGAN2) -> None:
    target = target_of(generator)
    assert not inverter(generator, init="zeros").start(target).any()
    assert torch.equal(inverter(generator, init="mean").start(target), mean(generator, "w+", 2))
    assert torch.equal(inverter(generator, init="encoder").start(target), tiny_encoder(generator)(target))


def test_model_without_an_encoder_starts_from_the_mean(generator: StyleGAN2) -> None:
    solver = Inverter(generator, None, MultiScaleLoss(), replace(PLAIN, init="encoder"))
    assert torch.equal(solver.start(target_of(generator)), mean(generator, "w+", 2))


def test_codes_that_are_given_are_left_as_they_are(generator: StyleGAN2) -> None:
    start = mean(generator, "w+", 2)
    before = start.clone()
    inverter(generator).next(target_of(generator), start)
    assert torch.equal(start, before) and not start.requires_grad


def test_next_frame_begins_where_it_is_told(generator: StyleGAN2) -> None:
    target = target_of(generator)
    solver = inverter(generator, first_steps=100)
    found = solver.first(target)
    again = solver.next(target, found.variable)
    assert (again.loss <= found.loss).all()
    assert again.passes == PLAIN.steps


@pytest.mark.parametrize("carried", [0.5, 1.0])
def test_later_frame_starts_a_share_of_the_way_onward_from_the_offsets_of_the_two_frames_before(
    generator: StyleGAN2, carried: float
) -> None:
    solver = inverter(generator, init="encoder", first_steps=3, steps=3, lanes=1, carried=carried)
    starts: list[torch.Tensor] = []

    class Watched(Inverter):
        def next(self, target: torch.Tensor, start: torch.Tensor, memory: Memory | None = None) -> Solution:
            starts.append(start)
            return super().next(target, start, memory)

    crops = to_pictures(target_of(generator, 5))
    watched = Watched(generator, solver.encoder, solver.loss, solver.params)
    clip = ClipInversion(watched, crops, np.ones(5, bool), np.zeros(5, bool))
    for _ in clip.run():
        pass
    said = solver.start(to_tensor(crops))
    for t in range(1, 5):
        before, shared = clip.solved[t - 1] - said[t - 1], clip.offsets[0]
        step = before - (clip.solved[t - 2] - said[t - 2]) if t > 1 else torch.zeros_like(before)
        expected = said[t] + carried * (before + ONWARD * step) + (1 - carried) * shared
        torch.testing.assert_close(starts[t][0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(starts[0][0], said[0] + clip.offsets[0])


def test_a_clip_of_one_frame_is_solved_as_a_still(generator: StyleGAN2) -> None:
    solver = inverter(generator, init="encoder", first_steps=5, steps=3)
    crops = to_pictures(target_of(generator, 1))
    clip = ClipInversion(solver, crops, np.ones(1, bool), np.ones(1, bool))
    assert [step.solution.passes for step in clip.run()] == [5]
    assert torch.equal(clip.variables(), solver.first(to_tensor(crops)).variable)


def test_shared_offset_suits_all_its_pictures(generator: StyleGAN2) -> None:
    solver, target = inverter(generator, init="encoder", first_steps=80), target_of(generator, 4)
    solution = solver.shared(target)
    assert solution.variable.shape == (1, 6, 8)
    torch.testing.assert_close(solution.ws, solver.start(target) + solution.variable)
    before, after = loss_of(generator, solver.start(target), target), loss_of(generator, solution.ws, target)
    assert after.mean() < 0.95 * before.mean()
    assert float(solution.loss) == pytest.approx(float(after.mean()), rel=1e-5)


@pytest.mark.parametrize("changes", [{"init": "mean"}, {"init": "encoder", "space": "z"}])
def test_nothing_is_shared_without_an_encoder(generator: StyleGAN2, changes: dict[str, object]) -> None:
    assert not inverter(generator, **changes).shares
    assert inverter(generator, init="encoder").shares


def test_proximity_keeps_a_later_frame_near_its_start(generator: StyleGAN2) -> None:
    target = target_of(generator)
    start = mean(generator, "w+", 2)
    free, held = (inverter(generator, proximity=p, steps=40).next(target, start) for p in (0.0, 10.0))
    assert (held.variable - start).square().mean() < 0.5 * (free.variable - start).square().mean()
    assert (held.loss > free.loss).all()


def test_frame_that_is_good_enough_is_left_alone(generator: StyleGAN2) -> None:
    target = target_of(generator)
    free = inverter(generator, first_steps=60).first(target)
    enough = float(free.loss.max()) * 1.5
    stopped = inverter(generator, first_steps=60, target_loss=enough).first(target)
    assert stopped.passes < free.passes
    assert (stopped.loss <= enough).all()


def test_patience_ends_what_no_longer_improves(generator: StyleGAN2) -> None:
    solver = inverter(generator, lr=1e-9, first_steps=50, patience=4)
    assert solver.first(target_of(generator)).passes == 6  # the start, a step to judge by, and four without improvement


def test_presets_take_all_passes_since_most_is_gained_at_their_end() -> None:
    assert all(params.patience == 0 for params in PRESETS.values())


def test_patience_judges_each_picture_of_a_batch_alone(generator: StyleGAN2) -> None:
    solver = inverter(generator, first_steps=80, patience=5, tolerance=0.1, decay=False)
    target = target_of(generator, 3)
    target[0] = generator.synthesis(generator.mapping(torch.zeros(1, 8)))[0]  # soon there
    together, alone = solver.first(target), [solver.first(one[None]) for one in target]
    assert len({solution.passes for solution in alone}) > 1
    assert together.passes == max(solution.passes for solution in alone)
    assert torch.allclose(together.loss, torch.cat([s.loss for s in alone]), rtol=2e-2)


def test_no_patience_means_every_step_is_taken(generator: StyleGAN2) -> None:
    seen = []
    solution = inverter(generator, lr=1e-9, patience=0, first_steps=17).first(
        target_of(generator), lambda: seen.append(1)
    )
    assert solution.passes == len(seen) == 17


def test_progress_is_told_every_pass_of_a_first_frame(generator: StyleGAN2) -> None:
    seen: list[int] = []
    solution = inverter(generator).first(target_of(generator), lambda: seen.append(1))
    assert len(seen) == solution.passes == PLAIN.first_steps


def test_step_size_falls_to_nothing_only_if_asked(generator: StyleGAN2, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[float] = []
    step = torch.optim.Adam.step

    def watched(self: torch.optim.Adam, *arguments: object, **named: object) -> object:
        sizes.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    inverter(generator, decay=True, first_steps=20).first(target_of(generator))
    falling, sizes[:] = list(sizes), []
    inverter(generator, decay=False, first_steps=20).first(target_of(generator))
    unit = w_rms(generator)
    assert falling == sorted(falling, reverse=True) and falling[-1] < 0.01 * falling[0]
    assert falling[0] == pytest.approx(PLAIN.lr * unit)
    assert sizes == [pytest.approx(PLAIN.lr * unit)] * 20


@pytest.mark.parametrize(("decay", "first"), [(True, 0.2), (False, 0.0)], ids=["falling", "constant"])
def test_softness_falls_with_the_step_size_and_the_end_is_exact(
    generator: StyleGAN2, decay: bool, first: float
) -> None:
    softnesses: list[float] = []

    class Watched(MultiScaleLoss):
        def __call__(self, pictures: torch.Tensor, prepared: list[torch.Tensor], softness: float = 0.0) -> torch.Tensor:
            softnesses.append(softness)
            return super().__call__(pictures, prepared, softness)

    params = replace(PLAIN, first_steps=10, decay=decay, softness=0.2)
    Inverter(generator, None, Watched(), params).first(target_of(generator))
    assert softnesses[0] == first and softnesses[-1] == 0.0
    assert softnesses == sorted(softnesses, reverse=True)


def test_step_sizes_are_in_units_of_w() -> None:
    generator, wide = tiny_generator(), tiny_generator()
    last = wide.mapping_network.get_submodule("fc1")
    last.weight *= 10  # type: ignore[operator,misc]
    last.bias *= 10  # type: ignore[operator,misc]
    assert w_rms(wide) == pytest.approx(10 * w_rms(generator), rel=1e-3)


def test_unit_of_w_is_its_rms_about_the_mean(generator: StyleGAN2) -> None:
    w = generator.mapping(torch.randn(20_000, 8))[:, 0]
    assert w_rms(generator) == pytest.approx(float((w - w.mean(0)).square().mean().sqrt()), rel=0.1)


def test_paper_preset_is_the_papers() -> None:
    paper = PRESETS["paper"]
    assert (paper.init, paper.space, paper.warm_start, paper.decay, paper.patience) == ("zeros", "w+", False, False, 0)
    assert paper.softness == 0
    assert (paper.first_steps, paper.steps) == (1000, 1000)
    assert (paper.lr, paper.warm_lr) == (1e-3, 1e-3)


def test_papers_step_size_is_not_scaled(generator: StyleGAN2) -> None:
    solution = Inverter(generator, None, MultiScaleLoss(), replace(PRESETS["paper"], first_steps=1)).first(
        target_of(generator)
    )
    moved = solution.variable.abs()
    assert moved.max() == pytest.approx(1e-3, rel=1e-2)  # Adam's first step is as long as its step size


def test_best_preset_takes_more_trouble_than_fast() -> None:
    fast, best = PRESETS["fast"], PRESETS["best"]
    assert best.first_steps > fast.first_steps and best.steps > fast.steps
    assert fast == InvertParams()


@pytest.mark.parametrize(
    "changes", [{"norm": 3}, {"norm": 0}, {"first_steps": -1}, {"steps": -1}, {"lr": 0.0}, {"warm_lr": -0.1}], ids=str
)
def test_values_that_cannot_be_run_are_refused_in_one_line(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(PLAIN, **changes)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1


def test_solution_is_free_of_gradients(generator: StyleGAN2) -> None:
    solution: Solution = inverter(generator).first(target_of(generator))
    assert not (solution.variable.requires_grad or solution.ws.requires_grad or solution.loss.requires_grad)
