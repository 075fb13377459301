"What can go wrong between a client and the service, by kind. `problems` says how each is answered."

from geocrop.schema import GeocropError


class NotFound(GeocropError):
    "A page, file, season or collection that is not there."


class NoSuchProcess(NotFound):
    "A process that this service does not run."


class NotReady(NotFound):
    "Results of a job that has not ended yet."


class NotAllowed(GeocropError):
    "No token, or one that does not hold (any longer)."


class TooManyTries(GeocropError):
    "Passwords that were wrong too often."

    def __init__(self, thing: str, *, found: object, expected: object, remedy: str, retry_after_s: int):
        super().__init__(thing, found=found, expected=expected, remedy=remedy)
        self.retry_after_s = retry_after_s  # seconds until the next one is looked at


class Busy(GeocropError):
    "More than this process takes on at once."


class AnswersAway(GeocropError):
    "The side that answers at once does not."
