"""Local training depends on weights, crops and seed alone, and learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from client.training.batches import Crops
from client.training.device import CPU, Compute, Precision
from client.training.loop import LocalResult, infer, loss_of, train_locally
from common.models import NetworkName
from common.networks.flat import flatten
from common.networks.resnet import ScoringNetwork, build_network, prepare
from common.study.networks import NetworkSettings


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


def crops_of(kind: NetworkName, patients: int = 10, size: int = 18, seed: int = 0) -> Crops:
    """Positive patients are brighter; two crops a patient in 2D."""
    rng = np.random.default_rng(seed)
    each = 2 if kind == "dl2d" else 1
    patient = np.repeat(np.arange(patients), each)
    label = (patient % 2).astype(np.float32)
    shape = (len(patient),) + (size,) * (2 if kind == "dl2d" else 3)
    images = rng.random(shape, dtype=np.float32) * 0.5
    images += 0.4 * label.reshape(-1, *([1] * (len(shape) - 1)))
    return Crops(images=images, patient=patient, label=label)


def run(
    model: ScoringNetwork,
    kind: NetworkName,
    config: NetworkSettings,
    crops: Crops | None = None,
    **changes: Any,
) -> LocalResult:
    generator = torch.Generator().manual_seed(changes.pop("seed", 7))
    rest = {"learning_rate": config.learning_rate, "epochs": 1, "generator": generator} | changes
    return train_locally(model, kind, crops or crops_of(kind), settings=config, **rest)


def trained(kind: NetworkName, config: NetworkSettings, **changes: Any) -> ScoringNetwork:
    model = build_network(kind, config, seed=1)
    run(model, kind, config, **changes)
    return model


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_learns_what_separates_the_classes(kind: NetworkName, optimiser: str) -> None:
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
def test_same_seed_gives_the_same_weights_whatever_ran_before(kind: NetworkName) -> None:
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
        run(model, "dl2d", config, seed=seed)
    assert not np.array_equal(flatten(model), flatten(trained("dl2d", config, epochs=2)))


def test_last_batch_of_one_is_dropped() -> None:
    config = settings(batch_size=3)
    result = run(build_network("dl3d", config, seed=1), "dl3d", config)
    assert (result.samples, result.steps) == (9, 3)
    assert result.loss_sum > 0


def test_one_sgd_step_without_augmentation_is_the_gradient_of_the_mean_loss() -> None:
    config = settings(optimiser="sgd", augment=False, batch_size=10, weight_decay=0.1)
    crops = crops_of("dl3d", size=16)
    reference = build_network("dl3d", config, seed=1).train()
    _, logits = reference(prepare("dl3d", torch.from_numpy(crops.images)))
    binary_cross_entropy_with_logits(logits, torch.from_numpy(crops.label)).backward()  # type: ignore[no-untyped-call]
    model = build_network("dl3d", config, seed=1)
    run(model, "dl3d", config, crops, learning_rate=0.1)
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
        centre = torch.from_numpy(np.asarray(crops.images)[4:6, 1:17, 1:17])
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
    turned = Crops(crops.images[::-1], crops.patient[::-1], crops.label[::-1])
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
        run(model, "dl3d", config, one)


def test_a_round_takes_the_steps_it_is_asked_for() -> None:
    config = settings(local_steps=7)
    result = run(build_network("dl3d", config, seed=1), "dl3d", config, epochs=1)
    # ten crops in batches of four are three steps a pass: the last three saw a batch of two or all
    assert result.steps == 7
    assert 8 <= result.samples <= 10
    few = run(build_network("dl3d", config, seed=1), "dl3d", settings(local_steps=2))
    assert (few.steps, few.samples) == (2, 8)


def test_as_many_steps_as_an_epoch_has_are_that_epoch() -> None:
    whole = flatten(trained("dl3d", settings(), epochs=2))
    assert np.array_equal(whole, flatten(trained("dl3d", settings(local_steps=6))))
    assert not np.array_equal(whole, flatten(trained("dl3d", settings(local_steps=5))))


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
def test_loading_threads_change_no_bit(kind: NetworkName) -> None:
    config = settings(sampling="balanced")
    weights, scores = [], []
    for threads in (0, 1, 4):
        compute = Compute(CPU.device, loaders=threads)
        model = trained(kind, config, epochs=2, compute=compute)
        weights.append(flatten(model))
        scores.append(infer(model, kind, crops_of(kind), config, 10, compute)[1])
    assert np.array_equal(weights[0], weights[1])
    assert np.array_equal(weights[0], weights[2])
    assert np.array_equal(scores[0], scores[2])


def test_crops_one_by_one_train_as_one_array_does() -> None:
    crops = crops_of("dl2d")
    listed = Crops(list(crops.images), crops.patient, crops.label)
    first = flatten(trained("dl2d", settings(), crops=crops))
    assert np.array_equal(first, flatten(trained("dl2d", settings(), crops=listed)))


def test_class_weights_multiply_the_losses_of_their_class() -> None:
    config = settings(
        optimiser="sgd", augment=False, batch_size=10, weight_decay=0.0, class_weights=(0.5, 3.0)
    )
    crops = crops_of("dl3d", size=16)
    reference = build_network("dl3d", config, seed=1).train()
    _, logits = reference(prepare("dl3d", torch.from_numpy(crops.images)))
    label = torch.from_numpy(crops.label)
    each = binary_cross_entropy_with_logits(logits, label, reduction="none")
    by_hand = (3.0 * each[label == 1].sum() + 0.5 * each[label == 0].sum()) / 10
    by_hand.backward()  # type: ignore[no-untyped-call]
    model = build_network("dl3d", config, seed=1)
    result = run(model, "dl3d", config, crops, learning_rate=0.1)
    assert result.loss_sum / result.samples == pytest.approx(by_hand.item(), rel=1e-5)
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert theirs.grad is not None
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad, rtol=1e-3, atol=1e-5)


def test_class_weights_count_in_the_loss_of_held_out_crops() -> None:
    crops = crops_of("dl3d", size=16)
    model = build_network("dl3d", settings(), seed=1)
    parts = [
        Crops(
            crops.images[crops.label == y], crops.patient[crops.label == y], crops.label[:5] * 0 + y
        )
        for y in (0.0, 1.0)
    ]
    alone = [loss_of(model, "dl3d", part, settings())[0] for part in parts]
    weighted, count = loss_of(model, "dl3d", crops, settings(class_weights=(0.5, 3.0)))
    assert count == 10
    assert weighted == pytest.approx(0.5 * alone[0] + 3.0 * alone[1], rel=1e-5)


class SixteenBits(Compute):
    """The CPU as if it were a card; in 2D alone, as torch's gradients in 3D are wrong there."""

    def sixteen_bits(self, precision: Precision) -> torch.dtype | None:
        return torch.bfloat16 if precision == "auto" else None


