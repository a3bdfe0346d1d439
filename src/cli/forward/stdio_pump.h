// SPDX-License-Identifier: Apache-2.0
// Standard input and output, joined with a stream of whatever kind:
//
//   stdin ──► in ──► stream ──► stdout      end of input: finish, the answer goes on
//                                           end of the stream: stdout is closed, input goes on
#ifndef WEIR_CLI_STDIO_PUMP_H
#define WEIR_CLI_STDIO_PUMP_H

#include <weir/agent.h>

#include "loop/watch.h"

#define STDIO_INPUT_SIZE 65536

// As those of <weir/agent.h> for a stream of the library.
struct stdio_ops {
    enum weir_stream_result (*read)(void *arg, void *bytes, size_t size, size_t *ret_len);
    enum weir_stream_result (*write)(void *arg, const void *bytes, size_t len, size_t *ret_len);
    void (*finish)(void *arg);
    void (*close)(void *arg); // nobody reads what it says
};

// Large: not for the stack.
struct stdio_pump {
    struct worker *worker; // borrowed
    const struct stdio_ops *ops;
    void *arg;
    struct watch keys;
    struct job again; // input that cannot be watched
    bool keys_open;
    bool flows;
    bool input_ended;
    bool finished;
    bool output_ended;
    size_t input_len;
    size_t input_at;
    char input[STDIO_INPUT_SIZE];
};

// Nothing moves before the first stdio_pump_ready.
void stdio_pump_open(
    struct stdio_pump *pump, struct worker *worker, const struct stdio_ops *ops, void *arg);
// The stream stands, and has something to say or room: after this the stream may be no more.
void stdio_pump_ready(struct stdio_pump *pump);
// The stream is no more. Nothing is touched of it any longer.
void stdio_pump_stop(struct stdio_pump *pump);
// Its memory may go when the loop has ended. Fine when it was never opened, and twice.
void stdio_pump_close(struct stdio_pump *pump);

#endif
