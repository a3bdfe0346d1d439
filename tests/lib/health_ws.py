# SPDX-License-Identifier: Apache-2.0
"""A client of the monitor's WebSockets: python3-websockets on a loop of its own, made synchronous."""
import asyncio
import json
import threading

import websockets

TIMEOUT_S = 10


class Watcher:
    """Opened at once. What comes in is read by `next`, `until` and `drain`."""

    def __init__(self, monitor, path, **options):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.ended = False
        try:
            url = f"ws://127.0.0.1:{monitor.port}{path}"
            self.socket = self._run(
                lambda: websockets.connect(url, compression=None, **options))
        except BaseException:
            self._end()
            raise

    def _run(self, make, timeout=TIMEOUT_S):
        async def wait():
            return await asyncio.wait_for(make(), timeout)

        return asyncio.run_coroutine_threadsafe(wait(), self.loop).result(timeout + 5)

    def _end(self):
        self.ended = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    def send(self, message):
        text = message if isinstance(message, (str, bytes)) else json.dumps(message)
        self._run(lambda: self.socket.send(text))

    def next(self, timeout=TIMEOUT_S):
        return json.loads(self._run(self.socket.recv, timeout))

    def until(self, kind, timeout=TIMEOUT_S, **fields):
        """The next message of a type, with these fields; the others are passed over."""
        while True:
            message = self.next(timeout)
            if message["type"] == kind and all(message.get(k) == v for k, v in fields.items()):
                return message

    def ask(self, message):
        self.send(message)
        return self.next()

    def closing(self):
        """Reads to the end; (code, reason)."""
        try:
            while True:
                self.next()
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code, closed.rcvd.reason

    def close(self):
        if not self.ended:
            self._run(self.socket.close)
            self._end()
