"""A trained model as a folder that can be read anywhere and trusted by nobody.

    model.json            what it is: task, network, inputs, members, training, figures, calibration, sha256 of the rest
    weights.safetensors   the members' weights, if it is a network
    stars.safetensors     the stars it was trained on, as hashes, and the fold of each
    NAME.skops            parts from scikit-learn, if there are any
    CARD.md               the same for people
    metrics.json, curves.json and their PNG   figures and the course of the training, where it was trained here

No pickle is ever loaded: weights are plain tensors, scikit-learn parts hold only the types of a fixed list, and every
file must have the sha256 that model.json says. The sha256 of model.json itself is the model's id, so that an id stands
for every bit of it. A folder appears whole or not at all.
"""

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pydantic
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat
from torch import Tensor, nn

from survey.config import Frozen
from survey.errors import SurveyError, UsageError
from survey.learning.calibrate import Calibration
from survey.learning.models import KINDS
from survey.learning.models.kind import Kind
from survey.learning.shelf import MODEL, shipped

WEIGHTS: Final = "weights.safetensors"
STARS: Final = "stars.safetensors"
CARD: Final = "CARD.md"
SKOPS: Final = ".skops"

LARGEST_FILE: Final = 256 << 20
"""Bytes: a model's file, packed or unpacked, is never larger."""

MOST_FOLDS: Final = 256

TRUSTED: Final = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
)
"""Types that scikit-learn parts may hold, beside those that skops itself holds harmless: they are plain arrays inside,
and unpacking them runs no code of the file's."""

_UNREADABLE: Final = (
    zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, ImportError, EOFError, MemoryError,
    RecursionError, NotImplementedError,
)  # fmt: skip
"""What skops raises for a file that it cannot read, or that asks for more memory or depth than there is."""

SCHEMA: Final = "schema.json"
_PLACE = re.compile(r'("__id__": |"file": ")(\d+)((?:\.npy")?)')
"""In a schema of skops: the number of an object."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9]+)?")


WITHOUT_NETWORK: Final = ("anomaly", "fusion")
"""Kinds of models that have no members: settings and parts of scikit-learn alone, checked by those who use them."""


class MemberRecord(Frozen):
    """One trained network. fold: the one whose stars it never saw; epoch: the one whose weights were kept."""

    fold: int = Field(ge=0, le=255)
    seed: int
    epoch: int


class ModelRecord(Frozen):
    """model.json. network and inputs: settings of the kind; fold_calibrations: each fitted without the stars of its
    fold, for scoring those; support: lowest and highest value of each fact of a row in training; missions: whose
    light it has seen; simulated: what of its training set is, "" for nothing; base: id of the model it was fine-tuned
    from; extra: what else its kind keeps, checked by those who use it; figures: measured out of fold; files: sha256
    of every other file."""

    format: Literal[2] = 2
    name: str
    task: str
    meaning: str
    kind: str
    network: dict[str, Any]
    inputs: dict[str, Any]
    members: tuple[MemberRecord, ...] = Field((), max_length=256)
    calibration: Calibration = Calibration(method="temperature")
    fold_calibrations: tuple[Calibration, ...] = ()
    calibrated: bool = True
    """False for weights from elsewhere: their scores only rank."""
    threshold: float = Field(ge=0, le=1)
    support: dict[str, tuple[FiniteFloat, FiniteFloat]] = Field(default_factory=dict, max_length=256)
    missions: tuple[str, ...] = ()
    simulated: str = ""
    base: str = ""
    extra: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any]
    figures: dict[str, Any]
    files: dict[str, str] = Field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _check_parts(self) -> "ModelRecord":
        if self.kind in WITHOUT_NETWORK:
            if self.members or self.fold_calibrations:
                raise ValueError(f"a model of kind {self.kind} has no members and no folds")
            return self
        self.settings()
        if not self.members:
            raise ValueError("a network has at least one member")
        if len(self.fold_calibrations) != len({member.fold for member in self.members}):
            raise ValueError("there must be one calibration for each fold of the members")
        if max(member.fold for member in self.members) >= len(self.fold_calibrations):
            raise ValueError("the folds of the members must be numbered from 0 without gaps")
        return self

    def settings(self) -> tuple[Kind, Any, Any]:
        """The network's kind, shape and inputs. Raises ValueError where they are none, or out of bounds."""
        if self.kind not in KINDS:
            raise ValueError(f"kind: no network is called {self.kind!r}; known are {', '.join(KINDS)}")
        kind = KINDS[self.kind]
        shape = _validate(kind.shape, self.network, "network")
        inputs = _validate(kind.inputs, self.inputs, "inputs")
        kind.check(shape, inputs)
        return kind, shape, inputs


