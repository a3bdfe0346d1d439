// SPDX-License-Identifier: Apache-2.0
// Publishes a service that this program is itself: every visitor gets one answer.
//   cc publish.c $(pkg-config --cflags --libs weir-agent) && ./a.out HOST "$TOKEN" [ca.pem]
#include <stdio.h>
#include <string.h>
#include <weir/agent.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

static void on_ready(void *arg, struct weir_stream *stream)
{
    char request[4096];
    size_t len;
    (void)arg;
    while (weir_stream_read(stream, request, sizeof request, &len) == WEIR_STREAM_OK) {
        if (len >= 4 && memcmp(request + len - 4, "\r\n\r\n", 4) == 0) {
            (void)weir_stream_write(stream, answer, sizeof answer - 1, &len);
        }
    }
}

static void on_accept(void *arg, struct weir_tunnel *tunnel, struct weir_stream *stream,
    const struct weir_stream_info *info)
{
    static const struct weir_stream_events events = {.ready = on_ready};
    (void)tunnel, (void)info;
    weir_stream_take(stream, &events, arg);
}

static void on_state(void *arg, struct weir_tunnel *tunnel, const struct weir_tunnel_status *status)
{
    (void)arg, (void)tunnel;
    if (status->state == WEIR_TUNNEL_ONLINE)
        printf("%s\n", status->info->address), fflush(stdout);
    else if (status->problem != NULL)
        fprintf(stderr, "%s\n", status->problem->text);
}

int main(int argc, char **argv)
{
    struct weir_agent_options options = {.size = sizeof options, .engine = argv[1],
        .token = argc > 2 ? argv[2] : NULL, .ca_file = argc > 3 ? argv[3] : NULL};
    struct weir_tunnel_options tunnel = {.size = sizeof tunnel, .name = "hello", .protocol = "http"};
    struct weir_tunnel_events events = {.state = on_state, .accept = on_accept};
    char problem[256] = "out of memory";
    struct weir_agent_loop *loop = weir_agent_loop_new();
    struct weir_agent *agent = weir_agent_new(loop, &options, NULL, NULL, problem, sizeof problem);
    if (agent == NULL || !weir_tunnel_open(agent, &tunnel, &events, NULL, problem, sizeof problem))
        return fprintf(stderr, "%s\n", problem), 1;
    weir_agent_connect(agent);
    weir_agent_loop_run(loop);
    weir_agent_loop_free(loop);
}
