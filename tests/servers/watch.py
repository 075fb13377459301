"A real Prometheus and a real Alertmanager on the loopback, of Debian's packages, and a receiver of what they tell."

import contextlib
import json
import shutil
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from loopback import answer, answering, free_ports, running

PATIENCE_S = 60  # for the first answer


def there() -> bool:
    "Whether both programs are."
    return bool(shutil.which("prometheus") and shutil.which("prometheus-alertmanager"))


class Receiver:
    "Bodies that were posted to it."

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.url = ""

    def alerts(self, name: str, status: str) -> list[dict[str, Any]]:
        "Alerts of a name that were told as firing or resolved."
        every = [alert for body in list(self.bodies) for alert in body["alerts"]]
        return [alert for alert in every if alert["labels"]["alertname"] == name and alert["status"] == status]

    def receivers(self, name: str) -> set[str]:
        "Receivers of Alertmanager's configuration that an alert of a name went to."
        return {body["receiver"] for body in list(self.bodies) if body["commonLabels"].get("alertname") == name}


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    "One that listens; it stands for triage."
    found, lock = Receiver(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                found.bodies.append(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        found.url = url
        yield found


@contextlib.contextmanager
def alertmanager(
    folder: Path,
    config: Mapping[str, Any],  # Of alertmanager.yml
) -> Iterator[str]:  # HOST:PORT
    "One that groups and tells."
    [port] = free_ports(1)
    place = folder / "alertmanager.yml"
    place.write_text(yaml.safe_dump(dict(config)))
    command = [
        "prometheus-alertmanager", f"--config.file={place}", f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    ask = lambda: answer(f"http://127.0.0.1:{port}/-/ready")  # noqa: E731
    with running(command, folder / "alertmanager.log", ask, PATIENCE_S, cwd=folder):
        yield f"127.0.0.1:{port}"


class Prometheus:
    "One that asks and remembers."

    def __init__(self, url: str):
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        "Series that an expression gives now; ValueError where it is none."
        page = json.load(answer(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))
        if page["status"] != "success":
            raise ValueError(f"{expression}: {page.get('error')}")
        return page["data"]["result"]


@contextlib.contextmanager
def prometheus(
    folder: Path,
    config: Mapping[str, Any],  # Of prometheus.yml
) -> Iterator[Prometheus]:
    "A server with this configuration."
    [port] = free_ports(1)
    place = folder / "prometheus.yml"
    place.write_text(yaml.safe_dump(dict(config)))
    command = [
        "prometheus", f"--config.file={place}", f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}", "--alertmanager.notification-queue-capacity=100",
    ]  # fmt: skip
    ask = lambda: answer(f"http://127.0.0.1:{port}/-/ready")  # noqa: E731
    with running(command, folder / "prometheus.log", ask, PATIENCE_S, cwd=folder):
        yield Prometheus(f"http://127.0.0.1:{port}")
