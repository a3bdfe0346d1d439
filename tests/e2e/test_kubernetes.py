# SPDX-License-Identifier: Apache-2.0
"""The manifests of packaging/kubernetes: that they hang together, and mean what weir means."""
import pathlib
import re
import urllib.parse

import pytest
import yaml

from lib import postgres, weir
from lib.engine import Engine
from lib.selfhosted import Platform

FILES = sorted((pathlib.Path(__file__).resolve().parents[2] / "packaging/kubernetes").glob("*.yaml"))
KINDS = {  # kind: its apiVersion and the fields beside apiVersion, kind, metadata
    "ConfigMap": ("v1", {"data"}),
    "Secret": ("v1", {"type", "stringData"}),
    "Service": ("v1", {"spec"}),
    "Deployment": ("apps/v1", {"spec"}),
    "StatefulSet": ("apps/v1", {"spec"}),
    "PodDisruptionBudget": ("policy/v1", {"spec"}),
}
FIELDS = {
    "Deployment": {"replicas", "strategy", "selector", "template"},
    "StatefulSet": {"replicas", "serviceName", "podManagementPolicy", "selector", "template"},
    "Service": {
        "type", "clusterIP", "externalTrafficPolicy", "publishNotReadyAddresses", "selector", "ports",
    },
    "PodDisruptionBudget": {"minAvailable", "maxUnavailable", "selector"},
    "pod": {
        "automountServiceAccountToken", "terminationGracePeriodSeconds", "securityContext",
        "topologySpreadConstraints", "containers", "volumes",
    },
    "container": {
        "name", "image", "args", "env", "envFrom", "ports", "lifecycle", "readinessProbe",
        "livenessProbe", "resources", "securityContext", "volumeMounts",
    },
    "probe": {"httpGet", "tcpSocket", "exec", "periodSeconds", "failureThreshold"},
}
QUANTITY = re.compile(r"\d+(\.\d+)?(m|Ki|Mi|Gi)?")


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


def of_kind(path, *kinds):
    return [one for one in documents(path) if one["kind"] in kinds]


def workload(path):
    (one,) = of_kind(path, "Deployment", "StatefulSet")
    return one


def container(path):
    (one,) = workload(path)["spec"]["template"]["spec"]["containers"]
    return one


def keys(path, kind, name):
    """What a ConfigMap or a Secret of the file holds."""
    (one,) = [d for d in of_kind(path, kind) if d["metadata"]["name"] == name]
    return one.get("data", one.get("stringData"))


