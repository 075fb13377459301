"""What a lesson on pictures does not show: looking changes nothing, leaves nothing open, fetches nothing."""

import json
import re
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from geocrop import pictures
from geocrop.clouds import Mask
from geocrop.features import pixel_season, season_features
from geocrop.items import Item
from geocrop.kernels import features_v1
from geocrop.quality import clear_mask
from geocrop.schema import AOI, FEATURE_BANDS, FEATURE_ORDER_V1, NODE_DAYS, SCL, CubeError, ItemsError, Season

SEASON = Season(2022)
SOIL, CANOPY = np.array([700, 1200, 1500, 1800, 2800]), np.array([300, 300, 700, 4500, 2000])  # B02 B04 B05 B08 B11
CLOUD = 6000
SIDE = 24
SECOND = 6  # scene of a day that has one already


@pytest.fixture
def cube() -> xr.Dataset:
    "Two fields in 16 scenes, two of one day, the second with an offset; a cloud that wanders, the edge of a swath."
    days = np.sort(np.r_[np.arange(5, 265, 18), 95])
    green = np.exp(-(((days[:, None, None] - np.where(np.arange(SIDE) < 12, 120, 160)) / 40.0) ** 2))
    green = np.broadcast_to(green, (len(days), SIDE, SIDE))
    dn = SOIL + (CANOPY - SOIL) * green[..., None]
    dn = dn + np.random.default_rng(5).integers(-40, 40, dn.shape)
    scl = np.where(green > 0.3, SCL.VEGETATION, SCL.BARE).astype(np.uint8)
    for t in range(len(days)):
        left = (3 * t) % 18
        dn[t, 4:12, left : left + 6], scl[t, 4:12, left : left + 6] = CLOUD, SCL.CLOUD_HIGH
    dn[3, :, :5], scl[3, :, :5] = 0, 0
    dn[SECOND] += 1000
    time = (
        np.datetime64(SEASON.first, "ns")
        + days.astype("timedelta64[D]")
        + np.arange(len(days)).astype("timedelta64[m]")
    )
    dims = ("time", "y", "x")
    return xr.Dataset(
        {band: (dims, dn[..., b].astype(np.uint16)) for b, band in enumerate(FEATURE_BANDS)} | {"SCL": (dims, scl)},
        {
            "time": time,
            "y": 8_000_000.0 - 10 * np.arange(SIDE),
            "x": 300_000.0 + 10 * np.arange(SIDE),
            "item_id": ("time", [f"S{t}" for t in range(len(days))]),
            "scale": ("time", np.full(len(days), 1e-4)),
            "offset": ("time", np.where(np.arange(len(days)) == SECOND, -0.1, 0.0)),
        },
        {"crs": "EPSG:32736"},
    )


@pytest.fixture(autouse=True)
def nothing_is_left_open():
    "Pictures hold no figure of pyplot open, and none comes with a warning."
    before = plt.get_fignums()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert plt.get_fignums() == before


def drawn(figure: Figure) -> list:
    "Axes that show an image."
    return [ax for ax in figure.axes if ax.images]


def png(figure: Figure) -> bytes:
    "As a notebook shows it: this draws everything."
    shown = figure._repr_png_()
    assert shown.startswith(b"\x89PNG")
    return shown


def test_no_module_needs_pictures(root: Path):
    others = [path for path in (root / "geocrop").glob("*.py") if path.stem not in ("pictures", "_modidx")]
    assert len(others) > 10
    assert not [path.name for path in others if re.search(r"import.*\bpictures\b|\.pictures\b", path.read_text())]


# --- chips -----------------------------------------------------------------------------------------------------------


def test_looking_changes_nothing(cube: xr.Dataset):
    before = cube.copy(deep=True)
    png(pictures.plot_chips(cube, mask=Mask(30)))
    png(pictures.plot_pixel(cube, SEASON, 300_050.0, 7_999_900.0, mask=Mask(20)))
    assert cube.identical(before)


def test_the_ground_is_drawn_below_the_mask(cube: xr.Dataset):
    day = np.datetime64(cube.time.values[0], "D")
    figure = pictures.plot_chips(cube, [day])
    (ax,) = drawn(figure)
    chip = pictures.fuse_day(cube, clear_mask(cube).values, day)
    assert chip.image[0, 5, 2] == pytest.approx(0.6) and not chip.clear[5, 2]  # the cloud is in the picture ...
    assert np.allclose(ax.images[0].get_array()[5, 2], 1)  # ... white, under one stretch with the ground
    (hatched,) = [c for c in ax.collections if isinstance(c, ContourSet)]
    assert hatched.hatches == ["//////"] and hatched.get_facecolor()[0, 3] == 0  # lines only
    box = hatched.get_paths()[0].get_extents()
    assert (box.x0, box.x1, box.y0, box.y1) == pytest.approx((-1, 5.5, 3.5, 11.5))  # from the image's edge on


