"""Searching a real STAC API over a network on which things go wrong; the real documents of Digital Earth Africa."""

import copy
import datetime as dt
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from faults import Proxy, proxy
from loopback import answering
from postgres import binaries
from stac_api import Server, read, serve
from urllib3.util import retry as urllib3_retry

from geocrop import cli, cube, items, settings
from geocrop.catalogue import Connection
from geocrop.items import BASELINE_WITH_OFFSET, COLOURS, OFFSET_DN, ItemList, deduplicate, parse
from geocrop.schema import AOI, FEATURE_BANDS, ItemsError, Season

IMPATIENT = Connection(page_items=10, connect_s=2, read_s=20, retries=2, backoff_s=0.01)
NORTON = AOI(30.7, -17.88, 1500)  # beside the embedded season


@pytest.fixture(autouse=True)
def straight(monkeypatch: pytest.MonkeyPatch) -> None:
    "No proxy of this machine stands between the tests and their own servers."
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def archive(season: Path) -> Iterator[Server]:
    "The embedded season in a STAC API."
    if binaries() is None:
        pytest.skip("no PostgreSQL with PostGIS: apt-get install postgresql-15 postgresql-15-postgis-3")
    with serve() as server:
        server.load(*read(season / "catalog.json"))
        yield server


@pytest.fixture
def way(archive: Server) -> Iterator[Proxy]:
    "A way to it on which a test can let things go wrong."
    with proxy(archive.url) as way:
        yield way


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    "Pauses before asking again, in seconds. Nobody waits for them."
    taken: list[float] = []
    monkeypatch.setattr(urllib3_retry, "time", SimpleNamespace(sleep=taken.append, time=time.time))
    return taken


@pytest.fixture(scope="session")
def expected(season: Path) -> ItemList:
    "What a search of the same files finds, without any server."
    return search(str(season / "catalog.json"))


def search(href: str, connection: Connection = IMPATIENT, **more: Any) -> ItemList:
    "The season of the committed parameters."
    return items.search(settings.area(), settings.season(), catalogue=href, connection=connection, **more)


def told(error: ItemsError, *words: str) -> str:
    "The message, once it is known to be one line with its four parts and these words."
    text = str(error)
    assert all(str(part) for part in (error.thing, error.found, error.expected, error.remedy)) and "\n" not in text
    assert not [word for word in words if word not in text], text
    return text


# --- the same list through either door -------------------------------------------------------------------------------


@pytest.mark.parametrize("page_items", [10, 100])
def test_an_api_and_a_static_catalogue_give_the_same_list(archive: Server, expected: ItemList, page_items: int):
    found = search(archive.url, Connection(page_items=page_items))
    assert len(found) == len(expected) > 50
    for one, other in zip(found, expected, strict=True):
        assert (one.id, one.offset_dn, one.datetime, one.assets) == (
            other.id,
            other.offset_dn,
            other.datetime,
            other.assets,
        )
    assert found == expected and found.sha256 == expected.sha256


def test_both_lists_give_the_same_numbers(archive: Server, expected: ItemList):
    found = search(archive.url)
    lon, lat = (sum(x) / 5 for x in zip(*settings.area()["coordinates"][0], strict=True))
    grid = cube.grid(found, AOI(lon, lat, 150))
    one, other = (cube.fetch(cube.load_cube(listed.items[:12], grid)) for listed in (found, expected))
    assert one.identical(other) and int(one.B08.max()) > 0


def test_the_frozen_list_has_the_same_bytes(archive: Server, expected: ItemList, tmp_path: Path):
    items.save(search(archive.url), tmp_path / "api.json")
    items.save(expected, tmp_path / "static.json")
    assert (tmp_path / "api.json").read_bytes() == (tmp_path / "static.json").read_bytes()


def test_the_question_is_area_season_and_collections(way: Proxy):
    search(way.url)
    first, *others = way.asked
    lon, lat = zip(*settings.area()["coordinates"][0], strict=True)
    assert first == {
        "method": "POST",
        "body": {
            "collections": ["s2_l2a"],
            "bbox": [min(lon), min(lat), max(lon), max(lat)],
            "datetime": "2022-09-01T00:00:00Z/2023-05-31T23:59:59.999Z",
            "limit": 10,
        },
    }
    assert len(others) == way.delivered - 1 > 5


