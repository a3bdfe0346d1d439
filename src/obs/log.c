// SPDX-License-Identifier: Apache-2.0
// A line is built on its caller's stack. log_end copies it once; the copy is shared by the queue of
// the writer thread and by the ring for /logs. One mutex guards rates, queue and ring; nobody holds
// it while writing.
//
// The writer asks whether standard output takes bytes before it writes, and writes less than a pipe
// takes at once: a reader that is stuck never holds it, so log_stop is bounded.
#include "obs/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/time.h"
#include "base/utf8.h"
#include "sys/clock.h"
#include "sys/file.h"

#define QUEUE_MAX 8192
#define STOP_TIMEOUT_NS (2 * NS_PER_S)
#define WAIT_NS (100 * NS_PER_MS)
#define TAIL_LEN 64 // room kept for `,"suppressed":n,"truncated":true}}\n`

static const struct {
    const char *name;
    enum log_level level;
    double rate;
} events[LOG_EVENT_COUNT] = {
#define LOG_EVENT(symbol, name, level, lines_per_second)                                           \
    [LOG_##symbol] = {name, LOG_##level, lines_per_second},
#include "obs/events.def"
#undef LOG_EVENT
};

struct kept_line {
    struct list queued;
    unsigned holders;
    enum log_level level;
    uint64_t wall_ms;
    size_t brief_len;
    size_t len; // with the newline
    char text[];
};

struct rate {
    double tokens;
    uint64_t filled_ns;
    uint64_t suppressed;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_t writer;
    bool running;
    bool stopping;
    int fd;
    struct list queue;
    size_t queue_len;
    struct kept_line **ring;
    size_t ring_size;
    size_t ring_next;
    size_t ring_len;
    struct rate rates[LOG_EVENT_COUNT];
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static atomic_uint_fast64_t counted[LOG_LEVEL_COUNT];
static atomic_uint_fast64_t suppressed_total;
static atomic_uint_fast64_t lost_total;

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"info", "warn", "error"};
    return names[level];
}

uint64_t log_counted(enum log_level level)
{
    return atomic_load_explicit(&counted[level], memory_order_relaxed);
}

uint64_t log_suppressed(void)
{
    return atomic_load_explicit(&suppressed_total, memory_order_relaxed);
}

uint64_t log_lost(void)
{
    return atomic_load_explicit(&lost_total, memory_order_relaxed);
}

// ---- The writer

// Called with the lock held.
static void let_go(struct kept_line *line)
{
    if (--line->holders == 0) {
        mem_free(line);
    }
}

static bool write_line(const struct kept_line *line, uint64_t give_up_ns)
{
    size_t done = 0;
    while (done < line->len) {
        size_t len = 0;
        if (!sys_wait_writable(logger.fd, WAIT_NS)) {
            pthread_mutex_lock(&logger.lock);
            bool stopping = logger.stopping;
            pthread_mutex_unlock(&logger.lock);
            if (stopping && (give_up_ns == 0 || sys_now_ns() >= give_up_ns)) {
                return false;
            }
            continue;
        }
        enum weir_result result =
            sys_write_some(logger.fd, line->text + done, line->len - done, &len);
        if (result != WEIR_OK && result != WEIR_AGAIN) {
            return false;
        }
        done += len;
    }
    return true;
}

static void *run_writer(void *arg)
{
    uint64_t give_up_ns = 0;
    (void)arg;
    pthread_mutex_lock(&logger.lock);
    while (!logger.stopping || logger.queue_len > 0) {
        if (logger.queue_len == 0) {
            pthread_cond_wait(&logger.filled, &logger.lock);
            continue;
        }
        if (logger.stopping && give_up_ns == 0) {
            give_up_ns = sys_now_ns() + STOP_TIMEOUT_NS;
        }
        struct kept_line *line =
            container_of(list_pop_front(&logger.queue), struct kept_line, queued);
        logger.queue_len--;
        pthread_mutex_unlock(&logger.lock);
        bool written = write_line(line, give_up_ns);
        pthread_mutex_lock(&logger.lock);
        let_go(line);
        if (!written) {
            atomic_fetch_add_explicit(&lost_total, 1, memory_order_relaxed);
        }
        if (give_up_ns != 0 && sys_now_ns() >= give_up_ns) {
            break;
        }
    }
    pthread_mutex_unlock(&logger.lock);
    return NULL;
}

