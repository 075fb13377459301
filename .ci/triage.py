"""What failed in this run of Gitea Actions, each job as an issue; those of jobs that passed are closed: .ci/triage.py

Asks Gitea for the jobs of the run (listWorkflowRunJobs) and the logs of those that failed (downloadActionsRunJobLogs),
and gives each to `geocrop triage ci`. Only the end of a log is read: that is where it says why.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
MOST_BYTES = 2_000_000  # of a log
PAGE = 50
ENDED = ("failure", "success")  # one that was cancelled or skipped says nothing


def jobs(gitea: httpx.Client, run: str) -> Iterator[dict[str, Any]]:
    "Those of a run that have ended."
    for page in range(1, 100):
        answer = gitea.get(f"{run}/jobs", params={"page": page, "limit": PAGE}).raise_for_status().json()
        yield from (one for one in answer["jobs"] if one.get("conclusion") in ENDED)
        if page * PAGE >= answer["total_count"]:
            return


def end_of_log(gitea: httpx.Client, address: str) -> str:
    "The last of a log, however long it is."
    end = b""
    with gitea.stream("GET", address, follow_redirects=True) as answer:
        for piece in answer.raise_for_status().iter_bytes():
            end = (end + piece)[-MOST_BYTES:]
    return end.decode(errors="replace")


def main(environment: Mapping[str, str]) -> int:
    try:
        server, repository, run, commit, token = (
            environment[key]
            for key in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_SHA", "TOKEN")
        )
    except KeyError as missing:
        print(f"triage: found no {missing}; expected the environment of a run of Gitea Actions", file=sys.stderr)
        return 2
    actions, folder, status = f"/repos/{repository}/actions", ROOT / "build/failed", 0
    folder.mkdir(parents=True, exist_ok=True)
    headers = {"Authorization": f"token {token}"}
    with httpx.Client(base_url=f"{server.rstrip('/')}/api/v1", headers=headers, timeout=60) as gitea:
        try:
            facts = {"commit": commit, "run": f"{server}/{repository}/actions/runs/{int(run)}"}
            words = [word for key, value in facts.items() for word in ("--fact", f"{key}={value}")]
            geocrop = environment.get("GEOCROP", ROOT / ".venv/bin/geocrop")
            ended = [*jobs(gitea, f"{actions}/runs/{int(run)}")]
            for job in ended:
                name = re.sub(r"[^A-Za-z0-9]+", "-", job["name"]).strip("-")[:60]
                what: Path | str = "--passed"
                if job["conclusion"] == "failure":
                    what = folder / f"{int(job['id'])}-{name}.log"
                    what.write_text(end_of_log(gitea, f"{actions}/jobs/{int(job['id'])}/logs"))
                told = subprocess.run([geocrop, "triage", "ci", what, "--name", name, *words])
                status = status or told.returncode
        except httpx.HTTPError as error:
            print(f"triage: Gitea does not say what failed: {error}", file=sys.stderr)
            return 1
    failed = sum(job["conclusion"] == "failure" for job in ended)
    print(f"{failed} failed jobs, {len(ended) - failed} that passed")
    return status


if __name__ == "__main__":
    sys.exit(main(os.environ))