def _validate(form: type[Frozen], settings: Mapping[str, Any], name: str) -> Frozen:
    try:
        return form.model_validate(settings)
    except pydantic.ValidationError as error:
        raise ValueError(f"{name}.{first_words(error)}") from None


def first_words(error: pydantic.ValidationError) -> str:
    """What is wrong first, after the place where it is."""
    first = error.errors()[0]
    where, words = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    words = words[:1].lower() + words[1:]
    return f"{where}: {words}" if where else words


@dataclass(frozen=True)
class KnownStars:
    """Stars a model was trained on: sorted (n,) hashes of all their names, and the fold of each."""

    hashes: NDArray[np.int64]
    folds: NDArray[np.uint8]

    def folds_of(self, stars: NDArray[Any], others: Sequence[NDArray[Any]] = ()) -> NDArray[np.int16]:
        """(n,) fold of each star by name, -1 for a star that is not known.

        others: further (n,) names of the same stars, tried in turn; "" where there is none.
        """
        folds = self._folds_of(stars)
        for names in others:
            folds = np.where(folds < 0, self._folds_of(names), folds)
        return folds

    def _folds_of(self, stars: NDArray[Any]) -> NDArray[np.int16]:
        hashes = hash_stars(stars)
        place = np.minimum(np.searchsorted(self.hashes, hashes), max(0, len(self.hashes) - 1))
        if len(self.hashes) == 0:
            return np.full(len(stars), -1, np.int16)
        return np.where(self.hashes[place] == hashes, self.folds[place].astype(np.int16), np.int16(-1))


def hash_stars(stars: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) first 8 bytes of the sha256 of each name."""
    named, place = np.unique(stars, return_inverse=True)
    heads = [hashlib.sha256(str(name).encode()).digest()[:8] for name in named.tolist()]
    return np.frombuffer(b"".join(heads), "<i8").astype(np.int64)[place]


def know_stars(stars: NDArray[Any], folds: NDArray[np.uint8], others: Sequence[NDArray[Any]] = ()) -> KnownStars:
    """The stars of training rows, once by each name. others: further (n,) names of the rows, "" where there is none."""
    names = np.concatenate([column.astype(str) for column in (stars, *others)])
    named = np.flatnonzero(names != "")
    hashes, first = np.unique(hash_stars(names[named]), return_index=True)
    return KnownStars(hashes, folds[named[first] % len(folds)].astype(np.uint8))


def join_stars(first: KnownStars, second: KnownStars) -> KnownStars:
    """The stars of both; of those in both, the fold in the first."""
    hashes, place = np.unique(np.concatenate([first.hashes, second.hashes]), return_index=True)
    return KnownStars(hashes, np.concatenate([first.folds, second.folds])[place])


@dataclass(frozen=True)
class Artifact:
    """A model as it was read: every file checked. id: sha256 of model.json; weights: of the members, in order."""

    id: str
    record: ModelRecord
    weights: tuple[dict[str, Tensor], ...]
    stars: KnownStars
    parts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _settings(self) -> tuple[Kind, Any, Any]:
        if self.record.kind in WITHOUT_NETWORK:
            raise UsageError(f"{self.record.name} is no network but of kind {self.record.kind}")
        return self.record.settings()

    @property
    def kind(self) -> Kind:
        """Raises UsageError for a model without a network; so do shape and inputs."""
        return self._settings[0]

    @property
    def shape(self) -> Any:
        return self._settings[1]

    @property
    def inputs(self) -> Any:
        return self._settings[2]

    def network(self, member: int) -> nn.Module:
        """The member's network, ready to score."""
        return self._networks[member]

    @cached_property
    def _networks(self) -> tuple[nn.Module, ...]:
        """Made once: a sweep asks for them with every shard."""
        kind, shape = self.kind, self.shape
        networks = tuple(kind.make(shape) for _ in self.weights)
        for network, weights in zip(networks, self.weights, strict=True):
            network.load_state_dict(weights)
        return tuple(network.eval() for network in networks)


