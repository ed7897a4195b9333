"""The update's process: ``python -m liveweights.learn.process JOB RESULT``.

Everything it needs is in the job's file and everything it made is in the result's folder, so it
may be killed at any moment and started again: the result is written last.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from liveweights.learn.job import read_job
from liveweights.learn.learner import learn
from liveweights.learn.scale import learn_on_ray
from liveweights.learn.scoring import score
from liveweights.machine import end_with_parent, give_way


def main(arguments: Sequence[str]) -> int:
    job_file, folder = Path(arguments[0]), Path(arguments[1])
    end_with_parent()
    give_way()  # answering users goes first
    job = read_job(job_file)
    if job.candidate is not None:
        score(job, job.candidate, folder)
    elif job.settings.workers > 1:
        learn_on_ray(job_file, folder, job.settings.workers)
    else:
        learn(job, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
