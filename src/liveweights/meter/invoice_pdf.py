"""An invoice as a PDF file, by fpdf2."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from liveweights.meter.invoice import Invoice
from liveweights.meter.invoice_pages import HEADS, ROUNDING, facts, shown, title

if TYPE_CHECKING:
    from fpdf import FPDF

SIZE, SMALL, LARGE = 9, 7, 16
"""Points."""
WIDTHS = (44, 12, 17, 15, 17, 15)
"""Of the columns, in relation to each other."""


class PdfUnavailable(RuntimeError):
    """The library is not installed; the message says what to do."""


def check_pdf() -> None:
    """Raises PdfUnavailable."""
    if find_spec("fpdf") is None:
        raise PdfUnavailable("PDF files need an extra: pip install 'liveweights[billing]'")


def write_pdf(invoice: Invoice) -> bytes:
    """The file's content. Raises PdfUnavailable."""
    check_pdf()
    from fpdf import FPDF

    pdf = FPDF(format="A4")
    pdf.set_title(title(invoice))
    if invoice.closed_at is not None:
        pdf.set_creation_date(invoice.closed_at)
    fonts = _fonts()
    pdf.add_font("text", "", fonts / "DejaVuSans.ttf")
    pdf.add_font("text", "B", fonts / "DejaVuSans-Bold.ttf")
    pdf.add_page()
    if invoice.seller:
        _write(pdf, invoice.seller, SIZE)
        pdf.ln(6)
    _write(pdf, title(invoice), LARGE, "B")
    pdf.ln(2)
    for name, text in facts(invoice):
        _write(pdf, f"{name}: {text}", SIZE)
    pdf.ln(4)
    for statement in invoice.statements:
        pdf.set_font("text", "", SMALL + 1)
        align = ("LEFT", *["RIGHT"] * (len(HEADS) - 1))
        with pdf.table(col_widths=WIDTHS, text_align=align, borders_layout="MINIMAL") as table:
            table.row(list(HEADS))
            for one in shown(statement):
                pdf.set_font("text", "B" if one.total else "", SMALL + 1)
                name = f"{one.name}\n{one.remark}" if one.remark else one.name
                table.row([name, *one.cells])
        pdf.ln(6)
    if not invoice.statements:
        _write(pdf, "Nothing was charged.", SIZE)
    _write(pdf, ROUNDING, SMALL)
    return bytes(pdf.output())


def _fonts() -> Path:
    """A folder with fonts that have more than Latin letters."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def _write(pdf: FPDF, text: str, size: int, style: str = "") -> None:
    pdf.set_font("text", style, size)
    pdf.multi_cell(0, size / 2, text, new_x="LMARGIN", new_y="NEXT")
