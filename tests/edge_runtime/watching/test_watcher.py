"""edge-infer --watch: each image once, whatever happens to the file, the folder or the process."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from edge_runtime import Predictor
from edge_runtime.cli import main
from edge_runtime.watching.attempts import MOST_ATTEMPTS

ROOT = Path(__file__).parents[3]
PATIENCE_S = 30  # for what happens in milliseconds on an idle machine


class Watch:
    """A watching process and its files."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.inbox, self.results, self.log = folder / "inbox", folder / "results.jsonl", folder / "log"
        self.inbox.mkdir()
        self._bundle = bundle
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self, *options: str, poll: float = 0.05, settle: float = 0.3, before: str = "", preexec: Callable | None = None
    ) -> Watch:
        """Starts the process; `before` is Python that runs first."""
        code = f"{before}\nfrom edge_runtime.cli import main\nmain()"
        command = [sys.executable, "-c", code, "--model", self._bundle, "--watch", self.inbox]
        command += ["--out", self.results, "--poll", str(poll), "--settle", str(settle), *options]
        with self.log.open("wb") as log:
            environment = os.environ | {"PYTHONPATH": str(ROOT)}

            def prepare() -> None:
                # Where the tests run in the background of a shell, SIGINT is ignored, and would be here too.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                if preexec:
                    preexec()

            self.process = subprocess.Popen(command, stderr=log, env=environment, preexec_fn=prepare)
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)

    def said(self, text: str) -> bool:
        return text in self.log.read_text()

    def lines(self) -> list[dict]:
        content = self.results.read_bytes() if self.results.exists() else b""
        return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]

    def names(self) -> list[str]:
        return [os.path.relpath(line["path"], os.path.realpath(self.inbox)) for line in self.lines()]

    def wait_for(self, condition: Callable[[], bool] | int) -> None:
        """Until so many lines are there, or the condition holds."""
        ready = condition if callable(condition) else lambda: len(self.lines()) >= condition
        end = time.monotonic() + PATIENCE_S
        while not ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, (self.names(), self.log.read_text())
            time.sleep(0.02)

    def pass_by(self, listings: int = 6) -> None:
        """Leaves time for what must not happen: a marker image is judged in the end, `listings` later."""
        time.sleep(0.05 * listings)


@pytest.fixture
def watch(tmp_path, tiny_bundle) -> Iterator[Watch]:
    watch = Watch(tmp_path, tiny_bundle)
    yield watch
    if watch.process and watch.process.poll() is None:
        watch.process.kill()
        watch.process.wait()


