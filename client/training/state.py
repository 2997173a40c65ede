"""State of a site between rounds of one training: control variates, own normalisation.

It is kept by round: a round that is requested again, because a reply was lost or the coordinator
restarted, begins with the state of the first attempt.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.store.run_files import safe_name
from common.errors import StudyError
from common.messages.plain import read_plain, write_plain

Vector = NDArray[np.float32]
KEPT = "kept"


class TrainingState:
    """State of one training in one run.

    Parameters
    ----------
    folder : the run's folder at this site.
    network, variant : the training.
    what : name of the state.
    """

    def __init__(self, folder: Path, network: str, variant: str, what: str) -> None:
        self._folder = folder / "training"
        self._name = safe_name(f"{network}-{variant}-{what}")

    def before(self, number: int) -> Vector | None:
        """Return the state before the round of this number; None before round 0.

        Raises
        ------
        StudyError : the state is missing.
        """
        if number == 0:
            return None
        path = self._path(str(number))
        if not path.is_file():
            raise StudyError(
                f"what this site carried into round {number} of a training is gone",
                where=str(path),
                remedy="bring the file back from a backup, or let the coordinator start a new run",
            )
        vector: Vector = read_plain(path)
        return vector

    def after(self, number: int, carried: Vector) -> None:
        """Store the state after the round of this number, for the next one."""
        write_plain(self._path(str(number + 1)), carried)

    def forget_before(self, number: int) -> None:
        """Remove states before this round."""
        for path in self._folder.glob(f"{self._name}.*.safetensors"):
            which = path.name.removeprefix(f"{self._name}.").removesuffix(".safetensors")
            if which.isdigit() and int(which) < number:
                path.unlink()

    def keep(self, carried: Vector) -> None:
        """Store the state of the finished network."""
        write_plain(self._path(KEPT), carried)

    def kept(self) -> Vector | None:
        """Return the state of the finished network; None where nothing was stored."""
        path = self._path(KEPT)
        return read_plain(path) if path.is_file() else None

    def _path(self, which: str) -> Path:
        return self._folder / f"{self._name}.{which}.safetensors"
