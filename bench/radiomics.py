"""The features' engine against untouched PyRadiomics and MIRP, tumour by tumour.

Real tumours from ../shared/data/sts where that is there, and phantom ones. Each measurement is a
fresh process with one thread that has computed a small ball before, so that start-up and compiling
are left out. Seconds are those of the processor: another program on the machine changes them
little.

python -m bench.radiomics [--tumours N ...] [--without-mirp]
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from bench.comparison import WORK, say
from bench.tables import ROOT, conditions, gib, held, ratio, seconds, table

SETTINGS, EXPECTED = "radiomics-1834", 1834
STS = ROOT.parent / "shared" / "data" / "sts"
PHANTOMS, SEED = 12, 20240101
MEDIAN_RATIO, LEAST_RATIO, MOST_GIB, MOST_APART = 10.0, 5.0, 1.0, 1e-9

MIRP = "mirp==2.7.0"
_ENVIRONMENT = WORK / "mirp-venv"
_PYTHON = _ENVIRONMENT / "bin" / "python"


@dataclass(frozen=True)
class Case:
    """A tumour; `cm3` is the volume of its mask."""

    name: str
    image: Path
    mask: Path
    cm3: float = 0.0


@dataclass(frozen=True)
class Taken:
    """Seconds and memory of an extraction, and its values; NaN seconds where it failed."""

    seconds: float
    peak: float
    values: dict[str, float]


@dataclass(frozen=True)
class Row:
    """A tumour and who took what."""

    case: Case
    ours: Taken
    theirs: Taken
    mirp: Taken

    @property
    def ratio(self) -> float:
        """Return how many times as long PyRadiomics takes."""
        return self.theirs.seconds / self.ours.seconds

    @property
    def worst(self) -> tuple[float, str]:
        """Largest relative difference of a feature, and its name."""
        apart = {name: self._apart(name) for name in self.theirs.values}
        name = max(apart, key=lambda one: apart[one], default="")
        return apart.get(name, math.nan), name

    def _apart(self, name: str) -> float:
        one, other = self.ours.values.get(name, math.nan), self.theirs.values[name]
        if one == other or (math.isnan(one) and math.isnan(other)):
            return 0.0
        difference = abs(one - other) / abs(other) if other else math.inf
        return math.inf if math.isnan(difference) else difference


FAILED = Taken(math.nan, math.nan, {})


def cases() -> list[Case]:
    """All tumours, smallest first."""
    found = [*_real(), *_phantoms(WORK / "radiomics-phantom")]
    return sorted((replace(one, cm3=_volume(one.mask)) for one in found), key=lambda one: one.cm3)


def _real() -> Iterator[Case]:
    if not STS.is_dir():
        say(f"REAL TUMOURS ARE NOT MEASURED: {STS} is not there")
    for image in sorted(STS.glob("centre_*/images/*.nii.gz")):
        mask = image.parents[1] / "masks" / "r1" / image.name
        yield Case(image.name.removesuffix(".nii.gz"), image, mask)


def _phantoms(folder: Path) -> Iterator[Case]:
    from sim.phantom.anatomy import scan
    from sim.phantom.clinical import generator_of
    from sim.phantom.generate import DEFAULT, tumour_of

    for index in range(PHANTOMS):
        hospital = DEFAULT.hospitals[index % len(DEFAULT.hospitals)]
        case = Case(
            f"phantom {index + 1}",
            folder / f"{index}-image.nii.gz",
            folder / f"{index}-mask.nii.gz",
        )
        if not (case.image.is_file() and case.mask.is_file()):
            folder.mkdir(parents=True, exist_ok=True)
            tumour = tumour_of(SEED, DEFAULT, hospital, index)
            random = generator_of(SEED, hospital.name, index, "scan")
            scanned = scan(random, tumour, hospital.scanner, {"r1": 0.25})
            _write(case.image, scanned.image, scanned.spacing)
            _write(case.mask, scanned.masks["r1"], scanned.spacing)
        yield case


def _write(path: Path, values: object, spacing: tuple[float, float, float]) -> None:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing[::-1])
    sitk.WriteImage(image, str(path), useCompression=True)


def _volume(mask: Path) -> float:
    image = sitk.ReadImage(str(mask))
    voxels = int((sitk.GetArrayViewFromImage(image) > 0).sum())
    return voxels * math.prod(map(float, image.GetSpacing())) / 1000


def measure(chosen: Sequence[Case], with_mirp: bool = True) -> list[Row]:
    """Everybody on every tumour, one after the other."""
    missing = install_mirp() if with_mirp else "left out"
    if missing:
        say(f"MIRP IS NOT MEASURED: {missing}")
    rows = []
    for case in chosen:
        ours, theirs = (_taken(_worker(engine, case)) for engine in ("fast", "pyradiomics"))
        peer = FAILED if missing else _taken(_peer(case))
        rows.append(Row(case, ours, theirs, peer))
        say(f"{case.name}: {case.cm3:.0f} cm3, {rows[-1].ratio:.1f} times")
    return rows


def _worker(engine: str, case: Case) -> list[str]:
    return [
        *(sys.executable, "-m", "bench.radiomics"),
        *("--worker", engine, str(case.image), str(case.mask)),
    ]


def _peer(case: Case) -> list[str]:
    return [str(_PYTHON), str(ROOT / "bench" / "peer_mirp.py"), str(case.image), str(case.mask)]


def _taken(command: Sequence[str]) -> Taken:
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        say(f"FAILED: {' '.join(command[1:4])}: {(done.stderr.strip().splitlines() or [''])[-1]}")
        return FAILED
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Taken(found["seconds"], found["peak"], found["values"])


def install_mirp() -> str:
    """Make MIRP's environment if it is missing; why that failed, or nothing."""
    probe = [str(_PYTHON), "-c", "import mirp"]
    there = _PYTHON.is_file()
    if there and subprocess.run(probe, check=False, capture_output=True).returncode == 0:
        return ""
    say(f"installing {MIRP} into {_ENVIRONMENT.name}")
    install = [str(_PYTHON), "-m", "pip", "install", "--quiet", MIRP]
    for command in ([sys.executable, "-m", "venv", str(_ENVIRONMENT)], install):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            return f"it could not be installed ({lines[-1] if lines else 'no word why'})"
    return ""


