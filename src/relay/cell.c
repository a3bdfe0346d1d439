// SPDX-License-Identifier: Apache-2.0
#include "relay/cell.h"

#include "base/mem.h"
#include "base/time.h"
#include "obs/log.h"
#include "relay/backplane/backplane.h"
#include "relay/channels.h"
#include "sys/clock.h"

#define REQUEST_TTL_NS (120 * NS_PER_S)   // spec section 7.3
#define SESSION_TTL_NS (1800 * NS_PER_S)
#define LABELLED_WORKSPACES_MAX 2000 // of all workers together; spec section 3.4
#define KEY_SIZE (2 * CELL_ID_LEN_MAX + 2)

bool cell_is_id(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool ok = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == ':' || c == '-';
        if (!ok) {
            return false;
        }
    }
    return text.len > 0 && text.len <= CELL_ID_LEN_MAX;
}

static size_t write_key(char key[KEY_SIZE], struct slice workspace, struct slice target)
{
    weir_assert(workspace.len + target.len + 1 < KEY_SIZE);
    memcpy(key, workspace.at, workspace.len);
    key[workspace.len] = '\0';
    if (target.len > 0) {
        memcpy(key + workspace.len + 1, target.at, target.len);
    }
    return workspace.len + 1 + target.len;
}

struct cell *cell_find(struct shard *shard, struct slice workspace, struct slice target)
{
    char key[KEY_SIZE];
    size_t len = write_key(key, workspace, target);
    struct map_node *node = map_find(&shard->cells, slice_of(key, len));
    return node == NULL ? NULL : container_of(node, struct cell, node);
}

// ---- Workspaces

static struct workspace *workspace_join(struct shard *shard, struct slice id)
{
    struct map_node *node = map_find(&shard->workspaces, id);
    if (node != NULL) {
        struct workspace *known = container_of(node, struct workspace, node);
        known->cell_count++;
        return known;
    }
    struct workspace *workspace = mem_zalloc(sizeof *workspace + id.len);
    if (workspace == NULL) {
        return NULL;
    }
    memcpy(workspace->id, id.at, id.len);
    workspace->id_len = id.len;
    workspace->cell_count = 1;
    size_t labels_max = LABELLED_WORKSPACES_MAX / shard->worker->crew->count;
    workspace->labelled = shard->labelled_workspaces < labels_max;
    if (map_insert(&shard->workspaces, &workspace->node, slice_of(workspace->id, id.len)) !=
        WEIR_OK) {
        mem_free(workspace);
        return NULL;
    }
    shard->labelled_workspaces += workspace->labelled;
    backplane_watch(shard, id);
    return workspace;
}

static void workspace_leave(struct shard *shard, struct workspace *workspace)
{
    if (--workspace->cell_count > 0) {
        return;
    }
    shard->labelled_workspaces -= workspace->labelled;
    shard->evicted_frames[RELAY_FRAMES_IN] += workspace->labelled ? 0 : workspace->frames_in;
    shard->evicted_frames[RELAY_FRAMES_OUT] += workspace->labelled ? 0 : workspace->frames_out;
    map_remove(&shard->workspaces, &workspace->node);
    backplane_unwatch(shard, slice_of(workspace->id, workspace->id_len));
    mem_free(workspace);
}

// ---- Making and dropping

static struct cell *make(struct shard *shard, struct slice workspace, struct slice target)
{
    struct cell *cell = mem_zalloc(sizeof *cell + workspace.len + 1 + target.len);
    if (cell == NULL) {
        return NULL;
    }
    char key[KEY_SIZE];
    cell->key_len = write_key(key, workspace, target);
    memcpy(cell->key, key, cell->key_len);
    cell->target = slice_of(cell->key + workspace.len + 1, target.len);
    cell->shard = shard;
    cell->generation = -1;
    cell->last_activity_wall_ms = sys_wall_ms();
    list_init(&cell->order);
    list_init(&cell->empty);
    list_init(&cell->clients);
    map_init(&cell->channels, &shard->worker->seed);
    cell->workspace = workspace_join(shard, workspace);
    if (cell->workspace == NULL) {
        mem_free(cell);
        return NULL;
    }
    if (map_insert(&shard->cells, &cell->node, slice_of(cell->key, cell->key_len)) != WEIR_OK) {
        workspace_leave(shard, cell->workspace);
        mem_free(cell);
        return NULL;
    }
    list_push_back(&shard->cell_order, &cell->order);
    metrics_count(shard->worker->metrics, METRIC_WORKSPACES);
    return cell;
}

