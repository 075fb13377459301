"""The mask against SciPy and a slow reading of its definition; the radiometric self-test against injected faults."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from geocrop import clouds, cube, items, quality, settings
from geocrop.clouds import V1_MASK, Mask
from geocrop.kernels import features_v1
from geocrop.quality import check_radiometry, clear_days, clear_mask, longest_gap, radiometry
from geocrop.schema import BANDS, FEATURE_BANDS, FEATURE_ORDER_V1, CubeError, Season

ROOT = Path(__file__).parents[1]
CENTRE_UM = {name: BANDS[name].center_um for name in FEATURE_BANDS}


def disc(dilation_m: float) -> np.ndarray:
    "All offsets of whole pixels within a distance, as SciPy wants them."
    reach = int(dilation_m // 10)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    return (x**2 + y**2) * 100 <= dilation_m**2


def dilated(hidden: np.ndarray, dilation_m: float) -> np.ndarray:
    return np.stack([ndimage.binary_dilation(image, disc(dilation_m)) for image in hidden])


# --- the mask --------------------------------------------------------------------------------------------------------


@how(max_examples=150, deadline=None, derandomize=True)
@given(arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, max_side=24)), st.floats(10, 160))
def test_widening_is_exactly_scipys(hidden: np.ndarray, dilation_m: float):
    got = clouds.widen(hidden, Mask(dilation_m)._half_widths())
    np.testing.assert_array_equal(got, dilated(hidden, dilation_m))


SCENES = arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=16), elements=st.integers(0, 11))
MASKS = st.builds(
    Mask, st.sampled_from([0, 5, 10, 14.2, 30, 75]), st.sets(st.sampled_from([2, 4, 5, 6, 7]), min_size=1)
)


@how(max_examples=150, deadline=None, derandomize=True)
@given(SCENES, MASKS)
def test_any_mask_says_what_its_definition_says(scl: np.ndarray, mask: Mask):
    before = scl.copy()
    clear = np.isin(scl, mask.clear_scl)
    clear &= ~dilated(~clear & (scl != 0), mask.dilation_m)
    read = mask.apply(scl)
    np.testing.assert_array_equal(scl, before)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(np.isin(read, (4, 5, 6, 7)), clear)  # all that the kernels ask
    np.testing.assert_array_equal(read == 0, scl == 0)
    kept = clear & (scl != 2)
    np.testing.assert_array_equal(read[kept], scl[kept])


def test_the_default_mask_is_free():
    scl = np.random.default_rng(1).integers(0, 12, (3, 5, 7)).astype(np.uint8)
    assert V1_MASK.apply(scl) is scl and Mask(9.9).apply(scl) is scl and Mask(0, (7, 6, 5, 4)) == V1_MASK
    assert (V1_MASK.reach_px, Mask(9.9).reach_px, Mask(10).reach_px, Mask(55).reach_px) == (0, 0, 1, 5)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "50", None])
def test_clouds_are_not_narrowed(wrong):
    with pytest.raises(CubeError, match="0 or more metres"):
        Mask(wrong)


@pytest.mark.parametrize("wrong", [(), (4, 8), (0, 4), ("4",), 4, None])
def test_only_ground_may_be_called_clear(wrong):
    with pytest.raises(CubeError, match="one or more of 2, 4, 5, 6, 7"):
        Mask(clear_scl=wrong)


@pytest.mark.parametrize("wrong", [np.zeros((2, 3), np.uint8), np.zeros((1, 2, 3), np.int64)])
def test_scene_classes_of_another_shape_or_type_are_refused(wrong):
    with pytest.raises(CubeError, match=r"uint8 \(time, y, x\)"):
        Mask(20).apply(wrong)


def test_a_window_read_with_its_margin_shows_no_border():
    scl = np.where(np.random.default_rng(2).random((4, 60, 60)) < 0.01, 9, 4).astype(np.uint8)
    mask = Mask(65)
    whole, inner, wide = mask.apply(scl), slice(20, 40), slice(20 - mask.reach_px, 40 + mask.reach_px)
    edge = slice(mask.reach_px, -mask.reach_px)
    np.testing.assert_array_equal(mask.apply(scl[:, wide, wide])[:, edge, edge], whole[:, inner, inner])
    assert (mask.apply(scl[:, inner, inner]) != whole[:, inner, inner]).any()  # so the margin is needed


def made_up(scl: np.ndarray, dn: np.ndarray, days: np.ndarray | None = None, offset: float = 0.0) -> xr.Dataset:
    "A cube from arrays: scl (time, y, x), dn (time, 5, y, x)."
    dims, times = ("time", "y", "x"), np.arange(len(scl)) * 5 if days is None else days
    return xr.Dataset(
        {b: (dims, dn[:, k].astype(np.uint16)) for k, b in enumerate(FEATURE_BANDS)} | {"SCL": (dims, scl)},
        {
            "time": np.datetime64("2022-09-01", "ns") + times * np.timedelta64(1, "D"),
            "item_id": ("time", [f"I{t:02d}" for t in range(len(scl))]),
            "scale": ("time", np.full(len(scl), 1e-4)),
            "offset": ("time", np.full(len(scl), offset)),
        },
    )


def test_a_lazy_mask_has_no_seams():
    rng = np.random.default_rng(3)
    scl = np.where(rng.random((5, 50, 70)) < 0.004, 8, rng.integers(4, 8, (5, 50, 70))).astype(np.uint8)
    dn = rng.integers(0, 4, (5, 5, 50, 70))
    whole, mask = made_up(scl, dn), Mask(80)
    lazy = whole.chunk(time=2, y=13, x=9)  # narrower than the disc
    assert clear_mask(lazy, mask).chunks
    xr.testing.assert_identical(clear_mask(lazy, mask).compute(), clear_mask(whole, mask))
    season = Season(2022)
    found = quality.season_quality(lazy, season, mask)
    assert found.clear_days.chunks and found.longest_gap.chunks
    xr.testing.assert_identical(found.compute(), quality.season_quality(whole, season, mask))
    assert found.clear_days.dtype == np.uint8 and found.longest_gap.dtype == np.uint16


def test_the_features_obey_the_mask():
    rng = np.random.default_rng(4)
    days, dn = np.arange(0, 270, 9), rng.integers(300, 5000, (30, 5, 6, 6)).astype(np.uint16)
    scl = rng.choice(np.array([2, 4, 5, 7, 9], np.uint8), (30, 6, 6), p=[0.2, 0.3, 0.2, 0.2, 0.1])
    for mask in (Mask(10), Mask(clear_scl=(4, 5, 6)), Mask(clear_scl=(2, 4, 5, 6, 7)), Mask(10, (4, 5))):
        clear = clear_mask(made_up(scl, dn, days), mask).values
        expected = features_v1(days, dn, np.where(clear, 4, 9).astype(np.uint8))
        np.testing.assert_array_equal(features_v1(days, dn, mask.apply(scl)), expected)
        assert not np.array_equal(features_v1(days, dn, scl), expected, equal_nan=True)


# --- what is left ----------------------------------------------------------------------------------------------------


@how(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(-40, 140), st.booleans()), max_size=12), st.sampled_from([2019, 2022]))
def test_days_and_gaps_are_counted_as_on_a_calendar(views: list[tuple[int, bool]], year: int):
    season = Season(year, start="11-20", end="03-10")  # over New Year, and over 29 February in 2020
    days = np.array([day for day, _ in views], int)
    times = np.datetime64(season.first, "ns") + days * np.timedelta64(1, "D") + np.timedelta64(86_399, "s")
    clear = xr.DataArray(np.array([c for _, c in views], bool).reshape(-1, 1, 1), {"time": times}, ("time", "y", "x"))
    seen = {day for day, c in views if c}
    assert clear_days(clear).item() == len(seen)
    run = longest = 0
    date = season.first
    while date <= season.last:
        run = 0 if (date - season.first).days in seen else run + 1
        longest, date = max(longest, run), date + dt.timedelta(1)
    assert longest_gap(clear, season).item() == longest


def test_more_than_254_clear_days_are_254():
    times = np.datetime64("2022-09-01", "ns") + np.arange(300) * np.timedelta64(1, "D")
    clear = xr.DataArray(np.ones((300, 1, 1), bool), {"time": times}, ("time", "y", "x"))
    assert clear_days(clear).item() == 254 and longest_gap(clear, Season(2022)).item() == 0


# --- radiometry: faults ----------------------------------------------------------------------------------------------


def left_in(whole: xr.Dataset, dates) -> xr.Dataset:
    "1000 is in the digital numbers, and the metadata say that it is not."
    more = xr.zeros_like(whole.offset, dtype=np.uint16)
    more[dates] = 1000
    return whole.assign({b: xr.where(whole[b] == 0, whole[b], whole[b] + more) for b in FEATURE_BANDS})


def twice(whole: xr.Dataset, dates) -> xr.Dataset:
    "1000 is taken off already, and the metadata say that it is not."
    offset = whole.offset.values.copy()
    offset[dates] -= 0.1
    return whole.assign_coords(offset=("time", offset))


FAULTS: dict[str, tuple[Callable, str]] = {
    "left in": (left_in, "offset not taken off"),
    "twice": (twice, "offset taken off twice"),
}


@pytest.fixture(scope="module")
def simulated(season: Path) -> xr.Dataset:
    found = items.search(settings.area(ROOT), settings.season(ROOT), catalogue=str(season / "catalog.json"))
    return cube.fetch(cube.load_cube(found, cube.grid(found)))


@pytest.fixture(scope="module")
def real(shared_data: Path) -> xr.Dataset:
    folder = ROOT / "profiles/herault_2018"
    catalogue = str(shared_data / "herault_2018/catalog.json")
    found = items.search(settings.area(folder), settings.season(folder), catalogue=catalogue, skip=[])
    return cube.fetch(cube.load_cube(found, cube.grid(found)))


@pytest.fixture(params=["simulated", "real"])
def right(request: pytest.FixtureRequest) -> xr.Dataset:
    "A season whose metadata are right."
    whole = request.getfixturevalue(request.param)
    return whole if request.param == "real" else whole.isel(y=slice(128, 384), x=slice(128, 384))


def harm(good: xr.Dataset, bad: xr.Dataset) -> float:
    "What a fault does to the greatest of the NDVI and NDRE features of a pixel; the median of some pixels."
    lines = [name for name in FEATURE_ORDER_V1 if name[:4] in ("ndvi", "ndre") and name[-3:] in ("ude", "ean", "max")]
    which = [FEATURE_ORDER_V1.index(name) for name in lines]
    days = (good.time.values - good.time.values[0]).astype("timedelta64[D]").astype(int)
    made = []
    for one in (good, bad):
        part = one.isel(y=slice(40, 200, 8), x=slice(40, 200, 8))
        dn = np.stack([part[b].values for b in FEATURE_BANDS], 1)
        made.append(features_v1(days, dn, part.SCL.values, scale=part.scale.values, offset=part.offset.values)[which])
    return float(np.nanmedian(np.abs(made[0] - made[1]).max(0)))


def judged(table: pd.DataFrame) -> set[int]:
    return set(np.flatnonzero(table.verdict != "too few clear pixels"))


def of(table: pd.DataFrame, *verdicts: str) -> set[int]:
    return set(np.flatnonzero(table.verdict.isin(verdicts)))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("which", "least_harm"), [("one", 0.02), ("run", 0.02), ("first half", 0.1), ("second half", 0.1), ("all", 0.2)]
)
def test_a_wrong_flag_is_found_and_named(right: xr.Dataset, which: str, least_harm: float, fault: str):
    inject, verdict = FAULTS[fault]
    number = right.sizes["time"]
    dates = {
        "one": [36 if number > 36 else 6],
        "run": list(range(number // 2, number // 2 + 3)),
        "first half": list(range(number // 2)),
        "second half": list(range(number // 2, number)),
        "all": list(range(number)),
    }[which]
    bad = inject(right, dates)
    assert harm(right, bad) > least_harm  # and nothing else would have told
    table = radiometry(bad)
    assert of(table, verdict) == set(dates) & judged(table)
    innocent = judged(table) - set(dates)
    assert of(table, "right", "unsure") == innocent and len(of(table, "unsure")) <= 1
    with pytest.raises(CubeError) as caught:
        check_radiometry(table)
    first = right.item_id.values[sorted(set(dates) & judged(table))[0]]
    assert first in caught.value.thing and verdict in caught.value.found and "items.skip" in caught.value.remedy


@pytest.mark.parametrize("fault", FAULTS)
def test_whichever_one_item_is_wrong(right: xr.Dataset, fault: str):
    inject, verdict = FAULTS[fault]
    part = right.isel(y=slice(60, 200), x=slice(60, 200))
    every = sorted(judged(radiometry(part)))
    for t in every[:: max(1, len(every) // 9)]:
        table = radiometry(inject(part, [t]))
        assert of(table, verdict) == {t} and of(table, "right", "unsure") == judged(table) - {t}


def test_both_faults_in_one_season(right: xr.Dataset):
    bad = left_in(twice(right, [3, 4]), [8])
    table = radiometry(bad)
    assert of(table, "offset taken off twice") == {3, 4} and of(table, "offset not taken off") == {8}
    with pytest.raises(CubeError, match=r"Radiometry of 3 .* taken off twice on 2"):
        check_radiometry(bad)


def test_an_offset_that_is_declared_and_there_is_right(right: xr.Dataset):
    "Half of the season as ESA writes it since baseline 04.00: 1000 in the numbers, -1000 in the metadata."
    later = list(range(right.sizes["time"] // 2, right.sizes["time"]))
    table = radiometry(twice(left_in(right, later), later))
    pd.testing.assert_frame_equal(table, radiometry(right))
    check_radiometry(table)


# --- radiometry: no false alarm --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["simulated", "real"])
def test_every_date_of_a_right_season_is_right(name: str, request: pytest.FixtureRequest):
    whole = request.getfixturevalue(name)
    table = radiometry(whole)
    assert list(table.item_id) == list(whole.item_id.values)
    assert of(table, "right") == judged(table)
    assert len(judged(table)) == {"simulated": 89, "real": 9}[name]  # the others show less than 2 % of the area
    assert table.dark_B02.dropna().between(-0.01, 0.06).all()  # the limits leave a hundredth and two
    assert table.step_B02.abs().max() < 0.05 and not table.jump.any()
    check_radiometry(table)
    check_radiometry(whole, Mask(50, (4, 5, 6)))


@pytest.mark.parametrize("size", [160, 64, 40])
def test_small_areas_raise_no_false_alarm(right: xr.Dataset, size: int):
    rng = np.random.default_rng(size)
    for _ in range(8):
        y, x = (int(rng.integers(0, right.sizes[side] - size)) for side in ("y", "x"))
        check_radiometry(right.isel(y=slice(y, y + size), x=slice(x, x + size)))


def test_an_area_of_a_few_pixels_says_so(right: xr.Dataset):
    table = radiometry(right.isel(y=slice(0, 20), x=slice(0, 20)))
    assert set(table.verdict) == {"too few clear pixels"} and table.dark_B02.isna().all()
    check_radiometry(table)


def changed(whole: xr.Dataset, dates, change: Callable[[np.ndarray, str], np.ndarray]) -> xr.Dataset:
    "Change the reflectance of some dates: change(reflectance, band)."
    bands = {}
    for b in FEATURE_BANDS:
        dn = whole[b].values.copy()
        dn[dates] = np.where(dn[dates] > 0, np.clip(np.rint(change(dn[dates] * 1e-4, b) * 1e4), 1, None), 0)
        bands[b] = whole[b].copy(data=dn)
    return whole.assign(bands)


def haze(share: float) -> Callable:
    "Aerosol left in: strong in the blue, hardly there at 1.6 um (Angstrom exponent 1.3). 0.04 is much for L2A."
    return lambda rho, band: rho + share * (CENTRE_UM["B02"] / CENTRE_UM[band]) ** 1.3


EVENTS: dict[str, tuple[slice, Callable]] = {
    "a hazy day": (slice(2, 3), haze(0.04)),
    "a hazy last day": (slice(-1, None), haze(0.04)),
    "weeks of smoke": (slice(2, 7), haze(0.04)),
    "rain on the last days": (slice(-3, None), lambda rho, band: 0.8 * rho),
    "a fire that leaves nothing": (slice(4, None), lambda rho, band: 0.02 + 0.3 * rho),
}


@pytest.mark.parametrize("event", EVENTS)
def test_what_happens_in_the_field_is_not_an_offset(right: xr.Dataset, event: str):
    dates, change = EVENTS[event]
    table = radiometry(changed(right, dates, change))
    assert not of(table, *(verdict.value for verdict in quality.WRONG))
    assert len(of(table, "right")) >= len(judged(table)) - 6
    check_radiometry(table)


def test_a_cloud_that_the_mask_has_missed_is_not_an_offset(right: xr.Dataset):
    "Thin cloud over 60 % of the clear pixels of one date, which the scene classes call ground."
    t = int(clear_mask(right).mean(("y", "x")).values.argmax())
    under = np.arange(right.sizes["x"]) % 50 < 30
    bad = changed(right, slice(t, t + 1), lambda rho, band: np.where(under, rho + 0.2 * (0.6 - rho), rho))
    table = radiometry(bad)
    assert table.step_B02.abs().max() > 0.08  # as large as an offset
    check_radiometry(table)


@pytest.mark.parametrize(
    ("name", "soil"),
    [
        ("laterite", (500, 1300, 1700, 2500, 3400)),
        ("sandveld", (1000, 1750, 2050, 2500, 3300)),
        ("salt pan", (2600, 3200, 3400, 3600, 3000)),
        ("concrete", (1250, 1450, 1600, 1800, 2000)),
        ("burnt", (250, 350, 450, 600, 900)),
    ],
)
def test_bare_ground_alone_is_right_or_unsure_and_never_wrong(name: str, soil: tuple[int, ...]):
    rng = np.random.default_rng(5)
    wet = rng.uniform(0.9, 1.0, (20, 1, 1, 1))  # brightness from date to date, all bands alike
    dn = np.array(soil)[:, None, None] * wet + rng.normal(0, 40, (20, 5, 40, 40))
    bare = made_up(np.full((20, 40, 40), 5, np.uint8), dn)
    assert set(radiometry(bare).verdict) == {"unsure"}  # the limit of the test: without leaves, brightness says nothing
    check_radiometry(bare)
    if name in ("sandveld", "salt pan", "concrete"):  # all of it bright: which side of a step is wrong cannot be told
        with pytest.raises(CubeError, match="side unknown"):
            check_radiometry(left_in(bare, slice(10, 20)))
    table = radiometry(left_in(bare, [10]))
    assert of(table, "right", "unsure") == set(range(20)) - of(table, *(v.value for v in quality.WRONG))
    with pytest.raises(CubeError, match="I10"):
        check_radiometry(table)


# --- radiometry: the table and its picture ---------------------------------------------------------------------------


def test_a_lazy_cube_is_read_and_says_the_same(season: Path):
    found = items.search(settings.area(ROOT), settings.season(ROOT), catalogue=str(season / "catalog.json"))
    lazy = cube.load_cube(found.items[::8], cube.grid(found)[200:264, 300:364])
    pd.testing.assert_frame_equal(radiometry(lazy), radiometry(cube.fetch(lazy)))


def test_the_numbers_of_the_table_are_those_of_the_pixels(real: xr.Dataset):
    table = radiometry(real)
    clear, t = clear_mask(real).values, 6
    before = real.item_id.values.tolist().index(table.beside[t])
    assert table.clear_px[t] == clear[t].sum()
    both = clear[t] & clear[before]
    for band in FEATURE_BANDS:
        dark = np.percentile(real[band].values[t][clear[t]] * 1e-4, 1)
        step = np.median((real[band].values[t][both].astype(float) - real[band].values[before][both]) * 1e-4)
        assert table[f"dark_{band}"][t] == pytest.approx(dark, abs=2e-3)  # of a sample
        assert table[f"step_{band}"][t] == pytest.approx(step, abs=1e-3)


def test_clipped_is_what_the_features_read_as_zero(real: xr.Dataset):
    once, again = radiometry(real), radiometry(twice(real, slice(None)))
    assert once.clipped.max() < 0.01 < 0.5 < again.clipped.min()


def test_the_picture_shows_wrong_dates_in_red(simulated: xr.Dataset):
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    table = radiometry(left_in(simulated.isel(y=slice(0, 256), x=slice(256, 512)), [10, 36]))
    quality.plot_radiometry(ax, table)
    drawn = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    assert set(drawn) >= {"right", "wrong"}
    assert sorted(drawn["wrong"]) == sorted(table.dark_B02[[10, 36]]) and min(drawn["wrong"]) > 0.1
    plt.close("all")