def test_several_collections_are_asked_for_as_the_settings_say(
    archive: Server, expected: ItemList, way: Proxy, monkeypatch: pytest.MonkeyPatch
):
    archive.load([named(read_collection(archive), "s2_l2a_c1")], [])
    monkeypatch.setenv("GEOCROP_CATALOGUE_HREF", way.url)
    monkeypatch.setenv("GEOCROP_CATALOGUE_COLLECTIONS", "s2_l2a, s2_l2a_c1")
    assert items.search(settings.area(), settings.season(), connection=IMPATIENT) == expected
    assert way.asked[0]["body"]["collections"] == ["s2_l2a", "s2_l2a_c1"]


# --- which of the two a catalogue is ---------------------------------------------------------------------------------


def root(change: Callable[[dict], None]) -> Callable[[str, dict], dict]:
    "A rewrite of the landing page only."

    def rewrite(path: str, document: dict) -> dict:
        if path == "/":
            change(document)
        return document

    return rewrite


def without_link(document: dict) -> None:
    document["links"] = [link for link in document["links"] if link["rel"] != "search"]


def without_conformance(document: dict) -> None:
    del document["conformsTo"]


def without_methods(document: dict) -> None:  # as Explorer's landing page
    document["links"] = [{k: v for k, v in link.items() if k != "method"} for link in document["links"]]


def with_get_only(document: dict) -> None:
    document["links"] = [link for link in document["links"] if link.get("method") != "POST"]


@pytest.mark.parametrize("change", [without_link, without_conformance, without_methods, with_get_only])
def test_the_landing_page_decides(way: Proxy, expected: ItemList, change: Callable[[dict], None]):
    way.rewrite = root(change)
    assert search(way.url) == expected
    assert {ask["method"] for ask in way.asked} == {"GET" if change is with_get_only else "POST"}


def test_a_static_catalogue_on_a_web_server_is_walked(season: Path, expected: ItemList):
    class Files(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=season))) as address:
        found = search(f"{address}/catalog.json")
    assert [item.id for item in found] == [item.id for item in expected] and found.sha256 == expected.sha256
    assert found.items[0].assets["B04"] == f"{address}/s2_l2a/{found.items[0].id}/B04.tif"


# --- faults that pass ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [1, 3])
@pytest.mark.parametrize(("fault", "times"), [("busy", 1), ("broken", 2), ("drop", 1), ("silence", 1)])
def test_a_fault_that_passes_is_survived(
    way: Proxy, expected: ItemList, pauses: list[float], fault: str, times: int, page: int
):
    way.fault, way.times, way.page = fault, times, page
    assert search(way.url, Connection(page_items=10, read_s=0.7, retries=2, backoff_s=3)) == expected
    assert len(way.asked) == way.delivered + times
    assert pauses == {"busy": [7.0], "broken": [6.0]}.get(fault, [])  # as the server asked; doubled from the second on


# --- faults that stay ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "says", "asked"),
    [
        ("busy", "status 503", 5),  # two pages, the third thrice
        ("broken", "status 500", 5),
        ("drop", "Connection aborted", 5),
        ("silence", "timed out", 5),
        ("cut", "IncompleteRead", 3),
        ("half", "no JSON", 3),
        ("portal", "no JSON", 3),
    ],
)
def test_half_an_answer_is_an_error(way: Proxy, pauses: list[float], fault: str, says: str, asked: int):
    way.fault, way.page = fault, 3
    with pytest.raises(ItemsError) as caught:
        search(way.url, Connection(page_items=10, read_s=0.7, retries=2))
    told(caught.value, way.url, says, "after 2 pages with 20 items", "[catalogue] href")
    assert len(way.asked) == asked


def test_the_first_answer_can_fail_as_well(way: Proxy):
    way.fault = "portal"
    with pytest.raises(ItemsError) as caught:
        search(way.url)
    told(caught.value, way.url, "no JSON", "after 0 pages with 0 items")


