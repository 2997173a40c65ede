"""Private training clips and blurs each patient's share, draws by chance, and still learns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from client.training.batches import Crops
from client.training.dp_sgd import (
    PrivateResult,
    by_patient,
    patient_draws,
    train_privately,
)
from client.training.loop import infer, loss_of
from common.models import NetworkName
from common.networks.flat import flatten
from common.networks.resnet import ScoringNetwork, build_network, prepare
from common.study.networks import NetworkSettings
from common.study.private_training import DifferentialPrivacy


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread like the sites; on a busy machine several wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


FROZEN = {"norm": "frozen", "pretrained": "weights.pth"}


def settings(**changes: Any) -> NetworkSettings:
    base = {
        "block": "basic",
        "layers": (1, 1, 1, 1),
        "widths": (4, 4, 12, 12),
        "stem_kernel": 3,
        "stem_pool": False,
        "norm": "group",
        "input_size": 16,
        "batch_size": 4,
        "optimiser": "sgd",
        "weight_decay": 0.0,
    }
    return NetworkSettings.model_validate(base | changes)


def crops_of(kind: NetworkName, patients: int = 10, size: int = 18, each: int = 1) -> Crops:
    """Positive patients are brighter."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(patients), each)
    label = (patient % 2).astype(np.float32)
    shape = (len(patient),) + (size,) * (2 if kind == "dl2d" else 3)
    images = rng.random(shape, dtype=np.float32) * 0.5
    images += 0.4 * label.reshape(-1, *([1] * (len(shape) - 1)))
    return Crops(images=images, patient=patient, label=label)


def network(kind: NetworkName, config: NetworkSettings) -> ScoringNetwork:
    """Statistics that do something, where they are frozen."""
    model = build_network(kind, config, seed=1)
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model


def run(
    model: ScoringNetwork,
    kind: NetworkName,
    config: NetworkSettings,
    crops: Crops,
    noise: float = 0.0,
    norm: float = 1.0,
    **changes: Any,
) -> PrivateResult:
    private = DifferentialPrivacy(noise_multiplier=noise, max_gradient_norm=norm)
    generator = changes.pop("generator", None) or torch.Generator().manual_seed(3)
    rest = {"learning_rate": 0.1, "epochs": 1, "generator": generator} | changes
    return train_privately(model, kind, crops, settings=config, private=private, **rest)


def change(
    kind: NetworkName, config: NetworkSettings, crops: Crops, **how: Any
) -> NDArray[np.float32]:
    model = network(kind, config)
    run(model, kind, config, crops, **how)
    return flatten(model) - flatten(network(kind, config))


def own_gradients(
    model: ScoringNetwork, kind: NetworkName, crops: Crops, config: NetworkSettings
) -> list[list[torch.Tensor]]:
    """Compute each crop's gradient by itself, with torch alone."""
    model.train()
    if config.norm == "frozen":
        model.eval()
    found = []
    for image, label in zip(crops.images, crops.label, strict=True):
        _, logit = model(prepare(kind, torch.from_numpy(image[None])))
        weight = torch.tensor([config.class_weights[int(label)]])
        loss = binary_cross_entropy_with_logits(logit, torch.tensor([label]), weight)
        found.append(list(torch.autograd.grad(loss, list(model.parameters()))))
    return found


def norm_of(gradient: list[torch.Tensor]) -> float:
    return float(torch.cat([part.reshape(-1) for part in gradient]).norm())


