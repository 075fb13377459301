"""The 51 features in three other ways: whole arrays in NumPy, labelled arrays in xarray, one pixel at a time in numba.

All three compute exactly what features v1 defines; `oracle.check` holds them to it before they are timed.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr
from numba import njit
from numpy.typing import NDArray
from scipy.signal import savgol_filter
from season import Season

from geocrop.schema import CLEAR_SCL, FEATURE_BANDS, FEATURE_ORDER_V1, NODE_DAYS, THIRDS

Array = NDArray[np.float32]

NAMES = ("ndvi", "ndre", "evi", "savi", "ndmi")
ROW = {name: k for k, name in enumerate(FEATURE_ORDER_V1)}
NODES = np.array(NODE_DAYS)
SMOOTHING = savgol_filter(np.eye(28), 5, 2, axis=0, mode="interp")
ANGLE = 2 * np.pi * np.arange(28) / 28
HARMONICS = np.stack([2 / 28 * wave(h * ANGLE) for h in (1, 2) for wave in (np.sin, np.cos)])
MIN_CLEAR = 3

# --- NumPy, float32, all pixels at once or block by block ------------------------------------------------------------

IS_CLEAR = np.isin(np.arange(256), CLEAR_SCL)  # a table look-up is faster than np.isin of every observation


def numpy_indices(dn: NDArray[np.uint16]) -> Array:
    "Shape (5, time, pixel) from (time, 5, pixel)."
    blue, red, edge, nir, swir = (dn * np.float32(1e-4)).transpose(1, 0, 2)
    out = np.empty((5, *red.shape), np.float32)
    difference, total = nir - red, nir + red
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(difference, total, out=out[0])
        np.divide(nir - edge, nir + edge, out=out[1])
        np.divide(2.5 * difference, total + 5 * red - 7.5 * blue + 1, out=out[2])
        np.divide(1.5 * difference, total + 0.5, out=out[3])
        np.divide(nir - swir, nir + swir, out=out[4])
    return out


def numpy_seen(days: NDArray, dn: NDArray[np.uint16], scl: NDArray[np.uint8], series: Array) -> NDArray[np.bool_]:
    "Which observations count, shape (time, pixel)."
    seen = IS_CLEAR[scl]
    seen &= (dn != 0).all(1)
    seen &= np.isfinite(series).all(0)
    for t in np.flatnonzero(np.diff(days) == 0) + 1:
        seen[t] &= ~seen[np.searchsorted(days, days[t]) : t].any(0)  # the first of a day wins
    return seen


def nodes_one_by_one(days: NDArray, series: Array, seen: NDArray[np.bool_]) -> Array:
    "Interpolate: find the neighbours of a node by their numbers, fetch their values, go on to the next node."
    n_time, n_pixel = seen.shape
    steps = np.arange(n_time)[:, None]
    before = np.maximum.accumulate(np.where(seen, steps, -1), axis=0)  # last that counts, up to and with t
    after = np.minimum.accumulate(np.where(seen, steps, n_time)[::-1], axis=0)[::-1]  # first that counts, from t on
    out = np.empty((5, 28, n_pixel), np.float32)
    for n, node in enumerate(NODES):
        k = np.searchsorted(days, node, "right") - 1
        left = before[k] if k >= 0 else np.full(n_pixel, -1)
        k = np.searchsorted(days, node, "left")
        right = after[k] if k < n_time else np.full(n_pixel, n_time)
        left, right = np.where(left < 0, right, left), np.where(right == n_time, left, right)
        span = days[right] - days[left]
        weight = ((node - days[left]) / np.maximum(span, 1) * (span > 0)).astype(np.float32)
        low = np.take_along_axis(series, left[None, None], 1)[:, 0]
        high = np.take_along_axis(series, right[None, None], 1)[:, 0]
        out[:, n] = low + (high - low) * weight
    return out


def nodes_carried(days: NDArray, series: Array, seen: NDArray[np.bool_]) -> Array:
    "Interpolate: carry the last clear values and their day forward, the next ones back; a node finds both in a row."
    day = np.broadcast_to(days.astype(np.float32)[:, None], seen.shape)
    last = np.concatenate([series, day[None]])  # (5 indices and the day, time, pixel)
    last[:, ~seen] = np.nan
    following = last.copy()
    hidden = ~seen
    for t in range(1, len(days)):
        np.copyto(last[:, t], last[:, t - 1], where=hidden[t])
    for t in range(len(days) - 2, -1, -1):
        np.copyto(following[:, t], following[:, t + 1], where=hidden[t])
    k = np.searchsorted(days, NODES, "right") - 1
    left = last[:, np.maximum(k, 0)]
    left[:, k < 0] = np.nan
    k = np.searchsorted(days, NODES, "left")
    right = following[:, np.minimum(k, len(days) - 1)]
    right[:, k == len(days)] = np.nan
    left, right = np.where(np.isnan(left), right, left), np.where(np.isnan(right), left, right)
    span = right[5] - left[5]
    weight = (NODES[:, None].astype(np.float32) - left[5]) / np.maximum(span, 1)
    weight *= span > 0
    return left[:5] + (right[:5] - left[:5]) * weight


def numpy_describe(curves: Array) -> Array:
    "Shape (51, pixel) from smoothed curves (5, 28, pixel)."
    out = np.empty((len(FEATURE_ORDER_V1), curves.shape[2]), np.float32)
    for name, v in zip(NAMES, curves, strict=True):
        for third, nodes in THIRDS.items():
            out[ROW[f"{name}_{third}_mean"]] = v[nodes].mean(0)
            out[ROW[f"{name}_{third}_max"]] = v[nodes].max(0)
    for name, v in zip(NAMES[:3], curves[:3], strict=True):
        step = np.diff(v, axis=0)
        out[ROW[f"{name}_amplitude"]] = v.max(0) - v.min(0)
        out[ROW[f"{name}_auc"]] = 10 * (v.sum(0) - (v[0] + v[-1]) / 2)
        out[ROW[f"{name}_peak_step"]] = v.argmax(0)
        out[ROW[f"{name}_slope_up"]] = step.max(0) / 10
        out[ROW[f"{name}_slope_down"]] = step.min(0) / 10
    out[ROW["ndvi_h1_sin"] : ROW["ndvi_h2_cos"] + 1] = HARMONICS.astype(np.float32) @ curves[0]
    out[ROW["ndvi_ndre_peak_diff"]] = curves[0].max(0) - curves[1].max(0)
    out[ROW["canopy_contrast"]] = out[ROW["ndvi_peak_mean"]] - out[ROW["ndvi_early_mean"]]
    return out


Interpolation = Callable[[NDArray, Array, NDArray[np.bool_]], Array]


def numpy_curves(
    days: NDArray, dn: NDArray[np.uint16], scl: NDArray[np.uint8], interpolate: Interpolation = nodes_carried
) -> Array:
    "Smoothed indices of a row of pixels, shape (5, 28, pixel), NaN where too few clear days."
    series = numpy_indices(dn)
    seen = numpy_seen(days, dn, scl, series)
    few = seen.sum(0) < MIN_CLEAR
    seen[0] |= few  # so that every pixel has a neighbour to take; the result is dropped
    curves = SMOOTHING.astype(np.float32) @ interpolate(days, np.clip(series, -1, 1, out=series), seen)
    curves[..., few] = np.nan
    return curves


def numpy_features(
    season: Season,
    interpolate: Interpolation = nodes_carried,
    block: int | None = 2048,  # Pixels at a time, chosen by trial: temporaries stay in the cache; None is all
) -> Array:
    "Features v1, shape (51, y, x)."
    n_time, height, width = season.scl.shape
    dn, scl = season.dn.reshape(n_time, 5, -1), season.scl.reshape(n_time, -1)
    out = np.empty((len(FEATURE_ORDER_V1), height * width), np.float32)
    size = block or height * width
    for start in range(0, height * width, size):
        part = slice(start, start + size)
        curves = numpy_curves(season.days, dn[:, :, part], scl[:, part], interpolate)
        out[:, part] = numpy_describe(curves)
        out[:, part][:, np.isnan(curves[0, 0])] = np.nan
    return out.reshape(-1, height, width)


# --- xarray ----------------------------------------------------------------------------------------------------------


def xarray_indices(dn: xr.DataArray, scl: xr.DataArray) -> xr.Dataset:
    "Clear observations of five indices, one for each day, NaN elsewhere."
    blue, red, edge, nir, swir = (dn.sel(band=name, drop=True) * np.float32(1e-4) for name in FEATURE_BANDS)
    indices = xr.Dataset(
        {
            "ndvi": (nir - red) / (nir + red),
            "ndre": (nir - edge) / (nir + edge),
            "evi": 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1),
            "savi": 1.5 * (nir - red) / (nir + red + 0.5),
            "ndmi": (nir - swir) / (nir + swir),
        }
    )
    clear = scl.isin(CLEAR_SCL) & (dn > 0).all("band") & np.isfinite(indices.to_array()).all("variable")
    return indices.clip(-1, 1).where(clear).groupby("day").first()


def at_nodes(values: Array, days: NDArray) -> Array:
    "One series at the nodes, constant beyond its ends."
    seen = np.isfinite(values)
    return np.interp(NODES, days[seen], values[seen]) if seen.any() else np.zeros(28)


def xarray_features(season: Season) -> Array:
    "Features v1 as they are written with labels: where, groupby, apply_ufunc, sel, reductions."
    dn = xr.DataArray(season.dn, {"day": season.days, "band": list(FEATURE_BANDS)}, ("day", "band", "y", "x"))
    scl = xr.DataArray(season.scl, {"day": season.days}, ("day", "y", "x"))
    series = xarray_indices(dn, scl)
    nodes = xr.apply_ufunc(
        at_nodes, series, series.day, input_core_dims=[["day"], ["day"]], output_core_dims=[["node"]], vectorize=True
    ).assign_coords(node=NODES)
    v = xr.apply_ufunc(savgol_filter, nodes, 5, 2, input_core_dims=[["node"], [], []], output_core_dims=[["node"]])
    out = {}
    for name in ("ndvi", "ndre", "evi"):
        slope = v[name].diff("node") / 10
        out[f"{name}_amplitude"] = v[name].max("node") - v[name].min("node")
        out[f"{name}_auc"] = v[name].integrate("node")
        out[f"{name}_peak_step"] = v[name].argmax("node")
        out[f"{name}_slope_up"] = slope.max("node")
        out[f"{name}_slope_down"] = slope.min("node")
    waves = xr.DataArray(HARMONICS, {"wave": ["h1_sin", "h1_cos", "h2_sin", "h2_cos"], "node": NODES})
    harmonics = xr.dot(v.ndvi, waves, dim="node")
    out |= {f"ndvi_{name}": harmonics.sel(wave=name, drop=True) for name in waves.wave.values}
    for third, steps in THIRDS.items():
        part = v.isel(node=steps)
        for name in NAMES:
            out[f"{name}_{third}_mean"], out[f"{name}_{third}_max"] = part[name].mean("node"), part[name].max("node")
    out["ndvi_ndre_peak_diff"] = v.ndvi.max("node") - v.ndre.max("node")
    out["canopy_contrast"] = out["ndvi_peak_mean"] - out["ndvi_early_mean"]
    enough = series.ndvi.notnull().sum("day") >= MIN_CLEAR
    features = xr.Dataset(out)[list(FEATURE_ORDER_V1)].to_array("feature").where(enough)
    return features.astype(np.float32).transpose("feature", "y", "x").values


# --- numba, one pixel after the other --------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def pixel_series(days, dn, scl, y, x, day, series):
    "Clear observations of one pixel into `day` and `series`; how many."
    n = 0
    for t in range(len(days)):
        if not 4 <= scl[t, y, x] <= 7 or (n > 0 and day[n - 1] == days[t]):
            continue
        b02, b04, b05, b08, b11 = dn[t, 0, y, x], dn[t, 1, y, x], dn[t, 2, y, x], dn[t, 3, y, x], dn[t, 4, y, x]
        if b02 == 0 or b04 == 0 or b05 == 0 or b08 == 0 or b11 == 0:
            continue
        blue, red, edge, nir, swir = b02 * 1e-4, b04 * 1e-4, b05 * 1e-4, b08 * 1e-4, b11 * 1e-4
        below_evi = nir + 6 * red - 7.5 * blue + 1
        if below_evi == 0:
            continue
        day[n] = days[t]
        series[0, n] = (nir - red) / (nir + red)
        series[1, n] = (nir - edge) / (nir + edge)
        series[2, n] = min(1.0, max(-1.0, 2.5 * (nir - red) / below_evi))
        series[3, n] = min(1.0, max(-1.0, 1.5 * (nir - red) / (nir + red + 0.5)))
        series[4, n] = (nir - swir) / (nir + swir)
        n += 1
    return n


@njit(cache=True, nogil=True)
def pixel_curve(day, series, n, node, curve):
    "Interpolate one series to the nodes, and smooth it into `curve`."
    j = 0
    for k in range(28):
        while j < n and day[j] < 10 * k:
            j += 1
        if j == 0:
            node[k] = series[0]
        elif j == n:
            node[k] = series[n - 1]
        else:
            weight = (10 * k - day[j - 1]) / (day[j] - day[j - 1])
            node[k] = series[j - 1] + (series[j] - series[j - 1]) * weight
    for k in range(28):
        first = min(max(k - 2, 0), 23)
        curve[k] = 0.0
        for m in range(first, first + 5):
            curve[k] += SMOOTHING[k, m] * node[m]


@njit(cache=True, nogil=True)
def pixel_describe(curves, out, y, x):
    "The 51 features of one pixel's curves."
    f = 0
    for i in range(3):
        v = curves[i]
        high, low, total, peak, up, down = v[0], v[0], v[0], 0, -np.inf, np.inf
        for k in range(1, 28):
            if v[k] > high:
                high, peak = v[k], k
            low, total = min(low, v[k]), total + v[k]
            up, down = max(up, v[k] - v[k - 1]), min(down, v[k] - v[k - 1])
        out[f, y, x], out[f + 1, y, x], out[f + 2, y, x] = high - low, 10 * (total - (v[0] + v[27]) / 2), peak
        out[f + 3, y, x], out[f + 4, y, x] = up / 10, down / 10
        f += 5
    for h in range(4):
        total = 0.0
        for k in range(28):
            total += HARMONICS[h, k] * curves[0, k]
        out[f, y, x] = total
        f += 1
    f += 2  # the two that compare are made from the thirds
    for i in range(5):
        for start, stop in ((0, 10), (10, 19), (19, 28)):
            high, total = curves[i, start], 0.0
            for k in range(start, stop):
                high, total = max(high, curves[i, k]), total + curves[i, k]
            out[f, y, x], out[f + 1, y, x] = total / (stop - start), high
            f += 2
    ndvi_peak = max(out[22, y, x], out[24, y, x], out[26, y, x])
    out[19, y, x] = ndvi_peak - max(out[28, y, x], out[30, y, x], out[32, y, x])
    out[20, y, x] = out[23, y, x] - out[21, y, x]


@njit(cache=True, nogil=True)
def pixel_loop(days, dn, scl):
    "Features v1 of one pixel after the other."
    n_time, height, width = scl.shape
    out = np.full((51, height, width), np.nan, np.float32)
    day, series = np.empty(n_time, np.int64), np.empty((5, n_time))
    node, curves = np.empty(28), np.empty((5, 28))
    for y in range(height):
        for x in range(width):
            n = pixel_series(days, dn, scl, y, x, day, series)
            if n < MIN_CLEAR:
                continue
            for i in range(5):
                pixel_curve(day, series[i], n, node, curves[i])
            pixel_describe(curves, out, y, x)
    return out


def numba_features(season: Season) -> Array:
    "Features v1, shape (51, y, x)."
    return pixel_loop(season.days, season.dn, season.scl)
