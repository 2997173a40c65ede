"""The record of what left a site: its entries, the chain that binds them, how it is checked."""
