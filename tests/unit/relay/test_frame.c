// SPDX-License-Identifier: Apache-2.0
// Section 6.2 of the specification, said a second time: for each frame the members it needs and
// the ones it may have, for each kind of member what is good and what is not. Every member of
// every frame is left out, spoiled, doubled and written with escapes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "relay/frame.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEXT_MAX 8192

#define TIMES_8(text) text text text text text text text text
#define TIMES_64(text) TIMES_8(TIMES_8(text))
#define TIMES_128(text) TIMES_64(text) TIMES_64(text)
#define TIMES_256(text) TIMES_128(text) TIMES_128(text)
#define TIMES_255(text) TIMES_128(text) TIMES_64(text) TIMES_8(TIMES_7(text)) TIMES_7(text)
#define TIMES_7(text) text text text text text text text
#define EMOJI "\\ud83d\\ude00" // two UTF-16 units

// ---- Kinds of members

#define KIND_VALUES_MAX 16
static const struct kind {
    const char *good[KIND_VALUES_MAX]; // the first one fills the other tests
    const char *bad[KIND_VALUES_MAX];
} string_kind = {{"\"s\"", "\"\"", "\" \"", "\"\\u0000\\n\"", "\"\xff\""},
    {"null", "1", "true", "[]", "{}", "[\"s\"]"}},
  filled_kind = {{"\"f\"", "\" f \"", "\"\\u0041\"", "\"\\u200b\"", "\"\xc2\x85\""},
      {"\"\"", "\" \"", "\"\\t\\u00a0\\ufeff\"", "\"\xe2\x80\xa8\"", "null", "1", "false", "[]",
          "{}"}},
  positive_kind = {{"1", "1.0", "1e3", "10e-1", "99999999999999999999"},
      {"0", "-1", "1.5", "1e400", "0.1e-1", "\"1\"", "null", "true", "[1]"}},
  natural_kind = {{"0", "-0", "7", "1e3", "7.0"}, {"-1", "0.5", "1e400", "\"0\"", "null", "[]"}},
  number_kind = {{"2", "0", "-1", "1.5"}, {"\"2\"", "null", "true", "[]", "{}"}},
  ttl_kind = {{"60", "30", "3600", "3.6e3", "30.0"},
      {"29", "3601", "0", "-60", "30.5", "\"60\"", "null", "1e400"}},
  two_kind = {{"2", "2.0", "20e-1", "2E0"}, {"1", "4", "2.5", "\"2\"", "null", "[2]", "true"}},
  three_kind = {{"3", "3.0", "30e-1", "3E0"}, {"1", "4", "3.5", "\"3\"", "null", "[3]", "true"}},
  false_kind = {{"false"}, {"null", "0", "\"false\"", "[]", "\"\""}},
  true_kind = {{"true"}, {"null", "1", "\"true\"", "{}"}},
  ik_kind = {{"\"noise-ik\"", "\"noise\\u002dik\""},
      {"\"noise-ikpsk2\"", "\"noise-IK\"", "\"noise-ik \"", "\"noise\"", "\"\"", "null", "1"}},
  psk2_kind = {{"\"noise-ikpsk2\"", "\"noise\\u002dikpsk2\""},
      {"\"noise-ikpsk\"", "\"noise-ikpsk22\"", "\"\"", "null", "2", "[\"noise-ikpsk2\"]"}},
  profile_kind = {{"\"noise-ik\"", "\"noise-ikpsk2\"", "\"noise\\u002Dikpsk2\""},
      {"\"noise-nn\"", "\"noise-ikpsk2x\"", "\"\"", "null", "1", "{}"}},
  channel_kind = {{"\"agent-session:1\"", "\"agent-session:\"", "\"agent-session:\\n1 \"",
                      "\"\\u0061gent\\u002dsession:1\""},
      {"\" agent-session:1\"", "\"agent-session\"", "\"Agent-session:1\"", "\"\"",
          "\"\\u0041gent-session:1\"", "null", "1", "[\"agent-session:1\"]"}},
  action_kind = {{"\"joined\"", "\"left\"", "\"heartbeat\"", "\"\\u006aoined\""},
      {"\"Joined\"", "\"join\"", "\"joined \"", "\"\"", "null", "1"}},
  user_id_kind = {{"\"u\"", "\"" TIMES_128("u") "\"", "\"" TIMES_64(EMOJI) "\"",
                      "\"" TIMES_128("\xe2\x82\xac") "\""},
      {"\"\"", "\" \"", "\"" TIMES_128("u") "u\"", "\"" TIMES_64(EMOJI) "u\"", "null", "1"}},
  display_name_kind = {{"\"n\"", "\"\"", "\"" TIMES_255("n") "\"", "\"" TIMES_255("\\u20ac") "\""},
      {"\"" TIMES_256("n") "\"", "\"" TIMES_128(EMOJI) "\"", "null", "1", "{}"}},
  event_kind = {{"{}", "{\"a\":[1]}", "null"}, {"[]", "\"e\"", "1", "true"}},
  object_kind = {{"{}", "{\"a\":\"b\"}"}, {"null", "[]", "\"o\"", "1"}},
  method_kind = {{"\"GET\"", "\"POST\"", "\"PATCH\"", "\"\\u0047ET\""},
      {"\"get\"", "\"PUT\"", "\"DELETE\"", "\"GET \"", "\"\"", "null", "1"}},
  path_kind = {{"\"/api/runtime/workspaces/w\"", "\"/api/runtime/workspaces/\"",
                   "\"\\/api\\/runtime\\/workspaces\\/w\""},
      {"\"/api/runtime/workspaces\"", "\" /api/runtime/workspaces/w\"", "\"/api/runtime/\"",
          "\"https://h/api/runtime/workspaces/w\"", "\"\"", "null", "1"}};

