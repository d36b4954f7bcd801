"""Tensors on their way to a GPU."""

import torch


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on the device, put there without waiting for what the device has still to do.

    torch waits for the whole queue of a GPU unless it is told not to. The numbers are taken before this returns, so
    they may be changed at once; Metal takes them later, so there it waits.
    """
    return tensor.to(device, non_blocking=device.type != "mps")
