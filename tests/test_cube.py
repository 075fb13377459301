"""The cube against odc-stac, a second reader that nobody here wrote."""

import dataclasses
from pathlib import Path

import numpy as np
import odc.stac
import pystac
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from scipy.ndimage import map_coordinates

from geocrop import cube, items, settings
from geocrop.schema import FEATURE_BANDS


def both(found: items.ItemList, files: list[Path], geobox):
    "The same scenes by our reader and by odc-stac, one date at a time."
    ours = cube.fetch(cube.load_cube(found, geobox))
    for t, file in enumerate(files):
        how = {"*": "bilinear", "SCL": "nearest"}
        theirs = odc.stac.load(
            [pystac.Item.from_file(file)], bands=[*FEATURE_BANDS, "SCL"], geobox=geobox, resampling=how, nodata=0
        )  # fmt: skip
        yield ours.isel(time=t), theirs.isel(time=0)


def some(found: items.ItemList, every: int) -> tuple[items.ItemList, list[Path]]:
    chosen = found.items[::every]
    files = [Path(item.assets["SCL"]).parent / f"{Path(item.assets['SCL']).parent.name}.json" for item in chosen]
    return dataclasses.replace(found, items=chosen), files


def test_the_embedded_season_is_read_as_odc_stac_reads_it(season: Path):
    root = Path(__file__).parents[1]
    listed = items.search(settings.area(root), settings.season(root), catalogue=str(season / "catalog.json"))
    found, files = some(listed, 12)
    geobox = cube.grid(found)[100:300, 150:420]
    for ours, theirs in both(found, files, geobox):
        for name in ("B02", "B04", "B08", "SCL"):  # on their own grid, or nearest: the same numbers
            np.testing.assert_array_equal(ours[name].values, theirs[name].values, err_msg=name)
        for name in ("B05", "B11"):  # bilinear: the same weights, rounded once
            inside = (ours[name].values > 0) & (theirs[name].values > 0)
            assert np.abs(ours[name].values.astype(int) - theirs[name].values)[inside].max(initial=0) <= 1, name
            assert ((ours[name].values > 0) == (theirs[name].values > 0)).mean() > 0.99, name


def test_real_scenes_are_read_as_odc_stac_reads_them(shared_data: Path):
    folder = Path(__file__).parents[1] / "profiles/herault_2018"
    catalogue = str(shared_data / "herault_2018/catalog.json")
    found, files = some(items.search(settings.area(folder), settings.season(folder), catalogue=catalogue, skip=[]), 3)
    for ours, theirs in both(found, files, cube.grid(found)[40:260, 20:200]):
        for name in ("B02", "B04", "B08", "SCL"):
            np.testing.assert_array_equal(ours[name].values, theirs[name].values, err_msg=name)
        assert np.abs(ours["B11"].values.astype(int) - theirs["B11"].values).max() <= 1


def test_files_are_named_in_errors_but_do_not_travel_with_the_cube(season: Path):
    root = Path(__file__).parents[1]
    found = items.search(settings.area(root), settings.season(root), catalogue=str(season / "catalog.json"))
    corner = cube.grid(found)[:32, :32]
    part = cube.load_cube(found, corner).isel(x=slice(0, 16), time=slice(0, 3))
    assert set(part.encoding["files"]) == {href for i in cube.overlapping(found, corner) for href in i.assets.values()}
    assert set(part.attrs) == {"crs"}


def test_the_embedded_season_on_the_grid_of_the_neighbouring_zone(season: Path):
    "Turned by two degrees. Both keep GDAL's kernel at two pixels; odc-stac's places are good to an eighth of a pixel."
    root = Path(__file__).parents[1]
    listed = items.search(settings.area(root), settings.season(root), catalogue=str(season / "catalog.json"))
    found, files = some(listed, 16)
    outline = cube.grid(found)[150:350, 150:350].extent.to_crs("EPSG:32735").boundingbox
    geobox = GeoBox.from_bbox(outline.buffered(-300), crs="EPSG:32735", resolution=10)
    for ours, theirs in both(found, files, geobox):
        for name in (*FEATURE_BANDS, "SCL"):
            a, b = ours[name].values.astype(int), theirs[name].values.astype(int)
            assert ((a > 0) == (b > 0)).mean() > 0.999, name
            if name == "SCL":
                assert (a == b).mean() > 0.999
            else:
                assert np.abs(a - b)[(a > 0) & (b > 0)].max() <= 2, name


def test_a_reprojected_scene_is_bilinear_and_the_same_in_every_window(season: Path):
    "Against interpolation at the exact place of each pixel."
    root = Path(__file__).parents[1]
    listed = items.search(settings.area(root), settings.season(root), catalogue=str(season / "catalog.json"))
    item = next(i for i in listed if "_20221018_" in i.id)  # whole, and nearly without cloud
    outline = cube.grid(listed)[100:400, 100:400].extent.to_crs("EPSG:32735").boundingbox
    geobox = GeoBox.from_bbox(outline.buffered(-300), crs="EPSG:32735", resolution=10)
    whole = cube.fetch(cube.load_cube([item], geobox)).isel(time=0)
    x, y = np.meshgrid(geobox.coords["x"].values, geobox.coords["y"].values)
    x, y = Transformer.from_crs(32735, 32736, always_xy=True).transform(x, y)
    for name in ("B04", "B08", "B11"):
        with rasterio.open(item.assets[name]) as tif:
            image, to = tif.read(1).astype(float), tif.transform
        cols, rows = (x - to.c) / to.a, (y - to.f) / to.e
        exact = map_coordinates(image, [rows - 0.5, cols - 0.5], order=1)
        assert np.abs(whole[name].values - exact).max() <= 0.51, name  # rounded once; a widened kernel is 60 beside it
    pieces = cube.fetch(cube.load_cube([item], geobox, chunk_px=37)).isel(time=0)
    window = cube.fetch(cube.load_cube([item], geobox[11:90, 70:131])).isel(time=0)
    for name in (*FEATURE_BANDS, "SCL"):
        np.testing.assert_array_equal(pieces[name], whole[name], err_msg=name)
        np.testing.assert_array_equal(window[name], whole[name][11:90, 70:131], err_msg=name)
