"""Ephemeral keys of a site: one for each enrolment and each start of the site's program.

A work folder that was restored from an older copy does not know which masks were used since. So a
private key lies on disk only sealed under a secret that the running program keeps to itself, and a
program that was started again makes new ones: no mask of before can hide other numbers.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from client.store.site_db import site_db
from common.errors import StudyError
from common.masking.agreement import SignedKey
from common.masking.fixed_point import PROTOCOL, framed, from_text, hkdf_sha256, to_text

VARIABLE = "FEDLNM_START"
"""Environment variable with the secret of a start, from the program that runs for long."""
_SECRET_BYTES, _NONCE_BYTES, _TAG_BYTES = 32, 12, 16
# of this process and its forks, where no program above it gave them one
_OWN = secrets.token_hex(_SECRET_BYTES)
# processes of a simulation have no program above them that could restart without them
_SIMULATED = "0" * 2 * _SECRET_BYTES


def new_start() -> dict[str, str]:
    """Return the environment by which a program lets its processes know this start of it."""
    return {VARIABLE: secrets.token_hex(_SECRET_BYTES)}


class RestartedError(StudyError):
    """A question under keys that this start of the site's program does not have."""

    kind = "restarted"
    """All that the coordinator learns: it lets every site announce new keys, and asks again."""

    def __init__(self) -> None:
        super().__init__(
            "the question is under keys of an earlier start of this site's program, or of another"
            " enrolment",
            where="keys of the run",
            remedy="nothing to do: the coordinator lets all hospitals agree on new keys",
        )


class RunKey(NamedTuple):
    """Ephemeral key pair of a run, its public half as announced."""

    private: X25519PrivateKey
    signed: SignedKey


class RunKeys:
    """The key pairs of one site, as this start of its program has them.

    Parameters
    ----------
    work : the site's work folder.
    study : digest.
    deployed : whether the site takes part in a deployment, and not in a simulation.
    """

    def __init__(self, work: Path, study: str, *, deployed: bool) -> None:
        self._db, self._study = site_db(work), study
        text = os.environ.get(VARIABLE) or (_OWN if deployed else _SIMULATED)
        self._secret = bytes.fromhex(text)
        self.announced = ""
        """Name of this start for the other sites, which tells nothing of its secret."""
        if text != _SIMULATED:
            self.announced = hkdf_sha256(
                self._secret, salt=b"", info=framed(PROTOCOL, "announced start")
            ).hex()
        self._start = hkdf_sha256(self._secret, salt=b"", info=framed(PROTOCOL, "start")).hex()

    def held(self, run: str, session: str) -> RunKey | None:
        """Return the pair of an enrolment; None where this start of the program has none."""
        found = self._db.run_key(self._study, run, session, self._start)
        return self._open(found, run, session) if found is not None else None

    def make(self, run: str, session: str, make: Callable[[], RunKey]) -> RunKey:
        """Return the pair of an enrolment, made if there is none; those it replaces are deleted.

        These are all of the study's other enrolments and runs, which nothing is waited for from any
        more, and those of other starts, which nobody can open.
        """
        with self._db.transaction():
            if (known := self.held(run, session)) is not None:
                return known
            made = make()
            sealed = self._seal(made, session)
            self._db.keep_run_key(self._study, run, session, self._start, sealed)
            return made

    def _seal(self, pair: RunKey, session: str) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        raw = pair.private.private_bytes_raw()
        sealed = self._cipher(pair.signed.run, session).encrypt(nonce, raw, None)
        return json.dumps({"private": to_text(nonce + sealed), "key": vars(pair.signed)})

    def _open(self, text: str, run: str, session: str) -> RunKey:
        stored = json.loads(text)
        sealed = from_text(stored["private"], _NONCE_BYTES + _SECRET_BYTES + _TAG_BYTES)
        nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            raw = self._cipher(run, session).decrypt(nonce, content, None)
        except InvalidTag:
            raise StudyError(
                "the ephemeral key of the run is damaged",
                where="site.db",
                remedy="start the site's program again: it makes new ones",
            ) from None
        return RunKey(X25519PrivateKey.from_private_bytes(raw), SignedKey(**stored["key"]))

    def _cipher(self, run: str, session: str) -> ChaCha20Poly1305:
        info = framed(PROTOCOL, "sealed run key", self._study, run, session)
        return ChaCha20Poly1305(hkdf_sha256(self._secret, salt=b"", info=info))
