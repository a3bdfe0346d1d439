// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis/hiredis.h>

#include "base/slice.h"
#include "redis/fault.h"

// As the Redis writes it; what is no error stands for itself.
static enum redis_fault fault_of(const char *wire)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    assert_non_null(reader);
    assert_int_equal(redisReaderFeed(reader, wire, strlen(wire)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    enum redis_fault fault = redis_fault_of(reply);
    freeReplyObject(reply);
    redisReaderFree(reader);
    return fault;
}

static void test_answers(void **state)
{
    static const struct {
        const char *wire;
        enum redis_fault fault;
    } rows[] = {
        {"+OK\r\n", REDIS_FAULT_NONE},
        {"$-1\r\n", REDIS_FAULT_NONE},
        {":0\r\n", REDIS_FAULT_NONE},
        {"-NOAUTH Authentication required.\r\n", REDIS_FAULT_NOAUTH},
        {"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
            REDIS_FAULT_WRONGPASS},
        {"-ERR invalid password\r\n", REDIS_FAULT_WRONGPASS},
        {"-NOPERM this user has no permissions\r\n", REDIS_FAULT_NOPERM},
        {"-LOADING Redis is loading the dataset in memory\r\n", REDIS_FAULT_LOADING},
        {"-READONLY You can't write against a read only replica.\r\n", REDIS_FAULT_READONLY},
        {"-OOM command not allowed when used memory > 'maxmemory'.\r\n", REDIS_FAULT_OOM},
        {"-MOVED 3999 127.0.0.1:6381\r\n", REDIS_FAULT_MOVED},
        {"-ASK 3999 127.0.0.1:6381\r\n", REDIS_FAULT_ASK},
        {"-CLUSTERDOWN Hash slot not served\r\n", REDIS_FAULT_CLUSTERDOWN},
        {"-ERR unknown command\r\n", REDIS_FAULT_OTHER},
        {"-OOMPH\r\n", REDIS_FAULT_OTHER},
        {"-\r\n", REDIS_FAULT_OTHER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(fault_of(rows[i].wire), rows[i].fault);
    }
}

static void test_results(void **state)
{
    (void)state;
    assert_int_equal(redis_fault_of_result(WEIR_CLOSED), REDIS_FAULT_CLOSED);
    assert_int_equal(redis_fault_of_result(WEIR_RESET), REDIS_FAULT_CLOSED);
    assert_int_equal(redis_fault_of_result(WEIR_REFUSED), REDIS_FAULT_UNREACHABLE);
    assert_int_equal(redis_fault_of_result(WEIR_NOT_FOUND), REDIS_FAULT_NAME);
    assert_int_equal(redis_fault_of_result(WEIR_MEMORY), REDIS_FAULT_MEMORY);
}

// What an operator reads ends without a full stop, and labels are single words.
static void test_texts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < REDIS_FAULT_COUNT; i++) {
        struct slice text = slice_str(redis_fault_text((enum redis_fault)i));
        struct slice label = slice_str(redis_fault_label((enum redis_fault)i));
        assert_true(text.len > 0 && label.len > 0);
        assert_false(slice_ends_with(text, SLICE(".")));
        assert_int_equal(slice_find(label, ' '), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
