"""FEATURE_ORDER_V1 against a second, slow reading of its definition: one pixel, one date, one number at a time."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import savgol_filter

from geocrop.kernels import features_v1
from geocrop.schema import FEATURE_ORDER_V1

NODES = range(0, 280, 10)
THIRDS = {"early": range(0, 10), "peak": range(10, 19), "late": range(19, 28)}


def index(name: str, b02: float, b04: float, b05: float, b08: float, b11: float) -> float:
    "An index of one observation; NaN where it divides by zero."
    above, below = {
        "ndvi": (b08 - b04, b08 + b04),
        "ndre": (b08 - b05, b08 + b05),
        "evi": (2.5 * (b08 - b04), b08 + 6 * b04 - 7.5 * b02 + 1),
        "savi": (1.5 * (b08 - b04), b08 + b04 + 0.5),
        "ndmi": (b08 - b11, b08 + b11),
    }[name]
    return above / below if below != 0 else math.nan


def one_pixel(days, dn, scl, scale, offset, min_clear) -> list[float] | None:
    "The 51 numbers of a pixel, or None where it was seen too rarely."
    clear: dict[int, dict[str, float]] = {}
    for t in range(len(days)):
        if scl[t] not in (4, 5, 6, 7) or any(int(v) == 0 for v in dn[t]) or int(days[t]) in clear:
            continue
        reflectance = [max(0, int(v) + round(offset[t] / scale[t])) * scale[t] for v in dn[t]]
        values = {name: index(name, *reflectance) for name in ("ndvi", "ndre", "evi", "savi", "ndmi")}
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
    "Hold the tolerances of the definition; returns the number of pixels that have features."
    got = features_v1(days, dn, scl, scale=scale, offset=offset, min_clear=min_clear)
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
    "More pixels than one block holds, and a number that does not divide."
    rng = np.random.default_rng(3)
    days = np.array([3, 50, 90, 140, 200])
    dn = rng.integers(200, 5000, (5, 5, 1, 8192 + 77)).astype(np.uint16)
    scl = rng.choice(np.array([4, 9], np.uint8), (5, 1, 8192 + 77))
    whole = features_v1(days, dn, scl)
    apart = np.concatenate(
        [features_v1(days, dn[..., s], scl[..., s]) for s in (slice(0, 5000), slice(5000, None))], -1
    )
    np.testing.assert_array_equal(whole, apart)
    assert np.isnan(whole[0]).any() and not np.isnan(whole[0]).all()
