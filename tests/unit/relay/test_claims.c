// SPDX-License-Identifier: Apache-2.0
// Section 4.4 of the specification, said a second time: for each claim the values that pass and
// those that refuse the answer, what is kept of them, and the reasons that are logged.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "relay/claims.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEXT_MAX 32768
#define VALUES_MAX 12
#define EMOJI "\xf0\x9f\x98\x80" // two UTF-16 units
#define EURO "\xe2\x82\xac"      // one

#define TIMES_8(text) text text text text text text text text
#define TIMES_64(text) TIMES_8(TIMES_8(text))
#define TIMES_128(text) TIMES_64(text) TIMES_64(text)
#define TIMES_7(text) text text text text text text text
#define TIMES_255(text) TIMES_128(text) TIMES_64(text) TIMES_8(TIMES_7(text)) TIMES_7(text)
#define TIMES_512(text) TIMES_64(TIMES_8(text))
#define TIMES_1024(text) TIMES_512(text) TIMES_512(text)

#define NO_STRING "null", "1", "true", "{}", "\"\""
#define IN_QUOTES(text) "\"" text "\""

#define ID_GOOD                                                                                    \
    {                                                                                              \
        "\"i\"", "\" \"", "\"\\u20ac\"", IN_QUOTES(TIMES_128("i")), IN_QUOTES(TIMES_128(EURO)),    \
            IN_QUOTES(TIMES_64(EMOJI)), IN_QUOTES(TIMES_64("\\ud83d\\ude00"))                      \
    }
#define ID_BAD                                                                                     \
    {                                                                                              \
        NO_STRING, "[\"i\"]", IN_QUOTES(TIMES_128("i") "i"), IN_QUOTES(TIMES_128(EURO) EURO),      \
            IN_QUOTES(TIMES_64(EMOJI) "i")                                                         \
    }
#define TEXT_255_GOOD                                                                              \
    {                                                                                              \
        "\"t\"", "\" \"", IN_QUOTES(TIMES_255("t")), IN_QUOTES(TIMES_255(EURO))                    \
    }
#define TEXT_255_BAD                                                                               \
    {                                                                                              \
        NO_STRING, "[\"t\"]", IN_QUOTES(TIMES_255("t") "t"), IN_QUOTES(TIMES_128(EMOJI))           \
    }
#define INT_GOOD                                                                                   \
    {                                                                                              \
        "0", "-1", "1700000000", "1.0", "1e3", "9007199254740991", "-9007199254740991"             \
    }
#define INT_BAD                                                                                    \
    {                                                                                              \
        "null", "\"1\"", "true", "[]", "1.5", "1e-1", "9007199254740992", "-9007199254740992",     \
            "1e300", "-1e300"                                                                      \
    }

