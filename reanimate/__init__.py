"""Make a still portrait move like the person in a video, by inverting a style generator.

The library: it knows nothing of caches, configuration files or terminals. `pipeline` stages it, `cli` drives it.
"""

__version__ = "0.1.0"
