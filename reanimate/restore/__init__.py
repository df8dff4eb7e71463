"""A generator as an image prior: what a picture lacks is what the generator draws of the rest."""
