# SPDX-License-Identifier: Apache-2.0
"""The compose files as they are, with what .env says."""
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "packaging/compose"
VARIABLES = {
    "VALIDATE_URL": "https://platform.example/api/runtime/internal/relay/validate",
    "TRUSTED_PROXIES": "10.0.0.0/8",
    "INTERNAL_KEY": "internal-key-internal-key",
    "BUS_KEY": "0123456789abcdef0123456789abcdef",
    "TOKEN_SECRET": "0123456789abcdef0123456789abcdef",
    "ADMIN_TOKEN": "0123456789abcdef",
    "GRAFANA_PASSWORD": "secret",
    "ENGINE_HOST": "edge.example.com",
}


def load(path, **variables):
    known = {**VARIABLES, **variables}
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: known[found[1]], path.read_text())
    return yaml.safe_load(text)
