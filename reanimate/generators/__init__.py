"""Generators, one file per family, in plain PyTorch."""