def test_a_clear_day_has_no_hatching(cube: xr.Dataset):
    clear = cube.assign(SCL=xr.full_like(cube.SCL, SCL.BARE)).isel(time=[0])
    (ax,) = drawn(pictures.plot_chips(clear))
    assert not ax.collections
    assert ax.get_title().endswith("100 % clear")


def test_what_was_not_seen_is_grey_and_not_hatched(cube: xr.Dataset):
    figure = pictures.plot_chips(cube, [cube.time.values[3]])
    (ax,) = drawn(figure)
    assert np.allclose(ax.images[0].get_array()[:, :5], pictures.NOT_SEEN)
    (hatched,) = [c for c in ax.collections if isinstance(c, ContourSet)]
    assert hatched.get_paths()[0].get_extents().x0 > 5


def test_all_chips_have_one_stretch_and_clouds_do_not_decide_it(cube: xr.Dataset):
    clear = clear_mask(cube).values
    days = np.unique(cube.time.values.astype("datetime64[D]"))
    chips = [pictures.fuse_day(cube, clear, day) for day in days]
    limits = pictures.stretch(chips)
    ground = np.concatenate([chip.image[:, chip.clear] for chip in chips], axis=1)
    assert np.allclose(limits.T, np.percentile(ground, pictures.STRETCH_PERCENT, axis=1))
    assert limits.max() < 0.5  # the cloud has 0.6
    shown = {
        ax.get_title().split("\n")[0].split(" ")[0]: ax.images[0].get_array()
        for ax in drawn(pictures.plot_chips(cube, days))
    }
    for chip in chips:
        expected = np.clip((chip.image - limits[:, :1, None]) / np.diff(limits)[:, :, None], 0, 1).transpose(1, 2, 0)
        seen = np.isfinite(expected).all(2)
        assert np.allclose(shown[str(chip.day)][seen], expected[seen])


def test_scenes_of_one_day_are_fused_as_the_features_fuse_them(cube: xr.Dataset):
    cube = cube.copy(deep=True)
    for band in FEATURE_BANDS:
        cube[band].values[SECOND] += 500  # so that it can be told which scene was taken
    clear, day = clear_mask(cube).values, cube.time.values[SECOND].astype("datetime64[D]")
    first = SECOND - 1
    chip = pictures.fuse_day(cube, clear, day)
    assert chip.scenes == 2
    assert np.array_equal(chip.clear, clear[first] | clear[SECOND])
    late = ~clear[first] & clear[SECOND]
    assert 0 < late.sum() < late.size
    red = np.where(late, cube.B04.values[SECOND] - 1000.0, cube.B04.values[first]) * 1e-4  # each with its own offset
    assert np.allclose(chip.image[1], red)
    for row, column in (np.argwhere(late)[0], np.argwhere(clear[first])[0]):
        pixel = pixel_season(cube, SEASON, float(cube.x[column]), float(cube.y[row]))
        nir, red = chip.image[:2, row, column]
        since = int((day - np.datetime64(SEASON.first)).astype(int))
        assert pixel.raw[0, pixel.counts & (pixel.day == since)] == pytest.approx([(nir - red) / (nir + red)])
    (ax,) = drawn(pictures.plot_chips(cube, [day]))
    assert ax.get_title().startswith(f"{day} (2 scenes)")


def test_of_each_part_of_the_season_the_clearest_day_is_shown(cube: xr.Dataset):
    days, clear = cube.time.values.astype("datetime64[D]"), clear_mask(cube).values
    shown = [ax.get_title().split(" ")[0].split("\n")[0] for ax in drawn(pictures.plot_chips(cube, number=4))]
    assert len(shown) == 4 and shown == sorted(shown)
    share = {str(day): clear[days == day].any(0).mean() for day in np.unique(days)}
    assert max(share, key=lambda day: share[day]) in shown
    for number in (len(share), 1000):  # no more days than that: all of them, also where two lie close together
        assert len(drawn(pictures.plot_chips(cube, number=number))) == len(share)


def test_lazy_cubes_are_read(cube: xr.Dataset):
    png_of = [png(pictures.plot_chips(one, columns=4)) for one in (cube, cube.chunk(time=4))]
    assert png_of[0] == png_of[1]


