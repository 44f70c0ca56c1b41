"""What training, artifacts and scores need to know of a kind of network, so that none of them knows a network by
name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from survey.config import Frozen, TrainConfig
from survey.learning.examples import Examples

Floats = NDArray[np.floating]


def keep_scales(network: nn.Module, examples: Examples) -> None:
    """For networks that need nothing of the training rows before they begin."""


def agree(shape: Any, inputs: Any) -> None:
    """For networks whose shape says nothing that their inputs could contradict."""


def last_axis_alone(outputs: Floats) -> Floats:
    """For networks of one output: the logits rank as they are."""
    return outputs


@dataclass(frozen=True)
class Kind:
    """A network and how it learns. All functions are plain ones of a module.

    words: what it is, for the model card; limits: what a reader of any of its scores ought to know. shape: what
    `make` takes; inputs: how the inputs are made from light. Both stand in model.json, within bounds that no file can
    use to take all memory; check raises ValueError where they contradict each other. make: the untrained network, on
    any device, `meta` included, which maps the inputs of Examples to (n,) logits or (n, d) outputs. loss: mean loss
    of outputs and targets. vary: a batch with its rows changed at random in ways that leave the targets true, for
    training. reduce: (n, ...) outputs to (n,) scores that rank. blocks: parts of the network from the head backwards,
    for fine-tuning; the first is the head. prepare: sets what the network keeps of the training rows, such as scales.
    facts: (n,) numbers of each row by name, from the examples and the `inputs` settings; their range in training is
    the model's support, and a row outside is flagged by that name; NaN is not measured, and never outside.
    batch: rows of the one padded shape in which everything is scored.
    """

    name: str
    shape: type[Frozen]
    inputs: type[Frozen]
    make: Callable[[Any], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    vary: Callable[[Examples, np.random.Generator, TrainConfig], Examples]
    blocks: Callable[[nn.Module], list[nn.Module]]
    facts: Callable[[Examples, Any], Mapping[str, Floats]]
    prepare: Callable[[nn.Module, Examples], None] = keep_scales
    reduce: Callable[[Floats], Floats] = last_axis_alone
    check: Callable[[Any, Any], None] = agree
    batch: int = 64
    words: str = ""
    limits: tuple[str, ...] = ()
