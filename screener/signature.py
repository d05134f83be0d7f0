"""A model's detached signature: Ed25519 (RFC 8032) over the bytes of the bundle.

A card can be copied and a hash be written anew; a signature says who let a model in. Keys and
signatures are plain files that OpenSSL makes, so that no tool of ours needs to be trusted with the
private key:

    openssl genpkey -algorithm ed25519 -out site.key
    openssl pkey -in site.key -pubout -out site.pub
    openssl pkeyutl -sign -rawin -inkey site.key -in MODEL.onnx -out MODEL.onnx.sig
"""

from __future__ import annotations

from pathlib import Path

from screener.bundle import Bundle
from screener.errors import UsageError

SUFFIX = ".sig"
_LENGTH = 64
_MOST_BYTES = 64 * 1024


def signature_beside(model: Path) -> Path:
    """Where the signature of a model file lies: MODEL.onnx.sig beside MODEL.onnx."""
    return model.with_name(model.name + SUFFIX)


def require_signature(bundle: Bundle, signature: Path, public_key: Path) -> None:
    """Check that a key's owner has signed the very bytes that are run.

    Args:
        bundle: As it was loaded.
        signature: 64 bytes, as `openssl pkeyutl -sign -rawin` writes them.
        public_key: PEM, Ed25519.

    Raises:
        UsageError: cryptography is not installed, a file is missing or of another kind, or the
            signature is not the key's over this model.
    """
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise UsageError(
            "a signature cannot be checked: cryptography is not installed",
            mend="pip install '.[sign]' in the program's clone",
        ) from None
    pem, signed = _read(public_key, "public key"), _read(signature, "signature")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(
            f"{str(public_key)!r} is no Ed25519 public key in PEM",
            mend="openssl pkey -in site.key -pubout -out site.pub",
        )
    try:
        key.verify(signed, bundle.content)
    except InvalidSignature:
        why = "the model or the signature was changed, or another key signed it"
        if len(signed) != _LENGTH:
            why = f"a signature has {_LENGTH} bytes, this file {len(signed)}"
        raise UsageError(
            f"the signature {str(signature)!r} does not fit the model {bundle.name!r}",
            why,
            "take the model from where it was signed, or sign it again once you have checked it",
        ) from None


def _read(path: Path, role: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST_BYTES)
    except OSError as error:
        raise UsageError(
            f"the {role} {str(path)!r} cannot be read",
            error.strerror or "",
            "openssl pkeyutl -sign -rawin -inkey site.key -in MODEL -out MODEL.sig"
            if role == "signature"
            else "openssl pkey -in site.key -pubout -out site.pub",
        ) from error
