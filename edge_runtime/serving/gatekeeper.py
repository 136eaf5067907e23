"""What every request passes before a route sees it, and the headers that every answer carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from edge_runtime.serving.access import Access, RateLimit, Refusal
from edge_runtime.serving.metrics import Metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page needs its own script, style and the service, and pictures that it made itself; nothing else, from nowhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Gatekeeper:
    """ASGI middleware.

    Args:
        app: what answers the requests that pass.
        access: who may ask.
        rate: how often.
        metrics: counts refusals.
        open_paths: paths that need no token.
    """

    def __init__(
        self, app: ASGIApp, access: Access, rate: RateLimit, metrics: Metrics, open_paths: frozenset[str]
    ) -> None:
        self._app, self._access, self._rate, self._metrics, self._open = app, access, rate, metrics, open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if message["status"] >= 400:
                    self._metrics.count_refusal(message["status"])
            await send(message)

        refusal = self._refuse(scope)
        if refusal is None:
            await self._app(scope, receive, send_guarded)
            return
        body = {"error": {"code": f"http_{refusal.status}", "message": refusal.message}}
        # The body that comes with a refused request is not read: the connection ends with the answer.
        headers = {"Connection": "close"} | ({"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {})
        await JSONResponse(body, refusal.status, headers)(scope, receive, send_guarded)

    def _refuse(self, scope: Scope) -> Refusal | None:
        headers: Any = Headers(scope=scope)
        refusal = self._access.refuse(headers, scope["path"] not in self._open)
        if refusal is None and scope["method"] == "POST" and not self._rate.take(_address(scope)):
            return Refusal(429, "too many requests from this address; try again in a second")
        return refusal


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""
