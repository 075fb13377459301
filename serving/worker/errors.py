"What ends an attempt that is neither the job's fault nor the store's."

from geocrop.schema import GeocropError


class AttemptError(GeocropError):
    "An attempt that the machine or the clock ended: out of time, of memory, of disk, or killed."
