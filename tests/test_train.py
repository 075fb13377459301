"""`geocrop train`: a labelled table of anybody becomes a bundle with its honest score."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.datasets import load_iris

from geocrop.ensemble import Ensemble


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    iris = load_iris(as_frame=True)
    table = iris.data.assign(species=iris.target_names[iris.target], plot=[f"P{i // 5}" for i in range(150)])
    table = table.assign(x=100.0 * (table.index // 5) + 50, y=0.0)  # plots stand on a line
    path = tmp_path_factory.mktemp("iris") / "flowers.csv"
    table.to_csv(path, index=False)
    return path


def train(table: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "geocrop.cli", "train", str(table), *words]
    return subprocess.run(command, cwd=table.parent, capture_output=True, text=True, timeout=300)


def test_a_table_of_others(flowers: Path):
    names = load_iris().feature_names
    columns = ("--features", ",".join(names), "--class-column", "species", "--group-column", "plot")
    ran = train(flowers, "--out", "model", *columns, "--block-m", "100", "--rounds", "15", "--folds", "3", "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["held out"] == "blocks, 150 rows of 30 groups"
    assert [row["class"] for row in told["classes"]] == ["setosa", "versicolor", "virginica"]
    scores = told["macro F1, 95 % interval"]
    assert float(scores["by block, ensemble"][:5]) > 0.85 > float(scores["by block, shuffled field labels"][:5])
    model = Ensemble.load(flowers.parent / "model", features=names)
    iris = load_iris()
    assert (model.predict(iris.data) == iris.target + 1).mean() > 0.95
    assert json.loads((flowers.parent / "model/bundle.json").read_text())["provenance"]["table_sha256"]


def test_what_is_missing_is_said(flowers: Path):
    ran = train(flowers, "--out", "none")
    assert ran.returncode == 2 and "class_id" in ran.stderr and not (flowers.parent / "none").exists()
    ran = train(flowers, "--out", "none", "--features", "petal", "--class-column", "species")
    assert ran.returncode == 2 and "petal" in ran.stderr and "Traceback" not in ran.stderr
