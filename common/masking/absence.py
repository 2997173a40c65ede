"""Consent in advance: a hospital that is away for long may be left out of one study.

A dead machine cannot sign. So a hospital may sign beforehand, for one study and a number of days,
what `common.masking.leaving` has a hospital sign that leaves. The days are counted by each hospital
that stays, in its own ledger: neither the coordinator nor the hospital that is away can say so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field

from common.masking.fixed_point import framed
from common.masking.leaving import SITE, check_statement, sign_statement
from common.messages.plain import plain

FEWEST_DAYS, MOST_DAYS = 7, 3650
_PURPOSE = "consent to be left out"
# signed with the rest, so that nobody can claim it meant less
_MEANING = (
    "If this hospital gives no sum together with the others of this study for more than this many"
    " days, each by its own ledger, they may go on without it for good. Its own numbers in this"
    " study may then be found by subtraction."
)


@plain
class Consent:
    """Consent as it travels with an enrolment: days and signature (base64) of an `AbsentSite`."""

    days: int
    signature: str

    def by(self, site: str, public_key: str, roster: str, study: str) -> AbsentSite:
        """Return the whole consent of a site, whose signature holds.

        Raises
        ------
        SignatureError, ValueError : it is not that site's, or not to this study.
        """
        made = AbsentSite(
            site=site,
            public_key=public_key,
            roster=roster,
            study=study,
            days=self.days,
            signature=self.signature,
        )
        made.verify()
        return made


class AbsentSite(BaseModel):
    """Consent of a hospital that may be left out once it is away, as `[[left]]` in study.toml.

    Parameters
    ----------
    site : name of the hospital in the study.
    public_key : its identity key there (base64).
    roster : digest of the study's roster (hexadecimal).
    study : digest of the study, alone of which sums may be found by subtraction.
    days : it may be left out after more than so many.
    signature : Ed25519 (base64) over meaning and all of the above.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str = Field(pattern=SITE)
    public_key: str
    roster: str = Field(pattern=r"^[0-9a-f]{64}$")
    study: str = Field(pattern=r"^[0-9a-f]{64}$")
    days: int = Field(ge=FEWEST_DAYS, le=MOST_DAYS)
    signature: str

    @classmethod
    def sign(
        cls, private: Ed25519PrivateKey, site: str, roster: str, study: str, days: int
    ) -> Self:
        """Sign the consent with the site's identity key."""
        key, signature = sign_statement(
            private, _PURPOSE, lambda key: _message(site, key, roster, study, days)
        )
        return cls(
            site=site, public_key=key, roster=roster, study=study, days=days, signature=signature
        )

    def verify(self) -> None:
        """Check that the key named in the consent signed it.

        Raises
        ------
        SignatureError : another key signed it, or the key or the signature cannot be read.
        """
        message = _message(self.site, self.public_key, self.roster, self.study, self.days)
        check_statement(
            self,
            _PURPOSE,
            message,
            "its consent to be left out is not one that it signed",
            "use the file as fedlnm-site approve --may-leave-after wrote it at that hospital",
        )

    def holds_from(self, last: datetime) -> datetime:
        """Return when the hospital may be left out that gave its last sum at this time."""
        return last + timedelta(days=self.days)

    def holds(self, last: datetime | None, now: datetime | None = None) -> bool:
        """Say whether the hospital has been away for long enough.

        Parameters
        ----------
        last : time of the last sum given together with it; None where there was none.
        """
        return last is None or self.holds_from(last) < (now or datetime.now(UTC))


def _message(site: str, public_key: str, roster: str, study: str, days: int) -> bytes:
    return framed(_MEANING, site, public_key, roster, study, str(days))
