"""Local training depends on weights, crops and seed alone, and learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from client.training import Crops, infer, loss_of, train_epochs
from common.networks.flat import flatten
from common.networks.resnet import Kind, ScoringNetwork, build_network, prepare
from common.study import NetworkSettings


def settings(**changes: Any) -> NetworkSettings:
    base = {
        "block": "basic",
        "layers": (1, 1, 1, 1),
        "widths": (4, 4, 8, 8),
        "stem_kernel": 3,
        "stem_pool": False,
        "input_size": 16,
        "batch_size": 4,
        "learning_rate": 0.01,
    }
    return NetworkSettings.model_validate(base | changes)


def crops_of(kind: Kind, patients: int = 10, size: int = 18, seed: int = 0) -> Crops:
    """Positive patients are brighter; two crops a patient in 2D."""
    rng = np.random.default_rng(seed)
    each = 2 if kind == "dl2d" else 1
    patient = np.repeat(np.arange(patients), each)
    label = (patient % 2).astype(np.float32)
    shape = (len(patient),) + (size,) * (2 if kind == "dl2d" else 3)
    images = rng.random(shape, dtype=np.float32) * 0.5
    images += 0.4 * label.reshape(-1, *([1] * (len(shape) - 1)))
    return Crops(images=images, patient=patient, label=label)


def trained(kind: Kind, config: NetworkSettings, seed: int = 7, epochs: int = 1) -> ScoringNetwork:
    model = build_network(kind, config, seed=1)
    train_epochs(
        model,
        kind,
        crops_of(kind),
        settings=config,
        learning_rate=config.learning_rate,
        epochs=epochs,
        seed=seed,
    )
    return model


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_learns_what_separates_the_classes(kind: Kind, optimiser: str) -> None:
    config = settings(optimiser=optimiser, gradient_clip=5.0)
    crops = crops_of(kind)
    before, count = loss_of(build_network(kind, config, seed=1), kind, crops, config)
    model = trained(kind, config, epochs=12)
    after, _ = loss_of(model, kind, crops, config)
    assert count == len(crops.images)
    assert after < 0.5 * before
    _, probability = infer(model, kind, crops, config, patients=10)
    assert probability[1::2].min() > probability[::2].max()


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
def test_same_seed_gives_the_same_weights_whatever_ran_before(kind: Kind) -> None:
    first = flatten(trained(kind, settings()))
    torch.rand(3)
    np.random.default_rng(0).random()
    trained(kind, settings(), seed=99)
    assert np.array_equal(first, flatten(trained(kind, settings())))
    assert not np.array_equal(first, flatten(trained(kind, settings(), seed=8)))


def test_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    trained("dl2d", settings())
    assert torch.equal(before, torch.get_rng_state())


def test_two_epochs_are_not_two_calls_as_the_optimiser_starts_afresh() -> None:
    config = settings()
    model = build_network("dl2d", config, seed=1)
    for seed in (7, 8):
        train_epochs(
            model,
            "dl2d",
            crops_of("dl2d"),
            settings=config,
            learning_rate=0.01,
            epochs=1,
            seed=seed,
        )
    assert not np.array_equal(flatten(model), flatten(trained("dl2d", config, epochs=2)))


def test_last_batch_of_one_is_dropped() -> None:
    config = settings(batch_size=3)
    model = build_network("dl3d", config, seed=1)
    result = train_epochs(
        model, "dl3d", crops_of("dl3d"), settings=config, learning_rate=0.01, epochs=1, seed=1
    )
    assert result.samples == 9
    assert result.loss_sum > 0


def test_one_sgd_step_without_augmentation_is_the_gradient_of_the_mean_loss() -> None:
    config = settings(optimiser="sgd", augment=False, batch_size=10, weight_decay=0.1)
    crops = crops_of("dl3d", size=16)
    reference = build_network("dl3d", config, seed=1).train()
    _, logits = reference(prepare("dl3d", torch.from_numpy(crops.images)))
    binary_cross_entropy_with_logits(logits, torch.from_numpy(crops.label)).backward()  # type: ignore[no-untyped-call]
    model = build_network("dl3d", config, seed=1)
    train_epochs(model, "dl3d", crops, settings=config, learning_rate=0.1, epochs=1, seed=1)
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert theirs.grad is not None
        expected = theirs - 0.1 * (theirs.grad + 0.1 * theirs)
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)


def test_gradient_clip_bounds_the_step() -> None:
    config = settings(
        optimiser="sgd", gradient_clip=1e-3, batch_size=20, weight_decay=0.0, augment=False
    )
    start = build_network("dl3d", config, seed=1)
    model = trained("dl3d", config)
    squares = [
        float((a - b).detach().square().sum())
        for a, b in zip(model.parameters(), start.parameters(), strict=True)
    ]
    assert 0 < sum(squares) ** 0.5 <= 0.01 * 1e-3 * 1.01


def test_a_patient_is_the_mean_over_its_crops() -> None:
    config = settings()
    model, crops = trained("dl2d", config), crops_of("dl2d")
    features, probability = infer(model, "dl2d", crops, config, patients=10)
    model.eval()
    with torch.no_grad():
        centre = torch.from_numpy(crops.images[4:6, 1:17, 1:17])
        each, logits = model(prepare("dl2d", centre))
    np.testing.assert_allclose(probability[2], torch.sigmoid(logits).mean().item(), rtol=1e-5)
    np.testing.assert_allclose(features[2], each.mean(0).numpy(), rtol=1e-4, atol=1e-6)
    assert features.shape == (10, 8)
    assert features.dtype == np.float32
    assert probability.dtype == np.float64


def test_inference_depends_on_neither_order_nor_company() -> None:
    config = settings()
    model, crops = trained("dl2d", config), crops_of("dl2d")
    _, probability = infer(model, "dl2d", crops, config, patients=10)
    turned = Crops(crops.images[::-1].copy(), crops.patient[::-1].copy(), crops.label[::-1].copy())
    np.testing.assert_allclose(
        infer(model, "dl2d", turned, config, patients=10)[1], probability, rtol=1e-5
    )
    alone = Crops(crops.images[6:8], np.zeros(2, dtype=np.int64), crops.label[6:8])
    np.testing.assert_allclose(
        infer(model, "dl2d", alone, config, patients=1)[1], probability[3], rtol=1e-5
    )


def test_loss_is_torch_binary_cross_entropy() -> None:
    config = settings()
    model, crops = trained("dl3d", config), crops_of("dl3d", size=16)
    model.eval()
    with torch.no_grad():
        _, logits = model(prepare("dl3d", torch.from_numpy(crops.images)))
    expected = binary_cross_entropy_with_logits(
        logits, torch.from_numpy(crops.label), reduction="sum"
    )
    assert loss_of(model, "dl3d", crops, config)[0] == pytest.approx(expected.item(), rel=1e-5)


def test_no_crops_have_no_loss() -> None:
    nobody = Crops(
        np.zeros((0, 16, 16), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)
    )
    config = settings()
    assert loss_of(build_network("dl2d", config, 1), "dl2d", nobody, config) == (0.0, 0)


def test_patient_without_a_crop_is_refused() -> None:
    config = settings()
    with pytest.raises(ValueError, match="each with at least one crop"):
        infer(build_network("dl3d", config, 1), "dl3d", crops_of("dl3d"), config, patients=11)


def test_crops_smaller_than_the_input_are_refused() -> None:
    with pytest.raises(ValueError, match="smaller than the input size"):
        trained("dl3d", settings(input_size=20))


def test_a_single_crop_cannot_train() -> None:
    config = settings()
    one = crops_of("dl3d", patients=1)
    model = build_network("dl3d", config, 1)
    with pytest.raises(ValueError, match="at least 2 crops"):
        train_epochs(model, "dl3d", one, settings=config, learning_rate=0.1, epochs=1, seed=0)
