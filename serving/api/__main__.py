"""The API as a process: python -m serving.api

On SIGTERM it takes no further connection, answers what it has been asked, ends event streams, and is gone. Started on a
socket that somebody else holds (--fd), a new process takes over from an old one and no connection is lost between: both
take from one queue. (Two sockets of one port, SO_REUSEPORT, each have their own, and Linux resets what waits in the one
that closes.)
"""

import argparse
import asyncio
import gc
import logging
import signal
import socket
import sys

import uvicorn

from geocrop import settings
from geocrop.schema import GeocropError
from serving import tracing
from serving.logs import log_to_stderr

log = logging.getLogger("serving.api")
LINGER_S = 1.0  # in which clients that hold a connection are told, with an answer, to open another
PATIENCE_S = 30  # with requests that are under way


class Server(uvicorn.Server):
    "Uvicorn that says goodbye before it hangs up."

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        "Say when connections are taken: from then on an older process may go."
        await super().startup(sockets)
        log.info("listening on %s", ", ".join("{}:{}".format(*held.getsockname()[:2]) for held in sockets or []))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        "No new connections; those that are there are answered with `Connection: close`, then closed."
        self.config.app.state.service.close()  # type: ignore[union-attr]
        for server in self.servers:
            server.close()
        for held in sockets or []:
            held.close()
        end = asyncio.get_running_loop().time() + LINGER_S
        while self.server_state.connections and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def main(words: list[str] | None = None) -> int:
    "Serve until SIGTERM. 2 where it may not start like this."
    parser = argparse.ArgumentParser(prog="python -m serving.api", description="The API of the service.")
    parser.add_argument("--host", help="address; default: api.host of settings.ini")
    parser.add_argument("--port", type=int, help="default: api.port of settings.ini")
    parser.add_argument("--fd", type=int, help="number of a listening socket that was inherited, instead of these")
    asked = parser.parse_args(words)
    try:
        log_to_stderr()
        tracing.begin("api")
        gc.disable()  # what is imported stays: looking through it for garbage is a fifth of the time to start
        from .app import create_app

        gc.freeze()
        gc.enable()
        api = settings.settings("api")
        host, port = asked.host or api.host, api.port if asked.port is None else asked.port
        config = uvicorn.Config(
            create_app(), host=host, port=port, loop="uvloop", http="httptools", log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=PATIENCE_S, backlog=2048,
        )  # fmt: skip
    except GeocropError as error:
        print(f"geocrop: {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn passes the signal on when all is done
    listener = socket.socket(fileno=asked.fd) if asked.fd is not None else config.bind_socket()
    try:
        Server(config).run(sockets=[listener])
    finally:
        tracing.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
