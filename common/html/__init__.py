"""Base page, macros, style and figures, shared by the coordinator's pages and the hospital's."""
