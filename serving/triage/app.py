"""What Alertmanager's webhook_configs is pointed at: POST /alerts, JSON of version 4.

A message is on disk before it is accepted, since Alertmanager sends again only what was refused. One thread works it
off: it looks at what the cluster says, finds, asks the model where there is one, and tells Gitea. Nothing else is ever
changed.
"""

import hmac
import logging
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from geocrop.incidents import MOST_BYTES, Incident, IncidentError, read_alerts
from geocrop.settings import Gitea, Llm
from geocrop.store import publish
from geocrop.triage import MOST_WAITING, Spool, deliver, reported

log = logging.getLogger("serving.triage")
AGAIN_S = 60.0  # how often what could not be sent is tried again
Look = Callable[[Incident], Incident]  # adds what the cluster says


class Desk:
    "Messages that were accepted, and the thread that works them off."

    def __init__(self, gitea: Gitea, llm: Llm, look: Look = lambda incident: incident, again_s: float = AGAIN_S):
        self._gitea, self._llm, self._look, self._again_s = gitea, llm, look, again_s
        self.inbox = Path(gitea.spool) / "inbox"
        self.inbox.mkdir(parents=True, exist_ok=True)
        self._news, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="triage", daemon=True)

    def accept(self, body: bytes) -> bool:
        "Keep a message; False where too many wait."
        names = sorted(path.name for path in self.inbox.glob("*.json"))
        if len(names) >= MOST_WAITING:
            return False
        number = int(names[-1][:8]) + 1 if names else 1
        path = self.inbox / f"{number:08d}-{secrets.token_hex(4)}.json"
        with publish(path) as draft, draft.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        self._news.set()
        return True

    def start(self) -> None:
        self._news.set()  # of what waited while nobody was here
        self._thread.start()

    def stop(self) -> None:
        "Let the message in hand be finished."
        self._over.set()
        self._news.set()
        self._thread.join(timeout=self._llm.timeout_s + self._gitea.timeout_s)

    def _work(self) -> None:
        while not self._over.is_set():
            self._news.wait(self._again_s)
            self._news.clear()
            for path in sorted(self.inbox.glob("*.json")):
                if self._over.is_set():
                    return
                self._try(self._report, path)
            self._try(self._deliver)

    def _deliver(self) -> None:
        told, failed = deliver(self._gitea)
        if told or failed:
            log.info("told issues %s; wait: %s", told, failed)

    def _try(self, what: Callable[..., None], *words: Path) -> None:
        "Whatever goes wrong with one message, the thread goes on with the next; this one is tried again."
        try:
            what(*words)
        except Exception:
            log.exception("%s is tried again", " ".join(path.name for path in words) or "what waits")

    def _report(self, path: Path) -> None:
        "Reports of a message into the spool; only then is the message forgotten."
        try:
            incidents = read_alerts(path.read_bytes())
        except IncidentError as error:  # it was read once before it was accepted
            log.error("%s: %s", path.name, error)
            incidents = []
        for incident in incidents:
            Spool(self._gitea.spool).put(reported(self._look(incident), self._llm, self._gitea))
        path.unlink()


def create_app(desk: Desk, token: str = "") -> FastAPI:  # nosec B107
    "The receiver; with a token, whoever sends must know it."

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        desk.start()
        yield
        await run_in_threadpool(desk.stop)

    app = FastAPI(lifespan=life, openapi_url=None)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/alerts")
    async def alerts(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode()
        if token and not hmac.compare_digest(given, f"Bearer {token}".encode()):
            return JSONResponse({"detail": "a token is needed"}, 401)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return JSONResponse({"detail": f"more than {MOST_BYTES} bytes"}, 413)
        try:
            await run_in_threadpool(read_alerts, bytes(body))
        except IncidentError as error:
            return JSONResponse({"detail": str(error)}, 400)
        accepted = await run_in_threadpool(desk.accept, bytes(body))
        return Response(status_code=202 if accepted else 503)

    return app
