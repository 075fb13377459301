"""Scores against scikit-learn, intervals and areas against simulation."""

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from geocrop.accuracy import area_adjusted, confusion, cross_validate, interval, macro_f1, overall, scores
from geocrop.schema import Legend, SampleError

LEGEND = Legend.of([{"id": i, "name": f"crop_{i}", "colour": "#000000"} for i in (4, 1, 7, 2)])
ids = st.sampled_from(LEGEND.ids)
labelled = st.lists(st.tuples(ids, ids, st.integers(0, 6)), min_size=1, max_size=60)  # reference, map, field


@settings(max_examples=150, deadline=None)
@given(rows=labelled)
def test_scores_are_those_of_scikit_learn(rows: list):
    truth, mapped, _ = np.array(rows).T
    counted = confusion(truth, mapped, LEGEND.ids)
    assert counted.dtype == np.int64 and counted.sum() == len(rows)
    assert (counted == metrics.confusion_matrix(truth, mapped, labels=LEGEND.ids)).all()
    found = scores(counted, LEGEND)
    assert np.isclose(found.overall, metrics.accuracy_score(truth, mapped))
    assert np.isclose(found.macro_f1, metrics.f1_score(truth, mapped, average="macro"))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, mapped, labels=LEGEND.ids, zero_division=np.nan
    )
    assert np.allclose(found.precision, precision, equal_nan=True) and np.allclose(found.recall, recall, equal_nan=True)
    occurs = np.isin(LEGEND.ids, [*truth, *mapped])
    assert np.allclose(np.array(found.f1)[occurs], f1[occurs]) and np.isnan(np.array(found.f1)[~occurs]).all()
    assert found.support == tuple(support) and sum(found.mapped) == len(rows)
    assert np.isclose(found.balanced_accuracy, np.nanmean(recall))


@settings(max_examples=60, deadline=None)
@given(rows=labelled, seed=st.integers(0, 99))
def test_order_of_pixels_and_classes_does_not_matter(rows: list, seed: int):
    truth, mapped, _ = np.array(rows).T
    shuffle, turn = np.random.default_rng(seed).permutation(len(rows)), np.random.default_rng(seed).permutation(4)
    counted = confusion(truth, mapped, LEGEND.ids)
    assert (counted == confusion(truth[shuffle], mapped[shuffle], LEGEND.ids)).all()
    turned = [LEGEND.ids[i] for i in turn]
    assert (confusion(truth, mapped, turned) == counted[np.ix_(turn, turn)]).all()
    assert np.isclose(macro_f1(counted), macro_f1(counted[np.ix_(turn, turn)]))
    stack = np.stack([counted, counted.T])  # leading axes are separate maps
    assert np.allclose(macro_f1(stack), [macro_f1(counted), macro_f1(counted.T)])


@pytest.mark.parametrize("bad", [0, 255, 5])
def test_a_class_outside_the_legend(bad: int):
    with pytest.raises(SampleError, match=rf"Mapped classes: found \[{bad}\] in 1 of 3"):
        confusion([1, 1, 2], [1, bad, 2], LEGEND.ids)
    with pytest.raises(SampleError, match="Reference classes"):
        confusion([1, bad], [1, 1], LEGEND.ids)


def test_columns_of_unequal_length():
    with pytest.raises(SampleError, match="one value for each pixel"):
        confusion([1, 1], [1], LEGEND.ids)
    with pytest.raises(SampleError, match=r"expected \(4, 4\)"):
        scores(np.zeros((3, 3), int), LEGEND)


# --- intervals ----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(rows=labelled)
def test_interval_equals_the_plain_bootstrap(rows: list):
    truth, mapped, group = np.array(rows).T
    names = np.unique(group)
    if len(names) < 2:
        with pytest.raises(SampleError, match="two or more"):
            interval(truth, mapped, group, LEGEND.ids)
        return
    low, high = interval(truth, mapped, group, LEGEND.ids, draws=20, seed=3)
    counts = {field: [int((truth[group == field] == c).sum()) for c in LEGEND.ids] for field in names}
    own = np.array([LEGEND.ids[int(np.argmax(counts[field]))] for field in names])  # commonest class, first of equals
    rng, times = np.random.default_rng(3), np.zeros((20, len(names)), dtype=int)
    for klass in [c for c in LEGEND.ids if c in own]:  # fields of each class are drawn among themselves
        members = np.flatnonzero(own == klass)
        times[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=20)
    drawn = []
    for row in times:
        picked = np.concatenate([np.flatnonzero(group == field) for field in np.repeat(names, row)])
        drawn.append(metrics.f1_score(truth[picked], mapped[picked], average="macro"))
    assert np.allclose([low, high], np.quantile(drawn, [0.025, 0.975]))


def test_a_rare_class_is_in_every_draw():
    "Three fields of a class among sixty: drawn regardless of class, one draw in twenty would have none of them."
    group = np.repeat(np.arange(60), 5)
    truth = np.where(group < 3, 2, 1)
    mapped = truth.copy()
    mapped[group == 10] = 2  # where no reference of class 2 was drawn, its F1 would be 0
    low, high = interval(truth, mapped, group, (1, 2), draws=400, seed=1)
    assert low > 0.7 and high <= 1


