"""Style of pages and figures, shared by the coordinator's and the hospital's."""
