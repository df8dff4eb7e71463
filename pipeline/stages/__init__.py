"""The stages, one short file each: load, call reanimate, save."""
