"""Weights that others have trained: read without running a line of them, fitted to a network of the survey's own.

A torch checkpoint is a pickle, so it is opened by torch's restricted reader, which builds tensors and plain containers
and nothing else; a safetensors file is as good. Tensors find their places by name, then by shape and order; where more
than one place would do, nothing is guessed. What fits becomes an artifact once: nobody reads the checkpoint again.
"""

import hashlib
import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from survey.config import Frozen
from survey.errors import UsageError
from survey.learning.artifact import (
    KnownStars,
    MemberRecord,
    ModelRecord,
    check_place,
    first_words,
    round_weights,
    write_artifact,
)
from survey.learning.calibrate import Calibration
from survey.learning.models import KINDS

LARGEST: Final = 1 << 30
"""Bytes of a checkpoint and of its tensors at most."""

PLACES: Final = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights", "params")
"""Keys under which checkpoints keep their weights, beside optimisers and figures."""

WRAPPERS: Final = frozenset({"module", "model", "network", "net", "_orig_mod"})
"""Words that wrappers set before every name."""

WORDS: Final = {
    "global": "orbit",
    "local": "transit",
    "bn": "norm",
    "batchnorm": "norm",
    "downsample": "short_cut",
    "shortcut": "short_cut",
    "skip": "short_cut",
    "gamma": "weight",
    "beta": "bias",
}
"""What others call the parts of a network, and what they are called here."""

FILLERS: Final = frozenset({"tower", "branch", "view", "encoder"})
"""Words that say nothing more."""

APART: Final = (("orbit", "transit"),)
"""Parts of equal shape that must never be taken for each other."""

COUNTERS: Final = "num_batches_tracked"
"""How many batches a normalisation has seen; older checkpoints lack it, and scoring does not need it."""

PLAIN: Final = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64})
"""What tensors may be made of."""

Settings = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Shape and inputs of a network, as its kind takes them."""

Renames = Sequence[tuple[re.Pattern[str], str]]


# Reading


@dataclass(frozen=True)
class Checkpoint:
    """Tensors of a file by name, in its order. sha256: of the file."""

    name: str
    sha256: str
    weights: dict[str, Tensor]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Raises UsageError for a file that is none, too large, or holding more than tensors and plain values."""
    path = Path(path)
    if path.suffix.lower() in REFUSED:
        raise UsageError(f"{path.name}: {REFUSED[path.suffix.lower()]}")
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path.name}: too large for a checkpoint")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    read = READERS.get(path.suffix.lower(), _read_torch)
    weights = _find_weights(read(content, path.name), path.name)
    _check_tensors(weights, path.name)
    return Checkpoint(path.name, hashlib.sha256(content).hexdigest(), weights)


KERAS: Final = (
    "Keras models are not supported: their layers are laid out otherwise, and reading them takes TensorFlow. "
    "Train anew with `survey train`, or copy the weights into a torch state dict"
)
REFUSED: Final = {".keras": KERAS, ".h5": KERAS, ".hdf5": KERAS}


