"""Encoders of images alone, with random weights of our own."""

import timm
import torch
from safetensors.torch import save_file

SMALL = "timm:test_vit.r160_in1k"


def torchscript(folder, vectors: bool = True) -> str:
    """Write a TorchScript file that gives 6 numbers for an image of any size, or images again."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 6, 8, 8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    module = torch.nn.Sequential(*layers) if vectors else torch.nn.Identity()
    path = folder / f"encoder-{vectors}.ts"
    torch.jit.script(module.eval()).save(str(path))
    return str(path)


def timm_weights(folder) -> tuple[str, str]:
    """Write weights of a small model of timm; return its name and their path."""
    torch.manual_seed(0)
    path = folder / "small.safetensors"
    save_file(timm.create_model(SMALL.removeprefix("timm:"), pretrained=False).state_dict(), str(path))
    return SMALL, str(path)
