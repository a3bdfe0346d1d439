// SPDX-License-Identifier: Apache-2.0
#include "cli/forward/tunnel_screen.h"

#include <signal.h>
#include <unistd.h>

#include "base/time.h"
#include "cli/paint.h"
#include "sys/file.h"
#include "sys/process.h"

#define PAINT_NS (100 * NS_PER_MS) // at most so often
#define OUTPUT_MAX (256 * 1024)

static const int signal_numbers[] = {SIGWINCH, SIGCONT, SIGTSTP};
#define SIGNAL_COUNT (sizeof signal_numbers / sizeof signal_numbers[0])

bool tunnel_screen_possible(void)
{
    return isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
}

static void put(const char *text)
{
    // A terminal that has gone shows as the end of its keys.
    (void)!sys_write_all(STDOUT_FILENO, text, strlen(text));
}

static void paint(struct tunnel_screen *screen)
{
    struct buf text = BUF_INIT(OUTPUT_MAX);
    struct buf out = BUF_INIT(OUTPUT_MAX);
    unsigned rows;
    unsigned columns;
    sys_terminal_size(STDOUT_FILENO, &rows, &columns);
    tunnel_view_render(screen->view, rows, &text);
    paint_lines(&out, buf_slice(&text), rows, columns);
    if (!text.failed && !out.failed) {
        // As above.
        (void)!sys_write_all(STDOUT_FILENO, buf_slice(&out).at, out.len);
    }
    buf_reset(&text);
    buf_reset(&out);
}

static void on_paint(struct timer *timer)
{
    paint(container_of(timer, struct tunnel_screen, paint));
}

void tunnel_screen_touch(struct tunnel_screen *screen)
{
    if (screen->open && !timer_armed(&screen->paint)) {
        worker_arm_in(screen->worker, &screen->paint, PAINT_NS);
    }
}

static bool enter(struct tunnel_screen *screen)
{
    if (!sys_terminal_enter(&screen->terminal, STDIN_FILENO)) {
        return false;
    }
    sys_terminal_guard(&screen->terminal, PAINT_LEAVE);
    put(PAINT_ENTER);
    return true;
}

static void leave(struct tunnel_screen *screen)
{
    put(PAINT_LEAVE);
    sys_terminal_leave(&screen->terminal);
}

static void on_keys(struct watch *watch, unsigned events)
{
    struct tunnel_screen *screen = container_of(watch, struct tunnel_screen, keys);
    char bytes[64];
    size_t len = 0;
    (void)events;
    enum weir_result result = sys_read_some(STDIN_FILENO, bytes, sizeof bytes, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result != WEIR_OK || memchr(bytes, 'q', len) != NULL) {
        watch_want(watch, WATCH_NONE); // it is told once
        screen->quit(screen->arg);
    }
}

static void on_signal(struct signal_watch *signals, int number)
{
    struct tunnel_screen *screen = container_of(signals, struct tunnel_screen, signals);
    if (!screen->open) {
        return;
    }
    if (number == SIGTSTP) {
        leave(screen);
        raise(SIGSTOP); // and on from here after SIGCONT
        (void)enter(screen);
    } else if (number == SIGCONT) {
        (void)enter(screen); // what stopped us was no key
    }
    paint(screen);
}

static void on_keys_closed(struct watch *watch)
{
    (void)watch; // its memory outlives the turn
}

enum weir_result tunnel_screen_open(struct tunnel_screen *screen, struct worker *worker,
    const struct tunnel_view *view, void (*quit)(void *arg), void *arg)
{
    *screen = (struct tunnel_screen){.worker = worker, .view = view, .quit = quit, .arg = arg};
    timer_init(&screen->paint, on_paint);
    if (!enter(screen)) {
        return WEIR_INVALID;
    }
    screen->open = true;
    enum weir_result result = watch_open(worker, &screen->keys, STDIN_FILENO, on_keys);
    screen->keys_open = result == WEIR_OK;
    if (result == WEIR_OK) {
        result =
            signal_watch_open(&screen->signals, worker, signal_numbers, SIGNAL_COUNT, on_signal);
    }
    if (result != WEIR_OK) {
        tunnel_screen_close(screen);
        return result;
    }
    watch_want(&screen->keys, WATCH_READ);
    paint(screen);
    return WEIR_OK;
}

void tunnel_screen_close(struct tunnel_screen *screen)
{
    if (!screen->open) {
        return;
    }
    screen->open = false;
    timer_cancel(&screen->paint);
    if (screen->keys_open) {
        watch_close(&screen->keys, on_keys_closed);
    }
    signal_watch_close(&screen->signals);
    leave(screen);
}