def test_nobody_listening_is_told_with_the_address():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        href = f"http://127.0.0.1:{taken.getsockname()[1]}/stac"
        with pytest.raises(ItemsError) as caught:
            search(href)
    told(caught.value, href, "refused", "network")


def test_a_page_that_is_no_stac_is_told(way: Proxy):
    way.rewrite = root(lambda document: document.clear())
    with pytest.raises(ItemsError) as caught:
        search(way.url)
    told(caught.value, way.url)


@pytest.mark.parametrize("where", ["numberMatched", "context"])
def test_fewer_items_than_were_counted_are_an_error(way: Proxy, where: str):
    def rewrite(path: str, document: dict) -> dict:
        if path == "/search":
            counted = document.pop("numberMatched") + 1
            document |= {where: counted} if where == "numberMatched" else {where: {"matched": counted}}
        return document

    way.rewrite = rewrite
    with pytest.raises(ItemsError) as caught:
        search(way.url)
    assert re.search(r"found (\d+) of (\d+) items on \d+ pages", told(caught.value, way.url, "numberMatched"))


def test_an_answer_that_stops_early_is_an_error(way: Proxy):
    def rewrite(path: str, document: dict) -> dict:
        if path == "/search" and way.delivered == 2:
            document |= {"features": [], "links": []}
        return document

    way.rewrite = rewrite
    with pytest.raises(ItemsError) as caught:
        search(way.url)
    told(caught.value, "found 20 of")


def test_a_page_of_something_else_is_an_error(way: Proxy):
    way.rewrite = lambda path, document: {"message": "sorry"} if way.delivered == 2 else document
    with pytest.raises(ItemsError) as caught:
        search(way.url)
    told(caught.value, "sorry", "after 2 pages with 20 items")


# --- pages -----------------------------------------------------------------------------------------------------------


def test_items_on_both_sides_of_a_page_border_count_once(way: Proxy, expected: ItemList):
    before: list[dict] = []

    def rewrite(path: str, document: dict) -> dict:
        if path == "/search":
            document["features"] = before[-2:] + document["features"]
            before.extend(document["features"])
        return document

    way.rewrite = rewrite
    assert search(way.url) == expected
    assert len(before) > len({feature["id"] for feature in before})


def test_links_that_are_merged_with_the_question_are_followed(way: Proxy, expected: ItemList):
    "Explorer sends only what is new in the question for the next page."

    def rewrite(path: str, document: dict) -> dict:
        for link in document.get("links", []):
            if link["rel"] == "next":
                link |= {"merge": True, "body": {"token": link["body"]["token"]}}
        return document

    way.rewrite = rewrite
    assert search(way.url) == expected
    assert all({"bbox", "datetime", "token"} <= set(ask["body"]) for ask in way.asked[1:])


def test_without_a_count_the_pages_alone_decide(way: Proxy, expected: ItemList):
    way.rewrite = lambda path, document: {k: v for k, v in document.items() if k != "numberMatched"}
    assert search(way.url) == expected


# --- nothing ---------------------------------------------------------------------------------------------------------


def test_an_area_without_items_is_told_the_extent(archive: Server):
    with pytest.raises(ItemsError) as caught:
        items.search(AOI(-17.83, 31.05, 2000), Season(2022), catalogue=archive.url, connection=IMPATIENT)
    told(caught.value, archive.url, "[31.026, -17.853, 31.074, -17.807]", "swapped")


def test_an_extent_with_heights_is_told_without_them(way: Proxy):
    def rewrite(path: str, document: dict) -> dict:
        for collection in document.get("collections", []):
            collection["extent"]["spatial"]["bbox"] = [[31, -18, 0, 32, -17, 2592]]
        return document

    way.rewrite = rewrite
    with pytest.raises(ItemsError) as caught:
        items.search(AOI(-17.83, 31.05, 2000), Season(2022), catalogue=way.url, connection=IMPATIENT)
    told(caught.value, "[31, -18, 32, -17]")


