"""What a sweep would cost on machines for hire: hours and dollars, on paper, from the price list in jobs/nodes.toml."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pydantic

from survey.config import Frozen
from survey.errors import UsageError


class Node(Frozen):
    """One type of machine."""

    name: str
    cores: int = pydantic.Field(ge=1)
    usd_per_hour: float = pydantic.Field(ge=0)


class Prices(Frozen):
    """as_of: when they were taken."""

    as_of: str
    node: tuple[Node, ...]


@dataclass(frozen=True)
class Cost:
    """hours: of one such machine, busy to the last; usd: of them, however many machines share the work."""

    node: Node
    hours: float
    usd: float


def read_prices(path: str | Path | None = None) -> Prices:
    """The price list in a file, else the one that is shipped. Raises UsageError where it is none."""
    try:
        text = (resources.files("jobs") / "nodes.toml").read_text() if path is None else Path(path).read_text()
        return Prices.model_validate(tomllib.loads(text))
    except OSError as error:
        raise UsageError(f"cannot read prices from {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, pydantic.ValidationError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} is no list of prices like jobs/nodes.toml: {reason}") from None


def reckon(core_hours: float, nodes: Sequence[Node]) -> list[Cost]:
    """What so much work of one core costs on each type of machine."""
    hours = [core_hours / node.cores for node in nodes]
    return [Cost(node, time, time * node.usd_per_hour) for node, time in zip(nodes, hours, strict=True)]
