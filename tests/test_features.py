"""FEATURE_ORDER_V1 against a second, slow reading of its definition: one pixel, one date, one number at a time."""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import savgol_filter

from geocrop.kernels import BLOCK_PX, SMOOTHING, definition_v1, features_v1
from geocrop.schema import FEATURE_ORDER_V1, CubeError

NODES = range(0, 280, 10)
THIRDS = {"early": range(0, 10), "peak": range(10, 19), "late": range(19, 28)}


def index(name: str, one: int, b02: int, b04: int, b05: int, b08: int, b11: int) -> float:
    "An index of one observation, in whole digital numbers (`one` is reflectance 1); NaN where it divides by zero."
    above, below = {
        "ndvi": (b08 - b04, b08 + b04),
        "ndre": (b08 - b05, b08 + b05),
        "evi": (5 * (b08 - b04), 2 * b08 + 12 * b04 - 15 * b02 + 2 * one),
        "savi": (3 * (b08 - b04), 2 * (b08 + b04) + one),
        "ndmi": (b08 - b11, b08 + b11),
    }[name]
    return above / below if below != 0 else math.nan


def one_pixel(days, dn, scl, scale, offset, min_clear) -> list[float] | None:
    "The 51 numbers of a pixel, or None where it was seen too rarely."
    clear: dict[int, dict[str, float]] = {}
    for t in range(len(days)):
        if scl[t] not in (4, 5, 6, 7) or any(int(v) == 0 for v in dn[t]) or int(days[t]) in clear:
            continue
        numbers = [max(0, int(v) + round(offset[t] / scale[t])) for v in dn[t]]
        values = {name: index(name, round(1 / scale[t]), *numbers) for name in ("ndvi", "ndre", "evi", "savi", "ndmi")}
        if all(math.isfinite(v) for v in values.values()):
            clear[int(days[t])] = {name: min(1.0, max(-1.0, v)) for name, v in values.items()}
    if len(clear) < max(min_clear, 1):
        return None
    seen = sorted(clear)
    curve = {}
    for name in ("ndvi", "ndre", "evi", "savi", "ndmi"):
        nodes = []
        for node in NODES:
            if node <= seen[0]:
                nodes.append(clear[seen[0]][name])
            elif node >= seen[-1]:
                nodes.append(clear[seen[-1]][name])
            else:
                after = next(d for d in seen if d >= node)
                before = max(d for d in seen if d <= node)
                low, high = clear[before][name], clear[after][name]
                nodes.append(low if after == before else low + (high - low) * (node - before) / (after - before))
        curve[name] = savgol_filter(nodes, 5, 2, mode="interp").tolist()
    out = {}
    for name in ("ndvi", "ndre", "evi"):
        v = curve[name]
        steps = [(b - a) / 10 for a, b in itertools.pairwise(v)]
        out[f"{name}_amplitude"] = max(v) - min(v)
        out[f"{name}_auc"] = sum((a + b) / 2 * 10 for a, b in itertools.pairwise(v))
        out[f"{name}_peak_step"] = float(v.index(max(v)))
        out[f"{name}_slope_up"], out[f"{name}_slope_down"] = max(steps), min(steps)
    for h in (1, 2):
        for wave, f in (("sin", math.sin), ("cos", math.cos)):
            out[f"ndvi_h{h}_{wave}"] = (
                2 / 28 * sum(v * f(2 * math.pi * h * n / 28) for n, v in enumerate(curve["ndvi"]))
            )
    out["ndvi_ndre_peak_diff"] = max(curve["ndvi"]) - max(curve["ndre"])
    mean = {(name, third): sum(v[n] for n in at) / len(at) for name, v in curve.items() for third, at in THIRDS.items()}
    out["canopy_contrast"] = mean["ndvi", "peak"] - mean["ndvi", "early"]
    for name, v in curve.items():
        for third, at in THIRDS.items():
            out[f"{name}_{third}_mean"], out[f"{name}_{third}_max"] = mean[name, third], max(v[n] for n in at)
    return [out[name] for name in FEATURE_ORDER_V1] + curve_ties(curve)


def curve_ties(curve: dict[str, list[float]]) -> list[float]:
    "Behind the 51 numbers: whether another node comes within 1e-6 of the maximum, for the three peaks."
    return [float(sum(v > max(curve[name]) - 1e-6 for v in curve[name]) > 1) for name in ("ndvi", "ndre", "evi")]


