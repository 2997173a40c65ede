"""`fedlnm-server init | enrol | prepare | run | resume | status | renew | notify`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import InputError, UsageError
from common.masking import identity
from common.masking.lost_keys import (
    COORDINATOR,
    as_text,
    check_confirmable,
    describe,
    read_requests,
)
from common.messages.joining import JoinRequest
from common.utils.console import consoles
from common.utils.durable import write_durably
from common.utils.text_file import as_word
from server.deployment.folder import (
    SETTINGS,
    CoordinatorFolder,
    CoordinatorSettings,
    only_one,
)
from server.deployment.going_on import read_statements
from server.deployment.init import check_certificate, make_coordinator
from server.deployment.init import renew as renew_certificate
from server.deployment.nginx import own_address
from server.deployment.preparing import find_prepared
from server.deployment.preparing import prepare as prepare_study
from server.deployment.roster import enrol as enrol_site
from server.deployment.roster import expel
from server.deployment.run_folder import (
    RunFolder,
    find_run,
    latest_run,
    new_run,
    unfinished_run,
)

if TYPE_CHECKING:
    from server.deployment.status import RunStatus

console, screen = consoles()
Folder = Annotated[Path, typer.Argument(help="the coordinator's folder")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask (for scripts)")]


def init(
    folder: Folder,
    address: Annotated[str, typer.Option(help="HOST:PORT that hospitals connect to")],
    port: Annotated[int, typer.Option(help="on this machine only, behind the proxy")] = 8000,
    listen: Annotated[
        str | None,
        typer.Option(
            help="IP address of this machine for the proxy; 0.0.0.0 for all"
            " [default: what HOST leads to]"
        ),
    ] = None,
) -> None:
    """Make a coordinator's folder: keys, certificates, the proxy's configuration, an invitation."""
    try:
        settings = CoordinatorSettings(address=address, port=port)
    except ValueError:
        raise UsageError(
            f'not an address: "{address}" with port {port}',
            where="--address",
            remedy="give HOST:PORT, as in hub.example.org:443",
        ) from None
    made = make_coordinator(folder, _listening(settings, listen))
    public = identity.load(made.identity).private.public_key()
    _say(f"made {made.root}; its README.md says what is what")
    _say(f"send to every hospital: {made.invitation}")
    _say(f"fingerprint that you read to them by phone: {identity.fingerprint(public)}")
    listening = f"listens on {made.settings().listen or 'every address of this machine'}"
    _say(f"configuration of the proxy: {made.proxy / 'fedlnm.conf'}; it {listening}")


def _listening(settings: CoordinatorSettings, listen: str | None) -> CoordinatorSettings:
    """Return the settings with the address on which the proxy is to listen."""
    address = own_address(settings.host) if listen is None else listen
    try:
        return CoordinatorSettings.model_validate({**settings.model_dump(), "listen": address})
    except ValueError:
        raise UsageError(
            f'not an IP address: "{address}"',
            where="--listen",
            remedy="give an address of this machine, as ip address shows them",
        ) from None


def enrol(
    folder: Folder,
    request: Annotated[Path | None, typer.Argument(help="the file that a site has sent")] = None,
    yes: Yes = False,
    replace: Annotated[bool, typer.Option(help="the site has made new keys")] = False,
    remove: Annotated[str | None, typer.Option(help="take this site off the roster")] = None,
) -> None:
    """Let a hospital join, once its fingerprint has been compared by phone.

    Exit code 0: done. 1: not enrolled.
    """
    if (request is None) == (remove is None):
        raise UsageError("give either REQUEST or --remove SITE", where="enrol")
    own = _opened(folder)
    if request is None:
        expel(own, str(remove))
        _say(f"{remove} is off the roster; studies with it must be prepared anew")
        return
    asked = JoinRequest.read(request)
    _say(f"site {asked.site}, fingerprint {asked.check()}")
    _say("call the hospital, at a number that you know, and let them read theirs to you")
    if not yes and not typer.confirm("are the two the same, letter by letter?", default=False):
        _say("not enrolled")
        raise typer.Exit(1)
    enrol_site(own, asked, replace=replace)
    _say(f"{asked.site} is enrolled")


def prepare(
    folder: Folder,
    study: Annotated[Path, typer.Argument(help="study.toml without keys")],
    without: Annotated[
        list[Path] | None,
        typer.Option(
            help="file in which a hospital signed that the others may go on without it; once for"
            " each file"
        ),
    ] = None,
) -> None:
    """Write the study with everybody's keys, as every hospital approves it."""
    left = [one for file in without or () for one in read_statements(file)]
    made = prepare_study(_opened(folder), study, left)
    complete = made.study
    if made.again:
        _say(f"study {complete.name} was prepared before: every hospital approves again")
        for line in made.changed:
            _say(f"  this changed: {line}")
    for name in dict.fromkeys(one.site for one in left):
        _say(f"without {name}, whose own sums may be found by subtraction from now on")
    for line in made.foretold:
        screen.emit(f"warning: {line}")
    _say(f"send to {', '.join(complete.site_names)}: {made.file}")
    _say(f"digest of the study: {complete.digest()}")
    _say(f"when they have approved it: fedlnm-server run {as_word(folder)} {complete.name}")


