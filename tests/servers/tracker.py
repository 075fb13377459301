"""Gitea's issues, and a language model's chat, as their published schemas have them (tests/schemas).

Every request is held against the schema, and so is what is answered. Both can be down, slow, or talk nonsense.
"""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft202012Validator
from loopback import answering

SCHEMAS = Path(__file__).parents[1] / "schemas"
GITEA = json.loads((SCHEMAS / "gitea.json").read_text())
CHAT = json.loads((SCHEMAS / "chat_completions.json").read_text())
TOKEN = "secret-of-the-tracker"


def check(page: Any, schema: dict[str, Any], root: dict[str, Any]) -> None:
    "ValidationError where a page is not what the schema says."
    Draft202012Validator(schema | {"definitions": root.get("definitions", {})}).validate(page)


@dataclass
class Fault:
    "What goes wrong with requests from now on; nothing where it is empty."

    kind: str = ""  # refuse (503), nonsense, hang, lose (done, but the answer never arrives)
    match: str = ""  # Of `METHOD /path`: only these
    over: threading.Event = field(default_factory=threading.Event)  # set: whoever hangs goes on

    def strikes(self, what: str) -> str:
        return self.kind if self.kind and re.search(self.match, what) else ""


@dataclass
class Gitea:
    "One repository."

    url: str = ""
    login: str = "triage"
    fault: Fault = field(default_factory=Fault)
    issues: list[dict[str, Any]] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    assets: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # What changed something
    wrong: list[str] = field(default_factory=list)  # What the schema refuses
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> tuple[int, Any]:
        "Status and page."
        if headers.get("Authorization") != f"token {TOKEN}":
            return 401, {"message": "token is required"}
        for operation in GITEA["operations"]:
            names = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation["path"])
            found = re.fullmatch("/api/v1" + names, path)
            if found and method == operation["method"]:
                break
        else:
            self.wrong.append(f"{method} {path}: no such operation")
            return 404, {"message": "not found"}
        try:
            page = self._given(operation, query, body, headers)
        except Exception as error:
            self.wrong.append(f"{method} {path}: {error}")
            return 422, {"message": "not as the schema says"}
        with self.lock:
            if method != "GET":
                self.asked.append(f"{method} {path.removeprefix('/api/v1/repos/geocrop/geocrop')}")
            told = self._do(method, operation["path"].rpartition("/")[2], found.groupdict(), query, page)
        if told is None:
            return 404, {"message": "not found"}
        check(told, operation["answer"], GITEA)
        return operation["status"], told

    def _given(self, operation: dict[str, Any], query: dict[str, str], body: bytes, headers: Any) -> Any:
        typed = {key: int(value) if value.isdigit() else value for key, value in query.items()}
        check(typed, {"type": "object", "properties": operation.get("query", {}), "additionalProperties": False}, GITEA)
        if "file" in operation:
            kind = headers["Content-Type"]
            (part,) = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body).get_payload()
            assert part.get_param("name", header="content-disposition") == operation["file"], kind
            return part.get_payload(decode=True)
        if "body" in operation:
            page = json.loads(body)
            check(page, operation["body"], GITEA)
            return page
        return None

    def _do(self, method: str, last: str, at: dict[str, str], query: dict[str, str], page: Any) -> Any:
        me = {"id": 1, "login": self.login}
        if last == "user":
            return me
        if last == "labels" and "index" not in at:
            if method == "POST":
                self.labels.append({"id": len(self.labels) + 10, **page})
            start = (int(query.get("page", 1)) - 1) * int(query.get("limit", 30))
            return self.labels[-1] if method == "POST" else self.labels[start : start + int(query.get("limit", 30))]
        if last == "issues" and method == "POST":
            number = len(self.issues) + 1
            given = [label for label in self.labels if label["id"] in page.get("labels", [])]
            one = {"id": 100 + number, "number": number, "state": "open", "user": me, "comments": 0}
            self.issues.append(one | {"title": page["title"], "body": page.get("body", ""), "labels": given})
            return self.issues[-1]
        if last == "issues":
            found = [
                one
                for one in reversed(self.issues)
                if one["user"]["login"] == query.get("created_by", one["user"]["login"])
                and query.get("state", "open") in ("all", one["state"])
                and set(query.get("labels", "").split(",")) - {""} <= {label["name"] for label in one["labels"]}
            ]
            limit = int(query.get("limit", 30))
            start = (int(query.get("page", 1)) - 1) * limit
            return found[start : start + limit]
        number = int(at["index"])
        if not 0 < number <= len(self.issues):
            return None
        issue = self.issues[number - 1]
        if last == "comments":
            there = self.comments.setdefault(number, [])
            if method == "POST":
                there.append({"id": len(there) + 1, "body": page["body"], "user": me})
            return there[-1] if method == "POST" else there
        if last == "assets":
            there = self.assets.setdefault(number, [])
            if method == "POST":
                there.append({"id": len(there) + 1, "name": query["name"], "size": len(page), "text": page.decode()})
            return there[-1] if method == "POST" else there
        if last == "labels":
            issue["labels"] = [label for label in self.labels if label["id"] in page["labels"]]
            return issue["labels"]
        issue |= page
        return issue


@dataclass
class Model:
    "A language model that says what it is told to say."

    says: Callable[[dict[str, Any]], str | None]  # Its words, for a request
    url: str = ""
    key: str = ""
    structured: bool = True  # Whether it knows response_format
    fault: Fault = field(default_factory=Fault)
    asked: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> tuple[int, Any]:
        "Status and page."
        if (method, path) != ("POST", "/v1/chat/completions"):
            return 404, {"error": {"message": "not found"}}
        if self.key and headers.get("Authorization") != f"Bearer {self.key}":
            return 401, {"error": {"message": "invalid api key"}}
        page = json.loads(body)
        try:
            check(page, CHAT["request"], CHAT)
        except Exception as error:
            self.wrong.append(str(error))
            return 400, {"error": {"message": "invalid"}}
        self.asked.append(page)
        if "response_format" in page and not self.structured:
            return 400, {"error": {"message": "response_format is not supported"}}
        message = {"role": "assistant", "content": self.says(page)}
        told = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": page["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }
        check(told, CHAT["response"], CHAT)
        return 200, told


@contextlib.contextmanager
def serving(one: Gitea | Model, path: str = "") -> Iterator[str]:
    "The address at which it answers, until the end of the `with`."
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.one = one
    with answering(server) as url:
        one.url = url + path
        try:
            yield one.url
        finally:
            one.fault.over.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        one, place = self.server.one, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = one.fault.strikes(f"{self.command} {place.path}")
        if fault == "hang":  # a byte now and then: no time-out of a single read ends it
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            with contextlib.suppress(OSError):
                while not one.fault.over.wait(0.05):
                    self.wfile.write(b" ")
            self.close_connection = True
            return None
        if fault == "refuse":
            return self._send(503, b"{}")
        if fault == "nonsense":
            return self._send(200, b"<html>It works!</html>")
        status, page = one.answer(self.command, place.path, dict(parse_qsl(place.query)), body, self.headers)
        if fault == "lose":
            self.close_connection = True
            return None
        return self._send(status, json.dumps(page).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass

    do_GET = do_POST = do_PUT = do_PATCH = _answer
