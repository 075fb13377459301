"""Tracking and the gate on an MLflow server as projects run it: its database in PostgreSQL, its artifacts in S3."""

import json
import os
import shutil
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
from geocrop.settings import settings
from geocrop.store import bucket
from serving.jobs import models
from serving.worker import release

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
    with (folder / "settings.ini").open("a") as file:
        file.write("[store]\nmodels = served\n")  # a service that follows the registry
    assert cli.main(["gate", "--folder", str(folder)]) == 0
    return folder


def standing(server: Server) -> dict[int, tuple[str, ...]]:
    return {v.version: v.aliases for v in tracking.versions(server.url, NAME)}


def served(folder: Path) -> tuple[str, str]:
    "Version and identity of the model that the service makes new maps with; its bundle is there, whole."
    store = bucket(settings("store", folder).models)
    found = models.champion(store, NAME)
    models.point(store, found)  # StoreError where a file of it is missing or another
    return found.version, found.sha256


def test_the_first_model_that_passes_is_champion(server: Server, folder: Path):
    first = tracking.champion(server.url, NAME)
    assert first is not None and (first.version, first.aliases) == (1, ("champion",))
    assert first.bundle_sha256 == bundle_sha256(folder / "results/model")
    assert first.metrics == scores() and json.loads(first.verdict)["passed"]
    assert served(folder) == ("1", first.bundle_sha256)
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
    "And the service follows each step."
    first = served(folder)
    model(rounds=4).save(folder / "results/model")
    evaluate(folder, scores(headline__macro_f1=0.83, cost__nodes=36000))
    assert cli.main(["gate", "--folder", str(folder)]) == 1  # a tie that costs more
    assert "stopped by champion" in capsys.readouterr().err
    assert not (folder / "reports/gate.json").exists()
    assert standing(server) == {1: ("champion",), 2: ("challenger",)}
    assert served(folder) == first

    evaluate(folder, scores(headline__macro_f1=0.87, cost__nodes=36000))
    assert cli.main(["gate", "--folder", str(folder)]) == 0  # better by more than half the interval
    assert standing(server) == {1: ("previous",), 2: ("champion",)}
    second = "2", bundle_sha256(folder / "results/model")
    assert served(folder) == second

    assert cli.main(["champion", "rollback", "--folder", str(folder)]) == 0
    assert standing(server) == {1: ("champion",), 2: ()}
    assert served(folder) == first  # the version that it was, none anew
    assert cli.main(["gate", "--folder", str(folder)]) == 1  # the same good numbers do not undo what a person decided
    assert standing(server) == {1: ("champion",), 2: ("challenger",)}
    assert cli.main(["champion", "rollback", "--folder", str(folder)]) == 2
    capsys.readouterr()
    assert cli.main(["champion", "promote", "2", "--folder", str(folder), "--json"]) == 0
    listed = {row["version"]: row["is"] for row in json.loads(capsys.readouterr().out)["versions"]}
    assert listed == {1: "previous", 2: "champion"}
    assert served(folder) == second
    assert cli.main(["gate", "--folder", str(folder)]) == 0
    with pytest.raises(StoreError, match=r"versions \[2, 1\]; expected version 9"):
        tracking.promote(server.url, NAME, 9)


def test_a_service_without_the_champion_is_given_it_by_the_registry(server: Server, folder: Path, tmp_path: Path):
    "Its store is new, and the project holds another model by now."
    champion = tracking.champion(server.url, NAME)
    assert champion
    store, own = settings("store", folder).models, folder / "results/model"
    shutil.move(store, tmp_path / "store")
    shutil.move(own, tmp_path / "own")
    model(rounds=6).save(own)
    try:
        assert cli.main(["champion", "promote", f"{champion.version}", "--folder", str(folder)]) == 0
        assert served(folder) == ("1", champion.bundle_sha256)  # the first of this store
    finally:
        shutil.rmtree(own)
        shutil.move(tmp_path / "own", own)


def test_a_registry_that_gives_another_bundle_changes_no_service(folder: Path, tmp_path: Path):
    "As after a mishap in its artifact store."
    store, before = settings("store", folder).models, served(folder)
    other = tmp_path / "other"
    model(rounds=7).save(other)
    with pytest.raises(ModelError, match="as its version says"):
        release.follow(store, NAME, "0" * 64, folder / "results/model", lambda to: Path(shutil.copytree(other, to)))
    assert served(folder) == before


def test_a_model_that_fails_a_rule_is_kept_and_not_promoted(server: Server, folder: Path):
    before = tracking.champion(server.url, NAME)
    model(rounds=5).save(folder / "results/model")
    evaluate(folder, scores(headline__macro_f1=0.95, classes__tobacco__f1=0.1))
    assert cli.main(["gate", "--folder", str(folder)]) == 1
    after = tracking.versions(server.url, NAME)
    assert tracking.champion(server.url, NAME) == before
    assert after[0].aliases == ("challenger",) and not json.loads(after[0].verdict)["passed"]
