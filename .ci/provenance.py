"""Where an image comes from: python .ci/provenance.py IMAGE DIGEST REVISION, the predicate of SLSA provenance 1.0.

https://slsa.dev/spec/v1.0/provenance. It names revision, base and locks by their hashes: with them anybody can build
the image again and compare. Beside the image it is what `cosign attest` signs; BuildKit adds one of its own.
"""

import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def predicate(image: str, digest: str, revision: str, environment: dict[str, str]) -> dict[str, Any]:
    "The predicate. Errors where one of the names is none: a statement that says little is worth nothing."
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise SystemExit(f"provenance: found {digest} {revision}; expected sha256:... and a commit")
    name = image.rsplit("/", 1)[-1]
    base, _, base_digest = (ROOT / "serving/images/base").read_text().strip().partition("@sha256:")
    forge = f"{environment.get('GITHUB_SERVER_URL', '')}/{environment.get('GITHUB_REPOSITORY', '')}"
    files = ("serving/images/Dockerfile", f"serving/images/{name}.lock", "serving/images/build.lock")
    return {
        "buildDefinition": {
            "buildType": "https://mobyproject.org/buildkit@v1",
            "externalParameters": {
                "image": image,
                "digest": digest,
                "target": name,
                "builder": environment.get("BUILDER", "buildkit"),
            },
            "resolvedDependencies": [
                {"uri": f"git+{forge}", "digest": {"gitCommit": revision}},
                {"uri": f"docker://{base}", "digest": {"sha256": base_digest}},
                *({"uri": f"file:{file}", "digest": {"sha256": sha256(ROOT / file)}} for file in files),
            ],
        },
        "runDetails": {
            "builder": {"id": f"{forge}/src/commit/{revision}/.gitea/workflows/build.yaml"},
            "metadata": {"invocationId": f"{forge}/actions/runs/{environment.get('GITHUB_RUN_NUMBER', '')}"},
        },
    }


if __name__ == "__main__":
    json.dump(predicate(*sys.argv[1:4], dict(os.environ)), sys.stdout, indent=1)
