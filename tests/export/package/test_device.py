"""A device after installation: commands in PATH, going back, another network, what it tells of itself, and removal."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.device.changes import swap_model
from edge_runtime.device.signatures import load_public_key
from edge_runtime.embedded_spec import embed, read_embedded_spec
from edge_runtime.errors import ModelError
from edge_runtime.whole_files import exchange
from export.bundle.signing import Signer, new_key
from tests.export.package.conftest import Install, run_privately, unpack
from tests.export.package.test_install import seal

USAGE, ALTERED, FAILED = 2, 3, 4  # exit codes
COMMANDS = ("edge-infer", "edge-device", "edge-serve")


def run(command: object, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "EDGE_MODEL")}
    command = [str(command), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=environment)


def edge_device(install: Install, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run(install.prefix / "bin" / "edge-device", *arguments)


@pytest.fixture(scope="module")
def device(archive, newer_archive, tmp_path_factory) -> Install:
    """Two releases, and links beside the prefix; each test leaves a release in use that answers."""
    folder = tmp_path_factory.mktemp("device")
    for each in (archive, newer_archive):
        installed = Install(unpack(each, folder), folder / "prefix")
        done = installed.run("--link", str(folder / "links"))
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "ready: edge-infer IMAGE..."
    return installed


def test_commands_are_found_through_their_links(device, golden_images, require_schema):
    links = device.prefix.parent / "links"
    assert {path.name for path in links.iterdir()} == set(COMMANDS)
    done = run(links / "edge-infer", "--json", golden_images[0])
    assert done.returncode == 0 and json.loads(done.stdout)["decision"]
    assert "page" in run(links / "edge-serve", "--help").stdout
    refused = run(
        links / "edge-serve", "--dicom-port", 0, "--dicom-host", "0.0.0.0", "--state", device.prefix / "state"
    )
    assert refused.returncode == USAGE and "--dicom-allow" in refused.stderr  # past what needs pynetdicom
    told = json.loads(run(links / "edge-device", "status", "--json").stdout)
    require_schema("edge-device-status-1", told)
    assert told["prefix"] == str(device.prefix)


def test_going_back_is_one_rename_and_there_and_back_is_where_it_was(device):
    current, previous = device.current, (device.prefix / "previous").resolve()
    for expected, kept in ((previous, current), (current, previous)):
        before = (device.prefix / "current").lstat().st_ino
        done = edge_device(device, "rollback")
        assert (done.returncode, done.stdout) == (0, f"in use: {expected.name}\n"), done.stderr
        assert device.current == expected and (device.prefix / "previous").resolve() == kept
        assert (device.prefix / "previous").lstat().st_ino == before  # the very link: both changed places in one step
        assert device.self_test().returncode == 0


def test_a_kept_release_that_is_damaged_does_not_come_into_use(device):
    current, kept = device.current, (device.prefix / "previous").resolve()
    model = kept / "bundle" / "model_int8.tflite"
    content = model.read_bytes()
    model.write_bytes(b"damaged" + content)
    done = edge_device(device, "rollback")
    model.write_bytes(content)
    assert done.returncode == FAILED and "self-test failed" in done.stderr
    assert device.current == current


def test_another_network_takes_over_and_goes_again(device, tiny_bundle, tmp_path, golden_images):
    bundle = renamed(tiny_bundle, tmp_path / "other", "another-network")
    before, used = device.current, disk_used(device.prefix)
    done = edge_device(device, "swap-model", bundle)
    assert done.returncode == 0, done.stderr
    assert disk_used(device.prefix) - used < 8 << 20  # of some 100 MB: the programs are there once
    facts = json.loads(edge_device(device, "status", "--json").stdout)
    assert facts["current"]["model"].startswith("another-network/") and len(device.releases) == 2
    assert (device.prefix / "previous").resolve() == before
    shutil.move(before, tmp_path / "away")  # the new release stands on its own
    answer = json.loads(run(device.prefix / "bin" / "edge-infer", "--json", golden_images[0]).stdout)
    shutil.move(tmp_path / "away", before)
    assert answer["model"].startswith("another-network/")
    assert edge_device(device, "rollback").returncode == 0 and device.current == before


def test_a_network_that_is_altered_or_answers_wrongly_changes_nothing(device, bundle_copy):
    before = (device.current, (device.prefix / "previous").resolve(), device.releases)
    expected = bundle_copy / "golden" / "expected.json"
    answers = json.loads(expected.read_text())
    for image in answers.values():
        image["model_int8.tflite"]["probability"] = 1 - image["model_int8.tflite"]["probability"]
    expected.write_text(json.dumps(answers))
    assert edge_device(device, "swap-model", bundle_copy).returncode == ALTERED
    list_again(bundle_copy, "golden/expected.json")
    done = edge_device(device, "swap-model", bundle_copy)
    assert done.returncode == FAILED and "self-test failed" in done.stderr
    assert (device.current, (device.prefix / "previous").resolve(), device.releases) == before


def test_with_a_pinned_key_a_network_without_its_signature_is_refused(device, tiny_bundle, tmp_path):
    new_key(tmp_path / "key")
    shutil.copy(tmp_path / "key.pub", device.prefix / "trusted.pub")
    try:
        before = device.current
        done = edge_device(device, "swap-model", tiny_bundle)
        assert done.returncode == 5 and "cryptography" in done.stderr  # a package without signatures brings none
    finally:
        (device.prefix / "trusted.pub").unlink()
    assert device.current == before
    trusted = load_public_key(tmp_path / "key.pub")
    with pytest.raises(ModelError, match="manifest.sig"):
        swap_model(device.prefix, tiny_bundle, trusted)
    signed = Path(shutil.copytree(tiny_bundle, tmp_path / "signed"))
    Signer(tmp_path / "key").sign_folder(signed, "manifest.sig")
    swap_model(device.prefix, signed, trusted)
    assert edge_device(device, "rollback").returncode == 0 and device.current == before


def test_what_no_longer_answers_in_use_goes_out_of_it_by_itself(device, newer_archive, tmp_path):
    """An update whose self-test passes and whose command then fails: edge-infer of this package knows no --json."""
    package = unpack(newer_archive, tmp_path)
    (wheel,) = (package / "wheels").glob("fracture_edge_runtime-*.whl")
    old_sum = sha256(wheel)
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["edge_runtime/cli.py"] = contents["edge_runtime/cli.py"].replace(b'"--json"', b'"--jsonn"')
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    for requirements in package.glob("requirements-*.txt"):
        requirements.write_text(requirements.read_text().replace(old_sum, sha256(wheel)))
    seal(package)
    before = (device.current, (device.prefix / "previous").resolve(), device.releases)
    done = Install(package, device.prefix).run()
    assert done.returncode == FAILED and "did not answer once it was in use" in done.stderr
    assert "passed  model_int8.tflite" in done.stdout
    assert (device.current, (device.prefix / "previous").resolve(), device.releases) == before
    assert device.self_test().returncode == 0


def test_a_command_of_somebody_else_keeps_its_place(device):
    links = device.prefix.parent / "others"
    links.mkdir()
    (links / "edge-infer").write_text("somebody else's")
    (links / "edge-serve").symlink_to("/nowhere")
    done = device.run("--link", str(links))
    assert done.returncode == 0 and done.stderr.count("is something else and was left alone") == 2
    assert (links / "edge-infer").read_text() == "somebody else's" and os.readlink(links / "edge-serve") == "/nowhere"
    assert done.stdout.splitlines()[-1] == f"ready: {device.prefix}/bin/edge-infer IMAGE..."
    shutil.rmtree(links)


def test_two_at_work_do_not_meet(device):
    lock = os.open(device.prefix / "releases", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert edge_device(device, "rollback").returncode == 6
        assert run("sh", device.prefix / "uninstall.sh").returncode == 6
    finally:
        os.close(lock)


def test_removal_takes_what_is_ours_and_nothing_else(install, tmp_path):
    links = tmp_path / "links"
    assert install.run("--link", str(links)).returncode == 0
    assert edge_device(install, "rollback").returncode == USAGE  # nothing is kept yet
    for kept in ("inbox/image.png", "results/results.jsonl", "releases/fracture-edge-notes/mine", "note"):
        (install.prefix / kept).parent.mkdir(parents=True, exist_ok=True)
        (install.prefix / kept).touch()
    (links / "edge-else").touch()
    assert run("sh", install.package / "uninstall.sh").returncode == USAGE  # a package is no installation
    done = run("sh", install.prefix / "uninstall.sh")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in install.prefix.iterdir()} == {"inbox", "results", "releases", "note"}
    assert [path.name for path in (install.prefix / "releases").iterdir()] == ["fracture-edge-notes"]
    assert [path.name for path in links.iterdir()] == ["edge-else"]
    assert install.run().returncode == 0  # and it may come again


# Private copies of what root installs into; the machine's own are not touched.
AS_ROOT = """
    mount -t tmpfs -o mode=755 tmpfs /opt && mount -t tmpfs -o mode=755 tmpfs /usr/local/bin || exit 77
    sh install.sh --python "$PYTHON" --prefix "$OTHER" >&2 && [ ! -e /usr/local/bin/edge-infer ] || exit 1
    sh install.sh --python "$PYTHON" >&2 || exit 2
    cd / && PATH=/usr/local/bin:$PATH edge-infer --self-test && edge-device status || exit 3
    sh /opt/fracture-edge/uninstall.sh && ls -A /opt /usr/local/bin
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs into /opt")
def test_root_gets_the_commands_in_path_and_another_prefix_does_not(install, tmp_path):
    environment = os.environ | {"PYTHON": sys.executable, "OTHER": str(tmp_path / "other")}
    environment.pop("PYTHONPATH", None)
    printed = run_privately(AS_ROOT, environment, install.package)
    assert "prefix:    /opt/fracture-edge" in printed
    assert printed.endswith("removed from /opt/fracture-edge\n/opt:\n\n/usr/local/bin:\n"), printed


