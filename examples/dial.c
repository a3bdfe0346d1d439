// SPDX-License-Identifier: Apache-2.0
// Dials a tunnel by its name, says one line, and prints what comes back.
//   cc dial.c $(pkg-config --cflags --libs weir-agent) && ./a.out HOST "$TOKEN" NAME LINE [ca.pem]
#include <stdio.h>
#include <string.h>
#include <weir/agent.h>

struct talk {
    struct weir_agent_loop *loop;
    const char *line;
    int exit_code;
};

static void on_opened(void *arg, struct weir_stream *stream)
{
    struct talk *talk = arg;
    size_t len;
    (void)weir_stream_write(stream, talk->line, strlen(talk->line), &len);
    (void)weir_stream_write(stream, "\n", 1, &len);
    weir_stream_finish(stream);
}

static void on_ready(void *arg, struct weir_stream *stream)
{
    char bytes[4096];
    size_t len;
    (void)arg;
    while (weir_stream_read(stream, bytes, sizeof bytes, &len) == WEIR_STREAM_OK)
        fwrite(bytes, 1, len, stdout);
}

static void on_closed(void *arg, const struct weir_agent_problem *problem)
{
    struct talk *talk = arg;
    if (problem != NULL)
        fprintf(stderr, "%s\n", problem->text);
    talk->exit_code = problem != NULL;
    weir_agent_loop_stop(talk->loop);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 64;
    struct weir_agent_options options = {.size = sizeof options, .engine = argv[1],
        .token = argv[2], .ca_file = argc > 5 ? argv[5] : NULL};
    struct weir_stream_dial_options dial = {.size = sizeof dial, .target = argv[3]};
    struct weir_stream_events events = {.opened = on_opened, .ready = on_ready, .closed = on_closed};
    struct talk talk = {.loop = weir_agent_loop_new(), .line = argv[4]};
    char problem[256] = "out of memory";
    struct weir_agent *agent =
        weir_agent_new(talk.loop, &options, NULL, NULL, problem, sizeof problem);
    if (agent == NULL || !weir_stream_dial(agent, &dial, &events, &talk, problem, sizeof problem))
        return fprintf(stderr, "%s\n", problem), 1;
    weir_agent_loop_run(talk.loop);
    weir_agent_loop_free(talk.loop);
    return talk.exit_code;
}
