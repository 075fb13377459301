"""Keep what a run of Gitea Actions made, with the run: python .ci/keep.py NAME FOLDER

As actions/upload-artifact does up to version 3, in the words of Gitea's routers/api/actions/artifacts.go: ask where,
put each file, confirm. The runner names ACTIONS_RUNTIME_URL, ACTIONS_RUNTIME_TOKEN and GITHUB_RUN_ID.
"""

import base64
import hashlib
import os
import sys
from collections.abc import Mapping
from json import JSONDecodeError
from pathlib import Path

import httpx

MOST_FILES, MOST_BYTES = 500, 50_000_000  # in all
DAYS = 30  # until Gitea throws it away
VERSION = {"api-version": "6.0-preview"}


def chosen(folder: Path) -> list[Path]:
    "Files of a folder that are not empty; ValueError where there is none, or too much."
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    size = sum(path.stat().st_size for path in found)
    if not found or len(found) > MOST_FILES or size > MOST_BYTES:
        raise ValueError(
            f"{folder}: found {len(found)} files, {size} bytes; expected 1 to {MOST_FILES}, up to {MOST_BYTES}"
        )
    return found


def keep(
    runtime: httpx.Client,  # Of ACTIONS_RUNTIME_URL, signed in
    run: int,
    name: str,
    folder: Path,
) -> int:  # Files
    "Put all files of a folder, then say that it is all."
    artifacts, files = f"_apis/pipelines/workflows/{run}/artifacts", chosen(folder)
    asked = {"Type": "actions_storage", "Name": name, "RetentionDays": DAYS}
    answer = runtime.post(artifacts, params=VERSION, json=asked).raise_for_status().json()
    # The token goes to the server that the runner named, whatever the answer says.
    where = runtime.base_url.copy_with(raw_path=httpx.URL(answer["fileContainerResourceUrl"]).raw_path)
    for path in files:
        content = path.read_bytes()
        headers = {
            "Content-Range": f"bytes 0-{len(content) - 1}/{len(content)}",
            "x-tfs-filelength": str(len(content)),
            "x-actions-results-md5": base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
        }
        item = where.copy_merge_params({"itemPath": f"{name}/{path.relative_to(folder).as_posix()}"})
        runtime.put(item, headers=headers, content=content).raise_for_status()
    runtime.patch(artifacts, params=VERSION | {"artifactName": name}, json={}).raise_for_status()
    return len(files)


def main(name: str, folder: Path, environment: Mapping[str, str]) -> int:
    try:
        url, token, run = (
            environment[key] for key in ("ACTIONS_RUNTIME_URL", "ACTIONS_RUNTIME_TOKEN", "GITHUB_RUN_ID")
        )
    except KeyError as missing:
        print(f"keep: found no {missing}; expected the environment of a run of Gitea Actions", file=sys.stderr)
        return 2
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as runtime:
        try:
            print(f"{name}: {keep(runtime, int(run), name, folder)} files")
        except (httpx.HTTPError, KeyError, JSONDecodeError) as error:
            print(f"keep: Gitea did not take {name}: {error}", file=sys.stderr)
            return 1
        except ValueError as error:
            print(f"keep: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), os.environ))
