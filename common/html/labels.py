"""The models in words."""

from __future__ import annotations

from collections.abc import Iterable

MODEL_LABELS = {
    "clinical": "Clinical",
    "radiomics": "Radiomics",
    "dl2d": "2D deep learning",
    "dl3d": "3D deep learning",
    "fusion_feature": "Feature fusion",
    "fusion_decision": "Decision fusion",
}


def label_of(model: str) -> str:
    """Return a model's name for people; that of an unknown one is its own."""
    return MODEL_LABELS.get(model, model)


def labels_of(models: Iterable[str]) -> str:
    """Return several names with commas."""
    return ", ".join(map(label_of, models))