// ---- Frames

#define CLIENT (1U << FRAME_FROM_CLIENT)
#define DAEMON (1U << FRAME_FROM_DAEMON)
#define WORKER (1U << FRAME_FROM_WORKER)
#define MEMBERS_MAX 10

struct member {
    const char *name;
    const struct kind *kind;
    bool optional;
};

static const struct row {
    const char *title;
    const char *name; // the member that names the frame
    const char *text;
    enum frame_type type;
    enum frame_profile profile; // with the first good values
    unsigned from;
    struct member members[MEMBERS_MAX];
} rows[] = {
    {"e2ee", "type", "e2ee", FRAME_E2EE, FRAME_PROFILE_IK, CLIENT | DAEMON,
        {{"version", &two_kind, false}, {"profile", &profile_kind, false},
            {"sessionId", &filled_kind, false}, {"epoch", &positive_kind, false},
            {"seq", &positive_kind, false}, {"iv", &filled_kind, false},
            {"tag", &filled_kind, false}, {"ciphertext", &filled_kind, false}}},
    {"init v3 ik", "type", "relay_key_exchange_init", FRAME_KEX_INIT_V3, FRAME_PROFILE_IK, CLIENT,
        {{"version", &three_kind, false}, {"profile", &ik_kind, false},
            {"requestId", &string_kind, false}, {"clientEphemeralPublicKey", &string_kind, false},
            {"encryptedClientStatic", &string_kind, false}}},
    {"init v3 psk2", "type", "relay_key_exchange_init", FRAME_KEX_INIT_V3, FRAME_PROFILE_IKPSK2,
        CLIENT,
        {{"version", &three_kind, false}, {"profile", &psk2_kind, false},
            {"requestId", &string_kind, false}, {"clientEphemeralPublicKey", &string_kind, false},
            {"encryptedClientStatic", &string_kind, false},
            {"pairingPeerId", &filled_kind, false}}},
    {"init v2 ik", "type", "relay_key_exchange_init", FRAME_KEX_INIT_V2, FRAME_PROFILE_IK, CLIENT,
        {{"version", &two_kind, false}, {"profile", &ik_kind, false},
            {"requestId", &string_kind, false}, {"clientPublicKey", &string_kind, false},
            {"clientNonce", &string_kind, false}, {"clientProof", &string_kind, false}}},
    {"init v2 psk2", "type", "relay_key_exchange_init", FRAME_KEX_INIT_V2, FRAME_PROFILE_IKPSK2,
        CLIENT,
        {{"version", &two_kind, false}, {"profile", &psk2_kind, false},
            {"requestId", &string_kind, false}, {"clientPublicKey", &string_kind, false},
            {"clientNonce", &string_kind, false}, {"clientProof", &string_kind, false},
            {"pairingPeerId", &filled_kind, false}}},
    {"response v3", "type", "relay_key_exchange_response", FRAME_KEX_RESPONSE_V3, FRAME_PROFILE_IK,
        DAEMON,
        {{"version", &three_kind, false}, {"profile", &profile_kind, false},
            {"requestId", &string_kind, false}, {"daemonPublicKey", &string_kind, false},
            {"daemonEphemeralPublicKey", &string_kind, false},
            {"encryptedMetadata", &string_kind, false}, {"sessionId", &string_kind, false},
            {"proof", &string_kind, false}, {"epoch", &positive_kind, false}}},
    {"response v2", "type", "relay_key_exchange_response", FRAME_KEX_RESPONSE_V2, FRAME_PROFILE_IK,
        DAEMON,
        {{"version", &two_kind, false}, {"profile", &profile_kind, false},
            {"requestId", &string_kind, false}, {"daemonNonce", &string_kind, false},
            {"sessionId", &string_kind, false}, {"proof", &string_kind, false},
            {"epoch", &number_kind, false}}},
    {"key update", "type", "relay_key_update_required", FRAME_KEY_UPDATE_REQUIRED,
        FRAME_PROFILE_NONE, DAEMON,
        {{"sessionId", &string_kind, false}, {"nextEpoch", &number_kind, false}}},
    {"offer request", "type", "relay_pairing_offer_request", FRAME_PAIRING_OFFER_REQUEST,
        FRAME_PROFILE_NONE, CLIENT,
        {{"requestId", &filled_kind, false}, {"clientChannelPublicKey", &filled_kind, false},
            {"ttlSeconds", &ttl_kind, true}}},
    {"redeem request", "type", "relay_pairing_redeem_request", FRAME_PAIRING_REDEEM_REQUEST,
        FRAME_PROFILE_NONE, CLIENT,
        {{"requestId", &filled_kind, false}, {"offerId", &filled_kind, false},
            {"encIv", &filled_kind, false}, {"encTag", &filled_kind, false},
            {"encCiphertext", &filled_kind, false}}},
    {"offer refused", "type", "relay_pairing_offer_response", FRAME_PAIRING_OFFER_RESPONSE,
        FRAME_PROFILE_NONE, DAEMON,
        {{"requestId", &filled_kind, false}, {"ok", &false_kind, false},
            {"errorCode", &filled_kind, false}}},
    {"offer granted", "type", "relay_pairing_offer_response", FRAME_PAIRING_OFFER_RESPONSE,
        FRAME_PROFILE_NONE, DAEMON,
        {{"requestId", &filled_kind, false}, {"ok", &true_kind, false},
            {"daemonChannelPublicKey", &filled_kind, false}, {"encIv", &filled_kind, false},
            {"encTag", &filled_kind, false}, {"encCiphertext", &filled_kind, false}}},
    {"redeem refused", "type", "relay_pairing_redeem_response", FRAME_PAIRING_REDEEM_RESPONSE,
        FRAME_PROFILE_NONE, DAEMON,
        {{"requestId", &filled_kind, false}, {"ok", &false_kind, false},
            {"errorCode", &filled_kind, false}}},
    {"redeem granted", "type", "relay_pairing_redeem_response", FRAME_PAIRING_REDEEM_RESPONSE,
        FRAME_PROFILE_NONE, DAEMON,
        {{"requestId", &filled_kind, false}, {"ok", &true_kind, false}}},
    {"subscribe", "type", "viewport.session_events.subscribe/v1", FRAME_SUBSCRIBE,
        FRAME_PROFILE_NONE, CLIENT,
        {{"channel", &channel_kind, false}, {"afterSequence", &natural_kind, true}}},
    {"unsubscribe", "type", "viewport.session_events.unsubscribe/v1", FRAME_UNSUBSCRIBE,
        FRAME_PROFILE_NONE, CLIENT, {{"channel", &channel_kind, false}}},
    {"viewer presence", "type", "viewport.session_viewer_presence/v1", FRAME_VIEWER_PRESENCE,
        FRAME_PROFILE_NONE, CLIENT,
        {{"channel", &channel_kind, false}, {"action", &action_kind, false},
            {"userId", &user_id_kind, false}, {"displayName", &display_name_kind, true},
            {"sentAt", &string_kind, true}}},
    {"session event", "schema", "viewport.session_event_relay_frame/v1", FRAME_SESSION_EVENT,
        FRAME_PROFILE_NONE, DAEMON,
        {{"channel", &channel_kind, false}, {"event", &event_kind, false}}},
    {"worker request", "type", "viewport.worker_transport.request/v1", FRAME_WORKER_REQUEST,
        FRAME_PROFILE_NONE, WORKER,
        {{"requestId", &filled_kind, false}, {"method", &method_kind, false},
            {"path", &path_kind, false}, {"headers", &object_kind, true},
            {"body", &string_kind, true}}},
};

