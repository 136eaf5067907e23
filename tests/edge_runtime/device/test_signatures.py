"""Only the key's own list of files opens a folder or an archive: nothing altered, added, missing or pretended."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge_runtime.cli import main as edge_infer
from edge_runtime.device.archives import age_of, proven_package, refuse_older
from edge_runtime.device.cli import main as edge_device
from edge_runtime.device.signatures import SIGNATURE, is_plain_path, load_public_key, verify_folder
from edge_runtime.errors import DataError, GateError, ModelError
from export.bundle.signing import Signer, new_key
from export.package.archive import write_archive


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def signed(bundle_copy: Path, key: Path) -> Path:
    Signer(key).sign_folder(bundle_copy)
    return bundle_copy


def public(key: Path) -> Any:
    return load_public_key(Path(f"{key}.pub"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_a_folder_is_what_was_signed(signed: Path, key: Path) -> None:
    verify_folder(signed, public(key))
    assert SIGNATURE not in json.loads((signed / "manifest.json").read_text())["files"]


def test_every_file_of_a_bundle_is_held_to_the_signature(signed: Path, key: Path) -> None:
    paths = [path for path in sorted(signed.rglob("*")) if path.is_file()]
    assert len(paths) > 8
    for path in paths:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ModelError):
            verify_folder(signed, public(key))
        path.unlink()
        with pytest.raises(ModelError, match="missing|not signed"):
            verify_folder(signed, public(key))
        path.write_bytes(content)
    verify_folder(signed, public(key))


@pytest.mark.parametrize("name", ["extra.txt", "golden/extra.png", ".hidden"])
def test_a_file_that_nobody_signed_is_refused(signed: Path, key: Path, name: str) -> None:
    (signed / name).write_text("x")
    with pytest.raises(ModelError, match="is not signed"):
        verify_folder(signed, public(key))


def test_a_link_is_no_signed_file(signed: Path, key: Path, tmp_path: Path) -> None:
    (signed / "MODEL_CARD.md").rename(tmp_path / "elsewhere")
    (signed / "MODEL_CARD.md").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="MODEL_CARD"):
        verify_folder(signed, public(key))


def test_another_key_is_refused_and_so_is_its_hint_alone(signed: Path, key: Path, tmp_path: Path) -> None:
    new_key(tmp_path / "other")
    with pytest.raises(ModelError, match="another key"):
        verify_folder(signed, public(tmp_path / "other"))
    rewrite(signed / SIGNATURE, lambda record: record["verificationMaterial"]["publicKey"].pop("hint"))
    verify_folder(signed, public(key))
    with pytest.raises(ModelError, match="not signed by"):
        verify_folder(signed, public(tmp_path / "other"))


def _payload(record: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    statement = json.loads(base64.b64decode(record["dsseEnvelope"]["payload"]))
    change(statement)
    record["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()


PRETENCES = {
    "no JSON": lambda path: path.write_text("signed, honestly"),
    "a list": lambda path: path.write_text("[]"),
    "a key twice": lambda path: path.write_text('{"dsseEnvelope": {}, ' + path.read_text()[1:]),
    "deep nesting": lambda path: path.write_text("[" * 100_000),
    "another media type": lambda path: rewrite(path, lambda r: r.update(mediaType="application/x")),
    "no envelope": lambda path: rewrite(path, lambda r: r.pop("dsseEnvelope")),
    "no signatures": lambda path: rewrite(path, lambda r: r["dsseEnvelope"].update(signatures=[])),
    "empty signature": lambda path: rewrite(path, lambda r: r["dsseEnvelope"]["signatures"][0].update(sig="")),
    "no base64": lambda path: rewrite(path, lambda r: r["dsseEnvelope"]["signatures"][0].update(sig="!")),
    "another payload type": lambda path: rewrite(path, lambda r: r["dsseEnvelope"].update(payloadType="text/plain")),
    "another list": lambda path: rewrite(path, lambda r: _payload(r, lambda s: s["predicate"]["resources"].pop())),
    "hint of a wrong type": lambda path: rewrite(
        path, lambda r: r["verificationMaterial"]["publicKey"].update(hint=["x"])
    ),
}


@pytest.mark.parametrize("pretence", PRETENCES)
def test_what_is_no_signature_is_refused_in_one_line(signed: Path, key: Path, pretence: str) -> None:
    PRETENCES[pretence](signed / SIGNATURE)
    with pytest.raises(ModelError) as caught:
        verify_folder(signed, public(key))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(predicateType="https://example.com/other"),
        lambda s: s["subject"][0]["digest"].update(sha256="0" * 64),
        lambda s: s["predicate"]["resources"][0].update(algorithm="md5"),
        lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0]),
        lambda s: s["predicate"]["resources"][0].update(name="../outside"),
        lambda s: s["predicate"].update(resources=[]),
    ],
)
def test_a_signed_list_must_still_be_a_list_of_files(signed: Path, key: Path, change: Any) -> None:
    signer = Signer(key)
    statement = json.loads(base64.b64decode(json.loads((signed / SIGNATURE).read_text())["dsseEnvelope"]["payload"]))
    change(statement)
    (signed / SIGNATURE).write_text(json.dumps(signer._bundle(json.dumps(statement).encode())))
    with pytest.raises(ModelError, match="not a list of files"):
        verify_folder(signed, public(key))


def test_paths_that_lead_elsewhere_are_not_plain() -> None:
    assert is_plain_path("golden/phantom 1.png")
    for path in ("", "/etc/passwd", "a/../b", "./a", "a//b", "a\\b", "a\0b", "a/"):
        assert not is_plain_path(path)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_keys_of_other_tools_of_the_same_form_sign_too(bundle_copy: Path, tmp_path: Path, curve: Any) -> None:
    key = ec.generate_private_key(curve)
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (tmp_path / "ec").write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "ec.pub").write_bytes(key.public_key().public_bytes(encoding, form))
    Signer(tmp_path / "ec").sign_folder(bundle_copy)
    verify_folder(bundle_copy, public(tmp_path / "ec"))


def test_keys_are_private_and_never_overwritten(key: Path) -> None:
    assert key.stat().st_mode & 0o077 == 0
    with pytest.raises(DataError, match="never overwritten"):
        new_key(key)


@pytest.mark.parametrize("content", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").write_text(content)
    with pytest.raises(ModelError, match="not a public key"):
        load_public_key(tmp_path / "x")
    with pytest.raises(DataError, match="--new-key"):
        Signer(tmp_path / "x")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_a_stock_openssl_checks_a_file_by_hand(key: Path, tmp_path: Path) -> None:
    (tmp_path / "pi.zip").write_bytes(os.urandom(5000))
    signature = Signer(key).sign_file(tmp_path / "pi.zip")
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", f"{key}.pub", "-rawin"]
    command += ["-in", str(tmp_path / "pi.zip"), "-sigfile", str(signature)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    (tmp_path / "pi.zip").write_bytes(os.urandom(5000))
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_edge_infer_requires_a_signature_where_it_is_told_to(
    signed: Path, tiny_bundle: Path, key: Path, golden_images: list[Path]
) -> None:
    def run(model: Path) -> Any:
        arguments = ["--require-signature", f"{key}.pub", "--model", str(model), str(golden_images[0])]
        return CliRunner().invoke(edge_infer, arguments)

    assert run(signed).exit_code == 0
    for model, says in ((tiny_bundle, "not signed"), (signed / "model_int8.onnx", "single file")):
        result = run(model)
        assert (result.exit_code, says in result.stderr) == (3, True)
    (signed / "parity.json").write_text("{}")
    assert run(signed).exit_code == 3


# Archives


@pytest.fixture
def package(tmp_path: Path, key: Path) -> Path:
    """A signed package whose installer leaves a mark where it runs."""
    folder = tmp_path / "pi"
    (folder / "wheels").mkdir(parents=True)
    (folder / "install.sh").write_text('#!/bin/sh\ntouch "$2/ran"\n')
    (folder / "package.conf").write_text("version=0.1.0\nnumber=5\n")
    (folder / "wheels" / "x.whl").write_bytes(os.urandom(2000))
    Signer(key).sign_folder(folder, "package.sig")
    return folder


@pytest.fixture
def prefix(tmp_path: Path, key: Path) -> Path:
    """Where a key is pinned."""
    (tmp_path / "prefix").mkdir()
    shutil.copy(f"{key}.pub", tmp_path / "prefix" / "trusted.pub")
    return tmp_path / "prefix"


def install(folder: Path, prefix: Path, *options: str) -> Any:
    archive = folder.with_suffix(".zip")
    archive.unlink(missing_ok=True)
    write_archive(folder, archive, folder.name)
    return CliRunner().invoke(edge_device, ["install", str(archive), "--prefix", str(prefix), *options])


def test_a_signed_package_runs_its_installer_and_leaves_nothing_else(package: Path, prefix: Path) -> None:
    assert install(package, prefix).exit_code == 0
    assert {path.name for path in prefix.iterdir()} == {"trusted.pub", "ran"}


def test_a_package_altered_in_any_part_is_refused_before_any_of_it_runs(package: Path, prefix: Path) -> None:
    parts = [path for path in sorted(package.rglob("*")) if path.is_file()]
    assert {path.name for path in parts} == {"install.sh", "package.conf", "package.sig", "x.whl"}
    for part in parts:
        content = part.read_bytes()
        for altered in (content + b"\n#", content[:-2], None):
            part.unlink() if altered is None else part.write_bytes(altered)
            assert install(package, prefix).exit_code == 3
            part.write_bytes(content)
    (package / "more.sh").write_text("touch ran")
    assert install(package, prefix).exit_code == 3
    assert {path.name for path in prefix.iterdir()} == {"trusted.pub"}


def test_an_older_package_is_refused_unless_it_is_asked_for(package: Path, prefix: Path) -> None:
    (prefix / "current").mkdir()
    for settings, code in (
        ("0.1.0\nnumber=5", 0),
        ("0.1.0\nnumber=6", 4),
        ("0.2.0\nnumber=1", 4),
        ("0.0.9\nnumber=9", 0),
    ):
        (prefix / "current" / "package.conf").write_text(f"version={settings}\n")
        assert install(package, prefix).exit_code == code
    (prefix / "current" / "package.conf").write_text("version=0.2.0\nnumber=1\n")
    assert install(package, prefix, "--allow-downgrade").exit_code == 0


def test_versions_are_compared_as_numbers(tmp_path: Path) -> None:
    assert age_of({"version": "0.10.0", "number": "1"}) > age_of({"version": "0.9.9", "number": "7"})
    with pytest.raises(ModelError):
        age_of({"version": "new"})
    (tmp_path / "package.conf").write_text("version=1.0\nnumber=2\n")
    refuse_older(tmp_path, tmp_path / "absent")
    refuse_older(tmp_path, tmp_path)
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "package.conf").write_text("version=0.9\nnumber=2\n")
    with pytest.raises(GateError, match="--allow-downgrade"):
        refuse_older(tmp_path / "older", tmp_path)


def test_without_a_pinned_key_one_must_be_given(package: Path, tmp_path: Path, key: Path) -> None:
    (tmp_path / "bare").mkdir()
    assert install(package, tmp_path / "bare").exit_code == 2
    assert install(package, tmp_path / "bare", "--key", f"{key}.pub").exit_code == 0


def test_archives_that_are_none_or_lead_elsewhere_are_refused(tmp_path: Path, package: Path, key: Path) -> None:
    archive = tmp_path / "x.zip"
    for names in (["../out", "pi/package.sig"], ["pi/a", "other/package.sig"], ["pi/a", "pi/a", "pi/package.sig"], []):
        with zipfile.ZipFile(archive, "w") as stream, pytest.warns() if names.count("pi/a") > 1 else _nothing():
            for name in names:
                stream.writestr(name, b"x")
        with pytest.raises(ModelError), proven_package(archive, public(key), tmp_path):
            pass
    archive.write_bytes(b"PK\3\4 no archive")
    with pytest.raises(ModelError), proven_package(archive, public(key), tmp_path):
        pass
    assert not list(tmp_path.glob(".incoming*")) and not (tmp_path.parent / "out").exists()


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()
