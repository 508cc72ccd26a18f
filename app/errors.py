"""Every error of the service, with its HTTP status, stable code and title.

ServiceError
├── BadInput                 the request is at fault; sending it again will not help
│   ├── EmptyBody
│   ├── MalformedMultipart
│   ├── MalformedJson
│   ├── UnsupportedMediaType     the request's Content-Type is neither multipart nor an image
│   ├── UnsupportedFormat        an image in a format that is never decoded
│   ├── UndecodableImage         a damaged image, or no image at all
│   ├── ImageTooSmall
│   ├── TooManyPixels            one image
│   ├── TooManyImages            one request
│   ├── TooManyBytes             one request
│   ├── RequestTooLarge          it would never fit the service's capacity
│   ├── TooManyRegions           one page
│   ├── BadRegion                a region outside its page, or without area; the others are unaffected
│   ├── InvalidParameter
│   ├── InvalidTensor            an inference request of the Open Inference Protocol
│   ├── ResultTooLarge           the requested format cannot hold the result
│   ├── UploadTimedOut           the body did not arrive before the deadline
│   ├── UnknownModel
│   ├── NotFound                 an unknown address
│   └── MethodNotAllowed
├── Unauthorized             API keys are required, and the request has none or an unknown one
├── Forbidden                the request needs an admin key
├── ModelRefused             a model cannot be loaded or warmed; the active version goes on
├── Overloaded               carries retry_after_s
│   └── RateLimited              the API key has reached its own limit
├── NotReady                 draining, or the predictor has stopped
├── NotInstalled             the service lacks an optional package
├── DeadlineExceeded
├── ClientDisconnected
├── InferenceFailed          the predictor failed on this image, also when it ran alone
│   └── OutOfMemory              the batch was too large for the device
├── InternalError            a defect of the service; the cause is in the log
└── StartupError             ends the process with one sentence that names the remedy
"""

from collections.abc import Iterator, Mapping


class ServiceError(Exception):
    """Root of the tree; the message is for the sender of the request, or for the operator at start-up."""

    outcome = "failed"  # its label in metrics
    status = 500  # HTTP
    code = ""  # stable; programs may rely on it. Empty: never sent to a client
    title = ""
    example = ""  # a message, for the OpenAPI page
    headers: Mapping[str, str] = {}


class BadInput(ServiceError):
    outcome = "bad_input"


class EmptyBody(BadInput):
    status, code, title = 400, "empty_body", "There is nothing to read"
    example = "The image is empty (0 bytes)."


class MalformedMultipart(BadInput):
    status, code, title = 400, "malformed_multipart", "The multipart body is malformed"
    example = "The multipart body ends before its closing boundary."


class MalformedJson(BadInput):
    status, code, title = 400, "malformed_json", "The JSON body is malformed"
    example = "The body is not JSON (EOF while parsing a string at line 1 column 90)."


class UndecodableImage(BadInput):
    status, code, title = 400, "undecodable_image", "The image cannot be decoded"
    example = "The image data is damaged or cut off (image file is truncated)."


class UnknownModel(BadInput):
    status, code, title = 404, "unknown_model", "The model is not served here"
    example = "The model 'other' is not served here; served: tbsrn:1."


class NotFound(BadInput):
    status, code, title = 404, "not_found", "There is nothing at this address"
    example = (
        "There is no address /v1/superresolve. The nearest address is: POST /v1/super-resolve. All addresses, "
        "with examples: /docs."
    )


class MethodNotAllowed(BadInput):
    status, code, title = 405, "method_not_allowed", "This address does not take that method"
    example = (
        "GET does not fit /v1/super-resolve; it takes POST, for example curl -F image=@crop.png "
        ".../v1/super-resolve. All addresses, with examples: /docs."
    )


class UploadTimedOut(BadInput):
    status, code, title = 408, "upload_timed_out", "The body did not arrive in time"
    example = "The body did not arrive within the request's deadline."


class TooManyBytes(BadInput):
    status, code, title = 413, "too_many_bytes", "The request body is too large"
    example = "The body is larger than 33554432 bytes; send fewer or smaller images in one request."


class TooManyImages(BadInput):
    status, code, title = 413, "too_many_images", "The request has too many images"
    example = "At most 64 images are taken in one request; send the others in further requests."


class TooManyRegions(BadInput):
    status, code, title = 413, "too_many_regions", "The request has too many regions"
    example = "The request has 10000 regions; at most 1000 are taken. Send several."