def test_sixteen_bits_come_close_to_float32() -> None:
    config = settings(optimiser="sgd", gradient_clip=1.0)
    start = flatten(build_network("dl2d", config, seed=1))
    exact = flatten(trained("dl2d", config)) - start
    rounded = flatten(trained("dl2d", config, compute=SixteenBits(CPU.device))) - start
    assert not np.array_equal(rounded, exact)
    agreement = exact @ rounded / (np.linalg.norm(exact) * np.linalg.norm(rounded))
    assert agreement > 0.98
    assert rounded.dtype == np.float32


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
def test_a_cpu_trains_in_float32_whatever_the_precision(kind: NetworkName) -> None:
    exact = flatten(trained(kind, settings(precision="float32")))
    assert np.array_equal(flatten(trained(kind, settings(precision="auto"))), exact)


def test_mixed_precision_learns_and_evaluates_in_float32() -> None:
    crops, compute = crops_of("dl2d"), SixteenBits(CPU.device)
    model = trained("dl2d", settings(), epochs=12, compute=compute)
    before, _ = loss_of(build_network("dl2d", settings(), seed=1), "dl2d", crops, settings())
    assert loss_of(model, "dl2d", crops, settings(), compute)[0] < 0.5 * before
    plain = infer(model, "dl2d", crops, settings(), 10)[1]
    assert np.array_equal(infer(model, "dl2d", crops, settings(), 10, compute)[1], plain)


def test_frozen_statistics_stay_while_weights_move() -> None:
    config = settings(norm="frozen", pretrained="weights.pth")
    start = build_network("dl3d", config, seed=1).state_dict()
    after = trained("dl3d", config).state_dict()
    for name, value in after.items():
        frozen = "running" in name or "tracked" in name
        assert torch.equal(value, start[name]) == frozen, name
