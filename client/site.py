"""site.toml: a hospital's data, work and key folders, and its own thresholds."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.demonstration import demonstration_sites
from common.errors import InputError, StudyError
from common.masking import identity
from common.study.block import explain
from common.study.model import PrivacySettings
from common.utils.bounded import parse_toml
from common.utils.service_units import ENVIRONMENT
from common.utils.text_file import read_written

LOG = logging.getLogger("fedlnm.site")
"""Logger of a hospital's own screen and log file."""

DEVICE_PATTERN = r"^(auto|cpu|cuda(:[0-9]{1,2})?)$"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Deployment(BaseModel):
    """Connection of this site to the coordinator.

    Parameters
    ----------
    superlink : host:port of the coordinator.
    root_certificates : PEM file to verify the coordinator's certificate; without it the machine's
        own are used.
    coordinator_key : its identity key (base64); studies of another coordinator are not approved.
    node_key : this node's private key (EC P-384, OpenSSH), registered with the coordinator.
    port : port on this machine for the connection of SuperNode and app.
    proxy : file that names the hospital's proxy; without it the environment does.
    insecure : neither TLS nor node key, for rehearsals on this machine alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    superlink: str = Field(pattern=r"^[^\s/]+:[0-9]{1,5}$")
    root_certificates: Path | None = None
    coordinator_key: str = ""
    node_key: Path | None = None
    port: int = Field(9094, ge=1, le=65535)
    proxy: Path | None = None
    insecure: bool = False

    @model_validator(mode="after")
    def _secured(self) -> Self:
        if self.insecure and self.superlink.rpartition(":")[0] not in LOOPBACK:
            raise ValueError("insecure = true is for a coordinator on this machine only")
        if not self.insecure and self.node_key is None:
            raise ValueError("node_key is missing: without it the coordinator knows nobody")
        return self


class Watch(BaseModel):
    """Notices and numbers for this hospital's own people; nothing of patients is in them.

    Parameters
    ----------
    notices : file with addresses for notices, for this user alone; without it there are none.
    notice_minutes : without the coordinator, while a run goes on, before a notice says so.
    port : on this machine only, for /health and /metrics; 0 = neither.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    notices: Path | None = None
    notice_minutes: float = Field(10.0, gt=0, allow_inf_nan=False)
    port: int = Field(0, ge=0, le=65535)


