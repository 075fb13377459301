"""Write the baselines of the embedded land: python -m serving.worker.baselines

In a process of its own, so that the service need not wait for it. What is there is kept.
"""

import sys

from geocrop import baselines, settings

YEARS = range(2015, 2026)  # since Sentinel-2A flies


def main() -> int:
    base = settings.params("base")
    folder, size_px = settings.settings("store").baselines, settings.params("simulate").size_px
    baselines.write(folder, YEARS, seed=base.seed, size_px=size_px, own_year=base.year)
    return 0


if __name__ == "__main__":
    sys.exit(main())
