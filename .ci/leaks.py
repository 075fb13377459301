"""Look for secrets in all that git knows or would take: python .ci/leaks.py [--accept]

What .secrets.baseline holds has been looked at and is none: pictures, checksums, passwords of servers that a test
starts. Anything else is an error. --accept writes the baseline anew; look at its difference before you commit it.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from detect_secrets import SecretsCollection
from detect_secrets.settings import transient_settings

ROOT = Path(__file__).parents[1]
BASELINE = ".secrets.baseline"
PLUGINS = (
    "ArtifactoryDetector", "AWSKeyDetector", "AzureStorageKeyDetector", "BasicAuthDetector", "CloudantDetector",
    "DiscordBotTokenDetector", "GitHubTokenDetector", "GitLabTokenDetector", "JwtTokenDetector",
    "KeywordDetector", "MailchimpDetector", "NpmDetector", "OpenAIDetector", "PrivateKeyDetector", "PypiTokenDetector",
    "SendGridDetector", "SlackDetector", "StripeDetector", "TelegramBotTokenDetector", "TwilioKeyDetector",
)  # fmt: skip
SETTINGS: dict[str, Any] = {
    "plugins_used": [
        *({"name": name} for name in PLUGINS),
        {"name": "HexHighEntropyString", "limit": 3.0},
        {"name": "Base64HighEntropyString", "limit": 4.5},
    ],
    "filters_used": [
        {"path": f"detect_secrets.filters.heuristic.{name}"}
        for name in ("is_sequential_string", "is_potential_uuid", "is_templated_secret", "is_indirect_reference")
    ]
    + [
        # pictures of notebooks change with each run; a checksum is a hash by its nature; a manifest or a workflow that
        # names a secret, by reference, holds none
        {
            "path": "detect_secrets.filters.regex.should_exclude_line",
            "pattern": [
                r'"image/(png|svg\+xml)": "',
                "sha256",
                r"secret(KeyRef|Ref|Name|s?\.[A-Z_]+ \}\})|SecretStore|ServiceAccountToken|github\.token",
            ],
        },
    ],
}

# Locks are hashes, tables are numbers, pictures are no text; modules and the built page are what their sources say.
LEFT_OUT = re.compile(r"\.(lock|csv|png|woff2|tif|parquet)$|(^|/)package-lock\.json$|^serving/web/dist/|^geocrop/")


def files() -> list[str]:
    "Of the repository: what git knows, or would take."
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    kept = (name for name in listed if name and name != BASELINE and not LEFT_OUT.search(name))
    return sorted(name for name in kept if (ROOT / name).is_file())


def found() -> dict[str, dict[tuple[str, str], int]]:
    "File -> what looks like a secret, by kind and hash, never itself -> the line in which it stands."
    secrets = SecretsCollection(root=str(ROOT))
    with transient_settings(SETTINGS):
        for name in files():
            secrets.scan_file(name)
    page: dict[str, dict[tuple[str, str], int]] = {}
    for name, secret in secrets:
        page.setdefault(name, {})[secret.type, secret.secret_hash] = secret.line_number
    return page


def main(words: list[str]) -> int:
    now, path = found(), ROOT / BASELINE
    if "--accept" in words:  # without lines: they move
        kept = {name: [{"type": t, "sha1": h} for t, h in sorted(now[name])] for name in sorted(now)}
        path.write_text(json.dumps(kept, indent=1) + "\n")
        return 0
    known = {(name, one["type"], one["sha1"]) for name, those in json.loads(path.read_text()).items() for one in those}
    new = [
        (name, line, kind)
        for name, those in now.items()
        for (kind, h), line in those.items()
        if (name, kind, h) not in known
    ]
    for name, line, kind in sorted(new):
        print(f"{name}:{line}: {kind}. Take it out, and change it where it was in use. If it is none: --accept")
    print(f"secrets: {sum(map(len, now.values()))} that look like one, {len(new)} of them new")
    return int(bool(new))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
