"Results as STAC: valid items, read and searched by pystac-client, downloaded by their addresses."

import hashlib
from typing import Any

import asked
import httpx
import pystac_client
import pytest
import service
import stac_offline
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from serving.api.stac import _interval
from serving.jobs.jobs import Job
from serving.jobs.users import User

ITEMS = "/stac/collections/crop-maps/items"


def test_pystac_client_opens_searches_and_downloads(site: Any):
    catalogue = pystac_client.Client.open(f"{site.live.url}/stac", headers=site.headers)
    [collection] = catalogue.get_collections()
    assert collection.id == "crop-maps" and collection.extent.spatial.bboxes[0][0] < 31.05
    assert site.job.id in [item.id for item in collection.get_items()]
    where = {"bbox": [31.0, -18.0, 31.1, -17.8], "datetime": "2022-10-01/2023-01-01"}
    for method in ("GET", "POST"):
        found = {item.id: item for item in catalogue.search(method=method, collections=["crop-maps"], **where).items()}
        item = found[site.job.id]
        assert item.collection_id == "crop-maps"
        for nothing in (where | {"bbox": [20, -18, 21, -17]}, where | {"datetime": "2024-01-01/.."}):
            assert not list(catalogue.search(method=method, **nothing).items())
        assert [i.id for i in catalogue.search(method=method, ids=[site.job.id, "0" * 32, "x"]).items()] == [
            site.job.id
        ]
        assert not list(catalogue.search(method=method, collections=["others"]).items())
    near = {"type": "Point", "coordinates": [31.05, -17.83]}
    assert site.job.id in {item.id for item in catalogue.search(intersects=near).items()}
    assert not list(catalogue.search(intersects=near | {"coordinates": [31.2, -17.83]}).items())
    for asset in item.assets.values():
        if "file:size" in asset.extra_fields:
            content = httpx.get(asset.href, headers=site.headers).content
            assert asset.extra_fields["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
    assert {name for name, asset in item.assets.items() if asset.href.startswith(site.live.url)} == {
        "map", "statistics", "style", "colours",
    }  # fmt: skip


def test_items_are_valid_with_all_their_extensions(site: Any):
    item = httpx.get(f"{site.live.url}{ITEMS}/{site.job.id}", headers=site.headers)
    assert item.headers["content-type"] == "application/geo+json"
    assert stac_offline.complaints(item.json()) == ""
    links = {link["rel"]: link["href"] for link in item.json()["links"]}
    assert links["self"] == str(item.url)
    for rel in ("root", "parent", "collection"):
        assert httpx.get(links[rel], headers=site.headers).status_code == 200


@pytest.fixture
def many(project: service.Project, engine: Engine, user: User) -> list[Job]:
    return [service.finish(project, engine, asked.job(engine, user)) for _ in range(5)]


def test_pages_of_items_hold_each_once(
    client: TestClient, tendai: dict[str, str], root: dict[str, str], many: list[Job]
):
    for href in (f"{ITEMS}?limit=2", "/stac/search?limit=2&bbox=31,-18,31.1,-17.8&datetime=2022-09-01T00:00:00Z/.."):
        seen, pages = [], 0
        following: str | None = href
        while following:
            page = client.get(following, headers=tendai).json()
            assert page["type"] == "FeatureCollection" and page["numberReturned"] == len(page["features"])
            seen += [feature["id"] for feature in page["features"]]
            following = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
            pages += 1
        assert seen == [job.id for job in many][::-1] and pages == 3
    body: dict[str, Any] | None = {"limit": 3, "bbox": [31, -18, 31.1, -17.8]}
    seen = []
    while body:
        page = client.post("/stac/search", json=body, headers=tendai).json()
        seen += [feature["id"] for feature in page["features"]]
        following = [link for link in page["links"] if link["rel"] == "next"]
        body = body | following[0]["body"] if following else None
    assert seen == [job.id for job in many][::-1]


def test_everybody_sees_their_own(
    client: TestClient,
    tendai: dict[str, str],
    root: dict[str, str],
    project: service.Project,
    engine: Engine,
    admin: User,
):
    job = service.finish(project, engine, asked.job(engine, admin))
    for path in (ITEMS, "/stac/search", f"/stac/search?ids={job.id}"):
        assert [f["id"] for f in client.get(path, headers=root).json()["features"]] == [job.id]
        assert client.get(path, headers=tendai).json()["features"] == []
        assert client.get(path).status_code == 401
    waiting = asked.job(engine, admin)  # has no item yet
    assert client.get(f"{ITEMS}/{waiting.id}", headers=root).status_code == 404
    assert client.get("/stac/collections/others/items", headers=root).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "bbox=1,2,3", "bbox=a,b,c,d", "bbox=nan,1,2,3", "bbox=1,5,2,3", "limit=0", "token=x", "datetime=yesterday",
        "datetime=2023-01-01/2022-01-01", "datetime=/", "datetime=0001-01-01T00:00:00%2B23:00",
    ],
)  # fmt: skip
def test_a_search_that_makes_no_sense_is_refused(client: TestClient, tendai: dict[str, str], query: str):
    answer = client.get(f"/stac/search?{query}", headers=tendai)
    assert answer.status_code == 422 and answer.json()["status"] == 422, answer.text


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2022-10-01T12:00:00Z", ("2022-10-01", "2022-10-01")),
        ("2022-10-01T23:00:00-05:00", ("2022-10-02", "2022-10-02")),  # UTC
        ("2022-10-01/2023-01-01", ("2022-10-01", "2023-01-01")),
        ("../2023-01-01T00:00:00Z", (None, "2023-01-01")),
        ("2022-10-01T00:00:00Z/", ("2022-10-01", None)),
        ("../..", (None, None)),
    ],
)
def test_moments_and_intervals(text: str, days: tuple[str | None, str | None]):
    assert tuple(day and day.isoformat() for day in _interval(text)) == days