def compare(days, dn, scl, scale=1e-4, offset=0.0, min_clear=3) -> int:
    "Hold kernel and definition to the tolerances of features_v1.md; returns the number of pixels that have features."
    how = {"scale": scale, "offset": offset, "min_clear": min_clear}
    kernel, definition = (agree(f(days, dn, scl, **how), days, dn, scl, **how) for f in (features_v1, definition_v1))
    assert kernel == definition
    return kernel


def agree(got, days, dn, scl, *, scale, offset, min_clear) -> int:
    scale, offset = (np.broadcast_to(v, len(days)) for v in (scale, offset))
    compared = 0
    for y, x in np.ndindex(*scl.shape[1:]):
        expected = one_pixel(days, dn[:, :, y, x], scl[:, y, x], scale, offset, min_clear)
        here = got[:, y, x].astype(float)
        assert np.isnan(here).all() if expected is None else not np.isnan(here).any()
        if expected is None:
            continue
        compared += 1
        ties = dict(zip(("ndvi", "ndre", "evi"), expected[51:], strict=True))
        for name, value, truth in zip(FEATURE_ORDER_V1, here, expected[:51], strict=True):
            if name.endswith("peak_step"):
                assert value == truth or ties[name.split("_")[0]], name
            else:
                assert abs(value - truth) <= (1e-2 if name.endswith("auc") else 1e-4), (name, value, truth)
    return compared


@st.composite
def seasons(draw):
    "Any season that an archive might hold: few dates or many, repeated, unsorted, outside the season, extreme numbers."
    n = draw(st.integers(1, 9))
    days = np.array(draw(st.lists(st.integers(-20, 300), min_size=n, max_size=n)))
    repeat = draw(st.booleans())
    days = np.where(np.arange(n) % 2, np.roll(days, 1), days) if repeat else days
    number = st.one_of(st.sampled_from([0, 1, 65535]), st.integers(1, 6000))
    dn = draw(arrays(np.uint16, (n, 5, 2, 2), elements=number))
    scl = draw(arrays(np.uint8, (n, 2, 2), elements=st.sampled_from([0, 2, 3, 4, 4, 4, 5, 5, 6, 7, 8, 9, 11])))
    offset = np.array(draw(st.lists(st.sampled_from([0.0, -0.1]), min_size=n, max_size=n)))
    return days, dn, scl, offset, draw(st.integers(0, 5))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seasons())
def test_any_season_agrees_with_the_definition(season):
    days, dn, scl, offset, min_clear = season
    compare(days, dn, scl, offset=offset, min_clear=min_clear)


@pytest.mark.parametrize("clear", range(6))
def test_so_many_clear_days_and_no_more(clear: int):
    rng = np.random.default_rng(clear)
    days, dn = np.arange(0, 180, 30), rng.integers(300, 5000, (6, 5, 3, 3)).astype(np.uint16)
    scl = np.full((6, 3, 3), 9, np.uint8)
    scl[rng.permutation(6)[:clear]] = 4
    assert compare(days, dn, scl) == (9 if clear >= 3 else 0)


def test_a_season_of_fifty_dates_agrees():
    rng = np.random.default_rng(11)
    days = np.sort(rng.integers(0, 274, 50))
    dn = rng.integers(1, 7000, (50, 5, 6, 6)).astype(np.uint16)
    scl = rng.choice(np.array([4, 5, 8, 9, 3], np.uint8), (50, 6, 6))
    assert compare(days, dn, scl, offset=np.where(rng.random(50) < 0.5, -0.1, 0.0)) == 36


def test_real_pixels_agree(shared_data: Path):
    "Every 23rd pixel of the nine real dates of Herault 2018, read here without the cube."
    import json

    items = sorted((shared_data / "herault_2018/s2_l2a").glob("*/S2*.json"))
    days, dn, scl = [], [], []
    for item in items:
        stamp = json.loads(item.read_text())["properties"]["datetime"][:10]
        days.append(int((np.datetime64(stamp) - np.datetime64("2018-01-15")).astype(int)))
        bands = []
        for name in ("B02", "B04", "B05", "B08", "B11", "SCL"):
            with rasterio.open(item.parent / f"{name}.tif") as tif:
                image = tif.read(1)
            bands.append(image if image.shape == (353, 232) else image.repeat(2, 0).repeat(2, 1)[:353, :232])
        dn.append(np.stack(bands[:5])[:, ::23, ::23])
        scl.append(bands[5][::23, ::23].astype(np.uint8))
    assert compare(np.array(days), np.stack(dn), np.stack(scl)) > 100


