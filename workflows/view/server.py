"""The server of a study's page: for this machine and for whoever holds the token, nothing else.

- It listens on the loopback address alone.
- The host of a request must be this machine by name or number: a foreign name that is made to lead here is refused.
- A request that another page sends (its Origin, or what the browser says of it) is refused.
- The token is in the address that is printed; opening it sets a cookie that scripts cannot read, and leads to an
  address without the token.
- Pages may load scripts and data from this server only.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from ...structures.errors import SurfshiftError
from .data import ViewError, as_json, page_data, read_result, structure_data

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from ...analysis.vocabulary import StudyResult
    from ..queue.folder import RunFolder

LOOPBACK = "127.0.0.1"
HOSTS = (LOOPBACK, "localhost")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
FILES = {"view.js": "text/javascript", "view.css": "text/css"}


@dataclass
class Source:
    """Where the page's data come from: a report's folder, and the queue of a run if there is one."""

    name: str
    report: Path
    run: RunFolder | None = None
    coatings: Path | None = None
    _read: tuple[float, StudyResult, bytes] | None = field(default=None, repr=False)

    @property
    def stamp(self) -> float:
        """When the result was written, seconds since 1970; 0 while there is none."""
        try:
            return (self.report / "result.json").stat().st_mtime
        except OSError:
            return 0.0

    def _current(self) -> tuple[float, StudyResult, bytes] | None:
        stamp = self.stamp
        if self._read is None or self._read[0] != stamp:
            result = read_result(self.report)
            self._read = None if result is None else (stamp, result, as_json(page_data(result, self.coatings)))
        return self._read

    def page(self) -> bytes:
        """Data of the page; only the name and the coatings while there is no result."""
        current = self._current()
        if current is None:
            from .data import read_coatings

            rows = [] if self.coatings is None else read_coatings(self.coatings)
            empty: dict[str, Any] = {
                "statement": "There is no result yet.",
                "verdict": None,
                "probability": None,
                "warnings": [],
            }
            return as_json(
                {
                    "name": self.name,
                    **empty,
                    "candidates": [],
                    "charts": [],
                    "samples": [],
                    "attributions": [],
                    "coatings": rows,
                }
            )
        return current[2]

    def structure(self, candidate_id: str) -> bytes | None:
        """The 3D view of one candidate; None if there is no such candidate."""
        from ...analysis.report.view import View

        current = self._current()
        if current is None:
            return None
        view = View(current[1])
        found = next((candidate for candidate, _ in view.candidates if candidate.id == candidate_id), None)
        return None if found is None else as_json(structure_data(found, view.marks(found)))

    def state(self) -> dict[str, Any]:
        """What the queue does; empty without a run."""
        if self.run is None or not self.run.is_submitted:
            return {"stamp": self.stamp, "jobs": [], "summary": "There is no queue."}
        from ..progress import clock, summary
        from ..queue.records import snapshot

        now = snapshot(self.run.controller())
        jobs = [
            {
                "name": job.name,
                "status": job.status.value,
                "time": "" if job.seconds is None else clock(job.seconds),
                "reason": job.reason.splitlines()[0] if job.reason else "",
            }
            for job in now.jobs
        ]
        return {"stamp": self.stamp, "jobs": jobs, "summary": summary(now)}


def make_app(source: Source, token: str, port: int) -> Starlette:
    """The application; every answer, a refusal too, carries the security headers.

    Raises
    ------
    ViewError
        If Starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.responses import PlainTextResponse, RedirectResponse, Response
        from starlette.routing import Route
    except ImportError as error:
        raise ViewError(
            "the page needs Starlette and Uvicorn; install them with: pip install 'surfshift[view]'"
        ) from error
    from plotly.offline import get_plotlyjs

    cookie = f"surfshift-{port}"
    own = {f"http://{host}:{port}" for host in HOSTS}
    texts = {name: _resource(name) for name in FILES}
    texts["view.css"] = _report_style() + texts["view.css"]
    plotly = get_plotlyjs()

    def is_known(given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), token.encode())

    def guarded(answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def guard(request: Request) -> Response:
            from starlette.concurrency import run_in_threadpool

            origin = request.headers.get("origin")
            if (origin is not None and origin not in own) or request.headers.get("sec-fetch-site") == "cross-site":
                return PlainTextResponse("Another page asked for this; it is refused.", status_code=403)
            if "token" in request.query_params:
                if not is_known(request.query_params["token"]):
                    return PlainTextResponse(
                        "The token is wrong; use the address that surfshift printed.", status_code=403
                    )
                moved = RedirectResponse("/", status_code=303)
                moved.set_cookie(cookie, token, httponly=True, samesite="strict", path="/")
                return moved
            if not is_known(request.cookies.get(cookie)):
                return PlainTextResponse(
                    "The token is missing; use the address that surfshift printed.", status_code=403
                )
            try:
                return await run_in_threadpool(answer, request)
            except SurfshiftError as error:
                return PlainTextResponse(str(error), status_code=500)

        return guard

    def home(_: Request) -> Response:
        return Response(_page(source.name), media_type="text/html")

    def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name == "plotly.js":
            return Response(plotly, media_type="text/javascript")
        if name not in FILES:
            return PlainTextResponse("There is no such file.", status_code=404)
        return Response(texts[name], media_type=FILES[name])

    def data(_: Request) -> Response:
        return Response(source.page(), media_type="application/json")

    def structure(request: Request) -> Response:
        found = source.structure(request.path_params["candidate"])
        if found is None:
            return PlainTextResponse("There is no such candidate.", status_code=404)
        return Response(found, media_type="application/json")

    def state(_: Request) -> Response:
        return Response(json.dumps(source.state()), media_type="application/json")

    routes = [
        Route("/", guarded(home)),
        Route("/files/{name}", guarded(file)),
        Route("/data.json", guarded(data)),
        Route("/structure/{candidate}", guarded(structure)),
        Route("/state.json", guarded(state)),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False)
    app = Starlette(routes=routes, middleware=[Middleware(_SecurityHeaders), hosts])
    app.router.redirect_slashes = False
    return app


class _SecurityHeaders:
    """Puts the security headers on every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    *((key.lower().encode(), value.encode()) for key, value in HEADERS.items()),
                ]
            await send(message)

        await self.app(scope, receive, with_headers)


def _resource(name: str) -> str:
    return resources.files("surfshift.workflows.view").joinpath(f"{name}.jinja").read_text(encoding="utf-8")


def _report_style() -> str:
    """The style of the report, which the page shares."""
    return resources.files("surfshift.analysis.report").joinpath("style.css.jinja").read_text(encoding="utf-8")


def _page(name: str) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_resource("view.html")).render(name=name)


def open_socket(port: int) -> socket.socket:
    """A socket on the loopback address; port 0 takes a free one.

    Raises
    ------
    ViewError
        If the port is taken.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((LOOPBACK, port))
    except OSError as error:
        found.close()
        raise ViewError(
            f"port {port} of this machine cannot be used ({error.strerror}); name another with --port"
        ) from error
    return found


def serve(
    source: Source, port: int, say: Callable[[str], None], *, opened: Callable[[str], object] | None = None
) -> None:
    """Serve the page until Ctrl-C; ``opened`` is called with the address once it can be opened.

    Raises
    ------
    ViewError
        If a package is missing, the port is taken, or the result cannot be read.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ViewError(
            "the page needs Starlette and Uvicorn; install them with: pip install 'surfshift[view]'"
        ) from error
    source.page()
    token = secrets.token_urlsafe(32)
    with open_socket(port) as listening:
        chosen = int(listening.getsockname()[1])
        # Addresses hold the token, so requests are not written down.
        config = uvicorn.Config(
            make_app(source, token, chosen), log_level="warning", access_log=False, server_header=False, lifespan="off"
        )
        address = f"http://{LOOPBACK}:{chosen}/?token={token}"
        say(f"open {address}")
        say("Ctrl-C ends it; the address is for you alone")
        if opened is not None:
            opened(address)
        uvicorn.Server(config).run(sockets=[listening])
