"""Memory grows by less than 100 bytes a voxel of the padded box: 1 GB is enough for 2000 cm3."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
MOST_BYTES = 100

SCRIPT = r"""
import json, re
from pathlib import Path
import numpy as np, SimpleITK as sitk
from client.imaging.radiomics.extraction import extract_roi

def peak_after(radius):
    size = 2 * radius + 24
    values = np.random.default_rng(0).normal(40, 60, (size,) * 3).astype(np.float32)
    z, y, x = (axis - size // 2 for axis in np.ogrid[:size, :size, :size])
    mask = (z * z + y * y + x * x < radius * radius).astype(np.uint8)
    extract_roi(sitk.GetImageFromArray(values), sitk.GetImageFromArray(mask), *SETTINGS)
    # getrusage would count what the process that started this one had
    status = Path("/proc/self/status").read_text()
    return size**3, int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

SETTINGS = ("radiomics-1834", 1834)
print(json.dumps([peak_after(15), peak_after(32)]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own account")
def test_memory_grows_slowly_with_the_tumour():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (small, before), (large, after) = json.loads(done.stdout.splitlines()[-1])
    assert (after - before) / (large - small) < MOST_BYTES
    assert before < 0.6 * 2**30
