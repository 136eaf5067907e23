"""The routes of the server: a page, REST for programs, and figures for those who watch it."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from dataclasses import asdict
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge_runtime import __version__
from edge_runtime.errors import ImageError, StorageError
from edge_runtime.images import read_grey
from edge_runtime.serving.access import Access, RateLimit
from edge_runtime.serving.bodies import expected_size, read_upload
from edge_runtime.serving.gatekeeper import Gatekeeper
from edge_runtime.serving.judging import Judging, QueueFull, answer_in, nameless_failure
from edge_runtime.serving.metrics import CONTENT_TYPE, drift_text, untold_text
from edge_runtime.serving.openapi import MOST_NUMBER, describe_interface
from edge_runtime.serving.parts import Parts

if TYPE_CHECKING:
    from starlette.requests import Request

    from edge_runtime.serving.store import Item

PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
}
OPEN_PATHS = frozenset({*PAGE_FILES, "/v1/health", "/openapi.json"})  # asked without a token

_PICTURE_SIDE = 2048  # pixels: what a screen can show
_MOST_ITEMS = 500  # of one answer
_STATUS = {"too_large": 413}  # of an image's error; 422 otherwise


def make_app(parts: Parts, access: Access, rate: RateLimit) -> Starlette:
    """The application, to be run by an ASGI server."""
    routes = _Routes(parts)
    table = [
        *(Route(path, _page_file(name, kind)) for path, (name, kind) in PAGE_FILES.items()),
        Route("/v1/predict", routes.predict, methods=["POST"]),
        Route("/v1/picture", routes.picture, methods=["GET", "POST"]),
        Route("/v1/results", routes.results),
        Route("/v1/results.csv", routes.results_csv),
        Route("/v1/health", routes.health),
        Route("/v1/model", routes.model),
        Route("/v1/drift", routes.drift),
        Route("/metrics", routes.metrics),
        Route("/openapi.json", lambda request: JSONResponse(describe_interface(parts.limits))),
    ]
    gatekeeper = Middleware(Gatekeeper, access=access, rate=rate, metrics=parts.metrics, open_paths=OPEN_PATHS)
    handlers: dict[Any, Any] = {HTTPException: _answer_refusal, StorageError: _answer_storage, 500: _answer_fault}
    return Starlette(routes=table, middleware=[gatekeeper], exception_handlers=handlers)


class _Routes:
    """One method for each route."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def predict(self, request: Request) -> Response:
        """Judges one image; the answer is that of `edge-infer --json`, with the number under which it is kept."""
        parts, start = self._parts, time.perf_counter()
        heatmap = request.query_params.get("heatmap", "0")
        if heatmap not in ("0", "1"):
            raise HTTPException(400, "heatmap: 0 or 1 was expected")
        source = "page" if request.headers.get("x-edge-page") else "rest"
        with _room(parts.judging, expected_size(request, parts.limits)):
            upload = await read_upload(request, parts.limits)
            record = await asyncio.wrap_future(parts.judging.submit(upload.content, heatmap == "1"))
        identifiers = (
            {"name": upload.name, "time": _now().isoformat("T", "seconds")} if parts.show_identifiers else None
        )
        kept = {name: value for name, value in record.items() if name != "heatmap"}  # hundreds of numbers an image
        number = await run_in_threadpool(self._keep, source, kept, identifiers, upload.content)
        decision = record.get("decision", "error")
        parts.metrics.count_answer(source, decision, time.perf_counter() - start)
        status = _STATUS.get(record["error"]["code"], 422) if "error" in record else 200
        return JSONResponse({"id": number, **answer_in(record)}, status)

    def _keep(self, source: str, record: dict[str, Any], identifiers: dict[str, Any] | None, content: bytes) -> int:
        number = self._parts.store.answered(source, _today(), record, identifiers)
        if self._parts.kept is not None:
            self._parts.kept.keep(number, content)
        self._parts.drift.today()
        return number

    async def drift(self, request: Request) -> Response:
        """Whether today's answers part from the usual."""
        report = await run_in_threadpool(self._parts.drift.today)
        return JSONResponse(report.to_dict())

    async def picture(self, request: Request) -> Response:
        """An image as grey PNG of at most 2048 pixels a side, for formats that no browser shows; GET: a kept one."""
        if request.method != "POST":
            return await self._kept_picture(request)
        with _room(self._parts.judging, expected_size(request, self._parts.limits)):
            upload = await read_upload(request, self._parts.limits)
            try:
                content = await run_in_threadpool(_picture, upload.content)
            except ImageError as error:
                return JSONResponse(nameless_failure(error), _STATUS.get(error.code, 422))
        return Response(content, media_type="image/png")

    async def _kept_picture(self, request: Request) -> Response:
        number = _number(request.query_params.get("number", ""), "number")
        kept = self._parts.kept
        content = None if kept is None else await run_in_threadpool(kept.content, number)
        if content is None:
            raise HTTPException(404, "the image of that number is not kept")
        try:
            return Response(await run_in_threadpool(_picture, content), media_type="image/png")
        except ImageError as error:
            return JSONResponse(nameless_failure(error), _STATUS.get(error.code, 422))

    async def results(self, request: Request) -> Response:
        """Items of a day, newest first."""
        items = await run_in_threadpool(self._items, request, _MOST_ITEMS)
        kept = await run_in_threadpool(self._parts.kept.numbers) if self._parts.kept else frozenset()
        shown = [item.to_dict() | {"kept": item.id in kept} for item in items]
        return JSONResponse({"day": _day(request), "items": shown})

    async def results_csv(self, request: Request) -> Response:
        """All items of a day as CSV."""
        items = await run_in_threadpool(self._items, request, None)
        head = {"Content-Disposition": f'attachment; filename="results-{_day(request)}.csv"'}
        return Response(_csv(items), media_type="text/csv; charset=utf-8", headers=head)

    def _items(self, request: Request, most: int | None) -> list[Item]:
        """Items of the day that the request asks for, newest first; None: all of them."""
        told, wanted = request.query_params.get("below"), request.query_params.get("search", "").casefold()
        day, below = _day(request), None if told is None else _number(told, "below")
        found: list[Item] = []
        while True:
            page = self._parts.store.of_day(day, _MOST_ITEMS, below)
            found += [item for item in page if wanted in _searchable(item)]
            if len(page) < _MOST_ITEMS or (most is not None and len(found) >= most):
                return found[:most]
            below = page[-1].id

    async def health(self, request: Request) -> Response:
        """Whether the server answers, and how much waits."""
        judging = self._parts.judging
        facts = {"status": "ok", "waiting": judging.waiting, "uptime_s": round(self._parts.metrics.uptime_s, 1)}
        return JSONResponse(facts | {"version": __version__})

    async def model(self, request: Request) -> Response:
        """The network that judges."""
        model, engine = self._parts.judging.predictor.model, self._parts.judging.predictor.engine
        spec = model.spec
        facts: dict[str, Any] = {
            "model": f"{spec.name}/{model.path.name}",
            "model_sha256": model.sha256,
            "domain": spec.domain,
        }
        facts |= {"engine": f"{engine.name} {engine.version}", "engine_settings": dict(engine.settings)}
        if spec.coverage is not None:
            facts["coverage"] = asdict(spec.coverage)
        return JSONResponse(facts | {"threshold": spec.threshold, "labels": list(spec.labels), "size": spec.size})

    async def metrics(self, request: Request) -> Response:
        """Counters for Prometheus."""
        parts, model = self._parts, self._parts.judging.predictor.model
        text = parts.metrics.to_text(parts.judging.waiting, f"{model.spec.name}/{model.path.name}", model.sha256)
        report = await run_in_threadpool(parts.drift.today)
        text += drift_text(report.abstained_share, report.parted)
        text += untold_text(await run_in_threadpool(parts.store.count_undelivered))
        return Response(text, headers={"Content-Type": CONTENT_TYPE})


