"""Messages between server and sites: plain data, their encoding, and the catalogue of exchanges."""
