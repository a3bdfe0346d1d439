# SPDX-License-Identifier: Apache-2.0
"""Clocks of a process that a test moves: Clock(directory).environment() is for it, forward() moves."""
import pathlib
import struct
import subprocess

from lib import weir

SOURCE = pathlib.Path(__file__).with_name("clock.c")
NS_PER_S = 1_000_000_000


class Clock:
    def __init__(self, directory):
        self.library = directory / "clock.so"
        self.file = directory / "clock"
        self.offsets = {"monotonic": 0, "boot": 0, "wall": 0}
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", SOURCE, "-o", self.library],
            check=True,
        )
        self.forward()

    def environment(self):
        options = weir.base_environment()["ASAN_OPTIONS"]
        return {
            "LD_PRELOAD": str(self.library),
            "CLOCK_FILE": str(self.file),
            "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0",
        }

    def forward(self, **seconds):
        """By how much: monotonic, boot (the machine slept), wall."""
        for name, much in seconds.items():
            self.offsets[name] += int(much * NS_PER_S)
        values = struct.pack("=3q", *(self.offsets[x] for x in ("monotonic", "boot", "wall")))
        with open(self.file, "r+b" if self.file.exists() else "wb", buffering=0) as file:
            file.write(values)
