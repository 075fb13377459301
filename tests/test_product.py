"""The files of a product: read by STAC's validator and by others, and no class invented on the way to an overview."""

import copy
import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import rasterio.shutil
import stac_offline
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geocrop import cog
from geocrop.schema import CLASS_NODATA, CropClass, Legend
from geocrop.store import sha256

LEGEND = Legend(
    (
        CropClass(1, "maize", "#e8b92f"),
        CropClass(3, "natural_vegetation", "#1F5C3A"),
        CropClass(254, 'blé d\'hiver & <"orge">', "#2f6fb0"),  # what XML and the extensions have to get over
    )
)
BANDS = {
    "class": "crop class",
    "confidence": "percent",
    "margin": "percent",
    "clear_days": "days",
    "applicable": "0, 1",
}
SEASON = ("2022-09-01T00:00:00Z", "2023-05-31T23:59:59Z")
HOW = {
    "processing:software": {"geocrop": "0.1.0"},
    "processing:lineage": "Sentinel-2 L2A",
    "processing:level": "L4",
    "processing:expression": {"format": "shell", "expression": "geocrop replay map.tif"},
    "geocrop:season": "2022 2022-09-01 2023-05-31",
}


def write(path: Path, image: np.ndarray, geobox: GeoBox, **about: Any) -> None:
    with cog.writer(path, geobox, dtype=image.dtype, **about) as painted:
        painted.put(slice(0, geobox.shape[0]), slice(0, geobox.shape[1]), image)


FACTS = cog.ModelFacts(
    name="zimbabwe_embedded",
    sha256="0123456789abcdef" * 4,
    architecture="calibrated vote of XGBoost, LightGBM and CatBoost",
    version="0.1.0",
    features=("ndvi_amplitude", "ndvi_auc"),
    features_sha256="ab" * 32,
    legend=LEGEND,
    hyperparameters={"rounds": {"xgboost": 300}, "learning_rate": 0.1},
)


