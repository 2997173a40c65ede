"""From files to voxels: reading, preprocessing, crops and their cache."""
