"""The page is for this machine and whoever holds the token: other origins, hosts and a missing token are refused."""

from __future__ import annotations

import http.client
import json
import re
import socket
from typing import TYPE_CHECKING

import pytest
from surfshift.workflows.view.data import ViewError
from surfshift.workflows.view.server import HEADERS, open_socket, serve

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Page

TOKEN = "the-right-token"
PATHS = ("/", "/data.json", "/state.json", "/files/view.js", "/files/plotly.js", "/structure/abc", "/nowhere")


def ask(page: Page, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A GET request with exactly these headers; names with ``_`` for ``-``."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
    for name, value in ({"Host": f"127.0.0.1:{page.port}"} | headers).items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def cookie(page: Page) -> str:
    return f"surfshift-{page.port}={TOKEN}"


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_everything_is_refused(page: Page, path: str) -> None:
    for headers in ({}, {"Cookie": f"surfshift-{page.port}=wrong"}, {"Cookie": f"other={TOKEN}"}):
        status, _, body = ask(page, path, **headers)
        assert status in {403, 404}
        assert status == 403 or path == "/nowhere"
        assert b"berlinite" not in body
        assert TOKEN.encode() not in body
    assert ask(page, f"{path}?token=wrong", Cookie=cookie(page))[0] in {403, 404}


def test_the_address_sets_a_cookie_for_this_page_alone_and_leaves_the_token(page: Page) -> None:
    status, headers, body = ask(page, f"/?token={TOKEN}")
    assert status == 303
    assert headers["location"] == "/"
    assert headers["set-cookie"].startswith(f"{cookie(page)};")
    for word in ("httponly", "samesite=strict", "path=/"):
        assert word in headers["set-cookie"].lower()
    assert TOKEN.encode() not in body
    status, headers, body = ask(page, "/", Cookie=cookie(page))
    assert status == 200
    assert b"<title>" in body
    for name, value in HEADERS.items():
        assert headers[name.lower()] == value
    assert json.loads(ask(page, "/data.json", Cookie=cookie(page))[2])["verdict"] == "identified"
    assert json.loads(ask(page, "/state.json", Cookie=cookie(page))[2])["jobs"] == []


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://127.0.0.1", "http://127.0.0.1:1", "null", "http://localhost.evil.example"],
)
def test_other_origins_are_refused_though_the_token_is_right(page: Page, origin: str) -> None:
    assert ask(page, "/data.json", Cookie=cookie(page), Origin=origin)[0] == 403
    assert ask(page, f"/?token={TOKEN}", Origin=origin)[0] == 403
    assert "access-control-allow-origin" not in ask(page, "/data.json", Cookie=cookie(page), Origin=origin)[1]


def test_what_the_browser_calls_cross_site_is_refused(page: Page) -> None:
    assert ask(page, "/data.json", Cookie=cookie(page), Sec_Fetch_Site="cross-site")[0] == 403
    assert ask(page, "/data.json", Cookie=cookie(page), Sec_Fetch_Site="same-origin")[0] == 200
    own = {"Origin": f"http://127.0.0.1:{page.port}"}
    assert ask(page, "/data.json", Cookie=cookie(page), **own)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""])
def test_other_host_names_are_refused(page: Page, host: str) -> None:
    """A foreign name that is made to point to this machine (DNS rebinding) does not reach the page."""
    assert ask(page, "/data.json", Cookie=cookie(page), Host=host)[0] == 400
    assert ask(page, "/data.json", Cookie=cookie(page), Host=f"localhost:{page.port}")[0] == 200


@pytest.mark.parametrize(
    "path", ["/files/../server.py", "/files/..%2fserver.py", "/files/%2e%2e/data.py", "/structure/..%2f"]
)
def test_paths_lead_to_no_other_file(page: Page, path: str) -> None:
    status, _, body = ask(page, path, Cookie=cookie(page))
    assert status == 404
    assert b"import" not in body


def test_only_reading_is_possible(page: Page) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    connection.request("POST", "/data.json", body="{}", headers={"Cookie": cookie(page)})
    assert connection.getresponse().status == 405
    connection.close()


def test_it_listens_on_the_loopback_address_alone() -> None:
    with open_socket(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
        port = listening.getsockname()[1]
        with socket.socket() as other:
            other.bind(("127.0.0.2", port))  # free: only the one address is taken
        listening.listen()
        with pytest.raises(ViewError, match="--port"):
            open_socket(port)


def test_texts_of_the_user_are_escaped_and_scripts_come_from_files(page: Page) -> None:
    text = ask(page, "/", Cookie=cookie(page))[2].decode()
    assert "<img" not in text
    assert "&lt;img src=x onerror" in text
    assert re.findall(r"<script[^>]*>", text) == ['<script src="/files/plotly.js">', '<script src="/files/view.js">']
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", text)
    script = ask(page, "/files/view.js", Cookie=cookie(page))[2].decode()
    assert "innerHTML" not in script
    assert "insertAdjacentHTML" not in script


def test_a_damaged_result_is_one_message(tmp_path: Path, page: Page) -> None:
    from surfshift.workflows.view.server import Source

    (tmp_path / "result.json").write_text("{half")
    with pytest.raises(ViewError, match="surfshift report"):
        serve(Source(name="x", report=tmp_path), 0, lambda _: None)
    (tmp_path / "result.json").unlink()
    assert json.loads(Source(name="x", report=tmp_path).page())["statement"] == "There is no result yet."
    with pytest.raises(ViewError, match="surfshift screen"):
        Source(name="x", report=tmp_path, coatings=tmp_path / "none").page()
