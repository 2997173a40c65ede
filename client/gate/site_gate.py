"""Gate of one site: its approvals, its studies, and the log of what was stopped."""

from __future__ import annotations

import json
import secrets
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from flwr.app import Context, Error, Message, RecordDict

from client.gate.approvals import read_approvals
from client.gate.inspect import approved_study, inspect, read_request, same_record
from client.gate.schema import CODES, CURES, GateContext, StoppedError
from client.gate.site_log import GATE_LOG
from client.gate.verifier import Verifier, verifier_of
from client.site import LOG, SiteSettings, load_site, locate_site
from client.store.departures import Departures
from client.store.heads import LedgerHeads
from client.store.ledger import Ledger
from client.store.order import check_newest, note_round
from client.store.site_db import recall_study, site_db
from common.disclosure.rule import stricter
from common.errors import StudyError
from common.flower.internals import ErrorCode
from common.ledger.entry import Record
from common.ledger.receipt import Receipt, question_of
from common.masking import identity
from common.masking.absence import AbsentSite
from common.messages.codec import digest_of, encode, keep_decoded
from common.messages.exchanges import CATALOGUE, NOBODY, EnrolRequest, Problem, TrainRequest
from common.messages.receipts import attach, detached, newest_attached
from common.study.model import Study
from common.utils.durable import append_durably, open_folder
from common.utils.versions import software

_LONGEST, _LONGEST_SHOWN = 4_000, 600
FLOWER_CODES = frozenset(v for n, v in vars(ErrorCode).items() if n.isupper())


@dataclass(frozen=True)
class AdmittedRequest:
    """Request that was let in; `request` and `study` are None where it was refused.

    Parameters
    ----------
    last : it is the last one of its run to this site, as far as the site derives that.
    """

    exchange: str
    request: Any = None
    study: Study | None = None
    last: bool = False


class SiteGate:
    """Gate of one site, which lets requests in and replies out, and writes down what it stops.

    Parameters
    ----------
    settings : of the site. Approvals are read anew for every message, so that revoking works.
    file : site.toml, if thresholds are to be read anew too: the app reads it for every message,
        and a gate with other thresholds would stop its refusals.
    """

    def __init__(self, settings: SiteSettings, file: Path | None = None) -> None:
        self.settings, self._file = settings, file
        self._signed = (0, "")
        self.heed: Callable[[str, str], None] = lambda code, study: None
        """Takes the code of whatever is stopped, and the name of its study if that is known."""

    @cached_property
    def _software(self) -> Mapping[str, str]:
        return software()

    def approved(self) -> frozenset[str] | None:
        """Return the digests of approved studies; None where no approval is required.

        Raises
        ------
        StudyError : the identity key or the file of approvals is not there or not right.
        """
        if self.settings.approvals == "open":
            return None
        public = identity.load(self.settings.identity).private.public_key()
        return frozenset(one.digest for one in read_approvals(self.settings.work, public))

    def admit(self, exchange: str, content: RecordDict) -> AdmittedRequest:
        """Return a request and its study, before anything is computed.

        Raises
        ------
        StoppedError : not a request of the catalogue, or not about a study approved here.
        RolledBackError : this site's ledger lacks an entry that it has signed.
        OvertakenError : a round that came after a newer one.
        NotAbsentError : the study goes on without a hospital that was there not long ago.
        """
        request = read_request(exchange, content)
        study = approved_study(
            request,
            self.settings.name,
            self.approved(),
            lambda digest: recall_study(self.settings.work, digest),
        )
        if study.roster.get(self.settings.name):
            heads = LedgerHeads(self.settings.work, self.settings.name)
            heads.check_entry(*self._signed)
            heads.check_own(study.roster, newest_attached(content))
        self._check_absences(study)
        verifier, last = self._verifier(study, request), False
        if isinstance(request, TrainRequest):
            check_newest(self.settings.work, request)
        if verifier is not None:
            request = self._checked(verifier, request)
            last = verifier.is_last(request)
        if isinstance(request, TrainRequest):
            note_round(self.settings.work, request)
        return AdmittedRequest(exchange, request, study, last)

    def _checked(self, verifier: Verifier, request: Any) -> Any:
        """Return a request that this site derives too, with the weights that it names."""
        return verifier.check(request)

    def _check_absences(self, study: Study) -> None:
        """Return if all hospitals that the study goes on without have been away for long enough."""
        if any(isinstance(one, AbsentSite) for one in study.left):
            departures = Departures(self.settings.work, study)
            departures.check()
            departures.write_down(identity.load(self.settings.identity).private)

    def _verifier(self, study: Study, request: Any) -> Verifier | None:
        """Return the verifier of a request's run, None where nothing is derived."""
        if not (self.settings.verify and study.derivable):
            return None
        return verifier_of(self.settings.work, self.settings.name, study, request.run)

    def release(self, asked: AdmittedRequest, content: RecordDict) -> RecordDict:
        """Return what leaves: the reply in the gate's own encoding, or a `Problem` in its place.

        A receipt that comes with the reply does not leave: the outermost gate makes it.
        """
        if asked.study is None:
            return self.stop(StoppedError("not_asked"), asked)
        try:
            own = load_site(self._file).privacy if self._file else self.settings.privacy
            context = GateContext(
                site=self.settings.name,
                study=asked.study,
                privacy=stricter(asked.study.privacy, own),
                software=self._software if isinstance(asked.request, EnrolRequest) else {},
            )
            clean = inspect(asked.exchange, asked.request, detached(content), context)
            if (verifier := self._verifier(asked.study, asked.request)) is not None:
                verifier.forget_keys_after(asked.request)
            return clean
        except Exception as error:  # a gate that fails is closed
            return self.stop(error, asked)

    def receipted(self, asked: AdmittedRequest, content: RecordDict) -> RecordDict:
        """Put this site's receipt beside a reply, where the study names its identity key."""
        site = self.settings.name
        key = asked.study.roster.get(site) if asked.study else ""
        if not key:
            return content
        try:
            private = identity.load(self.settings.identity).private
            end = site_db(self.settings.work).ledger_end()
            if identity.public_text(private.public_key()) == key:
                receipt = Receipt(
                    site=site,
                    session=getattr(asked.request, "session", ""),
                    request=question_of(asked.request),
                    reply=digest_of(content),
                    entries=end.number,
                    ledger=end.hash,
                )
                attach(content, receipt.signed(private))
                self._signed = (end.number, end.hash)
        except Exception as error:  # its text must not leave in the reply's place
            LOG.error("site %s: a reply leaves without receipt: %s", site, error)
        return content

    def scrubbed(self, error: Error, exchange: str) -> Error:
        """Return Flower's error with its code and the id of a log entry that has the text."""
        code = error.code if error.code in FLOWER_CODES else ErrorCode.UNKNOWN
        log_id = self.note("app_failed", str(error.reason), exchange)
        return Error(code, f"see the site's log {log_id}")

    def stop(self, error: Exception, asked: AdmittedRequest) -> RecordDict:
        """Write down why something does not leave, and return what the coordinator gets instead."""
        known = isinstance(error, StudyError)
        kind = getattr(error, "kind", "gate_failed") if known else "gate_failed"
        code = error.code if isinstance(error, StoppedError) else kind
        words = str(error) if known else "".join(traceback.format_exception(error))
        log_id = self.note(code, words, asked.exchange, asked)
        return encode(Problem(kind=code, log_id=log_id, site=self.settings.name))

    def note(
        self, code: str, words: str, exchange: str, asked: AdmittedRequest | None = None
    ) -> str:
        """Write an entry into the site's log and, without its text, the ledger; return its id."""
        log_id = secrets.token_hex(4)
        self.heed(code, asked.study.name if asked and asked.study else "")
        why = (words.strip() or CODES.get(code, code)).splitlines()[-1][:_LONGEST_SHOWN]
        cure = f" -> {CURES[code]}" if code in CURES else ""
        LOG.error(
            "site %s: not answered: %s%s (%s, log %s)", self.settings.name, why, cure, code, log_id
        )
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "log": log_id,
            # of a coordinator that fills the disk with its own words, no more than the start
            "exchange": exchange[:_LONGEST],
            "code": code,
            "words": words[:_LONGEST],
        }
        open_folder(self.settings.work)
        append_durably(self.settings.work / GATE_LOG, json.dumps(entry).encode() + b"\n")
        record = Record(
            exchange=exchange if exchange in CATALOGUE else "unknown",
            decision="stopped",
            study=asked.study.digest() if asked and asked.study else "",
            reason=code,
        )
        try:
            private = identity.load(self.settings.identity).private
            Ledger(self.settings.work, private).append(record)
        except StudyError as error:  # it stays stopped, whatever became of the ledger
            LOG.error("site %s: not in the ledger: %s", self.settings.name, error)
        return log_id


