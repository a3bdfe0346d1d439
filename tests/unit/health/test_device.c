// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "health/machines/device.h"

static const char output[] =
    "Welcome to far\n"
    "@weir stat\ncpu  100 0 50 800 50 0 0 0 0 0\n"
    "@weir stat\ncpu  150 0 50 840 60 0 0 0 0 0\n"
    "@weir meminfo\nMemTotal:  2048000 kB\nMemFree:  100000 kB\nMemAvailable: 1024000 kB\n"
    "@weir net\n face |bytes packets\n    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n"
    "  eth0:1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0\n wlan0: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n"
    "@weir loadavg\n1.05 0.10 0.20 1/234 5678\n"
    "@weir df\nFilesystem     1024-blocks    Used Available Capacity Mounted on\n"
    "/dev/root         10485760 2621440   7864320      25% /\n";

static void test_script_output(void **state)
{
    struct device_sample sample = device_sample_empty(7);
    (void)state;
    assert_true(counters_read_script(slice_str(output), &sample));
    assert_float_equal(sample.cpu_percent, 50, 0.001);
    assert_float_equal(sample.memory_total_mb, 2000, 0.001);
    assert_float_equal(sample.memory_used_mb, 1000, 0.001);
    assert_float_equal(sample.network_rx_bytes, 1005, 0.001);
    assert_float_equal(sample.network_tx_bytes, 2006, 0.001);
    assert_float_equal(sample.load1, 1.05, 0.001);
    assert_float_equal(sample.disk_total_gb, 10, 0.001);
    assert_float_equal(sample.disk_used_gb, 2.5, 0.001);
    assert_float_equal(device_memory_percent(&sample), 50, 0.001);
    assert_float_equal(device_disk_percent(&sample), 25, 0.001);
}

// Every part of it alone, and cut anywhere: what is there is read, and nothing else.
static void test_every_prefix(void **state)
{
    (void)state;
    for (size_t len = 0; len <= sizeof output - 1; len++) {
        struct device_sample sample = device_sample_empty(7);
        (void)counters_read_script(slice_of(output, len), &sample);
        assert_true(sample.cpu_percent <= 100);
        assert_true(sample.memory_used_mb <= sample.memory_total_mb);
        assert_true(sample.disk_used_gb <= sample.disk_total_gb);
    }
}

static void test_nonsense(void **state)
{
    static const char *const rows[] = {
        "",
        "Permission denied (publickey).\n",
        "@weir stat\n@weir meminfo\n@weir df\n",
        "@weir stat\ncpu 9 9\n@weir stat\ncpu 1 1\n",
        "@weir stat\ncpu 9 9 9 9 9\n@weir stat\ncpu 1 1 1 1 1\n", // time went back
        "@weir meminfo\nMemTotal: 10 kB\nMemAvailable: 11 kB\n",
        "@weir meminfo\nMemTotal: 99999999999999999999 kB\nMemAvailable: 1 kB\n",
        "@weir df\n/dev/root 10 11 0 0 /\n",
        "@weir df\n/dev/root -10 1 0 0 /\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct device_sample sample = device_sample_empty(7);
        assert_false(counters_read_script(slice_str(rows[i]), &sample));
    }
}

static void test_load(void **state)
{
    static const struct {
        const char *text;
        double load;
    } rows[] = {{"0.00 0 0", 0}, {"12.34", 12.34}, {"3 0", 3}, {"0.5", 0.5}, {"x", -1}, {"", -1},
        {"1.x", -1}, {"-1.00", -1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct device_sample sample = device_sample_empty(7);
        counters_read_loadavg(slice_str(rows[i].text), &sample);
        assert_float_equal(sample.load1, rows[i].load, 0.001);
    }
}

static struct device_sample at(uint64_t wall_ms)
{
    return device_sample_empty(wall_ms);
}

static void test_ring(void **state)
{
    struct device *device = device_new(SLICE("d"));
    (void)state;
    assert_null(device_newest(device, 0));
    for (uint64_t i = 1; i <= 3 * DEVICE_SAMPLES_MAX + 5; i++) {
        struct device_sample sample = at(i);
        device_add(device, &sample);
        assert_int_equal(device_newest(device, 0)->wall_ms, i);
        size_t count = i < DEVICE_SAMPLES_MAX ? (size_t)i : DEVICE_SAMPLES_MAX;
        assert_int_equal(device->count, count);
        assert_int_equal(device_newest(device, count - 1)->wall_ms, i - count + 1);
        assert_null(device_newest(device, count));
    }
    uint64_t last = 3 * DEVICE_SAMPLES_MAX + 5;
    device_forget(device, last - 9);
    assert_int_equal(device->count, 10);
    assert_int_equal(device_newest(device, 9)->wall_ms, last - 9);
    for (uint64_t i = last + 1; i <= last + 2 * DEVICE_SAMPLES_MAX; i++) {
        struct device_sample sample = at(i);
        device_add(device, &sample);
        assert_int_equal(device_newest(device, 9)->wall_ms, i - 9);
    }
    device_free(device);
}

static void test_ring_without_memory(void **state)
{
    struct device *device = device_new(SLICE("d"));
    struct device_sample sample = at(1);
    (void)state;
    mem_fail_at(1);
    device_add(device, &sample);
    mem_fail_at(0);
    assert_null(device_newest(device, 0));
    for (uint64_t i = 1; i <= 100; i++) {
        sample = at(i);
        mem_fail_at(i == 33 ? 1 : 0); // it cannot grow, once
        device_add(device, &sample);
        assert_int_equal(device_newest(device, 0)->wall_ms, i);
    }
    mem_fail_at(0);
    assert_true(device->count >= 32);
    for (size_t i = 0; i < device->count; i++) {
        assert_int_equal(device_newest(device, i)->wall_ms, 100 - i);
    }
    device_free(device);
}

static void test_documents(void **state)
{
    struct device *device = device_new(SLICE("d\"x"));
    struct buf out = BUF_INIT(4096);
    struct json_writer writer;
    (void)state;
    json_writer_init(&writer, &out);
    device_write(device, &writer, NULL);
    assert_string_equal(buf_text(&out),
        "{\"machine\":\"d\\\"x\",\"cpu_percent\":0,\"memory_used_mb\":0,\"memory_total_mb\":0,"
        "\"memory_percent\":0,\"disk_used_gb\":0,\"disk_total_gb\":0,\"disk_percent\":0,"
        "\"network_rx_bytes\":0,\"network_tx_bytes\":0,\"load1\":null,\"services\":[],"
        "\"timestamp\":null,\"status\":\"unavailable\",\"reachable\":false,\"error\":\"\"}");
    buf_reset(&out);
    struct device_sample sample = at(1000);
    sample.cpu_percent = 12.345;
    sample.memory_percent = 40;
    device_add(device, &sample);
    json_writer_init(&writer, &out);
    device_write_short(device, &writer, NULL);
    assert_string_equal(buf_text(&out),
        "{\"cpu\":12.35,\"memory\":40,\"disk\":null,\"cpu_percent\":12.35,\"memory_percent\":40,"
        "\"disk_percent\":null,\"memory_used_mb\":null,\"memory_total_mb\":null,"
        "\"disk_used_gb\":null,\"disk_total_gb\":null,\"network_rx_bytes\":null,"
        "\"network_tx_bytes\":null,\"load1\":null}");
    buf_reset(&out);
    device_free(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script_output),
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_ring_without_memory),
        cmocka_unit_test(test_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
