"""Who made these files: signatures over the list of all of them, checked before any of them is opened.

The form is that of OpenSSF Model Signing 1.0 with a bare key: a Sigstore bundle with a DSSE envelope around an in-toto
statement that names every file with its SHA-256. Keys are Ed25519, or the elliptic curves that other tools of that form
sign with. Whoever can change a file can change hashes beside it, but cannot sign them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import DependencyError, ModelError
from edge_runtime.hashing import sha256_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    PublicKey = Ed25519PublicKey | EllipticCurvePublicKey

SIGNATURE = "manifest.sig"  # of a bundle: the one file that its manifest does not list
INSTALL_SIGNATURES = "pip install 'fracture-edge-runtime[signatures]'"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_MEDIA_TYPES = "application/vnd.dev.sigstore.bundle"  # of any version: what is read of it has not changed
MOST_SIGNATURE_BYTES = 8 << 20  # a list of 50,000 files; more is no signature of ours
_CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}


@dataclass(frozen=True)
class TrustedKey:
    """A public key, as PEM on disk."""

    key: PublicKey
    path: Path  # where it was read
    der: bytes  # SubjectPublicKeyInfo
    hint: str  # hexadecimal SHA-256 of its PEM, by which a signature says which key made it

    @property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of the key's DER, as `openssl pkey -pubin -outform DER | sha256sum` prints it."""
        return hashlib.sha256(self.der).hexdigest()


def load_public_key(path: Path) -> TrustedKey:
    """The key in a PEM file.

    Raises:
        ModelError: no such file, or no key of a kind that signs models.
        DependencyError: cryptography is not installed.
    """
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise DependencyError(f"signatures are checked by cryptography: {INSTALL_SIGNATURES}") from error
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not a public key in PEM form"
        raise ModelError(f"{path}: {what}; a key made by edge-export --new-key was expected") from error
    is_curve = isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES
    if not (isinstance(key, Ed25519PublicKey) or is_curve):
        raise ModelError(f"{path}: a key that signs no models; Ed25519 was expected")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = key.public_bytes(serialization.Encoding.PEM, form)
    der = key.public_bytes(serialization.Encoding.DER, form)
    return TrustedKey(key, path, der, hashlib.sha256(pem).hexdigest())  # type: ignore[arg-type]


