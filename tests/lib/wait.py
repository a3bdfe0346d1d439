# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition that no file descriptor announces."""
import time

LOOK_INTERVAL_S = 0.02


def eventually(look, what, timeout=10.0):
    """Calls look() until it gives something true, and returns that. Fails after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(LOOK_INTERVAL_S)
