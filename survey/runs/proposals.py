"""Which periods of a star a model of periods proposes to search."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from survey.config import SearchConfig
from survey.errors import UsageError
from survey.runs.scores import Light
from survey.signals.search.plan import Ranges

Propose = Callable[[str, Light], Ranges | None]
"""Star and light curve to the periods that are tried, None for all."""


def make_proposal(config: SearchConfig) -> Propose | None:
    """None where nothing is proposed. Raises UsageError where the model is missing, damaged or of another kind."""
    if config.proposal is None:
        return None
    from survey.learning.periods import propose_ranges, score_periods

    artifact = load_proposal(config.proposal)

    def propose(star: str, light: Light) -> Ranges | None:
        found = score_periods(artifact, star, light.time, light.flat, light.cadence_s)
        return propose_ranges(found, config.proposal_peaks)

    return propose


def load_proposal(name: str) -> Any:
    from survey.learning.artifact import find_artifact
    from survey.learning.models.period_net import KIND

    try:
        folder = find_artifact(name)
        artifact = _load(folder, (folder / "model.json").stat().st_mtime_ns)
    except UsageError as error:
        raise UsageError(f"search.proposal: {error} (search.proposal=none does without)") from None
    if artifact.record.kind != KIND.name:
        raise UsageError(f"search.proposal: {name} is a model of {artifact.record.kind}, not of periods")
    return artifact


@lru_cache(maxsize=4)
def _load(folder: Path, changed: int) -> Any:
    from survey.learning.artifact import load_artifact

    return load_artifact(folder)
