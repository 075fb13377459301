"""Whether a server of this container answers: python -m serving.images.answers PORT PATH

For HEALTHCHECK; an image has no curl. Exit 0 where it answers with success.
"""

import http.client
import sys

PATIENCE_S = 2.0


def main(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        return int(not 200 <= connection.getresponse().status < 300)
    except (OSError, http.client.HTTPException) as error:
        print(f"port {port}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
