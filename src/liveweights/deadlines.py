"""How long each step of a graceful stop may take. They follow one another, and all of them together
end before whoever told the process to stop would kill it."""

from __future__ import annotations

DRAIN = 30
"""Seconds for what was admitted to be answered."""
CUT_OFF = 3
"""For answers that were cut off then to be recorded as far as they got."""
RECORD = 5
"""For the record to be written; then it is left on disk."""
LEAVE = 3
"""For the record's task to end once it has been."""
REST = 6
"""For engines, deployments and connections to be closed."""
PATIENCE = DRAIN + CUT_OFF + RECORD + LEAVE + REST + 3
"""Then the process is killed."""
DEAF = 5
"""For a process that does not answer any more to end by itself, if it still can."""
