from __future__ import annotations

from pathlib import Path

import pytest

from liveweights.gate.sandbox.cgroups import Group, find_cgroups
from liveweights.gate.sandbox.limits import Limits

LIMITS = Limits(memory=1000, processes=7)


def proc(folder: Path, groups: str, *mounts: str) -> Path:
    """A /proc/self with these groups and mounts (root, point, kind, options)."""
    folder.mkdir()
    (folder / "cgroup").write_text(groups)
    rows = []
    for number, mount in enumerate(mounts):
        root, point, kind, options = mount.split()
        rows.append(f"{number} 1 0:{number} {root} {point} rw,relatime - {kind} none {options}\n")
    (folder / "mountinfo").write_text("".join(rows))
    return folder


def test_v2_goes_to_the_nearest_group_that_hands_its_controllers_on(tmp_path: Path) -> None:
    mount = tmp_path / "cgroup"
    own = mount / "user.slice" / "session.scope"
    own.mkdir(parents=True)
    (own / "cgroup.subtree_control").write_text("")
    (own.parent / "cgroup.subtree_control").write_text("cpu memory pids")
    found = find_cgroups(
        proc(tmp_path / "self", "0::/user.slice/session.scope\n", f"/ {mount} cgroup2 rw")
    )
    assert (found.version, found.parents["memory"]) == (2, own.parent)
    assert found.holds("pids")


def test_v1_goes_below_the_own_group_of_each_controller(tmp_path: Path) -> None:
    memory, pids = tmp_path / "memory", tmp_path / "pids"
    (memory / "a").mkdir(parents=True)
    pids.mkdir()
    found = find_cgroups(
        proc(
            tmp_path / "self",
            "8:pids:/docker/x\n4:memory:/a\n0::/\n",
            f"/docker/x {pids} cgroup rw,pids",  # a container's own group is mounted as the root
            f"/ {memory} cgroup rw,memory",
        )
    )
    assert (found.version, found.parents) == (1, {"memory": memory / "a", "pids": pids})


def test_nothing_where_none_may_be_made(tmp_path: Path) -> None:
    found = find_cgroups(proc(tmp_path / "self", "0::/\n", f"/ {tmp_path / 'missing'} cgroup2 rw"))
    assert (found.version, found.parents, found.holds("memory")) == (None, {}, False)


@pytest.mark.parametrize(
    ("version", "files"),
    [
        (1, {"memory.limit_in_bytes": "1000", "memory.memsw.limit_in_bytes": "1000"}),
        (2, {"memory.max": "1000", "memory.swap.max": "0"}),
    ],
)
def test_limits_are_written_and_what_they_stopped_is_read(
    tmp_path: Path, version: int, files: dict[str, str]
) -> None:
    for name in (*files, "pids.max"):
        (tmp_path / name).write_text("max")
    group = Group(version, {"memory": tmp_path, "pids": tmp_path})
    group.limit(LIMITS)
    assert {name: (tmp_path / name).read_text() for name in files} == files
    assert (tmp_path / "pids.max").read_text() == "7"
    assert not group.killed_for_memory()
    assert not group.refused_processes()
    events = "memory.oom_control" if version == 1 else "memory.events"
    (tmp_path / events).write_text("oom 3\noom_kill 1\n")
    (tmp_path / "pids.events").write_text("max 4\n")
    assert group.killed_for_memory()
    assert group.refused_processes()