def confirm(
    folder: Folder,
    request: Annotated[Path, typer.Argument(help="file of the hospital that lost its keys")],
    out: Annotated[Path, typer.Option(help="file to write")],
    yes: Yes = False,
) -> None:
    """Confirm by phone that a hospital lost its keys, and wants to be let go.

    Exit code 0: the confirmation is written. 1: not confirmed.
    """
    private = identity.load(_opened(folder).identity).private
    asked = read_requests(request)
    for one in asked:
        check_confirmable(one, COORDINATOR)
    for line in describe(asked):
        _say(line)
    if not yes and not typer.confirm("did they read out this very fingerprint?", default=False):
        _say("not confirmed")
        raise typer.Exit(1)
    write_durably(out, as_text([one.confirmed_by(private, COORDINATOR) for one in asked]).encode())
    _say(f"confirmed: {out}; it takes the files of two hospitals, too (fedlnm-site confirm)")


def run(
    folder: Folder,
    studies: Annotated[
        list[str],
        typer.Argument(
            help="name of a prepared study; several are run side by side", metavar="STUDY..."
        ),
    ],
    new: Annotated[
        bool, typer.Option("--new", help="begin another run, even if one is not finished")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="leave a study alone whose latest run is finished")
    ] = False,
) -> None:
    """Run a study: start Flower, wait for the sites, go on until the results are there.

    Runs for as long as the study takes. Ctrl-C ends it; the same command goes on with a run of this
    study that is not finished. A service that starts with the machine says --once: it goes on with
    what was interrupted, and begins no other run of a study that is done.
    """
    own = _opened(folder)
    warning = check_certificate(own)
    prepared = [find_prepared(own, study) for study in dict.fromkeys(studies)]
    with only_one(own):
        runs = []
        for file in prepared:
            done = latest_run(own, file) if once and not new else None
            if done is not None and done.finished:
                _say(f"run {done.name} of this study is finished; another one: --new")
                continue
            begun = None if new else unfinished_run(own, file)
            if begun is not None:
                _say(f"run {begun.name} of this study is not finished: going on with it")
                _say("(to leave it as it is and begin another one: fedlnm-server run --new)")
            runs.append(begun or new_run(own, file))
        if runs:
            _supervise(own, runs, warning)


def resume(
    folder: Folder,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="folder under runs/; several go on side by side [default: latest]",
            metavar="[NAME]...",
        ),
    ] = None,
) -> None:
    """Go on with a run that was interrupted or has stopped, from what it had saved."""
    own = _opened(folder)
    warning = check_certificate(own)
    runs = [find_run(own, name) for name in dict.fromkeys(names or ())] or [find_run(own, None)]
    for interrupted in runs:
        if interrupted.finished:
            raise InputError(
                "this run is finished",
                where=interrupted.name,
                remedy=f"its report is {interrupted.path / 'report' / 'index.html'}",
            )
    with only_one(own):
        _supervise(own, runs, warning)


def status(
    folder: Annotated[
        Path, typer.Argument(help="the coordinator's folder, or that of a run of fedlnm-sim")
    ],
    name: Annotated[str | None, typer.Argument(help="folder under runs/ [default: latest]")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
    web: Annotated[
        bool, typer.Option("--web", help="a page that follows the run, until Ctrl-C")
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            help="with --web [default: any that is free]", min=0, max=65535, show_default=False
        ),
    ] = 0,
) -> None:
    """Say where a run is: phase, round, sites, remaining time.

    FOLDER is the coordinator's, NAME one of its runs (the latest, if none
    is given); or FOLDER is that of a run of fedlnm-sim:

    fedlnm-server status runs/mine --web

    --web shows it as a page for a browser on this machine (127.0.0.1),
    which follows the run, with loss curves. It can be read and nothing else.
    From another machine: ssh -L 8080:127.0.0.1:PORT HUB, and open
    http://localhost:8080/ there. /metrics there is for Prometheus, and
    /health answers 200 unless the run has stopped or was interrupted.
    """
    if (port and not web) or (web and json_output):
        raise UsageError("--port goes with --web, and --json without it", where="status")
    if web:
        _serve_page(folder, name, port)
        return
    found_status = _status(folder, name)
    if json_output:
        sys.stdout.write(json.dumps(found_status.as_dict(), indent=1) + "\n")
        return
    for line in found_status.lines():
        _say(line)
    if found_status.state in ("stopped", "interrupted") and (folder / SETTINGS).is_file():
        _say(f"to go on: fedlnm-server resume {as_word(folder)} {found_status.run}")


