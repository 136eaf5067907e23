"""Neighbouring numbers are one group."""

from tools.number_blocks import blocks_of, image_paths


def test_fifty_numbers_are_a_block_in_whatever_class_folder():
    groups = dict(blocks_of(["fractured/IMG0000149.jpg", "not/IMG0000100.jpg", "not/IMG0000150.jpg", "not/cover.jpg"]))
    assert groups["fractured/IMG0000149.jpg"] == groups["not/IMG0000100.jpg"] != groups["not/IMG0000150.jpg"]
    assert "not/cover.jpg" not in groups


def test_paths_come_from_the_index_or_from_the_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "IMG7.jpg").touch()
    assert image_paths(tmp_path) == ["a/IMG7.jpg"]
    (tmp_path / "index.csv").write_text("path,label\nb/IMG9.jpg,b\n")
    assert image_paths(tmp_path) == ["b/IMG9.jpg"]