#define for_each_member(member, row)                                                               \
    for (const struct member *member = (row)->members;                                             \
         member < (row)->members + MEMBERS_MAX && member->name != NULL; member++)

// ---- Making texts

struct text {
    char at[TEXT_MAX];
    size_t len;
};

static void put(struct text *text, const char *format, ...) WEIR_PRINTF(2, 3);
static void put(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text->at + text->len, sizeof text->at - text->len, format, args);
    va_end(args);
    text->len += (size_t)len;
    assert_true(text->len < sizeof text->at);
}

// The frame with its first good values, without one member, up to but not including the brace.
static void begin_without(struct text *text, const struct row *row, const struct member *missing)
{
    text->len = 0;
    put(text, "{\"%s\":\"%s\"", row->name, row->text);
    for_each_member(member, row)
    {
        if (member != missing) {
            put(text, ",\"%s\":%s", member->name, member->kind->good[0]);
        }
    }
}

static struct slice whole(const struct row *row, struct text *text)
{
    begin_without(text, row, NULL);
    put(text, "}");
    return slice_of(text->at, text->len);
}

static bool parses(struct slice text, enum frame_from from)
{
    struct frame frame;
    return frame_parse(text, from, &frame);
}

static enum frame_from sender(const struct row *row)
{
    return (row->from & CLIENT) != 0   ? FRAME_FROM_CLIENT
           : (row->from & DAEMON) != 0 ? FRAME_FROM_DAEMON
                                       : FRAME_FROM_WORKER;
}

