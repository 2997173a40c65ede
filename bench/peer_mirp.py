"""MIRP's features of one ROI, run by the Python of its own environment.

python bench/peer_mirp.py IMAGE MASK
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time

from mirp import extract_features


def main() -> None:
    """Extract, and print seconds of the processor and peak memory."""
    logging.disable(logging.CRITICAL)
    image, mask = sys.argv[1:3]
    start = time.process_time()
    extract_features(
        image=image,
        mask=mask,
        image_modality="ct",
        new_spacing=1.0,
        base_discretisation_method="fixed_bin_size",
        base_discretisation_bin_width=25.0,
        num_cpus=1,
    )
    taken = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": taken, "peak": peak, "values": {}}))


if __name__ == "__main__":
    main()
