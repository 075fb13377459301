"""The gate: each rule lets through and stops, what it must not judge, and the command with its exit status."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from evaluated import ROOT, evaluate, project, scores
from hypothesis import given
from hypothesis import strategies as st

from geocrop import cli, tracking
from geocrop.gate import GateError, Judged, Verdict, judge, unseen
from geocrop.schema import Legend
from geocrop.settings import Gate, params

RULES = Gate(metric="macro_f1", at_least=0.75, max_ece=0.05, min_class_f1=0.3, min_fields=10)
CHAMPION = {"version": 4, "bundle_sha256": "aa", "metrics": scores()}  # macro F1 0.82, half width 0.04


def rule(verdict: Verdict, name: str) -> Judged:
    (found,) = (judged for judged in verdict.rules if judged.name == name)
    return found


# --- rules -----------------------------------------------------------------------------------------------------------


def test_good_scores_pass_every_rule():
    verdict = judge(scores(), RULES)
    assert verdict.passed and verdict.stopped_by == []
    assert [judged.name for judged in verdict.rules] == [
        "score", "baseline", "calibration", "classes", "rare classes", "champion",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "stopped"),
    [
        ({"headline__macro_f1": 0.75}, []),
        ({"headline__macro_f1": 0.7499}, ["score"]),
        # the forest has 0.77, the interval of the ensemble is 0.04 to either side
        ({"headline__macro_f1": 0.76}, []),
        ({"by_block__random forest": {"macro_f1": 0.859, "low": 0.8, "high": 0.9}}, []),
        ({"by_block__random forest": {"macro_f1": 0.861, "low": 0.8, "high": 0.9}}, ["baseline"]),
        ({"calibration__ece_after": 0.05}, []),
        ({"calibration__ece_after": 0.051}, ["calibration"]),
        (
            {"calibration__ece_after": 0.09, "calibration__ece_by_chance": 0.09},
            [],
        ),  # few fields: a perfect model's luck
        ({"calibration__ece_after": 0.09, "calibration__ece_by_chance": 0.08}, ["calibration"]),
        ({"calibration__ece_before": 0.01}, []),  # a larger error, but a smaller log loss
        ({"calibration__log_loss_after": 0.8}, []),  # a larger log loss, but a smaller error
        ({"calibration__ece_before": 0.01, "calibration__log_loss_after": 0.8}, ["calibration"]),
        ({"calibration__ece_before": 0.03, "calibration__log_loss_after": 0.8}, []),
        ({"classes__tobacco__f1": 0.3}, []),
        ({"classes__tobacco__f1": 0.29}, ["classes"]),
        ({"classes__cotton__fields": 9}, []),
        ({"classes__cotton__fields": 10}, ["classes"]),
        ({"classes": {"cotton": {"f1": 0.9, "fields": 4}}}, ["classes"]),  # nothing left to judge
        ({"classes": {}}, ["classes"]),
        ({"headline__macro_f1": 0.5, "classes__maize__f1": 0.0}, ["score", "baseline", "classes"]),
    ],
)
def test_each_rule_at_its_limit(changes: dict[str, Any], stopped: list[str]):
    verdict = judge(scores(**changes), RULES)
    assert verdict.stopped_by == stopped
    assert verdict.passed == (not stopped)
    assert all(judged.remedy for judged in verdict.rules if not judged.passed)


def test_the_metric_is_the_one_that_was_asked_for():
    page = scores(headline__macro_f1=0.2, headline__overall=0.88)
    assert judge(page, Gate()).passed  # overall accuracy 0.85
    assert judge(page, RULES).stopped_by == ["score", "baseline"]
    with pytest.raises(GateError, match="overall or macro_f1"):
        judge(page, Gate(metric="balanced"))


def test_a_tie_with_the_baseline_is_said():
    assert rule(judge(scores(), RULES), "baseline").remedy == ""  # 0.05 better, 0.04 would be a tie
    tie = rule(judge(scores(headline__macro_f1=0.80), RULES), "baseline")
    assert tie.passed and "A tie" in tie.remedy


def test_rare_classes_are_listed_with_their_score():
    listed = rule(judge(scores(), RULES), "rare classes")
    assert listed.passed and listed.found == "cotton 0.10 (4 fields)" and "Not judged" in listed.remedy
    unmapped = rule(judge(scores(classes__cotton__f1=None), RULES), "rare classes")
    assert unmapped.found == "cotton none (4 fields)"
    assert [j.name for j in judge(scores(classes__cotton__fields=30), RULES).rules if j.name == "rare classes"] == []


# --- what is not judged ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["headline", "calibration"])
@pytest.mark.parametrize("split", ["random", "field", "knndm", None])
def test_a_score_that_is_not_by_blocks_is_refused(part: str, split: str | None):
    with pytest.raises(GateError, match=rf"Metrics, {part}: found split {split!r}"):
        judge(scores(**{f"{part}__split": split}), RULES)


@pytest.mark.parametrize(
    "name",
    [
        "headline__macro_f1", "headline__low", "by_block__random forest__macro_f1", "calibration__ece_after",
        "calibration__log_loss_before", "classes__maize__f1", "classes__maize__fields",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "0.9", True])
def test_a_number_that_is_none_is_refused(name: str, value: Any):
    with pytest.raises(GateError, match=rf"Metrics, {name.replace('__', '.')}: found"):
        judge(scores(**{name: value}), RULES)


# --- the champion ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gain", "nodes", "passed"),
    [
        (0.041, 99_000, True),  # better, at any cost
        (0.039, 26_999, True),  # a tie, cheaper
        (0.039, 27_000, False),  # a tie, not cheaper
        (-0.039, 26_999, True),
        (-0.039, 27_000, False),
        (-0.041, 1, False),  # worse, at any cost
    ],
)
def test_better_or_as_good_and_cheaper(gain: float, nodes: int, passed: bool):
    page = scores(headline__macro_f1=0.82 + gain, cost__nodes=nodes)
    verdict = judge(page, RULES, CHAMPION, bundle_sha256="bb")
    assert rule(verdict, "champion").passed is passed
    assert rule(verdict, "champion").found.startswith("better" if gain > 0.04 else "worse" if gain < -0.04 else "a tie")


def test_the_champion_itself_passes_and_so_does_its_twin():
    assert rule(judge(scores(), RULES, CHAMPION, bundle_sha256="aa"), "champion").passed
    twin = rule(judge(scores(), RULES, CHAMPION, bundle_sha256="bb"), "champion")
    assert twin.passed and "to the last digit" in twin.found
    assert not judge(scores(classes__maize__f1=0.91), RULES, CHAMPION, bundle_sha256="bb").passed


def test_the_champion_itself_still_has_to_pass_the_other_rules():
    assert judge(scores(classes__tobacco__f1=0.1), RULES, CHAMPION, bundle_sha256="aa").stopped_by == ["classes"]


def test_scores_of_another_table_are_shown_and_not_compared():
    verdict = judge(scores(headline__macro_f1=0.76, table_sha256="77"), RULES, CHAMPION, bundle_sha256="bb")
    found = rule(verdict, "champion")
    assert verdict.passed and "0.820 (0.780 to 0.860) on another table" in found.found and found.remedy
    assert judge(scores(headline__macro_f1=0.7, table_sha256="77"), RULES, CHAMPION).stopped_by == ["score", "baseline"]


def test_a_model_that_was_taken_back_does_not_return_by_itself():
    page = scores(headline__macro_f1=0.95)
    assert judge(page, RULES, CHAMPION, bundle_sha256="bb").passed
    assert judge(page, RULES, CHAMPION, bundle_sha256="bb", taken_back=True).stopped_by == ["champion"]


def test_a_champion_that_nobody_can_see():
    verdict = judge(scores(), RULES)
    assert unseen(verdict, "down", required=False).passed
    assert unseen(verdict, "down", required=True).stopped_by == ["champion"]
    assert not unseen(judge(scores(headline__macro_f1=0.1), RULES), "down", required=False).passed


# --- properties ------------------------------------------------------------------------------------------------------

share = st.floats(0, 1)


@given(share, share, st.integers(1, 10**6))
def test_a_better_score_never_turns_a_pass_into_a_stop(score: float, gain: float, nodes: int):
    both = [
        judge(scores(headline__macro_f1=s, cost__nodes=nodes), RULES, CHAMPION, bundle_sha256="bb")
        for s in (score, score + gain)
    ]
    assert both[0].passed <= both[1].passed


@given(share, share, share, share)
def test_a_stricter_rule_never_lets_more_through(score: float, f1: float, limit: float, by: float):
    page = scores(headline__macro_f1=score, classes__tobacco__f1=f1)
    lenient = Gate("macro_f1", at_least=limit, min_class_f1=limit)
    strict = Gate("macro_f1", at_least=limit + by, min_class_f1=limit + by)
    assert judge(page, strict).passed <= judge(page, lenient).passed


@given(share, st.integers(1, 10**6), share, st.integers(1, 10**6))
def test_two_models_never_beat_each_other_by_score(a: float, its: int, b: float, other: int):
    "With intervals of one width no two models can take turns: neither is better than the other and worse than it."
    lenient = Gate("macro_f1", at_least=0, min_class_f1=0)
    pages = [scores(headline__macro_f1=x, headline__low=x - 0.04, headline__high=x + 0.04) for x in (a, b)]
    for page, cost in zip(pages, (its, other), strict=True):
        page["cost"]["nodes"] = cost
        page["by_block"]["random forest"]["macro_f1"] = 0.0
    if pages[0] == pages[1]:
        return
    wins = [
        judge(new, lenient, {"version": 1, "bundle_sha256": "aa", "metrics": old}, bundle_sha256="bb").passed
        for new, old in (pages, pages[::-1])
    ]
    assert not all(wins)


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(share, st.integers(0, 40)), min_size=1))
def test_the_verdict_can_be_written_and_read(classes: dict[str, tuple[float, int]]):
    page = scores(classes={name: {"f1": f1, "fields": fields} for name, (f1, fields) in classes.items()})
    verdict = judge(page, RULES)
    told = json.loads(json.dumps(verdict.page()))
    assert told["passed"] == verdict.passed and [*told["rules"]] == [judged.name for judged in verdict.rules]
    assert sum(line.startswith("STOP") for line in verdict.lines()) == len(verdict.stopped_by)
    said = " ".join(judged.found for judged in verdict.rules)
    for name, (f1, fields) in classes.items():
        if fields < 10 or f1 < 0.3:
            assert f"{name} {f1:.2f} ({fields} fields)" in said


# --- the rules of the profiles ---------------------------------------------------------------------------------------


def test_the_profiles_ask_what_their_fields_can_answer():
    embedded, herault, zimbabwe = (params("gate", ROOT / p) for p in ("", "profiles/herault_2018", "profiles/zimbabwe"))
    assert (zimbabwe.metric, zimbabwe.at_least) == ("overall", 0.85)
    assert (embedded.metric, embedded.at_least) == ("macro_f1", 0.75)
    assert (herault.metric, herault.at_least) == ("macro_f1", 0.40)


def test_the_tiny_classes_of_herault_do_not_pass_in_silence():
    "F1 and parcels of the season: reports/metrics.json, results/features.parquet."
    found = json.loads((ROOT / "profiles/herault_2018/reports/metrics.json").read_text())
    f1 = found.get("f1_of_class") or {name: row["f1"] for name, row in found["classes"].items()}
    parcels = {
        "vineyard": 62, "durum_wheat": 14, "soft_wheat": 6, "fallow": 12, "grassland": 9, "unmaintained": 6, "other": 4,
    }  # fmt: skip
    page = scores(classes={name: {"f1": f1[name], "fields": parcels[name]} for name in parcels})
    verdict = judge(page, params("gate", ROOT / "profiles/herault_2018"))
    listed = rule(verdict, "rare classes").found
    assert all(name in listed for name in ("unmaintained", "other", "soft_wheat")) and "grassland" not in listed


# --- any small table -------------------------------------------------------------------------------------------------


def test_iris_goes_through_the_same_gate():
    "Four features and a legend of its own; flowers in groups of five stand on a line, and are held out together."
    from sklearn.datasets import load_iris

    from geocrop.ensemble import Ensemble, RandomForest
    from geocrop.evaluation import evaluate, metrics

    iris = load_iris()
    legend = Legend.of([{"id": i + 1, "name": str(n), "colour": "#000000"} for i, n in enumerate(iris.target_names)])
    X, patch = iris.data.astype("float32"), np.arange(150) // 5
    table = pd.DataFrame({"class_id": iris.target + 1, "field_id": patch, "x": 100.0 * patch + 50, "y": 0.0})
    models = {
        "ensemble": lambda: Ensemble(legend, features=iris.feature_names, rounds=40, threads=1),
        "random forest": lambda: RandomForest(legend, features=iris.feature_names, trees=50, threads=1),
    }
    asked = evaluate(table, X, legend, models, block_m=100, draws=200, origins=1, trees=20)
    page = metrics(asked, {"cost": {"trees": 1, "nodes": 1}, "table_sha256": ""})
    verdict = judge(page, Gate(at_least=0.9))
    assert verdict.passed, "\n".join(verdict.lines())
    page["headline"]["overall"] = page["by_block"]["shuffled field labels"]["overall"]  # labels drawn by lot
    assert judge(page, Gate(at_least=0.9)).stopped_by == ["score", "baseline"]


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("gate") / "season")


def gate(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "geocrop.cli", "gate", "--folder", ".", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment})


def test_exit_status_and_what_is_left_for_the_map(folder: Path):
    filed = folder / "reports/gate.json"
    ran = gate(folder, "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    told = json.loads(ran.stdout)
    assert told["passed"] and told["promoted"] and told["version"] == 1
    page = json.loads(filed.read_text())
    assert page["passed"] and "champion" not in page["rules"]
    first = filed.read_bytes()

    evaluate(folder, scores(classes__tobacco__f1=0.1))
    ran = gate(folder)
    assert (ran.returncode, ran.stderr) == (1, "geocrop gate: stopped by classes\n")
    assert "STOP  classes" in ran.stdout and not filed.exists()

    evaluate(folder, scores(headline__split="random"))
    ran = gate(folder)
    assert ran.returncode == 2 and "found split 'random'" in ran.stderr and not filed.exists()

    (folder / "reports/metrics.json").unlink()
    ran = gate(folder)
    assert ran.returncode == 2 and "no reports/metrics.json" in ran.stderr

    evaluate(folder, scores())
    elsewhere = {"GEOCROP_MLFLOW_TRACKING_URI": f"sqlite:///{folder}/other/mlflow.db"}  # a machine without a champion
    assert gate(folder, **elsewhere).returncode == 0 and filed.read_bytes() == first


def test_a_registry_that_is_down_promotes_nothing(folder: Path):
    from loopback import free_ports

    evaluate(folder, scores())
    nobody = {"GEOCROP_MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_ports(1)[0]}", "NO_PROXY": "127.0.0.1"}
    nobody["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # patience would change nothing
    ran = gate(folder, "--json", **nobody)
    told = json.loads(ran.stdout)
    assert ran.returncode == 0 and "TrackingWarning" in ran.stderr
    assert not told["promoted"] and told["version"] is None and "not seen" in told["rules"]["champion"]["found"]
    assert (folder / "reports/gate.json").is_file()

    ran = gate(folder, **nobody, GEOCROP_MLFLOW_REQUIRED="yes")
    assert ran.returncode == 1 and "stopped by champion" in ran.stderr
    assert not (folder / "reports/gate.json").exists()


@pytest.mark.parametrize("words", [("promote",), ("list", "2"), ("rollback", "1"), ("demote",), ("promote", "one")])
def test_a_slip_at_the_registry_is_bad_input(folder: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    status = 0
    try:
        status = cli.main(["champion", *words, "--folder", str(folder)])
    except SystemExit as left:  # argparse leaves by itself
        status = int(str(left.code))
    assert status == 2 and capsys.readouterr().err


def test_a_registry_without_the_model_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["champion", "--folder", str(project(tmp_path / "season"))]) == 0
    assert "versions: none yet" in capsys.readouterr().out


def test_a_model_that_was_damaged_is_no_model(folder: Path, tmp_path: Path):
    damaged = project(tmp_path / "season")
    with (damaged / "results/model/lightgbm.txt").open("a") as file:
        file.write("\n")
    ran = gate(damaged)
    assert ran.returncode == 2 and "lightgbm.txt: found sha256" in ran.stderr
    assert not (damaged / "mlflow.db").exists()


# --- what a run says -------------------------------------------------------------------------------------------------


def test_the_commit_is_told_and_is_no_part_of_the_run(tmp_path: Path):
    folder = project(tmp_path / "season")
    uri = f"sqlite:///{folder}/mlflow.db"
    without = tracking.project_run(folder)
    assert without["notes"] == {}
    ids = [tracking.log_run(uri, "geocrop", **without, required=True)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        me = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *me, *words], cwd=folder, check=True)
    with_commit = tracking.project_run(folder)
    (commit,) = with_commit["notes"].values()
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True).stdout.strip()
    assert commit == head
    ids.append(tracking.log_run(uri, "geocrop", **with_commit, required=True))
    assert ids[0] == ids[1]
    evaluate(folder, scores(headline__macro_f1=0.83))
    changed = tracking.project_run(folder)
    assert changed["notes"]["mlflow.source.git.commit"] == f"{head}-dirty"
    assert tracking.log_run(uri, "geocrop", **changed, required=True) != ids[0]


def test_a_run_holds_notebooks_of_its_own_model_only(tmp_path: Path):
    folder = project(tmp_path / "season")
    (folder / "reports/figures/map.png").write_bytes(b"of the model before")
    (folder / "reports/figures/accuracy.png").write_bytes(b"of this model")
    told = tracking.project_run(folder)
    assert {path.name for path in told["artifacts"]} == {"metrics.json", "04_evaluate.ipynb", "accuracy.png"}
    assert told["params"]["gate.at_least"] == 0.75 and "base.legend" not in told["params"]
    assert told["metrics"]["classes.tobacco.f1"] == 0.7 and "headline.split" not in told["metrics"]


def test_a_password_in_an_address_is_not_shown():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        tracking.log_run("nonsense://user:secret@host/db", "geocrop", params={}, metrics={})
    told = [str(w.message) for w in seen if w.category is tracking.TrackingWarning]
    assert len(told) == 1 and "nonsense://host/db" in told[0] and "secret" not in told[0]