def test_what_touches_only_the_box_of_the_area_is_left_out(archive: Server):
    west, south, east, north = 30.2, -17.88, 30.2 + 0.0141, -17.88 + 0.0134  # of the disc's upper right quarter
    corner = border("2019-11-02T07:56:31Z")
    ring = [[east - 1e-4, north - 1e-4], [east, north - 1e-4], [east, north], [east - 1e-4, north]]
    corner |= {"bbox": [*ring[0], *ring[2]], "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}}
    archive.load([], [corner])
    with pytest.raises(ItemsError) as caught:
        items.search(AOI(west, south, 1500), Season(2019), catalogue=archive.url, connection=IMPATIENT)
    told(caught.value, "Area around lon 30.200, lat -17.880")
    square = {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    }
    assert len(items.search(square, Season(2019), catalogue=archive.url, connection=IMPATIENT)) == 1


def test_a_season_without_items_is_told_the_years(archive: Server):
    with pytest.raises(ItemsError) as caught:
        items.search(settings.area(), Season(2015), catalogue=archive.url, connection=IMPATIENT)
    told(caught.value, "Season 2015 (2015-09-01 to 2016-05-31)", "from 2022-09-03 to 2023-05-31")


@pytest.mark.parametrize("asked", [["s2_l2b"], ["s2_l2a", "s2_l2b"]])
def test_a_collection_that_does_not_exist_is_told_those_that_do(archive: Server, asked: list[str]):
    with pytest.raises(ItemsError) as caught:
        search(archive.url, collections=asked)
    told(caught.value, archive.url, "no collection s2_l2b", "s2_l2a", "[catalogue] collections")


def test_ids_to_skip_must_exist_somewhere_in_the_collections(archive: Server, expected: ItemList):
    gone = expected.items[3].id
    assert gone not in {item.id for item in search(archive.url, skip=[gone])}
    elsewhere = border("2023-09-01T00:00:00Z")
    archive.load([], [elsewhere])
    assert search(archive.url, skip=[elsewhere["id"]]) == expected
    with pytest.raises(ItemsError) as caught:
        search(archive.url, skip=[gone, "S2A_36KTF_20990101_0_L2A"])
    told(caught.value, "S2A_36KTF_20990101_0_L2A", archive.url)
    assert gone not in str(caught.value.found)


def test_cloud_is_filtered_here(archive: Server, expected: ItemList):
    assert {item.id for item in search(archive.url, max_cloud_pct=20)} <= {i.id for i in expected if i.cloud_pct <= 20}
    with pytest.raises(ItemsError) as caught:
        search(archive.url, max_cloud_pct=-1)
    told(caught.value, "items.max_cloud_pct")


# --- bounds of a season ----------------------------------------------------------------------------------------------


def border(moment: str) -> dict:
    "A scene over Norton."
    stamp = re.sub(r"\D", "", moment)
    ring = [[30.6, -17.95], [30.8, -17.95], [30.8, -17.8], [30.6, -17.8], [30.6, -17.95]]
    return {
        "type": "Feature", "stac_version": "1.0.0", "collection": "s2_l2a", "links": [], "id": f"S2B_36KTF_{stamp}",
        "bbox": [30.6, -17.95, 30.8, -17.8], "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "datetime": moment, "platform": "sentinel-2b", "proj:epsg": 32736, "eo:cloud_cover": 10.0,
            "odc:region_code": "36KTF", "sentinel:processing_baseline": "05.09", "sentinel:boa_offset_applied": True,
        },
        "assets": {name: {"href": f"s3://archive/{stamp}/{name}.tif"} for name in (*FEATURE_BANDS, "SCL")},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("when", "inside", "outside"),
    [
        (
            Season(2023),
            {"2023-09-01T00:00:00Z": 0, "2024-02-29T12:00:00Z": 181, "2024-05-31T23:59:59Z": 273},
            ["2023-08-31T23:59:59Z", "2024-06-01T00:00:00Z"],
        ),
        (
            Season(2022),
            {"2022-09-01T00:00:00Z": 0, "2023-03-01T12:00:00Z": 181, "2023-05-31T23:59:59.900Z": 272},
            ["2022-08-31T23:59:59.900Z", "2023-06-01T00:00:00Z"],
        ),
        (
            Season(2024, start="02-29", end="09-30"),
            {"2024-02-29T00:00:00Z": 0, "2024-09-30T23:59:59Z": 214},
            ["2024-02-28T23:59:59Z", "2024-10-01T00:00:00Z"],
        ),
    ],
    ids=["leap year", "across the year", "from the leap day"],
)
def test_both_bounds_of_a_season_belong_to_it(
    archive: Server, when: Season, inside: dict[str, int], outside: list[str]
):
    archive.load([], [border(moment) for moment in (*inside, *outside)])
    found = items.search(NORTON, when, catalogue=archive.url, connection=IMPATIENT)
    days = {re.sub(r"\D", "", item.datetime): when.day(item.date) for item in found}
    assert {re.sub(r"\D", "", moment).ljust(17, "0"): day for moment, day in inside.items()}.items() <= days.items()
    assert all(when.first <= item.date <= when.last for item in found)
    assert not {re.sub(r"\D", "", moment).ljust(17, "0") for moment in outside} & set(days)