def test_blocks_of_pixels_do_not_show():
    "Images of less than a block, of some, and of a number that does not divide, in one piece, in parts, by threads."
    rng = np.random.default_rng(3)
    days, width = np.array([3, 50, 90, 140, 200]), 5 * BLOCK_PX + 77
    dn = rng.integers(200, 5000, (5, 5, 1, width)).astype(np.uint16)
    scl = rng.choice(np.array([4, 9], np.uint8), (5, 1, width))
    whole = features_v1(days, dn, scl)
    assert np.isnan(whole[0]).any() and not np.isnan(whole[0]).all()
    for cut in (1, 100, BLOCK_PX, 3 * BLOCK_PX + 5):
        parts = [features_v1(days, dn[..., s], scl[..., s]) for s in (slice(0, cut), slice(cut, None))]
        np.testing.assert_array_equal(whole, np.concatenate(parts, -1))
    cuts = [slice(0, 2 * BLOCK_PX), slice(2 * BLOCK_PX, 4 * BLOCK_PX), slice(4 * BLOCK_PX, width)]
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(lambda cut: features_v1(days, dn[..., cut], scl[..., cut]), cuts))
    np.testing.assert_array_equal(np.concatenate(parts, -1), whole)


def test_a_view_gives_the_same_as_a_copy():
    rng = np.random.default_rng(4)
    dn = rng.integers(200, 5000, (6, 5, 20, 30)).astype(np.uint16)
    scl = rng.choice(np.array([4, 5, 9], np.uint8), (6, 20, 30))
    days = np.arange(6) * 40
    part = features_v1(days, dn[:, :, 3:17:2, 5:9], scl[:, 3:17:2, 5:9])
    np.testing.assert_array_equal(part, features_v1(days, dn, scl)[:, 3:17:2, 5:9])


def test_no_date_at_all_is_no_feature():
    got = features_v1(np.zeros(0, int), np.zeros((0, 5, 2, 3), np.uint16), np.zeros((0, 2, 3), np.uint8))
    assert got.shape == (51, 2, 3) and np.isnan(got).all()


def test_a_denominator_of_zero_is_not_clear():
    "EVI of a bluish cloud: 2 nir + 12 red + 20000 = 15 blue; a day without a sight, not one with EVI 1 or -1."
    days, scl = np.array([0, 60, 120, 180]), np.full((4, 1, 1), 4, np.uint8)
    dn = np.broadcast_to(np.array([600, 900, 1200, 2600, 2000], np.uint16), (4, 5)).copy()
    dn[2] = 2400, 950, 1200, 2300, 2000
    assert 2 * 2300 + 12 * 950 + 20000 == 15 * 2400
    expected = features_v1(days[[0, 1, 3]], dn[[0, 1, 3], :, None, None], scl[[0, 1, 3]])
    np.testing.assert_array_equal(features_v1(days, dn[:, :, None, None], scl), expected)
    assert compare(days, dn[:, :, None, None], scl) == 1
    dark = np.where(np.arange(4)[:, None] == 2, 1000, dn + 1000).astype(np.uint16)[:, :, None, None]  # 0 by 0
    np.testing.assert_array_equal(features_v1(days, dark, scl, offset=-0.1), expected)


@pytest.mark.parametrize(
    ("days", "how"),
    [([0.5, 1.5, 3.0], {}), ([[0, 1, 2]], {}), ([0, 1, 2], {"scale": 0.0}), ([0, 1, 2], {"offset": np.nan}), ([0], {})],
)
def test_dates_that_make_no_sense_are_refused(days, how):
    with pytest.raises(CubeError, match=r"found .*; expected"):
        features_v1(np.array(days), np.ones((3, 5, 1, 1), np.uint16), np.full((3, 1, 1), 4, np.uint8), **how)


def test_smoothing_is_that_of_savitzky_and_golay():
    expected = savgol_filter(np.eye(28), 5, 2, axis=0, mode="interp")
    np.testing.assert_allclose(SMOOTHING, expected, rtol=0, atol=1e-14)
