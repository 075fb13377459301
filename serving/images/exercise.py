"""Make each image's environment on this machine, as its Dockerfile does, and let the images work together.

    python -m serving.images.exercise [--json FILE]

No engine for containers is needed. Of serving/images/Dockerfile the very ENV, RUN [...], HEALTHCHECK and CMD are taken,
with other folders in place of those of an image; processes run as its user where we are root. The API is asked for a
map of the season that `bake` makes, and the worker makes it. What does not hold is an error.
"""

import argparse
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from .dockerfile import Image, images

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
USER = 10001
LABORATORY = ("IPython", "jupyterlab", "nbdev", "fastcore", "papermill", "dvc", "mlflow")
SCIENCE = ("numba", "xgboost", "lightgbm", "catboost", "sklearn", "pandas", "xarray", "dask", "scipy", "matplotlib")
WITHOUT = {"api": (*LABORATORY, *SCIENCE), "worker": LABORATORY}  # modules that an image must not hold
PATIENCE_S = 300.0  # with anything: a machine may be busy
AOI = (31.05, -17.83, 150.0)  # in the season of `bake`
ENDED = ("successful", "failed", "dismissed")


AS_USER: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}


class Unfit(Exception):
    "An image that does not do what it should."


# --- an image as a folder --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Box:
    "An image's files on this machine."

    image: Image
    folder: Path  # Of all that stands for its root
    home: Path  # Project folder, in place of the image's

    @property
    def prefix(self) -> Path:
        return self.folder / "opt"

    @property
    def tmp(self) -> Path:
        return self.folder / "tmp"

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        "What ENV says, with our folders; nothing of this process's own environment but what `more` says."
        places = {"/opt/geocrop": self.prefix, "/srv/geocrop": self.home, "/tmp": self.tmp}  # noqa: S108  # nosec B108
        place = re.compile("|".join(rf"(?<![\w/]){one}(?!\w)" for one in places))
        said = {k: place.sub(lambda found: str(places[found[0]]), value) for k, value in self.image.env.items()}
        return said | dict(more)

    def start(self, words: Sequence[str], more: Mapping[str, str], *, root: bool = False, **how: Any) -> Any:
        "A process of the image: as its user, unless it is a step of the build."
        env = self.environment(more)
        program = next((str(p) for d in env["PATH"].split(":") if (p := Path(d, words[0])).is_file()), words[0])
        if not root:
            how |= AS_USER
        return subprocess.Popen([program, *words[1:]], env=env, cwd=self.home, **how)

    def do(self, words: Sequence[str], more: Mapping[str, str] | None = None, *, stdin: str = "", **how: Any) -> str:
        "What a command prints; Unfit where it fails."
        process = self.start(
            words, more or {}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how
        )
        try:
            out, err = process.communicate(stdin, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        if process.returncode:
            raise Unfit(
                f"{self.image.name}: {shlex.join(words)} ended with {process.returncode}: {(out + err)[-2000:]}"
            )
        return out

    @contextmanager
    def running(self, words: Sequence[str], more: Mapping[str, str], log: Path) -> Iterator[Any]:
        "A process that goes on; it ends with the `with`."
        with log.open("wb") as file:
            process = self.start(words, more, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def interpreter() -> str:
    "A Python that the image's user may run too: one that lies in somebody's home is closed to it."
    for python in (sys.executable, shutil.which("python3.11", path=os.defpath)):
        with suppress(OSError):
            if python and not subprocess.run([python, "-c", ""], **AS_USER).returncode:
                return python
    raise Unfit(f"Python: found {sys.executable}, which user {USER} may not run; expected python3.11 of the system")


def install(image: Image, folder: Path, home: Path) -> Box:
    "The steps of the build: install.sh, as the Dockerfile calls it."
    box = Box(image, folder, home)
    box.tmp.mkdir(parents=True)
    env = {"UV": str(Path(sys.executable).parent / "uv"), "PYTHON": interpreter(), **os.environ}
    for step in (("packages", image.name, str(box.prefix)), ("geocrop", str(box.prefix))):
        subprocess.run([HERE / "install.sh", *step], env=env, check=True)
    if AS_USER:
        os.chown(box.tmp, USER, USER)
    return box


def megabytes(folder: Path) -> int:
    "What its files take."
    return sum(p.lstat().st_size for p in folder.rglob("*") if not p.is_dir()) // 1_000_000


def lacks(box: Box, modules: Sequence[str]) -> None:
    "Unfit where one of the modules can be imported."
    code = "import sys; from importlib.util import find_spec; print(*[m for m in sys.argv[1:] if find_spec(m)])"
    if found := box.do(["python", "-c", code, *modules]).split():
        raise Unfit(f"{box.image.name} holds {', '.join(found)}: which extra of pyproject.toml asks for them?")


def compiled_nothing(box: Box) -> None:
    "Unfit where a worker that has made a map had to compile: a kernel that it missed would have come to the copies."
    baked, used = box.prefix / "kernels", box.tmp / "numba"
    copies = [path for path in sorted(used.rglob("*")) if path.is_file()]
    new = [path for path in copies if not same(path, baked / path.relative_to(used))]
    if new or not copies:
        found = ", ".join(path.name for path in new) or "no copy of a kernel"
        raise Unfit(f"{box.image.name}: found {found} beside what bake has compiled; expected nothing to compile")


def same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


# --- the service of two images ---------------------------------------------------------------------------------------


def until(true: Callable[[], Any], otherwise: Callable[[], str]) -> Any:
    "Wait for something to come true."
    end = time.monotonic() + PATIENCE_S
    while not (found := true()):
        if time.monotonic() > end:
            raise Unfit(otherwise())
        time.sleep(0.05)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def serve(api: Box, worker: Box, folder: Path) -> dict[str, float]:
    "A map that is asked of the one image and made by the other; seconds that things took."
    port, password = free_port(), secrets.token_urlsafe(16)
    more = {
        "GEOCROP_API_HOST": "127.0.0.1", "GEOCROP_API_PORT": str(port), "GEOCROP_API_SECRET": secrets.token_hex(32),
        "GEOCROP_DATABASE_URL": f"sqlite:///{folder / 'service.db'}",
        "GEOCROP_STORE_RESULTS": str(folder / "results"), "GEOCROP_STORE_BASELINES": "",
    }  # fmt: skip
    took = {}
    api.do(["geocrop", "users", "add", "tendai", "--password-stdin"], more, stdin=password)
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30))
        logs = {name: folder / f"{name}.log" for name in ("api", "worker")}

        def said() -> str:
            return "\n".join(f"--- {name}\n{log.read_text()[-3000:]}" for name, log in logs.items() if log.exists())

        def alive() -> bool:
            with suppress(httpx.HTTPError):
                return client.get("/healthz").is_success
            return False

        begin = time.monotonic()
        stack.enter_context(api.running(api.image.command, more, logs["api"]))
        until(alive, said)
        took["api answers"] = time.monotonic() - begin
        check = [str(port) if word == "8000" else word for word in api.image.healthcheck]
        api.do(check, more)

        stack.enter_context(worker.running(worker.image.command, more, logs["worker"]))
        token = client.post("/auth/token", data={"username": "tendai", "password": password}).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        made = client.post("/processes/crop-map/execution", json={"inputs": {"aoi": AOI, "year": 2022}})
        if made.status_code != 201:
            raise Unfit(f"the API refuses the job: {made.status_code} {made.text}")
        begin = time.monotonic()
        state = until(lambda: (now := client.get(made.headers["Location"]).json())["status"] in ENDED and now, said)
        took["job"] = time.monotonic() - begin
        if state["status"] != "successful":
            raise Unfit(f"the job has {state['status']}: {state}\n{said()}")
        if not client.get(f"{made.headers['Location']}/results").is_success:
            raise Unfit("the job has no results")
        worker.do(worker.image.healthcheck, more)
    return took


