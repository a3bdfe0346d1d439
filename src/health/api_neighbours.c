// SPDX-License-Identifier: Apache-2.0
// What the page shows of a relay and an engine beside the monitor (neighbours.h).
#include "health/api_internal.h"
#include "health/neighbours.h"

static void ask(struct api_request *request, enum neighbour neighbour)
{
    struct neighbours *neighbours = request->health->neighbours;
    switch (neighbours_ask(neighbours, neighbour, slice_str(request->path.text[0]),
        request->http->conn, &request->ticket)) {
    case NEIGHBOUR_WAITS:
        break;
    case NEIGHBOUR_NOTHING:
        api_answer_error(request, 404,
            neighbours_has(neighbours, neighbour) ? "It has no such page"
                                                  : "The monitor was told of none");
        break;
    case NEIGHBOUR_MEMORY:
        api_answer_error(request, 503, "Too many ask for it");
        break;
    }
}

void api_relay(struct api_request *request)
{
    ask(request, NEIGHBOUR_RELAY);
}

void api_engine(struct api_request *request)
{
    ask(request, NEIGHBOUR_ENGINE);
}

void api_neighbours(struct api_request *request)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    for (unsigned i = 0; i < NEIGHBOUR_COUNT; i++) {
        jsonw_bool(&writer, neighbour_name(i), neighbours_has(request->health->neighbours, i));
    }
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}
