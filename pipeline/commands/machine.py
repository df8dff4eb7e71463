"""On what something was measured."""

from __future__ import annotations

import platform


def machine(device: str) -> str:
    """The machine in words."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{torch.get_num_threads()} CPU threads"
    return f"{name}, {platform.machine()}, torch {torch.__version__}, python {platform.python_version()}"
