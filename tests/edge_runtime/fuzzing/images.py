"""Image files with random damage, and files crafted by their structure: nothing but an ImageError may come out.

    python -m tests.edge_runtime.fuzzing.images --count 10000 --seed 0

Half of the cases are cut, spliced or altered bit by bit; the other half have a field of a chunk, directory or header
set to a number that means trouble, with its checksum made right again.
"""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.images import read_image
from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec
from tests.edge_runtime.fuzzing import workers
from tests.edge_runtime.test_images import mutated, seed_files

# `edge-infer` may take 400 MB; an engine and a small network take 70 that are not in this process.
MOST_BYTES = 330_000_000
SPEC = ModelSpec("fuzz", 32, "pad", "bilinear", ("a", "b"), 0.5, "radiograph")
TROUBLE = (0, 1, 2, 3, 7, 8, 9, 12, 16, 32, 127, 128, 255, 256, 4096, 32_767, 32_768, 32_769, 65_535, 65_536)
TROUBLE += (2**24, 2**31 - 1, 2**31, 2**32 - 1, 100_000_000)


def prepare() -> dict[str, bytes]:
    """Whole files by their kind."""
    noise = Image.effect_noise((96, 64), 60)
    files = {**seed_files(noise)}
    files |= {f"large {kind}": content for kind, content in seed_files(noise.resize((500, 400))).items()}
    from tests.edge_runtime.formats.crafted import netpbm, png, tiff

    deep = np.asarray(noise).astype(np.uint16) * 200
    for channels in (1, 2, 3, 4):
        samples = deep if channels == 1 else np.stack([deep] * channels, -1)
        files[f"png of {channels}"] = png(samples, significant=12, row_filter=1)
        if channels in (1, 3, 4):
            files[f"tiff of {channels}"] = tiff(samples, compression=8, rows_per_strip=9)
    files["plain"] = netpbm(deep // 60, 1023, plain=True)
    files["ppm16"] = netpbm(np.stack([deep] * 3, -1), 65_535)
    files["bmp4"] = _encoded(noise.convert("P", palette=Image.Palette.ADAPTIVE, colors=16), "BMP")
    files["lossless"] = _encoded(noise.convert("RGB"), "WEBP", lossless=True)
    return files


def _encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def try_case(shared: object, random_: random.Random) -> str:
    """Reads and prepares one damaged file."""
    files: dict[str, bytes] = shared  # type: ignore[assignment]
    content = crafted(files, random_) if random_.random() < 0.5 else damaged(list(files.values()), random_)
    try:
        decoded = read_image(content, random_.choice([None, SPEC.size]), colours=random_.random() < 0.5)
    except ImageError:
        return "refused"
    square_u8 = preprocess(decoded.grey_u8, SPEC)
    if (square_u8.dtype, square_u8.shape) != (np.uint8, (SPEC.size, SPEC.size)):
        raise TypeError(f"{square_u8.dtype} {square_u8.shape} from an image of {decoded.grey_u8.shape}")
    return "judged"


def damaged(files: list[bytes], random_: random.Random) -> bytes:
    """One file with something done to it at random."""
    content, kind = random_.choice(files), random_.random()
    if kind < 0.6:
        return mutated(content, random_)
    if kind < 0.7:
        return content[: random_.randrange(len(content))]
    if kind < 0.85:
        flipped = bytearray(content)
        for _ in range(random_.choice([1, 1, 3, 10])):
            flipped[random_.randrange(len(flipped))] ^= 1 << random_.randrange(8)
        return bytes(flipped)
    other = random_.choice(files)
    return content[: random_.randrange(len(content))] + other[random_.randrange(len(other)) :]


def crafted(files: dict[str, bytes], random_: random.Random) -> bytes:
    """One file with one to three fields of its structure altered."""
    content = random_.choice(list(files.values()))
    for _ in range(random_.choice([1, 1, 2, 3])):
        if content.startswith(b"\x89PNG"):
            content = _craft_png(content, random_)
        elif content.startswith((b"II", b"MM")):
            content = _craft_tiff(content, random_)
        elif content.startswith(b"\xff\xd8"):
            content = _craft_jpeg(content, random_)
        elif content.startswith((b"P2", b"P3", b"P5", b"P6")):
            content = _craft_netpbm(content, random_)
        else:
            content = _craft_header(content, random_, 64)
    return content


def _trouble(random_: random.Random, bits: int) -> int:
    return random_.choice(TROUBLE) % (1 << bits)


def _craft_png(content: bytes, random_: random.Random) -> bytes:
    chunks, at = [], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return content
    number = random_.randrange(len(chunks))
    kind, body = chunks[number]
    what = random_.random()
    if what < 0.35:
        chunks[0] = (chunks[0][0], _craft_ihdr(chunks[0][1], random_))
    elif what < 0.5:
        chunks[number] = (kind, body[: random_.randrange(len(body) + 1)] + random_.randbytes(random_.randrange(9)))
    elif what < 0.6:
        chunks.insert(random_.randrange(len(chunks) + 1), (kind, body))
    elif what < 0.7:
        del chunks[number]
    elif what < 0.85:
        extra = random_.choice(
            [b"sBIT", b"tRNS", b"PLTE", b"iCCP", b"zTXt", b"eXIf", b"acTL", b"fcTL", b"gAMA", b"IEND"]
        )
        bomb = b"x\0\0" + zlib.compress(bytes(random_.choice([10, 1_000_000])))
        chunks.insert(
            random_.randrange(1, len(chunks) + 1), (extra, random_.choice([b"", random_.randbytes(26), bomb]))
        )
    else:
        chunks = [(k, _recompressed(b, random_) if k == b"IDAT" else b) for k, b in chunks]
    return content[:8] + b"".join(
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks
    )


def _craft_ihdr(body: bytes, random_: random.Random) -> bytes:
    fields = list(struct.unpack(">IIBBBBB", body[:13].ljust(13, b"\0")))
    at = random_.randrange(len(fields))
    fields[at] = _trouble(random_, 32 if at < 2 else 8)
    return struct.pack(">IIBBBBB", *fields)


def _recompressed(body: bytes, random_: random.Random) -> bytes:
    try:
        raw = zlib.decompress(body)
    except zlib.error:
        return body
    kind = random_.random()
    if kind < 0.3:
        raw = raw[: random_.randrange(len(raw) + 1)]
    elif kind < 0.6:
        raw += bytes(random_.choice([1, 1000, 1_000_000]))
    else:
        raw = random_.randbytes(len(raw))  # filters that do not exist
    return zlib.compress(raw)


def _craft_tiff(content: bytes, random_: random.Random) -> bytes:
    order = "<" if content[:2] == b"II" else ">"
    changed = bytearray(content)
    try:
        (at,) = struct.unpack_from(order + "I", content, 4)
        (count,) = struct.unpack_from(order + "H", content, at)
        entry = at + 2 + 12 * random_.randrange(max(1, count))
        place, form = random_.choice([(0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "I"), (8, "I"), (8, "H")])
        struct.pack_into(order + form, changed, entry + place, _trouble(random_, 32 if form == "I" else 16))
        if random_.random() < 0.1:
            struct.pack_into(order + "I", changed, at + 2 + 12 * count, at)  # a next page that is the same
    except struct.error:
        return _craft_header(content, random_, len(content))
    return bytes(changed)


def _craft_jpeg(content: bytes, random_: random.Random) -> bytes:
    changed = bytearray(content)
    places = [at for at in range(2, len(content) - 10) if content[at] == 0xFF and content[at + 1] >= 0xC0][:40]
    if not places:
        return content
    at = random_.choice(places)
    kind = random_.random()
    if kind < 0.3:
        changed[at + 1] = random_.choice([0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xDA, 0xDB, 0xC4, 0xDD, 0xE1, 0xFE, 0xF7])
    elif kind < 0.6:
        struct.pack_into(">H", changed, at + 2 + 2 * random_.randrange(4), _trouble(random_, 16))
    elif kind < 0.8:
        changed[at + 4 + random_.randrange(6)] = random_.randrange(256)
    else:
        end = random_.choice(places)
        changed[at:at] = content[min(at, end) : max(at, end)]
    return bytes(changed)


def _craft_netpbm(content: bytes, random_: random.Random) -> bytes:
    words = content.split(None, 7)
    place = random_.randrange(min(6, len(words)))
    words[place] = random_.choice([str(_trouble(random_, 40)).encode(), b"-1", b"#", b"x", b"9" * 30])
    return b"\n".join(words)


def _craft_header(content: bytes, random_: random.Random, length: int) -> bytes:
    changed = bytearray(content)
    form = random_.choice(["<B", "<H", "<I", ">H", ">I"])
    at = random_.randrange(2, max(3, min(length, len(changed)) - 4))
    if at + struct.calcsize(form) <= len(changed):
        struct.pack_into(form, changed, at, _trouble(random_, 8 * struct.calcsize(form)))
    return bytes(changed)


if __name__ == "__main__":
    workers.main("tests.edge_runtime.fuzzing.images", __doc__)