# Writing


def round_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they are kept: matrices in half the bits, of values that float16 can hold; the rest as it is."""
    return {
        name: value.half().float() if value.ndim >= 2 and value.is_floating_point() else value.clone()
        for name, value in weights.items()
    }


def write_artifact(
    folder: str | Path,
    record: ModelRecord,
    weights: tuple[Mapping[str, Tensor], ...],
    stars: KnownStars,
    card: str,
    parts: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> str:
    """Writes a model's folder in one step and returns its id; an older model there is replaced.

    weights: those of `round_weights`, none for a model without a network; files: more to keep beside, such as
    figures. Raises UsageError where the folder holds something else than a model.
    """
    packed = {
        f"{k:03d}.{name}": value.half() if value.ndim >= 2 and value.is_floating_point() else value.contiguous()
        for k, member in enumerate(weights)
        for name, value in member.items()
    }
    places = {"star": torch.from_numpy(stars.hashes), "fold": torch.from_numpy(stars.folds)}
    contents = (
        dict(files or {})
        | ({WEIGHTS: safetensors.torch.save(packed)} if weights else {})
        | {STARS: safetensors.torch.save(places), CARD: card.encode()}
        | {f"{name}{SKOPS}": _pack_part(part) for name, part in (parts or {}).items()}
    )
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
    whole = record.model_copy(update={"files": digests})
    contents[MODEL] = json.dumps(whole.model_dump(mode="json"), indent=1, allow_nan=False).encode() + b"\n"
    _replace_folder(Path(folder), contents)
    return hashlib.sha256(contents[MODEL]).hexdigest()


def _pack_part(part: Any) -> bytes:
    """A scikit-learn part as skops keeps it, the same bytes for the same part: skops names its arrays by where they lay
    in memory, and a zip file holds the time of day."""
    import skops.io

    with zipfile.ZipFile(BytesIO(skops.io.dumps(part))) as packed:
        contents = {name: packed.read(name) for name in packed.namelist()}
    schema = json.loads(contents.pop(SCHEMA))
    places: dict[str, int] = {}
    text = _PLACE.sub(
        lambda found: found[1] + str(places.setdefault(found[2], len(places))) + found[3], json.dumps(schema)
    )
    named = {f"{places[name.removesuffix('.npy')]}.npy": content for name, content in contents.items()}
    steady = BytesIO()
    with zipfile.ZipFile(steady, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in [*sorted(named.items()), (SCHEMA, text.encode())]:
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return steady.getvalue()


def _replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    check_place(folder)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        part.mkdir(parents=True)
        for name, content in contents.items():
            with (part / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            os.rename(folder, old)
        os.rename(part, folder)
    except OSError as error:
        raise SurveyError(f"cannot write a model to {folder}: {(error.strerror or str(error)).lower()}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        elif old.exists():
            os.rename(old, folder)


def check_place(folder: Path) -> None:
    """Raises UsageError where a model cannot be written, so that none is trained in vain."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose another --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MODEL).is_file():
        raise UsageError(f"{folder} holds something else than a model: choose another --out")


# Reading


def find_artifact(name: str) -> Path:
    """The folder of a shipped model's name or of a path. Raises UsageError naming the choices."""
    if name in (known := shipped()):
        return known[name]
    if (Path(name) / MODEL).is_file():
        return Path(name)
    choices = f" or one of {', '.join(known)}" if known else ""
    raise UsageError(f"no model {name}: give a folder that holds {MODEL}{choices}")