class TooManyPixels(BadInput):
    status, code, title = 413, "too_many_pixels", "The image is too large"
    example = (
        "The image has 3000 x 2000 pixels, 6000000 in all; at most 4000000 are accepted, such as 2449 x 1632. "
        "Scale it down or cut it into parts; send a page with the boxes of its text to /v1/super-resolve/regions, "
        "which takes 16000000 pixels."
    )


class RequestTooLarge(BadInput):
    status, code, title = 413, "request_too_large", "The request would never fit the queue"
    example = (
        "The request needs room for 64 windows and 768000000 bytes; the service holds at most 8192 windows and "
        "536870912 bytes. Send it in parts."
    )


class ResultTooLarge(BadInput):
    status, code, title = 413, "result_too_large", "The answer would not fit the format asked for"
    example = "The result would be 18000 x 32 pixels; webp holds at most 16383 a side. Ask for png."


class UnsupportedMediaType(BadInput):
    status, code, title = 415, "unsupported_media_type", "The request's Content-Type is not accepted"
    example = (
        "Content-Type is text/plain; send multipart/form-data with parts named 'image' (curl -F image=@crop.png), "
        "or the image itself (curl --data-binary @crop.png -H 'Content-Type: image/png')."
    )


class UnsupportedFormat(BadInput):
    status, code, title = 415, "unsupported_format", "The image's format is not accepted"
    example = "PDF is not accepted; send PNG."


class ImageTooSmall(BadInput):
    status, code, title = 422, "image_too_small", "The image is too small to hold text"
    example = "The image is 1 x 1 pixels; each side must be at least 4 to hold text."


class BadRegion(BadInput):
    status, code, title = 422, "bad_region", "There is nothing to read in this region"
    example = "The region lies outside the page of 640 x 480 pixels."


class InvalidParameter(BadInput):
    status, code, title = 422, "invalid_parameter", "A parameter is not valid"
    example = "The query parameter 'format' is 'gif'; it must be 'png', 'jpeg' or 'webp'."


class InvalidTensor(BadInput):
    status, code, title = 400, "invalid_tensor", "The inference request is not valid"
    example = "The datatype of the input 'lr' is 'FP16'; send FP32."


class Unauthorized(ServiceError):
    outcome = "refused"
    status, code, title = 401, "unauthorized", "An API key is required"
    example = "This service asks for an API key: send the header 'Authorization: Bearer <key>'."
    headers = {"WWW-Authenticate": 'Bearer realm="Text Telescope"'}  # noqa: RUF012


class Forbidden(ServiceError):
    outcome = "refused"
    status, code, title = 403, "forbidden", "An admin key is required"
    example = "The API key web-shop is no admin key, and this takes one."


class ModelRefused(ServiceError):
    outcome = "refused"
    status, code, title = 409, "model_refused", "The model cannot be served"
    example = "tbsrn:2 cannot be served: model.onnx is missing. The active version goes on."


class Overloaded(ServiceError):
    outcome = "refused"
    status, code, title = 429, "overloaded", "The service is at its capacity"
    example = "The queue is full; try again in 2 s."

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.headers = {"Retry-After": str(retry_after_s)}


class RateLimited(Overloaded):
    code, title = "rate_limited", "The API key is at its limit"
    example = "The API key has used up its 10 images a second; try again in 2 s."


class NotReady(ServiceError):
    outcome = "refused"
    status, code, title = 503, "not_ready", "The service is not taking requests"
    example = "The service is shutting down; send the request to another replica."


class NotInstalled(ServiceError):
    outcome = "refused"
    status, code, title = 501, "not_installed", "This service cannot read text"
    example = (
        "Reading text needs the package rapidocr, which is not installed; run: pip install 'text-telescope[ocr]'."
    )


class DeadlineExceeded(ServiceError):
    outcome = "expired"
    status, code, title = 504, "deadline_exceeded", "The deadline passed"
    example = "The deadline passed before the image was ready."


class ClientDisconnected(ServiceError):
    outcome = "cancelled"
    status, code, title = 499, "client_disconnected", "The client has gone"
    example = "The client went away before its answer was ready."


class InferenceFailed(ServiceError):
    code, title = "inference_failed", "The predictor failed on this image"
    example = "The predictor failed on this image; the cause is in the service's log."


class OutOfMemory(InferenceFailed):
    code, title = "out_of_memory", "The device ran out of memory"
    example = "The predictor ran out of memory on this image alone; the cause is in the service's log."


class InternalError(ServiceError):
    code, title = "internal_error", "The service has a defect"
    example = "An unexpected error was logged under this request id."


class StartupError(ServiceError):
    pass


def sent_errors(root: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    """Every error of the tree that a client can receive."""
    if root.code:
        yield root
    for below in root.__subclasses__():
        yield from sent_errors(below)
