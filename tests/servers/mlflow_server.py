"""A real MLflow server on the loopback: its database in PostgreSQL, its artifacts in an S3 bucket."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import swift_s3
from loopback import answer, free_ports, running
from postgres import USER, postgres

BUCKET = "geocrop-mlflow"


@dataclass(frozen=True)
class Server:
    "Where MLflow answers, and what stands behind it."

    url: str
    dsn: str  # Of its database, as libpq takes it
    s3: Any  # A client of its S3 server

    def objects(self) -> list[str]:
        "Names of everything in the bucket."
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]


@contextlib.contextmanager
def serve(
    discs: Path,  # For the S3 server; its file system must know extended attributes
    patience_s: float = 180,  # Seconds to wait for the first answer; MLflow makes its tables before
) -> Iterator[Server]:  # The servers, which stop at the end of the `with`
    "Start PostgreSQL, Swift and MLflow, and wait until all answer."
    with tempfile.TemporaryDirectory(prefix="geocrop-mlflow-") as name, contextlib.ExitStack() as stack:
        folder, (database, port) = Path(name), free_ports(2)
        dsn = stack.enter_context(postgres(folder, database))
        store = stack.enter_context(swift_s3.serve(discs))
        s3 = boto3.client(
            "s3", endpoint_url=store.endpoint, region_name="us-east-1",
            aws_access_key_id=swift_s3.ACCESS_KEY, aws_secret_access_key=swift_s3.SECRET_KEY,
        )  # fmt: skip
        s3.create_bucket(Bucket=BUCKET)
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"postgresql+psycopg://{USER}@127.0.0.1:{database}/{USER}",
            "--artifacts-destination", f"s3://{BUCKET}",
        ]  # fmt: skip
        keys = {**store.environment, "MLFLOW_S3_ENDPOINT_URL": store.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        url, env = f"http://127.0.0.1:{port}", {**os.environ, **keys, **quiet}
        with running(command, folder / "mlflow.log", lambda: answer(f"{url}/health"), patience_s, cwd=folder, env=env):
            yield Server(url, dsn, s3)
