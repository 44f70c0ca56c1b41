"""The evidence for one signal on one page, as PNG and PDF with its numbers beside it, and as a stamp.

`gather_evidence` measures what is shown, `write_sheet` draws it and keeps it, `render_sheet` draws it in memory;
`draw_thumbnail` is the fold alone.
"""

from survey.runs.sheet.evidence import Evidence, choose_signals, gather_evidence, given_signal
from survey.runs.sheet.files import KINDS, page_kind, render_sheet, sheet_name, write_sheet
from survey.runs.sheet.page import draw_page
from survey.runs.sheet.thumbnail import draw_thumbnail

__all__ = [
    "KINDS",
    "Evidence",
    "choose_signals",
    "draw_page",
    "draw_thumbnail",
    "gather_evidence",
    "given_signal",
    "page_kind",
    "render_sheet",
    "sheet_name",
    "write_sheet",
]