struct cell *cell_find_or_make(struct shard *shard, struct slice workspace, struct slice target)
{
    struct cell *cell = cell_find(shard, workspace, target);
    return cell != NULL ? cell : make(shard, workspace, target);
}

static void drop(struct cell *cell)
{
    struct shard *shard = cell->shard;
    cell_clear_tables(cell);
    channels_fini(cell);
    map_remove(&shard->cells, &cell->node);
    list_remove(&cell->order);
    list_remove(&cell->empty);
    workspace_leave(shard, cell->workspace);
    metrics_add(shard->worker->metrics, METRIC_WORKSPACES, -1);
    mem_free(cell);
}

struct slice cell_workspace(const struct cell *cell)
{
    return slice_of(cell->workspace->id, cell->workspace->id_len);
}

struct slice cell_scope_key(const struct cell *cell)
{
    static _Thread_local char key[KEY_SIZE];
    memcpy(key, cell->key, cell->key_len);
    size_t workspace_len = cell->workspace->id_len;
    if (cell->target.len == 0) {
        return slice_of(key, workspace_len);
    }
    key[workspace_len] = ':';
    return slice_of(key, cell->key_len);
}

void cell_update_emptiness(struct cell *cell)
{
    bool empty = cell->daemon == NULL && cell->candidate == NULL && cell->client_count == 0;
    cell->last_activity_wall_ms = sys_wall_ms();
    list_remove(&cell->empty);
    if (empty) {
        cell->empty_since_ns = worker_now(cell->shard->worker);
        list_push_back(&cell->shard->empty_cells, &cell->empty);
    }
}

void cells_evict(struct shard *shard, bool all)
{
    uint64_t ttl_ns = time_from_ms(shard->relay->config->empty_workspace_ttl_ms);
    uint64_t now_ns = worker_now(shard->worker);
    list_for_each_safe(node, &shard->empty_cells) {
        struct cell *cell = container_of(node, struct cell, empty);
        if (!all && now_ns - cell->empty_since_ns < ttl_ns) {
            return;
        }
        if (!all) {
            struct log_line line;
            log_begin(&line, LOG_WORKSPACE_EVICTED);
            log_str(&line, "workspaceId", cell_scope_key(cell));
            log_end(&line);
            metrics_count(shard->worker->metrics, METRIC_WORKSPACE_EVICTIONS);
        }
        drop(cell);
    }
}

// ---- Tables

struct cell_tables *cell_tables(struct cell *cell)
{
    if (cell->tables != NULL) {
        return cell->tables;
    }
    const struct relay_config *config = cell->shard->relay->config;
    const struct siphash_key *seed = &cell->shard->worker->seed;
    struct cell_tables *tables = mem_zalloc(sizeof *tables);
    if (tables == NULL) {
        return NULL;
    }
    owners_init(&tables->key_exchanges, seed, config->pairing_request_track_max, REQUEST_TTL_NS,
        false);
    owners_init(&tables->pairings, seed, config->pairing_request_track_max, REQUEST_TTL_NS, false);
    owners_init(&tables->sessions, seed, config->session_owner_track_max, SESSION_TTL_NS, true);
    cell->tables = tables;
    return tables;
}

void cell_clear_tables(struct cell *cell)
{
    if (cell->tables == NULL) {
        return;
    }
    owners_fini(&cell->tables->key_exchanges);
    owners_fini(&cell->tables->pairings);
    owners_fini(&cell->tables->sessions);
    mem_free(cell->tables);
    cell->tables = NULL;
}
