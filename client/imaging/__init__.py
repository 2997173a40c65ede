"""Images: reading, preprocessing, crops and their cache."""
