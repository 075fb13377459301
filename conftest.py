"""What every test shares: notebooks are tests, data that may be absent, and no skip that nobody notices."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib: tests have no screen
# Two files are tested at a time, and threads of OpenMP that wait for each other's core spin: a fit takes five times as
# long. Which threads there are changes no tree by more than the last bit.
os.environ["OMP_THREAD_LIMIT"] = "1"

# Tests read the committed settings, whatever the caller's shell overrides.
for _name in [name for name in os.environ if name.startswith("GEOCROP_")]:
    if _name not in ("GEOCROP_SHARED", "GEOCROP_REQUIRE_ALL", "GEOCROP_SCREENSHOTS"):
        del os.environ[_name]

ROOT = Path(__file__).parent
SEASON = ROOT / "data" / "season"
SHARED = Path(os.environ.get("GEOCROP_SHARED", ROOT.parent / "shared")) / "data"

# Where everything is at hand nothing may be skipped: on request, and in CI beside the shared data.
REQUIRE_ALL = os.environ.get("GEOCROP_REQUIRE_ALL") == "1" or (os.environ.get("CI") == "true" and SHARED.is_dir())


@pytest.fixture(scope="session")
def root() -> Path:
    "The repository."
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    "Real third-party data, which lies beside the repository and not in it."
    if not SHARED.is_dir():
        pytest.skip(
            f"no real data: found no {SHARED}; put it beside the repository or name its parent in GEOCROP_SHARED"
        )
    return SHARED


@pytest.fixture(scope="session")
def season() -> Path:
    "The embedded season; it is made, never downloaded, so its absence is a failure."
    if not (SEASON / "catalog.json").is_file():
        pytest.fail(f"embedded season: found no {SEASON}/catalog.json. Run: make season", pytrace=False)
    return SEASON


# --- notebooks -------------------------------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    "Every lesson is a test. The stage notebooks need their inputs: they run in the pipeline's test."
    nbs = ROOT / "nbs"
    if file_path.suffix != ".ipynb" or nbs not in file_path.parents or "pipelines" in file_path.parts:
        return None
    if any(part.startswith((".", "_")) for part in file_path.relative_to(nbs).parts):
        return None
    return Notebook.from_parent(parent, path=file_path)


class Notebook(pytest.File):
    "A notebook: one test, since values flow downward through its cells."

    def collect(self) -> Iterator[pytest.Item]:
        yield Lesson.from_parent(self, name="lesson")


class Lesson(pytest.Item):
    "All cells of a notebook, run in this process in the notebook's folder, as nbdev-test does in a slower one."

    def runtest(self) -> None:
        from nbdev.test import test_nb

        environment, interrupt = dict(os.environ), signal.getsignal(signal.SIGINT)
        try:
            passed, _seconds = test_nb(self.path)  # tells the failing cell and its traceback on stderr
        finally:
            signal.signal(signal.SIGINT, interrupt)  # test_nb's own handler would end pytest without a report
            os.environ.clear()
            os.environ.update(environment)
            _close_figures()
        if not passed:
            raise LessonFailed(self.path)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: str | None = None) -> str:
        if isinstance(excinfo.value, LessonFailed):
            return f"A cell of {self.path.relative_to(ROOT)} failed; its traceback stands below."
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.relative_to(ROOT)}"


class LessonFailed(Exception):
    "A notebook did not run to its end."


def _close_figures() -> None:
    import matplotlib.pyplot as plt

    plt.close("all")


# --- skips -----------------------------------------------------------------------------------------------------------


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    "Turn a skip into a failure; expected failures are no skips."
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason}\nNothing may be skipped here (GEOCROP_REQUIRE_ALL=1, or CI=true with shared data)."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    _refuse_skip(report)
    return report