def test_interval_shrinks_with_level_and_is_a_point_where_nothing_varies():
    rng = np.random.default_rng(0)
    truth, group = rng.choice([1, 2], 300), np.repeat(np.arange(30), 10)
    mapped = np.where(rng.random(300) < 0.8, truth, 3 - truth)
    wide, narrow = (interval(truth, mapped, group, (1, 2), level=level) for level in (0.95, 0.5))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert interval(truth, truth, group, (1, 2), statistic=overall) == (1.0, 1.0)


# --- cross-validation ---------------------------------------------------------------------------------------------


class Remembers:
    "Answers the commonest class of what it was fitted on, and keeps what it was fitted on."

    fits: ClassVar[list[np.ndarray]] = []

    def fit(self, X, y):
        Remembers.fits.append(np.asarray(X)[:, 0])
        self.classes_, counts = np.unique(y, return_counts=True)
        self.share = counts / counts.sum()
        return self

    def predict_proba(self, X):
        return np.tile(self.share, (len(X), 1))


def test_no_row_is_predicted_by_a_model_that_saw_it():
    y, folds = np.array([1, 1, 2, 2, 7, 7]), np.array([0, 1, 0, 1, 2, 2])  # class 7 is unknown to the model of fold 2
    Remembers.fits = []
    out = cross_validate(np.arange(6)[:, None], y, folds, Remembers)
    assert [fit.tolist() for fit in Remembers.fits] == [[1, 3, 4, 5], [0, 2, 4, 5], [0, 1, 2, 3]]
    assert out.proba.shape == (6, 3) and np.allclose(out.proba.sum(axis=1), 1)
    assert out.proba[4].tolist() == [0.5, 0.5, 0.0]
    assert out.classes.tolist() == [7, 7, 7, 7, 1, 1]


def test_folds_that_leak_are_refused():
    y, group = np.array([1, 2, 1, 2]), np.array([5, 5, 6, 6])
    with pytest.raises(SampleError, match="1 of 2 groups in more than one fold, 5 for example"):
        cross_validate(np.zeros((4, 1)), y, np.array([0, 1, 0, 0]), Remembers, groups=group)
    with pytest.raises(SampleError, match="1 fold"):
        cross_validate(np.zeros((4, 1)), y, np.zeros(4, int), Remembers)
    assert cross_validate(np.zeros((4, 1)), y, np.array([0, 0, 1, 1]), Remembers, groups=group).classes.shape == (4,)


# --- areas --------------------------------------------------------------------------------------------------------

# Olofsson et al. 2014, table 8, rows = map
PAPER = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
AREA = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def test_standard_errors_against_resampling():
    adjusted = area_adjusted(PAPER.T, AREA)
    rng = np.random.default_rng(0)
    drawn = np.stack([rng.multinomial(row.sum(), row / row.sum(), size=20_000) for row in PAPER], axis=1)
    share = drawn * (AREA / AREA.sum() / PAPER.sum(axis=1))[:, None]
    hits, ground = np.einsum("dii->di", share), share.sum(axis=1)
    for estimates, sample in (
        (adjusted.areas, ground * AREA.sum()), (adjusted.producers, hits / ground),
        (adjusted.users, hits / share.sum(axis=2)),
        ((adjusted.overall,), hits.sum(axis=1, keepdims=True)),
    ):  # fmt: skip
        # n against n - 1, and the ratio's linearisation for forest gain, where one unit of 340 decides
        assert np.allclose([e.se for e in estimates], sample.std(axis=0), rtol=0.09)
        assert np.allclose([e.high - e.low for e in estimates], [2 * 1.96 * e.se for e in estimates])
    assert np.isclose(sum(e.value for e in adjusted.areas), AREA.sum())


def test_orientation():
    perfect = area_adjusted(np.diag([10, 20, 30]), [1.0, 2.0, 3.0])
    assert [e.value for e in perfect.areas] == pytest.approx([1, 2, 3]) and perfect.overall.se == 0
    # everything mapped as the second class is half the first one: the ground has more of the first than the map
    assert area_adjusted(np.array([[10, 10], [0, 10]]), [1.0, 1.0]).areas[0].value == pytest.approx(1.5)


def test_a_class_that_is_not_on_the_map():
    adjusted = area_adjusted(np.array([[10, 0, 0], [2, 8, 0], [1, 0, 0]]), [3.0, 1.0, 0.0])
    assert np.isnan(adjusted.users[2].value) and adjusted.producers[2].value == 0
    assert adjusted.areas[2].value == pytest.approx(3 / 13)
    empty = area_adjusted(np.array([[10, 0, 0], [2, 8, 0], [0, 0, 0]]), [3.0, 1.0, 0.0])
    assert np.isnan(empty.producers[2].value) and empty.areas[2].value == 0


@pytest.mark.parametrize(
    ("counts", "area", "told"),
    [
        (PAPER.T, AREA[:3], "expected 4 areas"),
        (PAPER.T, [0, 0, 0, 0], "not all 0"),
        (PAPER.T, [1, -1, 1, 1], "areas of 0 or more"),
        (np.diag([5, 1]), [1, 1], r"\[1\] units in mapped classes number \[1\]"),
        (np.diag([5, 5]), [1, 0], "which have no area"),
        (np.ones((2, 3), int), [1, 1], "expected"),
    ],
)
def test_samples_that_carry_no_estimate(counts: np.ndarray, area: list, told: str):
    with pytest.raises(SampleError, match=told):
        area_adjusted(counts, area)