static const struct row {
    const char *name;
    const char *good[VALUES_MAX];
    const char *bad[VALUES_MAX];
} rows[] = {
    {"clientId", ID_GOOD, ID_BAD},
    {"userId", ID_GOOD, ID_BAD},
    {"installId", ID_GOOD, ID_BAD},
    {"runtimeTargetId", ID_GOOD, ID_BAD},
    {"workspaceId", ID_GOOD, ID_BAD},
    {"managedExecutorId", ID_GOOD, ID_BAD},
    {"policyMode", ID_GOOD, ID_BAD},
    {"machineId", TEXT_255_GOOD, TEXT_255_BAD},
    {"iss", TEXT_255_GOOD, TEXT_255_BAD},
    {"jti", TEXT_255_GOOD, TEXT_255_BAD},
    {"role", {"\"workspace-daemon\"", "\"client\"", "\"worker\"", "\"\\u0063lient\""},
        {NO_STRING, "\"daemon\"", "\"Client\"", "\"client \"", "[\"client\"]"}},
    {"scope", {"\"runtime\"", "\"pairing\"", "\"session-events\""},
        {NO_STRING, "\"Runtime\"", "\"session\"", "\" runtime\""}},
    {"e2eeProfile", {"\"noise-ik\"", "\"noise-ikpsk2\""},
        {NO_STRING, "\"noise\"", "\"noise-IK\"", "\"noise-ikpsk\""}},
    {"sessionIds",
        {"[]", "[\"s\"]", "[" IN_QUOTES(TIMES_128("s")) "]",
            "[\"s\"" TIMES_7(TIMES_8(",\"s\"")) TIMES_7(",\"s\"") "]"},
        {NO_STRING, "\"s\"", "[\"\"]", "[null]", "[\"s\",1]", "[[\"s\"]]",
            "[" IN_QUOTES(TIMES_128("s") "s") "]", "[\"s\"" TIMES_64(",\"s\"") "]"}},
    {"sessionChannels",
        {"[]", "[\"agent-session:1\"]", "[\"agent-session: \"]", "[\"agent-session::\"]",
            "[\"agent-session:" TIMES_128("c") TIMES_64("c") TIMES_7(TIMES_7("c")) "\"]",
            "[\"agent-session:1\"" TIMES_7(TIMES_8(",\"agent-session:2\""))
                TIMES_7(",\"agent-session:3\"") "]"},
        {"null", "{}", "\"agent-session:1\"", "[\"agent-session:\"]", "[\"agent-session:\\n\"]",
            "[\"Agent-session:1\"]", "[\" agent-session:1\"]", "[\"agent-session:1\",\"other:1\"]",
            "[\"agent-session:1\",null]", "[\"agent-session:" TIMES_255("c") "\"]",
            "[\"agent-session:1\"" TIMES_64(",\"agent-session:2\"") "]"}},
    {"daemonPublicKey", {"null", "\"k\"", IN_QUOTES(TIMES_512("k"))},
        {"\"\"", "1", "false", "[]", IN_QUOTES(TIMES_512("k") "k")}},
    {"relayWsBaseUrl", {"null", "\"u\"", IN_QUOTES(TIMES_512("u"))},
        {"\"\"", "1", "false", "[]", IN_QUOTES(TIMES_512("u") "u")}},
    {"pairingSecret", {"null", "\"p\"", IN_QUOTES(TIMES_1024("p"))},
        {"\"\"", "1", "false", "[]", IN_QUOTES(TIMES_1024("p") "p")}},
    {"aud",
        {"\"a\"", "[]", "[\"a\",\"b\"]", IN_QUOTES(TIMES_255("a")),
            "[\"a\"" TIMES_128(",\"a\"") "]"},
        {NO_STRING, "[\"\"]", "[null]", "[\"a\",1]", IN_QUOTES(TIMES_255("a") "a"),
            "[" IN_QUOTES(TIMES_255("a") "a") "]"}},
    {"iat", INT_GOOD, INT_BAD},
    {"exp", INT_GOOD, INT_BAD},
    {"nbf", INT_GOOD, INT_BAD},
    {"ver", INT_GOOD, INT_BAD},
    {"daemonIssueGeneration", {"0", "1", "7.0", "9007199254740991"},
        {"null", "\"1\"", "-1", "0.5", "true", "9007199254740992"}},
};

static enum admission_verdict read_text(const char *answer, struct claims *claims)
{
    char reason[64] = "untouched";
    enum admission_verdict verdict =
        claims_read(slice_str(answer), 200, claims, reason, sizeof reason);
    const char *wanted = verdict == ADMISSION_OK               ? ""
                         : verdict == ADMISSION_INVALID_CLAIMS ? "INVALID_CLAIMS"
                         : verdict == ADMISSION_INVALID_JSON   ? "INVALID_JSON"
                         : verdict == ADMISSION_NO_MEMORY      ? "OUT_OF_MEMORY"
                                                               : "VALIDATION_FAILED";
    assert_string_equal(reason, wanted);
    return verdict;
}

static enum admission_verdict read_members(const char *members, struct claims *claims)
{
    static char answer[TEXT_MAX];
    int len = snprintf(answer, sizeof answer, "{\"ok\":true,\"claims\":{%s}}", members);
    assert_in_range(len, 1, (int)sizeof answer - 1);
    return read_text(answer, claims);
}