NETWORKS = {
    "plain": {},
    "bottleneck": {"block": "bottleneck", "stem_pool": True, "stem_kernel": 7},
    "padded": {"shortcut": "A", "layers": (1, 2, 1, 1)},
    "dilated": {"dilated": True},
    "weighted": {"class_weights": (1.0, 3.0)},
    "frozen": FROZEN,
}


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_the_sum_of_gradients_that_were_clipped_one_by_one(
    kind: NetworkName, optimiser: str, name: str
) -> None:
    config = settings(augment=False, batch_size=10, optimiser=optimiser, **NETWORKS[name])
    crops = crops_of(kind, size=16)
    reference = network(kind, config)
    gradients = own_gradients(reference, kind, crops, config)
    limit = float(np.median([norm_of(gradient) for gradient in gradients]))
    factors = [min(1.0, limit / norm_of(gradient)) for gradient in gradients]
    assert min(factors) < 1.0 == max(factors)
    for number, parameter in enumerate(reference.parameters()):
        shares = [f * gradient[number] for f, gradient in zip(factors, gradients, strict=True)]
        parameter.grad = sum(shares, torch.zeros_like(parameter)) / 10
    maker = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimiser]
    maker(reference.parameters(), lr=0.1).step()
    model = network(kind, config)
    result = run(model, kind, config, crops, norm=limit)
    assert (result.steps, result.samples, result.sample_rate) == (1, 10, 1.0)
    for (label, ours), theirs in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert theirs.grad is not None
        # Adam's first step is a sign, and that of a sum of nearly nothing is rounding
        sure = theirs.grad.abs() > 1e-2 * theirs.grad.abs().max()
        torch.testing.assert_close(ours[sure], theirs[sure], rtol=1e-3, atol=1e-4, msg=label)


def test_noise_has_the_size_that_the_accountant_is_told_and_is_the_generators() -> None:
    config, crops = settings(batch_size=5, local_steps=1), crops_of("dl2d")
    options = {"learning_rate": 1.0, "norm": 0.5}

    def changed(noise: float, seed: int) -> NDArray[np.float32]:
        generator = torch.Generator().manual_seed(seed)
        return change("dl2d", config, crops, noise=noise, generator=generator, **options)

    noise = (changed(3.0, 7) - changed(0.0, 7)) * 5
    assert np.array_equal(changed(3.0, 7), changed(3.0, 7))
    assert not np.array_equal(changed(3.0, 7), changed(3.0, 8))
    assert noise.std() == pytest.approx(3.0 * 0.5, rel=0.05)
    assert abs(noise.mean()) < 0.1


def test_no_patient_moves_the_weights_by_more_than_the_norm_allows() -> None:
    config = settings(batch_size=5, local_steps=1)
    crops = crops_of("dl3d")
    for limit in (1e-3, 1e-6):
        generator = torch.Generator().manual_seed(0)
        options = {"learning_rate": 1.0, "generator": generator}
        moved = change("dl3d", config, crops, norm=limit, **options)
        assert 0 < np.linalg.norm(moved) <= 10 * limit / 5 * 1.001


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e30])
def test_a_patient_whose_gradient_overflows_shows_no_more_than_any_other(value: float) -> None:
    config = settings(augment=False, batch_size=10)
    crops = crops_of("dl3d", size=16)
    images = np.array(crops.images)
    images[3] = value
    odd = Crops(images=images, patient=crops.patient, label=crops.label)
    usual = change("dl3d", config, crops, learning_rate=1.0, norm=0.1)
    moved = change("dl3d", config, odd, learning_rate=1.0, norm=0.1)
    assert np.isfinite(moved).all()
    assert np.linalg.norm(moved - usual) <= 2 * 0.1 / 10 * 1.001


def test_an_empty_batch_makes_a_step_of_noise_alone() -> None:
    config = settings(batch_size=2, local_steps=1)
    crops = crops_of("dl2d", patients=1000, size=16)
    # a thousandth of a batch: the size is drawn, and the generator's draws are known
    seed = next(
        seed
        for seed in range(1000)
        if not (torch.rand(1000, generator=torch.Generator().manual_seed(seed)) < 0.002).any()
    )
    model = network("dl2d", config)
    generator = torch.Generator().manual_seed(seed)
    result = run(model, "dl2d", config, crops, noise=1.0, learning_rate=1.0, generator=generator)
    assert (result.steps, result.samples, result.loss_sum) == (1, 0, 0.0)
    moved = flatten(model) - flatten(network("dl2d", config))
    assert moved.std() == pytest.approx(1.0 / 2, rel=0.05)