# --- the real documents ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def reference(shared_data: Path) -> Path:
    return shared_data / "stac_reference"


@pytest.fixture
def real(reference: Path) -> dict:
    "The item that lies beside the files of Digital Earth Africa's s2_l2a."
    return json.loads((reference / "deafrica_fake_stac.json").read_text())


@pytest.fixture
def explorer(reference: Path) -> dict:
    "The dataset of the archive, as Explorer makes an item of it (datacube.metadata.ds2stac)."
    dataset = yaml.safe_load((reference / "deafrica_s2_africa_dataset.odc-metadata.yaml").read_text())
    folder = dataset["location"].rpartition("/")[0]
    properties = {{"eo:platform": "platform"}.get(k, k): v for k, v in dataset["properties"].items()}
    return {
        "id": dataset["id"],
        "collection": dataset["product"]["name"],
        "geometry": {"type": "Polygon", "coordinates": [[[37, -1], [38, -1], [38, 0], [37, 0], [37, -1]]]},
        "properties": properties | {"title": dataset["label"], "cubedash:region_code": "37MCQ"},
        "assets": {name: {"href": f"{folder}/{m['path']}"} for name, m in dataset["measurements"].items()},
        "links": [],
    }


@pytest.fixture
def collection_1(reference: Path, real: dict) -> dict:
    "The same scene in collection 1, with the bands of its product definition, as Explorer states them."
    product = yaml.safe_load((reference / "deafrica_s2_l2a_c1.odc-product.yaml").read_text())
    assets = {}
    for band in product["measurements"]:
        stated = {"nodata": band["nodata"], "data_type": band["dtype"]}
        stated |= {"offset": band["add_offset"]} if "add_offset" in band else {}
        href = f"s3://deafrica-sentinel-2-l2a-c1/35/Q/KG/2023/6/{band['name']}.tif"
        assets[band["name"]] = {"href": href, "raster:bands": [stated]}
    old = real["properties"]
    return real | {
        "id": "S2B_T35QKG_20230603T085610_L2A",
        "collection": product["name"],
        "assets": assets,
        "properties": {key: old[key] for key in ("datetime", "platform", "proj:epsg", "eo:cloud_cover")}
        | {"s2:processing_baseline": "05.10", "grid:code": "MGRS-35QKG"},
    }


def test_the_real_item_is_read_as_it_is_and_as_the_api_serves_it(real: dict):
    for collection in ("sentinel-s2-l2a-cogs", "s2_l2a"):
        item = parse(real | {"collection": collection})
        assert (item.id, item.tile, item.platform, item.epsg) == (
            "S2B_35QKG_20230603_0_L2A",
            "35QKG",
            "sentinel-2b",
            32635,
        )
        assert (item.baseline, item.sequence, item.cloud_pct, item.offset_dn) == ("05.09", 0, 0.0, 0)
        assert item.assets["SCL"].endswith("/S2B_35QKG_20230603_0_L2A/SCL.tif")


