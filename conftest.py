"""One thread a process, set before numpy and torch are loaded, also for programs that tests start.

Tests run side by side: with threads that wait for each other's cores, some took ten times as long.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
