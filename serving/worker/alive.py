"""Whether the worker of this machine has been heard of lately: python -m serving.worker.alive

For HEALTHCHECK of its container, whose host name begins the worker's. Exit 0 where it has. A database that is away
says nothing of the worker, so no liveness probe asks this: a restart would throw away the map in hand.
"""

import socket
import sys

from geocrop import settings
from geocrop.schema import GeocropError
from serving.jobs import database, workers


def main() -> int:
    here = f"{socket.gethostname()[:80]}-"  # as Worker names itself
    try:
        engine = database.connect(settings.settings("database").url)
        return int(not any(name.startswith(here) for name in workers.alive(engine, settings.settings("jobs").lease_s)))
    except GeocropError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
