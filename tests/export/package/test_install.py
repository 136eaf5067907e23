"""install.sh, run for real on this machine: what it checks, what it leaves behind, and what survives a failure."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from export.package.packager import PackageRequest, collected_wheels, write_package
from export.package.target import machines_for
from tests.export.package.conftest import Install, unpack
from tests.export.package.killing import killed_at, steps_of

USAGE, ALTERED, MISSING, DISK = 2, 3, 5, 6  # exit codes


def change(path: Path, old: str, new: str) -> None:
    """In a file at the top of a package, and its sum with it: the settings are not even read before they are proven."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    seal(path.parent)


def seal(package: Path) -> None:
    """The sums of a package anew, as whoever makes one of their own would."""
    paths = sorted(path for path in package.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    names = [path.relative_to(package).as_posix() for path in paths]
    sums = subprocess.run(["sha256sum", *names], cwd=package, capture_output=True, check=True)
    (package / "SHA256SUMS").write_bytes(sums.stdout)


def assert_nothing_installed(install) -> None:
    assert not (install.prefix / "current").exists() and not install.releases


@pytest.fixture(scope="module")
def installed(archive, tmp_path_factory) -> Install:
    """A package that is installed already, in folders with spaces in their names; each test leaves it as it was."""
    folder = tmp_path_factory.mktemp("installed")
    install = Install(unpack(archive, folder).rename(folder / "a package"), folder / "a prefix")
    done = install.run()
    assert done.returncode == 0 and "passed  model_int8.tflite" in done.stdout
    assert "learnt from drawn phantoms" in done.stderr
    return install


def test_it_installs_with_the_network_cut_off_and_judges_an_image(installed, golden_images):
    command = [installed.prefix / "bin" / "edge-infer", golden_images[0]]
    judged = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert "fractured" in judged.stdout and installed.self_test().returncode == 0


def test_a_second_run_changes_nothing(installed):
    before = installed.current.stat()
    done = installed.run()
    assert done.returncode == 0 and "installed already" in done.stdout
    after = installed.current.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns) and len(installed.releases) == 1


