"""A map is made again in another place, on other threads, after the archive moved on, and what differs is said."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
import rasterio
import yaml
from bundles import guessing
from swift_s3 import SECRET_KEY, serve

from geocrop import cli, cog, cube, items, product, settings
from geocrop.mapping import Product, map_area
from geocrop.schema import AOI, GeocropError
from geocrop.store import sha256

ROOT = Path(__file__).parents[1]
CENTRE = (31.05, -17.83)


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A bundle; what it has learnt is of no matter here, only that it answers all classes."
    return guessing(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory, season: Path, model: Path) -> Product:
    "A disc of the embedded season, mapped in windows with one thread."
    found = items.search(
        AOI(*CENTRE, 400), settings.season(ROOT), catalogue=str(season / "catalog.json"), max_cloud_pct=60, skip=[]
    )
    path = tmp_path_factory.mktemp("map") / "harare.tif"
    return map_area(model, found, cube.grid(found), path, window_px=48, threads=1, min_clear=4)


@pytest.fixture
def path(mapped: Product, tmp_path: Path) -> Path:
    "A copy of the map alone, under another name."
    return Path(shutil.copy(mapped.path, tmp_path / "copy.tif"))


def elsewhere(folder: Path, season: Path, **settings_ini: str) -> Path:
    "Another clone: imagery in another folder, params that would search and compute otherwise."
    (folder / "imagery").parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(season / "s2_l2a", folder / "imagery/s2_l2a")
    shutil.copy(season / "catalog.json", folder / "imagery")
    shutil.copytree(season / "baselines", folder / "imagery/baselines")
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["base"] |= {"year": 2019, "start": "10-01", "area": {"lon": 28.0, "lat": -20.0, "radius_m": 900}}
    content["features"] |= {"min_clear": 9, "dilation_m": 50}
    content["items"] |= {"max_cloud_pct": 5, "skip": ["S2A_36KTF_20220903_0_L2A"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    more = "".join(f"[{name}]\n{line}\n" for name, line in settings_ini.items())
    (folder / "settings.ini").write_text(
        f"[catalogue]\nhref = imagery/catalog.json\n[labels]\nfields = none.parquet\n{more}"
    )
    return folder


def geocrop(folder: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    command = [sys.executable, "-m", "geocrop.cli", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment})


# --- identical -------------------------------------------------------------------------------------------------------


def test_another_clone_with_other_params_makes_the_same_bytes(path: Path, model: Path, season: Path, tmp_path: Path):
    clone = elsewhere(tmp_path / "clone", season)
    shutil.copytree(model, clone / "results/model")
    ran = geocrop(clone, "replay", path, "--threads", 2, "--json")
    told = json.loads(ran.stdout)
    assert (ran.returncode, ran.stderr, told["identical"], told["differs"]) == (0, "", True, [])


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_matter_and_progress_is_told(path: Path, model: Path, threads: int):
    done: list[tuple[int, int]] = []
    found = product.replay(path, bundle=model, threads=threads, progress=lambda a, b: done.append((a, b)))
    assert found.identical and done[-1][0] == done[-1][1] == 81 * 81


def test_a_list_of_items_with_files_elsewhere_is_as_good(path: Path, model: Path, season: Path, tmp_path: Path):
    clone = elsewhere(tmp_path / "clone", season)
    listed = items.search(
        AOI(*CENTRE, 300),  # the outline of the map counts, not that of the list
        settings.season(ROOT),
        catalogue=str(clone / "imagery/catalog.json"),
        max_cloud_pct=60,
        skip=[],
    )
    assert product.replay(path, bundle=model, items=listed).identical


def test_a_map_of_a_list_that_was_frozen_in_a_file(model: Path, season: Path, tmp_path: Path):
    "Its outline has its keys in another order: that, too, is in the tags."
    catalogue = str(season / "catalog.json")
    found = items.search(AOI(*CENTRE, 100), settings.season(ROOT), catalogue=catalogue, max_cloud_pct=10, skip=[])
    items.save(found, tmp_path / "items.json")
    path = map_area(model, items.load(tmp_path / "items.json"), cube.grid(found), tmp_path / "frozen.tif").path
    assert product.replay(path, bundle=model).identical


def test_the_map_itself_is_not_touched(path: Path, model: Path):
    before = (sha256(path), sorted(path.parent.iterdir()))
    product.replay(path, bundle=model)
    assert (sha256(path), sorted(path.parent.iterdir())) == before


def test_smoothing_and_voting_fields_are_part_of_the_recipe(model: Path, season: Path, tmp_path: Path):
    import geopandas as gpd

    from geocrop.neighbours import Smoothing

    catalogue = str(season / "catalog.json")
    found = items.search(AOI(*CENTRE, 200), settings.season(ROOT), catalogue=catalogue, max_cloud_pct=20, skip=[])
    grid = cube.grid(found)
    west, south, east, north = grid.boundingbox
    half = gpd.GeoDataFrame({"name": ["a"]}, geometry=gpd.GeoSeries.from_wkt(
        [f"POLYGON (({west} {south}, {east} {south}, {east} {north}, {west} {south}))"], crs=str(grid.crs)
    ))  # fmt: skip
    smooth = Smoothing(2, tuple(float(n) for n in range(1, 11)), 0.7)
    for name, how in (("smooth", {}), ("fields", {"fields": half, "field_column": "name"})):
        path = map_area(model, found, grid, tmp_path / f"{name}.tif", smoothing=smooth, **how).path
        assert product.read_recipe(path).smoothing == smooth
        assert product.replay(path, bundle=model, **how).identical
        (reason,) = product.replay(path, bundle=model, **({} if how else {"fields": half})).differs
        assert "fields" in reason
    moved = half.set_geometry(half.translate(50))
    found_out = product.replay(path, bundle=model, fields=moved, field_column="name")
    assert set(found_out.tags or ()) == {"GEOCROP_FIELDS_SHA256"} and not found_out.identical


# --- where the bundle is ---------------------------------------------------------------------------------------------


def test_a_store_gives_the_bundle_of_the_hash(path: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for version in ("1", "2"):
        shutil.copytree(model, tmp_path / f"store/zimbabwe/{version}")
    page = tmp_path / "store/zimbabwe/1/bundle.json"
    page.write_text(page.read_text().replace('"name"', '"nom"'))  # another bundle, and a broken one
    monkeypatch.setenv("GEOCROP_STORE_MODELS", str(tmp_path / "store"))
    assert product.replay(path).identical


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[dict[str, str]]:
    "An S3 server with the bundle in it, and the environment in which it is found."
    with serve(tmp_path_factory.mktemp("swift")) as server:
        s3 = boto3.client(
            "s3", endpoint_url=server.endpoint, region_name="us-east-1",
            aws_access_key_id=server.environment["AWS_ACCESS_KEY_ID"], aws_secret_access_key=SECRET_KEY,
        )  # fmt: skip
        s3.create_bucket(Bucket="geocrop-models")
        for file in model.iterdir():
            s3.upload_file(str(file), "geocrop-models", f"zimbabwe/7/{file.name}")
        yield server.environment | {"AWS_REGION": "us-east-1"}


def test_a_bucket_gives_it_too(path: Path, season: Path, tmp_path: Path, bucket: dict[str, str]):
    clone = elsewhere(tmp_path / "clone", season, store="models = s3://geocrop-models")
    ran = geocrop(clone, "replay", path, **bucket)
    assert (ran.returncode, ran.stderr) == (0, "") and "identical: True" in ran.stdout


def test_a_bucket_that_does_not_answer_is_an_error(path: Path, season: Path, tmp_path: Path, bucket: dict[str, str]):
    clone = elsewhere(tmp_path / "clone", season, store="models = s3://no-such-bucket")
    ran = geocrop(clone, "replay", path, **bucket)
    assert ran.returncode == 2 and ran.stdout == "" and "Store s3://no-such-bucket" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


# --- different, and why ----------------------------------------------------------------------------------------------


@pytest.fixture
def never_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("mapped what could not come out the same")

    monkeypatch.setattr(product, "map_area", refuse)


def test_a_bundle_that_is_nowhere(path: Path, season: Path, tmp_path: Path, never_maps: None, monkeypatch):
    monkeypatch.chdir(elsewhere(tmp_path / "clone", season))
    found = product.replay(path)
    assert not found.identical and found.pixels is None
    assert re.search(r"its model, geocrop \(\w{12}\.\.\.\), is not here", found.differs[0]), found.differs
    assert cli.main(["replay", str(path)]) == 1


def test_a_bundle_of_another_training(path: Path, model: Path, tmp_path: Path, never_maps: None):
    other = tmp_path / "other"
    shutil.copytree(model, other)
    page = json.loads((other / "bundle.json").read_text())
    (other / "bundle.json").write_text(json.dumps(page | {"training": {}}))
    (reason,) = product.replay(path, bundle=other).differs
    assert reason.startswith("its model is") and sha256(other / "bundle.json")[:12] in reason


def test_scenes_that_are_lost_added_turned_round_or_restated(path: Path, model: Path, season: Path, never_maps: None):
    catalogue = str(season / "catalog.json")
    listed = items.search(AOI(*CENTRE, 400), settings.season(ROOT), catalogue=catalogue, max_cloud_pct=60, skip=[])
    every = items.search(AOI(*CENTRE, 400), settings.season(ROOT), catalogue=catalogue, max_cloud_pct=70, skip=[])
    more = [item.id for item in every if item.id not in {i.id for i in listed}]
    restated = dataclasses.replace(listed.items[0], offset_dn=-1000 - listed.items[0].offset_dn)
    for scenes, says in (
        (listed.items[2:], f"of its {len(listed)} scenes 2 are missing: {listed.items[0].id}, {listed.items[1].id}"),
        (every.items, f"{len(more)} scenes are not of this map: {more[0]}"),
        (listed.items[::-1], "in another order"),
        ((restated, *listed.items[1:]), "another baseline or offset"),
    ):
        found = product.replay(path, bundle=model, items=dataclasses.replace(listed, items=scenes))
        assert len(found.differs) == 1 and says in found.differs[0] and not found.identical, found.differs


def test_a_scene_that_the_catalogue_lost(
    path: Path, model: Path, season: Path, tmp_path: Path, never_maps, monkeypatch
):
    clone = elsewhere(tmp_path / "clone", season)
    lost = product.read_recipe(path).ids[5]
    (page,) = (clone / "imagery").rglob(f"{lost}.json")
    (collection,) = (clone / "imagery/s2_l2a").glob("collection.json")
    content = json.loads(collection.read_text())
    content["links"] = [link for link in content["links"] if lost not in link["href"]]
    collection.write_text(json.dumps(content))
    page.unlink()
    monkeypatch.chdir(clone)
    (reason,) = product.replay(path, bundle=model).differs
    assert "are missing" in reason and lost in reason


def retag(path: Path, **tags: str) -> Path:
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as tif:
        tif.update_tags(**tags)
    return path


def test_a_scene_whose_pixels_changed_under_its_name(
    path: Path, model: Path, season: Path, tmp_path: Path, monkeypatch
):
    clone = elsewhere(tmp_path / "clone", season)
    for scene in product.read_recipe(path).ids[::2]:
        folder = next((clone / "imagery").rglob(scene))
        shutil.copy(folder / "B04.tif", folder / "B08.tif")
    monkeypatch.chdir(clone)
    found = product.replay(path, bundle=model)
    assert found.tags == {} and found.pixels is not None and found.pixels["class"] > 0 == found.pixels["clear_days"]
    assert any(re.fullmatch(r"\d+ of 6561 pixels differ in class", reason) for reason in found.differs)


def test_other_code_is_named_and_the_pixels_still_compared(path: Path, model: Path):
    retag(path, GEOCROP_CODE_SHA256="0" * 64, GEOCROP_VERSION="0.0.9")
    found = product.replay(path, bundle=model)
    assert found.tags is not None and set(found.tags) == {"GEOCROP_CODE_SHA256", "GEOCROP_VERSION"}
    assert found.pixels == dict.fromkeys(found.pixels or (), 0) and found.differs[-1] == "no pixel differs"
    assert "GEOCROP_VERSION was 0.0.9 and is 0.1.0" in found.differs


def test_features_of_another_order_are_hopeless(path: Path, model: Path, never_maps: None):
    (reason,) = product.replay(retag(path, GEOCROP_FEATURES_SHA256="0" * 64), bundle=model).differs
    assert "other features" in reason


# --- what is no map, or lies -----------------------------------------------------------------------------------------


def test_a_tag_is_never_a_path(path: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, never_maps):
    shutil.copytree(model, tmp_path / "outside/1")
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("GEOCROP_STORE_MODELS", str(tmp_path / "store"))
    found = product.replay(retag(path, GEOCROP_MODEL="../outside"))
    assert "is not here" in found.differs[0]


@pytest.mark.parametrize(
    "tags",
    [
        {"GEOCROP_SEASON": "2022"},
        {"GEOCROP_SEASON": "2022 2022-13-01 2023-05-31"},
        {"GEOCROP_AREA": "31.05 -17.83"},
        {"GEOCROP_AREA": '{"type": "Point", "coordinates": [31, -17]}'},
        {"GEOCROP_AREA": '{"type": "Polygon", "coordinates": [7]}'},
        {"GEOCROP_MIN_CLEAR": "many"},
        {"GEOCROP_CLEAR_SCL": "9"},
        {"GEOCROP_DILATION_M": "-1"},
        {"GEOCROP_SMOOTHING": "5"},
        {"GEOCROP_SMOOTHING": '{"radius_px": 99, "smoothness": 5.0, "share": 0.5}'},
    ],
)
def test_garbled_tags_are_bad_input(path: Path, tags: dict[str, str]):
    with pytest.raises(GeocropError, match=r"copy.tif: found .*; expected a map with the tags of geocrop"):
        product.replay(retag(path, **tags))


def test_what_geocrop_did_not_make_is_bad_input(tmp_path: Path, season: Path, path: Path, capsys):
    (tmp_path / "text.tif").write_text("a map")
    for wrong in (season / "truth/class.tif", tmp_path / "text.tif", tmp_path / "nowhere.tif"):
        assert cli.main(["replay", str(wrong)]) == 2
        told = capsys.readouterr()
        assert told.out == "" and len(told.err.strip().splitlines()) == 1 and wrong.name in told.err
    assert cli.main(["replay", str(path), "--model", str(tmp_path)]) == 2
    assert "no bundle.json" in capsys.readouterr().err


def test_a_map_that_was_cut_short_is_bad_input(path: Path, model: Path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(GeocropError, match=r"copy.tif"):
        product.replay(path, bundle=model)


# --- the survey ------------------------------------------------------------------------------------------------------


def test_points_are_read_as_from_the_whole_map(mapped: Product):
    import geopandas as gpd

    from geocrop.reference import mapped_at

    with rasterio.open(mapped.path) as tif:
        west, south, east, north = tif.bounds
        classes = tif.read(1)
    rng = np.random.default_rng(2)
    x, y = rng.uniform(west - 60, east + 60, 400), rng.uniform(south - 60, north + 60, 400)
    x[:4], y[:4] = (west, east, west, east), (south, south, north, north)  # the corners themselves
    points = gpd.GeoDataFrame(geometry=gpd.GeoSeries.from_xy(x, y, crs="EPSG:32736"))
    found = product.classes_at(mapped.path, points)
    grid = cube.GeoBox(classes.shape, rasterio.open(mapped.path).transform, "EPSG:32736")
    assert np.array_equal(found, mapped_at(points, classes, grid)) and 20 < (found == 255).sum() < 380


def test_a_survey_restates_the_item_and_keeps_the_rest_of_the_page(mapped: Product, tmp_path: Path):
    import pandas as pd

    from geocrop.reference import draw, estimate

    path = tmp_path / "with.tif"
    for suffix in (".tif", ".tif.aux.xml", ".qml", ".stats.json", ".json"):
        shutil.copy(mapped.path.with_name("harare" + suffix), path.with_name("with" + suffix))
    with rasterio.open(path) as tif:
        classes, grid = tif.read(1), cube.GeoBox(tif.shape, tif.transform, tif.crs)
    legend, counted = mapped.legend, [mapped.hectares[name] for name in mapped.legend.names]
    halves = np.where(np.arange(classes.shape[1]) < 40, 1, 2) * np.ones_like(classes)  # strata of another map
    survey = draw(np.where(classes == 255, 255, halves).astype("uint8"), grid, legend, [60, 60] + [0] * 8, seed=3)
    survey["class_id"] = pd.array(classes[survey.row, survey.col], dtype="Int64")
    for given in (None, legend):
        found = product.with_survey(path, survey, given)
        page = json.loads(path.with_suffix(".stats.json").read_text())
        assert found is not None, page["survey"]
        assert page["survey"] == estimate(survey, survey.class_id.to_numpy("uint8"), counted, legend).page()
        assert {k: v for k, v in page.items() if k != "survey"} == mapped.page()
        item = json.loads(path.with_suffix(".json").read_text())
        stated = {name: a["file:checksum"][4:] for name, a in item["assets"].items() if name != "model"}
        files = {name: path.with_name("with" + suffix) for name, (suffix, *_) in cog.FILES.items() if name in stated}
        assert stated == {name: sha256(file) for name, file in files.items()} and len(stated) == 4
    path.with_suffix(".stats.json").unlink()
    with pytest.raises(GeocropError, match=r"with\.stats\.json"):
        product.with_survey(path, survey)