static void expect(struct text *text, const struct row *row, bool valid)
{
    put(text, "}");
    if (parses(slice_of(text->at, text->len), sender(row)) != valid) {
        fail_msg("%s: should be %s: %s", row->title, valid ? "valid" : "invalid", text->at);
    }
}

// ---- Tests

static int set_up(void **state)
{
    (void)state;
    return frame_rules_init() == WEIR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    frame_rules_fini();
    return 0;
}

static void test_who_may_send_what(void **state)
{
    (void)state;
    struct text text;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int from = FRAME_FROM_CLIENT; from <= FRAME_FROM_WORKER; from++) {
            struct frame frame;
            bool valid = frame_parse(whole(&rows[i], &text), (enum frame_from)from, &frame);
            if (valid != ((rows[i].from >> from & 1) != 0)) {
                fail_msg("%s from %d", rows[i].title, from);
            }
            if (valid) {
                assert_int_equal(frame.type, rows[i].type);
                assert_int_equal(frame.profile, rows[i].profile);
            }
        }
    }
}

static void test_member_missing(void **state)
{
    (void)state;
    struct text text;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for_each_member(member, &rows[i])
        {
            begin_without(&text, &rows[i], member);
            expect(&text, &rows[i], member->optional);
        }
    }
}

static void test_member_values(void **state)
{
    (void)state;
    struct text text;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for_each_member(member, &rows[i])
        {
            for (const char *const *good = member->kind->good; *good != NULL; good++) {
                begin_without(&text, &rows[i], member);
                put(&text, ",\"%s\":%s", member->name, *good);
                expect(&text, &rows[i], true);
            }
            for (const char *const *bad = member->kind->bad; *bad != NULL; bad++) {
                begin_without(&text, &rows[i], member);
                put(&text, ",\"%s\":%s", member->name, *bad);
                expect(&text, &rows[i], false);
            }
        }
    }
}

