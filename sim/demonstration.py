"""The small phantom hospitals of `flwr run .`, with a site.toml each and their list."""

from __future__ import annotations

import dataclasses

from common.demonstration import demonstration_folder, demonstration_sites
from common.errors import UsageError
from common.study.model import load_study, write_study
from sim.phantom.generate import SMALL, generate
from sim.phantom.plan import PhantomPlan
from sim.sites import find_sites, place_coordinator, place_sites, with_identities

SEED = 20240101


def demonstration_plan(hospitals: int) -> PhantomPlan:
    """Cut the small phantom down to this many hospitals: at least two train, the last ones test.

    Raises
    ------
    UsageError : fewer than two.
    """
    if hospitals < 2:
        raise UsageError(
            f"{hospitals} SuperNode(s), but a study over hospitals needs at least two",
            where="demonstration",
            remedy="flwr run . --federation-config 'num-supernodes=6'",
        )
    training = [h for h in SMALL.hospitals if h.train]
    external = [h for h in SMALL.hospitals if not h.train]
    tests = min(len(external), 2 if hospitals >= 6 else int(hospitals >= 3))
    kept = (*training[: hospitals - tests], *external[:tests])
    names = {h.name for h in kept}
    return dataclasses.replace(
        SMALL,
        name=f"{SMALL.name}-{len(kept)}",
        hospitals=kept,
        external_sets=tuple((n, s) for n, s in SMALL.external_sets if names.issuperset(s)),
    )


def make_demonstration(hospitals: int) -> None:
    """Write hospitals, site.toml files and their list into the demonstration's folder."""
    plan = demonstration_plan(hospitals)
    folder = demonstration_folder()
    home = folder / plan.name
    generate(home, seed=SEED, plan=plan)
    study = load_study(home / "study.toml")
    if study.too_few_to_mask():
        open_sums = study.privacy.model_copy(update={"masking": "where_possible"})
        no_rows = study.fusion.model_copy(update={"pooling": "bins"})
        study = study.model_copy(update={"privacy": open_sums, "fusion": no_rows})
    data = find_sites([path.parent for path in sorted(home.glob("*/cohort.csv"))], study)
    sites = place_sites(data, folder, folder / "cache", exclude_bad_patients=False)
    place_coordinator(folder)
    write_study(with_identities(study), home / "study.toml")
    listing = "\n".join(str(path) for path in sites.values())
    demonstration_sites().write_text(listing, encoding="utf-8")
    print(home / "study.toml")
