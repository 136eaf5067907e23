"""What people and programs wait for at edge-serve, beside one process without a server, in one run.

    python -m benchmarks.serving --model BUNDLE [--repetitions 15] [--images 400] [--requests 20000] [--out FILE]

Where the machine has two cores, the server keeps to one and its clients to the other (sched_setaffinity); what is
measured without a server keeps to the server's core too.

- answer: of the page for a PNG of two megapixels, from the first byte sent to the answer; at most 2 times what
  decoding, preprocessing and inference take in one process (`edge-infer --bench`)
- rate: images a second through REST with four clients at once, over that of `edge-infer` on a folder of the same
  images; at least 0.8. The same in processor time of the server says it where other programs run too
- memory: resident when idle, at most 200 MB; and after so many requests at most 5 MB more than after the first 200
- written: bytes that the server wrote to the disk for an image (/proc/PID/io); at most 32 kB
- first: processor time from the start of the process to its first answer; at most 2 s
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.runtime import ENVIRONMENT, JPEG_QUALITY, SMALL, bench, radiograph, run

TWO_MEGAPIXELS = (1280, 1600)  # pixels: width, height
CLIENTS = 4
SETTLED = 200  # requests after which memory is taken as the server's own
TARGETS = {
    "answer, times decoding, preprocessing and inference": (2.0, "at most"),
    "rate with four clients, times edge-infer's on a folder": (0.8, "at least"),
    "memory idle, MB": (200.0, "at most"),
    "memory grown by the requests, MB": (5.0, "at most"),
    "written, kB an image": (32.0, "at most"),
    "processor time to the first answer, s": (2.0, "at most"),
}
_TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A server that answers."""

    def __init__(self, process: subprocess.Popen, port: int) -> None:
        self.process, self.port = process, port

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def resident_mb(self) -> float:
        return self._of_kernel("status", "VmRSS:") * 1024 / 1e6

    def written(self) -> int:
        return self._of_kernel("io", "write_bytes:")

    def processor_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def _of_kernel(self, file: str, name: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/{file}").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


@contextmanager
def serving(bundle: Path, state: Path, core: int | None) -> Iterator[Server]:
    command = [sys.executable, "-m", "edge_runtime.serving.cli", "--model", bundle, "--state", state, "--port", "0"]
    command += ["--rate", "10000", "--engine", "litert"]
    others = os.sched_getaffinity(0)
    os.sched_setaffinity(0, others if core is None else {core})  # inherited, by every thread of the server
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    os.sched_setaffinity(0, others)
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.match(r"serving http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise SystemExit(f"edge-serve does not start: {''.join(lines)}")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield Server(process, int(found[1]))
    finally:
        process.terminate()
        process.wait(60)


def ask(client: http.client.HTTPConnection, content: bytes, page: bool = False) -> float:
    """Seconds from the first byte sent to the answer."""
    start = time.perf_counter()
    client.request("POST", "/v1/predict", content, {"X-Edge-Page": "1"} if page else {})
    answer = client.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise SystemExit(f"HTTP {answer.status}: {text.decode(errors='replace')[:300]}")
    return time.perf_counter() - start


def rate(server: Server, contents: list[bytes]) -> float:
    """Images a second with CLIENTS connections, each of which takes the next image as soon as it has an answer."""
    left, lock = iter(contents), threading.Lock()

    def work() -> None:
        client = server.client()
        while True:
            with lock:
                content = next(left, None)
            if content is None:
                return client.close()
            ask(client, content)

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(contents) / (time.perf_counter() - start)


def measure(bundle: Path, folder: Path, repetitions: int, images: int, requests: int) -> dict[str, float]:
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0] if len(cores) > 1 else None
    paths = [folder / f"{number:04d}.jpg" for number in range(images)]
    for number, path in enumerate(paths):
        radiograph(number % 20, SMALL).save(path, quality=JPEG_QUALITY)
    large = folder / "large.png"
    radiograph(1, TWO_MEGAPIXELS).save(large)
    edge_infer = [Path(sys.executable).with_name("edge-infer"), "--model", bundle, "--engine", "litert"]
    if core is not None:
        os.sched_setaffinity(0, {core})
    alone = bench(edge_infer, max(5, repetitions), large)["milliseconds"]["total"]["median"]
    folders = [run([*edge_infer, *paths]) for _ in range(3)]
    folder_rate = images / median(one.end for one in folders)
    folder_processor = median(one.processor for one in folders) / images
    if core is not None:
        os.sched_setaffinity(0, set(cores[1:]))
    contents = [path.read_bytes() for path in paths]
    with serving(bundle, folder / "state", core) as server:
        idle, client = server.resident_mb(), server.client()
        ask(client, contents[0])
        first = server.processor_s()
        page = median([ask(client, large.read_bytes(), page=True) for _ in range(repetitions + 1)][1:]) * 1e3
        start = server.processor_s()
        rates = [rate(server, contents) for _ in range(3)]
        processor = (server.processor_s() - start) / (3 * images)
        client.close()
        client = server.client()  # the server has closed the first one, which had nothing to say for so long
        for number in range(SETTLED):
            ask(client, contents[number % images])
        settled, written = server.resident_mb(), server.written()
        rate(server, [contents[number % images] for number in range(requests)])
        grown, written = server.resident_mb() - settled, (server.written() - written) / max(1, requests)
    return {
        "answer of the page, 2 MP PNG, ms": page,
        "decoding, preprocessing and inference, ms": alone,
        "answer, times decoding, preprocessing and inference": page / alone,
        "images a second through REST, four clients": median(rates),
        "images a second, edge-infer on a folder": folder_rate,
        "rate with four clients, times edge-infer's on a folder": median(rates) / folder_rate,
        "the same in processor time": folder_processor / processor,
        "memory idle, MB": idle,
        "memory after the first requests, MB": settled,
        "memory grown by the requests, MB": grown,
        "written, kB an image": written / 1024,
        "processor time to the first answer, s": first,
    }


def verdict(name: str, value: float) -> str:
    if name not in TARGETS:
        return ""
    limit, direction = TARGETS[name]
    met = value <= limit if direction == "at most" else value >= limit
    return f"{direction} {limit:g}: {'met' if met else 'MISSED'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="bundle with model_int8.tflite")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--images", type=int, default=400, help="in the folder")
    parser.add_argument("--requests", type=int, default=20_000, help="after which memory is looked at again")
    parser.add_argument("--out", type=Path, help="JSON of the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        of = (arguments.repetitions, arguments.images, arguments.requests)
        figures = measure(arguments.model, Path(folder), *of)
    for name, value in figures.items():
        print(f"{name:<58} {value:10.3f}  {verdict(name, value)}")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