def test_a_large_image_is_drawn_smaller(cube: xr.Dataset):
    wide = cube.isel(time=[0]).isel(x=np.arange(600) % SIDE)
    (ax,) = drawn(pictures.plot_chips(wide))
    assert max(ax.images[0].get_array().shape) <= pictures.MOST_PX


def test_bad_wishes_are_told(cube: xr.Dataset):
    with pytest.raises(CubeError, match=r"2022-09-07.*For example 2022-09-06"):
        pictures.plot_chips(cube, ["2022-09-07"])
    with pytest.raises(CubeError, match="Dates: found none"):
        pictures.plot_chips(cube, [])
    with pytest.raises(CubeError, match="no B03"):
        pictures.plot_chips(cube, bands=("B04", "B03", "B02"))
    with pytest.raises(CubeError, match="expected three"):
        pictures.plot_chips(cube, bands=("B04", "B02"))
    nothing = cube.assign({name: xr.zeros_like(cube[name]) for name in cube.data_vars})
    with pytest.raises(CubeError, match="no pixel that was seen"):
        pictures.plot_chips(nothing)


# --- a pixel ---------------------------------------------------------------------------------------------------------


def test_the_chips_of_a_pixel_show_its_moments(cube: xr.Dataset):
    x, y = 300_060.0, 7_999_960.0
    figure = pictures.plot_pixel(cube, SEASON, x, y)
    png(figure)
    titles = [ax.get_title() for ax in drawn(figure)]
    assert [title.split("\n")[0] for title in titles] == [
        "a: lowest before the peak", "b: steepest rise", "c: peak", "d: steepest fall",
    ]  # fmt: skip
    pixel = pixel_season(cube, SEASON, x, y)
    peak = np.datetime64(titles[2].split("\n")[1]) - np.datetime64(SEASON.first)
    clear = pixel.day[pixel.counts]
    assert peak.astype(int) == clear[np.abs(clear - NODE_DAYS[pixel.curve[0].argmax()]).argmin()]
    for ax in drawn(figure):  # the mark lies on the pixel, in a picture that is cut off at the image's edge
        assert (ax.lines[0].get_xdata()[0], ax.lines[0].get_ydata()[0]) == (6, 4)


def test_a_pixel_that_was_hardly_seen_has_no_curve(cube: xr.Dataset):
    figure = pictures.plot_pixel(cube.isel(time=[0, 5]), SEASON, 300_200.0, 7_999_990.0)
    png(figure)
    assert not drawn(figure) and figure._suptitle.get_text() == "no curve: 2 clear days"


# --- features --------------------------------------------------------------------------------------------------------


def test_every_feature_has_a_meaning_of_its_own():
    assert tuple(pictures.MEANING) == FEATURE_ORDER_V1
    assert len(set(pictures.MEANING.values())) == len(FEATURE_ORDER_V1)
    for feature, meaning in pictures.MEANING.items():
        index = "NDVI" if feature == "canopy_contrast" else feature.split("_")[0].upper()
        assert index in meaning, feature
        assert meaning[0].isupper() and meaning.endswith(".") and meaning.count(". ") == 0, feature
        assert not set("{}") & set(meaning), feature
        unit = "0 to 27, ten days each" if feature.endswith("peak_step") else pictures._kind(feature).unit
        assert f"({unit}" in meaning, feature
        assert "high" in meaning, feature


def curves(*shapes: np.ndarray) -> dict[str, np.ndarray]:
    "Features of NDVI curves at the nodes, one value per curve."
    nir = 0.4 * (1 + np.array(shapes)) / 2
    red = 0.4 - nir
    dn = np.stack([np.full_like(nir, 0.05), red, (red + nir) / 2, nir, np.full_like(nir, 0.2)], 1)
    dn = np.rint(dn * 1e4).astype(np.uint16).transpose(2, 1, 0)[..., None]
    found = features_v1(np.array(NODE_DAYS), dn, np.full(dn[:, 0].shape, SCL.VEGETATION, np.uint8))
    return dict(zip(FEATURE_ORDER_V1, found[:, :, 0], strict=True))


def hump(middle: float, width: float) -> np.ndarray:
    return 0.1 + 0.7 * np.exp(-(((np.array(NODE_DAYS) - middle) / width) ** 2))