def _room(judging: Judging, size: int) -> Any:
    try:
        return judging.reserve(size)
    except QueueFull as error:
        raise HTTPException(429, "the queue is full; try again", {"Retry-After": "1"}) from error


def _page_file(name: str, kind: str) -> Any:
    content = files("edge_runtime.serving").joinpath("page", name).read_bytes()

    async def send(request: Request) -> Response:
        # The page changes with the release: a browser asks again each time, and it is small.
        return Response(content, headers={"Content-Type": kind, "Cache-Control": "no-cache"})

    return send


def _picture(content: bytes) -> bytes:
    image = Image.fromarray(read_grey(content, least_side=_PICTURE_SIDE))
    image.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    stream = io.BytesIO()
    image.save(stream, "png", compress_level=1)
    return stream.getvalue()


def _csv(items: list[Item]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["id", "day", "source", "decision", "probability", "threshold", "error", "time", "name"])
    for item in items:
        record, known = item.record or {}, item.identifiers or {}
        error = record.get("error", {}).get("code", "")
        figures = [record.get(name, "") for name in ("decision", "probability", "threshold")]
        shown = [_plain_cell(str(known.get(name) or "")) for name in ("time", "name")]
        writer.writerow([item.id, item.day, item.source, *figures, error, *shown])
    return stream.getvalue()


def _plain_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _searchable(item: Item) -> str:
    record, known = item.record or {}, item.identifiers or {}
    words = [str(item.id), item.source, record.get("decision", "error"), *map(str, known.values())]
    return " ".join(words).casefold()


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) <= MOST_NUMBER):
        raise HTTPException(400, f"{name}: a number was expected")
    return int(text)


def _day(request: Request) -> str:
    day = request.query_params.get("day", _today())
    try:
        return datetime.strptime(day, "%Y-%m-%d").date().isoformat()
    except ValueError as error:
        raise HTTPException(400, "day: YYYY-MM-DD was expected") from error


def _now() -> datetime:
    return datetime.now().astimezone()


def _today() -> str:
    return _now().date().isoformat()


async def _answer_refusal(request: Request, error: Any) -> Response:
    body = {"error": {"code": f"http_{error.status_code}", "message": error.detail}}
    return JSONResponse(body, error.status_code, error.headers)


async def _answer_storage(request: Request, error: Any) -> Response:
    return JSONResponse({"error": {"code": "storage", "message": str(error)}}, 503)


async def _answer_fault(request: Request, error: Any) -> Response:
    """A fault of ours: its trace goes to the log, and nothing of it to the client."""
    return JSONResponse({"error": {"code": "internal", "message": "the server failed; its log says how"}}, 500)
