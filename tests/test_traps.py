"""The quiet ways in which a cube goes wrong, each built here with files of its own."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from shapely.geometry import mapping

from geocrop import cube
from geocrop.features import season_features
from geocrop.items import Item, ItemList
from geocrop.kernels import features_v1
from geocrop.schema import AOI, BANDS, FEATURE_BANDS, FEATURE_ORDER_V1, CubeError, Season

SEASON = Season(2022)
STEP_M = {name: BANDS[name].gsd_m if name in BANDS else 20 for name in (*FEATURE_BANDS, "SCL")}


def place(epsg: int, left: float, top: float, width_px: int, height_px: int) -> GeoBox:
    "A grid of 10 m pixels."
    box = (left, top - 10 * height_px, left + 10 * width_px, top)
    return GeoBox.from_bbox(box, crs=f"EPSG:{epsg}", resolution=10, tight=True)


HERE = place(32736, 300_000, 8_020_000, 40, 40)  # 31.11 E, 17.89 S
Content = Callable[[str, GeoBox], np.ndarray]  # (asset name, its own grid) -> numbers


def scene(
    folder: Path,
    name: str,
    where: GeoBox,  # 10 m grid that its files cover
    content: Content | dict[str, int],  # What stands in each file, or one number for each
    when: str = "2022-11-02T07:56:31.000Z",
    offset_dn: int = 0,
    nodata: int | None = 0,  # What the files say of themselves
) -> Item:
    "Write the six files of a scene, and the record that an item list would hold."
    assets = {}
    for asset, step in STEP_M.items():
        grid = where if step == 10 else where.zoom_out(2)
        filled = np.full(grid.shape, content[asset]) if isinstance(content, dict) else content(asset, grid)
        path = folder / name / f"{asset}.tif"
        path.parent.mkdir(exist_ok=True)
        image = np.rint(filled).astype("uint8" if asset == "SCL" else "uint16")
        profile = {
            "crs": str(grid.crs),
            "transform": grid.affine,
            "nodata": nodata,
            "tiled": True,
            "dtype": image.dtype,
        }
        height, width = grid.shape
        with rasterio.open(path, "w", "GTiff", width, height, 1, blockxsize=16, blockysize=16, **profile) as tif:
            tif.write(image, 1)
        assets[asset] = str(path)
    outline = mapping(where.extent.to_crs("EPSG:4326").geom)
    return Item(
        name, when, where.crs.epsg, "36KUF", "sentinel-2a", "05.09", 0, 5.0, offset_dn, outline, assets
    )  # fmt: skip


MAIZE = {"B02": 400, "B04": 500, "B05": 1100, "B08": 3800, "B11": 2000, "SCL": 4}


def listed(scenes: Iterable[Item], season: Season = SEASON) -> ItemList:
    return ItemList(season, AOI(31.11, -17.89, 100).polygon(), tuple(scenes))  # type: ignore[arg-type]


def read(scenes: Iterable[Item], where: GeoBox, **how):
    return cube.fetch(cube.load_cube(tuple(scenes), where, **how))


# --- one grid where two zones meet -----------------------------------------------------------------------------------

BORDER = AOI(30.0, -17.8, 1500)  # the border of UTM 35 and 36
WARP_DN = (
    2.2  # at 10 m: what bilinear interpolation costs these waves, 1.1 (a square of the pixel's size), two roundings
)
WARP_20M_DN = 5.5


def metres(where: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    "Metres east and north of the border's centre, at the pixel centres of a grid in any zone."
    x, y = np.meshgrid(where.coords["x"].values, where.coords["y"].values)
    lon, lat = Transformer.from_crs(where.crs.epsg, 4326, always_xy=True).transform(x, y)
    return (lon - 30.0) * 105_990, (lat + 17.8) * 110_660


def waves(asset: str, where: GeoBox) -> np.ndarray:
    "One field over both zones: smooth reflectance, and classes in stripes of 160 m, two of them clouds."
    east, north = metres(where)
    if asset == "SCL":
        return np.array([4, 8, 6, 9])[((east + 0.3 * north) // 160).astype(int) % 4]
    return 3000 + 800 * np.sin(2 * np.pi * east / 900) + 600 * np.cos(2 * np.pi * north / 700)


@pytest.fixture(scope="module")
def border(tmp_path_factory: pytest.TempPathFactory) -> tuple[Item, Item, GeoBox]:
    "A western scene in zone 35, an eastern in zone 36, 600 m in common, and the grid of both."
    folder = tmp_path_factory.mktemp("border")
    scenes = []
    for name, epsg, west, east in (("W", 32735, -2400, 300), ("E", 32736, -300, 2400)):
        to_utm = Transformer.from_crs(4326, epsg, always_xy=True)
        x, y = to_utm.transform(30.0, -17.8)
        left, top = round((x + west) / 20) * 20, round((y + 2400) / 20) * 20
        scenes.append(scene(folder, name, place(epsg, left, top, (east - west) // 10, 480), waves))
    both = ItemList(SEASON, BORDER.polygon(), tuple(scenes))  # type: ignore[arg-type]
    return *both.items, cube.grid(both, BORDER)


def test_a_job_across_two_zones_has_one_grid_and_it_is_that_of_most_scenes(border):
    west, east, where = border
    assert (where.crs.epsg, where.resolution.x) == (32735, 10)
    assert [edge % 10 for edge in where.boundingbox] == [0, 0, 0, 0]
    later = dataclasses.replace(east, id="E2")
    assert cube.grid(listed((west, east, later)), BORDER).crs.epsg == 32736


def test_a_scene_of_the_other_zone_is_brought_onto_the_grid(border):
    west, east, where = border
    got = read((west, east), where)
    for t, own in enumerate((True, False)):
        for name in FEATURE_BANDS:
            values, truth = got[name].values[t].astype(float), waves(name, where)
            seen = values > 0
            inside = seen & np.roll(seen, 3, 0) & np.roll(seen, -3, 0) & np.roll(seen, 3, 1) & np.roll(seen, -3, 1)
            wrong = np.abs(values - truth)[inside].max()
            assert inside.mean() > 0.4
            if own and STEP_M[name] == 10:
                assert wrong <= 0.5, name  # its own numbers
            else:
                assert wrong <= (WARP_DN if STEP_M[name] == 10 else WARP_20M_DN), (name, wrong)


def test_where_both_zones_see_the_ground_they_agree(border):
    west, east, where = border
    got = read((west, east), where)
    for name in FEATURE_BANDS:
        first, second = got[name].values.astype(float)
        both = (first > 0) & (second > 0)
        inside = both & np.roll(both, 3, 1) & np.roll(both, -3, 1)
        assert inside.sum() > 5000
        assert np.abs(first - second)[inside].max() <= (WARP_DN if STEP_M[name] == 10 else WARP_20M_DN)


def test_no_class_is_invented_between_two_others(border):
    west, east, where = border
    got = read((west, east), where).SCL.values
    assert set(np.unique(got)) == {0, 4, 6, 8, 9}
    east_m, north_m = metres(where)
    from_edge = np.abs((east_m + 0.3 * north_m + 80) % 160 - 80)
    far = from_edge > 15  # half a diagonal of a pixel of 20 m
    for classes in got:
        seen = (classes > 0) & far
        np.testing.assert_array_equal(classes[seen], waves("SCL", where)[seen])


def test_the_border_leaves_no_seam(border):
    west, east, where = border
    got = read((west, east), where)
    for name in (*FEATURE_BANDS, "SCL"):
        assert (got[name].values.max(0) > 0).all(), name
        for values in got[name].values:  # in each scene: one area without holes
            rows = (values > 0).any(1)
            line = values[rows] > 0
            assert (np.abs(np.diff(line.astype(int), axis=1)).sum(1) <= 1).all(), name


def test_the_features_of_two_zones_are_those_of_the_ground(border, tmp_path: Path):
    "One pass over both scenes on each of four days: a pixel is measured once a day, from whichever scene shows it."
    west, east, where = border
    part = where[100:160, 100:200]
    clear = [scene(tmp_path, name, box_of(one), ground) for name, one in (("W", west), ("E", east))]
    days = ("2022-09-20", "2022-11-01", "2023-01-10", "2023-03-01")
    scenes = [
        dataclasses.replace(one, id=f"{one.id}{k}", datetime=f"{day}T07:56:31.000Z")
        for k, day in enumerate(days)
        for one in clear
    ]
    made = season_features(read(scenes, part), SEASON).values
    dn = np.stack([ground(name, part) for name in FEATURE_BANDS])[None].repeat(4, 0).round().astype(np.uint16)
    day = np.array([SEASON.day(dt.date.fromisoformat(d)) for d in days])
    truth = features_v1(day, dn, np.full((4, *part.shape), 4, np.uint8))
    assert not np.isnan(made).any()
    which = [k for k, name in enumerate(FEATURE_ORDER_V1) if name.endswith(("mean", "max"))]
    assert np.abs(made - truth)[which].max() < 0.005


def ground(asset: str, where: GeoBox) -> np.ndarray:
    "As waves, but all clear, and each band at its own level."
    level = {"B02": 0.2, "B04": 0.25, "B05": 0.5, "B08": 1.2, "B11": 0.8, "SCL": 0}[asset]
    return np.full(where.shape, 4) if asset == "SCL" else level * waves(asset, where)


def box_of(item: Item) -> GeoBox:
    with rasterio.open(item.assets["B04"]) as tif:
        return GeoBox(tif.shape, tif.transform, tif.crs)


# --- the same ground twice on one day --------------------------------------------------------------------------------

FOUR_DAYS = ("2022-10-01", "2022-11-10", "2023-01-05", "2023-03-20")


def crop_of_day(day: int, brighter: int = 0) -> dict[str, int]:
    "Numbers of a crop that grows until day 2."
    green = (600, 1800, 3800, 2500)[day]
    return {"B02": 500, "B04": 1600 - green // 3, "B05": 1300, "B08": green + brighter, "B11": 2200, "SCL": 4}


def test_of_two_tiles_of_one_day_the_first_clear_one_counts(tmp_path: Path):
    "Two tiles with 10 % in common. In the first, which is the better product, a cloud stands over some of that."
    first, second = place(32736, 300_000, 8_020_000, 40, 40), place(32736, 300_360, 8_020_000, 40, 40)
    where = place(32736, 300_000, 8_020_000, 76, 40)
    scenes, expected = [], []
    for k, day in enumerate(FOUR_DAYS):
        a, b = crop_of_day(k), crop_of_day(k, brighter=150)
        clouded = np.zeros((40, 40), bool)
        if k == 2:
            clouded[10:20, 30:40] = True

        def tile(asset: str, grid: GeoBox, a=a, clouded=clouded) -> np.ndarray:
            under = clouded if grid.shape == (40, 40) else clouded[::2, ::2]
            return np.where(under, 9 if asset == "SCL" else 8000, a[asset])

        scenes += [scene(tmp_path, f"A{k}", first, tile, f"{day}T07:56:31.000Z")]
        scenes += [scene(tmp_path, f"B{k}", second, b, f"{day}T07:56:31.000Z")]
        merged = np.empty((5, 40, 76), np.uint16)
        for n, name in enumerate(FEATURE_BANDS):
            merged[n, :, :40], merged[n, :, 40:] = a[name], b[name]
            merged[n, 10:20, 36:40] = b[name] if k == 2 else a[name]
        expected.append(merged)
    got = season_features(read(scenes, where), SEASON).values
    days = np.array([SEASON.day(dt.date.fromisoformat(day)) for day in FOUR_DAYS])
    scl = np.full((4, 40, 76), 4, np.uint8)
    scl[2, 10:20, 30:36] = 9  # under the cloud, where no other tile looks
    truth = features_v1(days, np.stack(expected), scl)
    near_cloud = np.zeros((40, 76), bool)
    near_cloud[8:22, 28:42] = True  # bilinear bands of 20 m take something of the cloud beside them
    inner = np.zeros((40, 76), bool)
    inner[12:18, 37:39] = True  # filled from the second tile
    np.testing.assert_array_equal(got[:, ~near_cloud | inner], truth[:, ~near_cloud | inner])
    other = features_v1(days, np.stack(expected), np.full((4, 40, 76), 4, np.uint8))
    assert np.array_equal(truth[:, inner], other[:, inner])  # the cloud is not seen in what fills it
    swapped = season_features(read([*scenes[1::2], *scenes[::2]], where), SEASON).values
    assert not np.array_equal(swapped[:, :, 36:40], got[:, :, 36:40])  # so the order of items decides


def test_two_strips_of_one_pass_cover_the_tile(tmp_path: Path):
    "A datatake that ended and began again over the tile: two products, each with nothing where the other has data."
    rng = np.random.default_rng(1)
    scenes, wholes = [], []
    for k, day in enumerate(FOUR_DAYS):
        numbers = {name: rng.integers(300, 4000, (40, 40)) for name in FEATURE_BANDS} | {"SCL": np.full((40, 40), 4)}

        def part(asset: str, grid: GeoBox, rows: slice, numbers=numbers) -> np.ndarray:
            step = 40 // grid.shape[0]
            image = np.zeros(grid.shape, int)
            held = slice(rows.start // step, rows.stop // step)
            image[held] = numbers[asset][::step, ::step][held]
            return image

        for n, rows in enumerate((slice(0, 24), slice(16, 40))):  # eight lines stand in both
            when = f"{day}T07:5{6 + n}:31.000Z"
            name = f"S{k}{n}"
            scenes.append(scene(tmp_path, name, HERE, lambda a, g, rows=rows: part(a, g, rows), when))
        wholes.append(scene(tmp_path, f"W{k}", HERE, lambda a, g: part(a, g, slice(0, 40)), f"{day}T07:56:31.000Z"))
    strips = season_features(read(scenes, HERE), SEASON).values
    whole = season_features(read(wholes, HERE), SEASON).values
    one = season_features(read(scenes[::2], HERE), SEASON).values
    assert not np.isnan(strips).any() and np.isnan(one[:, 24:]).all()
    edge = np.zeros(40, bool)
    edge[23] = True  # the last line of the first strip: its bilinear bands lack the line below
    np.testing.assert_array_equal(strips[:, ~edge], whole[:, ~edge])


# --- nothing is mixed into a measurement -----------------------------------------------------------------------------


def wedge(grid: GeoBox) -> np.ndarray:
    "Beyond the swath: a slanted edge, as in real scenes."
    rows, cols = np.indices(grid.shape) * (10 if grid.resolution.x == 10 else 20)
    return cols > 250 - 0.35 * rows


def swath_edge(asset: str, grid: GeoBox) -> np.ndarray:
    return np.where(wedge(grid), 0, 4 if asset == "SCL" else 1000)


@pytest.mark.parametrize("nodata", [0, None])
def test_zeros_beyond_the_swath_are_not_mixed_into_values(tmp_path: Path, nodata: int | None):
    "Whether the file declares 0 as no data, or forgets to."
    item = scene(tmp_path, "S2A_36KUF_20221102_0_L2A", HERE, swath_edge, nodata=nodata)
    shifted = place(32736, 300_005, 8_020_005, 40, 40)  # also where every band must be resampled
    for where in (HERE, shifted):
        got = read([item], where)
        for name in FEATURE_BANDS:
            assert set(np.unique(got[name])) == {0, 1000}, name
    with rasterio.open(item.assets["B11"]) as tif:  # what a reader gets that is not told what 0 means
        how = {"crs": tif.crs, "transform": HERE.affine, "width": 40, "height": 40, "resampling": Resampling.bilinear}
        with WarpedVRT(tif, src_nodata=None, nodata=None, **how) as naive:
            mixed = naive.read(1)
    assert ((mixed > 0) & (mixed < 1000)).sum() > 20


def test_the_swath_edge_is_where_a_second_reader_sees_it(tmp_path: Path):
    rng = np.random.default_rng(2)
    rough = {name: rng.integers(200, 4000, (40, 40)) for name in (*FEATURE_BANDS, "SCL")}

    def content(asset: str, grid: GeoBox) -> np.ndarray:
        image = rough[asset][: grid.shape[0], : grid.shape[1]]
        return np.where(wedge(grid), 0, 4 if asset == "SCL" else image)

    item = scene(tmp_path, "S2A_36KUF_20221102_0_L2A", HERE, content)
    ours = read([item], HERE).isel(time=0)
    theirs = odc.stac.load(
        [as_stac(item)], bands=list(STEP_M), geobox=HERE, resampling={"*": "bilinear", "SCL": "nearest"}, nodata=0
    ).isel(time=0)
    inner = wedge(HERE) == np.roll(wedge(HERE), 3, 1)
    for name in STEP_M:
        a, b = ours[name].values.astype(int), theirs[name].values.astype(int)
        both = (a > 0) & (b > 0)
        assert np.abs(a - b)[both].max() <= 1, name
        np.testing.assert_array_equal((a > 0)[inner], (b > 0)[inner])


def as_stac(item: Item) -> pystac.Item:
    "The item as a STAC document, for other readers."
    stac = pystac.Item(item.id, item.geometry, None, dt.datetime.fromisoformat(item.datetime), {"proj:epsg": item.epsg})
    for name, href in item.assets.items():
        stac.add_asset(name, pystac.Asset(href, media_type="image/tiff; application=geotiff", roles=["data"]))
    return stac


def test_where_one_band_saw_nothing_the_observation_does_not_count(tmp_path: Path):
    "The edge of the 20 m bands lies a little beside that of the 10 m bands; between them half of the bands are 0."
    scenes = []
    for k, day in enumerate(FOUR_DAYS):
        numbers = crop_of_day(k)

        def content(asset: str, grid: GeoBox, numbers=numbers) -> np.ndarray:
            return np.where(wedge(grid), 0, numbers[asset])

        scenes.append(scene(tmp_path, f"S{k}", HERE, content, f"{day}T08:00:00.000Z"))
    got = read(scenes, HERE)
    ragged = (got.B04.values > 0) != (got.B11.values > 0)
    assert ragged.any()
    made = season_features(got, SEASON).values
    assert np.isnan(made[:, ragged[0]]).all()
    assert not np.isnan(made[:, (got.B04.values[0] > 0) & ~ragged[0]]).any()


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_what_is_darker_than_the_offset_is_dark_and_not_missing(tmp_path: Path):
    "Since baseline 04.00 noise over dark ground may lie below 1000: reflectance 0, a measurement. Only 0 is none."
    scenes = []
    for k, day in enumerate(FOUR_DAYS):
        numbers = {name: value + 1000 for name, value in crop_of_day(k).items()} | {"SCL": 4}

        def content(asset: str, grid: GeoBox, numbers=numbers) -> np.ndarray:
            image = np.full(grid.shape, numbers[asset])
            if asset == "B04":
                image[0, :4] = (1000, 999, 1, 0)
            return image

        scenes.append(scene(tmp_path, f"S{k}", HERE, content, f"{day}T08:00:00.000Z", offset_dn=-1000))
    got = read(scenes, HERE)
    assert got.B04.values[0, 0, :4].tolist() == [1000, 999, 1, 0]  # the cube keeps what was stored
    assert got.offset.values.tolist() == [-0.1] * 4
    made = season_features(got, SEASON).values[:, 0]
    assert not np.isnan(made[:, :3]).any() and np.isnan(made[:, 3]).all()
    np.testing.assert_array_equal(made[:, [0, 0]], made[:, 1:3])  # all three are black in the red
    assert (made[[FEATURE_ORDER_V1.index("ndvi_peak_max")], :3] == 1).all()
    days = np.array([SEASON.day(dt.date.fromisoformat(day)) for day in FOUR_DAYS])
    stored = np.array([[crop_of_day(k)[name] for name in FEATURE_BANDS] for k in range(4)], np.uint16)[:, :, None, None]
    plain = features_v1(days, stored, np.full((4, 1, 1), 4, np.uint8))
    np.testing.assert_array_equal(made[:, 10], plain[:, 0, 0])  # 1000 added and taken off again


@pytest.mark.parametrize(
    ("year", "date", "day"),
    [
        (2022, "2022-12-31", 121),
        (2022, "2023-01-01", 122),
        (2022, "2023-02-28", 180),
        (2022, "2023-03-01", 181),
        (2023, "2024-02-29", 181),
        (2023, "2024-03-01", 182),
    ],
)
def test_days_are_counted_over_new_year_and_leap_day(tmp_path: Path, year: int, date: str, day: int):
    "A flush of green on one date, read a second before midnight: its node is the day's."
    season = Season(year)
    start = np.datetime64(season.first)
    assert season.day(dt.date.fromisoformat(date)) == day
    flush, bare = MAIZE, MAIZE | {"B04": 2000, "B08": 2400}
    small = place(32736, 300_000, 8_020_000, 4, 4)
    dates = sorted({*(str(start + d) for d in range(0, 270, 10)), date})
    scenes = [
        scene(tmp_path, f"S{d}", small, flush if d == date else bare, f"{d}T23:59:59.999Z")
        for d in dates
        if d == date or abs((np.datetime64(d) - np.datetime64(date)).astype(int)) > 5
    ]
    got = read(scenes, small)
    assert [str(t)[:10] for t in got.time.values] == [item.datetime[:10] for item in scenes]
    peak = season_features(got, season).sel(feature="ndvi_peak_step").values
    assert set(np.unique(peak)) == {round(day / 10)}


# --- what stackstac does unasked -------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> list[Item]:
    "Three scenes of three days; the second lies two kilometres east."
    beside = place(32736, 302_400, 8_020_000, 40, 40)
    scenes = []
    for k, (day, where) in enumerate(zip(("01", "06", "11"), (HERE, beside, HERE), strict=True)):
        numbers, offset_dn = MAIZE | {"B04": 100 * (k + 1)}, (-1000, 0, -1000)[k]
        scenes.append(scene(tmp_path, f"S{k}", where, numbers, f"2022-10-{day}T08:00:00.000Z", offset_dn))
    return scenes


@pytest.mark.parametrize("who", ["our search", "stackstac"])
def test_a_scene_that_is_left_out_takes_its_offset_along(three: list[Item], who: str, monkeypatch: pytest.MonkeyPatch):
    if who == "stackstac":  # nobody has left out the second before
        monkeypatch.setattr(cube, "overlapping", lambda items, geobox: list(items))
        monkeypatch.setattr(cube, "FOOTPRINT_SLACK", 0.0)
    got = read(three, HERE)
    assert got.item_id.values.tolist() == ["S0", "S2"]
    assert got.offset.values.tolist() == [-0.1, -0.1]
    assert [str(t)[:10] for t in got.time.values] == ["2022-10-01", "2022-10-11"]
    assert got.B04.values[:, 5, 5].tolist() == [100, 300]
    assert read(three, place(32736, 302_400, 8_020_000, 40, 40)).offset.values.tolist() == [0.0]


def test_a_scene_just_beside_the_grid_is_read_as_nothing_seen(three: list[Item]):
    "Footprints are taken 1 km too wide, since archives simplify them; what is not there then is 0, of the same type."
    near = place(32736, 300_900, 8_020_000, 40, 40)  # 500 m east of the first and third scene
    got = read(three[::2], near)
    assert got.sizes == {"time": 2, "y": 40, "x": 40}
    for name in (*FEATURE_BANDS, "SCL"):
        assert got[name].dtype == (np.uint8 if name == "SCL" else np.uint16)
        assert (got[name] == 0).all()
    assert np.isnan(season_features(got, SEASON)).all()


def test_coordinates_are_pixel_centres_of_the_grid_that_was_asked_for(three: list[Item]):
    for where in (HERE[3:29, 5:31], place(32736, 300_103, 8_019_897, 20, 20)):  # the second on no multiple of 10 m
        got = read(three, where)
        np.testing.assert_array_equal(got.x, where.coords["x"].values)
        np.testing.assert_array_equal(got.y, where.coords["y"].values)
        left, _, _, top = where.boundingbox
        assert (float(got.x[0]), float(got.y[0])) == (left + 5, top - 5)


def test_a_grid_larger_than_the_scenes_is_filled_with_zeros_of_the_same_type(three: list[Item]):
    wide = place(32736, 299_800, 8_020_200, 80, 80)
    got = read(three[:1], wide, chunk_px=32)
    for name in (*FEATURE_BANDS, "SCL"):
        values = got[name].values[0]
        assert values.dtype == (np.uint8 if name == "SCL" else np.uint16)
        inside = np.zeros((80, 80), bool)
        inside[20:60, 20:60] = True
        assert (values[~inside] == 0).all() and (values[inside] > 0).all(), name


def test_chunks_leave_no_trace(tmp_path: Path):
    "A block of the lazy cube that ends in the middle of a pixel of 20 m."
    rng = np.random.default_rng(7)
    rough = {name: rng.integers(200, 4000, (40, 40)) for name in FEATURE_BANDS}

    def content(asset: str, grid: GeoBox) -> np.ndarray:
        return np.full(grid.shape, 4) if asset == "SCL" else rough[asset][: grid.shape[0], : grid.shape[1]]

    item = scene(tmp_path, "S", HERE, content)
    whole, pieces = read([item], HERE), read([item], HERE, chunk_px=13)
    window = read([item], HERE[7:30, 9:33])
    for name in (*FEATURE_BANDS, "SCL"):
        np.testing.assert_array_equal(pieces[name], whole[name], err_msg=name)
        np.testing.assert_array_equal(window[name], whole[name][:, 7:30, 9:33], err_msg=name)


def test_no_scene_at_all_is_an_error():
    with pytest.raises(CubeError, match="no scene over it"):
        cube.load_cube([], HERE)