def load_artifact(folder: str | Path) -> Artifact:
    """Reads and checks a model. Raises UsageError naming the file that is damaged, altered or not allowed."""
    folder = Path(folder)
    content = _read(folder, MODEL)
    try:
        record = ModelRecord.model_validate_json(content)
    except pydantic.ValidationError as error:
        raise UsageError(f"{folder / MODEL}: {first_words(error)}") from None
    contents = _read_files(folder, record)
    weights = _unpack_weights(contents[WEIGHTS], record, folder / WEIGHTS) if record.members else ()
    stars = _unpack_stars(contents[STARS], len(record.fold_calibrations) or MOST_FOLDS, folder / STARS)
    parts = {
        name.removesuffix(SKOPS): _load_part(part, folder / name)
        for name, part in contents.items()
        if name.endswith(SKOPS)
    }
    return Artifact(hashlib.sha256(content).hexdigest(), record, weights, stars, parts)


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{path}: too large for a model's file")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None


def _read_files(folder: Path, record: ModelRecord) -> dict[str, bytes]:
    wanted = (WEIGHTS, STARS, CARD) if record.members else (STARS, CARD)
    lacking = [name for name in wanted if name not in record.files]
    if lacking:
        raise UsageError(f"{folder / MODEL}: files: no sha256 of {', '.join(lacking)}")
    contents = {}
    for name, digest in record.files.items():
        if not _FILE_NAME.fullmatch(name):
            raise UsageError(f"{folder / MODEL}: files: {name!r} is no name of a model's file")
        contents[name] = _read(folder, name)
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise UsageError(f"{folder / name}: damaged or altered, its sha256 is not the one in {MODEL}")
    return contents


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise UsageError(f"{path}: not a safetensors file ({error})") from None


def _unpack_weights(content: bytes, record: ModelRecord, path: Path) -> tuple[dict[str, Tensor], ...]:
    members: tuple[dict[str, Tensor], ...] = tuple({} for _ in record.members)
    for name, value in _tensors(content, path).items():
        number, _, tensor = name.partition(".")
        if not number.isdecimal() or int(number) >= len(members):
            raise UsageError(f"{path}: {name!r} belongs to none of the {len(members)} members")
        if value.dtype not in (torch.float16, torch.float32, torch.int64):
            raise UsageError(f"{path}: {name} holds {value.dtype}, not float16, float32 or int64")
        if not torch.isfinite(value).all():
            raise UsageError(f"{path}: {name} holds NaN or infinity")
        members[int(number)][tensor] = value.float() if value.is_floating_point() else value
    kind, shape, _ = record.settings()
    # A network on the meta device takes no memory, whatever size the file pretends it has.
    with torch.device("meta"):
        wanted = {name: value.shape for name, value in kind.make(shape).state_dict().items()}
    for k, member in enumerate(members):
        found = {name: value.shape for name, value in member.items()}
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        if wrong:
            raise UsageError(f"{path}: member {k}: {wrong[0]} does not fit the network that {MODEL} describes")
    return members


def _unpack_stars(content: bytes, count: int, path: Path) -> KnownStars:
    tensors = _tensors(content, path)
    hashes, folds = tensors.get("star"), tensors.get("fold")
    if hashes is None or folds is None or hashes.dtype != torch.int64 or folds.dtype != torch.uint8:
        raise UsageError(f"{path}: must hold star (int64) and fold (uint8)")
    if hashes.ndim != 1 or hashes.shape != folds.shape or not bool((hashes[1:] > hashes[:-1]).all()):
        raise UsageError(f"{path}: stars must rise, each with one fold")
    if len(folds) and int(folds.max()) >= count:
        raise UsageError(f"{path}: there are only {count} folds")
    return KnownStars(hashes.numpy(), folds.numpy())


def _load_part(content: bytes, path: Path) -> Any:
    """A scikit-learn part, if it holds nothing but allowed types; nothing is run before that is known."""
    import skops.io

    try:
        with zipfile.ZipFile(BytesIO(content)) as packed:
            if sum(item.file_size for item in packed.infolist()) > LARGEST_FILE:
                raise UsageError(f"{path}: too large for a model's file")
        foreign = sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED))
        if foreign:
            raise UsageError(f"{path}: holds types that no model may: {', '.join(foreign[:3])}")
        return skops.io.loads(content, trusted=list(TRUSTED))
    except _UNREADABLE as error:
        raise UsageError(f"{path}: not a skops file ({error})") from None
