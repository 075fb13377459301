"""The page that the repository keeps: built from these sources and facts, small, and asking nobody else."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import npm

ROOT = Path(__file__).parents[2]
WEB = ROOT / "serving" / "web"
DIST = WEB / "dist"
MOST_BYTES = 400_000  # of all that a first visit could fetch, in gzip
PACKED = (".woff2",)  # not made smaller by gzip
# Addresses that stand in the text of libraries: names of XML dialects, pages about errors, examples. Nobody opens them.
NAMED = ("react.dev", "www.opengis.net", "www.w3.org")


def bytes_of(folder: Path) -> dict[str, bytes]:
    "Path -> content of all files of a folder."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_page_says_what_the_project_says():
    said = subprocess.run([sys.executable, WEB / "facts.py", "--check"], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


def test_the_page_is_small():
    sizes = {
        name: len(content if name.endswith(PACKED) else gzip.compress(content, mtime=0))
        for name, content in bytes_of(DIST).items()
    }
    print(f"dist in gzip: {sum(sizes.values()):,} bytes of {MOST_BYTES:,}")
    assert 50_000 < sum(sizes.values()) < MOST_BYTES, sizes


def test_the_page_fetches_from_nowhere_else():
    files = {name: content.decode("utf-8", errors="ignore") for name, content in bytes_of(DIST).items()}
    for name, text in files.items():
        if name.endswith((".html", ".css", ".svg")):
            assert not re.search(
                r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|url\(["']?(?:https?:)?//|@import""", text
            ), name
        if name.endswith(".js"):
            hosts = set(re.findall(r"https?://([\w.-]+\.[a-z]{2,})", text))
            assert hosts <= set(NAMED), f"{name}: {sorted(hosts - set(NAMED))}"


def test_english_stands_in_one_file():
    "Between tags, and in what a reader or a screen reader is told, only expressions stand in components."
    spoken = re.compile(
        r""">[^<>{}=;()]*[A-Za-z]{2,}[^<>{}=;()]*</|\b(?:title|label|alt|aria-label)=["'][^"']*[A-Za-z]"""
    )
    for path in sorted((WEB / "src").rglob("*.tsx")):
        found = spoken.search(path.read_text())
        assert not found, f"{path.name}: {found[0]!r} belongs into strings.ts"


def test_the_page_is_a_fresh_build(tmp_path: Path):
    "Elsewhere, from the same sources, the same bytes. Nothing of the machine is in them."
    fresh, kept = bytes_of(npm.built(tmp_path / "web")), bytes_of(DIST)
    assert sorted(fresh) == sorted(kept), "Run: make web"
    assert [name for name in kept if kept[name] != fresh[name]] == [], "Run: make web"
