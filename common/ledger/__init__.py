"""Record of everything that left a site: its entries, their chain, and its verification."""
