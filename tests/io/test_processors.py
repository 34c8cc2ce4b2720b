"""How many processors a process may use, in a container too."""

import os

import pytest

from fastseek.io.processors import count_processors


@pytest.fixture
def system(tmp_path, monkeypatch):
    """write("path", "content") below a system of its own with 64 processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)

    def write(path, content):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return tmp_path

    return write


def test_without_control_groups_it_is_what_the_process_is_bound_to(system, tmp_path):
    assert count_processors(tmp_path) == 64
    assert count_processors(system("proc/self/cgroup", "0::/\n")) == 64


@pytest.mark.parametrize(
    ("told", "count"),
    [("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1), ("max 100000", 64), ("", 64)],
)
def test_the_quota_of_a_container_counts_and_no_quota_does_not(system, told, count):
    assert count_processors(system("sys/fs/cgroup/cpu.max", told + "\n")) == count


def test_a_group_above_gives_the_least(system):
    system("proc/self/cgroup", "0::/jobs/one\n")
    system("sys/fs/cgroup/jobs/cpu.max", "300000 100000")
    root = system("sys/fs/cgroup/jobs/one/cpu.max", "900000 100000")
    assert count_processors(root) == 3


def test_the_first_version_of_control_groups_is_read_too(system):
    system("proc/self/cgroup", "5:memory:/x\n3:cpu,cpuacct:/job\n")
    system("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n")
    root = system("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "400000\n")
    assert count_processors(root) == 4
    system("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n")
    assert count_processors(root) == 64