def _status(folder: Path, name: str | None) -> RunStatus:
    from server.deployment.status import is_run_folder, read_simulated, read_status

    if name is None and is_run_folder(folder):
        return read_simulated(folder)
    own = _opened(folder)
    return read_status(own, find_run(own, name))


def _serve_page(folder: Path, name: str | None, port: int) -> None:
    from server.deployment.status import check_run_folder, is_run_folder
    from server.live.serving import serve
    from server.live.snapshot import of_deployment, of_simulation

    if name is None and is_run_folder(folder):
        if any(folder.iterdir()):  # a run may be about to begin in an empty one
            check_run_folder(folder)
        serve(of_simulation(folder), port, _say)
        return
    own = _opened(folder)
    serve(of_deployment(own, find_run(own, name)), port, _say)


def renew(folder: Folder) -> None:
    """Make a new server certificate, and proxy configuration and invitation with it."""
    own = _opened(folder)
    if renew_certificate(own):
        _say(f"new certificate: {own.server_certificate}")
        _say("reload nginx; if a run is under way, interrupt it and resume it")
    else:
        _say("new configuration; the certificate stays, as the authority's key is elsewhere")
        _say("reload nginx")
    _say("the hospitals need nothing, unless the address has changed")


def notify(folder: Folder) -> None:
    """Send a notice to every address in keys/notices.txt, to try them.

    Exit code 0: all took it. 1: one did not.
    """
    from common.utils.notices import try_addresses
    from server.deployment.notices import post_of

    own = _opened(folder)
    where, remedy = str(own.notices), "write one a line, as in mailto://user:password@example.org"
    whence = own.settings().host
    if not try_addresses(post_of(own), whence, _say, where=where, remedy=remedy):
        raise typer.Exit(1)


def _teller(run: RunFolder) -> Callable[[str], None]:
    """Return what says a line of one run among several."""
    name = run.study.name
    return lambda line: _say(f"{name}: {line}")


class _Watch:
    """Progress of one run for people: on the screen, and as notices."""

    def __init__(self, folder: CoordinatorFolder, run: RunFolder) -> None:
        from server.deployment.notices import Notices, post_of
        from server.progress.screen import Follower

        self.run = run
        self._follower = Follower(run.study.name, run.events_file, console)
        patience = 60.0 * folder.settings().notice_minutes
        self.notices = Notices(run, post_of(folder), patience, screen.emit)

    def look(self) -> None:
        """Show what is new."""
        self._follower.poll()
        self.notices.poll()


def _supervise(folder: CoordinatorFolder, runs: Sequence[RunFolder], warning: str) -> None:
    from server.deployment.supervisor import Supervisor
    from server.live.for_hospitals import shown_to_hospitals
    from server.report.results import read
    from server.report.tables import terminal_table

    if warning:
        screen.emit(warning)
    for run in runs:
        _say(f"run {run.name}; Ctrl-C interrupts it")
    watches = [_Watch(folder, run) for run in runs]
    first, *others = [
        Supervisor(folder, one.run, one.look, _teller(one.run) if runs[1:] else _say)
        for one in watches
    ]
    try:
        with shown_to_hospitals(folder, runs, _say):
            first.supervise(*others)
    except KeyboardInterrupt:
        names = " ".join(run.name for run in runs if not run.finished)
        screen.print(f"interrupted; to go on: fedlnm-server resume {as_word(folder.root)} {names}")
        raise typer.Exit(130) from None
    except Exception:
        for one in watches:
            if not one.run.finished:
                one.notices.stopped()
        raise
    finally:
        for one in watches:
            one.notices.end()
            if one.run.finished:
                console.print(terminal_table(read(one.run.path / "results.json")))
                _say(f"report: {one.run.path / 'report' / 'index.html'}")


def _opened(folder: Path) -> CoordinatorFolder:
    own = CoordinatorFolder(folder)
    own.settings()
    return own


def _say(line: str) -> None:
    console.emit(line)