static enum admission_verdict read_one(const char *name, const char *value)
{
    static char members[TEXT_MAX / 2];
    struct claims claims;
    snprintf(members, sizeof members, "\"%s\":%s", name, value);
    enum admission_verdict verdict = read_members(members, &claims);
    assert_string_equal(claims.unknown, "");
    claims_fini(&claims);
    return verdict;
}

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t j = 0; j < VALUES_MAX && rows[i].good[j] != NULL; j++) {
            if (read_one(rows[i].name, rows[i].good[j]) != ADMISSION_OK) {
                fail_msg("%s: %s refused", rows[i].name, rows[i].good[j]);
            }
        }
        for (size_t j = 0; j < VALUES_MAX && rows[i].bad[j] != NULL; j++) {
            if (read_one(rows[i].name, rows[i].bad[j]) != ADMISSION_INVALID_CLAIMS) {
                fail_msg("%s: %s accepted", rows[i].name, rows[i].bad[j]);
            }
        }
    }
}

// A bad claim refuses the answer whatever stands before and behind it; what was read is freed.
static void test_one_bad_claim(void **state)
{
    static char members[TEXT_MAX / 2];
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct claims claims;
        snprintf(members, sizeof members,
            "\"clientId\":\"c\",\"sessionChannels\":[\"agent-session:1\"],\"%s\":%s,\"other\":1",
            rows[i].name, rows[i].bad[0]);
        if (read_members(members, &claims) != ADMISSION_INVALID_CLAIMS) {
            fail_msg("%s", rows[i].name);
        }
        assert_null(claims.client_id);
        assert_int_equal(claims.session_channel_count, 0);
    }
}

static void test_nothing_claimed(void **state)
{
    struct claims claims;
    (void)state;
    assert_int_equal(read_members("", &claims), ADMISSION_OK);
    assert_null(claims.workspace_id);
    assert_null(claims.client_id);
    assert_int_equal(claims.session_channel_count, 0);
    assert_int_equal(claims.scope, SCOPE_NONE);
    assert_int_equal(claims.profile, FRAME_PROFILE_NONE);
    assert_false(claims.has_role || claims.has_generation || claims.has_expiry);
    assert_string_equal(claims.unknown, "");
    claims_fini(&claims);
    claims = (struct claims){0};
    claims_fini(&claims);
}

static const char all_members[] =
    "\"clientId\":\" c\\t\",\"userId\":\"\\u00a0u\\ufeff\",\"installId\":\"i\","
    "\"runtimeTargetId\":\"r t\",\"workspaceId\":\"w\\u20ac\",\"managedExecutorId\":\"x\\n\","
    "\"machineId\":\"m\",\"role\":\"worker\",\"scope\":\"pairing\",\"sessionIds\":[\"s\"],"
    "\"sessionChannels\":[\"agent-session:1\",\"agent-session:2 \"],"
    "\"e2eeProfile\":\"noise-ikpsk2\",\"policyMode\":\"p\",\"daemonPublicKey\":null,\"exp\":-5,"
    "\"iat\":7,\"nbf\":8,\"ver\":9,\"daemonIssueGeneration\":12";

static void check_all(const struct claims *claims)
{
    assert_string_equal(claims->client_id, "c");
    assert_string_equal(claims->user_id, "u");
    assert_string_equal(claims->install_id, "i");
    assert_string_equal(claims->runtime_target_id, "r t");
    assert_string_equal(claims->workspace_id, "w" EURO);
    assert_string_equal(claims->managed_executor_id, "x");
    assert_string_equal(claims->machine_id, "m");
    assert_int_equal(claims->session_channel_count, 2);
    assert_string_equal(claims->session_channels[0], "agent-session:1");
    assert_string_equal(claims->session_channels[1], "agent-session:2");
    assert_true(claims->has_role && claims->has_generation && claims->has_expiry);
    assert_int_equal(claims->role, ROLE_WORKER);
    assert_int_equal(claims->scope, SCOPE_PAIRING);
    assert_int_equal(claims->profile, FRAME_PROFILE_IKPSK2);
    assert_int_equal(claims->generation, 12);
    assert_int_equal(claims->expiry_s, -5);
    assert_string_equal(claims->unknown, "");
}

static void test_what_is_kept(void **state)
{
    struct claims claims;
    (void)state;
    assert_int_equal(read_members(all_members, &claims), ADMISSION_OK);
    check_all(&claims);
    claims_fini(&claims);
    assert_null(claims.client_id);
    assert_int_equal(claims.session_channel_count, 0);
    claims_fini(&claims);
}

