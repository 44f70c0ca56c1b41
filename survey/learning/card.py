"""The model card: for people who want to know what a score is worth before they trust it (Mitchell et al. 2019)."""

from typing import Any, Final

from survey.learning.artifact import ModelRecord
from survey.learning.evaluate import interval_words

SOURCES: Final = {
    "b36efae813a54779": (
        "Real TESS light curves of sectors 1-5, events found and labelled by eye by Yu et al. (2019, "
        "AJ 158, 25); from the repository yuliang419/Astronet-Vetting (GPL); TESS data are in the public domain",
        "Labels are of 2019: some candidates were since found to be false positives. J merges stellar variation with "
        "systematics.",
    ),
    "782a511738e9ecae": (
        "Real TESS light curves, labelled events of Rao et al. (2021, MNRAS 502, 2845); from the repository "
        "ExoplanetML/Nigraha (MIT); TESS data are in the public domain",
        "Labels come from several lists; FP are community dispositions of 2020.",
    ),
}
"""Known files of views by the first 16 digits of their sha256: where they come from, their licence, their limits."""

CARD: Final = """# {name}

Tells {meaning}.

| | |
|---|---|
| network | residual, on views of {global_bins} and {local_bins} bins{secondary} |
| members | {count}, of {parameters:,} weights each |
| views | {view_spec} |
| scalars | {scalars}; each may be missing |
| trained on | {views}: {rows:,} rows of {stars:,} stars ({kinds}), {copies:,} exact copies dropped |
| positives | {positives:,} rows, base rate {base_rate:.3f} |

## Data and licence

{source} The weights are under the licence of this program.

## How well it does

Out of fold: {folds} groups of stars, each scored only by the {seeds} members that never saw it. Intervals: 95%, of a
bootstrap over stars.

| figure | value |
|---|---|
{figures}

Calibration and threshold were fitted, for these figures, on the other folds; those that the model keeps, on all.

## Limits

- A probability holds for signals as they were in the training set, with its base rate of {base_rate:.3f}. Where
  positives are rarer, the odds p / (1 - p) have to be multiplied by the odds of the rate there over those of the rate
  here.
- It has seen the light curve alone: neither pixels nor neighbours. A blend looks like a planet to it.
{limits}
"""

REAL: Final = "Nothing in training or measurement was simulated."

OWN: Final = "The user's own labelled views; whether they are of real stars or simulated, the file does not say."


def make_card(record: ModelRecord) -> str:
    """CARD.md of a model: data, licence, figures, limits."""
    facts, figures, network = record.training, record.figures, record.network
    known = SOURCES.get(facts["views_sha256"][:16])
    source, caveat = (f"{known[0]}. {REAL}", known[1]) if known else (OWN, "")
    notes = [note for note in (caveat, *facts["notes"]) if note]
    return CARD.format(
        name=record.name,
        meaning=record.meaning,
        global_bins=network.global_bins,
        local_bins=network.local_bins,
        secondary=", with a secondary view" if network.secondary else "",
        count=len(record.members),
        parameters=facts["weights"],
        view_spec=record.inputs.view_spec or "a form of its own, as in the training file",
        scalars=", ".join(record.inputs.scalars) or "none",
        views=facts["views"],
        rows=facts["rows"],
        stars=facts["stars"],
        kinds=", ".join(f"{kind} {count:,}" for kind, count in facts["kinds"].items()),
        copies=facts["copies_dropped"],
        positives=figures["positives"],
        base_rate=figures["base_rate"],
        source=source,
        folds=facts["settings"]["folds"],
        seeds=facts["settings"]["seeds"],
        figures="\n".join(f"| {name} | {value} |" for name, value in figure_rows(figures)),
        limits="\n".join(f"- {note}" for note in notes),
    )


def figure_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of the figures that a card and a terminal show."""
    rows = [
        ("average precision", interval_words(figures["average_precision"])),
        ("base rate, lift", f"{figures['base_rate']:.4f}, {figures['lift']:.1f}"),
        ("area under the ROC curve", interval_words(figures["roc_auc"])),
        (f"at the threshold {figures['threshold']:.3f}", _decision_words(figures)),
        ("confusion (TP, FP, FN, TN)", _confusion_words(figures)),
        ("Brier score, ECE", f"{figures['brier']:.4f}, {figures['ece']:.4f}"),
    ]
    if "by_fold" in figures:
        rows[1:1] = [("average precision by fold", _fold_words(figures))]
    if "floor" in figures:
        rows.append(("boosted trees, same inputs and folds", _floor_words(figures)))
    if "views_alone" in figures:
        rows.append(("average precision by fold, scalars hidden", _fold_words(figures["views_alone"])))
        rows.append(("boosted trees on views alone", _floor_words(figures["views_alone"])))
    return rows


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
