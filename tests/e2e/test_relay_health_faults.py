# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation, and the Nth system call, fails in weir relay health: it says that the relay is well,
or why it cannot tell."""
import pytest

from lib import weir
from test_cli_faults import NAMES, sweep


@pytest.mark.parametrize("name", NAMES)
def test_asking(relay, platform, name):
    env = {"SERVER_URL": platform.origin, "RELAY_TLS": "0", "RELAY_LISTEN_PORT": str(relay.port)}
    sweep(name, lambda number: weir.run("relay", "health", env={**env, name: str(number)}))
