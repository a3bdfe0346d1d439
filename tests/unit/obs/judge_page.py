# SPDX-License-Identifier: Apache-2.0
"""The Prometheus client's own parsers read what print_page prints: judge_page.py PRINT_PAGE."""

import subprocess
import sys

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

HOSTILE = 'quote " backslash \\ newline \n end'


def read_page(program, form):
    return subprocess.run(
        [program, form], check=True, capture_output=True, timeout=30
    ).stdout.decode()


def samples_of(families):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
        for family in families
        for sample in family.samples
    }


def canonical(samples):
    """le="1" and le="1.0" are one bound."""
    return {
        (name, tuple((k, float(v)) if k == "le" else (k, v) for k, v in labels)): value
        for (name, labels), value in samples.items()
    }


def main():
    plain = list(parse_prometheus(read_page(sys.argv[1], "prometheus")))
    strict = list(parse_openmetrics(read_page(sys.argv[1], "openmetrics")))
    types = {family.name: family.type for family in strict}
    assert types["relay_connections_total"] == "gauge", types
    assert types["relay_workspaces_total"] == "gauge", types
    assert types["relay_handshakes"] == "counter", types
    assert types["relay_frame_size_bytes"] == "histogram", types
    assert "unknown" not in types.values() and "untyped" not in types.values(), types
    assert all(family.documentation for family in plain + strict)

    samples = samples_of(strict)
    assert samples[("relay_connections_total", ())] == 3
    assert samples[("relay_handshake_failures_total", (("reason", "aborted"),))] == 1
    assert samples[("relay_bytes_client_to_daemon_total", ())] == 2**53
    assert samples[("relay_frames_in_total", (("workspace_id", HOSTILE),))] == 2
    assert samples[("relay_jwt_validate_duration_seconds_sum", ())] == 0.1 + 0.2
    assert samples[("relay_frame_size_bytes_bucket", (("le", "512.0"),))] == 1
    assert samples[("relay_frame_size_bytes_bucket", (("le", "+Inf"),))] == 2

    # Both forms say the same, apart from what the process itself measures anew.
    both = [
        {key: value for key, value in canonical(samples_of(form)).items() if "process" not in key[0]}
        for form in (plain, strict)
    ]
    assert both[0] == both[1], set(both[0].items()) ^ set(both[1].items())
    print(f"{len(samples)} samples in {len(strict)} families")


main()
