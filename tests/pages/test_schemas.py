"""docs/schemas says what programs read: each schema is one, is told of, and holds the real output of its command."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from edge_runtime.cli import main as edge_infer
from tools.command_docs import find_commands, open_command

ROOT = Path(__file__).parents[2]
SCHEMAS = sorted((ROOT / "docs" / "schemas").glob("*.json"))
LEAST = 10  # schemas


def lines_of(*arguments: Any) -> list[dict[str, Any]]:
    done = CliRunner().invoke(edge_infer, [str(argument) for argument in arguments])
    assert done.exit_code in (0, 1), done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def told(written, tiny_bundle, images) -> dict[str, list[Any]]:
    """Records of real output by schema; those of the slower commands are held to theirs where these are tested."""
    golden = tiny_bundle / "golden" / "phantom_008.png"
    shipped = ROOT / "edge_runtime" / "model"
    return {
        **{name: [record] for name, record in written.told.items()},
        "edge-infer-1": [
            *lines_of("--model", tiny_bundle, "--json", golden, images / "nothing.png"),
            *lines_of("--model", shipped, "--json", golden),
        ],
        "edge-infer-self-test-1": lines_of("--model", tiny_bundle, "--self-test", "--json"),
        "edge-infer-bench-1": lines_of("--model", tiny_bundle, "--bench", "1", "--json"),
        "parity-1": [json.loads((shipped / "parity.json").read_bytes())],
    }


def test_real_output_is_as_its_schema_has_it(told, require_schema):
    for name, records in told.items():
        assert records
        for record in records:
            require_schema(name, record)


def test_images_and_failures_are_both_among_them(told):
    assert {"probability" in record for record in told["edge-infer-1"]} == {True, False}


def test_a_heatmap_that_was_asked_for_is_in_the_schema(tmp_path, require_schema):
    golden = sorted((ROOT / "edge_runtime" / "model" / "golden").glob("*.png"))[0]
    for record in lines_of("--json", "--heatmap", tmp_path / "map.png", golden):
        assert record["heatmap"]["values"]
        require_schema("edge-infer-1", record)


def test_a_device_without_a_release_is_told(tmp_path, require_schema):
    from edge_runtime.device.status import describe_device

    require_schema("edge-device-status-1", describe_device(tmp_path, tmp_path / "no.key"))


@pytest.mark.parametrize("name", ["edge-audit-1", "edge-evaluate-1", "edge-infer-1", "edge-parity-1", "edge-train-1"])
def test_a_record_that_lacks_a_field_or_has_one_too_many_is_refused(told, require_schema, name):
    for spoil in _spoilt(told[name][0]):
        with pytest.raises(AssertionError):
            require_schema(name, spoil)


def _spoilt(record: dict[str, Any]) -> list[dict[str, Any]]:
    first, *_ = record
    lacking, more, other = (copy.deepcopy(record) for _ in range(3))
    del lacking[first]
    more["unheard_of"] = 1
    other[first] = {"of another": "type"}
    return [lacking, more, other]


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_a_schema_is_valid_versioned_and_told_of(path):
    schema = json.loads(path.read_bytes())
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert re.fullmatch(r"[a-z-]+-\d+", path.stem) and schema["$id"] == f"urn:fracture-edge:schema:{path.stem}"
    assert f"schemas/{path.name}" in (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def test_every_command_that_prints_json_has_a_schema():
    assert len(SCHEMAS) >= LEAST
    for name, place in find_commands().items():
        for own, command in _leaves(name, open_command(place)):
            if any("--json" in parameter.opts for parameter in command.params):
                assert [path for path in SCHEMAS if re.fullmatch(rf"{own}-\d+", path.stem)], own


def _leaves(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    """The command, or those of a group, by name."""
    if not isinstance(command, click.Group):
        return [(name, command)]
    return [leaf for verb, one in command.commands.items() for leaf in _leaves(f"{name}-{verb}", one)]
