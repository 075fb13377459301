"The page: files as they were built, kept forever or asked for anew, under a strict policy."

import gzip
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from serving.api.pages import Pages

SCRIPT = b"console.log('map');" * 100


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def page(client: TestClient, tmp_path: Path) -> TestClient:
    "A service with a page."
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<!doctype html><title>geocrop</title>")
    (dist / "icon.svg").write_text("<svg/>")
    (dist / "assets/index-4f2a.js").write_bytes(SCRIPT)
    (tmp_path / "secret.txt").write_text("not of the page")
    client.app.state.pages = Pages(dist)  # type: ignore[attr-defined]
    return client


def test_browsers_get_the_page_and_programs_the_landing_page(page: TestClient):
    browser = page.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert browser.text.startswith("<!doctype html>") and browser.headers["cache-control"] == "no-cache"
    assert page.get("/").json()["links"] and page.get("/", headers={"Accept": "application/json"}).json()["title"]
    assert "Accept" in browser.headers["vary"] and "Accept" in page.get("/").headers["vary"]
    policy = browser.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy and "script-src" not in policy and "http" not in policy
    assert browser.headers["x-content-type-options"] == "nosniff"


def test_assets_are_kept_forever_and_packed_where_that_helps(page: TestClient):
    plain = page.get("/assets/index-4f2a.js", headers={"Accept-Encoding": "identity"})
    assert plain.content == SCRIPT and "immutable" in plain.headers["cache-control"]
    assert plain.headers["content-type"].startswith("text/javascript")
    with page.stream("GET", "/assets/index-4f2a.js", headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip" and gzip.decompress(raw) == SCRIPT and len(raw) < len(SCRIPT)
    known = page.get("/assets/index-4f2a.js", headers={"If-None-Match": plain.headers["etag"]})
    assert known.status_code == 304 and known.content == b""
    assert page.get("/icon.svg").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("path", ["/assets/none.js", "/assets/../secret.txt", "/assets/%2e%2e/secret.txt", "/x.txt"])
def test_what_is_no_file_of_the_page_is_not_there(page: TestClient, path: str):
    answer = page.get(path)
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"


def test_without_a_built_page_the_api_says_so(client: TestClient):
    client.app.state.pages = Pages(Path("/nowhere"))  # type: ignore[attr-defined]
    assert client.get("/", headers={"Accept": "text/html"}).json()["links"]
    answer = client.get("/index.html")
    assert answer.status_code == 404 and "has not been built" in answer.json()["found"]