def work(engine: str, image: str, mask: str) -> None:
    """Extract one tumour's features and print what that took."""
    from client.imaging.radiomics.warm import LARGE, SMALL, ball
    from client.imaging.reading import read_image, read_mask

    extract = _extractor(engine)
    # the first call loads modules, after which the second looks for their threads
    extract(*ball(SMALL))
    # many voxels go through loops of their own, which are compiled at their first call
    extract(*ball(LARGE if engine == "fast" else SMALL))
    volume = read_image(Path(image))
    roi = read_mask(Path(mask), volume)
    for one in (volume, roi):
        # far from 0, rounding decides which of two equally near voxels a resampled mask takes
        one.SetOrigin((0.0, 0.0, 0.0))
        one.SetDirection((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    start = time.process_time()
    values = extract(volume, roi)
    taken = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": taken, "peak": peak, "values": values}))


def _extractor(engine: str) -> Callable[[sitk.Image, sitk.Image], dict[str, float]]:
    """Ours as a site runs it; PyRadiomics as its documentation says, on the whole image."""
    from importlib import resources

    from radiomics.featureextractor import RadiomicsFeatureExtractor

    from client.imaging.radiomics.extraction import extract_roi
    from client.imaging.workers import one_thread
    from common.presets import settings_file

    def ours(image: sitk.Image, mask: sitk.Image) -> dict[str, float]:
        names, values = extract_roi(image, mask, SETTINGS, EXPECTED)
        return dict(zip(names, values.tolist(), strict=True))

    with resources.as_file(settings_file(SETTINGS)) as path:
        untouched = RadiomicsFeatureExtractor(str(path), additionalInfo=False)

    def theirs(image: sitk.Image, mask: sitk.Image) -> dict[str, float]:
        with one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = untouched.execute(image, mask)
        return {name: float(value) for name, value in found.items()}

    return ours if engine == "fast" else theirs


def text(rows: Sequence[Row]) -> str:
    """The section of results.md."""
    lines = [
        [
            row.case.name,
            f"{row.case.cm3:.0f}",
            seconds(row.ours.seconds),
            seconds(row.theirs.seconds),
            ratio(row.theirs.seconds, row.ours.seconds),
            _size(row.ours.peak),
            _size(row.theirs.peak),
            f"{row.worst[0]:.0e}",
            row.worst[1],
            seconds(row.mirp.seconds),
        ]
        for row in rows
    ]
    columns = ["tumour", "cm3", "ours, s", "PyRadiomics, s", "ratio", "ours, GiB"]
    columns += ["PyRadiomics, GiB", "largest difference", "in", "MIRP, s"]
    return "\n\n".join(
        [
            "The 1834 features of one ROI, one thread, without start-up; seconds of the processor."
            " Differences are relative. MIRP computes its own features on the same masks at 1 mm,"
            " without its filters: one image type where the other two have twenty."
            f" {conditions()}",
            _summary(rows),
            table(columns, lines),
        ]
    )


def _summary(rows: Sequence[Row]) -> str:
    ratios = [row.ratio for row in rows]
    worst = max((row.worst[0] for row in rows), default=math.nan)
    peak = _largest(row.ours.peak for row in rows) / 2**30
    bounds = [
        ["median ratio", f"{statistics.median(ratios):.1f}", f"at least {MEDIAN_RATIO:g}"],
        ["least ratio", f"{min(ratios):.1f}", f"at least {LEAST_RATIO:g}"],
        ["largest peak, GiB", f"{peak:.2f}", f"at most {MOST_GIB:g}"],
        ["largest difference", f"{worst:.0e}", f"at most {MOST_APART:g}"],
    ]
    kept = [
        held(-statistics.median(ratios), -MEDIAN_RATIO),
        held(-min(ratios), -LEAST_RATIO),
        held(peak, MOST_GIB),
        held(worst, MOST_APART),
    ]
    lines = [[*bound, word] for bound, word in zip(bounds, kept, strict=True)]
    return table([f"{len(rows)} tumours", "found", "wanted", "holds"], lines)


def _largest(sizes: Iterable[float]) -> float:
    return max((size for size in sizes if not math.isnan(size)), default=math.nan)


def _size(peak: float) -> str:
    return "-" if math.isnan(peak) else gib(peak)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=3, metavar=("ENGINE", "IMAGE", "MASK"))
    parser.add_argument("--tumours", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--without-mirp", action="store_true")
    options = parser.parse_args()
    if options.worker:
        work(*options.worker)
        return
    chosen = [one for one in cases() if not options.tumours or one.name in options.tumours]
    print(text(measure(chosen, not options.without_mirp)))


if __name__ == "__main__":
    main()