def grid(height: int, width: int) -> GeoBox:
    return GeoBox.from_bbox((290780, 8024980, 290780 + 10 * width, 8024980 + 10 * height), "EPSG:32736", resolution=10)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("this test has no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A product with all the files that it can have."
    path = tmp_path_factory.mktemp("product") / "harare.2022.tif"
    classes = np.random.default_rng(1).choice(np.array([1, 3, 254, 255], np.uint8), (300, 400))
    write(path, np.stack([classes] * 5), grid(300, 400), nodata=CLASS_NODATA, bands=BANDS)
    cog.colour(path, LEGEND)
    path.with_name("harare.2022.stats.json").write_text("{}")
    path.with_name("harare.2022.fields.parquet").write_bytes(b"PAR1")
    cog.stac_item(path, LEGEND, *SEASON, HOW, model=FACTS, sources=["https://example.org/b", "https://example.org/a"])
    return path


@pytest.fixture
def item(product: Path) -> dict[str, Any]:
    return json.loads(product.with_suffix(".json").read_text())


def test_the_item_is_valid_with_all_its_extensions(item: dict[str, Any], no_network: None):
    assert stac_offline.complaints(item) == ""
    named = {re.fullmatch(r".*/([a-z]+)/v[\d.]+/schema.json", address)[1] for address in item["stac_extensions"]}
    assert named == {"projection", "raster", "classification", "processing", "file", "mlm"}


@pytest.mark.parametrize(
    ("keys", "value", "says"),
    [
        (("id",), 7, "is not of type 'string'"),
        (("properties", "start_datetime"), None, "is not of type 'string'"),
        (("bbox",), [1, 2, 3], "bbox"),
        (("properties", "proj:shape"), [300], "proj:shape"),
        (("properties", "proj:colour"), 1, "proj:colour"),
        (("properties", "processing:software"), "geocrop", "require_any_field"),
        (("properties", "mlm:tasks"), ["alchemy"], "alchemy"),
        (("properties", "mlm:input", 0, "input", "data_type"), "float31", "float31"),
        (("properties", "mlm:output", 0, "classification:classes", 0, "color_hint"), "#e8b92f", "#e8b92f"),
        (("properties", "mlm:name"), "é", "é"),
        (("assets", "model", "roles"), ["metadata"], ""),
        (("assets", "map", "bands", 0, "raster:sampling"), "volume", "volume"),
        (("assets", "map", "bands", 0, "data_type"), "uint7", "uint7"),
        (("assets", "map", "file:checksum"), "SHA256:ab", "SHA256:ab"),
        (("assets", "style", "file:size"), -1, "-1"),
        (("links", 0), {"href": "https://example.org/a"}, "rel"),
    ],
)
def test_a_broken_item_is_found_out(
    item: dict[str, Any], keys: tuple[str | int, ...], value: object, says: str, no_network: None
):
    place: Any = item
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    found = stac_offline.complaints(item)
    assert found and says in found and "no network" not in found


def test_classes_of_the_band_and_of_the_model_are_those_of_the_extension(item: dict[str, Any]):
    "The schema of classification 2.0.0 does not look into common bands: its definition is applied to them here."
    schema = json.loads((stac_offline.HERE / "extensions/classification-v2.0.0.json").read_text())
    band = item["assets"]["map"]["bands"][0]
    jsonschema.validate(band, schema | {"oneOf": [{"$ref": "#/definitions/fields"}], "required": [], "properties": {}})
    classes = band["classification:classes"]
    assert [c["value"] for c in classes] == [1, 3, 254]
    assert [c["name"] for c in classes] == ["maize", "natural_vegetation", "ble_d_hiver_orge"]
    assert [c["title"] for c in classes] == ["maize", "natural vegetation", 'blé d\'hiver & <"orge">']
    assert all(c["description"] for c in classes)  # classification 1.1.0, to which the MLM extension refers
    assert item["properties"]["mlm:output"][0]["classification:classes"] == classes


def test_every_file_of_the_product_is_listed_with_its_size_and_checksum(product: Path, item: dict[str, Any]):
    beside = {p.name for p in product.parent.iterdir()} - {product.with_suffix(".json").name}
    listed = {asset["href"].removeprefix("./"): asset for name, asset in item["assets"].items() if name != "model"}
    assert set(listed) == beside and len(beside) == 5
    for name, asset in listed.items():
        path = product.with_name(name)
        assert (asset["file:size"], asset["file:checksum"]) == (path.stat().st_size, "1220" + sha256(path))
        assert asset["type"] and asset["roles"] and asset["title"]
    assert "/tmp" not in json.dumps(item) and str(product.parent) not in json.dumps(item)


def test_an_item_is_the_same_each_time_and_follows_its_files(product: Path, tmp_path: Path):
    for path in product.parent.iterdir():
        shutil.copy(path, tmp_path)
    moved, page = tmp_path / product.name, tmp_path / product.with_suffix(".json").name
    first = page.read_bytes()
    sources = ["https://example.org/a", "https://example.org/b", "https://example.org/a", "/data/season/item.json"]
    cog.stac_item(moved, LEGEND, *SEASON, HOW, model=FACTS, sources=sources)
    assert page.read_bytes() == first
    assert cog.restate(moved).read_bytes() == first
    moved.with_name("harare.2022.stats.json").write_text('{"hectares": 1}')
    moved.with_name("harare.2022.fields.parquet").unlink()
    was, now = json.loads(first), json.loads(cog.restate(moved).read_text())
    assert set(was["assets"]) - set(now["assets"]) == {"fields"}
    assert now["assets"]["statistics"]["file:size"] == 15
    for one in (was, now):
        one["assets"] = {name: one["assets"][name] for name in ("map", "model", "colours", "style")}
    assert now == was


@pytest.mark.parametrize("name", ["m", "7 years", "blé", "zimbabwe_embedded", "a b.c-d", "_", "玉米"])
def test_a_model_of_any_name_can_be_described(product: Path, item: dict[str, Any], name: str, no_network: None):
    from dataclasses import replace

    item["properties"] |= cog._model_properties(replace(FACTS, name=name))
    assert stac_offline.complaints(item) == ""


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("https://explorer.digitalearth.africa/stac/collections/s2_l2a/items/1", True),
        ("http://8.8.8.8/item.json", True),
        ("https://explorer.digitalearth.africa/item?token=abc", False),
        ("https://user:secret@example.org/item.json", False),
        ("http://localhost:8080/item.json", False),
        ("http://minio/item.json", False),
        ("http://minio.geocrop.svc.cluster.local/item.json", False),
        ("http://192.168.1.5/item.json", False),
        ("http://[::1]/item.json", False),
        ("http://[broken/item.json", False),
        ("s3://bucket/item.json", False),
        ("file:///data/item.json", False),
        ("/data/season/item.json", False),
        ("", False),
    ],
)
def test_only_public_addresses_are_linked(href: str, expected: bool):
    assert cog.is_public(href) is expected