// The last of two members of one name counts, however the name is written.
static void test_member_doubled(void **state)
{
    (void)state;
    struct text text;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for_each_member(member, &rows[i])
        {
            const char *good = member->kind->good[0];
            const char *bad = member->kind->bad[0];
            const char *name = member->name;
            begin_without(&text, &rows[i], member);
            put(&text, ",\"%s\":%s,\"%s\":%s", name, good, name, bad);
            expect(&text, &rows[i], false);
            begin_without(&text, &rows[i], member);
            put(&text, ",\"%s\":%s,\"%s\":%s", name, bad, name, good);
            expect(&text, &rows[i], true);
            begin_without(&text, &rows[i], member);
            put(&text, ",\"%s\":%s,\"\\u%04x%s\":%s", name, bad, (unsigned)name[0], name + 1, good);
            expect(&text, &rows[i], true);
            begin_without(&text, &rows[i], member);
            put(&text, ",\"%s\":%s,\"\\u%04x%s\":%s", name, good, (unsigned)name[0], name + 1, bad);
            expect(&text, &rows[i], false);
        }
    }
}

// The naming member: escaped, doubled, wrong, of another kind.
static void test_naming_member(void **state)
{
    (void)state;
    static const char *const bad[] = {"\"\"", "\"E2ee\"", "\"e2ee \"", "\"e2e\"",
        "\"relay_status\"", "\"ack\"", "null", "1", "[\"e2ee\"]", "{}"};
    struct text text;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        for (size_t j = 0; j < COUNT(bad); j++) {
            begin_without(&text, row, NULL);
            put(&text, ",\"%s\":%s", row->name, bad[j]);
            expect(&text, row, false);
        }
        begin_without(&text, row, NULL);
        put(&text, ",\"%s\":1,\"%s\":\"\\u%04x%s\"", row->name, row->name, (unsigned)row->text[0],
            row->text + 1);
        expect(&text, row, true);
        text.len = 0;
        put(&text, "{\"x\":1");
        for_each_member(member, row)
        {
            put(&text, ",\"%s\":%s", member->name, member->kind->good[0]);
        }
        expect(&text, row, false);
    }
}

static void test_prefixes(void **state)
{
    (void)state;
    struct text text;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice frame = whole(&rows[i], &text);
        for (size_t len = 0; len < frame.len; len++) {
            assert_false(parses(slice_of(frame.at, len), sender(&rows[i])));
        }
    }
}

static void test_unknown_members_and_spaces(void **state)
{
    (void)state;
    struct text text;
    for (size_t i = 0; i < COUNT(rows); i++) {
        begin_without(&text, &rows[i], NULL);
        put(&text, "\r\n,\t\"previousSessionId\" : 5 , \"x\":{\"type\":\"ack\",\"y\":[[]]}");
        expect(&text, &rows[i], true);
        begin_without(&text, &rows[i], NULL);
        put(&text, ",\"x\":[1,]");
        expect(&text, &rows[i], false);
    }
}

// What no rule names, whoever sends it.
static void test_nothing_else_passes(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{}", "[]", "null", "\"e2ee\"", "{\"type\":\"e2ee\"}",
        "{\"type\":\"relay_status\",\"code\":\"X\",\"message\":\"y\",\"workspaceId\":\"w\"}",
        "{\"type\":\"ack\",\"requestId\":\"r\"}", "{\"type\":\"command\",\"command\":\"ls\"}",
        "{\"type\":\"viewport.session_events.subscribed/v1\",\"channel\":\"agent-session:1\"}",
        "{\"type\":\"viewport.session_event_relay_frame/v1\",\"channel\":\"agent-session:1\","
        "\"event\":{}}",
        "{\"schema\":\"e2ee\",\"version\":2,\"profile\":\"noise-ik\",\"sessionId\":\"s\",\"epoch\":"
        "1,\"seq\":1,\"iv\":\"i\",\"tag\":\"t\",\"ciphertext\":\"c\"}",
        "{\"schema\":\"viewport.session_events.subscribe/v1\",\"channel\":\"agent-session:1\"}"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        for (int from = FRAME_FROM_CLIENT; from <= FRAME_FROM_WORKER; from++) {
            if (parses(slice_str(texts[i]), (enum frame_from)from)) {
                fail_msg("passed: %s", texts[i]);
            }
        }
    }
}

