"""Errors as a client sees them: a word, a message that says what to do, and the request's id."""

import json
from typing import Final

from starlette.exceptions import HTTPException

CODES: Final = {
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "not_allowed": 405,
    "too_large": 413,
    "unsupported": 415,
    "invalid": 422,
    "busy": 429,
    "failed": 500,
    "fetch_failed": 503,
    "not_ready": 503,
}
"""Words of errors and their HTTP status; every error of the service carries one of them."""


DEFECT: Final = "a defect of the service; it has been logged"


class Refusal(HTTPException):
    """A request that gets an error for an answer. word: one of CODES; after: seconds until it may come again."""

    def __init__(self, word: str, message: str, after: float | None = None) -> None:
        headers = {"www-authenticate": "Bearer"} if word == "unauthorized" else {}
        if after is not None:
            headers["retry-after"] = str(max(1, round(after)))
        super().__init__(CODES[word], message, headers)
        self.word, self.after = word, after

    def __reduce__(self) -> tuple[type["Refusal"], tuple[str, str, float | None]]:
        return Refusal, (self.word, self.detail, self.after)


def error_body(word: str, message: str, request_id: str) -> bytes:
    return json.dumps({"error": {"code": word, "message": message, "request_id": request_id}}).encode()
