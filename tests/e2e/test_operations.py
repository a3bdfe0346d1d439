# SPDX-License-Identifier: Apache-2.0
"""docs/operations.md says what the packages bring. Its steps are run by tests/guides.py."""
import re

import yaml

from lib import weir

GUIDE = (weir.ROOT / "docs/operations.md").read_text()


def test_every_alert_is_in_its_table():
    for path in (weir.ROOT / "packaging/prometheus").glob("*.rules.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                assert re.search(rf"^\|.*\b{rule['alert']}\b", GUIDE, re.MULTILINE), rule["alert"]