def test_what_lies_there_and_what_comes_is_judged_once_and_as_without_watching(watch, tiny_bundle, golden_images):
    for path in golden_images[:4]:
        shutil.copy(path, watch.inbox)
    watch.start().wait_for(4)
    for path in golden_images[4:]:
        shutil.copy(path, watch.inbox)
    watch.wait_for(len(golden_images))
    watch.pass_by()
    assert watch.stop() == 0
    assert sorted(watch.names()) == [path.name for path in golden_images]
    predictor = Predictor(tiny_bundle)
    for line in watch.lines():
        expected = predictor.predict(line["path"]).to_dict()
        status = os.stat(line["path"])
        assert line.pop("file") == {"size": status.st_size, "modified_us": status.st_mtime_ns // 1000}
        assert line.keys() == expected.keys()
        assert {**line, "milliseconds": 0} == {**expected, "milliseconds": 0}


def test_a_restart_judges_only_what_is_new(watch, golden_images):
    shutil.copy(golden_images[0], watch.inbox)
    (watch.inbox / "bad.png").write_text("text")
    watch.start().wait_for(2)
    assert watch.stop() == 0
    shutil.copy(golden_images[1], watch.inbox)
    watch.start().wait_for(3)
    watch.pass_by(12)
    assert watch.stop() == 0
    assert sorted(watch.names()) == ["bad.png", golden_images[0].name, golden_images[1].name]
    assert watch.said("judged before: 2")


def test_one_folder_by_two_names_is_one(watch, tmp_path, golden_images):
    shutil.copy(golden_images[0], watch.inbox)
    watch.start().wait_for(1)
    watch.stop()
    (tmp_path / "link").symlink_to(watch.inbox)
    watch.inbox = tmp_path / "link"
    shutil.copy(golden_images[1], watch.inbox)
    watch.start().wait_for(2)
    assert watch.stop() == 0 and len(watch.lines()) == 2


# Files on their way


def test_a_slowly_written_file_is_judged_when_it_is_whole(watch, golden_images):
    watch.start(settle=5).wait_for(lambda: watch.said("watching"))
    content = golden_images[0].read_bytes()
    with (watch.inbox / "slow.png").open("wb") as stream:
        for start in range(0, len(content), len(content) // 10):
            stream.write(content[start : start + len(content) // 10])
            stream.flush()
            time.sleep(0.12)  # longer than two listings, shorter than it takes to settle
    watch.wait_for(1)
    watch.pass_by(12)
    assert [("error" in line) for line in watch.lines()] == [False]


def test_a_file_that_stays_cut_short_gets_one_error_line_and_is_judged_once_it_is_whole(watch, golden_images):
    content = golden_images[0].read_bytes()
    (watch.inbox / "cut.png").write_bytes(content[: len(content) // 2])
    start = time.monotonic()
    watch.start(settle=1).wait_for(1)
    assert time.monotonic() - start >= 1
    watch.pass_by(30)
    assert [line["error"]["code"] for line in watch.lines()] == ["truncated"]
    with (watch.inbox / "cut.png").open("ab") as stream:
        stream.write(content[len(content) // 2 :])
    watch.wait_for(2)
    assert "error" not in watch.lines()[1]


@pytest.mark.parametrize("suffix", ["bmp", "tif"])
def test_a_file_that_got_its_length_before_its_content_is_judged_once_and_whole(
    watch, tiny_bundle, golden_images, tmp_path, suffix
):
    Image.open(golden_images[0]).resize((200, 200)).save(tmp_path / f"x.{suffix}")
    content = (tmp_path / f"x.{suffix}").read_bytes()
    watch.start(settle=1).wait_for(lambda: watch.said("watching"))
    with (watch.inbox / f"x.{suffix}").open("wb") as stream:
        stream.truncate(len(content))
        for start in range(0, len(content), len(content) // 5):
            stream.write(content[start : start + len(content) // 5])
            stream.flush()
            time.sleep(0.3)  # longer than several listings, shorter than it takes to settle
    watch.wait_for(1)
    watch.pass_by(12)
    (line,) = watch.lines()
    assert line["probability"] == Predictor(tiny_bundle).predict(tmp_path / f"x.{suffix}").probability


@pytest.mark.parametrize("name", ["x.png.part", ".x.png"])
def test_a_file_renamed_into_place_is_judged_under_its_last_name(watch, golden_images, name):
    watch.start()
    shutil.copy(golden_images[0], watch.inbox / name)
    watch.pass_by(20)
    (watch.inbox / name).rename(watch.inbox / "x.png")
    watch.wait_for(1)
    assert watch.names() == ["x.png"]


def test_a_file_replaced_in_place_is_a_new_image(watch, golden_images):
    shutil.copy(golden_images[0], watch.inbox / "latest.png")
    watch.start().wait_for(1)
    shutil.copy(golden_images[2], watch.inbox / "new")
    (watch.inbox / "new").replace(watch.inbox / "latest.png")
    watch.wait_for(2)
    first, second = watch.lines()
    assert first["path"] == second["path"] and first["probability"] != second["probability"]


def test_what_is_hidden_unfinished_or_no_file_is_left_alone(watch, golden_images, tmp_path):
    shutil.copy(golden_images[0], tmp_path / "elsewhere.png")
    for name in ("desktop.ini", ".hidden.png", "x.png.part", "y.tmp"):
        shutil.copy(golden_images[0], watch.inbox / name)
    (watch.inbox / ".cache").mkdir()
    shutil.copy(golden_images[0], watch.inbox / ".cache" / "x.png")
    os.mkfifo(watch.inbox / "pipe.png")
    (watch.inbox / "folder.png").mkdir()
    (watch.inbox / "nowhere.png").symlink_to(tmp_path / "absent")
    (watch.inbox / "circle").symlink_to(watch.inbox, target_is_directory=True)
    (watch.inbox / "deep" / "er").mkdir(parents=True)
    shutil.copy(golden_images[1], watch.inbox / "deep" / "er" / "CAPITALS.PNG")
    (watch.inbox / "link.png").symlink_to(tmp_path / "elsewhere.png")
    watch.start().wait_for(2)
    watch.pass_by(12)
    assert watch.stop() == 0
    assert sorted(watch.names()) == ["deep/er/CAPITALS.PNG", "link.png"]


def test_names_that_are_no_text_are_remembered_too(watch, golden_images):
    folder = os.fsencode(os.path.realpath(watch.inbox))
    names = {folder + b"/\xff\xfe good.png", folder + "/röntgen\n2.png".encode(), folder + b"/\xff bad.png"}
    for name in names:
        Path(os.fsdecode(name)).touch() if b"bad" in name else shutil.copy(golden_images[0], os.fsdecode(name))
    for _ in range(2):
        watch.start().wait_for(lambda: watch.said("watching") and len(watch.lines()) == 3)
        watch.pass_by(12)
        assert watch.stop() == 0
    assert {os.fsencode(line["path"]) for line in watch.lines()} == names and len(watch.lines()) == 3


def test_a_file_that_comes_and_goes_leaves_no_line(watch, golden_images):
    watch.start(poll=0.2).wait_for(lambda: watch.said("watching"))
    for _ in range(5):
        shutil.copy(golden_images[0], watch.inbox / "short.png")
        time.sleep(0.05)
        (watch.inbox / "short.png").unlink()
    shutil.copy(golden_images[1], watch.inbox / "stays.png")
    watch.wait_for(1)
    assert watch.stop() == 0 and watch.names() == ["stays.png"]


# Folders and disks


def test_a_folder_that_goes_is_waited_for_and_nothing_is_judged_twice(watch, golden_images, tmp_path):
    shutil.copy(golden_images[0], watch.inbox)
    watch.start().wait_for(1)
    watch.inbox.rename(tmp_path / "away")
    watch.wait_for(lambda: watch.said("waiting for it"))
    shutil.copy(golden_images[1], tmp_path / "away")
    (tmp_path / "away").rename(watch.inbox)
    watch.wait_for(2)
    watch.pass_by()
    assert watch.stop() == 0 and watch.said("is there again")
    assert sorted(watch.names()) == [path.name for path in golden_images[:2]]


def test_a_full_disk_is_waited_for_and_nothing_is_lost(watch, golden_images):
    for path in golden_images:
        shutil.copy(path, watch.inbox)
    # The limit on the size of files acts as a full disk does, and can be lifted from outside.
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    watch.start(preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1500, unlimited[1])))
    watch.wait_for(lambda: watch.said("no room on the disk"))
    watch.pass_by()
    content = watch.results.read_bytes()
    assert content.endswith(b"}\n") and 0 < len(watch.lines()) < len(golden_images)
    resource.prlimit(watch.process.pid, resource.RLIMIT_FSIZE, unlimited)
    watch.wait_for(len(golden_images))
    assert watch.stop() == 0 and watch.said("is there again")
    assert sorted(watch.names()) == [path.name for path in golden_images]


def test_it_can_be_ended_while_the_disk_is_full(watch, golden_images):
    for path in golden_images:
        shutil.copy(path, watch.inbox)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    watch.start(preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1500, unlimited[1])))
    watch.wait_for(lambda: watch.said("no room on the disk"))
    assert watch.stop() == 0
    watch.start().wait_for(len(golden_images))
    assert sorted(watch.names()) == [path.name for path in golden_images]


def test_results_removed_meanwhile_are_exit_6(watch, golden_images):
    shutil.copy(golden_images[0], watch.inbox)
    watch.start().wait_for(1)
    watch.results.unlink()
    shutil.copy(golden_images[1], watch.inbox)
    assert watch.process.wait(PATIENCE_S) == 6
    assert watch.said("was removed while in use")


def test_a_second_watcher_is_exit_6(watch, tiny_bundle, golden_images):
    shutil.copy(golden_images[0], watch.inbox)
    watch.start().wait_for(1)
    arguments = ["--model", tiny_bundle, "--watch", watch.inbox, "--out", watch.results]
    second = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert second.exit_code == 6 and "another edge-infer writes to it" in second.stderr
    assert watch.stop() == 0


# The end of a process


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
@pytest.mark.parametrize("poll", [0.05, 60])
def test_signals_end_it_within_a_second(watch, golden_images, how, code, poll):
    for copy in range(300):
        shutil.copy(golden_images[copy % 8], watch.inbox / f"{copy}.png")
    watch.start(poll=poll).wait_for(3 if poll < 1 else lambda: watch.said("watching"))
    start = time.monotonic()
    assert watch.stop(how) == code
    assert time.monotonic() - start < 1
    assert watch.results.read_bytes()[-1:] in (b"\n", b"") and not watch.said("Traceback")


def test_a_signal_while_it_starts_is_a_clean_end(watch):
    # From the moment that the results file exists at the latest, and long before the first listing.
    watch.start()
    watch.wait_for(watch.results.exists)
    assert watch.stop() == 0


def killed_again_and_again(watch: Watch, golden_images: list[Path], kills: int, seed: int) -> None:
    """SIGKILL at random moments while files come in; then every image has its one line."""
    random_ = random.Random(seed)
    expected = 0
    for _ in range(kills):
        for _ in range(40):
            shutil.copy(golden_images[expected % 8], watch.inbox / f"{expected}.png")
            expected += 1
        before = len(watch.lines())
        watch.start(poll=0.01)
        if random_.random() < 0.8:
            watch.wait_for(lambda before=before: len(watch.lines()) > before)
        time.sleep(random_.random() * 0.1)
        watch.stop(signal.SIGKILL)
        if random_.random() < 0.5 and watch.results.exists():  # as a power cut may leave it
            size = watch.results.stat().st_size
            os.truncate(watch.results, max(0, size - random_.randrange(400)))
    watch.start().wait_for(expected)
    watch.pass_by()
    assert watch.stop() == 0
    assert sorted(watch.names(), key=lambda name: int(name[:-4])) == [f"{number}.png" for number in range(expected)]
    assert not any("error" in line for line in watch.lines())


def test_killed_at_any_moment_nothing_is_lost_and_nothing_judged_twice(watch, golden_images):
    killed_again_and_again(watch, golden_images, kills=4, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_killed_forty_times_nothing_is_lost_and_nothing_judged_twice(watch, golden_images, seed):
    killed_again_and_again(watch, golden_images, kills=40, seed=seed)


def test_an_image_that_kills_the_process_is_given_up_at_last(watch, golden_images):
    # As where it needs more memory than there is, and the kernel kills who asks for it.
    deadly = (
        "import os, signal\nfrom PIL.PngImagePlugin import PngImageFile as P\nload = P.load\n"
        "P.load = lambda image: os.kill(os.getpid(), signal.SIGKILL) if image.width == 1000 else load(image)"
    )
    shutil.copy(golden_images[0], watch.inbox / "good.png")
    Image.new("L", (1000, 10)).save(watch.inbox / "deadly.png")
    os.utime(watch.inbox / "deadly.png", (1, 1))  # the oldest comes first
    for _ in range(MOST_ATTEMPTS):
        watch.start(before=deadly).process.wait(PATIENCE_S)
        assert watch.process.returncode == -signal.SIGKILL and watch.lines() == []
    watch.start(before=deadly).wait_for(2)
    assert watch.stop() == 0
    given_up, judged = watch.lines()
    assert given_up["error"]["code"] == "unreadable" and "given up" in given_up["error"]["message"]
    assert judged["path"].endswith("good.png") and "error" not in judged


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--watch", "{inbox}"], 2, "belong together"),
        (["--out", "results.jsonl", "x.png"], 2, "belong together"),
        (["--watch", "{inbox}", "--out", "{out}", "x.png"], 2, "takes no images"),
        (["--watch", "{inbox}", "--out", "{out}", "--self-test"], 2, "one at a time"),
        (["--watch", "{inbox}/absent", "--out", "{out}"], 2, "does not exist"),
        (["--watch", "{inbox}", "--out", "{inbox}"], 2, "is a directory"),
        (["--watch", "{inbox}", "--out", "{inbox}/results.png"], 2, "would be judged itself"),
        (["--watch", "{inbox}", "--out", "{out}", "--poll", "0"], 2, "--poll"),
        (["--watch", "{inbox}", "--out", "{inbox}/absent/results.jsonl"], 6, "cannot be opened"),
        (["--watch", "{inbox}", "--out", "{out}", "--model", "{inbox}/absent"], 3, "no such model"),
    ],
)
def test_wrong_use_is_told_before_anything_is_written(tiny_bundle, tmp_path, arguments, code, says):
    inbox, out = tmp_path / "inbox", tmp_path / "results.jsonl"
    inbox.mkdir()
    filled = [argument.format(inbox=inbox, out=out) for argument in arguments]
    done = CliRunner().invoke(main, ["--model", str(tiny_bundle), *filled])
    assert (done.exit_code, done.stdout) == (code, "") and says in done.stderr
    assert not out.exists() and list(inbox.iterdir()) == []


def test_an_altered_model_is_exit_3(bundle_copy, tmp_path):
    model = bundle_copy / "model_int8.tflite"
    model.write_bytes(model.read_bytes()[:-1])
    arguments = ["--model", bundle_copy, "--watch", tmp_path, "--out", tmp_path / "r"]
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 3 and "altered" in done.stderr and not (tmp_path / "r").exists()
