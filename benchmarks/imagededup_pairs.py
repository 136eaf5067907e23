"""What imagededup finds, as JSON: run by the Python that has it, for torch need not be where TensorFlow is.

PYTHON imagededup_pairs.py FOLDER phash 10
PYTHON imagededup_pairs.py FOLDER cnn 0.9 --encodings FILE.npz
"""

from __future__ import annotations

import argparse
import json

import numpy as np


def find_by_hash(folder: str, most_bits: int) -> dict[str, list[str]]:
    """The files that imagededup's perceptual hash takes for copies of each file."""
    from imagededup.methods import PHash

    return PHash(verbose=False).find_duplicates(image_dir=folder, max_distance_threshold=most_bits)


def find_by_encodings(encodings: str, least_likeness: float) -> dict[str, list[str]]:
    """The files whose encodings, one row a file, imagededup's CNN method takes for copies of each file's."""
    import torch
    from imagededup.methods import CNN
    from imagededup.utils import CustomModel

    stored = np.load(encodings)
    encoding_map = dict(zip(stored["names"].tolist(), stored["encodings"], strict=True))
    # The network has run already; imagededup asks for one nonetheless.
    finder = CNN(verbose=False, model_config=CustomModel("encoded before", torch.nn.Identity(), lambda image: image))
    return finder.find_duplicates(encoding_map=encoding_map, min_similarity_threshold=least_likeness)


def main() -> None:
    """Prints [[file, file], ...] of the files that are said to be copies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="images, in no subfolders")
    parser.add_argument("method", choices=("phash", "cnn"))
    parser.add_argument("threshold", type=float, help="of phash bits apart at most, of cnn cosine likeness at least")
    parser.add_argument("--encodings", help="of cnn: npz file with `names` and `encodings`")
    options = parser.parse_args()
    if options.method == "phash":
        found = find_by_hash(options.folder, int(options.threshold))
    else:
        found = find_by_encodings(options.encodings, options.threshold)
    print(json.dumps(sorted({tuple(sorted((a, b))) for a, others in found.items() for b in others})))


if __name__ == "__main__":
    main()
