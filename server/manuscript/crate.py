"""RO-Crate of a run: which files there are, and which program made them from what.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) with the action of Process Run Crate 0.5.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from server.report.schema import Results

NAME = "ro-crate-metadata.json"
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
# RO-Crate 1.1 has no term for a digest; Workflow Run Crate has
CONTEXT = [f"{SPECIFICATION}/context", {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}]
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
PARTS = ("results.json", "study.toml", "transfers.csv", "privacy-dossier.md")
FOLDERS = ("tables", "figures", "report", "bundle", "manuscript")
Node = dict[str, Any]


def crate(results: Results, fields: Mapping[str, str], run: Path) -> Node:
    """Return the metadata of a run's folder as JSON-LD.

    Parameters
    ----------
    fields : texts of the authors; `title` and `data_availability` are used.
    run : folder of the run; only names below it are written, never its own path.
    """
    files = [_file(run, path) for path in _paths(run)]
    parts = [{"@id": one["@id"]} for one in files]
    root: Node = {
        "@id": "./",
        "@type": "Dataset",
        "name": fields.get("title") or f"Federated study {results.study.name}",
        "description": f"Results of a federated study that predicts {results.study.endpoint}.",
        "datePublished": (results.run.finished or results.run.started)[:10],
        "license": {"@id": "#license"},
        "author": {"@id": "#consortium"},
        "conformsTo": {"@id": PROFILE},
        "hasPart": parts,
        "mentions": {"@id": "#run"},
    }
    return {
        "@context": CONTEXT,
        "@graph": [
            *(_descriptor(), root, _profile(), _license(fields), _consortium(results)),
            *_action(results, parts),
            *files,
        ],
    }


def _descriptor() -> Node:
    return {
        "@id": NAME,
        "@type": "CreativeWork",
        "conformsTo": {"@id": SPECIFICATION},
        "about": {"@id": "./"},
    }


def _profile() -> Node:
    return {
        "@id": PROFILE,
        "@type": "CreativeWork",
        "name": "Process Run Crate",
        "version": "0.5",
    }


def _license(fields: Mapping[str, str]) -> Node:
    return {
        "@id": "#license",
        "@type": "CreativeWork",
        "name": "Terms of use",
        "description": fields.get("data_availability") or "not stated by the authors",
    }


def _consortium(results: Results) -> Node:
    sites = ", ".join(site.name for site in results.study.sites)
    return {
        "@id": "#consortium",
        "@type": "Organization",
        "name": f"Hospitals of the study {results.study.name}",
        "description": f"{sites}, and their coordinator",
    }


def _action(results: Results, parts: Sequence[Node]) -> list[Node]:
    inputs = [part for part in parts if part["@id"] == "study.toml"]
    program: Node = {
        "@id": "#fedlnm",
        "@type": "SoftwareApplication",
        "name": "fedlnm",
        "version": results.software.get("fedlnm", "unknown"),
        "softwareRequirements": [f"{n} {v}" for n, v in results.software.items() if n != "fedlnm"],
    }
    action: Node = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"Run of the study {results.study.name}",
        "description": f"Training and evaluation of models for {results.study.endpoint}.",
        "agent": {"@id": "#consortium"},
        "instrument": {"@id": "#fedlnm"},
        "startTime": results.run.started,
        "result": [part for part in parts if part not in inputs],
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    if inputs:
        (action["object"],) = inputs
    if results.run.finished:
        action["endTime"] = results.run.finished
    return [program, action]


def _paths(run: Path) -> list[Path]:
    found = [run / name for name in PARTS]
    for folder in FOLDERS:
        found += sorted((run / folder).rglob("*"))
    return [path for path in found if path.is_file()]


def _file(run: Path, path: Path) -> Node:
    data = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {
        "@id": path.relative_to(run).as_posix(),
        "@type": "File",
        "name": path.name,
        "encodingFormat": kind,
        "contentSize": str(len(data)),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
