"""Sites that derive every question on other processors than the coordinator's: does one stop?

Runs the study of four real hospitals (`examples/heart`), small phantom hospitals with networks, and
tabular hospitals of many seeds, with every site in a process under other kernels of OpenBLAS,
numpy and torch than the coordinator. Counts false alarms, and what the sites took from the
coordinator though their own differed in the last digits.

python -m bench.kernels [--only heart phantom tabular] [--heart FOLDER] [--seeds 20]
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_info, threadpool_limits

from bench.comparison import WORK, say
from bench.processors import PROCESSORS, sites_elsewhere
from bench.tables import conditions, put_section, table
from client.site import load_site
from client.store.derived_files import StandIns
from client.store.site_db import site_db
from common.errors import StudyError
from common.learning.agreement import AXES_TOLERANCE, TOLERANCE
from common.study.model import Study, load_study, parse_study, write_study
from server.app import run_configured_study
from server.progress.events import Events
from sim.engines.inprocess import SERVER_NODE, task_identity
from sim.equality.run import HEART, HEART_STUDY
from sim.sites import place_coordinator, place_sites, with_identities

KERNELS = 5
STUDIES = ("heart", "phantom", "tabular")
RUN = "kernels"


@dataclass(frozen=True)
class Outcome:
    """Figures of one run.

    Parameters
    ----------
    alarm : why a site stopped; empty = none did.
    values : solutions of the coordinator's that sites went on with, added up over sites.
    apart : share of what is allowed by which the worst differs, and all of one site together.
    relative : largest difference of coefficients, relative to the largest coefficient, and the
        residual of axes, relative to the largest eigenvalue.
    """

    study: str
    processor: str
    alarm: str
    values: int
    apart: tuple[float, float]
    relative: tuple[float, float]
    seconds: float


def run_on(
    processor: str, study: Study, data: Mapping[str, Path], out: Path, cache: Path
) -> Outcome:
    """Run a study whose sites, all of which derive, are on another processor.

    Parameters
    ----------
    processor : of `PROCESSORS`. data : folder with cohort.csv, by site.
    """
    study = with_identities(study)
    sites = place_sites(
        data, out, cache, exclude_bad_patients=False, verifying=study.training_sites
    )
    config = {
        "study": str(write_study(study, out / "input" / "study.toml")),
        "out": str(out),
        "label": RUN,
        "identity": str(place_coordinator(out / "input")),
    }
    began, alarm = time.monotonic(), ""
    with (
        sites_elsewhere(PROCESSORS[processor], sites) as grid,
        task_identity(SERVER_NODE),
        threadpool_limits(limits=1),
    ):
        try:
            run_configured_study(grid, config, Events(out / "events.jsonl"))
        except StudyError as error:
            alarm = str(error)
    by_site = [StandIns(site_db(load_site(path).work), RUN) for path in sites.values()]
    found = [one for own in by_site for one in own.all()]
    of_axes = [apart for name, apart in found if "/lasso/" not in name]
    of_coefficients = [apart for name, apart in found if "/lasso/" in name]
    return Outcome(
        study=study.name,
        processor=processor,
        alarm=alarm,
        values=len(found),
        apart=(max((apart for _, apart in found), default=0.0), max(o.together for o in by_site)),
        relative=(
            TOLERANCE * max(of_coefficients, default=0.0),
            AXES_TOLERANCE * max(of_axes, default=0.0),
        ),
        seconds=time.monotonic() - began,
    )


# -- the studies ----------------------------------------------------------------------------------


def others() -> list[str]:
    """Name five processors whose kernels are not those of this machine."""
    own = {one.get("architecture", "").lower() for one in threadpool_info()}
    return [name for name in PROCESSORS if name not in own][:KERNELS]


def heart(folder: Path, work: Path) -> Iterator[Outcome]:
    """Run the study of four real hospitals on every processor."""
    study = load_study(HEART_STUDY)
    data = {name: folder / name for name in study.site_names}
    for name in others():
        yield run_on(name, study, data, work / f"heart-{name}", work / "cache")


def phantom(work: Path) -> Iterator[Outcome]:
    """Run six small phantom hospitals with networks on every processor."""
    from sim.phantom.generate import generate
    from sim.phantom.plan import SMALL

    folder = work / "phantom"
    if not folder.is_dir():
        generate(folder, seed=1, plan=SMALL)
    study = load_study(folder / "study.toml")
    brief = {name: study.network(name).model_copy(update={"rounds": 2}) for name in study.networks}
    study = study.model_copy(update=brief)
    data = {name: folder / name for name in study.site_names}
    for name in others():
        yield run_on(name, study, data, work / f"phantom-{name}", work / "cache")


TABULAR = """
name = "tabular"
endpoint = "event"
seed = {seed}
base_models = ["clinical"]
fusion_models = []
strata = ["sex"]
sites = [{{ name = "a" }}, {{ name = "b" }}, {{ name = "c" }}]
test_sets = [{{ name = "internal", split = "internal_test", sites = ["a", "b", "c"] }}]
clinical = [
    {{ name = "marker", kind = "continuous" }},
    {{ name = "age", kind = "continuous", unit = "years" }},
    {{ name = "sex", kind = "binary", levels = ["female", "male"] }},
    {{ name = "stage", kind = "ordinal", levels = ["1", "2", "3"] }},
]
svm = {{ kernel = "{kernel}" }}
"""
PATIENTS = {"a": 60, "b": 45, "c": 40}


def tabular(seeds: Iterable[int], work: Path) -> Iterator[Outcome]:
    """Run three small hospitals of other patients for each seed, processors in turn."""
    names = others()
    for seed in seeds:
        folder = work / f"tabular-{seed}"
        # every second with the kernel whose landmarks come from eigenvectors
        study = parse_study(TABULAR.format(seed=seed, kernel=("linear", "rbf")[seed % 2]))
        for site, patients in PATIENTS.items():
            write_patients(folder / "data" / site, f"{site}{seed}", patients)
        data = {site: folder / "data" / site for site in PATIENTS}
        yield run_on(names[seed % len(names)], study, data, folder / "run", work / "cache")


def write_patients(folder: Path, seed: str, patients: int) -> None:
    """Write a cohort.csv whose marker tells of the label; a quarter as many test patients."""
    draw = random.Random(seed)  # noqa: S311
    splits = ["train"] * patients + ["internal_test"] * (patients // 4)
    rows = ["patient_id,label,split,marker,age,sex,stage"]
    for index, split in enumerate(splits):
        label = int(index % 5 < 2)
        age = "" if draw.random() < 0.1 else f"{draw.gauss(62 + label, 8):.0f}"
        sex, stage = draw.choice(["female", "male"]), draw.randint(1, 3)
        marker = draw.gauss(1.2 * label, 1.0)
        rows.append(f"{seed}-{index},{label},{split},{marker:.4f},{age},{sex},{stage}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


# -- the table ------------------------------------------------------------------------------------


def text(outcomes: Sequence[Outcome]) -> str:
    """Return the section: a line a study and processor, seeds together."""
    lines: dict[tuple[str, str], list[Outcome]] = {}
    for one in outcomes:
        lines.setdefault((one.study, one.processor), []).append(one)
    rows = [
        [
            *(study, processor, str(len(own)), str(sum(bool(one.alarm) for one in own))),
            str(sum(one.values for one in own)),
            *(f"{max(one.relative[i] for one in own):.0e}" for i in (0, 1)),
            *(f"{max(one.apart[i] for one in own):.2g}" for i in (0, 1)),
        ]
        for (study, processor), own in lines.items()
    ]
    columns = (
        *("study", "sites on", "runs", "false alarms", "values not bitwise equal"),
        *("coefficients", "axes", "largest share", "a site's sum of shares"),
    )
    own = ", ".join(sorted({o["architecture"] for o in threadpool_info() if "architecture" in o}))
    alarms = "".join(f"\n- {o.study}, {o.processor}: {o.alarm}" for o in outcomes if o.alarm)
    return (
        f"The coordinator computes with the kernels {own}. {conditions()}\n\n"
        f"{table(columns, rows)}\n{alarms}"
    )


def main() -> None:
    """Run the studies, each run in a fresh folder; each study writes a section of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=STUDIES, metavar="STUDY")
    parser.add_argument("--heart", type=Path, default=HEART, help="folder of the four hospitals")
    parser.add_argument("--seeds", type=int, default=20, help="of the tabular study")
    options = parser.parse_args()
    work = WORK / "kernels"
    for name in options.only:
        for old in work.glob(f"{name}-*"):
            shutil.rmtree(old)
    runs = {
        "heart": lambda: heart(options.heart, work),
        "phantom": lambda: phantom(work),
        "tabular": lambda: tabular(range(options.seeds), work),
    }
    for name in STUDIES:
        outcomes: list[Outcome] = []
        for one in runs[name]() if name in options.only else ():
            outcomes.append(one)
            say(f"{one.study} on {one.processor}: {one.seconds:.0f} s, {one.alarm or 'no alarm'}")
        if outcomes:
            section = text(outcomes)
            put_section(f"kernels, {name}", section)
            print(section, flush=True)


if __name__ == "__main__":
    main()
