# SPDX-License-Identifier: Apache-2.0
"""libweir-agent as other programs get it: installed, found by pkg-config, compiled against."""
import os
import pathlib
import re
import subprocess

import pytest

from lib import agent, weir

BUILD = pathlib.Path(weir.binary()).resolve().parent.parent
EXAMPLES = weir.ROOT / "examples"
PUBLIC = re.compile(r"^weir_(agent|tunnel|stream)_")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(
        ["cmake", "--install", BUILD, "--prefix", prefix, "--component", "library"],
        check=True,
        capture_output=True,
    )
    return prefix


def symbols(path, *options):
    listing = subprocess.run(
        ["nm", *options, "--defined-only", path], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listing.splitlines() if len(line.split()) == 3]
    return {row[2].partition("@")[0] for row in rows if row[1] != "A"}


def flags(prefix, *what):
    return subprocess.run(
        ["pkg-config", f"--define-variable=prefix={prefix}", *what, "weir-agent"],
        env={"PATH": os.environ["PATH"], "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def sanitizers(prefix):
    needed = subprocess.run(
        ["readelf", "-d", prefix / "lib/libweir-agent.so"], capture_output=True, text=True, check=True
    ).stdout
    names = {"libasan": "address", "libubsan": "undefined", "libtsan": "thread"}
    used = [flag for library, flag in names.items() if library in needed]
    return [f"-fsanitize={','.join(used)}"] if used else []


def build(prefix, name, out, static=False):
    where = out / name
    linking = flags(prefix, "--cflags", "--libs", *(["--static"] if static else []))
    if static:
        linking = [f"-l:lib{f[2:]}.a" if f == "-lweir-agent" else f for f in linking]
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", EXAMPLES / f"{name}.c", *linking]
        + [*sanitizers(prefix), f"-Wl,-rpath,{prefix / 'lib'}", "-o", where],
        check=True,
    )
    return where


def test_nothing_of_ours_leaks(installed):
    header = (installed / "include/weir/agent.h").read_text()
    found = re.findall(r"\b(weir_(?:agent|tunnel|stream)_\w+)\(", header)
    declared = {name for name in found if not name.endswith("_fn")}
    shared = symbols(installed / "lib/libweir-agent.so.0", "-D")
    archive = symbols(installed / "lib/libweir-agent.a", "-g")
    assert shared == archive == declared
    assert all(PUBLIC.match(name) for name in shared)


@pytest.mark.parametrize("language", ["c", "c++"])
def test_the_header_stands_alone(installed, language):
    subprocess.run(
        ["cc", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-x", language]
        + [installed / "include/weir/agent.h"],
        check=True,
    )


@pytest.mark.parametrize("static", [False, True])
def test_the_examples(engine, installed, tmp_path, static):
    for example in EXAMPLES.glob("*.c"):
        assert len(example.read_text().splitlines()) < 60
    where = f"localhost:{engine.port}"
    publish = subprocess.Popen(
        [build(installed, "publish", tmp_path, static), where, engine.token(), engine.ca],
        stdout=subprocess.PIPE,
        text=True,
    )
    address = publish.stdout.readline().strip()
    label = address.split("//")[1].split(".")[0]
    assert engine.get(label)[2] == b"hello\n"
    publish.kill()
    publish.wait(5)
    publish.stdout.close()

    channel = agent.Agent(engine)
    channel.tunnel(type="bytestream", publish=False, name="echo")
    channel.serve(agent.echo)
    dialed = subprocess.run(
        [build(installed, "dial", tmp_path, static), where, engine.token(), "echo", "a line", engine.ca],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (dialed.returncode, dialed.stdout) == (0, "a line\n"), dialed.stderr
    unknown = subprocess.run(
        [tmp_path / "dial", where, engine.token(), "nobody", "a line", engine.ca],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert unknown.returncode == 1 and "3000" in unknown.stderr
    channel.close()


THREADS = r"""
#include <pthread.h>
#include <stdio.h>
#include <weir/agent.h>

static struct weir_agent_loop *loop;
static struct weir_agent *agent;

static void close_it(void *arg) { (void)arg; weir_agent_close(agent, 0); }
static void say(void *arg) { puts(arg); fflush(stdout); }

static void *wait_for_a_line(void *arg)
{
    (void)arg;
    getchar();
    weir_agent_loop_post(loop, say, "posted");
    weir_agent_loop_post(loop, close_it, NULL);
    return NULL;
}

static void on_agent(void *arg, struct weir_agent *which, const struct weir_agent_status *status)
{
    (void)arg, (void)which;
    if (status->state == WEIR_AGENT_CLOSED)
        weir_agent_loop_stop(loop);
}

static void on_tunnel(void *arg, struct weir_tunnel *tunnel, const struct weir_tunnel_status *status)
{
    (void)arg, (void)tunnel;
    if (status->state == WEIR_TUNNEL_ONLINE)
        weir_agent_loop_after(loop, 1, say, "online");
    if (status->state == WEIR_TUNNEL_CLOSED)
        say("closed");
}

static void on_accept(void *arg, struct weir_tunnel *tunnel, struct weir_stream *stream,
    const struct weir_stream_info *info)
{
    (void)arg, (void)tunnel, (void)info;
    weir_stream_refuse(stream, "not today");
    say("refused");
}

int main(int argc, char **argv)
{
    struct weir_agent_options options = {.size = sizeof options, .engine = argv[1],
        .token = argv[2], .ca_file = argv[3]};
    struct weir_agent_events events = {.state = on_agent};
    struct weir_tunnel_options tunnel = {.size = sizeof tunnel, .hostname = "threads"};
    struct weir_tunnel_events tunnel_events = {.state = on_tunnel, .accept = on_accept};
    char problem[256];
    pthread_t thread;
    (void)argc;
    loop = weir_agent_loop_new();
    agent = weir_agent_new(loop, &options, &events, NULL, problem, sizeof problem);
    weir_tunnel_open(agent, &tunnel, &tunnel_events, NULL, problem, sizeof problem);
    weir_agent_connect(agent);
    pthread_create(&thread, NULL, wait_for_a_line, NULL);
    weir_agent_loop_run(loop);
    weir_agent_loop_free(loop);
    return pthread_join(thread, NULL);
}
"""


def test_threads_and_refusals(engine, installed, tmp_path):
    source = tmp_path / "threads.c"
    source.write_text(THREADS)
    subprocess.run(
        ["cc", "-Wall", "-Wextra", source, *flags(installed, "--cflags", "--libs")]
        + [*sanitizers(installed), f"-Wl,-rpath,{installed / 'lib'}", "-lpthread"]
        + ["-o", tmp_path / "threads"],
        check=True,
    )
    program = subprocess.Popen(
        [tmp_path / "threads", f"localhost:{engine.port}", engine.token(), engine.ca],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout.readline() == "online\n"
    assert engine.get("threads")[0] == 502
    out, _ = program.communicate("\n", timeout=20)
    assert out.split() == ["refused", "posted", "closed"]
    assert program.returncode == 0