def test_others_read_the_item(product: Path, item: dict[str, Any]):
    read = pystac.Item.from_file(product.with_suffix(".json"))
    assert read.to_dict(include_self_link=False, transform_hrefs=False)["assets"] == item["assets"]
    assert read.ext.proj.code == "EPSG:32736" and read.ext.proj.shape == [300, 400]
    assert read.ext.mlm.mlm_name == "zimbabwe_embedded" and read.ext.mlm.output[0].result.shape == [-1, 3]
    assert read.ext.mlm.input[0].pre_processing_function.expression == "geocrop.kernels:features_v1"
    assert [link.absolute_href for link in read.get_links("derived_from")] == [
        "https://example.org/a",
        "https://example.org/b",
    ]
    loaded = odc.stac.load([read], bands=["map.1"])
    with rasterio.open(product) as tif:
        np.testing.assert_array_equal(loaded["map.1"].values[0], tif.read(1))


def test_gdal_reads_colours_and_names(product: Path, tmp_path: Path):
    cog.check(product)
    with rasterio.open(product) as tif:
        assert {i: tif.colormap(1)[i] for i in LEGEND.ids} == {i: (*rgb, 255) for i, rgb in LEGEND.rgb().items()}
        assert tif.colormap(1)[255][3] == 0 and tif.colormap(1)[2][3] == 0
        assert tif.descriptions == tuple(BANDS) and tif.tags(2)["DESCRIPTION"] == "percent"
    rasterio.shutil.copy(product, tmp_path / "told.vrt", driver="VRT")  # GDAL writes down all that it has read
    told = ElementTree.parse(tmp_path / "told.vrt").find("VRTRasterBand[@band='1']/CategoryNames")
    names = [category.text or "" for category in told]
    assert {i: name for i, name in enumerate(names) if name} == dict(zip(LEGEND.ids, LEGEND.names, strict=True))


# What QGIS 3 writes for a paletted raster: the same in published styles of 3.16, 3.18 and 3.26. Its doctype names no
# document that exists, so the structure is all that there is to compare.
QGIS_RENDERER = {"type", "band", "opacity", "alphaBand", "nodataColor"}
QGIS_ENTRY = {"value", "color", "alpha", "label"}
QGIS_LIMITS = ["limits", "extent", "statAccuracy", "cumulativeCutLower", "cumulativeCutUpper", "stdDevFactor"]


def test_the_style_has_the_structure_that_qgis_writes(product: Path):
    text = product.with_suffix(".qml").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis ")
    root = ElementTree.fromstring(text)
    assert (root.tag, root.get("styleCategories")) == ("qgis", "Symbology")
    (renderer,) = root.findall("pipe/rasterrenderer")
    assert set(renderer.attrib) == QGIS_RENDERER and (renderer.get("type"), renderer.get("band")) == ("paletted", "1")
    assert [part.tag for part in renderer] == ["rasterTransparency", "minMaxOrigin", "colorPalette"]
    assert [part.tag for part in renderer.find("minMaxOrigin")] == QGIS_LIMITS
    entries = renderer.findall("colorPalette/paletteEntry")
    assert all(set(entry.attrib) == QGIS_ENTRY and entry.get("alpha") == "255" for entry in entries)
    assert [(int(e.get("value")), e.get("color")) for e in entries] == [
        (1, "#e8b92f"),
        (3, "#1f5c3a"),
        (254, "#2f6fb0"),
    ]
    assert [entry.get("label") for entry in entries] == ["maize", "natural vegetation", 'blé d\'hiver & <"orge">']


def levels(path: Path) -> Iterator[np.ndarray]:
    with rasterio.open(path) as tif:
        count = len(tif.overviews(1))
        yield tif.read(1)
    for level in range(count):
        with rasterio.open(path, overview_level=level) as tif:
            yield tif.read(1)


def votes(below: np.ndarray, rows: int, cols: int) -> np.ndarray:
    "How many pixels under each pixel of an overview have each value: shape (256, rows, cols). Slow, and by the rule."
    height, width = below.shape
    counted = np.zeros((256, rows, cols), np.int64)
    for y in range(rows):
        for x in range(cols):
            part = below[
                y * height // rows : -(-(y + 1) * height // rows), x * width // cols : -(-(x + 1) * width // cols)
            ]
            counted[:, y, x] = np.bincount(part.ravel(), minlength=256)
    return counted