@pytest.mark.slow
def test_removal_cut_before_every_step_can_be_run_again(install, tmp_path):
    """The removal's own steps, counted by bash; after each kill a second run leaves nothing of it."""
    assert install.run("--link", str(tmp_path / "links")).returncode == 0
    whole = tmp_path / "whole"
    install.prefix.rename(whole)
    hook = tmp_path / "hook"
    hook.write_text(
        "set -o functrace\nstep=0\n"
        'before() { [ "$BASH_SUBSHELL" -eq 0 ] || return 0; step=$((step + 1)); [ "$step" -ne "$KILL_AT" ] ||'
        " kill -KILL 0; }\ntrap before DEBUG\nunset BASH_ENV\n"
    )
    number = 0
    while True:
        number += 1
        subprocess.run(["cp", "-al", whole, install.prefix], check=True)
        command = ["bash", install.prefix / "uninstall.sh"]
        environment = os.environ | {"BASH_ENV": str(hook), "KILL_AT": str(number)}
        done = subprocess.run(command, env=environment, capture_output=True, check=False, start_new_session=True)
        if done.returncode == 0:
            break
        if (install.prefix / "uninstall.sh").exists():
            assert run("sh", install.prefix / "uninstall.sh").returncode == 0, number
        if install.prefix.exists():  # cut between its own end and that of the empty folder
            assert list(install.prefix.iterdir()) == [], number
            install.prefix.rmdir()
    assert number > 30 and not install.prefix.exists()


def test_the_step_exists_on_this_system(tmp_path):
    # Else the test of one rename above would have tried the way of two.
    for name in "ab":
        (tmp_path / name).symlink_to(name)
    assert exchange(tmp_path / "a", tmp_path / "b") and os.readlink(tmp_path / "a") == "b"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def disk_used(folder: Path) -> int:
    """Bytes on the disk, each file once however many names it has."""
    return int(
        subprocess.run(["du", "-s", "-B1", folder], capture_output=True, text=True, check=True).stdout.split()[0]
    )


def list_again(bundle: Path, name: str) -> None:
    """The manifest's size and sum of a file, as it now is."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] |= {"size": (bundle / name).stat().st_size, "sha256": sha256(bundle / name)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def renamed(source: Path, target: Path, name: str) -> Path:
    """The bundle under another network's name, in every file that says it."""
    bundle = Path(shutil.copytree(source, target))
    for path in bundle.glob("model_*"):
        embedded = read_embedded_spec(path)
        model = path.read_bytes()[: embedded.model_bytes]
        path.write_bytes(embed(model, replace(embedded.spec, name=name), path.suffix))
        list_again(bundle, path.name)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["spec"]["name"] = name
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle
