"""How models are called for people, and what stands on every page and screen."""

from __future__ import annotations

RESEARCH = "RESEARCH USE ONLY: not a medical device; no decision about a patient may rest on it."
MODEL_LABELS = {
    "clinical": "Clinical",
    "radiomics": "Radiomics",
    "dl2d": "2D deep learning",
    "dl3d": "3D deep learning",
    "fusion_feature": "Feature fusion",
    "fusion_decision": "Decision fusion",
}


def label_of(model: str) -> str:
    """A model's name for people."""
    return MODEL_LABELS.get(model, model)


def labels_of(models: list[str] | tuple[str, ...]) -> str:
    """Several names with commas."""
    return ", ".join(label_of(model) for model in models)