@st.composite
def landscapes(draw: st.DrawFn) -> np.ndarray:
    "Fields of any size, from one pixel to most of the map, with gaps; more than a tile, so that it has overviews."
    height, width = (2 * draw(st.integers(129, 280)) - draw(st.sampled_from([0, 0, 1])) for _ in range(2))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    side, ids = draw(st.integers(1, 90)), draw(st.lists(st.integers(0, 254), min_size=2, max_size=6, unique=True))
    fields = random.choice(np.array(ids, np.uint8), (height // side + 1, width // side + 1))
    land = np.kron(fields, np.ones((side, side), np.uint8))[:height, :width]
    land[random.random(land.shape) < draw(st.sampled_from([0, 0.1, 0.6]))] = CLASS_NODATA
    return land


@given(land=landscapes(), how=st.sampled_from(["mode", "nearest"]))
@settings(max_examples=25, deadline=None)
def test_an_overview_invents_no_class_and_loses_no_large_one(
    tmp_path_factory: pytest.TempPathFactory, land: np.ndarray, how: str
):
    path = tmp_path_factory.mktemp("overviews") / "map.tif"
    write(path, land[None], grid(*land.shape), nodata=CLASS_NODATA, bands={"class": "crop class"}, overviews=how)
    full, *above = levels(path)
    np.testing.assert_array_equal(full, land)
    assert above
    below = full
    for level in above:
        rows, cols = level.shape
        counted = votes(below, rows, cols)
        mine = np.take_along_axis(counted, level[None].astype(np.int64), 0)[0]
        assert (mine > 0).all()  # a value that a pixel under it has
        mapped, seen = counted[:CLASS_NODATA], level != CLASS_NODATA
        alone = mapped.max(0) == counted.sum(0)  # all under it is one class: it stays
        np.testing.assert_array_equal(level[alone], mapped.argmax(0)[alone])
        if how == "mode":  # gaps have no vote, and of the classes one with the most wins
            np.testing.assert_array_equal(seen, mapped.sum(0) > 0)
            if below.shape == (2 * rows, 2 * cols):  # else it is GDAL's affair whose a row between two is
                np.testing.assert_array_equal(mine[seen], mapped.max(0)[seen])
        below = level


@given(land=landscapes(), side=st.integers(30, 700))
@settings(max_examples=15, deadline=None)
def test_a_picture_shows_what_an_overview_has(tmp_path_factory: pytest.TempPathFactory, land: np.ndarray, side: int):
    from io import BytesIO

    import matplotlib.pyplot as plt

    path = tmp_path_factory.mktemp("picture") / "map.tif"
    write(path, land[None], grid(*land.shape), nodata=CLASS_NODATA, bands={"class": "crop class"})
    known = dict.fromkeys([*np.unique(land[land != CLASS_NODATA])[1:].tolist(), 7, 8])  # one class has no colour
    legend = Legend(tuple(CropClass(i, f"c{i}", f"#{i:02x}80ff") for i in known))
    drawn = cog.picture(path, legend, side)
    assert drawn == cog.picture(path, legend, side) and drawn.startswith(b"\x89PNG")
    shown = np.rint(plt.imread(BytesIO(drawn)) * 255).astype(np.uint8)
    assert max(shown.shape[:2]) <= side
    assert max(shown.shape[:2]) >= min(side / 2 - 1, max(land.shape))
    opaque = shown[..., 3] == 255
    assert set(np.unique(shown[..., 3])) <= {0, 255}
    assert set(np.unique(shown[..., 0][opaque])) <= set(legend.ids) & set(np.unique(land))
    fits = [level for level in levels(path) if max(level.shape) <= side]
    if fits:
        np.testing.assert_array_equal(opaque, np.isin(fits[0], legend.ids))
        np.testing.assert_array_equal(shown[..., 0][opaque], fits[0][opaque])


def test_the_embedded_map_is_described_by_a_valid_item(root: Path, tmp_path: Path, no_network: None):
    if not (root / "results/map.tif").is_file():
        pytest.skip("no embedded map: found no results/map.tif; run: make repro")
    for name in ("map.tif", "map.tif.aux.xml", "map.stats.json"):
        shutil.copy(root / "results" / name, tmp_path)
    page = json.loads((root / "results/model/bundle.json").read_text())
    legend = Legend.of(page["legend"])
    facts = cog.ModelFacts(
        name=page["name"],
        sha256=sha256(root / "results/model/bundle.json"),
        architecture=FACTS.architecture,
        version=page["libraries"]["geocrop"],
        features=tuple(page["features"]),
        features_sha256=page["features_sha256"],
        legend=legend,
        hyperparameters=page["hyper"],
    )
    described = json.loads(cog.stac_item(tmp_path / "map.tif", legend, *SEASON, HOW, model=facts).read_text())
    assert stac_offline.complaints(described) == ""
    assert described["properties"]["mlm:input"][0]["input"]["shape"] == [-1, 51]
    broken = copy.deepcopy(described)
    broken["assets"]["map"]["file:checksum"] = "sha256:" + sha256(tmp_path / "map.tif")
    assert "file:checksum" in stac_offline.complaints(broken) or "sha256:" in stac_offline.complaints(broken)
