"""How the benchmarks' figures look."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

COLOURS = {
    "survey, spectrum": "#6ea8d8",
    "survey, white": "#b9d3ea",
    "survey, JAX": "#4c9f8a",
    "survey": "#0b4f8a",
    "GERBLS": "#d98c1f",
    "astropy": "#b0413e",
    "lightkurve": "#8d6a9f",
    "TLS": "#6b6b6b",
}
"""By the beginning of a contestant's name, longest first."""

INK = "#333333"
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def colour_of(name: str) -> str:
    return next((COLOURS[start] for start in sorted(COLOURS, key=len, reverse=True) if name.startswith(start)), INK)


def new_figure(rows: int, columns: int, height: float, *, width: float = 9.0, **options: Any) -> tuple[Any, Any]:
    """A grid of axes, `height` inches a row."""
    plt.rcParams.update(STYLE)
    return plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False, layout="constrained", **options)


def bare_axes(ax: Any, grid: str = "both") -> None:
    ax.grid(axis=grid, color="#e4e4e4", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.tick_params(length=0, which="both")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def plain_log(axis: Any) -> None:
    """Numbers as one writes them along a logarithmic axis."""
    low, high = axis.get_view_interval()
    subs = (1.0,) if high / low > 300 else (1.0, 3.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.set_minor_formatter(NullFormatter())


def save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140, metadata={"Software": None})
    plt.close(figure)