static void test_blank_is_absent(void **state)
{
    struct claims claims;
    (void)state;
    assert_int_equal(
        read_members("\"clientId\":\" \\t\\u2028\",\"machineId\":\"\\ufeff\"", &claims),
        ADMISSION_OK);
    assert_null(claims.client_id);
    assert_null(claims.machine_id);
    claims_fini(&claims);
}

static void test_choices(void **state)
{
    static const struct {
        const char *members;
        enum role role;
        enum scope scope;
        enum frame_profile profile;
    } choices[] = {
        {"\"role\":\"workspace-daemon\",\"scope\":\"runtime\",\"e2eeProfile\":\"noise-ik\"",
            ROLE_DAEMON, SCOPE_RUNTIME, FRAME_PROFILE_IK},
        {"\"role\":\"client\",\"scope\":\"session-events\",\"e2eeProfile\":\"noise-ikpsk2\"",
            ROLE_CLIENT, SCOPE_SESSION_EVENTS, FRAME_PROFILE_IKPSK2},
        {"\"role\":\"worker\",\"scope\":\"pairing\",\"e2eeProfile\":\"noise-ik\"", ROLE_WORKER,
            SCOPE_PAIRING, FRAME_PROFILE_IK},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(choices); i++) {
        struct claims claims;
        assert_int_equal(read_members(choices[i].members, &claims), ADMISSION_OK);
        assert_int_equal(claims.role, choices[i].role);
        assert_int_equal(claims.scope, choices[i].scope);
        assert_int_equal(claims.profile, choices[i].profile);
        claims_fini(&claims);
    }
}

static void test_role_names(void **state)
{
    static const char *const bad[] = {"", "daemon", "CLIENT", "client ", "clien", "workers"};
    enum role role;
    (void)state;
    for (int i = 0; i < ROLE_COUNT; i++) {
        assert_true(role_parse(slice_str(role_name((enum role)i)), &role));
        assert_int_equal(role, i);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(role_parse(slice_str(bad[i]), &role));
    }
}

static void test_unknown_claims(void **state)
{
    static const struct {
        const char *members;
        const char *unknown;
    } unknown[] = {
        {"\"tenant\":null", "tenant"},
        {"\"clientId\":\"c\",\"tenant\":{\"role\":1}", "tenant"},
        {"\"tenant\":[],\"region\":1", "tenant"},
        {"\"ClientId\":7", "ClientId"},
        {"\"" TIMES_64("n") "\":1", TIMES_8(TIMES_7("n")) TIMES_7("n")},
    };
    struct claims claims;
    (void)state;
    for (size_t i = 0; i < COUNT(unknown); i++) {
        assert_int_equal(read_members(unknown[i].members, &claims), ADMISSION_OK);
        assert_string_equal(claims.unknown, unknown[i].unknown);
        claims_fini(&claims);
    }
    assert_int_equal(read_members("\"tenant\":1,\"role\":null", &claims), ADMISSION_INVALID_CLAIMS);
    claims_fini(&claims);
}

// ---- Answers

