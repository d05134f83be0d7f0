"""One image at a time: pydicom or PIL, `apply_voi_lut`, torchvision transforms, PyTorch fp32.

    python -m benchmarks.peers.seed FOLDER

Prints the seconds of each film, without the start of Python and PyTorch.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pydicom
import torch
from PIL import Image
from pydicom.pixels import apply_voi_lut
from torchvision import transforms

from benchmarks.peers.network import make_network

TRANSFORM = transforms.Compose(
    [
        transforms.Resize((224, 224), antialias=True),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def read(path: Path) -> Image.Image:
    if path.suffix == ".png":
        return Image.open(path).convert("RGB")
    ds = pydicom.dcmread(path)
    pixels = apply_voi_lut(ds.pixel_array, ds).astype(np.float32)
    pixels -= pixels.min()
    pixels /= pixels.max()
    return Image.fromarray((pixels * 255).astype(np.uint8)).convert("RGB")


def main() -> None:
    paths = sorted(Path(sys.argv[1]).iterdir())
    network = make_network()
    with torch.inference_mode():
        torch.sigmoid(network(TRANSFORM(read(paths[0]))[None]))
        started = time.perf_counter()
        for path in paths:
            torch.sigmoid(network(TRANSFORM(read(path))[None])).item()
        elapsed = time.perf_counter() - started
    print(json.dumps({"seconds_a_film": elapsed / len(paths), "films": len(paths)}))


if __name__ == "__main__":
    main()
