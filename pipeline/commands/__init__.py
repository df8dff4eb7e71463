"""The command groups, one file each. Only click is imported at the top, so that help appears at once."""
