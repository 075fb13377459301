"What ends an attempt and is not the job's fault."

from geocrop.schema import GeocropError, StoreError


class AttemptError(GeocropError):
    "An attempt that the machine or the clock ended: out of time, of memory, of disk, or killed."


class PublishError(StoreError):
    "A map that was made, and that the store does not take."
