"""infer.py of a bundle: features in, classes out, beside the wheel and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geocrop.ensemble import Ensemble, most_likely
from geocrop.schema import Legend

LEGEND = Legend.of(
    [{"id": 4, "name": "maize, early", "colour": "#000000"}, {"id": 2, "name": 'it\'s "bare"', "colour": "#111111"}]
)
NAMES = ("ndvi", "late moisture", "b'11")


def rows(seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.choice([4, 2], n)
    X = (rng.normal(size=(n, 3)) + 1.5 * (y[:, None] == 4)).astype("float32")
    X[rng.random(X.shape) < 0.1] = np.nan
    return X, y


@pytest.fixture(scope="module")
def model() -> Ensemble:
    return Ensemble(LEGEND, features=NAMES, name="a 'field' model", rounds=10).fit(*rows(0))


@pytest.fixture(scope="module")
def bundle(model: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere") / "model"
    model.save(folder)
    return folder


def infer(bundle: Path, *words: object) -> subprocess.CompletedProcess[str]:
    "Run the script in a folder of its own, outside of any project."
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GEOCROP")}
    command = [sys.executable, bundle / "infer.py", *map(str, words)]
    return subprocess.run(command, cwd=bundle.parent, env=kept, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("kind", ["parquet", "csv", "npy"])
def test_features_in_classes_out(model: Ensemble, bundle: Path, kind: str):
    X, _ = rows(1)
    X[7] = np.nan
    source, target = bundle.parent / f"rows.{kind}", bundle.parent / f"{kind}.csv"
    shuffled = pd.DataFrame(X, columns=list(NAMES))[[NAMES[2], NAMES[0], NAMES[1]]].assign(field=1)  # found by name
    if kind == "npy":
        np.save(source, X)
    else:
        shuffled.to_parquet(source) if kind == "parquet" else shuffled.to_csv(source, index=False)
    ran = infer(bundle, source, target)
    assert ran.returncode == 0, ran.stderr
    told, proba = pd.read_csv(target), model.predict_proba(X)
    assert (told["class"] == most_likely(proba, LEGEND.ids)).all() and told["class"][7] == 255
    assert np.allclose(told["probability"], proba.max(axis=1), atol=1e-5, equal_nan=True)
    names = {4: "maize, early", 2: 'it\'s "bare"'}
    assert told["name"].drop(7).tolist() == [names[c] for c in told["class"].drop(7)]


def test_what_does_not_fit_is_refused(bundle: Path):
    table = pd.DataFrame(rows(1)[0], columns=list(NAMES)).drop(columns="ndvi")
    table.to_csv(bundle.parent / "short.csv", index=False)
    ran = infer(bundle, bundle.parent / "short.csv", bundle.parent / "none.csv")
    assert ran.returncode == 1 and "found no column ndvi" in ran.stderr and "a 'field' model" in ran.stderr
    assert infer(bundle).returncode == 1 and not (bundle.parent / "none.csv").exists()
    script = bundle / "infer.py"
    script.write_text(script.read_text() + "# changed\n")
    refused = infer(bundle, bundle.parent / "rows.npy", bundle.parent / "none.csv")
    assert refused.returncode == 1 and "infer.py: found sha256" in refused.stderr
