"""A real S3 server on the loopback, from Python packages alone: OpenStack Swift with its S3 interface.

It verifies signatures, which the usual mock servers do not. One disc, one replica, nothing that outlives its folder.
As a program, until Ctrl-C:  python tests/servers/swift_s3.py FOLDER
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loopback import answer, free_ports, running

ACCESS_KEY, SECRET_KEY = "test:tester", "testing"  # an account of this server only, which lives as long as its test
ROLES = ("account", "container", "object", "proxy")
FILTERS = ("catch_errors", "gatekeeper", "listing_formats", "bulk", "copy", "slo", "dlo", "versioned_writes")


@dataclass(frozen=True)
class Server:
    "Where the server answers, and the environment in which botocore, s3fs and so DVC find it."

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "NO_PROXY": "127.0.0.1",
        }


@contextlib.contextmanager
def serve(
    folder: Path,  # Discs, configuration and logs; its file system must know extended attributes (tmpfs may not)
    patience_s: float = 120,  # Seconds to wait for the first answer
) -> Iterator[Server]:  # The server, which stops at the end of the `with`
    "Start the four servers of Swift and wait until they answer."
    ports = dict(zip(ROLES, free_ports(len(ROLES)), strict=True))
    _configure(folder, ports)
    tools, env = Path(sys.executable).parent, {**os.environ, "SWIFT_DIR": str(folder)}
    endpoint = f"http://127.0.0.1:{ports['proxy']}"
    with contextlib.ExitStack() as stack:
        for role in ROLES:
            command = [tools / f"swift-{role}-server", folder / f"{role}.conf"]
            ask = (lambda: answer(f"{endpoint}/info")) if role == "proxy" else None  # it asks the others
            stack.enter_context(running(command, folder / f"{role}.log", ask, patience_s, env=env))
        yield Server(endpoint)


def _configure(folder: Path, ports: dict[str, int]) -> None:
    "Write swift.conf, one configuration and one ring per server."
    builder = (
        Path(sys.executable).parent / "swift-ring-builder"
    )  # not imported: Swift changes the threads of its process
    for name in ("discs/d1", "cache"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    policy = "[storage-policy:0]\nname = only\ndefault = yes\n"
    (folder / "swift.conf").write_text(
        f"[swift-hash]\nswift_hash_path_suffix = s\nswift_hash_path_prefix = p\n{policy}"
    )
    common = f"bind_ip = 127.0.0.1\nswift_dir = {folder}\nworkers = 0\nlog_level = WARNING\n"
    for role in ROLES[:3]:
        place = f"r1z1-127.0.0.1:{ports[role]}/d1"
        for words in (["create", "4", "1", "0"], ["add", place, "1"], ["rebalance"]):  # 2**4 parts, one copy, no delay
            subprocess.run([builder, folder / f"{role}.builder", *words], check=True, capture_output=True)
        (folder / f"{role}.conf").write_text(
            f"[DEFAULT]\nbind_port = {ports[role]}\n{common}devices = {folder}/discs\nmount_check = false\n"
            f"disable_fallocate = true\nrecon_cache_path = {folder}/cache\n"
            f"[pipeline:main]\npipeline = {role}-server\n[app:{role}-server]\nuse = egg:swift#{role}\n"
        )
    account, user = ACCESS_KEY.split(":")
    (folder / "proxy.conf").write_text(
        f"[DEFAULT]\nbind_port = {ports['proxy']}\n{common}"
        f"[pipeline:main]\npipeline = {' '.join([*FILTERS[:4], 's3api', 'tempauth', *FILTERS[4:]])} proxy-server\n"
        "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\nallow_account_management = true\n"
        f"[filter:tempauth]\nuse = egg:swift#tempauth\nuser_{account}_{user} = {SECRET_KEY} .admin\n"
        "[filter:s3api]\nuse = egg:swift#s3api\nlocation = us-east-1\ncheck_bucket_owner = no\n"
        + "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in FILTERS)
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # leave through the `with`, so that the four servers stop
    with serve(Path(sys.argv[1]).resolve()) as server, contextlib.suppress(KeyboardInterrupt):
        print("\n".join(f"export {name}={value}" for name, value in server.environment.items()), flush=True)
        signal.pause()
