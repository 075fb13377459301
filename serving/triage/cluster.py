"""What Kubernetes and Prometheus know of an alert's pods: logs, events, memory and processor of the last half hour.

Read only, and only what the alert names: the labels are checked before they become part of an address, since whoever
can send an alert chooses them. Where a part does not answer, the report is made without it.
"""

import dataclasses
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from geocrop.incidents import Incident, IncidentError, Log, events_log, log, metrics_log

SECRETS = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # mounted where the Deployment asks for it
NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")  # RFC 1123, as Kubernetes checks it
MOST_PODS, LINES, MOST_BYTES = 2, 400, 1_000_000
SINCE_S, STEP_S = 1800, 60
QUERIES = (
    'container_memory_working_set_bytes{namespace="%s",pod="%s",container!=""}',
    'rate(container_cpu_usage_seconds_total{namespace="%s",pod="%s",container!=""}[5m])',
)


@dataclass(frozen=True)
class Cluster:
    "Where to ask; an empty address is not asked."

    kubernetes: str = ""
    prometheus: str = ""
    token: str = ""
    certificate: str = ""  # File of the cluster's authority
    transport: httpx.BaseTransport | None = None

    @classmethod
    def here(cls, prometheus: str = "") -> "Cluster":
        "The cluster that we run in, where a token of it is mounted."
        if not (SECRETS / "token").is_file():
            return cls(prometheus=prometheus)
        token = (SECRETS / "token").read_text().strip()
        return cls("https://kubernetes.default.svc", prometheus, token, str(SECRETS / "ca.crt"))

    def look(self, incident: Incident) -> Incident:
        "The incident with what the cluster says of its pods."
        if incident.resolved:
            return incident
        logs = list(incident.logs)
        for pair in incident.pods[:MOST_PODS]:
            if all(NAME.fullmatch(part) for part in pair):
                logs += self._of_pod(*pair)
        return dataclasses.replace(incident, logs=tuple(logs))

    def _of_pod(self, namespace: str, pod: str) -> list[Log]:
        found: list[Log] = []
        at, fields = f"/api/v1/namespaces/{namespace}", f"involvedObject.name={pod}"
        if self.kubernetes:
            for name, before in (("before the restart", "true"), ("now", "false")):
                asked: dict[str, Any] = {"tailLines": LINES, "limitBytes": MOST_BYTES, "previous": before}
                text = self._ask(self.kubernetes, f"{at}/pods/{pod}/log", asked)
                found += [log(f"pod {pod}, {name}", text)] if text else []
            found += self._read(events_log, self._ask(self.kubernetes, f"{at}/events", {"fieldSelector": fields}))
        if self.prometheus:
            now = int(time.time())
            for query in QUERIES:
                span = {"query": query % (namespace, pod), "start": now - SINCE_S, "end": now, "step": STEP_S}
                found += self._read(metrics_log, self._ask(self.prometheus, "/api/v1/query_range", span))
        return found

    def _ask(self, base: str, path: str, asked: dict[str, Any]) -> str:
        "What is answered, or nothing."
        headers = {"Authorization": f"Bearer {self.token}"} if base == self.kubernetes and self.token else {}
        verify: Any = True
        if self.certificate and base == self.kubernetes:
            import ssl

            verify = ssl.create_default_context(cafile=self.certificate)
        try:
            with (
                httpx.Client(timeout=10, verify=verify, transport=self.transport) as client,
                client.stream("GET", base + path, params=asked, headers=headers) as answer,
            ):
                body = bytearray()
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > 4 * MOST_BYTES:
                        break
            return body.decode(errors="replace") if answer.status_code == 200 else ""
        except httpx.HTTPError:
            return ""

    @staticmethod
    def _read(reader: Any, text: str) -> list[Log]:
        try:
            found = reader(json.loads(text)) if text else None
        except (ValueError, IncidentError):
            return []
        return [found] if found and found.text else []
