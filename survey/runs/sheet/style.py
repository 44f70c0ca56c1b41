"""Colours and fonts of the sheet: Okabe and Ito's (2008) colours, which the colour-blind can tell apart."""

from typing import Final

INK: Final = "#1b1f2a"
FAINT: Final = "#6b7484"
RULE: Final = "#d5dae2"
POINTS: Final = "#86a3c6"
BINNED: Final = "#0b2e59"
MODEL: Final = "#d55e00"
TREND: Final = "#d55e00"
ODD: Final = "#0072b2"
EVEN: Final = "#b8528f"
OTHERS: Final = "#009e73"
TARGET: Final = "#d0006f"
STRANGE: Final = "#e69f00"
PASSED: Final = "#00734f"
FAILED: Final = "#b8480a"

IMAGE_COLOURS: Final = "cividis"

STYLE: Final = {
    "font.family": "DejaVu Sans",
    "font.size": 6.3,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 7.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 3.5,
    "axes.labelsize": 6.3,
    "axes.labelpad": 2.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "xtick.labelsize": 6.0,
    "ytick.labelsize": 6.0,
    "xtick.major.size": 2.2,
    "ytick.major.size": 2.2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.size": 1.2,
    "ytick.minor.size": 1.2,
    "xtick.major.pad": 1.8,
    "ytick.major.pad": 1.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 6.0,
    "legend.handletextpad": 0.3,
    "legend.borderaxespad": 0.2,
    "savefig.facecolor": "white",
}
