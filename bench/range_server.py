"""A folder over HTTP, byte ranges included, each answer late by a fixed time: object storage as seen from afar.

    range_server.py FOLDER DELAY_MS      says its port on standard output, and what it was asked when told to end

One process, asyncio and sendfile: it spends some 0.1 ms of CPU on a request, so that the client is what is measured.
"""

import asyncio
import json
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class Asked:
    "What came in."

    requests: int = 0
    bytes: int = 0
    in_flight: int = 0
    most_in_flight: int = 0


def span(headers: dict[str, str], size: int) -> tuple[int, int] | None:
    "First byte and the one behind the last; None where there is no range, or none that fits."
    unit, _, wanted = headers.get("range", "").partition("=")
    first, _, last = wanted.partition("-")
    if unit != "bytes" or "," in wanted or not (first or last):
        return None
    if not first:  # the last so many
        return max(0, size - int(last)), size
    return (int(first), min(int(last) + 1 if last else size, size)) if int(first) < size else None


async def serve(folder: Path, delay_s: float) -> None:
    asked = Asked()
    loop = asyncio.get_running_loop()

    async def answer(method: str, target: str, headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(delay_s)
        path = folder / target.partition("?")[0].lstrip("/")
        if not path.is_file():
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        size = path.stat().st_size
        part = span(headers, size)
        start, stop = part or (0, size)
        head = [
            "HTTP/1.1 206 Partial Content" if part else "HTTP/1.1 200 OK",
            f"Content-Length: {stop - start}",
            "Accept-Ranges: bytes",
            "Content-Type: image/tiff",
            'Last-Modified: Thu, 01 Sep 2022 00:00:00 GMT\r\nETag: "1"',
        ]
        if part:
            head.append(f"Content-Range: bytes {start}-{stop - 1}/{size}")
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
        await writer.drain()
        if method == "GET":
            with path.open("rb") as file:
                await loop.sendfile(writer.transport, file, start, stop - start)
            asked.bytes += stop - start

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = text.split("\r\n")
                method, target, _ = first.split(" ", 2)
                headers = {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
                asked.requests += 1
                asked.in_flight += 1
                asked.most_in_flight = max(asked.most_in_flight, asked.in_flight)
                try:
                    await answer(method, target, headers, writer)
                finally:
                    asked.in_flight -= 1
        except (asyncio.IncompleteReadError, ConnectionError):  # the client has what it wanted
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    print(json.dumps(asdict(asked)), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2]) / 1000))
