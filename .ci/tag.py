"""Say which images production runs: python .ci/tag.py KUSTOMIZATION [REVISION FOLDER]

Sets newTag and digest of our images in a kustomization.yaml to what FOLDER/NAME.digest says of each, and leaves all
else, comments too, as it is. NAME is the last part of the image's name there. Nothing is written where one is missing.
With a kustomization alone it prints the images, a line each.
"""

import re
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

TAG = re.compile(r"[0-9a-f]{40}")  # of an image: the commit it was built from
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Refused(Exception):
    "A change that is not made."


def yaml() -> YAML:
    "A reader and writer that keeps what people have written."
    both = YAML()
    both.preserve_quotes, both.width = True, 4096
    both.indent(mapping=2, sequence=4, offset=2)
    return both


def tagged(text: str, tag: str, digests: dict[str, str]) -> str:  # Last part of a name -> digest
    "The kustomization with its images of that tag."
    if not TAG.fullmatch(tag):
        raise Refused(f"Tag: found {tag!r}; expected the 40 digits of a commit")
    page: Any = yaml().load(text)
    images = {one["name"].rsplit("/", 1)[-1]: one for one in page.get("images") or []}
    for name, digest in digests.items():
        if name not in images:
            raise Refused(f"Image {name}: found {', '.join(images) or 'none'} in the kustomization; add it there first")
        if not DIGEST.fullmatch(digest):
            raise Refused(f"Digest of {name}: found {digest!r}; expected sha256: and 64 digits")
        images[name]["newTag"], images[name]["digest"] = tag, digest
    out = StringIO()
    yaml().dump(page, out)
    return out.getvalue()


def running(text: str) -> list[str]:
    "The images as a registry knows them."
    images = yaml().load(text).get("images") or []
    return [
        f"{one['newName']}@{one['digest']}" if "digest" in one else f"{one['newName']}:{one['newTag']}"
        for one in images
    ]


def main(path: Path, tag: str, folder: Path) -> int:
    before = path.read_text()
    digests = {file.stem: file.read_text().strip() for file in sorted(folder.glob("*.digest"))}
    try:
        if not digests:
            raise Refused(f"Digests: found none in {folder}; expected those that .ci/build-image leaves")
        after = tagged(before, tag, digests)
    except Refused as error:
        print(f"tag: {error}", file=sys.stderr)
        return 2
    if after != before:
        path.write_text(after)
    print(f"{path}: {'no change' if after == before else tag}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(*running(Path(sys.argv[1]).read_text()), sep="\n")
    else:
        sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
