"""Who is ahead at the top of a public leaderboard, and who is tied.

What public submissions to SWE-bench Verified resolved, instance by instance, is imported and shown
as anybody would: ``liveweights scoreboard import`` for each, then ``scoreboard show``, on a
database of its own.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from _account import COMMAND
from _child import run_child
from _report import arguments, finish
from liveweights.config import DATABASE_URL
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.store.migrate import migrate

sys.path.append(str(Path(__file__).parents[1]))
from tests.scoreboard.submissions import Published, read_published, to_results

SUITE, SOURCE, HARNESS = "swe-bench-verified", "SWE-bench/experiments", "harnesses of their own"
ABOUT = ("--suite", SUITE, "--source", SOURCE, "--harness", HARNESS)


def main() -> None:
    options = arguments(__doc__ or "")
    published = read_published()
    folder = Path(tempfile.mkdtemp(prefix="liveweights-published-"))
    folder.chmod(0o711)  # the server may run as a user of its own
    server = EmbeddedPostgres(folder / "postgres")
    try:
        dsn = server.start()
        migrate(dsn)
        tables = show(published, folder, dsn, 3 if options.quick else len(published.submissions))
    finally:
        server.destroy()
        shutil.rmtree(folder, ignore_errors=True)
    finish("published", options, {"tables": tables}, {})


def show(published: Published, folder: Path, dsn: str, count: int) -> object:
    """Print the table of the first ``count`` submissions, and give it with every pair."""

    def scoreboard(*words: str) -> str:
        command = [*COMMAND, "scoreboard", *words, "--home", str(folder)]
        ended = run_child(command, env={DATABASE_URL: dsn}, capture=True)
        if ended.returncode:
            raise RuntimeError(f"scoreboard {words[0]}: {ended.stderr[-2000:]}")
        return ended.stdout

    for submission in published.submissions[:count]:
        file = folder / f"{submission.name}.json"
        file.write_text(to_results(published, submission))
        print(scoreboard("import", str(file), "--model", submission.name, *ABOUT), end="")
    print(scoreboard("show", "--format", "markdown"))
    return json.loads(scoreboard("show", "--format", "json"))


if __name__ == "__main__":
    main()
