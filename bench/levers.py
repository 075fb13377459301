"""A lever that was measured, and is not pulled: XGBoost with one tree for all classes (multi_output_tree).

.venv/bin/python bench/levers.py [--project . profiles/herault_2018] [--rounds 7] [--json out.json]

After make repro. The score is that by blocks, of XGBoost alone with the settings of params.yaml; the time is that of
its own prediction, one thread. Such a bundle would have no fast engine: nbs/29_boosters reads trees of one class each.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray
from rounds import Contender, cpu, finish, interleave, machine, single_thread, table, table_of_times, tell

from geocrop import accuracy, samples, settings
from geocrop.ensemble import Ensemble, balanced_weights

ROOT = Path(__file__).parents[1]
STRATEGIES = ("one_output_per_tree", "multi_output_tree")
ROWS = 100_000  # that are predicted, drawn from the sample


class Alone:
    "XGBoost of the ensemble, for itself: classes weigh alike, all rounds."

    def __init__(self, strategy: str, hyper: dict[str, Any], seed: int):
        self.classes_: NDArray[np.integer] = np.empty(0, int)
        self._rounds = hyper["rounds"]
        self._settings = {
            "objective": "multi:softprob", "multi_strategy": strategy, "tree_method": "hist", "max_bin": hyper["bins"],
            "max_depth": hyper["depth"], "eta": hyper["learning_rate"], "colsample_bytree": hyper["feature_share"],
            "seed": seed, "nthread": 1, "verbosity": 0,
        }  # fmt: skip

    def fit(self, X: NDArray[np.float32], y: NDArray[np.integer]) -> "Alone":
        self.classes_, place = np.unique(y, return_inverse=True)
        learnt = xgboost.QuantileDMatrix(X, place, weight=balanced_weights(y), max_bin=self._settings["max_bin"])
        self.booster = xgboost.train(self._settings | {"num_class": len(self.classes_)}, learnt, self._rounds)
        return self

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.booster.inplace_predict(X, validate_features=False)


def measured(project: Path, rounds: int) -> dict[str, Any]:  # Name of the project -> what was found
    "Scores and times of both, printed."
    base, train, chosen, legend = (
        *(settings.params(name, project) for name in ("base", "train", "evaluate")), settings.legend(project),
    )  # fmt: skip
    known, X = samples.load_table(project / "results/features.parquet")
    y, field = known.class_id.to_numpy(), known.field_id.to_numpy()
    fold = samples.folds(known, "block", n=chosen.folds, block_m=train.block_m, seed=base.seed)
    asked = X[np.random.default_rng(0).integers(0, len(X), ROWS)]
    hyper = Ensemble(legend, **train.hyper).hyper
    rows, contenders, found = [], [], {}
    for strategy in STRATEGIES:
        make = partial(Alone, strategy, hyper, base.seed)
        mapped = accuracy.cross_validate(X, y, fold, make, field).classes
        score = accuracy.scores(accuracy.confusion(y, mapped, legend.ids), legend)
        low, high = accuracy.interval(y, mapped, field, legend.ids, draws=chosen.draws, seed=base.seed)
        rows.append([strategy, f"{score.macro_f1:.3f}", f"{low:.3f} - {high:.3f}", f"{score.overall:.3f}"])
        model = make().fit(X, y)
        contenders.append(Contender(strategy, cpu(partial(model.predict_proba, asked)), ROWS, "inplace_predict"))
        found[strategy] = {"macro_f1": score.macro_f1, "low": low, "high": high, "overall": score.overall}
        tell(f"{base.name}: {strategy}")
    sample = (
        f"{len(y)} pixels of {len(np.unique(field))} fields, {chosen.folds} folds of blocks of {train.block_m:.0f} m"
    )
    print(f"\n## {base.name}: {sample}\n")
    print(table(["XGBoost alone", "macro F1", "95 %, by fields", "overall"], rows), "\n")
    times = interleave(contenders, rounds)
    print(table_of_times(contenders, times, STRATEGIES[0], 1e6, "us of CPU per row"))
    return {base.name: {"scores": found, "times": times, "sample": sample}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", nargs="+", type=Path, default=[ROOT, ROOT / "profiles/herault_2018"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write everything there")
    given = parser.parse_args()
    about = machine("xgboost-cpu", "numpy")
    print(about)
    found: dict[str, Any] = {}
    for project in given.project:
        found |= measured(project, given.rounds)
    finish([], given.json, machine=about, found=found)


if __name__ == "__main__":
    single_thread()
    main()
