// SPDX-License-Identifier: Apache-2.0
// A view on the terminal: it is taken, painted when something has changed, and given back whatever
// happens, a crash included.
#ifndef WEIR_CLI_TUNNEL_SCREEN_H
#define WEIR_CLI_TUNNEL_SCREEN_H

#include "cli/forward/tunnel_view.h"
#include "loop/signal_watch.h"
#include "sys/terminal.h"

struct tunnel_screen {
    struct worker *worker;
    const struct tunnel_view *view;
    void (*quit)(void *arg); // q was pressed, or the terminal has gone
    void *arg;
    struct sys_terminal terminal;
    struct watch keys;
    struct timer paint;
    struct signal_watch signals;
    bool keys_open;
    bool open;
};

// Standard input and output are a terminal.
bool tunnel_screen_possible(void);
// view is borrowed until tunnel_screen_close. WEIR_INVALID: no terminal.
enum weir_result tunnel_screen_open(struct tunnel_screen *screen, struct worker *worker,
    const struct tunnel_view *view, void (*quit)(void *arg), void *arg) WEIR_MUST_CHECK;
// The view has changed: it is painted soon. Nothing when the screen is not open.
void tunnel_screen_touch(struct tunnel_screen *screen);
// Gives the terminal back at once; the memory may go when the loop has turned. Fine for a zeroed
// one, and twice.
void tunnel_screen_close(struct tunnel_screen *screen);

#endif
