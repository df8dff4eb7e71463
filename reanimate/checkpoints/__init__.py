"""Files to networks and networks to files. Nothing here runs code that a file brings along."""
