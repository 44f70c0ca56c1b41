"""What the service answers, as pure functions: rows in, bytes out; no Ray and no web framework.

`bodies` makes the JSON that `forms` describes, and the sheet; `plots` the arrays of a drawing.
"""

from serve.answers.bodies import (
    anomaly_answer,
    candidates_answer,
    describe_model,
    models_answer,
    score_answer,
    sheet_png,
    to_bytes,
)

__all__ = [
    "anomaly_answer",
    "candidates_answer",
    "describe_model",
    "models_answer",
    "score_answer",
    "sheet_png",
    "to_bytes",
]
