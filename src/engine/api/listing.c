// SPDX-License-Identifier: Apache-2.0
// A list is a snapshot that is written out piece by piece, as fast as the front takes it. What fits
// into one piece is answered at once, with its length.
//
// 1. A listing lives from the first piece that did not hold all until it has written its last, or
//    is cancelled.
// 2. It writes from a deferred job, never inside a call from the front.
#include "engine/api/api_internal.h"

#include "base/mem.h"
#include "engine/control/directory.h"
#include "engine/shard.h"

#define PIECE_LEN (32u * 1024)     // more are not begun
#define PIECE_BYTES_MAX (1u << 20) // the last object of it may be this large
#define PIECES_PER_TURN 4

struct listing {
    struct exchange *exchange; // borrowed; its owner tells us before it goes
    struct snapshot snapshot;
    struct list_params params;
    struct token *token; // owned
    enum filter_kind kind;
    size_t next; // of the snapshot
    uint64_t written;
    bool begun;
    struct job job;
};

static void free_listing(struct listing *listing)
{
    list_remove(&listing->job.node);
    snapshot_fini(&listing->snapshot);
    list_params_fini(&listing->params);
    token_free(listing->token);
    mem_free(listing);
}

// The object number index, or the empty slice when it is not to be shown.
static struct slice object_at(const struct listing *listing, size_t index)
{
    if (listing->kind == FILTER_CLIENTS) {
        struct client *client = listing->snapshot.clients[index];
        bool shown = filter_passes_client(listing->params.filter, client) &&
                     token_lists_clients(listing->token);
        return shown ? client->json : SLICE_EMPTY;
    }
    struct tunnel *tunnel = listing->snapshot.tunnels[index];
    bool shown = filter_passes_tunnel(listing->params.filter, tunnel) &&
                 token_reaches(listing->token, SCOPE_LIST, tunnel);
    return shown ? tunnel->json : SLICE_EMPTY;
}

// Appends up to about PIECE_LEN bytes. True when that was the end.
static bool write_piece(struct listing *listing, struct buf *piece)
{
    size_t count = listing->kind == FILTER_CLIENTS ? listing->snapshot.client_count
                                                   : listing->snapshot.tunnel_count;
    if (!listing->begun) {
        buf_append_byte(piece, '[');
        listing->begun = true;
    }
    while (piece->len < PIECE_LEN && listing->next < count &&
           listing->written < listing->params.limit) {
        struct slice object = object_at(listing, listing->next++);
        if (object.len > 0) {
            if (listing->written++ > 0) {
                buf_append_byte(piece, ',');
            }
            buf_append_slice(piece, object);
        }
    }
    if (listing->next < count && listing->written < listing->params.limit) {
        return false;
    }
    buf_append_byte(piece, ']');
    return true;
}

static void fail(struct listing *listing)
{
    struct exchange *exchange = listing->exchange;
    free_listing(listing);
    exchange_fail(exchange, EDGE_INTERNAL);
}

// One piece. False when nothing more is to be written now; the listing may be gone then.
static bool push_piece(struct listing *listing)
{
    struct exchange *exchange = listing->exchange;
    struct buf piece = BUF_INIT(PIECE_BYTES_MAX);
    bool last = write_piece(listing, &piece);
    if (piece.failed) {
        buf_reset(&piece);
        fail(listing);
        return false;
    }
    bool more = exchange_body(exchange, buf_slice(&piece));
    buf_reset(&piece);
    if (exchange->ended) {
        return false; // cancelled
    }
    if (last) {
        free_listing(listing);
        exchange_end(exchange, NULL, 0);
    }
    return !last && more;
}

static void push(struct worker *worker, struct job *job)
{
    struct listing *listing = container_of(job, struct listing, job);
    for (int i = 0; i < PIECES_PER_TURN; i++) {
        if (!push_piece(listing)) {
            return;
        }
    }
    worker_defer(worker, &listing->job, push);
}

// ---- The back.

static bool on_body(struct exchange *exchange, struct slice bytes)
{
    (void)exchange;
    (void)bytes; // a body of a GET means nothing
    return true;
}

static void on_end(struct exchange *exchange, const struct http1_header *trailers, size_t count)
{
    (void)exchange;
    (void)trailers;
    (void)count;
}

static void push_later(struct listing *listing)
{
    if (!list_linked(&listing->job.node)) {
        worker_defer(listing->exchange->visitor->shard->worker, &listing->job, push);
    }
}

static void on_resume(struct exchange *exchange)
{
    push_later(exchange->back_state);
}

static void on_cancel(struct exchange *exchange)
{
    free_listing(exchange->back_state);
}

static const struct back_ops listing_back = {
    .body = on_body, .end = on_end, .resume = on_resume, .cancel = on_cancel};

static void begin_stream(struct api_request *request, struct listing *listing, struct slice piece)
{
    struct exchange *exchange = request->exchange;
    const struct http1_header fields[] = {
        {SLICE("content-type"), SLICE(API_TYPE_JSON)},
        {SLICE("cache-control"), SLICE("no-store")},
    };
    struct answer_head head = {
        .status = 200, .fields = fields, .field_count = 2, .has_body = !exchange->head_only};
    api_count(request, 200);
    if (!head.has_body) {
        free_listing(listing);
        exchange_head(exchange, &head);
        return;
    }
    exchange->back = &listing_back;
    exchange->back_state = listing;
    exchange_head(exchange, &head);
    if (exchange->ended) {
        return;
    }
    bool more = exchange_body(exchange, piece);
    if (!exchange->ended && more) {
        push_later(listing);
    }
}

// False: it has been answered.
static bool read_params(
    struct api_request *request, enum filter_kind kind, struct list_params *ret_params)
{
    char text[API_PARAMS_SIZE];
    char problem[PARAMS_PROBLEM_SIZE];
    struct slice params;
    if (!api_params(request, text, &params)) {
        return false;
    }
    enum weir_result result = params_read_list(params, kind, ret_params, problem);
    if (result == WEIR_MALFORMED) {
        api_error(request, 400, problem);
    } else if (result != WEIR_OK) {
        api_error(request, 500, "The engine has run out of memory.");
    }
    return result == WEIR_OK;
}

void listing_start(struct api_request *request, enum filter_kind kind)
{
    struct directory *directory = request->exchange->visitor->shard->engine->directory;
    struct list_params params;
    if (!read_params(request, kind, &params)) {
        return;
    }
    struct listing *listing = mem_zalloc(sizeof *listing);
    if (listing == NULL) {
        list_params_fini(&params);
        api_error(request, 500, "The engine has run out of memory.");
        return;
    }
    *listing = (struct listing){
        .exchange = request->exchange, .params = params, .kind = kind, .token = request->token};
    request->token = NULL;
    list_init(&listing->job.node);
    struct buf piece = BUF_INIT(PIECE_BYTES_MAX);
    bool good = directory_snapshot(directory, NULL, &listing->snapshot);
    bool whole = good && write_piece(listing, &piece);
    if (!good || piece.failed) {
        free_listing(listing);
        api_error(request, 500, "The engine has run out of memory.");
    } else if (whole) {
        free_listing(listing);
        api_answer(request, 200, API_TYPE_JSON, buf_slice(&piece));
    } else {
        begin_stream(request, listing, buf_slice(&piece));
    }
    buf_reset(&piece);
}
