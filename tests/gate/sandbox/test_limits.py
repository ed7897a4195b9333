from __future__ import annotations

import os

from liveweights.gate.sandbox.limits import Limits, rlimits


def test_rlimits_step_in_where_cgroups_do_not() -> None:
    limits = Limits(seconds=2.2, memory=5000, processes=3, disk=77)
    with_groups = rlimits(limits, os.getuid(), memory=False, processes=False)
    assert with_groups == ["--core=0", "--cpu=3", "--fsize=77", "--nofile=256"]
    without = rlimits(limits, os.getuid(), memory=True, processes=True)
    assert without[:5] == [*with_groups, "--as=5000"]
    assert int(without[5].removeprefix("--nproc=")) >= 3 + 1