// A response that is neither what its ok says nor the other thing.
static void test_ok_decides(void **state)
{
    (void)state;
#define OFFER "{\"type\":\"relay_pairing_offer_response\",\"requestId\":\"r\","
#define GRANTED                                                                                    \
    "\"daemonChannelPublicKey\":\"k\",\"encIv\":\"i\",\"encTag\":\"t\",\"encCiphertext\":\"c\""
    assert_false(parses(SLICE(OFFER "\"ok\":true,\"errorCode\":\"E\"}"), FRAME_FROM_DAEMON));
    assert_false(parses(SLICE(OFFER "\"ok\":false," GRANTED "}"), FRAME_FROM_DAEMON));
    assert_true(parses(SLICE(OFFER "\"ok\":true,\"errorCode\":1," GRANTED "}"), FRAME_FROM_DAEMON));
    assert_true(
        parses(SLICE(OFFER "\"ok\":false,\"errorCode\":\"E\",\"encIv\":1}"), FRAME_FROM_DAEMON));
}

// A text with a type and the schema of a session event.
static void test_type_and_schema(void **state)
{
    (void)state;
#define EVENT                                                                                      \
    "\"schema\":\"viewport.session_event_relay_frame/v1\",\"channel\":\"agent-session:1\","        \
    "\"event\":{}}"
    struct frame frame;
    assert_true(frame_parse(SLICE("{\"type\":\"relay_status\"," EVENT), FRAME_FROM_DAEMON, &frame));
    assert_int_equal(frame.type, FRAME_SESSION_EVENT);
    assert_true(frame_parse(SLICE("{\"type\":\"relay_key_update_required\",\"sessionId\":\"s\","
                                  "\"nextEpoch\":2," EVENT),
        FRAME_FROM_DAEMON, &frame));
    assert_int_equal(frame.type, FRAME_KEY_UPDATE_REQUIRED);
    assert_true(frame_parse(
        SLICE("{\"type\":\"relay_key_update_required\"," EVENT), FRAME_FROM_DAEMON, &frame));
    assert_int_equal(frame.type, FRAME_SESSION_EVENT);
    assert_false(
        frame_parse(SLICE("{\"type\":\"relay_status\"," EVENT), FRAME_FROM_CLIENT, &frame));
}

static void test_profile(void **state)
{
    (void)state;
#define E2EE(profile)                                                                              \
    "{\"type\":\"e2ee\",\"version\":2,\"profile\":\"" profile                                      \
    "\",\"sessionId\":\"s\",\"epoch\":1,"                                                          \
    "\"seq\":1,\"iv\":\"i\",\"tag\":\"t\",\"ciphertext\":\"c\"}"
    struct frame frame;
    assert_true(frame_parse(SLICE(E2EE("noise-ikpsk2")), FRAME_FROM_CLIENT, &frame));
    assert_int_equal(frame.profile, FRAME_PROFILE_IKPSK2);
    assert_true(frame_parse(SLICE(E2EE("noise-\\u0069k")), FRAME_FROM_DAEMON, &frame));
    assert_int_equal(frame.profile, FRAME_PROFILE_IK);
    // A frame that has no profile keeps none, whatever it claims.
    assert_true(frame_parse(SLICE("{\"type\":\"relay_key_update_required\",\"sessionId\":\"\","
                                  "\"nextEpoch\":1,\"profile\":\"noise-ikpsk2\"}"),
        FRAME_FROM_DAEMON, &frame));
    assert_int_equal(frame.profile, FRAME_PROFILE_NONE);
}

static void test_after_sequence(void **state)
{
    (void)state;
#define SUBSCRIBE                                                                                  \
    "{\"type\":\"viewport.session_events.subscribe/v1\",\"channel\":\"agent-session:1\""
    static const struct {
        struct slice text;
        bool has;
        double number;
    } cases[] = {
        {{SUBSCRIBE "}", sizeof SUBSCRIBE}, false, 0},
        {{SUBSCRIBE ",\"afterSequence\":0}", sizeof SUBSCRIBE ",\"afterSequence\":0"}, true, 0},
        {{SUBSCRIBE ",\"afterSequence\":4.2e1}", sizeof SUBSCRIBE ",\"afterSequence\":4.2e1"}, true,
            42},
        {{SUBSCRIBE ",\"afterSequence\":1e20}", sizeof SUBSCRIBE ",\"afterSequence\":1e20"}, true,
            1e20},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct frame frame;
        assert_true(frame_parse(cases[i].text, FRAME_FROM_CLIENT, &frame));
        assert_int_equal(frame.has_after_sequence, cases[i].has);
        assert_true(frame.after_sequence >= cases[i].number);
        assert_true(frame.after_sequence <= cases[i].number);
    }
    struct frame frame;
    assert_true(frame_parse(SLICE("{\"type\":\"viewport.session_events.unsubscribe/v1\","
                                  "\"channel\":\"agent-session:1\",\"afterSequence\":5}"),
        FRAME_FROM_CLIENT, &frame));
    assert_false(frame.has_after_sequence);
}

