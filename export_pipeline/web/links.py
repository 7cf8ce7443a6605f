"""The door that links go through: counts a use and sends the browser on to the store, or hands the file over itself.

Whatever is wrong with a link, the answer is the same: who does not have a link that works learns nothing about it. No
token gets into a log: what is logged names a link by its number.
"""

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.links import Followed, follow_link
from export_pipeline.model.errors import ExportError

_log = logging.getLogger(__name__)

#: Nobody on the way keeps an answer, and no page that is opened next is told the address.
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_GONE = (
    "This link does not work, or no longer: it has expired or was taken back, or a part of it is missing.\n"
    "Ask whoever gave it to you for a new one.\n"
)
_AWAY = "The link cannot be looked up at the moment. Try again in a minute.\n"
_RETRY_SECONDS = 30


def build_app(engine: Engine) -> Starlette:
    """The web application, on the engine."""

    def follow(request: Request) -> Response:
        try:
            followed = follow_link(engine, request.path_params["token"])
        except ExportError as error:
            _log.error("a link could not be followed: %s", error)
            return _page(503, _AWAY, {"Retry-After": str(_RETRY_SECONDS)})
        if followed is None:
            return _page(404, _GONE)
        _log.info("link %s to the export %s was used", followed.link.id, followed.link.export_id)
        return _answer(followed)

    routes = [Route("/links/{token}", follow), Route("/health", _health)]
    for route in routes:
        # Starlette adds it. A look at the headers, as chats take it at links they show, shall not count as a use.
        (route.methods or set()).discard("HEAD")
    app = Starlette(routes=routes, exception_handlers={404: _unknown, 405: _refused})
    app.router.redirect_slashes = False
    return app


def _answer(followed: Followed) -> Response:
    if followed.address is not None:
        return RedirectResponse(followed.address, 307, _HEADERS)
    headers = {
        "Content-Type": followed.media_type,
        "Content-Length": str(followed.size),
        "Content-Disposition": f'attachment; filename="{followed.link.filename}"',
    }
    return StreamingResponse(followed.chunks, headers=_HEADERS | headers)


def _health(request: Request) -> Response:
    return _page(200, "ok\n")


async def _unknown(request: Request, error: Exception) -> Response:
    return _page(404, _GONE)


async def _refused(request: Request, error: Exception) -> Response:
    allowed = error.headers if isinstance(error, HTTPException) else None
    return _page(405, "Links are opened, by GET; nothing else is done with them.\n", dict(allowed or {}))


def _page(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(text, status, _HEADERS | (headers or {}))
