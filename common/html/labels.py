"""The models in words."""

MODEL_LABELS = {
    "clinical": "Clinical",
    "radiomics": "Radiomics",
    "dl2d": "2D deep learning",
    "dl3d": "3D deep learning",
    "fusion_feature": "Feature fusion",
    "fusion_decision": "Decision fusion",
}
