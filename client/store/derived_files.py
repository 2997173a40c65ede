"""Keep a site's own run of a study on disk: enrolments, totals not used up yet, weights.

The gate writes them, in the process that talks to the coordinator; the app, in another, reads the
weights. After a restart the gate goes on from them.
"""

from __future__ import annotations

from pathlib import Path

from client.store.site_db import SiteDb
from common.errors import StudyError
from common.messages.exchanges import Agreed, KeyRequest, Totals, TrainRequest, Weights
from common.messages.plain import plain, read_plain, write_plain
from common.utils.durable import write_durably

MOST_ENROLLED = 8
"""Questions for keys that are kept until all sites have agreed on one; each is of a session."""


@plain
class DerivedWeights:
    """Weights and control variate that question `number` trains from."""

    number: int
    weights: Weights
    control: Weights


class DerivedFiles:
    """The files of one run, in its folder at the site."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "derived"

    def enrolled(self, digest: str) -> KeyRequest | None:
        """Return the question for keys of this digest, which says what every site said of itself.

        None where it was not asked, or many others were since.
        """
        path = self.folder / f"enrolled-{digest}.safetensors"
        found: KeyRequest | None = read_plain(path) if path.is_file() else None
        return found

    def keep_enrolled(self, request: KeyRequest) -> None:
        """Keep what every site said of itself, in this session and some before."""
        write_plain(self.folder / f"enrolled-{request.digest}.safetensors", request)
        kept = sorted(self.folder.glob("enrolled-*"), key=lambda path: path.stat().st_mtime_ns)
        for path in kept[:-MOST_ENROLLED]:
            path.unlink()

    def entry(self, number: int) -> Totals | Agreed | None:
        """Return the answer to a question of this number, None where it is not known."""
        path = self._entry(number)
        found: Totals | Agreed | None = read_plain(path) if path.is_file() else None
        return found

    def keep(self, entry: Totals | Agreed) -> None:
        """Keep an answer, which was checked."""
        write_plain(self._entry(entry.number), entry)

    def used_up(self) -> int:
        """Return the number of the first question whose answer is still needed."""
        path = self.folder / "used"
        return int(path.read_bytes()) if path.is_file() else 0

    def forget_before(self, number: int) -> None:
        """Delete answers that nothing depends on any more."""
        write_durably(self.folder / "used", str(number).encode())
        for path in self.folder.glob("entry-*.safetensors"):
            if int(path.stem.removeprefix("entry-")) < number:
                path.unlink(missing_ok=True)

    def offer(self, known: DerivedWeights) -> None:
        """Keep the weights that the next update starts from, for the app."""
        write_plain(self.folder / "weights.safetensors", known)

    def completed(self, request: TrainRequest) -> TrainRequest:
        """Return a request that came without weights, with those that this site has derived.

        Raises
        ------
        StudyError : it has derived none for this question.
        """
        if request.weights.size:
            return request
        path = self.folder / "weights.safetensors"
        known: DerivedWeights | None = read_plain(path) if path.is_file() else None
        if known is None or known.number != request.number:
            raise StudyError("no weights were derived for this question", where="train.network")
        return request.with_weights(known.weights, known.control)

    def _entry(self, number: int) -> Path:
        return self.folder / f"entry-{number:09d}.safetensors"


MOST_APART = 4.0
"""Shares of what is allowed, over all solutions of a run; those of processors stay below 0.1."""


class StandIns:
    """Solutions of the coordinator's that a run at a site went on with in place of its own.

    Their last digits differ where coordinator and site have other processors. Each may differ by
    `common.learning.agreement.TOLERANCE`, and all of a run together by `MOST_APART` times as much,
    so that a coordinator cannot use up what is allowed again and again.
    """

    def __init__(self, db: SiteDb, run: str) -> None:
        self._db, self._run = db, run

    def remember(self, number: int, name: str, apart: float) -> None:
        """Remember the solution that is the answer to a question of this number."""
        self._db.fix("stand-in", f"{self._run}/{number}", f"{apart!r} {name}")

    def all(self) -> tuple[tuple[str, float], ...]:
        """Return each one's name, as `Federation.agreed` has it, and its share of the allowed."""
        found = (one.split(" ", 1) for one in self._db.facts("stand-in", self._run))
        return tuple((name, float(apart)) for apart, name in found)

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self.all())

    @property
    def together(self) -> float:
        """Return the sum of their shares."""
        return sum(apart for _, apart in self.all())
