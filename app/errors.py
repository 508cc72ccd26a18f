"""Everything the service refuses or fails at. Statuses and codes: the table in `app/problems.py`.

ServiceError
├── BadInput                 the request cannot be answered as it stands; sending it again will not help
│   ├── EmptyBody
│   ├── MalformedMultipart
│   ├── UnsupportedMediaType     the request's Content-Type is neither multipart nor an image
│   ├── UnsupportedFormat        an image, but of a format that is never decoded
│   ├── UndecodableImage         damaged, or no image at all
│   ├── ImageTooSmall
│   ├── TooManyPixels            one image
│   ├── TooManyImages            one request
│   ├── TooManyBytes             one request
│   ├── RequestTooLarge          decoded, it would never fit the queue's budget
│   ├── TooManyRegions           one page
│   ├── BadRegion                outside its page, or no area: that region alone
│   ├── InvalidParameter
│   ├── ResultTooLarge           the answer would not fit the format asked for
│   ├── UploadTimedOut           the body did not arrive within the request's time
│   └── UnknownModel
├── Unauthorized             no API key, or an unknown one, where keys are required
├── Forbidden                it takes an admin key
├── ModelRefused             it cannot be loaded or warmed; the active version goes on
├── Overloaded               carries retry_after_s
│   └── RateLimited              one API key's own limit, whatever room there is
├── NotReady                 draining, or the predictor has stopped
├── DeadlineExceeded
├── ClientDisconnected       nobody is left to answer
├── InferenceFailed          the predictor failed on this image, alone and in company
│   └── OutOfMemory              the batch was too large for the device
├── InternalError            a defect of the service itself; the cause is in the log
└── StartupError             ends the process; one sentence that says what to do
"""

from typing import ClassVar


class ServiceError(Exception):
    """Root of the tree; the message is for the person who sent the request or started the service."""

    outcome: ClassVar[str] = "failed"  # what metrics count it as


class BadInput(ServiceError):
    outcome = "bad_input"


class EmptyBody(BadInput):
    pass


class MalformedMultipart(BadInput):
    pass


class UnsupportedMediaType(BadInput):
    pass


class UnsupportedFormat(BadInput):
    pass


class UndecodableImage(BadInput):
    pass


class ImageTooSmall(BadInput):
    pass


class TooManyPixels(BadInput):
    pass


class TooManyImages(BadInput):
    pass


class TooManyBytes(BadInput):
    pass


class RequestTooLarge(BadInput):
    pass


class TooManyRegions(BadInput):
    pass


class BadRegion(BadInput):
    pass


class InvalidParameter(BadInput):
    pass


class ResultTooLarge(BadInput):
    pass


class UploadTimedOut(BadInput):
    pass


class UnknownModel(BadInput):
    pass


class Unauthorized(ServiceError):
    outcome = "refused"


class Forbidden(ServiceError):
    outcome = "refused"


class ModelRefused(ServiceError):
    outcome = "refused"


class Overloaded(ServiceError):
    outcome = "refused"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(Overloaded):
    pass


class NotReady(ServiceError):
    outcome = "refused"


class DeadlineExceeded(ServiceError):
    outcome = "expired"


class ClientDisconnected(ServiceError):
    outcome = "cancelled"


class InferenceFailed(ServiceError):
    pass


class OutOfMemory(InferenceFailed):
    pass


class InternalError(ServiceError):
    pass


class StartupError(ServiceError):
    pass
