"""Mounts whose inodes and change times mean nothing are known by the kernel's table."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from screener.file_systems import FileSystems

LINES = """\
22 28 0:20 / /sys rw,nosuid - sysfs sysfs rw
29 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 29 0:45 / /mnt/usb rw - vfat /dev/sdb1 rw,fmask=0022
41 29 0:46 / /mnt/with\\040space rw master:3 - fuse.sshfs host:/x rw,user_id=0
42 29 0:47 / /mnt/share rw - cifs //pacs/films rw,vers=3.1.1,serverino,mapposix
43 29 0:48 / /mnt/old rw - cifs //old/films rw,vers=1.0,noserverino
44 29 0:49 / /mnt/nfs rw - nfs4 nas:/films rw,vers=4.2
broken line - fuse
50 29 nonsense / /x rw - vfat
"""


@pytest.mark.parametrize(
    ("device", "made_up"),
    [
        ((8, 1), False), ((0, 45), True), ((0, 46), True), ((0, 47), False), ((0, 48), True),
        ((0, 49), False), ((0, 99), False),
    ],
)  # fmt: skip
def test_each_kind(tmp_path: Path, device: tuple[int, int], made_up: bool) -> None:
    (tmp_path / "mountinfo").write_text(LINES)
    assert FileSystems(tmp_path / "mountinfo").makes_up(os.makedev(*device)) is made_up


def test_without_a_table_inodes_count(tmp_path: Path) -> None:
    assert not FileSystems(tmp_path / "nothing").makes_up(os.makedev(0, 45))


def test_this_machine_has_a_table() -> None:
    assert isinstance(FileSystems().makes_up(os.stat("/").st_dev), bool)
