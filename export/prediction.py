"""A trained network in PyTorch: loading a checkpoint, and its logits for validation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name

from export.devices import has_bf16
from export.initial_weights import load_checkpoint
from export.network import Network
from screener.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@torch.inference_mode()
def predict(
    network: Network, pixels: NDArray[np.uint8], size: int, device: torch.device
) -> NDArray[np.float32]:
    """Logits float32 (N, K) of uint8 (N, 224, 224), shrunk to `size` by area first."""
    network.eval()
    out = []
    for chunk in torch.split(torch.from_numpy(pixels), 64):
        batch = chunk[:, None].float() / 255
        if size != batch.shape[-1]:
            batch = F.interpolate(batch, (size, size), mode="area")
        batch = batch.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device)):
            out.append(network(batch).float().cpu())
    logits: NDArray[np.float32] = torch.cat(out).numpy()
    return logits


def rank_auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by scikit-learn."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, scores))


def load_network(checkpoint: Path) -> tuple[Network, dict[str, Any]]:
    """The averaged network of a checkpoint, in eval mode, and the facts of its run."""
    loaded = load_checkpoint(checkpoint)
    state = loaded.get("weights", loaded)
    if "backbone.fc.weight" not in state:
        raise UsageError(f"{str(checkpoint)!r} is no checkpoint of `screener train`")
    network = Network(state["backbone.fc.weight"].shape[0])
    network.load_state_dict(state)
    return network.eval(), loaded["facts"]
