"""What jobs took, told to an MLflow server where there is one.

By MLflow's REST interface, since its client weighs as much as the rest of the worker. In a thread of its own, with
little patience: a server that is slow or away costs jobs nothing, and what it does not hear is dropped.
"""

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from geocrop import settings
from serving.jobs.jobs import Job

log = logging.getLogger(__name__)
TIMEOUT_S = 3.0  # of a request
WAITING = 100  # jobs that have not been told yet; more are dropped
MISSING = "RESOURCE_DOES_NOT_EXIST"  # MLflow's word for what is not there


class Tracker:
    "Tells a server of jobs, one after the other; without an address it does nothing."

    def __init__(
        self,
        url: str,  # http(s)://...; empty: nobody is told
        experiment: str,  # Its name; made where there is none
    ):
        self.url, self.experiment = url, experiment
        self._pool = ThreadPoolExecutor(1, "tracker")
        self._room = threading.BoundedSemaphore(WAITING)

    @classmethod
    def of(cls, mlflow: settings.MLflow) -> "Tracker":
        "That of the settings; a tracking database that is no server is for the laboratory."
        server = mlflow.tracking_uri.startswith(("http://", "https://"))
        return cls(mlflow.tracking_uri.rstrip("/") if server else "", f"{mlflow.experiment}-jobs")

    def log(self, job: Job, result: dict[str, Any]) -> None:
        "Tell of a published job, some time."
        if self.url and self._room.acquire(blocking=False):
            self._pool.submit(self._tell, job, result)

    def close(self) -> None:
        "Drop what waits; what is being told comes to its end."
        self._pool.shutdown(cancel_futures=True)

    def _tell(self, job: Job, result: dict[str, Any]) -> None:
        try:
            with httpx.Client(base_url=f"{self.url}/api/2.0/mlflow/", timeout=TIMEOUT_S, **_identity()) as server:
                run = _ask(server, "runs/create", _run(self._experiment_id(server), job))["run"]["info"]["run_id"]
                _ask(server, "runs/log-batch", {"run_id": run, "metrics": _metrics(job, result)})
                _ask(server, "runs/update", {"run_id": run, "status": "FINISHED", "end_time": _ms(job.updated)})
        except (httpx.HTTPError, KeyError, ValueError) as error:
            log.warning("job %s: MLflow was not told: %s: %s", job.id, type(error).__name__, error)
        finally:
            self._room.release()

    def _experiment_id(self, server: httpx.Client) -> str:
        answer = server.get("experiments/get-by-name", params={"experiment_name": self.experiment})
        if answer.status_code == httpx.codes.NOT_FOUND and answer.json().get("error_code") == MISSING:
            return _ask(server, "experiments/create", {"name": self.experiment})["experiment_id"]
        return answer.raise_for_status().json()["experiment"]["experiment_id"]


def _ask(server: httpx.Client, what: str, page: dict[str, Any]) -> dict[str, Any]:
    return server.post(what, json=page).raise_for_status().json()


def _identity() -> dict[str, Any]:
    "How MLflow's own client says who it is."
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"headers": {"Authorization": f"Bearer {token}"}}
    name, password = (os.environ.get(f"MLFLOW_TRACKING_{part}") for part in ("USERNAME", "PASSWORD"))
    return {"auth": (name, password)} if name and password else {}


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _run(experiment_id: str, job: Job) -> dict[str, Any]:
    known = {
        "job": job.id, "attempt": job.attempt, "year": job.year,
        "model": f"{job.model}/{job.model_version}", "model_sha256": job.model_sha256,
    }  # fmt: skip
    tags = [{"key": f"geocrop.{key}", "value": str(value)} for key, value in known.items()]
    name = {"run_name": f"job {job.id[:8]}", "start_time": _ms(job.updated)}
    return {"experiment_id": experiment_id, "tags": tags} | name


def _metrics(job: Job, result: dict[str, Any]) -> list[dict[str, Any]]:
    summary = result["summary"]
    values = result["measured"] | {
        "waited_s": job.updated - job.created,
        "mean_confidence_pct": summary["mean_confidence_pct"],
        "median_clear_days": summary["median_clear_days"],
        "hectares": sum(summary["hectares_counted"].values()),
        "hectares_without_class": summary["hectares_without_class"],
    }
    known = {key: value for key, value in values.items() if value is not None}
    return [{"key": key, "value": value, "timestamp": _ms(job.updated), "step": 0} for key, value in known.items()]
