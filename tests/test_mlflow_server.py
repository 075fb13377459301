"""Tracking and the gate on an MLflow server as projects run it: its database in PostgreSQL, its artifacts in S3."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
from evaluated import evaluate, model, project, scores, table
from mlflow_server import Server, serve
from postgres import binaries

from geocrop import cli, tracking
from geocrop.bundle import bundle_sha256
from geocrop.ensemble import Ensemble
from geocrop.schema import FEATURE_ORDER_V1, ModelError, StoreError

NAME = "zimbabwe_embedded"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if binaries() is None:
        pytest.skip("no PostgreSQL with PostGIS: apt-get install postgresql-15 postgresql-15-postgis-3")
    with serve(tmp_path_factory.mktemp("swift")) as server, pytest.MonkeyPatch.context() as patch:
        for key in [key for key in os.environ if key.startswith("AWS_")]:
            patch.delenv(key)  # artifacts go through the server: a client needs no key
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("GEOCROP_MLFLOW_TRACKING_URI", server.url)
        patch.setenv("MLFLOW_TRACKING_URI", server.url)
        yield server


@pytest.fixture(scope="module")
def folder(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A project whose first model went through the gate."
    folder = project(tmp_path_factory.mktemp("project") / "zimbabwe")
    assert cli.main(["gate", "--folder", str(folder)]) == 0
    return folder


def standing(server: Server) -> dict[int, tuple[str, ...]]:
    return {v.version: v.aliases for v in tracking.versions(server.url, NAME)}


def test_the_first_model_that_passes_is_champion(server: Server, folder: Path):
    first = tracking.champion(server.url, NAME)
    assert first is not None and (first.version, first.aliases) == (1, ("champion",))
    assert first.bundle_sha256 == bundle_sha256(folder / "results/model")
    assert first.metrics == scores() and json.loads(first.verdict)["passed"]
    assert json.loads((folder / "reports/gate.json").read_text())["bundle_sha256"] == first.bundle_sha256


def test_numbers_are_in_postgres_and_files_in_s3_without_a_pickle(server: Server, folder: Path):
    with psycopg.connect(server.dsn) as database:
        metrics = dict(database.execute("SELECT key, value FROM metrics").fetchall())
        tags = dict(database.execute("SELECT key, value FROM tags").fetchall())
        (rows,) = database.execute("SELECT count(*) FROM model_versions").fetchone()
    assert (metrics["headline.macro_f1"], metrics["by_block.random_forest.macro_f1"], rows) == (0.82, 0.77, 1)
    assert tags["bundle_sha256"] == bundle_sha256(folder / "results/model")
    names = {key.split("/artifacts/", 1)[1] for key in server.objects()}
    assert {"metrics.json", "04_evaluate.ipynb"} <= names and "05_export.ipynb" not in names
    place = f"model_{bundle_sha256(folder / 'results/model')[:12]}"
    assert f"{place}/artifacts/model/lightgbm.txt" in names and f"{place}/MLmodel" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]


def test_the_pyfunc_of_the_champion_answers_as_the_bundle_does(server: Server, folder: Path):
    import mlflow.pyfunc

    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    bundle = Ensemble.load(folder / "results/model")
    X, _ = table(seed=7)
    X[3] = np.nan
    rows = pd.DataFrame(X, columns=list(FEATURE_ORDER_V1))
    for asked in (rows, X):
        answer = loaded.predict(asked)
        assert list(answer) == ["class_id", *bundle.legend.names]
        np.testing.assert_array_equal(answer.class_id, bundle.predict(X))
        np.testing.assert_array_equal(answer.drop(columns="class_id"), bundle.predict_proba(X))
    assert len(loaded.metadata.get_input_schema().inputs) == 51
    assert loaded.metadata.metadata["features"] == list(FEATURE_ORDER_V1)
    with pytest.raises(ModelError, match="at 0 instead of 'ndvi_amplitude'"):
        loaded.predict(rows[sorted(rows.columns)])
    for fewer in (rows.iloc[:, :50], X[:, :50]):
        with pytest.raises(Exception, match="51 inputs"):
            loaded.predict(fewer)


def test_the_same_again_is_the_same_run_and_the_same_version(server: Server, folder: Path):
    filed = (folder / "reports/gate.json").read_bytes()
    assert cli.main(["gate", "--folder", str(folder)]) == 0
    assert standing(server) == {1: ("champion",)}
    assert (folder / "reports/gate.json").read_bytes() == filed
    with psycopg.connect(server.dsn) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_promotion_and_the_way_back(server: Server, folder: Path, capsys: pytest.CaptureFixture[str]):
    model(rounds=4).save(folder / "results/model")
    evaluate(folder, scores(headline__macro_f1=0.83, cost__nodes=36000))
    assert cli.main(["gate", "--folder", str(folder)]) == 1  # a tie that costs more
    assert "stopped by champion" in capsys.readouterr().err
    assert not (folder / "reports/gate.json").exists()
    assert standing(server) == {1: ("champion",), 2: ("challenger",)}

    evaluate(folder, scores(headline__macro_f1=0.87, cost__nodes=36000))
    assert cli.main(["gate", "--folder", str(folder)]) == 0  # better by more than half the interval
    assert standing(server) == {1: ("previous",), 2: ("champion",)}

    assert cli.main(["champion", "rollback", "--folder", str(folder)]) == 0
    assert standing(server) == {1: ("champion",), 2: ()}
    assert cli.main(["gate", "--folder", str(folder)]) == 1  # the same good numbers do not undo what a person decided
    assert standing(server) == {1: ("champion",), 2: ("challenger",)}
    assert cli.main(["champion", "rollback", "--folder", str(folder)]) == 2
    capsys.readouterr()
    assert cli.main(["champion", "promote", "2", "--folder", str(folder), "--json"]) == 0
    listed = {row["version"]: row["is"] for row in json.loads(capsys.readouterr().out)["versions"]}
    assert listed == {1: "previous", 2: "champion"}
    assert cli.main(["gate", "--folder", str(folder)]) == 0
    with pytest.raises(StoreError, match=r"versions \[2, 1\]; expected version 9"):
        tracking.promote(server.url, NAME, 9)


def test_a_model_that_fails_a_rule_is_kept_and_not_promoted(server: Server, folder: Path):
    before = tracking.champion(server.url, NAME)
    model(rounds=5).save(folder / "results/model")
    evaluate(folder, scores(headline__macro_f1=0.95, classes__tobacco__f1=0.1))
    assert cli.main(["gate", "--folder", str(folder)]) == 1
    after = tracking.versions(server.url, NAME)
    assert tracking.champion(server.url, NAME) == before
    assert after[0].aliases == ("challenger",) and not json.loads(after[0].verdict)["passed"]
