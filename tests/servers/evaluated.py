"""A project folder as it stands before the gate: a small model, and scores that a test sets."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from geocrop.ensemble import Ensemble
from geocrop.schema import Legend

ROOT = Path(__file__).parents[2]
LEGEND = Legend.of([{"id": i, "name": f"crop_{i}", "colour": "#000000"} for i in (1, 2, 3)])

_SCORE = {"macro_f1": 0.82, "low": 0.78, "high": 0.86, "overall": 0.88, "overall_low": 0.86, "overall_high": 0.90}
_FOREST = {"macro_f1": 0.77, "low": 0.73, "high": 0.81, "overall": 0.84, "overall_low": 0.82, "overall_high": 0.86}
GOOD: dict[str, Any] = {  # what an evaluation writes, of a model that passes every rule
    "headline": {"split": "block", "model": "ensemble", **_SCORE, "balanced": 0.82, "pixels": 4000, "fields": 500},
    "by_block": {"ensemble": _SCORE, "random forest": _FOREST},
    "calibration": {
        "split": "block", "ece_before": 0.05, "ece_after": 0.03, "log_loss_before": 0.7, "log_loss_after": 0.6,
        "ece_by_chance": 0.04,
    },
    "classes": {
        "maize": {"f1": 0.9, "users": 0.9, "producers": 0.9, "pixels": 900, "fields": 110},
        "tobacco": {"f1": 0.7, "users": 0.7, "producers": 0.7, "pixels": 300, "fields": 36},
        "cotton": {"f1": 0.1, "users": 0.1, "producers": 0.1, "pixels": 20, "fields": 4},
    },
    "cost": {"trees": 900, "nodes": 27000},
    "table_sha256": "9f2c",
}  # fmt: skip


def scores(**changes: Any) -> dict[str, Any]:
    "The good scores with changes: part__key=value."
    page = copy.deepcopy(GOOD)
    for name, value in changes.items():
        *parts, key = name.split("__")
        inside = page
        for part in parts:
            inside = inside[part]
        inside[key] = value
    return page


def table(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    "Rows of 51 features, some of them missing, and their classes."
    rng = np.random.default_rng(seed)
    y = np.tile([1, 2, 3], 40)
    X = (rng.normal(size=(120, 51)) + 2 * (y[:, None] == np.resize([1, 2, 3], 51))).astype("float32")
    X[rng.random(X.shape) < 0.05] = np.nan
    return X, y


def model(rounds: int = 3) -> Ensemble:
    "A small model; more rounds are another model."
    return Ensemble(LEGEND, rounds=rounds, threads=1).fit(*table())


def project(folder: Path) -> Path:
    "The folder, written."
    (folder / "reports/figures").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "settings.ini").write_text("[catalogue]\nhref = season\n[labels]\nfields = survey.parquet\n")
    model().save(folder / "results/model")
    evaluate(folder, GOOD)
    for name in ("04_evaluate.ipynb", "05_export.ipynb"):
        (folder / "reports" / name).write_text("{}")
    return folder


def evaluate(folder: Path, page: dict[str, Any]) -> None:
    "Write scores as an evaluation does."
    (folder / "reports/metrics.json").write_text(json.dumps(page))
