"""Links between files of one radiograph, each with the transformation found, and how the search for them runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from train.audit import cache
from train.audit.copies.forest import Forest
from train.audit.copies.matching import Matcher, Matches, Pairs, frame_half_sides
from train.audit.copies.neighbours import INDEX_BYTES, PER_IMAGE, find_candidates
from train.audit.copies.view_files import VIEW_BYTES, ViewFiles, write_views
from train.audit.copies.views import view_half_sides
from train.audit.inventory import ImageRecord, Inventory, Progress
from train.audit.workers import THREADS, Workers


@dataclass(frozen=True)
class Link:
    """Two images with different pixels that show one radiograph, or seemed to."""

    first: str  # pixels_sha256 of one image
    second: str  # pixels_sha256 of the other: the first, mirrored if so, then rotated and scaled
    agreement: float  # correlation of the finest common structure, at most 1
    angle: float  # degrees, counter-clockwise, -180 to 180
    mirrored: bool  # left to right, before the rotation
    scale: float  # size in pixels of the content in the second, over that in the first
    accepted: bool  # False: it alone would have joined two groups, and nothing else supported it


def find_links(inventory: Inventory, progress: Progress | None = None, workers: Workers = THREADS) -> tuple[Link, ...]:
    """The links between all images with different pixels, best agreement first.

    They span the groups: images already joined are not compared again. The result is cached by the images' content.
    """
    images = unique_images(inventory)
    key = hashlib.sha256("\n".join(sorted(image.pixels_sha256 for image in images)).encode()).hexdigest()
    if (stored := cache.load("links", key)) is not None:
        return tuple(Link(**link) for link in stored)
    with threadpool_limits(1):  # of the linear algebra: our own threads are enough for the processor
        links = _search(inventory, images, progress, workers)
    cache.store("links", key, [asdict(link) for link in links])
    return links


def unique_images(inventory: Inventory) -> list[ImageRecord]:
    """One record for each different image, ordered by content so that file names change nothing."""
    firsts: dict[str, ImageRecord] = {}
    for record in inventory.records:
        firsts.setdefault(record.pixels_sha256, record)
    return sorted(firsts.values(), key=lambda record: record.pixels_sha256)


def _search(
    inventory: Inventory, images: list[ImageRecord], progress: Progress | None, workers: Workers
) -> tuple[Link, ...]:
    if len(images) < 2:
        return ()
    views = sum(len(view_half_sides(image.width, image.height)) for image in images)
    with cache.work_folder("views", views * (VIEW_BYTES + INDEX_BYTES)) as folder:
        root = inventory.root.absolute()  # processes elsewhere have other current folders
        paths = [os.path.join(root, image.path) for image in images]
        files = write_views(paths, folder, workers, _stage(progress, "looking at images"))
        return _compare(files, images, _stage(progress, "comparing neighbours"), workers)


def _compare(
    views: ViewFiles, images: list[ImageRecord], report: Callable[[int, int], None], workers: Workers
) -> tuple[Link, ...]:
    candidates = find_candidates(views, views.folder, workers)
    matcher, owners = Matcher(views, workers), views.owners
    forest = Forest(len(images), matcher.are_copies)
    links: list[Link] = []
    for rank in range(PER_IMAGE):
        chosen = np.flatnonzero(candidates.rank == rank)
        chosen = chosen[~forest.joined(owners[candidates.first[chosen]], owners[candidates.second[chosen]])]
        matches = matcher.match(
            Pairs(
                candidates.first[chosen],
                candidates.first_disc[chosen],
                candidates.second[chosen],
                candidates.second_disc[chosen],
            )
        )
        links.extend(_join(matches, views, images, forest))
        report(rank + 1, PER_IMAGE)
    return tuple(sorted(links, key=lambda link: (-link.agreement, link.first, link.second)))


def _stage(progress: Progress | None, name: str) -> Callable[[int, int], None]:
    return lambda done, total: None if progress is None else progress(name, done, total)


def _join(matches: Matches, views: ViewFiles, images: list[ImageRecord], forest: Forest) -> list[Link]:
    """The links among the matches, surest first, each offered to the forest."""
    links = []
    copies = np.flatnonzero(matches.are_copies)
    for match in copies[np.argsort(-matches.agreement[copies], kind="stable")]:
        first, second = int(matches.first[match]), int(matches.second[match])
        image_a, image_b = int(views.owners[first]), int(views.owners[second])
        accepted = forest.offer(image_a, image_b)
        record_a, record_b = images[image_a], images[image_b]
        linear = matches.maps[match][:, :2]
        linear = linear * frame_half_sides(record_b.width, record_b.height, int(views.kinds[second]))[:, None]
        linear = linear / frame_half_sides(record_a.width, record_a.height, int(views.kinds[first]))
        agreement = round(float(matches.agreement[match]), 4)
        link = Link(record_a.pixels_sha256, record_b.pixels_sha256, agreement, **describe(linear), accepted=accepted)
        links.append(link)
    return links


def describe(linear: NDArray[np.float64]) -> dict[str, Any]:
    """{`angle`, `mirrored`, `scale`} of the (2, 2) map from pixels of one file to pixels of another; y points down."""
    determinant = float(np.linalg.det(linear))
    mirrored = determinant < 0
    turned = linear @ np.diag([-1.0, 1.0]) if mirrored else linear
    # The rotation nearest to a map (its polar decomposition) in two dimensions.
    clockwise = np.degrees(np.arctan2(turned[1, 0] - turned[0, 1], turned[0, 0] + turned[1, 1]))
    scale = round(float(np.sqrt(abs(determinant))), 3)
    return {"angle": round(-float(clockwise), 1) + 0.0, "mirrored": bool(mirrored), "scale": scale}