def test_the_real_item_with_other_flags(real: dict):
    def offset(**changed: Any) -> int:
        other = copy.deepcopy(real)
        for key, value in changed.items():
            other["properties"][f"sentinel:{key}"] = value
        return parse(other).offset_dn

    assert offset(boa_offset_applied=False) == OFFSET_DN
    assert offset(processing_baseline="03.01", boa_offset_applied=False) == 0
    assert offset(processing_baseline=None) == 0  # the product's name says N0509
    for unknown in ({"boa_offset_applied": None}, {"boa_offset_applied": "yes"}, {"processing_baseline": "99.99"}):
        with pytest.raises(ItemsError) as caught:
            offset(**unknown)
        told(caught.value, real["id"], "items.skip")


def test_the_real_item_of_another_archive_is_refused(real: dict):
    with pytest.raises(ItemsError) as caught:
        parse(real | {"collection": "sentinel-2-l2a"})
    told(caught.value, "sentinel-2-l2a", "not known", "items.skip")


def test_the_real_dataset_is_read_as_explorer_serves_it(explorer: dict):
    item = parse(explorer)
    assert (item.tile, item.platform, item.epsg, item.offset_dn) == ("37MCQ", "sentinel-2a", 32737, 0)
    assert (item.baseline, item.sequence, item.cloud_pct) == ("04.00", 0, 50.28)
    folder = "s3://deafrica-sentinel-2/sentinel-s2-l2a-cogs/37/M/CQ/2022/8/S2A_37MCQ_20220808_0_L2A"
    assert item.assets == {name: f"{folder}/{name}.tif" for name in (*FEATURE_BANDS, "SCL")}
    for gone in ("odc:region_code", "cubedash:region_code", "sentinel:processing_baseline"):
        del explorer["properties"][gone]
        assert (parse(explorer).tile, parse(explorer).baseline) == ("37MCQ", "04.00")


def test_collection_1_is_read_by_its_own_names(collection_1: dict):
    item = parse(collection_1)
    assert (item.tile, item.baseline, item.offset_dn) == ("35QKG", "05.10", OFFSET_DN)
    files = {name: href.rpartition("/")[2] for name, href in item.assets.items()}
    assert files == {name: f"{colour}.tif" for name, colour in COLOURS.items()} and files["B08"] == "nir.tif"


def test_collection_1_that_contradicts_itself_is_refused(collection_1: dict):
    def refused(change: Callable[[dict], None]) -> None:
        other = copy.deepcopy(collection_1)
        change(other)
        with pytest.raises(ItemsError) as caught:
            parse(other)
        told(caught.value, collection_1["id"], "contradict", "items.skip")

    refused(lambda item: item["assets"]["swir16"]["raster:bands"][0].update(offset=0))
    refused(lambda item: item["assets"]["red"]["raster:bands"][0].update(offset=-0.2, scale=0.0001))
    refused(lambda item: item["properties"].update({"s2:processing_baseline": "02.14"}))
    refused(lambda item: item["properties"].update({"earthsearch:boa_offset_applied": True}))
    for stated in ({"offset": -0.1, "scale": 0.0001}, {"offset": -0.1}, {"offset": None}):
        collection_1["assets"]["red"]["raster:bands"] = [stated]
        assert parse(collection_1).offset_dn == OFFSET_DN


def test_our_names_and_offsets_are_those_of_the_product_definitions(reference: Path):
    old, new = (
        {m["name"]: m for m in yaml.safe_load((reference / name).read_text())["measurements"]}
        for name in ("deafrica_esa_s2_l2a.odc-product.yaml", "deafrica_s2_l2a_c1.odc-product.yaml")
    )
    for ours, colour in COLOURS.items():
        assert ours in old and "add_offset" not in old[ours]
        assert ours in new[colour]["aliases"]
        assert new[colour].get("add_offset") == (None if ours == "SCL" else OFFSET_DN)


