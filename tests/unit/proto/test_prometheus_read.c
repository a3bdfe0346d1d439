// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proto/prometheus.h"
#include "proto/prometheus_read.h"

static void samples_one_after_the_other(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *name; // NULL: it is none
        const char *labels;
        double value;
    } rows[] = {
        {"a 1", "a", "", 1},
        {"a_b:c 1.5e3", "a_b:c", "", 1500},
        {"a{} 2", "a", "", 2},
        {"a{b=\"c\"} 3", "a", "b=\"c\"", 3},
        {"a{b=\"}\",c=\"\\\"}\"} 4", "a", "b=\"}\",c=\"\\\"}\"", 4},
        {"a 5 1700000000000", "a", "", 5},
        {"a  6", "a", "", 6},
        {"a 7\r", "a", "", 7},
        {"a +Inf", "a", "", INFINITY},
        {"# TYPE a counter", NULL, NULL, 0},
        {"", NULL, NULL, 0},
        {"a", NULL, NULL, 0},
        {"a ", NULL, NULL, 0},
        {"a x", NULL, NULL, 0},
        {"a 1x", NULL, NULL, 0},
        {"{b=\"c\"} 1", NULL, NULL, 0},
        {"a{b=\"c\" 1", NULL, NULL, 0},
        {"a{b=\"c} 1", NULL, NULL, 0},
        {"a{b=\"\\", NULL, NULL, 0},
        {"a{", NULL, NULL, 0},
        {"a{}", NULL, NULL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char page[128];
        struct prometheus_sample sample;
        // Whatever stands before, the next one is found.
        snprintf(page, sizeof page, "%s\nlast 9\n", rows[i].line);
        struct slice rest = slice_str(page);
        if (rows[i].name != NULL) {
            assert_true(prometheus_next(&rest, &sample));
            assert_true(slice_eq(sample.name, slice_str(rows[i].name)));
            assert_true(slice_eq(sample.labels, slice_str(rows[i].labels)));
            assert_true(sample.value == rows[i].value);
        }
        assert_true(prometheus_next(&rest, &sample));
        assert_true(slice_eq(sample.name, SLICE("last")));
        assert_false(prometheus_next(&rest, &sample));
        assert_false(prometheus_next(&rest, &sample));
    }
}

static void labels_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *labels;
        const char *name;
        const char *value; // NULL: it has none
    } rows[] = {
        {"a=\"1\",b=\"2\"", "a", "1"},
        {"a=\"1\",b=\"2\"", "b", "2"},
        {"a=\"1\", b=\"2\",", "b", "2"},
        {"a=\"\"", "a", ""},
        {"a=\"x\\\\y\\\"z\\nw\\q\"", "a", "x\\y\"z\nwq"},
        {"a=\"b=\\\"c\\\"\",c=\"d\"", "c", "d"},
        {"a=\"0123456789\"", "a", "0123456"},
        {"aa=\"1\"", "a", NULL},
        {"", "a", NULL},
        {"a=", "a", NULL},
        {"a=1", "a", NULL},
        {"a", "a", NULL},
        {"b=\"1\" a=\"2\"", "c", NULL},
        {"a=\"open", "a", "open"},
        {"a=\"open\\", "a", "open\\"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[8];
        char whole[64];
        const struct prometheus_sample sample = {
            .name = SLICE("m"), .labels = slice_str(rows[i].labels)};
        bool small = rows[i].value != NULL && strlen(rows[i].value) < sizeof text;
        bool found = prometheus_read_label(&sample, slice_str(rows[i].name), small ? text : whole,
            small ? sizeof text : sizeof whole);
        assert_true(found == (rows[i].value != NULL));
        if (found) {
            assert_string_equal(small ? text : whole, rows[i].value);
        }
    }
}

// What prometheus.h writes is read again.
static void there_and_back(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(4096);
    struct prometheus_sample sample;
    char text[64];
    const struct prometheus_label label = {"reason", SLICE("a \"b\\\" }\n,c=")};
    prometheus_family(&out, EXPOSITION_PROMETHEUS, PROMETHEUS_COUNTER, "x_total", "an {x} of\n 2");
    prometheus_int(&out, "x_total", &label, 7);
    prometheus_double(&out, "y", NULL, 0.25);
    struct slice rest = buf_slice(&out);
    assert_true(prometheus_next(&rest, &sample));
    assert_true(slice_eq(sample.name, SLICE("x_total")) && sample.value == 7);
    assert_true(prometheus_read_label(&sample, SLICE("reason"), text, sizeof text));
    assert_true(slice_eq(slice_str(text), label.value));
    assert_true(prometheus_next(&rest, &sample));
    assert_true(slice_eq(sample.name, SLICE("y")) && sample.value == 0.25);
    assert_false(prometheus_next(&rest, &sample));
    buf_reset(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_one_after_the_other),
        cmocka_unit_test(labels_by_name),
        cmocka_unit_test(there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
