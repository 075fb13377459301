"""What the servers of the tests share: ports that are free, and a server that answers from a thread."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer


def free_ports(number: int) -> list[int]:
    "Ports that nobody listens on now."
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def answering(server: ThreadingHTTPServer) -> Iterator[str]:
    "The server's address; it stops at the end of the `with`."
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