def variables(path):
    """The environment of the container; what the cluster fills in is the name of its field."""
    found = {}
    for source in container(path).get("envFrom", []):
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if field in source:
                found.update(keys(path, kind, source[field]["name"]))
    for one in container(path).get("env", []):
        value = one.get("value")
        if "valueFrom" in one:
            (field, place), = one["valueFrom"].items()
            value = place["fieldPath"] if field == "fieldRef" else keys(
                path, "Secret", place["name"])[place["key"]]
        found[one["name"]] = re.sub(r"\$\((\w+)\)", lambda m: found[m[1]], value)
    return found


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_every_field_is_one(path):
    for one in documents(path):
        version, fields = KINDS[one["kind"]]
        assert one["apiVersion"] == version
        assert set(one) == {"apiVersion", "kind", "metadata", *fields}
        assert set(one["metadata"]) <= {"name", "labels"}
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", one["metadata"]["name"])
        if one["kind"] in FIELDS:
            assert set(one["spec"]) <= FIELDS[one["kind"]], one["kind"]
        for text in one.get("data", one.get("stringData", {})).values():
            assert isinstance(text, str), "a ConfigMap holds text"
    pod = workload(path)["spec"]["template"]["spec"]
    assert set(pod) <= FIELDS["pod"]
    assert set(container(path)) <= FIELDS["container"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert set(container(path)[probe]) <= FIELDS["probe"]
        assert len({"httpGet", "tcpSocket", "exec"} & set(container(path)[probe])) == 1
    for amounts in container(path)["resources"].values():
        assert all(QUANTITY.fullmatch(str(amount)) for amount in amounts.values())


def test_names_and_labels_meet(path):
    labels = workload(path)["spec"]["template"]["metadata"]["labels"]
    assert workload(path)["spec"]["selector"]["matchLabels"] == labels
    ports = {port["name"] for port in container(path)["ports"]}
    services = of_kind(path, "Service")
    assert services
    for service in services:
        assert service["spec"]["selector"] == labels
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    (budget,) = of_kind(path, "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert len({"minAvailable", "maxUnavailable"} & set(budget["spec"])) == 1
    for probe in ("readinessProbe", "livenessProbe"):
        for kind in ("httpGet", "tcpSocket"):
            assert container(path)[probe].get(kind, {}).get("port") in {None, *ports}
    if workload(path)["kind"] == "StatefulSet":
        headless = workload(path)["spec"]["serviceName"]
        (service,) = [s for s in services if s["metadata"]["name"] == headless]
        assert service["spec"]["clusterIP"] == "None"


def test_what_is_mounted_is_there(path):
    pod = workload(path)["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    mounts = container(path).get("volumeMounts", [])
    assert {mount["name"] for mount in mounts} == set(volumes)
    for mount in mounts:
        volume = volumes[mount["name"]]
        assert mount.get("readOnly") is (None if "emptyDir" in volume else True)
        if "configMap" in volume:
            held = keys(path, "ConfigMap", volume["configMap"]["name"])
            assert mount.get("subPath") in {None, *held}
        for item in volume.get("secret", {}).get("items", []):
            assert item["key"] in keys(path, "Secret", volume["secret"]["secretName"])


def test_it_may_do_nothing(path):
    """The restricted profile of the Pod Security Standards, and no token of the cluster."""
    pod = workload(path)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001, "the image's"
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(path)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for port in container(path)["ports"]:
        assert port["containerPort"] >= 1024, "without a capability"


def test_there_is_time_to_drain(path):
    grace = workload(path)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    before = container(path).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
    waits = int(before[1]) if before else int(variables(path)["RELAY_DRAIN_TIME_MS"]) / 1000
    assert waits >= 3, "until the Service has forgotten the pod"
    assert waits + 7 < grace, "five seconds of drain and two to end"


def test_every_variable_is_one_of_weir():
    manuals = "".join(
        weir.run("config", "reference", name).stdout for name in ("relay", "engine", "platform")
    ) + weir.run("health", "serve", "--help").stdout + (
        pathlib.Path(__file__).resolve().parents[2] / "docs/health.md").read_text()
    known = set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", manuals))
    for one in FILES:
        ours = {name for name in variables(one) if not name.startswith("POD_")}
        assert ours and ours <= known, ours - known


def by(name):
    (one,) = [path for path in FILES if path.stem == name]
    return one


def test_the_relay_takes_its_settings():
    env = variables(by("relay"))
    assert env["RELAY_ID"] == "metadata.name"
    assert env["RELAY_PUBLIC_WS_BASE_URL"].startswith("ws://metadata.name.weir-relay-pods.")
    env["RELAY_PUBLIC_WS_BASE_URL"] = "ws://weir-relay-0.weir-relay-pods.weir.svc:7781/ws"
    checked = weir.run("config", "check", "relay", env=env)
    assert checked.returncode == 0, checked.stderr


def test_the_engine_takes_its_settings(authority, tmp_path):
    own = Engine(authority, tmp_path)
    own.stop()
    text = keys(by("engine"), "ConfigMap", "weir-engine")["engine.yml"]
    static = own.settings["certs"]["static"]
    text = text.replace("edge.example.com", own.host)
    text = text.replace("/etc/weir/tls/tls.crt", static["cert_file"])
    text = text.replace("/etc/weir/tls/tls.key", static["key_file"])
    (tmp_path / "k8s.yml").write_text(text)
    checked = weir.run(
        "config", "check", "engine", "-c", str(tmp_path / "k8s.yml"), env=variables(by("engine")))
    assert checked.returncode == 0, checked.stderr
    listens = {str(value["listen_addr"]).rpartition(":")[2] for value in (
        yaml.safe_load(text)["tls"], yaml.safe_load(text)["http"],
        yaml.safe_load(text)["metrics"]["prometheus"])}
    assert listens == {str(port["containerPort"]) for port in container(by("engine"))["ports"]}


def test_the_platform_takes_its_settings(tmp_path):
    """As they are it starts, over a real database; its probes are answered, and relay.yaml knows it."""
    env = variables(by("platform"))
    (state,) = [mount["mountPath"] for mount in container(by("platform"))["volumeMounts"]]
    assert env["WEIR_STATE_DIR"] == state
    port = container(by("platform"))["ports"][0]["containerPort"]
    assert env["WEIR_PLATFORM_LISTEN"] == f"0.0.0.0:{port}"
    checked = weir.run("config", "check", "platform", env=env)
    assert checked.returncode == 0, checked.stderr
    head = by("platform").read_text().split("apiVersion")[0]
    url = urllib.parse.urlsplit(re.search(r"http://\S+/validate$", head, re.M)[0])
    assert f"{url.hostname}:{url.port}" == f"weir-platform:{port}"
    with postgres.running() as cluster:
        platform = Platform(tmp_path / "state", {
            **env, "WEIR_PLATFORM_DATABASE": cluster.new(), "WEIR_PLATFORM_LISTEN": "127.0.0.1:0",
            "WEIR_STATE_DIR": tmp_path / "state"})
        probe = container(by("platform"))["readinessProbe"]["httpGet"]["path"]
        assert platform.request("GET", probe).status == 200
        key = {"x-relay-internal-key": env["WEIR_PLATFORM_INTERNAL_KEY"]}
        assert platform.request("POST", url.path, b"{}", key).status not in (401, 403, 404)
        assert platform.request("POST", url.path, b"{}").status in (401, 403)
        platform.stop()


def test_the_monitor_takes_its_registry_and_its_tokens(lab, serve):
    registry = keys(by("health"), "ConfigMap", "weir-health")["registry.yml"]
    (lab.directory / "registry.yml").write_text(registry)
    done = lab.run("registry", "validate")
    assert done.returncode == 0, done.stdout + done.stderr
    tokens = lab.directory / "tokens"
    tokens.write_text(keys(by("health"), "Secret", "weir-health")["tokens"])
    tokens.chmod(0o440)  # as it is mounted
    monitor = serve("--tokens", str(tokens), token="change-me-viewer")
    for probe in ("readinessProbe", "livenessProbe"):
        assert monitor.ask("GET", container(by("health"))[probe]["httpGet"]["path"]).status == 200
    assert monitor.ask("GET", "/api/status").status == 200
