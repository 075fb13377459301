"Imports that do without what they only try: memory, and time to start, of every process."

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# xarray with pandas would be 90 MB; the others are for a command line, a store and metrics that nobody asks for here.
TRIED = ("xarray", "rioxarray", "boto3", "rich", "opentelemetry.sdk.metrics")


@contextmanager
def lean() -> Iterator[None]:
    "Inside, what of TRIED is not there yet is not found."
    held = [name for name in TRIED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(held))  # type: ignore[arg-type]  # None: the import system finds nothing
    try:
        yield
    finally:
        for name in held:
            del sys.modules[name]
