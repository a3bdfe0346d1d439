# SPDX-License-Identifier: Apache-2.0
"""The tables of the monitor's page as a watcher keeps them: a snapshot, and deltas on top."""
from lib.health_ws import Watcher
from lib.wait import eventually


class Tables:
    """What the messages add up to. Every rule of the protocol is asserted."""

    def __init__(self):
        self.rows = {}
        self.number = None
        self.snapshots = 0
        self.whole = False
        self.part = 0

    def take(self, message):
        if message["type"] == "snapshot":
            self._take_part(message)
            return
        assert message["type"] == "delta", message
        assert message["n"] == self.number + 1, "no delta is missing"
        self.number = message["n"]
        for table, keys in message["gone"].items():
            for key in keys:
                self.rows.setdefault(table, {}).pop(key, None)
        self._set(message)

    def _take_part(self, message):
        if message["part"] == 1:
            self.rows = {}
            self.number = message["n"]
            self.snapshots += 1
        else:
            assert message["part"] == self.part + 1
        self.part = message["part"]
        self.whole = not message["more"]
        self._set(message)

    def _set(self, message):
        for table, rows in message["set"].items():
            self.rows.setdefault(table, {}).update((key, value) for key, value in rows)

    def table(self, name):
        return self.rows.get(name, {})

    def known(self):
        """Without tables that have no rows."""
        return {name: rows for name, rows in self.rows.items() if rows}


class Page(Watcher):
    """A watcher of /ws/page."""

    def __init__(self, monitor, path="/ws/page", **options):
        self.tables = Tables()
        super().__init__(monitor, path, max_size=None, **options)

    def step(self, timeout=20):
        message = self.next(timeout)
        self.tables.take(message)
        return message

    def snapshot(self):
        """Reads on until there is a whole one."""
        while not self.tables.whole:
            self.step()
        return self.tables

    def wait(self, look, what):
        """Reads on until look(tables) says something; its last word."""
        self.snapshot()

        def once():
            found = look(self.tables)
            if not found:
                self.step()
            return found

        return eventually(once, what, 40)


def fresh(monitor, **headers):
    """The tables as a reader of documents gets them."""
    tables = Tables()
    tables.take(monitor.get("/api/page", headers=headers or None))
    assert tables.whole
    return tables