def test_what_the_meanings_say_of_high_values_is_so():
    early, middle, late = hump(70, 40), hump(135, 40), hump(200, 40)
    of = curves(early, middle, late)
    assert of["ndvi_h1_sin"][0] > 0 > of["ndvi_h1_sin"][2]
    assert of["ndvi_peak_step"][0] < of["ndvi_peak_step"][1] < of["ndvi_peak_step"][2]
    assert of["canopy_contrast"][1] > 0 > of["canopy_contrast"][0]
    dry_season_crop = 0.9 - middle
    of = curves(dry_season_crop, middle)
    assert of["ndvi_h1_cos"][0] > 0 > of["ndvi_h1_cos"][1]
    narrow, broad = hump(135, 25), hump(135, 85)
    two = np.maximum(hump(70, 25), hump(200, 25))
    of = curves(narrow, broad, two)
    assert of["ndvi_h2_cos"][0] > of["ndvi_h2_cos"][1] > of["ndvi_h2_cos"][2]
    assert of["ndvi_auc"][1] > of["ndvi_auc"][0]
    of = curves(hump(165, 30), hump(105, 30))
    assert of["ndvi_h2_sin"][0] > 0 > of["ndvi_h2_sin"][1]
    slow = 0.1 + 0.7 * np.clip(np.array(NODE_DAYS) / 270, 0, 1)
    of = curves(slow, middle, np.full(28, 0.4))
    assert of["ndvi_slope_down"][0] > of["ndvi_slope_down"][1] < -0.01
    assert of["ndvi_slope_up"][1] > of["ndvi_slope_up"][0] > 0
    assert of["ndvi_amplitude"][2] == pytest.approx(0, abs=1e-3)


@pytest.fixture
def image(cube: xr.Dataset) -> xr.DataArray:
    found = season_features(cube, SEASON)
    found[:, :2, :3] = np.nan
    return found


def test_the_gallery_shows_all_51_and_their_numbers(image: xr.DataArray):
    before = image.copy(deep=True)
    figure = pictures.plot_gallery(image)
    png(figure)
    assert image.identical(before)
    panels = {ax.get_title(): ax.images[0] for ax in drawn(figure)}
    assert set(panels) == set(FEATURE_ORDER_V1) and len(drawn(figure)) == len(FEATURE_ORDER_V1)
    for name, picture in panels.items():
        assert np.array_equal(picture.get_array().filled(np.nan), image.sel(feature=name).values, equal_nan=True)
        assert picture.cmap.get_bad()[:3] == pytest.approx(pictures.NOT_SEEN)
        low, high = picture.norm.vmin, picture.norm.vmax
        scale = pictures._kind(name).scale
        if scale == "diverging":
            assert low == -high < 0
        elif scale == "steps":
            assert low % 1 == 0.5 and high % 1 == 0.5
        else:
            assert (low, high) == pytest.approx(np.nanpercentile(image.sel(feature=name), pictures.LIMITS_PERCENT))
    names = [name for row in pictures._gallery_rows().values() for name in row]
    assert sorted(names) == sorted(FEATURE_ORDER_V1)


def test_an_outlier_does_not_decide_the_colours(image: xr.DataArray):
    outlier = image.copy(deep=True)
    outlier[FEATURE_ORDER_V1.index("evi_peak_max"), 10, 10] = 1e6
    panels = {ax.get_title(): ax.images[0] for ax in drawn(pictures.plot_gallery(outlier))}
    assert panels["evi_peak_max"].norm.vmax < 2


def test_constant_and_missing_features_are_drawn(image: xr.DataArray):
    for value in (0.0, 7.0, np.nan):
        same = xr.full_like(image, value)
        figure = pictures.plot_gallery(same)
        png(figure)
        assert len(drawn(figure)) == len(FEATURE_ORDER_V1)
        table = pictures.gallery_table(same)
        assert np.array_equal(table["50 %"], np.full(51, value), equal_nan=True)


def test_the_table_says_what_the_image_holds(image: xr.DataArray):
    table = pictures.gallery_table(image.chunk(y=8))
    assert tuple(table.index) == FEATURE_ORDER_V1 and list(table["meaning"]) == list(pictures.MEANING.values())
    for share in (5, 50, 95):
        assert np.allclose(table[f"{share} %"], np.nanpercentile(image.astype(float), share, axis=(1, 2)))
    assert np.allclose(table["missing %"], 100 * 6 / SIDE**2)
    with pytest.raises(CubeError, match="51 features"):
        pictures.gallery_table(image[:10])
    with pytest.raises(CubeError, match="51 features"):
        pictures.plot_gallery(image[::-1])


# --- map -------------------------------------------------------------------------------------------------------------


def scene(name: str, day: str, west: float = 31.0, cloud: float = 10.0, offset: int = 0) -> Item:
    ring = [[west, -18.0], [west + 0.5, -18.0], [west + 0.5, -17.6], [west, -17.6], [west, -18.0]]
    outline = {"type": "Polygon", "coordinates": [ring]}
    return Item(name, f"{day}T08:06:24.000Z", 32736, "36KTF", "sentinel-2a", "05.09", 0, cloud, offset, outline, {})