def _read_torch(content: bytes, name: str) -> Any:
    """What torch's restricted reader makes of it: no code of the file's is ever run."""
    try:
        if zipfile.is_zipfile(BytesIO(content)):
            with zipfile.ZipFile(BytesIO(content)) as packed:
                if sum(item.file_size for item in packed.infolist()) > LARGEST:
                    raise UsageError(f"{name}: too large for a checkpoint")
        with warnings.catch_warnings():
            # It warns of pickles that torch would not write itself; what is wrong with them is said below.
            warnings.simplefilter("ignore")
            return torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{name}: holds more than tensors and plain values, and is not opened ({_why(error)})"
        ) from None
    except (RuntimeError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UsageError(f"{name}: not a torch checkpoint ({_why(error)})") from None


def _why(error: Exception) -> str:
    """The type that torch would not build, or the first line of what it says."""
    named = re.search(r"(?:Unsupported global: GLOBAL|GLOBAL) ([\w.]+)", str(error))
    return named[1] if named else (str(error).splitlines() or [type(error).__name__])[0][:120]


def _read_safetensors(content: bytes, name: str) -> Any:
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise UsageError(f"{name}: not a safetensors file ({error})") from None


READERS: Final[Mapping[str, Callable[[bytes, str], Any]]] = {".safetensors": _read_safetensors}
"""By suffix; everything else is read as a torch checkpoint."""


def _find_weights(content: Any, name: str) -> dict[str, Tensor]:
    """The state dict in a checkpoint: the whole of it, or what lies under one of the usual keys."""
    if not isinstance(content, Mapping):
        raise UsageError(f"{name}: holds a {type(content).__name__}, not a state dict of named tensors")
    for place in (content, *(content[key] for key in PLACES if key in content)):
        if isinstance(place, Mapping) and place and all(isinstance(value, Tensor) for value in place.values()):
            return {str(key): value.detach() for key, value in place.items()}
    there = ", ".join(str(key) for key in list(content)[:8]) or "nothing"
    raise UsageError(f"{name}: no state dict under {', '.join(PLACES[:4])}; it holds {there}")


def _check_tensors(weights: Mapping[str, Tensor], name: str) -> None:
    """Refuses what cannot be kept as plain numbers, before anything is computed of it."""
    total = 0
    for key, value in weights.items():
        if value.layout is not torch.strided or value.device.type != "cpu" or value.dtype not in PLAIN:
            raise UsageError(f"{name}: {key} is no plain tensor of real numbers")
        total += value.numel() * value.element_size()
        if total > LARGEST:
            raise UsageError(f"{name}: {key} is too large")
        if not torch.isfinite(value).all():
            raise UsageError(f"{name}: {key} holds NaN or infinity")


# Fitting


@dataclass(frozen=True)
class Match:
    """Which tensor of a checkpoint goes where. pairs: our name -> theirs; guessed: those of them that were placed by
    shape and order alone; missing: ours without one; unexpected: theirs without a place."""

    pairs: dict[str, str]
    guessed: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def parse_renames(words: Sequence[str]) -> list[tuple[re.Pattern[str], str]]:
    """Of REGEX=NAME; NAME may hold groups, as in `re.sub`. Raises UsageError for another form."""
    renames = []
    for word in words:
        regex, equals, name = word.rpartition("=")
        if not equals or not regex:
            raise UsageError(f"--map takes REGEX=NAME, not {word!r}")
        try:
            renames.append((re.compile(regex), name))
        except re.error as error:
            raise UsageError(f"--map {word}: {error}") from None
    return renames


def match_weights(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], renames: Renames = ()) -> Match:
    """Places tensors by name, the rest by shape and order.

    renames: applied to the names of `found` first. Raises UsageError, with both lists, where shapes alone would allow
    more than one way.
    """
    named = _rename(found, renames)
    ours = {name: _normal(name) for name, value in wanted.items() if _counts(name, value)}
    theirs = {name: _normal(called) for name, called in named.items() if _counts(called, found[name])}
    same = _by_name(ours, theirs)
    fitting = {name: other for name, other in same.items() if found[other].shape == wanted[name].shape}
    left = [name for name in ours if name not in same]
    spare = [name for name in theirs if name not in same.values()]
    guessed = _by_shape(_modules(left, wanted, ours), _modules(spare, found, theirs))
    for name, other in guessed.items():
        _check_apart(name, ours[name], other, theirs[other])
    pairs = fitting | guessed
    return Match(
        pairs={name: pairs[name] for name in ours if name in pairs},
        guessed=tuple(name for name in ours if name in guessed),
        missing=tuple(name for name in ours if name not in pairs),
        unexpected=tuple(name for name in theirs if name not in pairs.values()),
    )


def _counts(name: str, value: Tensor) -> bool:
    return value.numel() > 0 and not name.endswith(COUNTERS)


