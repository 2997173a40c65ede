"""Guard a site: nothing leaves that the catalogue, an approval and the rules do not allow."""