SCENES = [
    scene("A", "2022-09-03", cloud=0),
    scene("B", "2022-09-05", west=31.3, cloud=100, offset=-1000),
    scene("<b>C</b>", "2022-09-05", west=31.0),
]


def parts(widget) -> dict:
    "What the map is made of, by name."
    slider, view, told, table = widget.children
    named = {layer.name: layer for layer in view.layers if layer.name}
    return named | {"slider": slider, "view": view, "told": told, "table": table.children[0]}


def state(widget) -> str:
    "All that a browser is told of a widget and of those in it."
    from ipywidgets import Widget

    told, waiting = {}, [widget]
    while waiting:
        one = waiting.pop()
        if one.model_id not in told:
            told[one.model_id] = one.get_state()
            waiting += [w for key in one.keys for w in flat(getattr(one, key)) if isinstance(w, Widget)]
    return json.dumps(told, default=str)


def flat(value) -> list:
    if isinstance(value, dict):
        return [v for one in value.values() for v in flat(one)]
    return [v for one in value for v in flat(one)] if isinstance(value, list | tuple) else [value]


@pytest.fixture(autouse=True)
def widgets_are_closed():
    yield
    from ipywidgets import Widget

    Widget.close_all()


def test_each_scene_is_one_feature_of_the_map():
    layer = parts(pictures.items_map(SCENES))["scenes"]
    assert [feature["id"] for feature in layer.data["features"]] == [item.id for item in SCENES]
    assert [feature["geometry"] for feature in layer.data["features"]] == [item.geometry for item in SCENES]
    colours = [feature["properties"]["style"]["color"] for feature in layer.data["features"]]
    assert len(set(colours)) == 3


def test_the_map_asks_no_server_unless_told_to():
    assert "http" not in state(pictures.items_map(SCENES))
    assert "openstreetmap" in state(pictures.items_map(SCENES, basemap=True))


def test_the_slider_chooses_a_day_and_a_click_a_place():
    part = parts(pictures.items_map(SCENES))
    assert list(part["slider"].options) == ["all days", "2022-09-03", "2022-09-05"]
    part["slider"].value = "2022-09-05"
    assert [feature["id"] for feature in part["scenes"].data["features"]] == ["B", "<b>C</b>"]
    assert part["told"].value.startswith("2 of 3 scenes, 2022-09-05")
    click = {"event": "interaction", "type": "click", "coordinates": [-17.8, 31.7]}
    part["view"]._handle_leaflet_event({}, click, [])
    assert part["told"].value.startswith("1 of 3 scenes")
    assert "-1000" in part["table"].value and "05.09" in part["table"].value
    assert "C" not in part["table"].value
    part["view"]._handle_leaflet_event({}, click | {"type": "mousemove", "coordinates": [0, 0]}, [])
    assert part["told"].value.startswith("1 of 3 scenes")
    part["slider"].value = "all days"
    assert part["told"].value.startswith("3 of 3 scenes")


def test_what_the_pointer_is_on_is_told_and_no_id_becomes_markup():
    part = parts(pictures.items_map(SCENES))
    feature = part["scenes"].data["features"][2]
    part["scenes"]._handle_mouse_events({}, {"event": "mouseover", "feature": feature}, [])
    assert part["told"].value == ("day 2022-09-05, id &lt;b&gt;C&lt;/b&gt;, cloud % 10, baseline 05.09, offset 0")
    assert "<b>" not in part["table"].value


def test_the_area_is_outlined_and_in_view():
    west = parts(pictures.items_map(SCENES))
    assert "area" not in west
    part = parts(pictures.items_map(SCENES, AOI(33.0, -17.8, 2000)))
    assert part["area"].data["geometry"]["type"] == "Polygon"
    assert part["view"].center[1] > west["view"].center[1] and part["view"].zoom < west["view"].zoom


def test_labels_of_the_graticule_lie_on_its_lines():
    lines, labels = pictures._graticule((31.02, -17.86, 31.08, -17.80))
    lons = {round(line[0][0], 9) for line in lines["geometry"]["coordinates"] if line[0][0] == line[1][0]}
    lats = {round(line[0][1], 9) for line in lines["geometry"]["coordinates"] if line[0][1] == line[1][1]}
    assert 4 <= len(labels) <= 10
    for (lat, lon), text in labels:
        value = float(text.split(">")[1].split("°")[0])
        assert (lon == pytest.approx(value) and round(lon, 9) in lons) or (
            lat == pytest.approx(value) and round(lat, 9) in lats
        )


def test_no_scene_is_an_error():
    with pytest.raises(ItemsError, match="found none"):
        pictures.items_map([])
