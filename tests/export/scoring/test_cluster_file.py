"""The cluster file of the documents is one that Ray takes."""

from __future__ import annotations

import pytest

pytest.importorskip("ray", reason="edge-score needs the extra [ray]")


def test_ray_takes_the_cluster_file(repository):
    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config  # what `ray up` itself begins with

    validate_config(prepare_config(yaml.safe_load((repository / "docs" / "ray-cluster.yaml").read_text())))
