"""Detached signatures: OpenSSL signs, we check; nothing but the signed bytes is run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from screener.bundle import load_bundle
from screener.errors import UsageError
from screener.precision import choose_bundle
from screener.settings import Settings
from screener.signature import require_signature, signature_beside
from tests.conftest import Run
from tests.films import TINY

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def make_keys(folder: Path, name: str, algorithm: str = "ed25519") -> tuple[Path, Path]:
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    openssl("genpkey", "-algorithm", algorithm, "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    return private, public


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path]:
    """A model with its signature beside it, and the public key."""
    model = tmp_path / "site.onnx"
    shutil.copyfile(TINY, model)
    private, public = make_keys(tmp_path, "site")
    sign = ("pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", model)
    openssl(*sign, "-out", signature_beside(model))
    return model, public


def test_a_signed_model_is_taken(signed: tuple[Path, Path], run_screener: Run) -> None:
    model, public = signed
    settings = Settings(model=model, model_public_key=public)
    assert choose_bundle(settings).bundle.sha256 == load_bundle(model).sha256
    done = run_screener("model", "verify", model, "--public-key", public)
    assert done.returncode == 0, done.stderr
    assert "signature" in done.stdout


def refusal(model: Path, public: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        require_signature(load_bundle(model), signature_beside(model), public)
    return caught.value


def test_another_model_under_the_same_name_is_refused(signed: tuple[Path, Path]) -> None:
    model, public = signed
    content = bytearray(model.read_bytes())
    # The card's own text: the model loads, and is not what was signed.
    place = content.index(b"intended_use") + 20
    content[place] ^= 1
    model.write_bytes(content)
    assert "does not fit" in refusal(model, public).what


def test_another_key_is_refused(signed: tuple[Path, Path], tmp_path: Path) -> None:
    model, _ = signed
    _, other = make_keys(tmp_path, "other")
    assert "does not fit" in refusal(model, other).what


def test_a_key_of_another_kind_is_refused(signed: tuple[Path, Path], tmp_path: Path) -> None:
    model, _ = signed
    _, other = make_keys(tmp_path, "rsa", "rsa")
    assert "no Ed25519 public key" in refusal(model, other).what
    no_key = tmp_path / "text.pub"
    no_key.write_text("no key", encoding="ascii")
    assert "no Ed25519 public key" in refusal(model, no_key).what


def test_a_cut_signature_is_told(signed: tuple[Path, Path]) -> None:
    model, public = signed
    signature_beside(model).write_bytes(b"\0" * 63)
    assert refusal(model, public).why == "a signature has 64 bytes, this file 63"


def test_a_scan_that_requires_a_signature_refuses_without(
    signed: tuple[Path, Path], tmp_path: Path, run_screener: Run
) -> None:
    model, public = signed
    signature_beside(model).unlink()
    site = tmp_path / "site.toml"
    site.write_text(f'model = "{model}"\nmodel_public_key = "{public}"\n', encoding="utf-8")
    (tmp_path / "studies").mkdir()
    out = tmp_path / "out"
    done = run_screener("scan", tmp_path / "studies", "--out", out, "--config", site)
    assert done.returncode == 2
    assert "signature" in done.stderr
    assert not out.exists()
    with pytest.raises(UsageError, match="came with the package"):
        choose_bundle(Settings(model_public_key=public))


def test_half_of_what_verify_needs_is_a_usage_error(
    signed: tuple[Path, Path], run_screener: Run
) -> None:
    model, public = signed
    alone = run_screener("model", "verify", model, "--signature", signature_beside(model))
    assert (alone.returncode, "--public-key" in alone.stderr) == (2, True)
    shipped = run_screener("model", "verify", "--public-key", public)
    assert (shipped.returncode, "--signature" in shipped.stderr) == (2, True)
