"""Pictures as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, target: Path) -> None:
    """The ending of the name (svg, png, pdf) says which kind; the same figure makes the same SVG.
    Raises OSError, and ValueError for another ending."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "liveweights"}):
        figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)
