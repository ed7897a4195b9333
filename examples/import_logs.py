"""Old logs, in a form of their own, to the form that `liveweights import` reads.

    python examples/import_logs.py examples/suggestions.csv > logs.jsonl
    liveweights import logs.jsonl

The table here has a row per suggestion: when, to whom, after which prompt, what was suggested, what
the user did (`accepted` or `dismissed`) and, where it is known, what they wrote instead. Change
`line_of` for yours. See docs/import.md.
"""

import csv
import json
import sys
from datetime import UTC, datetime
from typing import Any


def line_of(row: dict[str, str]) -> dict[str, Any]:
    """One suggestion as request, response and feedback."""
    at = datetime.fromisoformat(row["time"]).replace(tzinfo=UTC).isoformat()
    feedback = [{"signal": "accepted" if row["label"] == "accepted" else "rejected"}]
    if row["written"]:
        feedback.append({"signal": "correction", "text": row["written"]})
    return {
        "created_at": at,
        "user": row["user"],
        # Suggestions of one day belong together: they are learnt from or held back together.
        "session": f"{row['user']} {at[:10]}",
        "surface": "editor",
        "language": "python",
        # The model that was asked then, and its temperature where the log has it.
        "request": {"model": "starter-1", "prompt": row["prompt"], "max_tokens": 24},
        "response": {
            "model": "starter-1",
            "choices": [{"text": row["completion"], "finish_reason": "stop"}],
        },
        "feedback": feedback,
    }


def main() -> None:
    with open(sys.argv[1], newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            print(json.dumps(line_of(row)))


if __name__ == "__main__":
    main()