def test_the_real_documents_come_through_the_api(
    archive: Server, real: dict, explorer: dict, collection_1: dict, reference: Path
):
    made = read_collection(archive)
    archive.load([named(made, "s2_l2a_c1"), named(made, "sentinel-s2-l2a-cogs")], [real, explorer, collection_1])
    archive.load([], [real | {"collection": "s2_l2a"}])
    dry = Season(2023, start="05-01", end="09-30")
    here = AOI(24.6, 23.9, 1000)
    for collection, item in (("sentinel-s2-l2a-cogs", real), ("s2_l2a", real), ("s2_l2a_c1", collection_1)):
        found = items.search(here, dry, catalogue=archive.url, collections=[collection], connection=IMPATIENT)
        assert found.items == (parse(item),)
    both = items.search(here, dry, catalogue=archive.url, collections=["s2_l2a", "s2_l2a_c1"], connection=IMPATIENT)
    assert both.items == (parse(collection_1),)  # one pass, the higher baseline
    kenya = Season(2022, start="05-01", end="09-30")
    found = items.search(AOI(37.5, -0.5, 1000), kenya, catalogue=archive.url, connection=IMPATIENT)
    assert found.items == (parse(explorer),)


def read_collection(archive: Server) -> dict:
    "The collection of the season, as the API has it."
    import urllib.request

    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return json.load(straight.open(f"{archive.url}/collections/s2_l2a"))


def named(collection: dict, name: str) -> dict:
    return collection | {"id": name, "links": []}


# --- one product of each datatake ------------------------------------------------------------------------------------


def test_passes_are_the_datatakes_that_the_product_names_tell(season: Path):
    "Half an hour separates what the names of the archive separate: platform, start of the datatake, tile."
    features = read(season / "catalog.json")[1]
    names = {f["id"]: f["properties"]["sentinel:product_id"] for f in features}
    told_by_name = lambda name: (name[:3], name[11:26], name[38:44])  # noqa: E731
    ids = sorted(names, key=lambda i: told_by_name(names[i]))
    by_name = {frozenset(group) for _, group in groupby(ids, lambda i: told_by_name(names[i]))}
    by_gap = {frozenset(item.id for item in group) for group in items._passes(parse(f) for f in features)}
    assert by_gap == by_name and max(map(len, by_name)) > 1


def scene(moment: str, part: tuple[float, float] = (-17.95, -17.8), **properties: Any) -> items.Item:
    "A product over Norton, showing some latitudes; its names are those of ESA."
    feature = border(moment)
    south, north = part
    ring = [[30.6, south], [30.8, south], [30.8, north], [30.6, north], [30.6, south]]
    feature["geometry"]["coordinates"] = [ring]
    feature["properties"] |= properties
    feature["id"] += f"_{feature['properties']['sentinel:processing_baseline']}_{south}"
    return parse(feature)


@pytest.mark.parametrize(
    ("moment", "again"),
    [
        ("2022-11-02T07:56:31Z", "2022-11-02T07:56:31.024Z"),
        ("2022-11-02T07:36:09Z", "2022-11-02T07:56:31Z"),  # start of the datatake, moment over the tile
        ("2022-11-02T23:59:59.900Z", "2022-11-03T00:00:00.100Z"),
    ],
    ids=["other milliseconds", "start of the datatake", "over midnight"],
)
def test_a_product_that_was_processed_again_replaces_the_first(moment: str, again: str):
    old = scene(moment, **{"sentinel:processing_baseline": "04.00"})
    new = scene(again, **{"sentinel:processing_baseline": "05.09"})
    assert deduplicate([old, new]) == deduplicate([new, old]) == (new,)
    assert old.baseline >= BASELINE_WITH_OFFSET


def test_the_sequence_decides_between_equal_baselines():
    first, second = (scene(f"2022-11-02T07:56:3{n}Z", **{"sentinel:sequence": str(n)}) for n in (0, 1))
    assert deduplicate([second, first]) == (second,)


def test_what_only_looks_like_a_repetition_is_kept():
    strips = [scene("2022-11-02T07:56:31Z", (-17.95, -17.87)), scene("2022-11-02T07:56:40Z", (-17.875, -17.8))]
    satellites = [scene("2022-11-02T08:40:00Z", platform="sentinel-2a"), scene("2022-11-02T07:56:31Z")]
    orbits = [scene("2022-11-02T07:10:02Z"), scene("2022-11-02T08:50:40Z")]
    days = [scene("2022-11-02T07:56:31Z"), scene("2022-11-07T07:56:31Z")]
    for pair in (strips, satellites, orbits, days):
        assert set(map(id, deduplicate(pair))) == set(map(id, pair))