class _InnerGate(SiteGate):
    """Gate in the app's own process, behind the one that talks to the coordinator."""

    def admit(self, exchange: str, content: RecordDict) -> AdmittedRequest:
        """Return a request as `SiteGate.admit`, and hand it to the app with its weights."""
        admitted = super().admit(exchange, content)
        keep_decoded(content, admitted.request)
        return admitted

    def _checked(self, verifier: Verifier, request: Any) -> Any:
        return verifier.recall(request)


def _gate_of(settings: SiteSettings) -> SiteGate:
    return SiteGate(settings) if settings.deployment is None else _InnerGate(settings)


Call = Callable[[Message, Context], Message]


def gate_mod(message: Message, context: Context, call_next: Call) -> Message:
    """Ask the app only what this site has approved; let out only what the catalogue declares."""
    try:
        path = locate_site(context.node_config, context.run_config)
        gate = _gate_of(load_site(path)) if path.name else None
    except (StudyError, OSError):
        return Message(_problem("study_unknown"), reply_to=message)
    if gate is None:  # a simulated node beyond the study's sites
        reply, nobody = call_next(message, context), encode(NOBODY)
        same = reply.has_content() and same_record(reply.content, nobody)
        return Message(nobody if same else _problem("not_on_roster"), reply_to=message)
    exchange = message.metadata.message_type
    try:
        asked = gate.admit(exchange, message.content)
    except Exception as error:  # a gate that fails is closed
        return Message(gate.stop(error, AdmittedRequest(exchange)), reply_to=message)
    try:
        reply = call_next(message, context)
    except Exception as error:  # Flower would send the text
        stop = StoppedError("app_failed", "".join(traceback.format_exception(error)))
        return Message(gate.stop(stop, asked), reply_to=message)
    if reply.has_error():
        return Message(gate.scrubbed(reply.error, exchange), reply_to=message)
    content = gate.release(asked, reply.content)
    if gate.settings.deployment is None:  # there, the gate in front of this process signs
        content = gate.receipted(asked, content)
    return Message(content, reply_to=message)


def _problem(code: str) -> RecordDict:
    """Return a problem of a node without a site: there is no log to write to."""
    return encode(Problem(kind=code, log_id="0" * 8))
