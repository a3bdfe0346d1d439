# SPDX-License-Identifier: Apache-2.0
"""Session-event channels and viewer presence (spec 7.4, 14.15)."""
from lib import frames as f

ONE, TWO = "agent-session:one", "agent-session:two"


def added(world, before):
    after = world.relay.metrics()
    return {
        k: v - before[k]
        for k, v in after.items()
        if k.startswith("relay_session_") and v != before[k]
    }


def subscribed(world, *channels, **options):
    viewer = world.events_client(ONE, TWO, **options)
    for channel in channels:
        viewer.send(f.text(f.subscribe(channel)))
        assert '"viewport.session_events.subscribed/v1"' in viewer.recv_text()
    return viewer


def test_presence_reaches_the_other_subscribers_verbatim(world):
    first, second = subscribed(world, ONE), subscribed(world, ONE, TWO)
    elsewhere = subscribed(world, TWO)
    before = world.relay.metrics()
    text = ' {"extra":[1,2] ,' + f.text(f.presence(ONE, displayName="ä", sentAt=""))[1:]
    first.send(text)
    assert second.recv_text() == text
    first.expect_silence_until(b"never itself")
    elsewhere.expect_silence_until(b"another channel")
    assert added(world, before) == {"relay_session_viewer_presence_fanned_total": 1}


def test_sender_need_not_be_subscribed(world):
    listener, sender = subscribed(world, ONE), subscribed(world)
    for action in ("joined", "heartbeat", "left"):
        sender.send(f.text(f.presence(ONE, action=action)))
        assert listener.recv_text() == f.text(f.presence(ONE, action=action))


def test_nobody_listens(world):
    sender = subscribed(world, ONE)
    before = world.relay.metrics()
    sender.send(f.text(f.presence(ONE)))
    sender.expect_silence_until(b"no answer")
    assert added(world, before) == {"relay_session_viewer_presence_no_peers_total": 1}


def test_channels_are_trimmed_and_unescaped(world):
    listener, sender = subscribed(world, ONE + "  "), subscribed(world)
    text = f.text(f.presence(ONE + "\u00a0")).replace("one", "\\u006fne")
    sender.send(text)
    assert listener.recv_text() == text


def test_claimed_channels_are_trimmed(world):
    viewer = world.events_client("agent-session:x  ")
    viewer.send(f.text(f.subscribe("agent-session:x")))
    assert '"viewport.session_events.subscribed/v1"' in viewer.recv_text()


def test_channels_outside_the_claims(world):
    before = world.relay.metrics()
    viewer = world.events_client(ONE)
    for frame in (f.subscribe(TWO), f.unsubscribe(TWO), f.presence(TWO)):
        viewer.send(f.text(frame))
        assert '"reason":"CHANNEL_NOT_AUTHORIZED"' in viewer.recv_text()
    changes = added(world, before)
    assert changes["relay_session_event_subscribe_rejected_total"] == 2
    assert changes["relay_session_viewer_presence_rejected_total"] == 1


def test_no_channels_claimed(world):
    viewer = world.events_client(sessionChannels=None)
    viewer.send(f.text(f.subscribe(ONE)))
    assert '"reason":"CHANNEL_NOT_AUTHORIZED"' in viewer.recv_text()


def test_unsubscribe(world):
    before = world.relay.metrics()
    listener, sender = subscribed(world, ONE), subscribed(world)
    for _ in range(2):  # the second one is fine too
        listener.send(f.text(f.unsubscribe(ONE)))
        assert listener.recv_text() == f.text(
            {"type": "viewport.session_events.unsubscribed/v1", "channel": ONE}
        )
    sender.send(f.text(f.presence(ONE)))
    sender.expect_silence_until(b"sent")
    listener.expect_silence_until(b"not for us")
    changes = added(world, before)
    assert changes["relay_session_event_subscribed_total"] == 1
    assert changes["relay_session_viewer_presence_no_peers_total"] == 1


def test_subscribing_twice_delivers_once(world):
    listener, sender = subscribed(world, ONE, ONE), subscribed(world)
    sender.send(f.text(f.presence(ONE)))
    assert listener.recv_text() == f.text(f.presence(ONE))
    listener.expect_silence_until(b"once")


def test_leaving_ends_subscriptions(world):
    mark = world.relay.log.mark()
    leaver, stays, sender = (subscribed(world, ONE, clientId=c) for c in ("c_a", "c_b", "c_c"))
    leaver.reset()
    world.relay.log.wait("client_disconnected", mark, clientId="c_a")
    sender.send(f.text(f.presence(ONE)))
    assert stays.recv_text() == f.text(f.presence(ONE))


def test_channels_belong_to_a_cell(world):
    other = subscribed(world, ONE, target="rt_2")
    foreign = subscribed(world, ONE, workspace=world.workspace + "x")
    sender = subscribed(world)
    sender.send(f.text(f.presence(ONE)))
    sender.expect_silence_until(b"sent")
    other.expect_silence_until(b"another cell")
    foreign.expect_silence_until(b"another workspace")


def test_presence_speaks_for_the_claimed_user_only(world):
    listener = subscribed(world, ONE)
    sender = subscribed(world, userId="u_me")
    sender.send(f.text(f.presence(ONE, user="u_other")))
    assert sender.recv_text() == f.text(
        {
            "type": "viewport.session_viewer_presence_denied/v1",
            "channel": ONE,
            "reason": "CHANNEL_NOT_AUTHORIZED",
            "workspaceId": world.workspace,
        }
    )
    listener.expect_silence_until(b"nothing passed")
    sender.send(f.text(f.presence(ONE, user="u_me")))
    assert listener.recv_text() == f.text(f.presence(ONE, user="u_me"))


def test_daemon_leaving_does_not_end_subscriptions(world):
    mark = world.relay.log.mark()
    daemon = world.daemon()
    listener, sender = subscribed(world, ONE), subscribed(world)
    daemon.finish()
    world.relay.log.wait("daemon_disconnected", mark)
    sender.send(f.text(f.presence(ONE)))
    assert listener.recv_text() == f.text(f.presence(ONE))
