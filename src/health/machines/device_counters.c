// SPDX-License-Identifier: Apache-2.0
// Numbers beyond what a machine can have come to DEVICE_UNKNOWN: what another machine prints is not
// to be believed more than that.
#include "health/machines/device_counters.h"

#include "base/number.h"

#define NUMBER_MAX (UINT64_C(1) << 53) // exact as a double
#define CPU_FIELDS_MAX 8               // user nice system idle iowait irq softirq steal
#define CPU_IDLE 3
#define CPU_IOWAIT 4
#define NET_RX 0
#define NET_TX 8
#define KIB_PER_MB 1024.0
#define KIB_PER_GB (1024.0 * 1024.0)

const char counters_script[] =
    "s() { echo \"@weir $1\"; }\n"
    "if [ -r /proc/stat ]; then\n"
    "s stat; head -n 1 /proc/stat; sleep 0.2 2>/dev/null || sleep 1; s stat; head -n 1 /proc/stat\n"
    "s meminfo; cat /proc/meminfo; s net; cat /proc/net/dev; s loadavg; cat /proc/loadavg\n"
    "fi\n"
    "s df; df -kP /\n";

struct device_sample device_sample_empty(uint64_t wall_ms)
{
    return (struct device_sample){
        .wall_ms = wall_ms,
        .cpu_percent = DEVICE_UNKNOWN,
        .load1 = DEVICE_UNKNOWN,
        .memory_used_mb = DEVICE_UNKNOWN,
        .memory_total_mb = DEVICE_UNKNOWN,
        .disk_used_gb = DEVICE_UNKNOWN,
        .disk_total_gb = DEVICE_UNKNOWN,
        .memory_percent = DEVICE_UNKNOWN,
        .disk_percent = DEVICE_UNKNOWN,
        .network_rx_bytes = DEVICE_UNKNOWN,
        .network_tx_bytes = DEVICE_UNKNOWN,
    };
}

// The next word of a line; false when there is none.
static bool next_word(struct slice *line, struct slice *ret_word)
{
    size_t from = 0;
    while (from < line->len && (line->at[from] == ' ' || line->at[from] == '\t')) {
        from++;
    }
    size_t to = from;
    while (to < line->len && line->at[to] != ' ' && line->at[to] != '\t') {
        to++;
    }
    *ret_word = slice_of(line->at + from, to - from);
    *line = slice_skip(*line, to);
    return to > from;
}

static bool next_number(struct slice *line, uint64_t *ret_number)
{
    struct slice word;
    return next_word(line, &word) && number_parse_u64(word, NUMBER_MAX, ret_number) == WEIR_OK;
}

void counters_read_stat(struct slice text, struct device_cpu *ret_cpu)
{
    struct slice line;
    struct slice word;
    *ret_cpu = (struct device_cpu){0};
    if (!slice_split(&text, '\n', &line) || !next_word(&line, &word) ||
        !slice_eq(word, SLICE("cpu"))) {
        return;
    }
    struct device_cpu cpu = {0};
    uint64_t ticks;
    unsigned field = 0;
    for (; field < CPU_FIELDS_MAX && next_number(&line, &ticks); field++) {
        cpu.total += ticks;
        cpu.busy += field == CPU_IDLE || field == CPU_IOWAIT ? 0 : ticks;
    }
    if (field > CPU_IDLE) {
        *ret_cpu = cpu;
    }
}

double counters_cpu_percent(const struct device_cpu *before, const struct device_cpu *now)
{
    if (before->total == 0 || now->total <= before->total || now->busy < before->busy) {
        return DEVICE_UNKNOWN;
    }
    double percent =
        100.0 * (double)(now->busy - before->busy) / (double)(now->total - before->total);
    return percent > 100 ? 100 : percent;
}

void counters_read_meminfo(struct slice text, struct device_sample *sample)
{
    struct slice line;
    struct slice word;
    uint64_t total_kib = 0;
    uint64_t available_kib = 0;
    bool has_available = false;
    while (slice_split(&text, '\n', &line)) {
        if (!next_word(&line, &word)) {
            continue;
        }
        uint64_t number;
        bool is_total = slice_eq(word, SLICE("MemTotal:"));
        bool is_available = slice_eq(word, SLICE("MemAvailable:"));
        if ((is_total || is_available) && next_number(&line, &number)) {
            total_kib = is_total ? number : total_kib;
            available_kib = is_available ? number : available_kib;
            has_available = has_available || is_available;
        }
    }
    if (total_kib > 0 && has_available && available_kib <= total_kib) {
        sample->memory_total_mb = (double)total_kib / KIB_PER_MB;
        sample->memory_used_mb = (double)(total_kib - available_kib) / KIB_PER_MB;
    }
}