def test_a_newer_package_takes_over_and_what_lies_beside_it_stays(install, newer):
    kept = install.prefix / "releases" / "fracture-edge-notes"  # of somebody else
    kept.mkdir(parents=True)
    assert install.run().returncode == 0
    earlier = install.current
    assert newer.run().returncode == 0
    assert newer.current != earlier and (newer.prefix / "previous").resolve() == earlier and kept.is_dir()
    assert newer.self_test().returncode == 0
    command = [earlier / "venv" / "bin" / "edge-infer", "--model", earlier / "bundle", "--self-test"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.slow  # its quick twin: a damaged kept release, in test_device.py
def test_a_damaged_installation_is_made_anew_by_its_own_package(install):
    assert install.run().returncode == 0
    damaged = install.current
    (damaged / "bundle" / "model_int8.tflite").write_bytes(b"damaged")
    assert install.self_test().returncode == ALTERED
    done = install.run()
    assert done.returncode == 0
    assert install.self_test().returncode == 0 and install.releases == {install.current.name}


def test_the_wrong_machine_is_refused_before_anything_is_written(install, machine):
    change(install.package / "package.conf", f"target={machine.target.name}", "target=armv7l")
    done = install.run()
    assert done.returncode == USAGE
    assert f"this package is for armv7l, this machine is {machine.target.name}" in done.stderr
    assert f"--target {machine.target.name}" in done.stderr and not install.prefix.exists()


def test_the_wrong_python_is_refused_before_anything_is_written(install, machine):
    change(install.package / "package.conf", f"python={machine.python}", "python=3.99")
    done = install.run()
    assert done.returncode == MISSING and not install.prefix.exists()
    assert "this package is for Python 3.99" in done.stderr and f"--python {machine.python}" in done.stderr


def test_of_several_pythons_the_one_of_this_system_is_taken(install, machine):
    change(install.package / "package.conf", f"python={machine.python}", f"python=3.99 {machine.python}")
    command = ["sh", install.package / "install.sh", "--prefix", install.prefix]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    version = subprocess.run([install.current / "venv" / "bin" / "python", "--version"], capture_output=True, text=True)
    assert version.stdout.startswith(f"Python {machine.python}.")


@pytest.mark.slow
def test_one_archive_installs_on_each_of_its_pythons(machine, tiny_bundle, tmp_path):
    others = [python for python in ("3.11", "3.12", "3.13") if has_python(python)]
    if len(others) < 2:
        pytest.skip("fewer than two Pythons of a package are on this machine")
    request = PackageRequest(tmp_path / "pi.zip", machines_for(machine.target.name, others, "litert"))
    with collected_wheels(request) as wheels:
        write_package(request, tiny_bundle, wheels)
    package = unpack(tmp_path / "pi.zip", tmp_path)
    for python in others:
        prefix = tmp_path / python
        command = ["sh", package / "install.sh", "--prefix", prefix, "--python", python_of(python)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert subprocess.run([prefix / "bin" / "edge-infer", "--self-test"], check=False).returncode == 0


def python_of(version: str) -> str:
    """The interpreter itself: what stands in PATH may be a script that chooses one."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(pyenv[-1]) if pyenv else f"python{version}"


def has_python(version: str) -> bool:
    try:
        return subprocess.run([python_of(version), "--version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_a_machine_without_python_is_told_which_one_is_needed(install, tmp_path):
    (tmp_path / "bin").mkdir()
    for program in ("sh", "dirname", "sha256sum", "cut", "find", "sort", "readlink"):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program))
    command = ["/bin/sh", install.package / "install.sh", "--prefix", install.prefix]
    done = subprocess.run(command, env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, check=False)
    assert done.returncode == MISSING and "this machine has no python3" in done.stderr


def test_an_altered_wheel_is_refused_and_the_earlier_version_stays(installed, newer):
    newer = Install(newer.package, installed.prefix)
    (wheel,) = (newer.package / "wheels").glob("click-*")
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)
    done = newer.run()
    assert done.returncode == ALTERED
    assert wheel.name in done.stderr and "altered or is incomplete" in done.stderr
    assert newer.self_test().returncode == 0 and newer.releases == {installed.current.name}


def test_a_wheel_swapped_together_with_its_sum_is_refused_by_pip(install):
    # Whoever repairs SHA256SUMS has not repaired requirements.txt.
    (wheel,) = (install.package / "wheels").glob("click-*")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("click/added.py", "")
    seal(install.package)
    done = install.run()
    assert done.returncode == DISK and "DO NOT MATCH THE HASHES" in done.stderr
    assert_nothing_installed(install)


def test_an_incomplete_package_is_refused(install):
    (install.package / "bundle" / "manifest.json").unlink()
    done = install.run()
    assert done.returncode == ALTERED and "manifest.json" in done.stderr
    assert_nothing_installed(install)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_archive_does_not_unpack(archive, tmp_path, share):
    content = archive.read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[: int(len(content) * share)])
    command = [sys.executable, "-m", "zipfile", "-e", "cut.zip", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    # Where the cut leaves a whole wheel at the end, Python takes that, a ZIP too, for the archive.
    assert done.returncode == 0 or "BadZipFile" in done.stderr
    assert not list(tmp_path.rglob("install.sh")) and not (tmp_path / archive.stem).exists()


def test_a_truncated_installer_does_nothing(install):
    script = install.package / "install.sh"
    content = script.read_text()
    for share in (0.3, 0.6, 0.9):
        script.write_text(content[: int(len(content) * share)])
        install.run()
        assert not install.prefix.exists()


@pytest.mark.parametrize("arguments", [["--prefix"], ["--other"]])
def test_wrong_usage_shows_what_was_expected(install, arguments):
    done = install.run(*arguments)
    assert done.returncode == USAGE and arguments[0] in done.stderr


def test_a_service_is_refused_where_systemd_does_not_run(install):
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs here, and a test does not touch its services")
    done = install.run("--service")
    assert done.returncode == USAGE and "systemd does not run here" in done.stderr
    assert not install.prefix.exists()


@pytest.mark.slow  # its quick twin: two edge-device at work
def test_two_installations_at_a_time_do_not_meet(install):
    install.prefix.joinpath("releases").mkdir(parents=True)
    lock = os.open(install.prefix / "releases", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = install.run()
    finally:
        os.close(lock)
    assert done.returncode == DISK and "another install.sh is at work there" in done.stderr


def on_small_disk(install, options: str, script: str) -> subprocess.CompletedProcess[str]:
    """Runs a script with the prefix on a file system of its own, which nobody else sees and which vanishes after it."""
    install.prefix.mkdir()
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    probe = subprocess.run(["unshare", *as_root, "--mount", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no file system can be mounted here: {probe.stderr.strip()}")
    command = f'mount -t tmpfs -o {options},mode=755 tmpfs "$PREFIX" && {script}'
    environment = os.environ | {"PREFIX": str(install.prefix), "PYTHON": sys.executable}
    full = ["unshare", *as_root, "--mount", "sh", "-c", command]
    return subprocess.run(full, env=environment, cwd=install.package, capture_output=True, text=True, check=False)


INSTALL = 'sh install.sh --prefix "$PREFIX" --python "$PYTHON"'


def test_too_small_a_disk_is_refused_before_anything_is_installed(install):
    done = on_small_disk(install, "size=50m", f'{INSTALL}; echo "code $?"; ls "$PREFIX/releases"')
    assert "MB are needed in" in done.stderr and "free; nothing was installed" in done.stderr
    assert done.stdout == f"code {DISK}\n"


@pytest.mark.slow  # its quick twin: too small a disk
def test_a_disk_that_fills_up_during_installation_leaves_the_earlier_version(install, newer):
    # Room for the bytes of two versions, but not for that many files: the kernel says "no space left" half-way.
    script = f"""
        {INSTALL} >/dev/null || exit 1
        files=$(df --output=iused "$PREFIX" | tail -n 1)
        mount -o remount,nr_inodes=$((files + files / 2)) "$PREFIX"
        cd "{newer.package}"
        {INSTALL}
        echo "code $?"
        ls "$PREFIX/releases" | wc -l
        "$PREFIX/bin/edge-infer" --self-test
    """
    done = on_small_disk(install, "size=1g", script)
    assert "No space left on device" in done.stderr, done.stderr
    assert "the version installed earlier was left as it was" in done.stderr
    code, releases, answer = done.stdout.splitlines()[-3:]
    assert (code, releases.strip()) == (f"code {DISK}", "1") and answer.startswith("passed")


def assert_survived(install, newer, step: str) -> None:
    """After a kill the earlier version or, once it is in place, the newer one answers; a second run succeeds."""
    answered = newer.self_test()
    assert answered.returncode == 0, f"killed before {step}: {answered.stderr}"
    done = newer.run()
    assert done.returncode == 0, f"after a kill before {step}"
    assert newer.self_test().returncode == 0
    assert newer.releases == {path.resolve().name for path in (newer.prefix / "current", newer.prefix / "previous")}


@pytest.mark.slow  # its quick twin: the strikes at install.sh in tests/faults
def test_power_cut_at_the_steps_that_matter_most(install, newer):
    assert install.run().returncode == 0
    steps = steps_of(newer)
    for command in ("install_wheels", "mv -T -- "):
        install, newer = newer, install
        number = next(number for number, step in steps.items() if step.startswith(command))
        killed_at(newer, number)
        assert_survived(install, newer, steps[number])


@pytest.mark.slow
def test_power_cut_before_every_step(install, newer):
    assert install.run().returncode == 0
    steps = steps_of(newer)
    first = next(number for number, step in steps.items() if step.startswith("take_lock"))
    for number in range(first, max(steps) + 1):
        # Who was newer is the earlier one now: every step is cut between two versions that both ran.
        install, newer = newer, install
        killed_at(newer, number)
        assert_survived(install, newer, steps.get(number, "the end"))


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
def test_power_cut_at_any_time(install, newer, seconds):
    # Inside of pip, of the self-test, of the kernel: where no shell step begins.
    assert install.run().returncode == 0
    command = ["sh", newer.package / "install.sh", "--prefix", newer.prefix, "--python", sys.executable]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert_survived(install, newer, f"{seconds} s")


def test_the_installer_is_portable_shell(repository):
    for name in ("install.sh", "uninstall.sh", "edge-infer", "edge-serve"):
        script = repository / "export" / "package" / "files" / name
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
        if shutil.which("dash"):
            assert subprocess.run(["dash", "-n", script], check=False).returncode == 0


def test_shellcheck_finds_nothing(repository):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    folder = repository / "export" / "package" / "files"
    done = subprocess.run(
        ["shellcheck", folder / "install.sh", folder / "uninstall.sh"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "line", ["target=$(touch pwned)", "pip=wheels/../pip-1.whl", "trim=/etc", "new=1", "engine=a;b"]
)
def test_what_package_conf_says_is_read_and_never_run(install, line):
    conf = install.package / "package.conf"
    conf.write_text(conf.read_text() + line + "\n")
    seal(install.package)
    done = install.run(cwd=install.package)
    assert done.returncode == ALTERED and "package.conf" in done.stderr
    assert not (install.package / "pwned").exists() and not install.prefix.exists()


def test_nothing_of_an_altered_package_is_read_before_it_is_verified(install):
    (install.package / "package.conf").write_text("touch pwned\n")
    done = install.run(cwd=install.package)
    assert done.returncode == ALTERED and "package.conf: FAILED" in done.stdout + done.stderr
    assert not (install.package / "pwned").exists()


@pytest.mark.parametrize("added", ["wheels/click-99.0-py3-none-any.whl", "bundle/link@"])
def test_a_package_with_an_unlisted_file_is_refused(install, added):
    path = install.package / added.rstrip("@")
    if added.endswith("@"):
        path.symlink_to("/etc/hostname")
    else:
        path.touch()
    done = install.run()
    assert done.returncode == ALTERED and "more files than it lists" in done.stderr
    assert_nothing_installed(install)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@as_root
@pytest.mark.parametrize("given", ["", "releases", "current", "releases/fracture-edge-0-1/venv", "bin"])
def test_root_installs_nothing_where_another_user_may_write(install, given):
    place = install.prefix / given
    place.mkdir(parents=True)
    os.chown(place, 65534, 65534)
    done = install.run()
    assert done.returncode == USAGE and "others than root may write there" in done.stderr
    assert not (install.prefix / "bin" / "edge-infer").exists()


@as_root
def test_root_installs_nothing_below_a_folder_of_another_user(install, tmp_path):
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 65534, 65534)
    moved = type(install)(install.package, tmp_path / "home" / "prefix")
    done = moved.run()
    assert done.returncode == USAGE and "others than root may write there" in done.stderr
    assert not moved.prefix.exists()


def test_a_command_of_that_name_that_is_not_ours_stays(install):
    (install.prefix / "bin").mkdir(parents=True)
    (install.prefix / "bin" / "edge-infer").write_text("somebody else's")
    done = install.run()
    assert done.returncode == USAGE and "is something else" in done.stderr
    assert (install.prefix / "bin" / "edge-infer").read_text() == "somebody else's"


def test_the_sum_of_materials_lists_every_wheel_with_its_hash(install, machine):
    document = json.loads((install.package / "sbom.cdx.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    listed = {one["properties"][0]["value"]: one for one in document["components"] if one["type"] == "library"}
    wheels = {path.relative_to(install.package).as_posix(): path for path in (install.package / "wheels").iterdir()}
    assert set(listed) == set(wheels)
    for name, path in wheels.items():
        assert listed[name]["hashes"][0]["content"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert listed[name]["licenses"] and listed[name]["purl"].startswith("pkg:pypi/")
    (network,) = (one for one in document["components"] if one["type"] == "machine-learning-model")
    assert network["description"] == "domain: phantom"


def test_the_readme_says_that_the_model_learnt_from_phantoms(install):
    assert "Domain: phantom" in (install.package / "README.md").read_text()
