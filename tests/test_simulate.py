"""The embedded season: same seed same bytes, structure of the archive, nothing half-written, plausible labels."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
from rio_cogeo import cog_validate

from geocrop import landscape, simulate, sky
from geocrop.canopy import Surface
from geocrop.items import search
from geocrop.landscape import CENTRE, OTHER_ID, make_landscape, survey
from geocrop.schema import AOI, BANDS, SchemaError, Season, StoreError
from geocrop.store import sha256

ASSETS = {*BANDS, "SCL"}
SIZE, SEED = 64, 5


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Path:  # smaller than, and in place of, that of conftest.py
    "A season of 640 m, all dates."
    folder = tmp_path_factory.mktemp("simulated") / "season"
    simulate.simulate(folder, size_px=SIZE, seed=SEED)
    return folder


@pytest.fixture(scope="module")
def documents(season: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(season.glob("s2_l2a/*/*.json"))]


def read(season: Path, document: dict, asset: str) -> np.ndarray:
    with rasterio.open(season / "s2_l2a" / document["id"] / document["assets"][asset]["href"]) as tif:
        return tif.read(1)


# --- the same again --------------------------------------------------------------------------------------------------


def test_same_seed_same_bytes(season: Path, tmp_path: Path) -> None:
    simulate.simulate(tmp_path / "again", size_px=SIZE, seed=SEED)
    assert sha256(tmp_path / "again") == sha256(season)


def test_another_seed_is_another_season() -> None:
    looks = []
    for seed in (1, 2):
        land = make_landscape(SIZE, seed=seed)
        one = sky.timetable(land.season, *CENTRE)[0]
        looks.append(simulate.look(Surface(land, seed), one, seed).dn["B04"])
    assert not np.array_equal(*looks)


def test_no_machine_and_no_clock_in_the_documents(season: Path, documents: list[dict]) -> None:
    for path in season.rglob("*.json"):
        assert str(season.parent) not in path.read_text()
    for document in documents:
        hrefs = [asset["href"] for asset in document["assets"].values()] + [link["href"] for link in document["links"]]
        assert all(href.startswith(("./", "../")) for href in hrefs)
        assert document["properties"]["datetime"][:4] in ("2022", "2023")


# --- the structure of the archive ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        "stac_reference/deafrica_fake_stac.json",
        "herault_2018/s2_l2a/S2A_31TEJ_20180418_0_L2A/S2A_31TEJ_20180418_0_L2A.json",
    ],
)
def test_items_look_like_the_archives(reference: str, documents: list[dict], shared_data: Path) -> None:
    model = json.loads((shared_data / reference).read_text())
    only_there = {"sentinel:tile_cloud_cover"}  # written by those who cut the real chips
    for document in documents:
        assert set(document) >= set(model) - {"links"}
        kinds = {key: type(value) for key, value in document["properties"].items()}
        assert kinds.items() >= {k: type(v) for k, v in model["properties"].items() if k not in only_there}.items()
        assert set(document["assets"]) == ASSETS
        for name, asset in document["assets"].items():
            assert set(asset) >= set(model["assets"][name])
            for key in {"type", "roles", "gsd", "eo:bands"} & set(model["assets"][name]):
                assert asset[key] == model["assets"][name][key], f"{name} {key}"
        assert document["geometry"]["type"] == "Polygon"
        assert len(document["properties"]["title"]) == len(model["properties"]["sentinel:product_id"])


def test_items_are_valid_stac(season: Path) -> None:
    items = list(pystac.Catalog.from_file(str(season / "catalog.json")).get_items(recursive=True))
    assert len({item.id for item in items}) == len(items) >= 90
    for item in items:
        item.stac_extensions = []  # their schemas need the network; above, those fields are compared with real items
        item.validate()


def test_files_are_what_the_items_say(season: Path, documents: list[dict]) -> None:
    for document in documents[:: len(documents) // 6]:
        for asset in document["assets"].values():
            path = season / "s2_l2a" / document["id"] / asset["href"]
            assert cog_validate(path, strict=True, quiet=True)[0], path
            with rasterio.open(path) as tif:
                assert list(tif.shape) == asset["proj:shape"]
                assert list(tif.transform) == asset["proj:transform"]
                assert tif.crs.to_epsg() == document["properties"]["proj:epsg"] == 32736
                about = asset["raster:bands"][0]
                assert (tif.dtypes[0], tif.nodata, tif.res[0]) == (about["data_type"], 0, about["spatial_resolution"])
                assert tif.profile["compress"] == "deflate"
        scl = read(season, document, "SCL")
        fine, coarse = read(season, document, "B02") > 0, read(season, document, "B11") > 0
        assert np.array_equal(coarse, scl > 0) and np.array_equal(fine, coarse.repeat(2, 0).repeat(2, 1))
        assert document["properties"]["sentinel:data_coverage"] == round(100 * float((scl > 0).mean()), 2)


def test_a_scene_of_512_has_overviews(tmp_path: Path) -> None:
    image = np.arange(512 * 512, dtype=np.uint16).reshape(512, 512)
    simulate.write_cog(tmp_path / "a.tif", image, rasterio.Affine(10, 0, 0, 0, -10, 0), 32736, nodata=0)
    assert cog_validate(tmp_path / "a.tif", strict=True, quiet=True)[0]
    with rasterio.open(tmp_path / "a.tif") as tif:
        assert tif.overviews(1) == [2] and tif.block_shapes == [(256, 256)]
        assert tif.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"


def test_both_sides_of_the_baseline(documents: list[dict]) -> None:
    flags = {
        (p["sentinel:processing_baseline"], p["sentinel:boa_offset_applied"])
        for p in (document["properties"] for document in documents)
    }
    assert flags == {("03.01", False), ("04.00", True), ("05.09", True)}
    change = min(
        d["properties"]["datetime"] for d in documents if d["properties"]["sentinel:processing_baseline"] == "05.09"
    )
    assert change.startswith("2022-12")


def test_digital_numbers_are_final_on_both_sides(season: Path, documents: list[dict]) -> None:
    "An offset that was left in would lift the old baseline's numbers by 1000 against the new one's."
    by_baseline: dict[str, list[float]] = {}
    for document in documents[:20]:  # the dry month: nothing grows, little cloud
        scl, blue = read(season, document, "SCL"), read(season, document, "B02")
        clear = np.isin(scl, (4, 5)).repeat(2, 0).repeat(2, 1)
        if clear.mean() > 0.2:
            by_baseline.setdefault(document["properties"]["sentinel:processing_baseline"], []).append(
                np.median(blue[clear])
            )
    old, new = np.median(by_baseline["03.01"]), np.median(by_baseline["04.00"])
    assert abs(old - new) < 300


def test_season_is_read_by_its_reader(season: Path, documents: list[dict]) -> None:
    found = search(AOI(*CENTRE, 200), Season(2022), catalogue=str(season / "catalog.json"), max_cloud_pct=100, skip=())
    assert {item.tile for item in found} == {"36KTF"} and {item.offset_dn for item in found} == {0}
    assert len(documents) - len(found) == 5  # products processed twice
    days = [(item.platform, item.date) for item in found]
    assert len(days) - len(set(days)) == 5  # passes that came in two strips stay two


# --- tiles, strips, repetitions --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def border() -> tuple[landscape.Landscape, simulate.Look, sky.Pass]:
    land = make_landscape(SIZE, seed=SEED, lon=31.112)
    one = next(p for p in sky.timetable(land.season, 31.112, CENTRE[1]) if p.track.edge is None)
    return land, simulate.look(Surface(land, SEED), one, SEED), one


def test_two_tiles_hold_the_same_pass(border: tuple, tmp_path: Path) -> None:
    land, seen, one = border
    tiles = simulate.tiles_over(land.geobox)
    assert [tile.name for tile in tiles] == ["36KTF", "36KUF"]
    items = [
        simulate.write_product(tmp_path, simulate.Product(one, tile, "05.09", 0), seen, land.geobox) for tile in tiles
    ]
    images = []
    for item in items:
        assert item is not None
        with rasterio.open(tmp_path / item["id"] / "B04.tif") as tif:
            images.append((tif.read(1), tif.transform))
    (whole, left), (part, right) = images
    assert right.c == 300_000 and part.shape[1] < whole.shape[1] == SIZE
    assert np.array_equal(whole[:, round((right.c - left.c) / 10) :], part)


def test_two_strips_make_one_pass(border: tuple) -> None:
    land, seen, one = border
    tile = simulate.tiles_over(land.geobox)[0]
    part = simulate.tile_part(tile, land.geobox)
    cut = [
        simulate.crop_to(simulate.Product(one, tile, "05.09", k, rows), "B11", seen.dn["B11"], part, SIZE)
        for k, rows in enumerate([(0.0, simulate.SPLIT_AT), (simulate.SPLIT_AT, 1.0)])
    ]
    both = (cut[0] > 0) & (cut[1] > 0)
    assert 0 < both.any(1).sum() <= simulate.STRIP_OVERLAP_PX // 2 + 1
    assert np.array_equal(cut[0][both], cut[1][both])
    assert np.array_equal(np.maximum(*cut), seen.dn["B11"][:, : cut[0].shape[1]])


def test_products_processed_twice_are_the_same_pass() -> None:
    passes = sky.timetable(Season(2022), *CENTRE)
    listed = simulate.products(passes, simulate.tiles_over(landscape.scene_geobox(64)))
    twice = [p for p in listed if p.version]
    assert len(twice) >= 2
    for old in twice:
        new = next(p for p in listed if p.source == old.source and p.sequence == 1)
        assert (old.sequence, old.seen, old.product_id[11:26]) == (0, new.seen, new.product_id[11:26])
        assert old.baseline <= new.baseline and old.id != new.id


def test_a_season_2021_changes_baseline_on_the_day() -> None:
    passes = sky.timetable(Season(2021), *CENTRE)
    listed = simulate.products(passes, simulate.tiles_over(landscape.scene_geobox(64)))
    assert {p.baseline for p in listed if p.source.seen.isoformat() < "2022-01-25"} == {"03.01"}
    assert {p.baseline for p in listed if p.source.seen.isoformat() > "2022-01-25" and not p.version} == {"04.00"}


# --- nothing half-written --------------------------------------------------------------------------------------------


def test_a_folder_in_use_is_left_alone(season: Path) -> None:
    before = sha256(season)
    with pytest.raises(StoreError, match="overwrite=True"):
        simulate.simulate(season, size_px=SIZE)
    with pytest.raises(StoreError, match="a file of that name"):
        simulate.simulate(season / "catalog.json", size_px=SIZE)
    assert sha256(season) == before


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(simulate, "timetable", lambda *a: sky.timetable(*a)[:3])
    monkeypatch.setattr(simulate, "write_catalogue", full_disk)
    old = tmp_path / "season"
    old.mkdir()
    (old / "note.txt").write_text("mine")
    for target in (old, tmp_path / "new"):
        with pytest.raises(OSError, match="no space"):
            simulate.simulate(target, size_px=SIZE, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["season"]
    assert (old / "note.txt").read_text() == "mine"
    monkeypatch.undo()
    monkeypatch.setattr(simulate, "timetable", lambda *a: sky.timetable(*a)[:3])
    simulate.simulate(old, size_px=SIZE, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["season"]
    assert not (old / "note.txt").exists() and (old / "labels/survey.parquet").exists()


@pytest.mark.parametrize(
    "wrong", [{"size_px": 65}, {"size_px": 16}, {"size_px": 64.0}, {"year": 2020}, {"year": "2022"}, {"seed": -3}]
)
def test_wrong_arguments_write_nothing(wrong: dict, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="expected"):
        simulate.simulate(tmp_path / "season", **{"size_px": SIZE, **wrong})
    assert not any(tmp_path.iterdir())


# --- truth, labels, sky ----------------------------------------------------------------------------------------------


def test_truth_agrees_with_itself(season: Path) -> None:
    with rasterio.open(season / "truth/class.tif") as a, rasterio.open(season / "truth/field.tif") as b:
        classes, fields = a.read(1), b.read(1)
        assert (a.dtypes[0], a.nodata, b.dtypes[0]) == ("uint8", 255, "int32") and a.transform == b.transform
    table = gpd.read_parquet(season / "truth/fields.parquet").set_index("field_id")
    assert set(np.unique(fields)) - {0} <= set(table.index)
    inside = fields > 0
    assert (table.class_id[fields[inside]].to_numpy() == classes[inside]).all()
    assert set(classes[~inside & (classes < 7)]) == set()  # a crop grows in a field
    assert np.allclose(table.geometry.area / 1e4, table.area_ha, atol=1e-3)


def test_labels_stand_on_the_scene(season: Path) -> None:
    found, sample = (gpd.read_parquet(season / f"labels/{name}.parquet") for name in ("survey", "reference"))
    with rasterio.open(season / "truth/class.tif") as tif:
        classes, bounds = tif.read(1), tif.bounds
    for table in (found, sample):
        assert table.crs == "OGC:CRS84"
        assert (table.to_crs(32736).bounds.agg({"minx": "min", "miny": "min"}) >= [bounds.left, bounds.bottom]).all()
        assert (table.to_crs(32736).bounds.agg({"maxx": "max", "maxy": "max"}) <= [bounds.right, bounds.top]).all()
    x, y = sample.to_crs(32736).geometry.x, sample.to_crs(32736).geometry.y
    col, row = ((x - bounds.left) // 10).astype(int), ((bounds.top - y) // 10).astype(int)
    assert (classes[row, col] == sample.class_id).all()  # the reference sample is right
    assert sample.groupby("stratum").stratum_ha.first().sum() == pytest.approx(classes.size / 100)


@pytest.mark.parametrize("seed", [1, landscape.SEED])
def test_three_to_five_percent_of_the_labels_are_wrong(seed: int) -> None:
    land = make_landscape(512, seed=seed)
    found = survey(land, seed)
    truth = landscape.crop_fields(land).set_index("field_id").class_id
    fields = found[found.field_id < OTHER_ID]
    wrong = (truth[fields.field_id].to_numpy() != fields.class_id.to_numpy()).sum()
    left, _, _, top = land.geobox.boundingbox
    spots = found[found.field_id >= OTHER_ID].to_crs(land.units.crs)
    points = spots.geometry.representative_point()
    there = land.class_map[((top - points.y) // 10).astype(int), ((points.x - left) // 10).astype(int)]
    wrong += (there != spots.class_id).sum()
    assert 0.03 <= wrong / len(found) <= 0.05
    assert len(fields) >= 300 and set(found.class_id) == set(range(1, 11))
    assert found.field_id.is_unique and set(found.geom_type) == {"Point", "Polygon"}
    road = land.roads.union_all()
    visited = fields.to_crs(land.units.crs).distance(road).median()
    assert visited < 0.8 * landscape.crop_fields(land).distance(road).median()  # roadside-biased


def test_fields_have_the_sizes_of_the_country() -> None:
    fields = landscape.crop_fields(make_landscape(512, seed=3))
    small = fields[fields.system == "smallholder"].area_ha
    assert ((small > 0.15) & (small <= 2)).mean() > 0.9
    assert fields[fields.system == "commercial"].area_ha.median() > 4
    assert set(fields.condition) == {"normal", "late", "failed", "weedy"}
    assert set(fields.crop) == set(landscape.CROPS)


def test_clouds_follow_the_climate() -> None:
    passes = sky.timetable(Season(2022), *CENTRE)
    share: dict[int, list[float]] = {}
    for seed in range(4):
        for one in passes[::2]:
            air = sky.make_sky(64, one.seen.month, one.sun, landscape.streams(seed, one.day))
            share.setdefault(one.seen.month, []).append(float((air.cloud > sky.CLOUD_FOUND).mean()))
    mean = {month: np.mean(values) for month, values in share.items()}
    for months in ((9, 10), (11, 12, 1, 2), (3, 4, 5)):
        expected = np.mean([sky.mean_cloud(month) for month in months])
        assert np.mean([mean[month] for month in months]) == pytest.approx(expected, abs=0.12)
    assert np.mean([mean[m] for m in (12, 1, 2)]) > np.mean([mean[m] for m in (9, 5)]) + 0.1
