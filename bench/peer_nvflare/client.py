"""Program of every simulated NVFlare site: take the weights, add 1, send them back."""

from __future__ import annotations

import argparse
import time

import nvflare.client as flare  # type: ignore[import-not-found]
import torch

from bench.payload import note
from bench.peer_model import Payload


def main() -> None:
    """Answer until the job is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--payload", default="tiny")
    model = Payload(parser.parse_args().payload)
    flare.init()
    site = flare.system_info()["site_name"]
    while flare.is_running():
        message = flare.receive()
        if message is None:
            return
        received = time.time()
        weights = {name: torch.as_tensor(value) for name, value in message.params.items()}
        model.load_state_dict(weights)
        model.add_one()
        reply = flare.FLModel(
            params={name: value.detach() for name, value in model.state_dict().items()},
            metrics={"accuracy": 0.5},
            meta={"NUM_STEPS_CURRENT_ROUND": 1},
        )
        note(site, int(message.current_round), received, time.time())
        flare.send(reply)


if __name__ == "__main__":
    main()
