# SPDX-License-Identifier: Apache-2.0
"""Peers that are not ours: python3-websockets as daemon and client, curl as client of HTTP."""
import asyncio
import json
import subprocess

import pytest
import websockets

from lib import frames as f
from lib.weir import ADMIN_TOKEN


def url(world, role):
    return f"ws://{world.relay.host}:{world.relay.port}{world.path(role)}"


def bearer(world, role, **claims):
    return {"Authorization": f"Bearer {world.token(role, **claims)}"}


def connect_daemon(world, **options):
    return websockets.connect(
        url(world, "workspace-daemon"),
        extra_headers=bearer(world, "workspace-daemon"),
        compression=None,
        **options,
    )


def test_conversation(world):
    async def talk():
        token = world.token("client")
        async with connect_daemon(world) as daemon, websockets.connect(
            url(world, "client"), subprotocols=["viewport-relay-v1", f"auth.{token}"]
        ) as client:
            assert client.subprotocol == "viewport-relay-v1"
            await client.send(f.text(f.init_v3("k1")))
            assert await daemon.recv() == f.text(f.init_v3("k1"))
            await daemon.send(f.text(f.response_v3("k1", "s1")))
            assert await client.recv() == f.text(f.response_v3("k1", "s1"))
            for n in range(1, 101):
                up = f.text(f.e2ee("s1", seq=n, ciphertext="ü" * n * 37))
                await client.send(up)
                assert await daemon.recv() == up
                await daemon.send(up)
                assert await client.recv() == up

    asyncio.run(talk())


def test_fragments_and_pings(world):
    async def talk():
        async with connect_daemon(world) as daemon, websockets.connect(
            url(world, "client"), extra_headers=bearer(world, "client")
        ) as client:
            text = f.text(f.e2ee(ciphertext="x" * 1000))
            await client.send([text[:10], text[10:500], text[500:]])
            assert await daemon.recv() == text
            await (await client.ping(b"12345678"))
            await (await daemon.ping())

    asyncio.run(talk())


def test_message_of_the_largest_size(world):
    async def talk():
        async with connect_daemon(world, max_size=2**21) as daemon, websockets.connect(
            url(world, "client"), extra_headers=bearer(world, "client")
        ) as client:
            text = f.text(f.e2ee(ciphertext="x"))
            text += " " * (1048576 - len(text))
            await client.send(text)
            assert await daemon.recv() == text
            await client.send(text + " ")
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd.code == 1009

    asyncio.run(talk())


def test_refusals_reach_the_caller(world):
    async def talk():
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            await websockets.connect(
                url(world, "client"), extra_headers={"Authorization": "Bearer no-such-token"}
            )
        assert refused.value.status_code == 401
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            await websockets.connect(f"ws://{world.relay.host}:{world.relay.port}/ws?role=client")
        assert refused.value.status_code == 400

    asyncio.run(talk())


def test_close_codes_reach_the_caller(world):
    async def talk():
        client = await websockets.connect(
            url(world, "client"), extra_headers=bearer(world, "client", workspaceId="other")
        )
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd.code == 4008
        assert closed.value.rcvd.reason == "workspace claim mismatch"

    asyncio.run(talk())


def test_many_clients_of_one_daemon(world):
    async def one(n):
        async with websockets.connect(
            url(world, "client"), extra_headers=bearer(world, "client")
        ) as client:
            await client.send(f.text(f.init_v3(f"k{n}")))
            assert await client.recv() == f.text(f.response_v3(f"k{n}", f"s{n}"))
            await client.send(f.text(f.e2ee(f"s{n}")))
            assert await client.recv() == f.text(f.e2ee(f"s{n}"))

    async def serve(daemon):
        async for text in daemon:
            frame = json.loads(text)
            if frame["type"] == "e2ee":
                await daemon.send(text)
            else:
                request = frame["requestId"]
                await daemon.send(f.text(f.response_v3(request, "s" + request[1:])))

    async def talk():
        async with connect_daemon(world) as daemon:
            serving = asyncio.create_task(serve(daemon))
            await asyncio.gather(*(one(n) for n in range(50)))
            serving.cancel()

    asyncio.run(talk())


def curl(*args):
    return subprocess.run(
        ["curl", "--silent", "--max-time", "10", *args], capture_output=True, text=True, check=False
    )


def test_curl_reads_health_and_metrics(relay):
    base = f"http://{relay.host}:{relay.port}"
    health = curl("--fail", f"{base}/health", f"{base}/health")
    assert health.returncode == 0
    assert health.stdout.count('"ok":true') == 2
    page = curl("--fail", "-H", f"Authorization: Bearer {ADMIN_TOKEN}", f"{base}/metrics")
    assert "relay_connections_total" in page.stdout
    assert curl("--fail", f"{base}/metrics").returncode == 22


def test_curl_with_http_2_by_prior_knowledge_is_refused(relay):
    assert curl("--http2-prior-knowledge", f"http://{relay.host}:{relay.port}/health").returncode
    assert '"ok":true' in curl(f"http://{relay.host}:{relay.port}/health").stdout
