"""The REST interface as an OpenAPI document (version 3.1), served at /openapi.json."""

from __future__ import annotations

from typing import Any

from edge_runtime import __version__
from edge_runtime.serving.bodies import FIELD, Limits
from edge_runtime.serving.metrics import PARTS

MOST_NUMBER = 10**17  # of an item that one may ask for
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_MILLISECONDS = {"type": "object", "additionalProperties": {"type": "number"}}


def describe_interface(limits: Limits) -> dict[str, Any]:
    """The document, plain JSON types."""
    image = {
        "required": True,
        "description": f"An image file of at most {limits.image_bytes} bytes.",
        "content": {
            "application/octet-stream": _BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            },
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edge-serve",
            "version": __version__,
            "description": "Judges bone X-rays on this device. Research use only: not a medical device.",
        },
        "paths": {
            "/v1/predict": {
                "post": _operation("Judge one image", "Prediction", _REFUSALS | _IMAGE, image)
                | {"parameters": _HEATMAP}
            },
            "/v1/picture": {"post": _picture_operation(image), "get": _kept_operation()},
            "/v1/results": {"get": _operation("Items of a day, newest first", "Items", _QUERY) | {"parameters": _DAY}},
            "/v1/results.csv": {"get": _csv_operation() | {"parameters": _DAY}},
            "/v1/health": {"get": _operation("Whether the server answers", "Health", {})},
            "/v1/model": {"get": _operation("The network that judges", "Model", _TOKEN)},
            "/v1/drift": {"get": _operation("Whether today's answers part from the usual", "Drift", _TOKEN | _FULL)},
            "/metrics": {"get": _text_operation("Counters for Prometheus", "text/plain")},
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _reference(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _refusal(text: str) -> dict[str, Any]:
    return {"description": text, "content": _reference("Error")}


_TOKEN = {
    "401": _refusal("A token is needed."),
    "403": _refusal("Asked by a page of another site."),
    "421": _refusal("The server has another name."),
}
_FULL = {"503": _refusal("The store cannot be used.")}
_QUERY = _TOKEN | {"400": _refusal("A parameter is wrong."), "503": _refusal("The store cannot be used.")}
_REFUSALS = _TOKEN | {
    "400": _refusal("No image, or a broken form."),
    "408": _refusal("The image came too slowly."),
    "413": _refusal("The image is too large."),
    "429": _refusal("Too many images wait."),
    "503": _refusal("The store cannot be used."),
}
_IMAGE = {"422": {"description": "The image cannot be judged.", "content": _reference("Failure")}}
_HEATMAP = [
    {"name": "heatmap", "in": "query", "schema": {"enum": ["0", "1"]}, "description": "Say where the network looked."}
]
_DAY = [
    {"name": "day", "in": "query", "schema": {"type": "string", "format": "date"}, "description": "Today by default."},
    {"name": "search", "in": "query", "schema": {"type": "string"}, "description": "What an item has to contain."},
    {
        "name": "below",
        "in": "query",
        "schema": {"type": "integer", "minimum": 0, "maximum": MOST_NUMBER},
        "description": "Only items with a smaller number.",
    },
]


def _operation(summary: str, schema: str, others: dict[str, Any], body: dict[str, Any] | None = None) -> dict[str, Any]:
    responses = {"200": {"description": summary, "content": _reference(schema)}, **others}
    return {"summary": summary, "responses": responses} | ({} if body is None else {"requestBody": body})


def _picture_operation(image: dict[str, Any]) -> dict[str, Any]:
    shown = {"description": "The image in grey.", "content": {"image/png": _BINARY}}
    return {
        "summary": "The image as the network's reader sees it, grey",
        "requestBody": image,
        "responses": {"200": shown, **_REFUSALS, **_IMAGE},
    }


def _kept_operation() -> dict[str, Any]:
    shown = {"description": "The image in grey.", "content": {"image/png": _BINARY}}
    number = {"type": "integer", "minimum": 0, "maximum": MOST_NUMBER}
    others = _TOKEN | _IMAGE | {"400": _refusal("A parameter is wrong."), "404": _refusal("That image is not kept.")}
    return {
        "summary": "The image of an item, where the server keeps images",
        "parameters": [{"name": "number", "in": "query", "required": True, "schema": number}],
        "responses": {"200": shown, **others, "413": _refusal("The image is too large.")},
    }


def _csv_operation() -> dict[str, Any]:
    return {**_text_operation("Items of a day as CSV", "text/csv")} | {
        "responses": {**_text_operation("Items of a day as CSV", "text/csv")["responses"], **_QUERY}
    }


def _text_operation(summary: str, kind: str) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {"200": {"description": summary, "content": content}, **_TOKEN}}


_TEXT, _NUMBER = {"type": "string"}, {"type": "number"}
_SCHEMAS: dict[str, Any] = {
    "Prediction": {
        "type": "object",
        "description": "As edge-infer --json prints it, and the number under which it is kept.",
        "required": ["id", "path", "label", "probability", "threshold", "decision", "model", "milliseconds"],
        "properties": {
            "id": {"type": "integer"},
            "path": _TEXT,
            "label": _TEXT,
            "probability": {"type": "number", "minimum": 0, "maximum": 1},
            "threshold": _NUMBER,
            "decision": {"enum": ["fractured", "not fractured", "abstain"]},
            "reason": _TEXT,
            "warnings": {"type": "array", "items": _TEXT},
            "coverage": {
                "type": "object",
                "description": "Of a network that abstains by coverage: its level, and what is left open.",
                "required": ["level", "open"],
                "properties": {
                    "level": {"type": "number", "minimum": 0, "maximum": 1},
                    "open": {"type": "array", "items": {"enum": ["fractured", "not fractured"]}},
                },
            },
            "model": _TEXT,
            "model_sha256": _TEXT,
            "engine": _TEXT,
            "milliseconds": _MILLISECONDS,
            "heatmap": {"type": "object", "description": "Values from 0 to 1 row by row, and where they lie."},
        },
    },
    "Failure": {
        "type": "object",
        "required": ["path", "error"],
        "properties": {"id": {"type": "integer"}, "path": _TEXT, "error": {"$ref": "#/components/schemas/Reason"}},
    },
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"$ref": "#/components/schemas/Reason"}},
    },
    "Reason": {"type": "object", "required": ["code", "message"], "properties": {"code": _TEXT, "message": _TEXT}},
    "Items": {
        "type": "object",
        "required": ["day", "items"],
        "properties": {
            "day": _TEXT,
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", "source", "day", "state", "result", "identifiers", "kept"],
                    "properties": {
                        "id": {"type": "integer"},
                        "source": _TEXT,
                        "day": _TEXT,
                        "state": {"enum": ["waiting", "answered", "failed"]},
                        "result": {"type": ["object", "null"]},
                        "identifiers": {"type": ["object", "null"]},
                        "kept": {"type": "boolean", "description": "Whether its image is kept."},
                    },
                },
            },
        },
    },
    "Health": {
        "type": "object",
        "required": ["status", "waiting", "uptime_s", "version"],
        "properties": {"status": _TEXT, "waiting": {"type": "integer"}, "uptime_s": _NUMBER, "version": _TEXT},
    },
    "Drift": {
        "type": "object",
        "required": ["day", "answers", "tenths", "abstained_share", "reference", "parted"],
        "properties": {
            "day": _TEXT,
            "answers": {"type": "integer"},
            "tenths": {"type": "array", "items": {"type": "integer"}},
            "abstained_share": _NUMBER,
            "reference": {"enum": ["bundle", "device", "none yet"]},
            "reference_answers": {"type": "integer"},
            "reference_abstained_share": _NUMBER,
            "parted": {"type": "array", "items": {"enum": list(PARTS)}},
        },
    },
    "Model": {
        "type": "object",
        "required": ["model", "model_sha256", "engine", "threshold", "domain", "labels", "size"],
        "properties": {
            "model": _TEXT,
            "model_sha256": _TEXT,
            "domain": _TEXT,
            "engine": _TEXT,
            "engine_settings": {"type": "object"},
            "threshold": _NUMBER,
            "labels": {"type": "array", "items": _TEXT},
            "size": {"type": "integer"},
        },
    },
}