// A field of the frame is the member of that name, borrowed from the text.
static void test_fields(void **state)
{
    (void)state;
    struct slice text =
        SLICE("{\"type\":\"viewport.worker_transport.request/v1\",\"requestId\":\"r\","
              "\"method\":\"POST\",\"path\":\"/api/runtime/workspaces/w\","
              "\"headers\":{\"a\":\"b\"},\"body\":\"x\\ny\"}");
    struct frame frame;
    assert_true(frame_parse(text, FRAME_FROM_WORKER, &frame));
    assert_true(slice_eq(frame.request_id.text, SLICE("r")));
    assert_true(slice_eq(frame.method.text, SLICE("POST")));
    assert_true(slice_eq(frame.path.text, SLICE("/api/runtime/workspaces/w")));
    assert_true(slice_eq(frame.headers.text, SLICE("{\"a\":\"b\"}")));
    assert_true(slice_eq(frame.body.text, SLICE("x\\ny")));
    assert_true(frame.body.escaped);
    assert_int_equal(frame.session_id.kind, JSON_KIND_ABSENT);
    assert_true(frame.body.text.at > text.at && frame.body.text.at < text.at + text.len);
    assert_ptr_equal(&frame.body, &frame.values[FRAME_KEY_body]);
}

static struct json_value string_value(const char *raw)
{
    return (struct json_value){
        .text = slice_str(raw), .kind = JSON_KIND_STRING, .escaped = strchr(raw, '\\') != NULL};
}

static void test_frame_text(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *text, *trimmed;
    } cases[] = {
        {"", "", ""},
        {" rs_1\xc2\xa0", " rs_1\xc2\xa0", "rs_1"},
        {"\\u0020rs\\u005f1\\n", " rs_1\n", "rs_1"},
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {" \\t ", " \t ", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json_value value = string_value(cases[i].raw);
        char *scratch = malloc(value.text.len + 1);
        assert_non_null(scratch);
        struct slice text;
        assert_true(frame_text(&value, scratch, value.text.len, &text));
        assert_true(slice_eq(text, slice_str(cases[i].text)));
        assert_ptr_equal(text.at, value.escaped ? scratch : value.text.at);
        assert_true(frame_text_trimmed(&value, scratch, value.text.len, &text));
        assert_true(slice_eq(text, slice_str(cases[i].trimmed)));
        // Scratch is needed for escapes only.
        if (value.text.len > 0) {
            assert_int_equal(
                frame_text(&value, scratch, value.text.len - 1, &text), !value.escaped);
            assert_int_equal(
                frame_text_trimmed(&value, scratch, value.text.len - 1, &text), !value.escaped);
        }
        free(scratch);
    }
}

static void test_frame_text_of_no_string(void **state)
{
    (void)state;
    struct slice text;
    for (int kind = JSON_KIND_ABSENT; kind <= JSON_KIND_OBJECT; kind++) {
        struct json_value value = {.text = SLICE("x"), .kind = (enum json_kind)kind};
        bool string = kind == JSON_KIND_STRING;
        assert_int_equal(frame_text(&value, NULL, 0, &text), string);
        assert_int_equal(frame_text_trimmed(&value, NULL, 0, &text), string);
    }
}

static void test_init_without_memory(void **state)
{
    (void)state;
    frame_rules_fini();
    mem_fail_at(1);
    assert_int_equal(frame_rules_init(), WEIR_MEMORY);
    mem_fail_at(0);
    frame_rules_fini();
    assert_int_equal(frame_rules_init(), WEIR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_may_send_what),
        cmocka_unit_test(test_member_missing),
        cmocka_unit_test(test_member_values),
        cmocka_unit_test(test_member_doubled),
        cmocka_unit_test(test_naming_member),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_unknown_members_and_spaces),
        cmocka_unit_test(test_nothing_else_passes),
        cmocka_unit_test(test_ok_decides),
        cmocka_unit_test(test_type_and_schema),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_after_sequence),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_frame_text),
        cmocka_unit_test(test_frame_text_of_no_string),
        cmocka_unit_test(test_init_without_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