def test_a_drawn_patient_contributes_one_crop_of_its_own_and_each_in_time() -> None:
    crops = crops_of("dl2d", patients=6, each=3)
    shuffled = np.random.default_rng(3).permutation(18)
    crops = Crops(crops.images, crops.patient[shuffled] * 2, crops.label[shuffled])
    generator = torch.Generator().manual_seed(0)
    patients = by_patient(crops)
    config = settings()
    draws = list(patient_draws(crops, patients, config, 0.5, 400, generator))
    sizes = []
    for draw in draws:
        owners = crops.patient[draw.chosen]
        assert len(set(owners)) == len(owners)
        assert draw.starts.shape == draw.flips.shape == (len(owners), 2)
        sizes.append(len(owners))
    seen = np.bincount(np.concatenate([draw.chosen for draw in draws]), minlength=18)
    assert seen.min() > 30
    assert np.mean(sizes) == pytest.approx(3.0, abs=0.2)
    assert np.var(sizes) == pytest.approx(1.5, abs=0.4)
    assert {0, 1, 2} == set(np.concatenate([draw.starts.reshape(-1) for draw in draws]))


def test_a_pass_is_over_patients_and_not_over_crops() -> None:
    config, crops = settings(batch_size=4), crops_of("dl2d", patients=10, each=7)
    result = run(network("dl2d", config), "dl2d", config, crops, epochs=2)
    assert (result.steps, result.sample_rate, result.noise_multiplier) == (6, 0.4, 0.0)
    config = settings(batch_size=4, local_steps=5)
    assert run(network("dl2d", config), "dl2d", config, crops, epochs=2).steps == 5
    few = settings(batch_size=16)
    result = run(network("dl2d", few), "dl2d", few, crops)
    assert (result.steps, result.sample_rate, result.samples) == (1, 1.0, 10)


def test_all_random_numbers_are_the_generators() -> None:
    config, crops = settings(), crops_of("dl2d", patients=20)

    def changed(noise: float, seed: int) -> NDArray[np.float32]:
        generator = torch.Generator().manual_seed(seed)
        return change("dl2d", config, crops, noise=noise, generator=generator)

    for noise in (0.0, 1.0):
        first = changed(noise, 1)
        torch.manual_seed(0)
        assert np.array_equal(first, changed(noise, 1))
        assert not np.array_equal(first, changed(noise, 2))


def test_who_is_drawn_and_the_noise_may_have_a_generator_each() -> None:
    config, crops = settings(), crops_of("dl2d", patients=20)

    def changed(drawn: int, noise: int) -> NDArray[np.float32]:
        model = network("dl2d", config)
        generators = [torch.Generator().manual_seed(seed) for seed in (drawn, noise)]
        private = DifferentialPrivacy(noise_multiplier=1.0)
        train_privately(
            model,
            "dl2d",
            crops,
            settings=config,
            private=private,
            learning_rate=0.1,
            epochs=1,
            generator=generators[0],
            noise=generators[1],
        )
        return flatten(model)

    assert np.array_equal(changed(1, 2), changed(1, 2))
    assert not np.array_equal(changed(1, 2), changed(1, 3))
    assert not np.array_equal(changed(1, 2), changed(4, 2))


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
@pytest.mark.parametrize("norm", [{"norm": "group"}, FROZEN], ids=["group", "frozen"])
def test_learns_what_separates_the_classes_under_little_noise(
    kind: NetworkName, norm: dict[str, str]
) -> None:
    config = settings(optimiser="adam", batch_size=5, augment=False, **norm)
    crops = crops_of(kind, size=16, each=2 if kind == "dl2d" else 1)
    model = network(kind, config)
    before, _ = loss_of(model, kind, crops, config)
    how = {"noise": 0.1, "generator": torch.Generator().manual_seed(0)}
    run(model, kind, config, crops, epochs=40, learning_rate=0.01, **how)
    assert loss_of(model, kind, crops, config)[0] < 0.5 * before
    _, probability = infer(model, kind, crops, config, patients=10)
    assert probability[1::2].min() > probability[::2].max()


