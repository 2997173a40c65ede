"""The same payload over Flower's simulation engine: FedAvg, every node adds 1.

python -m bench.peer_flower --payload big --rounds 5 --sites 4 --actors 4
"""

from __future__ import annotations

import argparse
import os
import time

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from bench.payload import note
from bench.peer_model import Payload


def client_app() -> ClientApp:
    """Loads the weights into a model, adds 1 and sends it back."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        """One round at one node."""
        received = time.time()
        config, arrays = message.content["config"], message.content["arrays"]
        assert isinstance(config, ConfigRecord) and isinstance(arrays, ArrayRecord)
        model = Payload(str(config["payload"]))
        model.load_state_dict(arrays.to_torch_state_dict())
        model.add_one()
        reply = RecordDict({"arrays": ArrayRecord(model.state_dict())})
        reply["metrics"] = MetricRecord({"num-examples": 1})
        node, number = str(context.node_config["partition-id"]), int(str(config["server-round"]))
        note(node, number, received, time.time())
        return Message(reply, reply_to=message)

    return app


def server_app(payload: str, sites: int, rounds: int) -> ServerApp:
    """Federated averaging, no evaluation."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        """All rounds, and a look at what came out."""
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites)
        result = strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(Payload(payload).state_dict()),
            num_rounds=rounds,
            train_config=ConfigRecord({"payload": payload}),
        )
        found = float(next(iter(result.arrays.to_torch_state_dict().values()))[0])
        if abs(found - rounds) > 1e-3:
            raise ValueError(f"{found} after {rounds} rounds")

    return app


def main() -> None:
    """Run it; with fewer actors than sites the sites take turns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--payload", default="tiny")
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--actors", type=int, default=4)
    options = parser.parse_args()
    from flwr.simulation import run_simulation

    share = len(os.sched_getaffinity(0)) / options.actors
    run_simulation(
        server_app(options.payload, options.sites, options.rounds),
        client_app(),
        num_supernodes=options.sites,
        backend_config={"client_resources": {"num_cpus": share, "num_gpus": 0.0}},
    )


if __name__ == "__main__":
    main()
