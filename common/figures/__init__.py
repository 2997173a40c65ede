"""How figures and pages of this project look; shared by the coordinator's and the hospital's."""
