"""NVFlare's FedAvg recipe in its simulator, one thread a site.

python -m bench.peer_nvflare.job --payload big --rounds 4 --sites 4 --folder FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe  # type: ignore[import-not-found]
from nvflare.recipe import SimEnv  # type: ignore[import-not-found]


def main() -> None:
    """Run the job."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--payload", default="tiny")
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", required=True)
    options = parser.parse_args()
    recipe = FedAvgRecipe(
        name=f"bench-{options.payload}",
        min_clients=options.sites,
        num_rounds=options.rounds,
        model={
            "class_path": "bench.peer_model.Payload",
            "args": {"payload": options.payload},
        },
        train_script=str(Path(__file__).with_name("client.py")),
        train_args=f"--payload {options.payload}",
    )
    environment = SimEnv(
        num_clients=options.sites, num_threads=options.sites, workspace_root=options.folder
    )
    print("status", recipe.execute(environment).get_status())


if __name__ == "__main__":
    main()
