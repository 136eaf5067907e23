"""Signs what edge-export writes: every file with its SHA-256, as `edge_runtime.device.signatures` reads it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from edge_runtime.device.signatures import (
    INSTALL_SIGNATURES,
    MEDIA_TYPE,
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    SIGNATURE,
    STATEMENT_TYPE,
    load_public_key,
    pre_authentication_encoding,
    sha256_of_file,
)
from edge_runtime.errors import DataError, DependencyError
from edge_runtime.whole_files import write_whole

PUBLIC_SUFFIX = ".pub"
DETACHED_SUFFIX = ".sig"


def new_key(path: Path) -> str:
    """The fingerprint of a new pair of keys: the private one at path, for its owner alone, the public one beside it.

    Raises:
        DataError: one of the two exists already.
        DependencyError: cryptography is not installed.
    """
    _need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public_path = Path(f"{path}{PUBLIC_SUFFIX}")
    for taken in (path, public_path):
        if taken.exists():
            raise DataError(f"{taken}: exists already; a key is never overwritten")
    key = Ed25519PrivateKey.generate()
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    public_path.write_bytes(public)
    return load_public_key(public_path).fingerprint


class Signer:
    """A private key.

    Args:
        path: of its PEM file: Ed25519 as `new_key` writes it, or an elliptic curve that other tools sign with.

    Raises:
        DataError: no such file, or no key of these kinds.
        DependencyError: cryptography is not installed.
    """

    def __init__(self, path: Path) -> None:
        _need_cryptography()
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        try:
            self._key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            what = error.strerror if isinstance(error, OSError) else "not a private key in PEM form without a password"
            raise DataError(f"--sign {path}: {what}; make one with edge-export --new-key {path}") from error
        if not isinstance(self._key, Ed25519PrivateKey | EllipticCurvePrivateKey):
            raise DataError(f"--sign {path}: Ed25519 was expected; make a key with edge-export --new-key FILE")
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self.public_pem: bytes = self._key.public_key().public_bytes(serialization.Encoding.PEM, form)

    def sign_folder(self, folder: Path, signature: str = SIGNATURE) -> None:
        """Writes the signature of all other files into a folder."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / signature)
        files = {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in paths}
        payload = json.dumps(_statement(folder.name, dict(sorted(files.items())), signature)).encode()
        write_whole(folder / signature, json.dumps(self._bundle(payload)))

    def sign_file(self, path: Path) -> Path:
        """Writes a bare signature beside one file, which a stock openssl checks, and returns where."""
        target = Path(f"{path}{DETACHED_SUFFIX}")
        write_whole(target, self._sign(path.read_bytes()))
        return target

    def _sign(self, message: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey

        if not isinstance(self._key, EllipticCurvePrivateKey):
            return bytes(self._key.sign(message))  # type: ignore[call-arg, union-attr]
        sizes = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
        return self._key.sign(message, ECDSA(sizes[self._key.curve.key_size]))

    def _bundle(self, payload: bytes) -> dict[str, Any]:
        signature = self._sign(pre_authentication_encoding(payload))
        return {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {
                "publicKey": {"hint": hashlib.sha256(self.public_pem).hexdigest()},
                "tlogEntries": [],
            },
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }


def _statement(name: str, files: dict[str, str], signature: str) -> dict[str, Any]:
    """An in-toto statement about files, {path: hexadecimal SHA-256} in order of path."""
    whole = hashlib.sha256(b"".join(map(bytes.fromhex, files.values()))).hexdigest()
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [signature],
            },
            "resources": [{"name": path, "algorithm": "sha256", "digest": digest} for path, digest in files.items()],
        },
    }


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise DependencyError(f"cryptography signs: {INSTALL_SIGNATURES}") from error