class SiteSettings(BaseModel):
    """Settings of one hospital. Relative paths are relative to the folder of site.toml.

    `exclude_bad_patients` leaves out patients with unusable data; without it one bad patient stops
    the site, so that nobody is lost unnoticed.
    `max_epsilon` bounds what all networks trained with noise reveal of a patient, over all runs and
    studies; with it, the site trains no network without noise.
    `approvals = "open"` answers any study: for simulations, where nobody is there to approve.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    data: Path = Path()
    work: Path = Path("work")
    identity: Path = Path("keys/identity.pem")
    cache: Path = Path("cache")
    threads: int = Field(1, ge=1)
    device: str = Field(
        "auto",
        pattern=DEVICE_PATTERN,
        description="where networks are trained; auto = a graphics card where there is one",
    )
    loaders: int = Field(1, ge=0, description="threads that read crops ahead of the training")
    workers: int = Field(0, ge=0, description="processes for preparation; 0 = one per core")
    memory_gib: float = Field(8.0, gt=0)
    engine: Literal["fast", "pyradiomics"] = Field(
        "fast", description="of the radiomics features; pyradiomics = with the untouched library"
    )
    exclude_bad_patients: bool = False
    verify: bool = Field(
        True, description="answer only questions that this site has derived itself"
    )
    pooled: bool = Field(False, description="the imagined hospital of a pooled reference")
    privacy: PrivacySettings | None = None
    max_epsilon: float | None = Field(None, gt=0, allow_inf_nan=False)
    corrections: bool = Field(
        False,
        description="let sums leave after the values of a few patients were corrected, though those"
        " from before tell these patients' values by subtraction",
    )
    approvals: Literal["required", "open"] = "required"
    deployment: Deployment | None = None
    watch: Watch = Watch()

    @property
    def preparation_workers(self) -> int:
        """Number of processes that prepare patients side by side."""
        return self.workers or len(os.sched_getaffinity(0))


def load_site(path: Path) -> SiteSettings:
    """Read site.toml; relative paths become absolute.

    Raises
    ------
    InputError : missing, not TOML, or a key or value that does not validate.
    """
    if not path.is_file():
        raise InputError(
            "no such file",
            where=str(path),
            remedy="name the folder with this hospital's site.toml; if it was moved, its new place,"
            " also in the unit of its service. Only a hospital that has none yet makes one, with"
            " fedlnm-site init",
        )
    try:
        settings = SiteSettings.model_validate(parse_toml(read_written(path), str(path)))
    except ValidationError as error:
        raise explain(error, where=str(path), model=SiteSettings) from None
    base, watch = path.parent.resolve(), settings.watch
    if watch.notices is not None:
        watch = watch.model_copy(update={"notices": base / watch.notices})
    return settings.model_copy(
        update={
            "data": base / settings.data,
            "work": base / settings.work,
            "identity": base / settings.identity,
            "cache": base / settings.cache,
            "watch": watch,
            "deployment": _placed(settings.deployment, base),
        }
    )


def _placed(deployment: Deployment | None, base: Path) -> Deployment | None:
    if deployment is None:
        return None
    deployment = deployment.model_copy(update={"proxy": deployment.proxy or Path(ENVIRONMENT)})
    paths = {
        name: base / path
        for name in ("root_certificates", "node_key", "proxy")
        if (path := getattr(deployment, name)) is not None
    }
    return deployment.model_copy(update=paths)


KEYS_LOST = (
    "restore the folder keys from its backup. Without one, and before the first run, this site"
    " joins anew: fedlnm-site init in a new folder, and send its request file; the coordinator"
    " enrols it with --replace and prepares the study again, which every hospital then approves"
    " again. After a run it can only be let go: fedlnm-site leave --lost-keys, from the new folder"
)
CERTIFICATE_LOST = (
    "restore the folder keys from its backup, or take certificate from the coordinator's"
    " invitation.json into this file, once the fingerprint is compared"
)


def identity_of(settings: SiteSettings) -> Ed25519PrivateKey:
    """Return the site's identity key.

    Raises
    ------
    InputError : it is lost or damaged; the remedy is the way back.
    """
    try:
        return identity.load(settings.identity).private
    except InputError as error:
        remedy = KEYS_LOST if settings.deployment else error.remedy
        raise InputError(error.what, where=str(settings.identity), remedy=remedy) from None


def deployment_of(site: Path, settings: SiteSettings) -> Deployment:
    """Return the site's [deployment].

    Raises
    ------
    StudyError : there is none, or the site does not ask for approvals.
    """
    deployment = settings.deployment
    if deployment is None or settings.approvals != "required":
        raise StudyError(
            "this site is not set up to take part in a deployment",
            where=str(site),
            remedy='give it a [deployment] block, and approvals = "required"',
        )
    return deployment


def check_keys_there(deployment: Deployment) -> None:
    """Return if the files that open the connection are there.

    Raises
    ------
    InputError : the node's key, or the coordinator's certificate, is lost.
    """
    if deployment.node_key is not None and not deployment.node_key.is_file():
        raise InputError(
            "the node's key is lost: the coordinator knows this site by it",
            where=str(deployment.node_key),
            remedy=KEYS_LOST,
        )
    authority = deployment.root_certificates
    if authority is not None and not authority.is_file():
        raise InputError(
            "the coordinator's certificate is lost",
            where=str(authority),
            remedy=CERTIFICATE_LOST,
        )


def locate_site(node_config: Mapping[str, object], run_config: Mapping[str, object]) -> Path:
    """Return the path of site.toml: from the node, or by partition in a simulation.

    Raises
    ------
    InputError : neither is given.
    """
    if "site-config" in node_config:
        return Path(str(node_config["site-config"]))
    if "partition-id" in node_config:
        listing = Path(str(run_config.get("site-configs") or demonstration_sites()))
        paths = [line for line in listing.read_text(encoding="utf-8").splitlines() if line]
        index = int(str(node_config["partition-id"]))
        return Path(paths[index]) if index < len(paths) else Path()
    raise InputError(
        "this node does not know its site.toml",
        where="node configuration",
        remedy="start it with --node-config 'site-config=\"/path/to/site.toml\"'",
    )
