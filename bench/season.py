"""A made-up season for the kernels: fields that green up and ripen, noise, clouds in patches, repeated days."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from scipy.stats import beta

# Reflectance of B02 B04 B05 B08 B11: dry soil, a closed canopy, and the white of a cloud. Round numbers of the
# savanna in the growing season; they decide the values, not the work.
SOIL = np.array([0.10, 0.16, 0.19, 0.24, 0.33])
CANOPY = np.array([0.03, 0.03, 0.09, 0.45, 0.18])
CLOUD = np.array([0.60, 0.58, 0.60, 0.65, 0.45])

FIELD_PX = 40  # side of a field of 16 ha
CLOUDY = (0.6, 0.9)  # beta distribution of a scene's share: 40 % in the mean, some scenes clear, some overcast
NOISE = 0.02  # of the reflectance, per observation


@dataclass(frozen=True, slots=True)
class Season:
    "What every contender is given."

    days: NDArray[np.int64]  # Day since the season's start, shape (time,), ascending, some twice
    dn: NDArray[np.uint16]  # Shape (time, 5, y, x), bands B02 B04 B05 B08 B11, 0 = not seen
    scl: NDArray[np.uint8]  # Shape (time, y, x)

    @property
    def pixels(self) -> int:
        return self.scl[0].size

    def sample(
        self,
        pixels: int,  # At most so many, or a few more
    ) -> "Season":
        "Every so-manieth pixel of every so-manieth row, contiguous."
        step = max(1, round((self.pixels / pixels) ** 0.5))
        part = np.s_[..., ::step, ::step]
        return Season(self.days, np.ascontiguousarray(self.dn[part]), np.ascontiguousarray(self.scl[part]))


def revisits(n_dates: int, rng: np.random.Generator) -> NDArray[np.int64]:
    "Days of the scenes: evenly over nine months, one in twelve seen twice (overlap of two orbits' tiles)."
    n_twice = n_dates // 12
    days = np.linspace(2, 272, n_dates - n_twice).round().astype(np.int64)
    return np.sort(np.concatenate([days, rng.choice(days, n_twice, replace=False)]))


def fields(side: int, rng: np.random.Generator) -> NDArray[np.intp]:
    "Number of the field that each pixel belongs to, shape (y, x)."
    centres = rng.uniform(0, side, (max(4, (side // FIELD_PX) ** 2), 2))
    return cKDTree(centres).query(np.indices((side, side)).reshape(2, -1).T)[1].reshape(side, side)


def patches(side: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    "Coherent patches over a share of the area."
    field = gaussian_filter(rng.standard_normal((side, side), np.float32), side / 10, mode="wrap")
    return field < np.quantile(field, share)


def cover(field: NDArray[np.intp], days: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    "Share of the ground that is green, shape (time, field): up and down along two logistics."
    n = field.max() + 1
    up, length = rng.uniform(50, 130, n), rng.uniform(70, 130, n)
    peak, base = rng.uniform(0.4, 0.95, n), rng.uniform(0.02, 0.15, n)
    day = days[:, None]
    rise, fall = 1 / (1 + np.exp(-(day - up) / 9)), 1 / (1 + np.exp((day - up - length) / 12))
    return (base + (peak - base) * rise * fall).astype(np.float32)


def simulate(
    pixels: int,  # About so many; a square
    n_dates: int = 50,
    seed: int = 36,
) -> Season:
    "A season of fields, the same for the same arguments."
    rng = np.random.default_rng(seed)
    side = round(pixels**0.5)
    days, field = revisits(n_dates, rng), fields(side, rng)
    green = cover(field, days, rng)
    vigour = rng.normal(1, 0.05, (side, side)).astype(np.float32)  # no two pixels of a field are alike
    shares = rng.permutation(beta.ppf((np.arange(n_dates) + 0.5) / n_dates, *CLOUDY))
    dn = np.empty((n_dates, 5, side, side), np.uint16)
    scl = np.empty((n_dates, side, side), np.uint8)
    for t in range(n_dates):
        share = np.clip(green[t][field] * vigour, 0, 1)
        cloudy = patches(side, shares[t], rng)
        for b in range(5):
            seen = SOIL[b] + (CANOPY[b] - SOIL[b]) * share
            seen = np.where(cloudy, CLOUD[b], seen) * rng.normal(1, NOISE, (side, side)).astype(np.float32)
            dn[t, b] = np.clip(np.rint(seen * 1e4), 1, 65535)
        scl[t] = np.where(cloudy, rng.choice([3, 8, 9, 10]), np.where(share > 0.3, 4, 5))
    wedge = np.add.outer(np.arange(side), np.arange(side)) < side // 3  # the edge of a swath: nothing seen
    dn[::7, :, wedge], scl[::7, wedge] = 0, 0
    scl[:, : side // 40, : side // 40] = 9  # never clear
    return Season(days, dn, scl)
