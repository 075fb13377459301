"Results: files as GDAL reads them, tiles, pixels, baselines; from a folder and from S3."

import hashlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import asked
import httpx
import morecantile
import numpy as np
import pytest
import rasterio
import service
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from geocrop.schema import Legend
from serving.api import palette, raster, shapes
from serving.api import shelf as shelves
from serving.api.app import create_app
from serving.jobs import database, users
from serving.jobs.jobs import Job
from serving.jobs.users import User

MAP = service.ROOT / "results/map.tif"
TMS = morecantile.tms.get("WebMercatorQuad")
LON, LAT = 31.05, -17.83
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # a picture has no place


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def web(site: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.live.url, headers=site.headers) as client:
        yield client


def test_results_say_where_everything_is(web: httpx.Client, site: Any):
    answer = web.get(f"/jobs/{site.job.id}/results")
    page = answer.json()
    shapes.ResultsPage.model_validate(page)
    for output in ("map", "item", "statistics", "style"):
        found = web.get(page[output]["href"])
        assert found.status_code == 200 and found.headers["content-type"] == page[output]["type"]
    assert page["summary"] == web.get(page["statistics"]["href"]).json()
    assert [row["name"] for row in page["legend"]] == list(page["summary"]["hectares_counted"])
    assert page["legend"] == web.get("/legend").json()["crop"]
    assert web.get(answer.url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    tile = TMS.tile(LON, LAT, 14)
    for mode, template in page["tiles"].items():
        href = template.format(z=tile.z, x=tile.x, y=tile.y)
        assert mode in href and web.get(href).headers["content-type"] == "image/png"


def test_a_file_is_what_was_published_and_knows_its_checksum(web: httpx.Client, site: Any):
    href, content = f"/jobs/{site.job.id}/files/map.tif", MAP.read_bytes()
    answer = web.get(href)
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    assert answer.content == content and answer.headers["etag"] == etag
    assert answer.headers["cache-control"].startswith("private") and "map.tif" in answer.headers["content-disposition"]
    head = web.head(href)
    assert head.status_code == 200 and head.content == b"" and head.headers["content-length"] == str(len(content))
    for known in (etag, f'W/{etag}, "x"', "*"):
        answer = web.get(href, headers={"If-None-Match": known})
        assert answer.status_code == 304 and answer.content == b"" and answer.headers["etag"] == etag
    for name in ("map.png", "../map.json", "%2e%2e%2fmap.json", "log.txt"):
        assert web.get(f"/jobs/{site.job.id}/files/{name}").status_code == 404, name


@pytest.mark.parametrize(
    ("range", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=10-19", slice(10, 20)),
        ("bytes=812000-", slice(812_000, None)),
        ("bytes=-5", slice(-5, None)),
        ("bytes=5-9999999", slice(5, None)),
    ],
)
def test_a_part_of_a_file(web: httpx.Client, site: Any, range: str, part: slice):
    href, content = f"/jobs/{site.job.id}/files/map.tif", MAP.read_bytes()
    answer = web.get(href, headers={"Range": range})
    first, last, _ = part.indices(len(content))
    assert answer.status_code == 206 and answer.content == content[part]
    assert answer.headers["content-range"] == f"bytes {first}-{last - 1}/{len(content)}"
    changed = web.get(href, headers={"Range": range, "If-Range": '"of yesterday"'})
    assert changed.status_code == 200 and changed.content == content


@pytest.mark.parametrize(
    ("range", "status"),
    [
        ("bytes=9999999-", 416),
        ("bytes=-0", 416),
        ("bytes=5-4", 200),
        ("lines=1-2", 200),
        ("bytes=0-1,5-6", 200),
        ("bytes=-", 200),
    ],
)
def test_a_range_that_is_none(web: httpx.Client, site: Any, range: str, status: int):
    answer = web.get(f"/jobs/{site.job.id}/files/map.tif", headers={"Range": range})
    assert answer.status_code == status
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{MAP.stat().st_size}" and answer.json()["status"] == 416


def test_gdal_reads_a_result_over_http_in_parts(site: Any):
    options = {
        "GDAL_HTTP_HEADERS": f"Authorization: {site.headers['Authorization']}",
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    }
    href = f"/vsicurl/{site.live.url}/jobs/{site.job.id}/files/map.tif"
    with rasterio.Env(**options), rasterio.open(href) as there, rasterio.open(MAP) as here:
        assert there.profile == here.profile
        assert np.array_equal(there.read(1), here.read(1))


def pixels(png: bytes) -> np.ndarray:
    with rasterio.MemoryFile(png) as file, file.open() as picture:
        return picture.read()


def test_a_tile_has_the_colours_of_the_legend_and_of_no_class_between(web: httpx.Client, site: Any):
    allowed = {(*rgb, 255) for rgb in Legend.of(web.get("/legend").json()["crop"]).rgb().values()} | {(0, 0, 0, 0)}
    for zoom in (0, 8, 11, 14, 16):
        tile = TMS.tile(LON, LAT, zoom)
        answer = web.get(f"/tiles/jobs/{site.job.id}/{zoom}/{tile.x}/{tile.y}.png")
        picture = pixels(answer.content)
        assert answer.status_code == 200 and picture.shape == (4, 256, 256)
        found = {tuple(c) for c in picture.reshape(4, -1).T.tolist()}
        assert found <= allowed and (len(found) > 1 or zoom == 0), zoom
    assert answer.headers["cache-control"].startswith("private")
    again = web.get(answer.url, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_a_tile_shows_the_pixel_that_the_point_query_tells(web: httpx.Client, site: Any):
    "Two ways to one pixel: the middle of a tile deep down."
    legend = {row["id"]: row["colour"] for row in web.get("/legend").json()["crop"]}
    ramp = palette.confidence()
    for lon, lat in ((31.04, -17.83), (31.05, -17.82), (31.06, -17.84)):
        tile = TMS.tile(lon, lat, 20)
        west, south, east, north = TMS.bounds(tile)
        found = web.get(
            f"/jobs/{site.job.id}/point", params={"lon": (west + east) / 2, "lat": (south + north) / 2}
        ).json()
        with rasterio.open(MAP) as here:
            [x], [y] = rasterio.warp.transform("EPSG:4326", here.crs, [(west + east) / 2], [(south + north) / 2])
            row, column = here.index(x, y)
            values = here.read()[:, row, column].tolist()
        assert [found["class"]["id"], found["confidence"], found["margin"], found["clear_days"]] == values[:4]
        assert found["applicable"] is bool(values[4]) and found["class"]["colour"] == legend[values[0]]
        for mode, colour in (
            ("class", bytes.fromhex(legend[values[0]][1:])),
            ("confidence", bytes(ramp[values[1]][:3])),
        ):
            png = web.get(f"/tiles/jobs/{site.job.id}/20/{tile.x}/{tile.y}.png?mode={mode}").content
            assert bytes(pixels(png)[:3, 128, 128]) == colour, mode


def test_the_ramp_of_the_confidence_is_the_one_that_is_told(web: httpx.Client):
    stops = web.get("/legend").json()["confidence"]
    table = palette.confidence()
    assert sorted(table) == list(range(101))
    assert ["#" + bytes(table[stop["value"]][:3]).hex() for stop in stops] == [stop["colour"] for stop in stops]
    steps = [max(abs(a - b) for a, b in zip(table[v], table[v + 1], strict=True)) for v in range(100)]
    assert max(steps) < 12  # no jump anywhere


def test_outside_there_is_nothing(web: httpx.Client, site: Any):
    for place in ("8/0/0", "14/0/0", "3/100/100"):
        answer = web.get(f"/tiles/jobs/{site.job.id}/{place}.png")
        assert answer.status_code == 200 and not pixels(answer.content)[3].any()
    for place in ("25/0/0", "-1/0/0", "x/0/0", "1/99999999/0"):
        assert web.get(f"/tiles/jobs/{site.job.id}/{place}.png").status_code == 422
    nothing = dict.fromkeys(("class", "confidence", "margin", "clear_days", "applicable"))
    assert web.get(f"/jobs/{site.job.id}/point?lon=31.5&lat=-17.83").json() == nothing
    for query in ("lon=181&lat=0", "lon=nan&lat=0", "lon=31.05"):
        assert web.get(f"/jobs/{site.job.id}/point?{query}").status_code == 422


def test_no_address_that_a_user_gives_is_opened(web: httpx.Client, site: Any, unused_tcp: Any):
    "An address in every place where one could be tried leads to no connection, and changes nothing."
    url, visits = unused_tcp
    tile = TMS.tile(LON, LAT, 12)
    plain = web.get(f"/tiles/jobs/{site.job.id}/12/{tile.x}/{tile.y}.png").content
    for key in ("url", "src", "path", "assets"):
        answer = web.get(f"/tiles/jobs/{site.job.id}/12/{tile.x}/{tile.y}.png", params={key: f"{url}/x.tif"})
        assert answer.content == plain
    for place in (f"/vsicurl/{url}/x.tif", url, "/vsis3/bucket/x.tif", "..%2f..%2fetc%2fpasswd"):
        for path in (
            f"/jobs/{place}",
            f"/tiles/jobs/{place}/1/1/1.png",
            f"/jobs/{site.job.id}/files/{place}",
            f"/tiles/baselines/{place}/1/1/1.png",
        ):
            assert web.get(path).status_code in (404, 422), path
    body = {"inputs": {"aoi": [LON, LAT, 500], "year": 2022, "model": url}}
    assert web.post("/processes/crop-map/execution", json=body).status_code == 422
    assert not visits


@pytest.fixture
def unused_tcp() -> Iterator[Any]:
    "An address, and who came to it."
    visits: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def wait() -> None:
            with server:
                while True:
                    try:
                        visits.append(server.accept())
                    except OSError:
                        return

        threading.Thread(target=wait, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", visits
        server.shutdown(socket.SHUT_RDWR)


def test_baselines_are_shown_to_everybody(site: Any):
    with httpx.Client(base_url=site.live.url) as web:
        [one] = web.get("/baselines").json()["baselines"]
        answer = web.get("/baselines/2022")
        assert answer.json() == one and one["legend"] == service.LEGEND == web.get("/legend").json()["baseline"]
        assert one["source"] == "simulated" and 31.02 < one["bbox"][0] < one["bbox"][2] < 31.08
        assert web.get("/baselines/2022", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        tile = TMS.tile(LON, LAT, one["maxzoom"])
        picture = web.get(one["tiles"].format(z=tile.z, x=tile.x, y=tile.y))
        assert picture.headers["cache-control"].startswith("public") and pixels(picture.content)[3].any()
        for path in ("/baselines/2016", "/tiles/baselines/2016/1/1/1.png"):
            missing = web.get(path)
            assert missing.status_code == 404 and missing.json()["expected"] == "2022"
        assert web.get("/baselines/22").status_code == 422


def test_a_tile_of_a_baseline_is_painted_once_until_its_file_changes(
    project: service.Project, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = shutil.copytree(shelf / "baselines", tmp_path / "baselines")
    monkeypatch.setenv("GEOCROP_STORE_BASELINES", str(own))
    painted = Mock(wraps=raster.tile)
    monkeypatch.setattr(raster, "tile", painted)
    tile = TMS.tile(LON, LAT, 13)
    href, beside = (f"/tiles/baselines/2022/13/{x}/{tile.y}.png" for x in (tile.x, tile.x + 1))

    def paintings() -> int:
        return sum(call.args[1] in (tile.x, tile.x + 1) and call.args[3] == 13 for call in painted.call_args_list)

    with TestClient(create_app()) as client:
        first = client.get(href)
        again = client.get(href)
        assert pixels(first.content)[3].any() and paintings() == 1
        assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
        client.get(beside)
        assert paintings() == 2
        with rasterio.open(next(own.rglob("2022.tif")), "r+", IGNORE_COG_LAYOUT_BREAK=True) as tif:
            tif.write(np.full(tif.shape, 255, "uint8"), 1)
        time.sleep(shelves.LISTED_S + 0.1)
        other = client.get(href)
        assert paintings() == 3
        assert not pixels(other.content)[3].any() and other.headers["etag"] != first.headers["etag"]


def test_the_first_visitor_does_not_wait_for_projections(project: service.Project, monkeypatch: pytest.MonkeyPatch):
    painted, done = Mock(wraps=raster.tile), threading.Event()
    monkeypatch.setattr(raster, "tile", lambda *picture: (painted(*picture), done.set()))
    with TestClient(create_app()):
        assert done.wait(60)  # nobody asked
    [call] = painted.call_args_list
    path, x, y, z, *_ = call.args
    assert path.endswith("2022.tif") and TMS.bounds(x, y, z).left < LON < TMS.bounds(x, y, z).right


@pytest.mark.parametrize("bucket", ["folder", "s3"])
def test_results_and_tiles_come_from_any_store(
    request: pytest.FixtureRequest,
    project: service.Project,
    engine: Engine,
    user: User,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
):
    if bucket == "s3":
        where = request.getfixturevalue("s3_url")
        monkeypatch.setenv("GEOCROP_STORE_RESULTS", where)
        project.environment["GEOCROP_STORE_RESULTS"] = where
        raster._options.cache_clear()
    job = service.finish(project, engine, asked.job(engine, user))
    with TestClient(create_app()) as client:
        headers = service.signed_in(client, user.name, "correct horse")
        href = f"/jobs/{job.id}/files/map.tif"
        assert client.get(href, headers=headers).content == MAP.read_bytes()
        assert client.get(href, headers=headers | {"Range": "bytes=5-9"}).content == MAP.read_bytes()[5:10]
        tile = TMS.tile(LON, LAT, 13)
        picture = client.get(f"/tiles/jobs/{job.id}/13/{tile.x}/{tile.y}.png", headers=headers)
        assert picture.status_code == 200 and pixels(picture.content)[3].any()
        assert client.get(f"/jobs/{job.id}/point?lon={LON}&lat={LAT}", headers=headers).json()["class"]
    raster._options.cache_clear()


def test_a_store_that_lost_a_file_is_no_fault_of_the_client(
    project: service.Project, engine: Engine, user: User, client: TestClient, tendai: dict[str, str]
):
    job = service.finish(project, engine, asked.job(engine, user))
    (project.folder / "results/results" / job.id / "1/map.tif").unlink()
    tile = TMS.tile(LON, LAT, 13)
    for path in (f"/jobs/{job.id}/files/map.tif", f"/tiles/jobs/{job.id}/13/{tile.x}/{tile.y}.png"):
        answer = client.get(path, headers=tendai)
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        assert str(project.folder) not in answer.text


def test_many_tiles_at_once_leave_threads_for_others(monkeypatch: pytest.MonkeyPatch):
    "No more rasters than `AT_ONCE` are read together, however many are asked for."
    together, most, lock = 0, 0, threading.Lock()
    full = threading.Event()

    def slow() -> None:
        nonlocal together, most
        with lock:
            together, most = together + 1, max(most, together + 1)
            if together == raster.AT_ONCE:
                full.set()
        full.wait(10)
        with lock:
            together -= 1

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5 * raster.AT_ONCE):
                group.start_soon(lambda: anyio.to_thread.run_sync(slow, limiter=raster.readers))

    anyio.run(all_of_them)
    assert most == raster.AT_ONCE


def test_a_map_stays_its_owners_when_it_is_remembered(
    project: service.Project, engine: Engine, user: User, client: TestClient, tendai: dict[str, str]
):
    "The memory of maps is no way around who may see them."
    users.add(engine, "other", "correct horse", "recruiter")
    other = service.signed_in(client, "other", "correct horse")
    job: Job = service.finish(project, engine, asked.job(engine, user))
    for path in (
        f"/tiles/jobs/{job.id}/12/2402/2253.png",
        f"/jobs/{job.id}/point?lon={LON}&lat={LAT}",
        f"/stac/collections/crop-maps/items/{job.id}",
    ):
        assert client.get(path, headers=tendai).status_code == 200
        assert client.get(path, headers=other).status_code == 404
    assert database.read(engine, lambda conn: users.used(conn, user)) == 1
