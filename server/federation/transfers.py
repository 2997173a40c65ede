"""Bytes each way, by site, exchange and phase: what `transfers.csv` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class TransferLog:
    """Adds up rounds, messages and bytes as they pass.

    A round is one question to any number of sites; a site that it does not concern has no message.
    """

    phase: str = ""
    rows: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    rounds: dict[tuple[str, str], int] = field(default_factory=dict)

    def begin(self, exchange: str) -> None:
        """Count a round of this exchange."""
        key = (exchange, self.phase)
        self.rounds[key] = self.rounds.get(key, 0) + 1

    def add(self, site: str, exchange: str, *, up: int, down: int) -> None:
        """Count a request to a site (`down` bytes) and its reply (`up` bytes)."""
        row = self.rows.setdefault((site, exchange, self.phase), [0, 0, 0])
        row[0] += 1
        row[1] += up
        row[2] += down

    def copy(self) -> TransferLog:
        """Return the counts so far, to go back to where a question is asked again."""
        rows = {key: list(row) for key, row in self.rows.items()}
        return TransferLog(self.phase, rows, dict(self.rounds))

    def go_back(self, earlier: TransferLog) -> None:
        """Count from an earlier `copy` on: what is asked again counts once."""
        self.rows, self.rounds = earlier.copy().rows, dict(earlier.rounds)

    def table(self) -> list[dict[str, object]]:
        """Return one row per site, exchange and phase, in an order that no site determines."""
        phases = list(dict.fromkeys(phase for _, _, phase in self.rows))
        ordered = sorted(self.rows.items(), key=lambda item: (phases.index(item[0][2]), item[0]))
        return [
            {
                "site": site,
                "exchange": exchange,
                "phase": phase,
                "rounds": self.rounds.get((exchange, phase), messages),
                "messages": messages,
                "bytes_up": up,
                "bytes_down": down,
            }
            for (site, exchange, phase), (messages, up, down) in ordered
        ]

    def restore(self, table: Sequence[Mapping[str, object]], anew: str = "") -> None:
        """Continue from the rows of an interrupted run.

        Parameters
        ----------
        anew : phase that is asked once more, and shall count once.
        """
        for row in table:
            key = (str(row["site"]), str(row["exchange"]), str(row["phase"]))
            numbers = [int(str(row[name])) for name in ("messages", "bytes_up", "bytes_down")]
            again = key[2] == anew
            self.rounds[key[1:]] = 0 if again else int(str(row["rounds"]))
            self.rows[key] = [0, 0, 0] if again else numbers
