"""Where a network starts from: nothing, ImageNet, a checkpoint, or a float bundle.

A bundle has its batch norms folded into the convolutions. They are unfolded again: first as norms
that change nothing but add the bias, then with the mean and variance that each one really sees, so
that the network gives what it gave and trains as one that never was folded.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights

from screener.bundle import Bundle, load_bundle
from screener.errors import UsageError

if TYPE_CHECKING:
    from export.network import Network

SHIPPED = "shipped"


def is_bundle(source: str) -> bool:
    """Whether the weights are those of a bundle: the shipped one, or a file by its ending."""
    return source == SHIPPED or source.endswith(".onnx")


def _open(source: str) -> Bundle:
    return load_bundle(None if source == SHIPPED else Path(source))


def load_initial_weights(network: Network, source: str) -> None:
    """Load `scratch` (nothing), `imagenet` (torchvision's), `shipped`, or a file's weights.

    A three-channel first layer is summed over its channels, which is exact for grey input. A head
    of another size stays as it was initialised. After a bundle's, `measure_batch_norm` is due.

    Raises:
        UsageError: the file does not hold weights of a ResNet50.
    """
    if source == "scratch":
        return
    if source == "imagenet":
        state: dict[str, Any] = ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=False)
    elif is_bundle(source):
        state = read_bundle(source)
    else:
        state = read_state(Path(source))
    state = {key.removeprefix("backbone."): value for key, value in state.items()}
    own = network.backbone.state_dict()
    first = state.get("conv1.weight")
    if first is None:
        raise UsageError(f"{source!r} holds no ResNet50 weights", mend="name a ResNet50 state dict")
    if first.shape[1] == 3:
        state["conv1.weight"] = first.sum(1, keepdim=True)
    if state["fc.weight"].shape != own["fc.weight"].shape:
        state["fc.weight"], state["fc.bias"] = own["fc.weight"], own["fc.bias"]
    try:
        network.backbone.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(
            f"{source!r} does not fit a ResNet50", str(error).splitlines()[0]
        ) from error


def check_origin(source: str, data_sha256: str, seed: int) -> None:
    """Refuse weights that were trained on the same data divided otherwise.

    Films that they learnt would stand among those that the new run is measured on.

    Args:
        source: As for `load_initial_weights`.
        data_sha256: Of the data to train on.
        seed: Of the new run's split.

    Raises:
        UsageError: the weights name the same data and another seed.
    """
    known: tuple[str, int] | None = None
    if is_bundle(source):
        training = _open(source).card.training_data
        known = training.manifest_sha256, training.seed
    elif source not in ("scratch", "imagenet"):
        facts = load_checkpoint(Path(source)).get("facts")
        if facts:
            known = facts["data_sha256"], facts["recipe"]["seed"]
    if known and known[0] == data_sha256 and known[1] != seed:
        raise UsageError(
            f"{source!r} was trained on this data divided by seed {known[1]}, not {seed}",
            "films that it learnt would be in this run's validation and test parts",
            f"give --seed {known[1]}",
        )


def read_bundle(source: str) -> dict[str, Tensor]:
    """The weights of a float bundle as a ResNet50's state, its batch norms adding the biases only.

    Raises:
        UsageError: no valid bundle, an int8 one, or none of a ResNet50.
    """
    from onnx import load_model_from_string, numpy_helper

    bundle = _open(source)
    if bundle.card.precision != "float":
        raise UsageError(
            f"{source!r} is {bundle.card.precision}", mend="give the float bundle it was made of"
        )
    held = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()).float()
        for tensor in load_model_from_string(bundle.content).graph.initializer
    }
    if not {"conv1.weight.half", "head.weight.half", "head.b"} <= set(held):
        raise UsageError(f"{source!r} holds no ResNet50 weights")
    state = {"fc.weight": held["head.weight.half"].flatten(1), "fc.bias": held["head.b"]}
    for name, weight in held.items():
        conv, _, kind = name.rpartition(".weight.half")
        if kind or not conv or f"{conv}.bias" not in held:
            continue
        block, _, last = conv.rpartition(".")
        both = ("0", "1") if last == "downsample" else (last, last.replace("conv", "bn"))
        inner = f"{conv}." if last == "downsample" else f"{block}." if block else ""
        bias = held[f"{conv}.bias"]
        state[f"{inner}{both[0]}.weight"] = weight
        for what, value in _plain_norm(bias).items():
            state[f"{inner}{both[1]}.{what}"] = value
    return state


def _plain_norm(bias: Tensor) -> dict[str, Tensor]:
    """A batch norm that adds `bias` (C,) and does nothing else."""
    epsilon = nn.BatchNorm2d(1).eps
    return {
        "weight": torch.ones_like(bias),
        "bias": bias,
        "running_mean": torch.zeros_like(bias),
        "running_var": torch.full_like(bias, 1 - epsilon),
        "num_batches_tracked": torch.tensor(0),
    }


@torch.no_grad()
def measure_batch_norm(network: Network, films: Tensor) -> None:
    """Give each batch norm the mean and variance that it sees; the network's output stays.

    Else the first step of training, which takes them from its batch, would see another network.

    Args:
        network: Changed in place.
        films: float32 (N, 1, H, W) in [0, 1], as the first stage will see them.
    """

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not isinstance(norm, nn.BatchNorm2d):
            return
        if norm.running_mean is None or norm.running_var is None:
            return
        mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), correction=0)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + scale * mean)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    network.eval()
    network(films)
    for hook in hooks:
        hook.remove()


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint or a bare state dict; never unpickles code (`weights_only=True`).

    Raises:
        UsageError: the file is missing, broken, or holds more than tensors and plain values.
    """
    loaded = load_checkpoint(path)
    state: dict[str, Any] = loaded.get("weights", loaded)
    return state


def _check_whole(path: Path) -> None:
    """Torch reads its archives without a look at their check sums: a flipped bit would be used."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged!r} is damaged")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What a file of torch holds, empty where that is no dict.

    Raises:
        UsageError: as `read_state`.
    """
    try:
        _check_whole(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"no such checkpoint: {str(path)!r}") from error
    except Exception as error:
        # torch raises many unrelated types for a broken or unsafe file.
        raise UsageError(
            f"{str(path)!r} is not a readable checkpoint",
            type(error).__name__,
            "give a checkpoint that `screener train` or torch.save(state_dict) wrote",
        ) from error
    return loaded if isinstance(loaded, dict) else {}