def test_much_noise_moves_the_weights_far() -> None:
    config, crops = settings(), crops_of("dl2d")
    little = np.linalg.norm(change("dl2d", config, crops, noise=0.01))
    much = np.linalg.norm(change("dl2d", config, crops, noise=100.0))
    assert much > 50 * little


@pytest.mark.parametrize("norm", [{"norm": "group"}, FROZEN], ids=["group", "frozen"])
def test_the_model_is_left_as_it_was_but_for_its_weights(norm: dict[str, str]) -> None:
    config = settings(**norm)
    model, untouched = network("dl3d", config), network("dl3d", config)
    run(model, "dl3d", config, crops_of("dl3d"), noise=1.0)
    assert str(model) == str(untouched)
    assert model.state_dict().keys() == untouched.state_dict().keys()
    assert not any(hasattr(parameter, "grad_sample") for parameter in model.parameters())
    trained = {name for name, _ in model.named_parameters()}
    for name, value in model.state_dict().items():
        assert torch.equal(value, untouched.state_dict()[name]) == (name not in trained), name


@pytest.mark.parametrize(
    "wrong", [{"norm": "batch"}, {"sampling": "balanced"}, {"gradient_clip": 1.0}], ids=str
)
def test_settings_that_break_the_promise_are_refused(wrong: dict[str, Any]) -> None:
    config = settings(**wrong)
    with pytest.raises(ValueError, match="write"):
        run(network("dl2d", config), "dl2d", config, crops_of("dl2d"))


def test_a_network_that_has_batchnorm_all_the_same_is_refused() -> None:
    model = network("dl2d", settings(norm="batch"))
    with pytest.raises(ValueError, match=r'BatchNorm cannot(.|\n)*write norm = "group"'):
        run(model, "dl2d", settings(), crops_of("dl2d"))


def test_no_crops_and_small_crops_are_refused() -> None:
    config, crops = settings(), crops_of("dl2d", size=12)
    none = Crops(crops.images[:0], crops.patient[:0], crops.label[:0])
    with pytest.raises(ValueError, match="at least 1 crop"):
        run(network("dl2d", config), "dl2d", config, none)
    with pytest.raises(ValueError, match="smaller than the input size 16"):
        run(network("dl2d", config), "dl2d", config, crops)


def test_opacus_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, client.training.dp_sgd, client.store.privacy_budget;"
        "import common.study.private_training;"
        "sys.exit('opacus' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_step_on_hazards_is_the_sum_of_the_patients_gradients() -> None:
    config = settings(augment=False, batch_size=10)
    crops = crops_of("dl3d", size=16)
    timed = Crops(crops.images, crops.patient, crops.label, np.arange(10) % 3)
    model = build_network("dl3d", config, seed=1, outputs=3)
    reference = build_network("dl3d", config, seed=1, outputs=3).train()
    _, logits = reference(prepare("dl3d", torch.from_numpy(np.stack(timed.images))))
    happened = torch.zeros(10, 3)
    for patient, (label, last) in enumerate(zip(timed.label, np.arange(10) % 3, strict=True)):
        happened[patient, last] = float(label)
        for period in range(last + 1):
            own = logits[patient, period], happened[patient, period]
            loss = binary_cross_entropy_with_logits(*own) / 10
            loss.backward(retain_graph=True)
    torch.optim.SGD(reference.parameters(), lr=0.1).step()
    run(model, "dl3d", config, timed, norm=1e6)
    np.testing.assert_allclose(flatten(model), flatten(reference), atol=1e-6)
    assert np.abs(flatten(model) - flatten(build_network("dl3d", config, 1, 3))).max() > 1e-3
