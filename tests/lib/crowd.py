# SPDX-License-Identifier: Apache-2.0
"""Threads that do one thing over and over while a test does something to those they talk to."""
import threading


class Crowd:
    """visit() is called by size threads until the end; what it raises is kept, and it goes on."""

    def __init__(self, visit, size=8):
        self.done = 0  # visits that went well
        self.failures = []
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self._run, args=(visit,), daemon=True) for _ in range(size)
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, visit):
        while not self.over.is_set():
            try:
                visit()
            except Exception as failure:  # pylint: disable=broad-except
                with self.lock:
                    self.failures.append(repr(failure))
            else:
                with self.lock:
                    self.done += 1

    def more(self, count):
        """Says when so many more visits than now have gone well."""
        goal = self.done + count
        return lambda: self.done >= goal

    def stop(self):
        """Ends it; how often it went well."""
        self.over.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()
        return self.done
