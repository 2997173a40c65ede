"""Programs inside a hospital: everything that touches patients, and its protection."""
