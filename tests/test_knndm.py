"""Folds matched by distance: what teaches nobody, but must hold."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scipy.spatial.distance import cdist

from geocrop.knndm import _from_other_fields, _merge, knndm, map_pixels, mismatch_m
from geocrop.schema import SampleError

REGULAR = np.stack(np.meshgrid(np.arange(1.0, 100, 2), np.arange(1.0, 100, 2)), axis=-1).reshape(-1, 2)  # 50 x 50


def between(one: np.ndarray, other: np.ndarray) -> float:
    "Area between two empirical distribution functions, by summing rectangles: slow, and of nobody's making."
    steps = np.unique(np.concatenate([one, other]))
    height = [abs((one <= x).mean() - (other <= x).mean()) for x in steps[:-1]]
    return float(np.sum(height * np.diff(steps)))


def clustered(parents: int, n: int, radius: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 100, (parents, 2))[rng.integers(0, parents, n)]
    angle, away = rng.uniform(0, 2 * np.pi, n), radius * np.sqrt(rng.uniform(0, 1, n))
    return np.clip(centre + np.column_stack([away * np.cos(angle), away * np.sin(angle)]), 0, 100)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(12, 60), k=st.integers(2, 4), grouped=st.booleans())
def test_distances_and_w_are_those_of_all_pairs(seed: int, n: int, k: int, grouped: bool):
    rng = np.random.default_rng(seed)
    xy, to = np.round(clustered(4, n, 5, seed), 1), rng.uniform(0, 100, (70, 2))  # rounded: some lie on each other
    field = rng.integers(0, n // 2, n) if grouped else np.arange(n)
    try:
        found = knndm(xy, to, k, groups=field if grouped else None)
    except SampleError as error:  # a few fields of uneven size
        assert grouped and "most samples in one fold" in str(error)
        return
    apart = cdist(xy, xy)
    star = np.where(found.fold[:, None] != found.fold, apart, np.inf).min(axis=1)
    assert np.allclose(found.gjstar, star)
    assert np.allclose(found.gj, np.where(field[:, None] != field, apart, np.inf).min(axis=1))
    assert np.allclose(found.gij, cdist(to, xy).min(axis=1))
    assert np.isclose(found.w, between(star, cdist(to, xy).min(axis=1)))
    assert np.isclose(found.w, mismatch_m(xy, to, found.fold))


@given(height=st.integers(1, 60), width=st.integers(1, 60), most=st.integers(1, 4000))
def test_pixels_that_stand_for_a_map(height: int, width: int, most: int):
    grid = GeoBox((height, width), Affine(10, 0, 5e5, 0, -10, 8e6), "EPSG:32736")
    xy = map_pixels(grid, most)
    assert 0 < len(xy) <= most
    every = {(5e5 + 10 * c + 5, 8e6 - 10 * r - 5) for r in range(height) for c in range(width)}
    assert {tuple(p) for p in xy} <= every and (most < height * width or len(xy) == len(every))


def test_a_large_field_looks_far_for_another():
    xy = np.column_stack([np.arange(500.0), np.zeros(500)])
    assert (_from_other_fields(xy, np.arange(500) // 499) == np.append(499 - np.arange(499.0), 1)).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), fields=st.integers(10, 60), k=st.integers(2, 5), n_classes=st.integers(1, 4))
def test_no_field_is_torn_and_no_class_is_alone(seed: int, fields: int, k: int, n_classes: int):
    rng = np.random.default_rng(seed)
    field = np.repeat(rng.permutation(1000)[:fields], rng.integers(1, 12, fields))
    xy = dict(zip(np.unique(field), clustered(5, fields, 4, seed), strict=True))
    xy = np.array([xy[f] for f in field]) + rng.normal(scale=0.1, size=(len(field), 2))
    classes = (field % n_classes) * 10
    try:
        found = knndm(xy, REGULAR, k, groups=field, classes=classes, seed=seed)
    except SampleError as error:
        assert "single field" in str(error) or "in each of" in str(error)
        return
    assert found.fold.shape == (len(field),) and 2 <= len(set(found.fold)) <= k
    assert all(len(set(found.fold[field == f])) == 1 for f in field)
    assert all(len(set(found.fold[classes == c])) >= 2 for c in classes)
    assert np.bincount(found.fold).max() <= max(0.5, 1.5 / k) * len(field)
    again = knndm(xy, REGULAR, k, groups=field, classes=classes, seed=seed)
    assert (again.fold == found.fold).all() and again.w == found.w


def same(one: np.ndarray, other: np.ndarray) -> bool:
    "Whether two foldings part the samples alike, whatever the numbers of their folds."
    return len(np.unique(np.column_stack([one, other]), axis=0)) == len(np.unique(one)) == len(np.unique(other))


@pytest.mark.parametrize("seed", range(4))
def test_folds_know_no_north_no_unit_and_no_order(seed: int):
    xy, field = clustered(12, 200, 3, seed), np.arange(200) // 2
    found = knndm(xy, REGULAR, 5, groups=field)
    assert found.clusters > 0
    turn = np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    for name, move in {
        "moved": lambda p: p + np.array([3e5, 8e6]), "turned": lambda p: p @ turn, "mirrored": lambda p: p * (-1, 1),
        "grown": lambda p: p * 10,
    }.items():  # fmt: skip
        other = knndm(move(xy), move(REGULAR), 5, groups=field)
        assert other.clusters == found.clusters and same(other.fold, found.fold), name
        assert np.isclose(other.w, found.w * (10 if name == "grown" else 1), rtol=1e-6), name
    order = np.random.default_rng(seed).permutation(200)
    mixed = knndm(xy[order], REGULAR[::-1], 5, groups=np.random.default_rng(9).permutation(100)[field][order])
    assert same(mixed.fold, found.fold[order]) and np.isclose(mixed.w, found.w)


@pytest.mark.parametrize("seed", range(3))
def test_the_examples_of_cast(seed: int):
    "A thousand samples in a square of 100, at random: as good as random folds; in 50 clusters of radius 5: better."
    rng = np.random.default_rng(seed)
    spread, close = rng.uniform(0, 100, (1000, 2)), clustered(50, 1000, 5, seed)
    random = rng.permutation(np.arange(1000) % 5)
    even = knndm(spread, REGULAR, 5)
    assert abs(even.w - mismatch_m(spread, REGULAR, random)) < 0.1 and np.ptp(np.bincount(even.fold)) <= 5
    found = knndm(close, REGULAR, 5)
    block = np.unique(close // 20, axis=0, return_inverse=True)[1].reshape(-1)
    blocks = rng.permutation(np.arange(block.max() + 1) % 5)[block]
    assert found.clusters > 5
    assert found.w < 0.5 * mismatch_m(close, REGULAR, random)
    assert found.w < mismatch_m(close, REGULAR, blocks)
    assert np.sort(np.unique(found.fold)).tolist() == [0, 1, 2, 3, 4]


def test_large_clusters_stay_whole_and_small_ones_take_turns_along_the_axis():
    "Six clusters of 50, 4 x 10 and 10 samples, three folds: the first is a fold, the others alternate as they lie."
    cluster = np.array([3, 0, 5, 1, 4, 2])
    place, weight = np.array([0.0, 1, 2, 3, 4, 5]), np.array([10, 50, 10, 10, 10, 10])
    assert _merge(cluster, weight, place, 3).tolist() == [1, 0, 2, 1, 2, 1]


def test_what_cannot_be_matched():
    xy = clustered(5, 40, 3, 0)
    with pytest.raises(SampleError, match="class 7 in a single field"):
        knndm(xy, REGULAR, 5, groups=np.arange(40) // 4, classes=[7] * 4 + [1] * 36)
    with pytest.raises(SampleError, match=r"k 5; 40 samples, 40 with fields \(4\)"):
        knndm(xy, REGULAR, 5, groups=np.arange(40) // 10)
    for k, wrong in ((1, {}), (5, {"classes": [1, 2]}), (5, {"groups": [1, 2]})):
        with pytest.raises(SampleError, match="two or more folds"):
            knndm(xy, REGULAR, k, **wrong)
    with pytest.raises(SampleError, match="Places of the prediction"):
        knndm(xy, [[np.nan, 1.0]], 5)
    with pytest.raises(SampleError, match="Places of the samples"):
        knndm(xy[:, 0], REGULAR, 5)
    two = np.concatenate([xy % 1, 90 + xy % 1])  # two villages, each with a class of its own
    split = knndm(two, REGULAR, 2, classes=np.repeat([1, 2], 40))
    assert all(len(set(split.fold[part])) == 2 for part in (slice(0, 40), slice(40, 80)))