def _rename(found: Mapping[str, Tensor], renames: Renames) -> dict[str, str]:
    """Name in the file -> name to look for: without what wrappers set before all, and as the user says."""
    depth = 0
    parts = {name: name.split(".") for name in found}
    while all(len(words) > depth + 1 and words[depth] in WRAPPERS for words in parts.values()):
        depth += 1
    called = {name: ".".join(words[depth:]) for name, words in parts.items()}
    for regex, name in renames:
        hits = [key for key, value in called.items() if regex.search(value)]
        if not hits:
            some = next(iter(called.values()))
            raise UsageError(f"--map {regex.pattern}={name}: fits no name of the file, such as {some}")
        try:
            called |= {key: regex.sub(name, called[key]) for key in hits}
        except (re.error, IndexError) as error:
            raise UsageError(f"--map {regex.pattern}={name}: {error}") from None
    return called


def _normal(name: str) -> str:
    """A name in our words: `global_branch.bn1.gamma` becomes `orbit.norm.1.weight`."""
    words = re.findall(r"[a-z]+|\d+", re.sub(r"short_cut", "shortcut", name.lower()))
    return ".".join(WORDS.get(word, word) for word in words if word not in FILLERS)


def _by_name(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Our name -> theirs where both are called the same and nothing else is."""
    count = Counter(theirs.values())
    place = {called: name for name, called in theirs.items() if count[called] == 1}
    once = Counter(ours.values())
    return {name: place[called] for name, called in ours.items() if once[called] == 1 and called in place}


Module = tuple[tuple[tuple[str, tuple[int, ...]], ...], tuple[str, ...]]
"""(last word and shape of each tensor, their names) of one layer."""


def _modules(names: Sequence[str], tensors: Mapping[str, Tensor], called: Mapping[str, str]) -> list[Module]:
    """The tensors layer by layer, in the order of the file."""
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    modules = []
    for layer in layers.values():
        parts = sorted((called[name].rpartition(".")[2], tuple(tensors[name].shape), name) for name in layer)
        modules.append((tuple((leaf, shape) for leaf, shape, _ in parts), tuple(name for _, _, name in parts)))
    return modules


def _by_shape(ours: list[Module], theirs: list[Module]) -> dict[str, str]:
    """Layers of the same shapes in the same order, or of shapes that occur once in both."""
    common = {shapes for shapes, _ in ours} & {shapes for shapes, _ in theirs}
    ours, theirs = ([layer for layer in layers if layer[0] in common] for layers in (ours, theirs))
    if [shapes for shapes, _ in ours] != [shapes for shapes, _ in theirs]:
        if max(Counter(shapes for shapes, _ in (*ours, *theirs)).values()) > 2:
            raise UsageError(
                "layers of the same shape, but not in the same order or number, could be placed in several ways. "
                f"Ours: {_listed(ours)}. Theirs: {_listed(theirs)}. Say which is which with --map REGEX=NAME"
            )
        ours, theirs = sorted(ours), sorted(theirs)
    return {
        name: other
        for (_, names), (_, others) in zip(ours, theirs, strict=True)
        for name, other in zip(names, others, strict=True)
    }


def _listed(modules: list[Module]) -> str:
    return ", ".join(
        f"{names[0].rpartition('.')[0] or names[0]} ({'; '.join('x'.join(map(str, shape)) for _, shape in shapes)})"
        for shapes, names in modules
    )


def _check_apart(name: str, ours: str, other: str, theirs: str) -> None:
    """Refuses a place by shape that the names speak against."""
    for pair in APART:
        for one, opposite in (pair, pair[::-1]):
            if one in ours.split(".") and opposite in theirs.split("."):
                raise UsageError(
                    f"by shape and order {other} would become {name}, which its name speaks against: "
                    "say which is which with --map REGEX=NAME"
                )


# An artifact of it


@dataclass(frozen=True)
class Imported:
    """A checkpoint that became a model."""

    id: str
    folder: Path
    match: Match


def import_model(
    checkpoint: Checkpoint,
    kind_name: str,
    task: str,
    settings: Settings,
    folder: Path,
    *,
    renames: Renames = (),
    partial: bool = False,
) -> Imported:
    """Writes a model's folder with the weights of a checkpoint: without figures and calibration, so that it only ranks.

    partial: whether layers that the checkpoint lacks may stay as they are before any training. Raises UsageError for
    a kind that is none, settings that do not fit it, and weights that do not find their places.
    """
    check_place(folder)
    if kind_name not in KINDS:
        raise UsageError(f"no kind of network is called {kind_name!r}: known are {', '.join(KINDS)}")
    kind = KINDS[kind_name]
    shape, inputs = (_settle(form, values) for form, values in ((kind.shape, settings[0]), (kind.inputs, settings[1])))
    try:
        kind.check(shape, inputs)
    except ValueError as error:
        raise UsageError(f"{kind_name}: {error}") from None
    torch.manual_seed(0)
    network = kind.make(shape)
    match = match_weights(checkpoint.weights, network.state_dict(), renames)
    if not match.pairs or (match.missing and not partial):
        raise UsageError(_lacking_words(checkpoint, match, kind_name))
    place = {name: checkpoint.weights[other].float() for name, other in match.pairs.items()}
    network.load_state_dict(network.state_dict() | place)
    record = _make_record(checkpoint, kind_name, task, shape, inputs, match)
    weights = round_weights(network.state_dict())
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise UsageError(f"{checkpoint.name}: {match.pairs[name]} holds values too large for a network's weights")
    id_ = write_artifact(folder, record, (weights,), KnownStars(*NO_STARS), _make_card(record))
    return Imported(id_, folder, match)


NO_STARS: Final = (np.empty(0, np.int64), np.empty(0, np.uint8))

MEANING: Final = "{task}, as whoever trained it meant it"

NOTE: Final = (
    "Trained elsewhere, on what the file does not say. Its scores only rank: measure it on labelled rows, or fine-tune "
    "it, before it is used. That tensors have the same shapes does not prove that they meant the same."
)


def _settle(form: type[Frozen], values: Mapping[str, Any]) -> Frozen:
    try:
        return form.model_validate(values)
    except ValidationError as error:
        known = ", ".join(form.model_fields)
        raise UsageError(f"{first_words(error)} (settings are {known}; give them with --setting or --like)") from None


def _lacking_words(checkpoint: Checkpoint, match: Match, kind: str) -> str:
    spare = f"; it has, without a place: {_some(match.unexpected)}" if match.unexpected else ""
    return (
        f"{checkpoint.name}: lacks {len(match.missing)} of {len(match.missing) + len(match.pairs)} tensors of {kind}: "
        f"{_some(match.missing)}{spare}. Name them with --map REGEX=NAME, or leave them untrained with --partial"
    )


SHOWN: Final = 6


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _make_record(
    checkpoint: Checkpoint, kind: str, task: str, shape: Frozen, inputs: Frozen, match: Match
) -> ModelRecord:
    plain = Calibration(method="temperature")
    return ModelRecord(
        name=task,
        task=task,
        meaning=MEANING.format(task=task),
        kind=kind,
        network=shape.model_dump(mode="json"),
        inputs=inputs.model_dump(mode="json"),
        members=(MemberRecord(fold=0, seed=0, epoch=0),),
        calibration=plain,
        fold_calibrations=(plain,),
        calibrated=False,
        threshold=0.5,
        training={
            "imported": {
                "file": checkpoint.name,
                "sha256": checkpoint.sha256,
                "placed": len(match.pairs),
                "guessed": list(match.guessed),
                "untrained": list(match.missing),
                "left_out": list(match.unexpected),
            },
            "notes": [NOTE],
            "versions": {name: version(name) for name in ("transit-survey", "torch")},
        },
        figures={},
    )


CARD: Final = """# {name}

A network of kind {kind}, imported from `{file}` (sha256 {sha256}).

| tensors | |
|---|---|
| placed by name | {named} |
| placed by shape and order | {guessed} |
| untrained, as the file lacks them | {untrained} |
| left out of the file | {left_out} |

## Limits

- {note}
- Licence and training data are those of whoever made the file.
"""


def _make_card(record: ModelRecord) -> str:
    said = record.training["imported"]
    return CARD.format(
        name=record.name,
        kind=record.kind,
        file=said["file"],
        sha256=said["sha256"],
        named=said["placed"] - len(said["guessed"]),
        guessed=len(said["guessed"]),
        untrained=", ".join(said["untrained"]) or "none",
        left_out=", ".join(said["left_out"]) or "none",
        note=NOTE,
    )