static void test_answers(void **state)
{
    static const struct {
        const char *answer;
        unsigned status;
        enum admission_verdict verdict;
        const char *reason;
    } answers[] = {
        {"{\"ok\":true,\"claims\":{}}", 200, ADMISSION_OK, ""},
        {"{\"ok\":true,\"claims\":{},\"reason\":\"r\",\"more\":1}", 299, ADMISSION_OK, ""},
        {"{\"ok\":true,\"claims\":{}}", 199, ADMISSION_DENIED, "VALIDATION_FAILED"},
        {"{\"ok\":true,\"claims\":{}}", 300, ADMISSION_DENIED, "VALIDATION_FAILED"},
        {"{\"ok\":true,\"claims\":{},\"error\":\"e\"}", 500, ADMISSION_DENIED, "e"},
        {"{\"ok\":false,\"claims\":{},\"reason\":\"r\",\"error\":\"e\"}", 200, ADMISSION_DENIED,
            "r"},
        {"{\"ok\":false,\"reason\":7,\"error\":\"e\"}", 200, ADMISSION_DENIED, "e"},
        {"{\"ok\":false,\"reason\":null,\"error\":{}}", 200, ADMISSION_DENIED, "VALIDATION_FAILED"},
        {"{\"ok\":1,\"claims\":{}}", 200, ADMISSION_DENIED, "VALIDATION_FAILED"},
        {"{\"ok\":\"true\",\"claims\":{}}", 200, ADMISSION_DENIED, "VALIDATION_FAILED"},
        {"{\"claims\":{}}", 200, ADMISSION_DENIED, "VALIDATION_FAILED"},
        {"{}", 401, ADMISSION_DENIED, "VALIDATION_FAILED"},
        {"{\"ok\":true}", 200, ADMISSION_INVALID_CLAIMS, "INVALID_CLAIMS"},
        {"{\"ok\":true,\"claims\":null}", 200, ADMISSION_INVALID_CLAIMS, "INVALID_CLAIMS"},
        {"{\"ok\":true,\"claims\":[]}", 200, ADMISSION_INVALID_CLAIMS, "INVALID_CLAIMS"},
        {"", 200, ADMISSION_INVALID_JSON, "INVALID_JSON"},
        {"[]", 200, ADMISSION_INVALID_JSON, "INVALID_JSON"},
        {"{\"ok\":true,\"claims\":{}", 200, ADMISSION_INVALID_JSON, "INVALID_JSON"},
        {"{\"ok\":true,\"claims\":{}}x", 200, ADMISSION_INVALID_JSON, "INVALID_JSON"},
        {"{\"ok\":true,\"claims\":{\"iss\":\"\xff\"}}", 200, ADMISSION_INVALID_JSON,
            "INVALID_JSON"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        struct claims claims;
        char reason[64] = "untouched";
        enum admission_verdict verdict = claims_read(
            slice_str(answers[i].answer), answers[i].status, &claims, reason, sizeof reason);
        if (verdict != answers[i].verdict) {
            fail_msg("%s", answers[i].answer);
        }
        assert_string_equal(reason, answers[i].reason);
        claims_fini(&claims);
    }
}

static void test_long_reason(void **state)
{
    struct claims claims;
    char reason[5] = "";
    (void)state;
    enum admission_verdict verdict = claims_read(
        SLICE("{\"ok\":false,\"reason\":\"EXPIRED\"}"), 200, &claims, reason, sizeof reason);
    assert_int_equal(verdict, ADMISSION_DENIED);
    assert_string_equal(reason, "EXPI");
    claims_fini(&claims);
}

static void test_repeated_claim(void **state)
{
    struct claims claims;
    (void)state;
    assert_int_equal(read_members("\"clientId\":\"a\",\"clientId\":\"b\"", &claims), ADMISSION_OK);
    assert_string_equal(claims.client_id, "b");
    claims_fini(&claims);
}

// ---- Without memory

#if WEIR_FAULTS
// Each allocation fails once: the answer is refused by name, and nothing is lost.
static void test_without_memory(void **state)
{
    unsigned long nth = 0;
    struct claims claims;
    enum admission_verdict verdict;
    (void)state;
    do {
        mem_fail_at(++nth);
        verdict = read_members(all_members, &claims);
        mem_fail_at(0);
        if (verdict != ADMISSION_OK) {
            assert_int_equal(verdict, ADMISSION_NO_MEMORY);
            assert_null(claims.client_id);
            assert_null(claims.machine_id);
            assert_int_equal(claims.session_channel_count, 0);
        }
    } while (verdict != ADMISSION_OK);
    check_all(&claims);
    claims_fini(&claims);
    assert_int_equal(nth, 7 + 2 + 1); // ids, channels, and one that nobody asked for
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_one_bad_claim),
        cmocka_unit_test(test_nothing_claimed),
        cmocka_unit_test(test_what_is_kept),
        cmocka_unit_test(test_blank_is_absent),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_role_names),
        cmocka_unit_test(test_unknown_claims),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_long_reason),
        cmocka_unit_test(test_repeated_claim),
#if WEIR_FAULTS
        cmocka_unit_test(test_without_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