enum weir_result log_start(size_t ring_size, int fd)
{
    logger.ring = mem_zalloc(ring_size * sizeof(struct kept_line *));
    if (logger.ring == NULL) {
        return WEIR_MEMORY;
    }
    logger.ring_size = ring_size;
    logger.ring_next = logger.ring_len = logger.queue_len = 0;
    logger.fd = fd;
    logger.stopping = false;
    list_init(&logger.queue);
    memset(logger.rates, 0, sizeof logger.rates);
    if (pthread_create(&logger.writer, NULL, run_writer, NULL) != 0) {
        mem_free(logger.ring);
        logger.ring = NULL;
        return WEIR_MEMORY;
    }
    logger.running = true;
    return WEIR_OK;
}

void log_stop(void)
{
    if (!logger.running) {
        return;
    }
    pthread_mutex_lock(&logger.lock);
    logger.stopping = true;
    pthread_cond_signal(&logger.filled);
    pthread_mutex_unlock(&logger.lock);
    pthread_join(logger.writer, NULL);
    logger.running = false;
    for (struct list *node = list_pop_front(&logger.queue); node != NULL;
         node = list_pop_front(&logger.queue)) {
        let_go(container_of(node, struct kept_line, queued));
    }
    for (size_t i = 0; i < logger.ring_len; i++) {
        let_go(logger.ring[i]);
    }
    mem_free(logger.ring);
    logger.ring = NULL;
    logger.ring_len = 0;
}

// ---- Building a line

