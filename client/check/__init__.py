"""The rehearsal of a partner: everything that a study needs of a hospital, looked at beforehand."""
