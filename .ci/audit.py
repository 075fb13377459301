"""What pip-audit found, judged: pip-audit --format json ... | python .ci/audit.py LOCK

Exit 1 where a package has a known vulnerability that ACCEPTED does not name, where pip-audit could not ask about one,
or where it was silent about one that the lock names. Advisories of Python packages carry no severity that could be
relied on, so that each one blocks; ACCEPTED is for those that were looked at.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

ACCEPTED: dict[str, str] = {}  # advisory -> why it does not concern us


def judged(page: dict[str, Any], lock: str) -> list[str]:
    "What is wrong, a line each."
    answers = {re.sub(r"[-_.]+", "-", one["name"]).lower(): one for one in page.get("dependencies", [])}
    wrong = []
    for name, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", lock, re.M):
        one = answers.get(name)
        if one is None or "skip_reason" in one or one.get("version") != version:
            why = (one or {}).get("skip_reason", "no answer") if not one or "skip_reason" in one else one["version"]
            wrong.append(f"{name} {version}: not asked about: {why}")
            continue
        for hole in one["vulns"]:
            if not {hole["id"], *hole.get("aliases", [])} & ACCEPTED.keys():
                fixed = ", ".join(hole.get("fix_versions", [])) or "no version yet"
                wrong.append(f"{name} {version}: {hole['id']}, fixed in {fixed}")
    return wrong


def main(path: str, said: str) -> int:
    lock = Path(path).read_text()
    try:
        wrong = judged(json.loads(said), lock)
    except (ValueError, KeyError, AttributeError) as error:
        wrong = [f"pip-audit gave no answer that can be read ({type(error).__name__})"]
    for line in wrong:
        print(f"{path}: {line}")
    print(f"{path}: {len(re.findall('==', lock))} packages, {len(wrong)} problems")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.stdin.read()))
