"""The small phantom hospitals of `flwr run .`, with a site.toml each and the list of them."""

from __future__ import annotations

from common.demonstration import demonstration_folder, demonstration_sites
from common.study import load_study
from sim.phantom import SMALL, generate
from sim.sites import find_sites, place_sites

SEED = 20240101


def make_demonstration() -> None:
    """Write hospitals, site.toml files and their list into the demonstration's folder."""
    folder = demonstration_folder()
    hospitals = folder / "hospitals"
    generate(hospitals, seed=SEED, plan=SMALL)
    study = load_study(hospitals / "study.toml")
    data = find_sites([path.parent for path in sorted(hospitals.glob("*/cohort.csv"))], study)
    sites = place_sites(data, folder, folder / "cache", exclude_bad_patients=False)
    listing = "\n".join(str(path) for path in sites.values())
    demonstration_sites().write_text(listing, encoding="utf-8")