def pre_authentication_encoding(payload: bytes) -> bytes:
    """What a DSSE envelope of this payload signs (DSSE 1.0, protocol.md)."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def signed_files(signature: bytes, trusted: TrustedKey, name: str) -> dict[str, str]:
    """{path: hexadecimal SHA-256} of all files that a signature is about, once it has proven to be the key's.

    Args:
        signature: content of a signature file.
        trusted: the only key whose signature counts.
        name: of the signature file, for messages.

    Raises:
        ModelError: not such a signature, another key's, or one that says something else than its list of files.
    """
    envelope, hint = _open_bundle(signature, name)
    if hint and hint != trusted.hint:
        raise ModelError(f"{name}: signed with another key than {trusted.path}")
    payload = _decoded(envelope["payload"], name)
    _check(trusted, _decoded(envelope["signatures"][0]["sig"], name), payload, name)
    return _listed(_parsed(payload, name), name)  # read only now: nothing of it was believed before


def _open_bundle(signature: bytes, name: str) -> tuple[dict[str, Any], str]:
    """(DSSE envelope, the key's hint or nothing)."""
    bundle = _parsed(signature, name)
    try:
        envelope = bundle["dsseEnvelope"]
        hint = bundle["verificationMaterial"]["publicKey"].get("hint") or ""
        well_formed = (
            bundle["mediaType"].startswith(_MEDIA_TYPES)
            and envelope["payloadType"] == PAYLOAD_TYPE
            and len(envelope["signatures"]) == 1
            and isinstance(envelope["payload"], str)
            and isinstance(envelope["signatures"][0]["sig"], str)
            and isinstance(hint, str)
        )
    except (LookupError, TypeError, AttributeError):
        well_formed = False
    if not well_formed:
        raise ModelError(f"{name}: not a model signature made with a key (OpenSSF Model Signing 1.0)")
    return envelope, hint


def _check(trusted: TrustedKey, signature: bytes, payload: bytes, name: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey

    try:
        if isinstance(trusted.key, EllipticCurvePublicKey):
            algorithm = getattr(hashes, _CURVES[trusted.key.curve.name])()
            trusted.key.verify(signature, pre_authentication_encoding(payload), ECDSA(algorithm))
        else:
            trusted.key.verify(signature, pre_authentication_encoding(payload))
    except InvalidSignature:
        raise ModelError(f"{name}: not signed by {trusted.path}, or altered since") from None


def _listed(statement: dict[str, Any], name: str) -> dict[str, str]:
    try:
        (subject,) = statement["subject"]
        resources = statement["predicate"]["resources"]
        files = {resource["name"]: resource["digest"] for resource in resources}
        digests = b"".join(bytes.fromhex(resource["digest"]) for resource in resources)
        well_formed = (
            statement["_type"] == STATEMENT_TYPE
            and statement["predicateType"] == PREDICATE_TYPE
            and statement["predicate"]["serialization"]["method"] == "files"
            and len(files) == len(resources) > 0
            and all(resource["algorithm"] == "sha256" and len(resource["digest"]) == 64 for resource in resources)
            and subject["digest"]["sha256"] == hashlib.sha256(digests).hexdigest()
            and all(map(is_plain_path, files))
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        well_formed = False
    if not well_formed:
        raise ModelError(f"{name}: signed, but not a list of files with their SHA-256")
    return files


def is_plain_path(path: str) -> bool:
    """Whether a path leads to a file below the folder that it is relative to, and nowhere else."""
    parts = path.split("/") if isinstance(path, str) else [""]
    return all(part not in ("", ".", "..") for part in parts) and not any(char in path for char in "\\\0")


def _parsed(text: bytes, name: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key twice")  # two readers could take different ones
        return dict(pairs)

    try:
        record = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise ModelError(f"{name}: not a signature: no JSON object")
    return record


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ModelError(f"{name}: not a signature: no base64") from None


def verify_folder(folder: Path, trusted: TrustedKey, signature: str = SIGNATURE) -> None:
    """Refuses a folder unless the key has signed exactly the files in it.

    Raises:
        ModelError: there is no signature, it is another's, or a file is altered, missing or not on the list.
    """
    path = folder / signature
    files = signed_files(_read_signature(path), trusted, str(path))
    found = {name for name in _files_below(folder) if name != signature}
    compare(files, found, lambda name: sha256_of_file(folder / name), str(folder))


def compare(files: Mapping[str, str], found: set[str], hash_of: Callable[[str], str], where: str) -> None:
    """Refuses anything but the signed files.

    Args:
        files: {path: SHA-256} as signed.
        found: paths that are there.
        hash_of: the SHA-256 of one of them.
        where: the folder or archive, for messages.

    Raises:
        ModelError: a file is missing, is not on the list, or differs.
    """
    if unsigned := sorted(found - set(files)):
        raise ModelError(f"{where}: {unsigned[0]!r} is not signed; copy it again")
    if missing := sorted(set(files) - found):
        raise ModelError(f"{where}: {missing[0]!r} is signed and missing; copy it again")
    for name in sorted(files):
        if hash_of(name) != files[name]:
            raise ModelError(f"{where}: {name!r} is not the file that was signed; copy it again")


def _read_signature(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_SIGNATURE_BYTES + 1)
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: not signed: no {path.name}") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MOST_SIGNATURE_BYTES:
        raise ModelError(f"{path}: too long for a signature")
    return content


def _files_below(folder: Path) -> list[str]:
    """Paths of all that is no folder; links count, and lead to nothing that could be signed."""
    found = []
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        found += [Path(parent, name).relative_to(folder).as_posix() for name in (*names, *links)]
    return found


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a regular file; of anything else nothing that a signature could hold.

    Raises:
        ModelError: it cannot be read.
    """
    if path.is_symlink() or not path.is_file():
        return ""
    try:
        return sha256_of(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
