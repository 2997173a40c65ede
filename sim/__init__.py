"""One machine: phantom hospitals, an in-process grid, references, and the study command."""
