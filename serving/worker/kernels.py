"""Kernels that were compiled when an image was built, for Numba in a container whose root is read-only.

Numba uses a cache only where it can write, since it has to add what is missing. So what `bake` has compiled, which lies
in the image, is copied into NUMBA_CACHE_DIR by the first process that looks there. The image says
NUMBA_CACHE_LOCATOR_CLASSES=serving.worker.kernels.Baked, so that this holds for whatever command it is started with.
"""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from numba.core.caching import UserProvidedCacheLocator

from .bake import KERNELS


class Baked(UserProvidedCacheLocator):
    "NUMBA_CACHE_DIR, which holds what the image holds."

    def ensure_cache_path(self) -> None:
        here = Path(self.get_cache_path())
        baked = KERNELS / here.name
        if baked.is_dir() and not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=here.parent) as folder, suppress(OSError):
                # whole or not at all; a process that was faster has put the same there
                shutil.copytree(baked, Path(folder, "new")).rename(here)
        super().ensure_cache_path()