// "  eth0: 1 2 3 4 5 6 7 8 9 …", where the first number may stand right behind the colon.
static bool read_interface(struct slice line, uint64_t *rx, uint64_t *tx)
{
    ptrdiff_t colon = slice_find(line, ':');
    if (colon < 0 || slice_eq(slice_trim(slice_of(line.at, (size_t)colon)), SLICE("lo"))) {
        return false;
    }
    line = slice_skip(line, (size_t)colon + 1);
    for (unsigned field = 0; field <= NET_TX; field++) {
        uint64_t number;
        if (!next_number(&line, &number)) {
            return false;
        }
        *rx = field == NET_RX ? number : *rx;
        *tx = number; // the last one stays
    }
    return true;
}

void counters_read_net(struct slice text, struct device_sample *sample)
{
    struct slice line;
    double rx_sum = 0;
    double tx_sum = 0;
    bool any = false;
    while (slice_split(&text, '\n', &line)) {
        uint64_t rx = 0;
        uint64_t tx = 0;
        if (read_interface(line, &rx, &tx)) {
            rx_sum += (double)rx;
            tx_sum += (double)tx;
            any = true;
        }
    }
    if (any) {
        sample->network_rx_bytes = rx_sum;
        sample->network_tx_bytes = tx_sum;
    }
}

void counters_read_loadavg(struct slice text, struct device_sample *sample)
{
    struct slice word;
    struct slice whole;
    uint64_t units;
    uint64_t hundredths = 0;
    if (!next_word(&text, &word) || !slice_split(&word, '.', &whole) ||
        number_parse_u64(whole, NUMBER_MAX, &units) != WEIR_OK) {
        return;
    }
    // Two digits, the first of which may be a zero that number_parse_u64 does not take.
    for (size_t i = 0; word.at != NULL && i < 2 && i < word.len; i++) {
        if (word.at[i] < '0' || word.at[i] > '9') {
            return;
        }
        hundredths += (uint64_t)(word.at[i] - '0') * (i == 0 ? 10 : 1);
    }
    sample->load1 = (double)units + (double)hundredths / 100;
}

void counters_read_df(struct slice text, struct device_sample *sample)
{
    struct slice line;
    struct slice source;
    while (slice_split(&text, '\n', &line)) {
        uint64_t total_kib;
        uint64_t used_kib;
        if (next_word(&line, &source) && next_number(&line, &total_kib) &&
            next_number(&line, &used_kib) && total_kib > 0 && used_kib <= total_kib) {
            sample->disk_total_gb = (double)total_kib / KIB_PER_GB;
            sample->disk_used_gb = (double)used_kib / KIB_PER_GB;
            return;
        }
    }
}

// ---- The output of the script

#define MARK "@weir "

// Cuts the next section off: its name, and what follows up to the next mark.
static bool next_section(struct slice *rest, struct slice *ret_name, struct slice *ret_text)
{
    struct slice line;
    while (slice_split(rest, '\n', &line)) {
        if (!slice_starts_with(line, SLICE(MARK))) {
            continue;
        }
        *ret_name = slice_trim(slice_skip(line, sizeof MARK - 1));
        *ret_text = *rest;
        const char *end = rest->at == NULL ? NULL : rest->at;
        while (rest->at != NULL && !slice_starts_with(*rest, SLICE(MARK))) {
            (void)slice_split(rest, '\n', &line); // there is one
            end = line.at + line.len;
        }
        ret_text->len = end == NULL ? 0 : (size_t)(end - ret_text->at);
        return true;
    }
    return false;
}

bool counters_read_script(struct slice output, struct device_sample *sample)
{
    struct device_cpu before = {0};
    struct device_cpu now = {0};
    struct slice name;
    struct slice text;
    while (next_section(&output, &name, &text)) {
        if (slice_eq(name, SLICE("stat"))) {
            before = now;
            counters_read_stat(text, &now);
        } else if (slice_eq(name, SLICE("meminfo"))) {
            counters_read_meminfo(text, sample);
        } else if (slice_eq(name, SLICE("net"))) {
            counters_read_net(text, sample);
        } else if (slice_eq(name, SLICE("loadavg"))) {
            counters_read_loadavg(text, sample);
        } else if (slice_eq(name, SLICE("df"))) {
            counters_read_df(text, sample);
        }
    }
    sample->cpu_percent = counters_cpu_percent(&before, &now);
    return sample->disk_total_gb > 0 || sample->memory_total_mb > 0 || sample->cpu_percent >= 0;
}