def exercise() -> dict[str, Any]:
    "Facts of each image, and what its processes took; Unfit where one is not what it should be."
    with tempfile.TemporaryDirectory(prefix="geocrop-images-") as name:
        os.chmod(name, 0o755)  # its user has to enter  # noqa: S103  # nosec B103
        return _exercise(Path(name))


def _exercise(folder: Path) -> dict[str, Any]:
    known, srv, project = images((HERE / "Dockerfile").read_text()), folder / "srv", folder / "project"
    srv.mkdir()
    for name in ("params.yaml", "settings.ini"):
        shutil.copy(ROOT / name, srv)
    boxes: dict[str, Box] = {}
    facts: dict[str, Any] = {}
    for name in ("api", "worker"):
        begin = time.monotonic()
        box = boxes[name] = install(known[name], folder / name, srv)
        facts[name] = {
            "packages": len([*box.prefix.rglob("*.dist-info")]),
            "megabytes": megabytes(box.prefix),
            "installed_s": round(time.monotonic() - begin, 1),
        }
        lacks(box, WITHOUT[name])
    begin = time.monotonic()
    for words in known["worker"].run:
        boxes["worker"].do((*words, str(project)), root=True)
    facts["worker"]["kernels_s"] = round(time.monotonic() - begin, 1)
    facts["worker"]["kernels_megabytes"] = megabytes(boxes["worker"].prefix / "kernels")
    if AS_USER:
        for path in (folder, project, *project.rglob("*")):
            os.chown(path, USER, USER)
    api, worker = (replace(boxes[name], home=project) for name in ("api", "worker"))
    took = serve(api, worker, folder)
    compiled_nothing(worker)
    return facts | {"together": took}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m serving.images.exercise", description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write what was found to this file")
    asked = parser.parse_args(words)
    try:
        found = json.dumps(exercise(), indent=1)
    except Unfit as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    print(found)
    if asked.json:
        asked.json.write_text(found + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
