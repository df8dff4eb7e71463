"""The staged, resumable runner: which stages there are, what they are given, where their results are kept."""
