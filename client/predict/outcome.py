"""What a prediction came to, as JSON for machines and words for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from client.imaging.preparation import PatientProblem
from client.predict.scoring import Prediction
from client.predict.verify import Opened, installed
from client.predict.words import RESEARCH

SOFTWARE = ("fedlnm", "torch", "monai", "numpy", "scikit-learn", "SimpleITK", "pyradiomics-bhklab")


@dataclass(frozen=True)
class Outcome:
    """Everything that one call of the command found.

    Parameters
    ----------
    problems : patients that could not be predicted, and why; with the predictions they are all
        that were read.
    warnings : sentences about all patients together.
    """

    opened: Opened
    predictions: tuple[Prediction, ...]
    problems: tuple[PatientProblem, ...]
    warnings: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Count how many patients were read, how many of them predicted and how many refused."""
        predicted = len(self.predictions)
        refused = len({problem.patient_id for problem in self.problems})
        return {"read": predicted + refused, "predicted": predicted, "refused": refused}

    @property
    def software(self) -> dict[str, str]:
        """Versions of this installation."""
        return installed(SOFTWARE)

    def as_dict(self) -> dict[str, Any]:
        """For `--json` and `prediction.json`."""
        opened = self.opened
        return {
            "research_use_only": RESEARCH,
            "bundle": {
                "digest": opened.digest,
                "verified_with_key": opened.signed_by or None,
                "study": opened.study.name,
                "study_digest": opened.bundle.study,
                "endpoint": opened.study.endpoint,
                "software": opened.bundle.software,
            },
            "software": self.software,
            "warnings": list(self.warnings),
            "counts": self.counts,
            "patients": [prediction_as_dict(one) for one in self.predictions],
            "refused": [
                {"patient": p.patient_id, "where": p.file, "what": p.what, "remedy": p.remedy}
                for p in self.problems
            ],
        }


def prediction_as_dict(prediction: Prediction) -> dict[str, Any]:
    """One patient."""
    return {
        "patient": prediction.case.patient_id,
        "models": [
            {
                "model": score.model,
                "probability": score.probability,
                "cutoff": score.cutoff,
                "risk": score.group,
                "lacks": list(score.lacks),
            }
            for score in prediction.scores
        ],
        "outside_training_range": [
            {
                "table": one.table,
                "input": one.column,
                "value": one.value,
                "training_range": one.usual,
                "models": list(one.models),
            }
            for one in prediction.outside
        ],
        "notes": list(prediction.notes),
    }