// One second's worth at once, then the event's rate.
static bool may_write(enum log_event event, uint64_t *ret_suppressed)
{
    struct rate *rate = &logger.rates[event];
    uint64_t now_ns = sys_now_ns();
    pthread_mutex_lock(&logger.lock);
    bool running = logger.running && !logger.stopping;
    double limit = events[event].rate;
    rate->tokens += (double)(now_ns - rate->filled_ns) / (double)NS_PER_S * limit;
    rate->tokens = rate->filled_ns == 0 || rate->tokens > limit ? limit : rate->tokens;
    rate->filled_ns = now_ns;
    bool wanted = running && rate->tokens >= 1;
    if (wanted) {
        rate->tokens -= 1;
        *ret_suppressed = rate->suppressed;
        rate->suppressed = 0;
    } else if (running) {
        rate->suppressed++;
        atomic_fetch_add_explicit(&suppressed_total, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&logger.lock);
    return wanted;
}

static bool add(struct log_line *line, struct slice text)
{
    if (line->len + text.len + TAIL_LEN > sizeof line->text) {
        return false;
    }
    memcpy(line->text + line->len, text.at, text.len);
    line->len += text.len;
    return true;
}

static bool add_escaped(struct log_line *line, struct slice text)
{
    bool ok = true;
    while (text.len > 0 && ok) {
        unsigned char byte = (unsigned char)text.at[0];
        size_t len = utf8_sequence_len(text);
        char escape[8];
        if (len == 0) {
            ok = add(line, SLICE("\xef\xbf\xbd"));
            len = utf8_broken_len(text);
        } else if (byte == '"' || byte == '\\') {
            escape[0] = '\\';
            escape[1] = (char)byte;
            ok = add(line, slice_of(escape, 2));
        } else if (byte < 0x20 || byte == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", byte);
            ok = add(line, slice_of(escape, 6));
        } else {
            ok = add(line, slice_of(text.at, len));
        }
        text = slice_skip(text, len);
    }
    return ok;
}

void log_begin(struct log_line *line, enum log_event event)
{
    char ts[TIME_ISO_SIZE];
    char suppressed[64];
    uint64_t suppressed_count = 0;
    atomic_fetch_add_explicit(&counted[events[event].level], 1, memory_order_relaxed);
    line->event = event;
    line->len = 0;
    line->truncated = false;
    line->wanted = may_write(event, &suppressed_count);
    if (!line->wanted) {
        return;
    }
    line->wall_ms = sys_wall_ms();
    time_to_iso(line->wall_ms, ts);
    int len = snprintf(line->text, sizeof line->text, "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"",
        ts, log_level_name(events[event].level), events[event].name);
    line->len = line->brief_len = (size_t)len;
    add(line, SLICE(",\"details\":{"));
    if (suppressed_count > 0) {
        snprintf(suppressed, sizeof suppressed, "\"suppressed\":%llu",
            (unsigned long long)suppressed_count);
        add(line, slice_str(suppressed));
    }
}

// Spec section 11: what a name like these holds is nobody's business.
static bool is_secret_name(const char *key)
{
    static const char *const words[] = {"authorization", "credential", "token", "secret",
        "password", "api-key", "api_key", "apikey", "private-key", "private_key", "privatekey",
        "signature", "payload", "body", "content", "frame", "message"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (slice_contains_nocase(slice_str(key), slice_str(words[i]))) {
            return true;
        }
    }
    return false;
}

// A detail that does not fit is taken back as a whole.
static void add_detail(struct log_line *line, const char *key, struct slice value, bool quoted)
{
    size_t before = line->len;
    if (!line->wanted) {
        return;
    }
    if (is_secret_name(key)) {
        value = SLICE("[redacted]");
        quoted = true;
    }
    bool ok = line->text[line->len - 1] == '{' || add(line, SLICE(","));
    ok = ok && add(line, SLICE("\"")) && add(line, slice_str(key)) && add(line, SLICE("\":"));
    if (quoted) {
        ok = ok && add(line, SLICE("\"")) && add_escaped(line, value) && add(line, SLICE("\""));
    } else {
        ok = ok && add(line, value);
    }
    if (!ok) {
        line->len = before;
        line->truncated = true;
    }
}

void log_str(struct log_line *line, const char *key, struct slice value)
{
    add_detail(line, key, value, true);
}

void log_text(struct log_line *line, const char *key, const char *value)
{
    add_detail(line, key, slice_str(value), true);
}

void log_u64(struct log_line *line, const char *key, uint64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    add_detail(line, key, slice_of(text, (size_t)len), false);
}

void log_bool(struct log_line *line, const char *key, bool value)
{
    add_detail(line, key, value ? SLICE("true") : SLICE("false"), false);
}

// ---- Handing it over

static struct kept_line *keep(const struct log_line *line)
{
    struct kept_line *kept = mem_alloc(sizeof *kept + line->len);
    if (kept == NULL) {
        return NULL;
    }
    list_init(&kept->queued);
    kept->holders = 0;
    kept->level = events[line->event].level;
    kept->wall_ms = line->wall_ms;
    kept->brief_len = line->brief_len;
    kept->len = line->len;
    memcpy(kept->text, line->text, line->len);
    return kept;
}

// Both with the lock held.
static void put_in_ring(struct kept_line *line)
{
    if (logger.ring_len == logger.ring_size) {
        let_go(logger.ring[logger.ring_next]);
    } else {
        logger.ring_len++;
    }
    logger.ring[logger.ring_next] = line;
    logger.ring_next = (logger.ring_next + 1) % logger.ring_size;
    line->holders++;
}

static void put_in_queue(struct kept_line *line)
{
    if (logger.queue_len >= QUEUE_MAX) {
        atomic_fetch_add_explicit(&lost_total, 1, memory_order_relaxed);
        return;
    }
    list_push_back(&logger.queue, &line->queued);
    logger.queue_len++;
    line->holders++;
    pthread_cond_signal(&logger.filled);
}

void log_end(struct log_line *line)
{
    if (!line->wanted) {
        return;
    }
    const char *tail = "}}\n";
    if (line->truncated) {
        tail = line->text[line->len - 1] == '{' ? "\"truncated\":true}}\n"
                                                : ",\"truncated\":true}}\n";
    }
    memcpy(line->text + line->len, tail, strlen(tail));
    line->len += strlen(tail);
    struct kept_line *kept = keep(line);
    if (kept == NULL) {
        atomic_fetch_add_explicit(&lost_total, 1, memory_order_relaxed);
        return;
    }
    pthread_mutex_lock(&logger.lock);
    kept->holders++;
    if (logger.running) {
        put_in_ring(kept);
        put_in_queue(kept);
    }
    let_go(kept);
    pthread_mutex_unlock(&logger.lock);
}

// ---- For the routes

static struct kept_line *ring_at(size_t index)
{
    size_t first = (logger.ring_next + logger.ring_size - logger.ring_len) % logger.ring_size;
    return logger.ring[(first + index) % logger.ring_size];
}

void log_summarise(struct log_summary *ret_summary)
{
    *ret_summary = (struct log_summary){0};
    pthread_mutex_lock(&logger.lock);
    ret_summary->capacity = logger.ring_size;
    ret_summary->total = logger.ring_len;
    for (size_t i = 0; i < logger.ring_len; i++) {
        ret_summary->counts[ring_at(i)->level]++;
    }
    if (logger.ring_len > 0) {
        ret_summary->oldest_wall_ms = ring_at(0)->wall_ms;
        ret_summary->newest_wall_ms = ring_at(logger.ring_len - 1)->wall_ms;
    }
    pthread_mutex_unlock(&logger.lock);
}

enum weir_result log_dump(struct buf *out, bool brief)
{
    pthread_mutex_lock(&logger.lock);
    for (size_t i = 0; i < logger.ring_len; i++) {
        const struct kept_line *line = ring_at(i);
        if (i > 0) {
            buf_append_byte(out, ',');
        }
        if (brief) {
            buf_append(out, line->text, line->brief_len);
            buf_append_byte(out, '}');
        } else {
            buf_append(out, line->text, line->len - 1);
        }
    }
    pthread_mutex_unlock(&logger.lock);
    return out->failed ? WEIR_FULL : WEIR_OK;
}
