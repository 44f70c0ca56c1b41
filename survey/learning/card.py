"""The model card: for people who want to know what a score is worth before they trust it (Mitchell et al. 2019)."""

from collections.abc import Mapping
from typing import Any, Final

from survey.learning.artifact import ModelRecord
from survey.learning.evaluate import interval_words
from survey.learning.models import KINDS

CARD: Final = """# {name}

Tells {meaning}.

| | |
|---|---|
{facts}

## Data and licence

{source} {simulated} The weights are under the licence of this program.

## How well it does

Out of fold: {folds} groups of stars, each scored only by the {seeds} members that never saw it. Intervals: 95%, of a
bootstrap over stars.

| figure | value |
|---|---|
{figures}

Calibrations were fitted, for these figures, on the other folds; calibration and threshold that the model keeps, on all.

## Limits

- A probability holds for signals as they were in the training set, with its base rate of {base_rate:.3f}. Where
  positives are rarer, the odds p / (1 - p) have to be multiplied by the odds of the rate there over those of the rate
  here.
{limits}
"""

REAL: Final = "Nothing in training or measurement was simulated."

SIMULATED: Final = "Simulated, in training and in these figures: {}."


def make_card(record: ModelRecord) -> str:
    """CARD.md of a network: data, licence, figures, limits."""
    facts, figures = record.training, record.figures
    limits = (*KINDS[record.kind].limits, *facts["notes"])
    return CARD.format(
        name=record.name,
        meaning=record.meaning,
        facts="\n".join(f"| {name} | {value} |" for name, value in _fact_rows(record)),
        source=facts["source"],
        simulated=SIMULATED.format(record.simulated) if record.simulated else REAL,
        folds=facts["settings"]["folds"],
        seeds=facts["settings"]["seeds"],
        figures="\n".join(f"| {name} | {value} |" for name, value in figure_rows(figures)),
        base_rate=figures["base_rate"],
        limits="\n".join(f"- {limit}" for limit in limits),
    )


def _fact_rows(record: ModelRecord) -> list[tuple[str, str]]:
    facts, figures = record.training, record.figures
    support = {name: f"{low:.4g} to {high:.4g}" for name, (low, high) in record.support.items()}
    rows = [
        ("network", f"{record.kind}: {KINDS[record.kind].words}; {setting_words(record.network)}"),
        ("members", f"{len(record.members)}, of {facts['weights']:,} weights each"),
        ("inputs", setting_words(record.inputs)),
        ("trained on", f"{facts['set']}: {facts['rows']:,} rows of {facts['stars']:,} stars"),
        ("missions", ", ".join(record.missions)),
        ("simulated", record.simulated or "nothing"),
        ("positives", f"{figures['positives']:,} rows, base rate {figures['base_rate']:.3f}"),
        ("the set", setting_words(facts["facts"])),
        ("range of all but 0.2% of the rows", setting_words(support)),
    ]
    if record.base:
        rows.insert(1, ("fine-tuned from", record.base))
    return [(name, value) for name, value in rows if value]


def setting_words(settings: Mapping[str, Any]) -> str:
    """global bins 201, secondary yes, scalars period and snr"""
    return ", ".join(f"{name.replace('_', ' ')} {_word(value)}" for name, value in settings.items())


def _word(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, Mapping):
        return f"({setting_words(value)})"
    if isinstance(value, list | tuple):
        return " ".join(map(_word, value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def figure_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of the figures that a card and a terminal show."""
    rows = [
        ("average precision", interval_words(figures["average_precision"])),
        ("base rate, lift", f"{figures['base_rate']:.4f}, {figures['lift']:.1f}"),
        ("area under the ROC curve", interval_words(figures["roc_auc"])),
        *_chance_rows(figures),
    ]
    if "by_fold" in figures:
        rows[1:1] = [("average precision by fold", _fold_words(figures))]
    if "floor" in figures:
        rows.append((figures["floor"].get("name", "boosted trees, same inputs and folds"), _floor_words(figures)))
    if "blind" in figures:
        rows.append(("average precision by fold, scalars hidden", _fold_words(figures["blind"])))
        rows.append(("boosted trees, scalars left out", _floor_words(figures["blind"])))
    rows += [(name.replace("_", " "), _word(value)) for name, value in figures.get("more", {}).items()]
    return rows


def _chance_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    if figures["brier"] is None:
        return [("probabilities", "none: the model was never calibrated, its scores only rank")]
    return [
        *(
            [("by thresholds of the other folds", _decision_words(figures["across_folds"]))]
            if "across_folds" in figures
            else []
        ),
        (f"at the threshold {figures['threshold']:.3f}{_whose(figures)}", _decision_words(figures)),
        ("confusion (TP, FP, FN, TN)", _confusion_words(figures)),
        ("Brier score, ECE", f"{figures['brier']:.4f}, {figures['ece']:.4f}"),
    ]


def _whose(figures: dict[str, Any]) -> str:
    """Of a model that was just trained, the threshold that it keeps comes from the very rows that are shown."""
    return ", chosen on these rows" if "across_folds" in figures else ""


def _decision_words(figures: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {figures[key]:.3f}" if figures[key] is not None else f"{name} none"
        for name, key in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
    )


def _confusion_words(figures: dict[str, Any]) -> str:
    names = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    return ", ".join(f"{figures[name]:,}" for name in names)


def _fold_words(figures: dict[str, Any]) -> str:
    found = figures["by_fold"]["average_precision"]
    return f"{found['mean']:.4f} ± {found['std']:.4f}"


def _floor_words(figures: dict[str, Any]) -> str:
    floor = figures["floor"]
    gain = floor["gain"]
    return f"{_fold_words(floor)}; gain {gain['value']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"
