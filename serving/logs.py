"What a process of the service says: lines for people, or a line of JSON each that names job and trace."

import datetime as dt
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from geocrop import settings
from geocrop.schema import SettingsError

from . import tracing

PEOPLE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
CHATTY = ("alembic", "httpx", "numexpr", "opentelemetry", "urllib3", "uvicorn")  # of these only what matters
_JOB: ContextVar[str] = ContextVar("job", default="")  # Id of the job in hand


class Machines(logging.Formatter):
    "A line of JSON for each record; `extra={'facts': {...}}` adds members."

    def format(self, record: logging.LogRecord) -> str:
        "Line breaks are escaped: nobody writes a second line by what he sends us."
        at = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        page: dict[str, Any] = {"time": at, "level": record.levelname, "logger": record.name}
        page |= {"message": record.getMessage(), **tracing.ids()}
        if job := _JOB.get():
            page["job"] = job
        page |= getattr(record, "facts", {})
        if record.exc_info:
            page["error"] = self.formatException(record.exc_info)
        return json.dumps(page, default=str)


def log_to_stderr() -> None:
    "Say what happens as telemetry.logs of settings.ini wants it. SettingsError where it wants neither."
    handler = logging.StreamHandler()
    handler.setFormatter(Machines() if for_machines() else logging.Formatter(PEOPLE))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def for_machines() -> bool:
    "Whether lines are of JSON."
    wanted = settings.settings("telemetry").logs
    if wanted not in ("text", "json"):
        raise SettingsError("telemetry.logs", found=repr(wanted), expected="text or json", remedy="Correct it.")
    return wanted == "json"


@contextmanager
def of_job(id: str) -> Iterator[None]:
    "All that this thread says in the `with` is of a job."
    token = _JOB.set(id)
    try:
        yield
    finally:
        _JOB.reset(token)
