#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the boards beside it from the tables below: packaging/grafana/boards.py

A panel is (title, unit, what it says, queries), a query (expression, legend). {on} stands for the
chosen instances, [5m] becomes the interval that Grafana finds right.
"""
import json
import pathlib

ON = 'job=~"$job", instance=~"$instance"'

RELAY = {
    "title": "weir relay",
    "uid": "weir-relay",
    "one": "relay_handshakes_total",  # a metric that every instance has
    "rows": [
        ("At a glance", [
            ("Answers", "none", "1: Prometheus can scrape the relay.", [("up{{on}}", "{{instance}}")]),
            ("Connections", "short", "Daemons, clients and workers.",
             [("sum by (instance) (relay_connections_total{{on}})", "{{instance}}")]),
            ("Cells", "short", "Pairs of workspace and runtime target.",
             [("sum by (instance) (relay_workspaces_total{{on}})", "{{instance}}")]),
            ("Refusals a second", "reqps", "All reasons together; below by reason.",
             [("sum by (instance) (rate(relay_handshake_failures_total{{on}}[5m]))", "{{instance}}")]),
        ]),
        ("Coming in", [
            ("Handshakes", "reqps", "Upgrades that were admitted, and those that were not.",
             [("sum(rate(relay_handshakes_total{{on}}[5m]))", "admitted"),
              ("sum(rate(relay_handshake_failures_total{{on}}[5m]))", "refused")]),
            ("Refusals by reason", "reqps",
             "admission_*: the platform. jwt_*, invalid_claims: tokens. rate_limited, "
             "ip_connections: many behind one address. total_connections, workspace_clients: a cap.",
             [("sum by (reason) (rate(relay_handshake_failures_total{{on}}[5m])) > 0", "{{reason}}")]),
            ("Time of the platform to admit", "s", "Refusals are in it.",
             [("histogram_quantile(0.5, sum by (le) (rate(relay_jwt_validate_duration_seconds_bucket{{on}}[5m])))", "half"),
              ("histogram_quantile(0.95, sum by (le) (rate(relay_jwt_validate_duration_seconds_bucket{{on}}[5m])))", "19 of 20")]),
            ("Certificate", "s", "Time that is left; without TLS there is none.",
             [("min by (instance) (relay_tls_certificate_expiry_seconds{{on}} > 0) - time()", "{{instance}}")]),
        ]),
        ("Frames", [
            ("Frames", "pps", "Delivered on this relay.",
             [("sum(rate(relay_frames_client_to_daemon_total{{on}}[5m]))", "client to daemon"),
              ("sum(rate(relay_frames_daemon_to_clients_total{{on}}[5m]))", "daemon to clients")]),
            ("Bytes", "Bps", "The same, as bytes.",
             [("sum(rate(relay_bytes_client_to_daemon_total{{on}}[5m]))", "client to daemon"),
              ("sum(rate(relay_bytes_daemon_to_clients_total{{on}}[5m]))", "daemon to clients")]),
            ("Frames that went nowhere", "pps", "No daemon, no client, not valid, or above a rate.",
             [("sum(rate(relay_client_messages_dropped_total{{on}}[5m]))", "no daemon"),
              ("sum(rate(relay_session_frame_dropped_total{{on}}[5m]))", "no client"),
              ("sum(rate(relay_frames_client_rejected_total{{on}}[5m]))", "client's, not valid"),
              ("sum(rate(relay_frames_daemon_rejected_total{{on}}[5m]))", "daemon's, not valid"),
              ("sum(rate(relay_frames_throttled_total{{on}}[5m]))", "slowed down")]),
            ("Workspaces that send most", "pps", "Received from daemons.",
             [("topk(10, sum by (workspace_id) (rate(relay_frames_in_total{{on}}[5m])))", "{{workspace_id}}")]),
        ]),
        ("Queues and ends", [
            ("Waiting to be read", "bytes", "Peers that do not read; at the budget frames are refused.",
             [("sum by (instance) (relay_outbound_queue_bytes{{on}})", "{{instance}}")]),
            ("Connections that were cut", "cps", "By why.",
             [("sum(rate(relay_ws_slow_client_terminated_total{{on}}[5m]))", "did not read"),
              ("sum(rate(relay_ws_idle_terminated_total{{on}}[5m]))", "silent"),
              ("sum(rate(relay_ws_stale_terminated_total{{on}}[5m]))", "no pong"),
              ("sum(rate(relay_ws_frame_too_large_total{{on}}[5m]))", "message too large")]),
            ("Came and went", "cps", "Connections opened and closed.",
             [("sum(rate(relay_ws_connections_opened_total{{on}}[5m]))", "opened"),
              ("sum(rate(relay_ws_connections_closed_total{{on}}[5m]))", "closed")]),
        ]),
        ("Other relays", [
            ("Ways that are down", "short", "Workers that are cut off from the other relays.",
             [("sum by (instance) (relay_backplane_links_down{{on}})", "{{instance}}")]),
            ("Frames over the bus", "pps", "Handed to other relays, and taken from them.",
             [("sum(rate(relay_bus_publish_ok_total{{on}}[5m]))", "sent"),
              ("sum(rate(relay_bus_frames_to_daemon_total{{on}}[5m]))", "to daemons here"),
              ("sum(rate(relay_bus_frames_to_clients_total{{on}}[5m]))", "to clients here"),
              ("sum(rate(relay_bus_frames_dropped_total{{on}}[5m]))", "nobody here")]),
            ("Bus failures", "eps", "What could not be sent or fetched, by reason.",
             [("sum by (reason) (rate(relay_bus_publish_failures_total{{on}}[5m])) > 0", "sending: {{reason}}"),
              ("sum by (reason) (rate(relay_bus_pull_failures_total{{on}}[5m])) > 0", "fetching: {{reason}}"),
              ("sum by (reason) (rate(relay_presence_failures_total{{on}}[5m])) > 0", "presence: {{reason}}")]),
            ("Time to publish", "s", "One frame or one presence record.",
             [("histogram_quantile(0.5, sum by (le) (rate(relay_backplane_publish_seconds_bucket{{on}}[5m])))", "half"),
              ("histogram_quantile(0.95, sum by (le) (rate(relay_backplane_publish_seconds_bucket{{on}}[5m])))", "19 of 20")]),
            ("Bus frames that were refused", "eps",
             "invalid: another RELAY_BUS_HMAC_KEY. stale: clocks apart. replayed: seen before.",
             [("sum(rate(relay_bus_pull_invalid_signature_total{{on}}[5m]))", "invalid"),
              ("sum(rate(relay_bus_pull_stale_signature_total{{on}}[5m]))", "stale"),
              ("sum(rate(relay_bus_pull_replayed_signature_total{{on}}[5m]))", "replayed"),
              ("sum(rate(relay_bus_pull_frame_too_large_total{{on}}[5m]))", "too large"),
              ("sum(rate(relay_bus_frames_rejected_total{{on}}[5m]))", "not valid")]),
        ]),
        ("Process", [
            ("CPU", "percentunit", "Of one core.",
             [("rate(process_cpu_seconds_total{{on}}[5m])", "{{instance}}")]),
            ("Memory", "bytes", "Resident.", [("process_resident_memory_bytes{{on}}", "{{instance}}")]),
            ("Open files", "short", "A connection takes one.", [("process_open_fds{{on}}", "{{instance}}")]),
            ("Log lines lost", "eps", "Not read in time, or too many of one event.",
             [("sum(rate(relay_log_lines_lost_total{{on}}[5m]))", "lost"),
              ("sum(rate(relay_log_lines_suppressed_total{{on}}[5m]))", "suppressed")]),
        ]),
    ],
}

ENGINE = {
    "title": "weir engine",
    "uid": "weir-engine",
    "one": "weir_engine_build_info",
    "rows": [
        ("At a glance", [
            ("Answers", "none", "1: Prometheus can scrape the engine.", [("up{{on}}", "{{instance}}")]),
            ("Agents", "short", "Open control channels.",
             [("sum by (instance) (weir_engine_control_channels{{on}})", "{{instance}}")]),
            ("Tunnels", "short", "Open, of all kinds.",
             [("sum by (instance) (weir_engine_tunnels{{on}})", "{{instance}}")]),
            ("Certificate", "s", "Time that is left.",
             [("min by (instance) (weir_engine_cert_not_after_timestamp_seconds{{on}} > 0) - time()", "{{instance}}")]),
        ]),
        ("Agents", [
            ("Agents that came", "reqps", "By result.",
             [("sum by (result) (rate(weir_engine_control_channel_opens_total{{on}}[5m]))", "{{result}}")]),
            ("Agents that went", "reqps", "By reason; timeout, eof: the network or the agent.",
             [("sum by (reason) (rate(weir_engine_control_channel_closes_total{{on}}[5m]))", "{{reason}}")]),
            ("Tunnels by protocol", "short", "",
             [("sum by (protocol) (weir_engine_tunnels{{on}})", "{{protocol}}")]),
            ("Requests for tunnels", "reqps", "By result; conflict: somebody else has the name.",
             [("sum by (result) (rate(weir_engine_tunnel_opens_total{{on}}[5m]))", "{{result}}")]),
        ]),
        ("Visitors", [
            ("Requests", "reqps", "By class of the answer.",
             [("sum by (code) (rate(weir_engine_http_requests_total{{on}}[5m]))", "{{code}}")]),
            ("Answers that are the engine's own", "reqps",
             "unknown_host: no such tunnel. agent_*: its agent. upstream_*: the service behind it.",
             [("sum by (reason) (rate(weir_engine_edge_errors_total{{on}}[5m])) > 0", "{{reason}}")]),
            ("Time of a request", "s", "To the last byte of the answer.",
             [("histogram_quantile(0.5, sum by (le) (rate(weir_engine_http_request_duration_seconds_bucket{{on}}[5m])))", "half"),
              ("histogram_quantile(0.99, sum by (le) (rate(weir_engine_http_request_duration_seconds_bucket{{on}}[5m])))", "99 of 100")]),
            ("TLS handshakes", "reqps", "By result.",
             [("sum by (result) (rate(weir_engine_tls_handshakes_total{{on}}[5m]))", "{{result}}")]),
            ("Turned away", "reqps", "Connections that were closed at once.",
             [("sum by (reason) (rate(weir_engine_connections_refused_total{{on}}[5m]))", "{{reason}}")]),
        ]),
        ("Streams", [
            ("Open streams", "short", "Bound to an agent's connection.",
             [("sum by (kind) (weir_engine_streams_active{{on}})", "{{kind}}")]),
            ("Streams asked of agents", "reqps", "By result; timeout: the agent did not come.",
             [("sum by (result) (rate(weir_engine_streams_total{{on}}[5m]))", "{{result}}")]),
            ("Time to set one up", "s", "The way to the agent and back.",
             [("histogram_quantile(0.5, sum by (le) (rate(weir_engine_stream_setup_seconds_bucket{{on}}[5m])))", "half"),
              ("histogram_quantile(0.95, sum by (le) (rate(weir_engine_stream_setup_seconds_bucket{{on}}[5m])))", "19 of 20")]),
            ("Bytes", "Bps", "",
             [("sum by (direction) (rate(weir_engine_stream_bytes_total{{on}}[5m]))", "{{direction}}")]),
            ("Held for visitors", "bytes", "At limits.buffered_bytes the greediest is cut.",
             [("sum by (instance) (weir_engine_buffered_bytes{{on}})", "{{instance}}")]),
            ("Tunnels with most bytes", "Bps", "To visitors; told of so many tunnels as metrics.tunnel_labels says.",
             [("topk(10, sum by (tunnel) (rate(weir_engine_tunnel_bytes_from_agent_total{{on}}[5m])))", "{{tunnel}}")]),
        ]),
        ("Process", [
            ("CPU", "percentunit", "Of one core.",
             [("rate(process_cpu_seconds_total{{on}}[5m])", "{{instance}}")]),
            ("Memory", "bytes", "Resident.", [("process_resident_memory_bytes{{on}}", "{{instance}}")]),
            ("Open files", "short", "And how many there may be.",
             [("process_open_fds{{on}}", "{{instance}}"), ("process_max_fds{{on}}", "{{instance}}, at most")]),
            ("Up since", "s", "", [("time() - process_start_time_seconds{{on}}", "{{instance}}")]),
        ]),
    ],
}

HEALTH = {
    "title": "weir health",
    "uid": "weir-health",
    "one": "portoser_build_info",
    "rows": [
        ("At a glance", [
            ("Cluster", "none", "3 healthy, 2 degraded, 1 unhealthy, 0 unknown.",
             [("min(portoser_cluster_status{{on}})", "cluster")]),
            ("Score", "none", "0 to 100.", [("min(portoser_cluster_health_score{{on}})", "cluster")]),
            ("Services that are down", "short", "Unhealthy, and not in maintenance.",
             [("count(max by (service, machine) (portoser_service_status{{on}}) == 1) or vector(0)", "down")]),
            ("Machines that do not answer", "short", "",
             [("count(max by (machine) (portoser_machine_reachable{{on}}) == 0) or vector(0)", "silent")]),
        ]),
        ("Services", [
            ("State", "none", "3 healthy, 2 degraded, 1 unhealthy, 0 unknown.",
             [("max by (service, machine) (portoser_service_status{{on}})", "{{service}} on {{machine}}")]),
            ("Score", "none", "0 to 100.",
             [("max by (service, machine) (portoser_service_health_score{{on}})", "{{service}} on {{machine}}")]),
            ("Duration of checks", "s", "The slowest ten.",
             [("topk(10, max by (service, machine) (portoser_check_duration_seconds{{on}}))", "{{service}} on {{machine}}")]),
            ("Checks by result", "reqps", "",
             [("sum by (result) (rate(portoser_checks_total{{on}}[5m]))", "{{result}}")]),
            ("Failures in a row", "short", "",
             [("max by (service, machine) (portoser_check_consecutive_failures{{on}}) > 0", "{{service}} on {{machine}}")]),
            ("Certificates that end soonest", "s", "Of what is checked over https.",
             [("bottomk(10, min by (service, machine) (portoser_check_tls_not_after_timestamp_seconds{{on}} > 0) - time())", "{{service}} on {{machine}}")]),
        ]),
        ("Machines", [
            ("CPU", "percent", "", [("max by (machine) (portoser_machine_cpu_percent{{on}})", "{{machine}}")]),
            ("Memory", "percent", "", [("max by (machine) (portoser_machine_memory_percent{{on}})", "{{machine}}")]),
            ("Disk", "percent", "The root file system.", [("max by (machine) (portoser_machine_disk_percent{{on}})", "{{machine}}")]),
            ("Load", "none", "Of a minute.", [("max by (machine) (portoser_machine_load1{{on}})", "{{machine}}")]),
        ]),
        ("Monitors", [
            ("Behind its time", "s", "How late the newest check started; checks that were given up below.",
             [("portoser_scheduler_lag_seconds{{on}}", "{{instance}}"),
              ("rate(portoser_check_overruns_total{{on}}[5m])", "{{instance}}, overruns a second")]),
            ("Registry", "none", "1: the last reading was taken over.",
             [("portoser_registry_load_success{{on}}", "{{instance}}")]),
            ("Shares held", "short", "Of 64, with a Redis; alone: it grants no leases.",
             [("portoser_cluster_shares_held{{on}}", "{{instance}}"),
              ("portoser_cluster_alone{{on}}", "{{instance}}, alone")]),
            ("Redis", "none", "1: connected.", [("portoser_redis_up{{on}}", "{{instance}}")]),
            ("Sockets", "short", "Dashboards that watch.", [("portoser_sockets{{on}}", "{{instance}}")]),
            ("Requests", "reqps", "By status.",
             [("sum by (status) (rate(http_requests_total{{on}}[5m]))", "{{status}}")]),
            ("History on disk", "none", "1: it was written last.", [("portoser_store_ok{{on}}", "{{instance}}")]),
        ]),
    ],
}

PLATFORM = {
    "title": "weir platform",
    "uid": "weir-platform",
    "one": "weir_platform_store_up",
    "rows": [
        ("At a glance", [
            ("Answers", "none", "1: Prometheus can scrape the platform.", [("up{{on}}", "{{instance}}")]),
            ("Store", "none", "1: it can be used. Without it admission goes on, all else answers 503.",
             [("weir_platform_store_up{{on}}", "{{instance}}")]),
            ("Signing keys", "short", "Published; more than one while they change.",
             [("weir_platform_signing_keys{{on}}", "{{instance}}")]),
            ("Certificate", "s", "Time that is left; without TLS there is none.",
             [("min by (instance) (weir_platform_cert_not_after_timestamp_seconds{{on}} > 0) - time()", "{{instance}}")]),
        ]),
        ("Requests", [
            ("Requests", "reqps", "By what they ask for; validate: a relay admits somebody.",
             [("sum by (route) (rate(weir_platform_requests_total{{on}}[5m]))", "{{route}}")]),
            ("Answers", "reqps", "4xx: a key or a token is wrong. 5xx: the store.",
             [("sum by (class) (rate(weir_platform_answers_total{{on}}[5m]))", "{{class}}")]),
            ("Connections", "short", "Relays keep theirs open.",
             [("sum by (instance) (weir_platform_connections{{on}})", "{{instance}}")]),
        ]),
        ("Bus of relays", [
            ("Frames", "pps", "Stored, handed on, and refused for what they are.",
             [("sum(rate(weir_platform_frames_published_total{{on}}[5m]))", "published"),
              ("sum(rate(weir_platform_frames_pulled_total{{on}}[5m]))", "pulled"),
              ("sum(rate(weir_platform_frames_refused_total{{on}}[5m]))", "refused")]),
            ("Relays that wait", "short", "For a frame; those that may not wait ask again and again.",
             [("sum by (instance) (weir_platform_pulls_waiting{{on}})", "{{instance}}")]),
            ("Pulls that did not wait", "reqps", "bus.waiting_pulls_max was reached.",
             [("sum by (instance) (rate(weir_platform_pulls_not_waited_total{{on}}[5m]))", "{{instance}}")]),
        ]),
        ("Store", [
            ("Transactions that store frames", "ops", "One holds what waited together.",
             [("sum by (instance) (rate(weir_platform_publish_transactions_total{{on}}[5m]))", "{{instance}}")]),
            ("Calls under way", "short", "Many for long: the store is slow.",
             [("sum by (instance) (weir_platform_store_calls_waiting{{on}})", "{{instance}}")]),
            ("Failures", "eps", "Calls that failed, connections that were made again.",
             [("sum(rate(weir_platform_store_failures_total{{on}}[5m]))", "failed"),
              ("sum(rate(weir_platform_store_reconnects_total{{on}}[5m]))", "connected again")]),
        ]),
        ("Process", [
            ("CPU", "percentunit", "Of one core.",
             [("rate(process_cpu_seconds_total{{on}}[5m])", "{{instance}}")]),
            ("Memory", "bytes", "Resident.", [("process_resident_memory_bytes{{on}}", "{{instance}}")]),
            ("Open files", "short", "A connection takes one.", [("process_open_fds{{on}}", "{{instance}}")]),
            ("Up since", "s", "", [("time() - process_start_time_seconds{{on}}", "{{instance}}")]),
        ]),
    ],
}

BOARDS = {"relay": RELAY, "engine": ENGINE, "health": HEALTH, "platform": PLATFORM}
WIDTH, STAT_HEIGHT, GRAPH_HEIGHT = 24, 4, 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def variable(name, query):
    return {
        "name": name, "type": "query", "datasource": SOURCE, "query": query, "refresh": 2, "sort": 1,
        "multi": True, "includeAll": True, "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def expression(text):
    return text.replace("{{on}}", "{" + ON + "}").replace("[5m]", "[$__rate_interval]")


def panel(number, kind, place, what):
    title, unit, says, queries = what
    return {
        "id": number, "type": kind, "title": title, "description": says, "gridPos": place,
        "datasource": SOURCE,
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expression(text), "legendFormat": legend}
            for i, (text, legend) in enumerate(queries)
        ],
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}} if kind == "stat" else {
            "legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"},
        },
    }


def panels(rows):
    """The first row's are numbers, those of the others graphs, three beside each other."""
    made, y = [], 0
    for index, (title, row) in enumerate(rows):
        made.append({
            "id": len(made) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
        })
        y += 1
        kind, across, height = ("stat", 4, STAT_HEIGHT) if index == 0 else ("timeseries", 3, GRAPH_HEIGHT)
        width = WIDTH // across
        for i, what in enumerate(row):
            place = {"x": i % across * width, "y": y + i // across * height, "w": width, "h": height}
            made.append(panel(len(made) + 1, kind, place, what))
        y += (len(row) + across - 1) // across * height
    return made


def board(table):
    one = table["one"]
    return {
        "title": table["title"], "uid": table["uid"], "tags": ["weir"], "schemaVersion": 38, "version": 1,
        "editable": True, "refresh": "10s", "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "source"},
            variable("job", f"label_values({one}, job)"),
            variable("instance", f'label_values({one}{{job=~"$job"}}, instance)'),
        ]},
        "panels": panels(table["rows"]),
    }


def text_of(name):
    return json.dumps(board(BOARDS[name]), indent=1) + "\n"


if __name__ == "__main__":
    for each in BOARDS:
        (pathlib.Path(__file__).resolve().parent / f"{each}.json").write_text(text_of(each))
