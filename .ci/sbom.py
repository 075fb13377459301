"""Whether lists of software (CycloneDX) say of each image what its lock says: python .ci/sbom.py LIST.cdx.json...

A generator that did not understand a line leaves it out, and a list that is short finds no vulnerability.
"""

import json
import re
import sys
from pathlib import Path

LOCKS = Path(__file__).parents[1] / "serving/images"


def missing(page: dict, lock: str) -> list[str]:
    "Packages of a lock that a list does not name with version and hash."
    listed = {
        (re.sub(r"[-_.]+", "-", one["name"]).lower(), one.get("version"))
        for one in page.get("components", [])
        if any(place.get("hashes") for place in one.get("externalReferences", [])) or one.get("hashes")
    }
    locked = re.findall(r"^([a-z0-9._-]+)==(\S+)", lock, re.M)
    return [f"{name} {version}" for name, version in locked if (name, version) not in listed]


def main(paths: list[str]) -> int:
    wrong = 0
    for path in map(Path, paths):
        page = json.loads(path.read_text())
        gone = missing(page, (LOCKS / f"{path.name.removesuffix('.cdx.json')}.lock").read_text())
        print(f"{path.name}: CycloneDX {page['specVersion']}, {len(page.get('components', []))} components")
        for one in gone:
            print(f"  without {one}, which is locked")
        wrong += len(gone)
    return int(bool(wrong) or not paths)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
