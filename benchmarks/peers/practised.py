"""The best that a practised user writes: a DataLoader with workers, batches, bf16 channels_last.

Decodes with the decoders that `screener` uses, but at full size, windows there in one numpy
expression and shrinks with Pillow's box filter.

    python -m benchmarks.peers.practised FOLDER WORKERS

Prints the seconds of each film, without the start of Python and PyTorch.
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import torch
from PIL import Image
from pydicom.encaps import get_frame
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.network import make_network

BATCH = 16


def decode(ds: pydicom.Dataset) -> np.ndarray:
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return np.frombuffer(ds.PixelData, np.uint16).reshape(ds.Rows, ds.Columns)
    frame = get_frame(ds.PixelData, 0, number_of_frames=1)
    if syntax.endswith(".4.80"):
        return imagecodecs.jpegls_decode(frame)
    # Pillow shifts 12 bits up to 16.
    return np.asarray(Image.open(io.BytesIO(frame))) >> (16 - ds.BitsStored)


def read(path: Path) -> np.ndarray:
    if path.suffix == ".png":
        pixels = np.asarray(Image.open(path).convert("L"), dtype=np.float32) / 255
    else:
        ds = pydicom.dcmread(path)
        low = float(ds.WindowCenter) - float(ds.WindowWidth) / 2
        pixels = (decode(ds).astype(np.float32) - low) / float(ds.WindowWidth)
        np.clip(pixels, 0, 1, out=pixels)
    small = Image.fromarray(pixels).resize((224, 224), Image.Resampling.BOX)
    return np.asarray(small)


class Films(Dataset):
    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(read(self.paths[index]).copy())[None].expand(3, -1, -1)


def main() -> None:
    paths, workers = sorted(Path(sys.argv[1]).iterdir()), int(sys.argv[2])
    network = make_network().to(memory_format=torch.channels_last)
    loader = DataLoader(Films(paths), BATCH, num_workers=workers, prefetch_factor=2)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        network(torch.zeros(BATCH, 3, 224, 224).to(memory_format=torch.channels_last))
        started = time.perf_counter()
        for batch in loader:
            torch.sigmoid(network(batch.to(memory_format=torch.channels_last)).float()).tolist()
        elapsed = time.perf_counter() - started
    print(json.dumps({"seconds_a_film": elapsed / len(paths), "films": len(paths)}))


if __name__ == "__main__":
    main()
