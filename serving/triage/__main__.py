"Alertmanager's receiver as a process: python -m serving.triage"

import argparse
import logging
import os
import sys

import uvicorn

from geocrop import settings
from geocrop.schema import GeocropError

from .app import Desk, create_app
from .cluster import Cluster

# What Alertmanager must send, http_config.authorization; empty: nothing is asked.
TOKEN = "GEOCROP_TRIAGE_TOKEN"  # its name  # noqa: S105  # nosec B105


def main(words: list[str] | None = None) -> int:
    "Serve until SIGTERM. 2 where it may not start like this."
    parser = argparse.ArgumentParser(prog="python -m serving.triage", description="Alertmanager's receiver.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--prometheus", default="", help="http://prometheus:9090, asked what an alert's workload used")
    asked = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        desk = Desk(settings.settings("gitea"), settings.settings("llm"), Cluster.here(asked.prometheus).look)
    except GeocropError as error:
        print(f"geocrop: {error}", file=sys.stderr)
        return 2
    uvicorn.run(create_app(desk, os.environ.get(TOKEN, "")), host=asked.host, port=asked.port, log_config=None,
                access_log=False, server_header=False, limit_concurrency=100)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
