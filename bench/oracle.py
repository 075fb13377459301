"""The 51 features in double precision, one pixel after the other, as the definition reads: slow, and easy to check."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter
from season import Season

from geocrop.schema import CLEAR_SCL, FEATURE_ORDER_V1, NODE_DAYS, THIRDS

TOLERANCE = 1e-4  # absolute, of every feature but two
TOLERANCE_AUC = 1e-2  # index x days
TIE = 1e-6  # nodes that differ by less may both be called the peak


def indices(dn: NDArray[np.uint16]) -> NDArray[np.float64]:
    "ndvi, ndre, evi, savi, ndmi of digital numbers, shape (5, ...) to (5, ...)."
    blue, red, edge, nir, swir = dn * 1e-4
    with np.errstate(divide="ignore", invalid="ignore"):
        every = [
            (nir - red) / (nir + red),
            (nir - edge) / (nir + edge),
            2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1),
            1.5 * (nir - red) / (nir + red + 0.5),
            (nir - swir) / (nir + swir),
        ]
    return np.stack(every)


def nodes(days: NDArray, dn: NDArray[np.uint16], scl: NDArray[np.uint8], min_clear: int) -> NDArray[np.float64]:
    "Indices of one pixel at the nodes, not smoothed, shape (5, 28), from (time,), (time, 5), (time,)."
    values = indices(dn.T)
    clear = np.isin(scl, CLEAR_SCL) & (dn > 0).all(1) & np.isfinite(values).all(0)
    day, first = np.unique(days[clear], return_index=True)  # the first of a day wins
    if len(day) < min_clear:
        return np.full((5, len(NODE_DAYS)), np.nan)
    kept = np.clip(values[:, clear][:, first], -1, 1)
    return np.stack([np.interp(NODE_DAYS, day, series) for series in kept])


def season_nodes(season: Season, min_clear: int = 3) -> NDArray[np.float64]:
    "Indices of every pixel at the nodes, not smoothed, shape (5, 28, y, x); NaN where too few clear days."
    out = np.empty((5, len(NODE_DAYS), *season.scl.shape[1:]))
    for y, x in np.ndindex(season.scl.shape[1:]):
        out[..., y, x] = nodes(season.days, season.dn[:, :, y, x], season.scl[:, y, x], min_clear)
    return out


def smoothed(at_nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    "Savitzky-Golay along the nodes; NaN stays NaN."
    known = ~np.isnan(at_nodes[0, 0])
    out = np.full_like(at_nodes, np.nan)
    out[..., known] = savgol_filter(at_nodes[..., known], 5, 2, axis=1, mode="interp")
    return out


def features(smooth: NDArray[np.float64]) -> NDArray[np.float64]:
    "The 51 features of smoothed indices, shape (51, y, x) from (5, 28, y, x)."
    named = dict(zip(("ndvi", "ndre", "evi", "savi", "ndmi"), smooth, strict=True))
    value = {}
    for i in ("ndvi", "ndre", "evi"):
        v = named[i]
        slope = np.diff(v, axis=0) / 10
        value |= {
            f"{i}_amplitude": v.max(0) - v.min(0),
            f"{i}_auc": np.trapezoid(v, NODE_DAYS, axis=0),
            f"{i}_peak_step": np.where(np.isnan(v[0]), np.nan, v.argmax(0)),
            f"{i}_slope_up": slope.max(0),
            f"{i}_slope_down": slope.min(0),
        }
    for h in (1, 2):
        angle = 2 * np.pi * h * np.arange(28) / 28
        value[f"ndvi_h{h}_sin"] = 2 / 28 * np.tensordot(np.sin(angle), named["ndvi"], 1)
        value[f"ndvi_h{h}_cos"] = 2 / 28 * np.tensordot(np.cos(angle), named["ndvi"], 1)
    value["ndvi_ndre_peak_diff"] = named["ndvi"].max(0) - named["ndre"].max(0)
    value["canopy_contrast"] = named["ndvi"][10:19].mean(0) - named["ndvi"][:10].mean(0)
    for i, v in named.items():
        for third, nodes in THIRDS.items():
            value |= {f"{i}_{third}_mean": v[nodes].mean(0), f"{i}_{third}_max": v[nodes].max(0)}
    return np.stack([value[name] for name in FEATURE_ORDER_V1])


def differences(
    found: NDArray,  # Features of a contender, shape (51, y, x)
    smooth: NDArray[np.float64],  # Smoothed indices of the same pixels
) -> dict[str, float]:  # largest errors, and how many values of NaN and of peak_step differ
    "How far a contender is from the definition."
    expected = features(smooth)
    auc = np.array([name.endswith("_auc") for name in FEATURE_ORDER_V1])
    peak = np.array([name.endswith("_peak_step") for name in FEATURE_ORDER_V1])
    error = np.abs(found - expected)
    known = ~np.isnan(smooth[0, 0])
    at_found = np.take_along_axis(smooth[:3], np.nan_to_num(found[peak]).astype(int)[:, None], 1)[:, 0]
    below_peak = smooth[:3].max(1) - at_found
    return {
        "error": float(np.nanmax(error[~auc & ~peak])),
        "error_auc": float(np.nanmax(error[auc])),
        "nan_mismatches": int((np.isnan(found) != np.isnan(expected)).sum()),
        "peak_mismatches": int((below_peak[:, known] > TIE).sum()),
    }


def check(name: str, found: NDArray, smooth: NDArray[np.float64]) -> dict[str, float]:
    "The differences; stops where they are more than the definition allows: a wrong contender is not timed."
    d = differences(found, smooth)
    if d["error"] > TOLERANCE or d["error_auc"] > TOLERANCE_AUC or d["nan_mismatches"] or d["peak_mismatches"]:
        raise SystemExit(f"{name}: found {d}; expected what features v1 allows: {TOLERANCE}, {TOLERANCE_AUC}, 0, 0.")
    return d