def test_two_strips_go_where_a_whole_product_shows_both():
    strips = [scene("2022-11-02T07:56:31Z", (-17.95, -17.87)), scene("2022-11-02T07:56:40Z", (-17.875, -17.8))]
    whole = scene("2022-11-02T07:56:35Z", **{"sentinel:processing_baseline": "05.10"})
    assert deduplicate([*strips, whole]) == (whole,)


def test_expected_clear_days_count_each_day_once_by_its_clearest_product():
    seen = [scene("2022-11-02T07:56:31Z", **{"eo:cloud_cover": pct}) for pct in (80.0, 40.0)]
    other = scene("2022-11-07T07:56:31Z", **{"eo:cloud_cover": 100.0})
    assert items.expected_clear_days([*seen, other]) == pytest.approx(0.6)
    assert items.expected_clear_days([]) == 0
    assert {item.date for item in seen} == {dt.date(2022, 11, 2)}


# --- on the command line ---------------------------------------------------------------------------------------------


def command(capsys: pytest.CaptureFixture, *words: object) -> tuple[int, str, str]:
    "Exit status of the command line, and what it wrote."
    status = cli.main([str(word) for word in words])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def disc() -> tuple[object, ...]:
    lon, lat = (sum(x[:4]) / 4 for x in zip(*settings.area()["coordinates"][0], strict=True))
    return "search", "--lon", lon, "--lat", lat, "--radius-m", 300, "--year", 2022


def test_the_command_line_lists_what_a_map_would_read(
    archive: Server, expected: ItemList, disc: tuple, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    offline = command(capsys, *disc, "--json")
    monkeypatch.setenv("GEOCROP_CATALOGUE_HREF", archive.url)
    status, out, err = command(capsys, *disc, "--json")
    assert (status, out, err) == offline and (status, err) == (0, "")
    listed = json.loads(out)
    assert [i for day in listed["by_day"] for i in day["ids"]] == [item.id for item in expected]
    assert listed["items"] == sum(day["items"] for day in listed["by_day"]) == len(expected)
    assert listed["days"] == len(listed["by_day"]) == len({item.date for item in expected})
    assert listed["expected_clear_days"] == pytest.approx(items.expected_clear_days(expected), abs=0.05)
    sizes = [day["size_mb"] for day in listed["by_day"]]
    assert min(sizes) > 0 and sum(sizes) == pytest.approx(listed["total_mb"], abs=0.05 + 0.005 * len(sizes))

    status, out, err = command(capsys, *disc)
    lines = out.splitlines()
    rows = lines[1 : 2 + listed["days"]]
    assert rows[0].split() == ["date", "items", "tiles", "cloud_pct", "size_mb"]
    assert len({len(row) for row in rows}) == 1  # aligned
    assert rows[1].split() == [str(value) for key, value in listed["by_day"][0].items() if key != "ids"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--radius-m": 0}, "AOI radius_m"),
        ({"--lat": 95}, "AOI latitude"),
        ({"--lon": -17.83, "--lat": 31.05}, "swapped"),
        ({"--year": 2010}, "Season 2010"),
    ],
)
def test_the_command_line_exits_with_2_and_one_line(
    archive: Server,
    disc: tuple,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    change: dict,
    says: str,
):
    monkeypatch.setenv("GEOCROP_CATALOGUE_HREF", archive.url)
    words = list(disc)
    for option, value in change.items():
        words[words.index(option) + 1] = value
    status, out, err = command(capsys, *words)
    assert (status, out) == (2, "") and len(err.splitlines()) == 1 and says in err


def test_the_command_line_names_a_server_that_does_not_answer(
    way: Proxy, pauses: list[float], disc: tuple, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GEOCROP_CATALOGUE_HREF", way.url)
    way.fault = "broken"
    status, out, err = command(capsys, *disc)
    assert (status, out) == (2, "") and len(err.splitlines()) == 1
    assert way.url in err and "status 500" in err and pauses == [2.0, 4.0, 8.0, 16.0]
