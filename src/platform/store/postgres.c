// SPDX-License-Identifier: Apache-2.0
// The store that several platform processes share. Three connections: one writes, one reads, one
// listens.
//
// Ids of frames. A relay reads "all after the last id I saw", so an id must never become visible
// after a higher one has. PostgreSQL gives ids out before the commit, and transactions commit in
// any order; therefore weir_bus_publish takes one lock for the whole table before it takes ids, and
// holds it until the commit is visible. Writers queue up there - which a NOTIFY makes them do
// anyway, at its commit - and a process puts everything that waits into one transaction, so that
// the lock is held once for many frames.
//
// Ids never go back either, not even when a copy of the server takes over that lacks the last
// transactions: each writer that connects lifts the next id to the microseconds since 1970. The
// same holds for a table that is made anew.
//
// What is published is not waited for on the disk (synchronous_commit is off but for statements
// that must last): a server that crashes may lose frames of its last half second, and they live for
// a minute anyway. The ids of those do not come again, because whoever publishes after the crash
// has connected after it.
//
// Migrations run in the greeting of the connection that writes, under an advisory lock.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "base/mem.h"
#include "platform/store/pg_link.h"

static const char greeting_of_writer[] =
    "DO $weir$ DECLARE known integer; BEGIN "
    "PERFORM pg_advisory_xact_lock(722198440201); "
    "CREATE TABLE IF NOT EXISTS weir_platform_schema (version integer NOT NULL); "
    "SELECT coalesce(max(version), 0) INTO known FROM weir_platform_schema; "
    "IF known > 3 THEN "
    "RAISE EXCEPTION 'the tables were made by a newer weir (version %)', known; END IF; "
    "IF known < 1 THEN "
    "CREATE TABLE workspace_relay_presence ("
    "workspace_id text NOT NULL, runtime_target_id text NOT NULL, machine_id text, "
    "relay_id text NOT NULL, relay_ws_base_url text NOT NULL, daemon_connected boolean NOT NULL, "
    "updated_ms bigint NOT NULL, PRIMARY KEY (workspace_id, runtime_target_id)); "
    "CREATE INDEX workspace_relay_presence_updated ON workspace_relay_presence (updated_ms); "
    "CREATE TABLE relay_bus_frames ("
    "id bigserial PRIMARY KEY, workspace_id text NOT NULL, "
    "runtime_target_id text NOT NULL, machine_id text, source_relay_id text NOT NULL, "
    "target_relay_id text NOT NULL, direction text NOT NULL, payload text NOT NULL, "
    "issued_at_ms bigint, signature text, size integer NOT NULL, created_ms bigint NOT NULL); "
    "CREATE INDEX relay_bus_frames_target ON relay_bus_frames (target_relay_id, id); "
    "CREATE INDEX relay_bus_frames_size ON relay_bus_frames (id, size); "
    "CREATE INDEX relay_bus_frames_created ON relay_bus_frames (created_ms); "
    "CREATE TABLE relay_signing_keys ("
    "kid text PRIMARY KEY, pem text NOT NULL, created_ms bigint NOT NULL, "
    "signs_from_ms bigint NOT NULL); "
    "CREATE FUNCTION weir_key_add(kid_ text, pem_ text, created bigint, signs_from bigint, "
    "since bigint) RETURNS void LANGUAGE plpgsql AS $body$ BEGIN "
    "PERFORM pg_advisory_xact_lock(722198440203); "
    "INSERT INTO relay_signing_keys SELECT kid_, pem_, created, signs_from WHERE NOT EXISTS "
    "(SELECT 1 FROM relay_signing_keys WHERE created_ms >= since) ON CONFLICT (kid) DO NOTHING; "
    "END $body$; "
    "INSERT INTO weir_platform_schema VALUES (1); "
    "END IF; "
    "IF known < 2 THEN "
    "CREATE TABLE workspace_daemon_keys ("
    "workspace_id text NOT NULL, runtime_target_id text NOT NULL, daemon_public_key text NOT NULL, "
    "generation bigint NOT NULL, updated_ms bigint NOT NULL, "
    "PRIMARY KEY (workspace_id, runtime_target_id)); "
    "INSERT INTO weir_platform_schema VALUES (2); "
    "END IF; "
    "IF known < 3 THEN "
    "CREATE OR REPLACE FUNCTION weir_bus_publish(frames json, now_ms bigint) RETURNS void "
    "LANGUAGE plpgsql AS $body$ DECLARE target text; BEGIN "
    "PERFORM pg_advisory_xact_lock(722198440202); "
    "FOR target IN WITH stored AS ("
    "INSERT INTO relay_bus_frames (workspace_id, runtime_target_id, machine_id, source_relay_id, "
    "target_relay_id, direction, payload, issued_at_ms, signature, size, created_ms) "
    "SELECT w, r, m, s, t, d, p, i, g, n, now_ms FROM ROWS FROM (json_to_recordset(frames) AS ("
    "w text, r text, m text, s text, t text, d text, p text, i bigint, g text, n integer)) "
    "WITH ORDINALITY AS f(w, r, m, s, t, d, p, i, g, n, place) ORDER BY place "
    "RETURNING target_relay_id) SELECT DISTINCT target_relay_id FROM stored "
    "LOOP PERFORM pg_notify('weir_relay_bus', target); END LOOP; "
    "END $body$; "
    // What is encrypted cannot be compressed.
    "ALTER TABLE relay_bus_frames ALTER COLUMN payload SET STORAGE EXTERNAL; "
    "INSERT INTO weir_platform_schema VALUES (3); "
    "END IF; "
    "PERFORM pg_advisory_xact_lock(722198440202); "
    "PERFORM setval('relay_bus_frames_id_seq', greatest(nextval('relay_bus_frames_id_seq'), "
    "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint)); "
    "END $weir$; "
    "SET synchronous_commit = off";

struct postgres_store {
    struct platform_store store;
    char *url;  // owned
    char *host; // owned; NULL: there is no name to look up
    struct pg_link writer;
    struct pg_link reader;
    struct pg_link listener;
    bool migrated; // once; the others are opened then
    struct job freeing;
};

static struct postgres_store *postgres_of(struct platform_store *store)
{
    return container_of(store, struct postgres_store, store);
}

// ---- Connections

static void on_notified(void *arg, struct slice payload)
{
    struct postgres_store *self = arg;
    self->store.told(self->store.arg, payload);
}

// What was published while nobody listened is not told again.
static void on_listening(void *arg)
{
    on_notified(arg, SLICE_EMPTY);
}

static void on_migrated(void *arg)
{
    struct postgres_store *self = arg;
    struct pg_link_options options = self->writer.options;
    if (self->migrated) {
        return;
    }
    self->migrated = true;
    options.ready = NULL;
    options.greeting = "SET default_transaction_read_only = on";
    pg_link_open(&self->reader, &options);
    options.greeting = "LISTEN weir_relay_bus";
    options.ready = on_listening;
    options.notified = on_notified;
    pg_link_open(&self->listener, &options);
}

static void run(struct platform_store *store, struct store_call *call)
{
    struct postgres_store *self = postgres_of(store);
    bool writes = (store_rows[call->statement].flags & STORE_WRITES) != 0;
    pg_link_run(writes || !self->migrated ? &self->writer : &self->reader, call);
}

static void look_link(const struct pg_link *link, struct platform_store_health *health)
{
    if (health->ok && (link->state != PG_READY || link->problem[0] != '\0')) {
        const char *problem = link->problem[0] == '\0' ? "connecting to PostgreSQL" : link->problem;
        health->ok = false;
        slice_to_text(slice_str(problem), health->problem, sizeof health->problem);
    }
    health->reconnects += link->connects > 0 ? link->connects - 1 : 0;
}

static void look(struct platform_store *store, struct platform_store_health *health)
{
    const struct postgres_store *self = postgres_of(store);
    look_link(&self->writer, health);
    look_link(&self->reader, health);
    look_link(&self->listener, health);
}

// ---- Life

static void free_store(struct postgres_store *self)
{
    mem_free(self->url);
    mem_free(self->host);
    mem_free(self);
}

static void on_freeing(struct worker *worker, struct job *job)
{
    (void)worker;
    free_store(container_of(job, struct postgres_store, freeing));
}

static void close_store(struct platform_store *store)
{
    struct postgres_store *self = postgres_of(store);
    pg_link_close(&self->writer);
    pg_link_close(&self->reader);
    pg_link_close(&self->listener);
    worker_defer(store->worker, &self->freeing, on_freeing);
}

static const struct platform_store_ops ops = {
    .kind = "postgres",
    .run = run,
    .look = look,
    .close = close_store,
    .tells = true,
};

// The name in the URL that has to be looked up; the caller owns it. NULL: there is none.
static char *name_in(const char *url)
{
    PQconninfoOption *options = postgres.conninfoParse(url, NULL);
    const char *host = NULL;
    bool has_address = false;
    for (PQconninfoOption *at = options; at != NULL && at->keyword != NULL; at++) {
        if (strcmp(at->keyword, "host") == 0) {
            host = at->val;
        } else if (strcmp(at->keyword, "hostaddr") == 0) {
            has_address = at->val != NULL;
        }
    }
    struct ip ip;
    bool is_name = host != NULL && !has_address && host[0] != '\0' && host[0] != '/' &&
                   host[0] != '@' && ip_parse(slice_str(host), &ip) != WEIR_OK;
    char *name = is_name ? mem_copy(host, strlen(host)) : NULL;
    postgres.conninfoFree(options);
    return name;
}

// What libpq reads, by the URL, by its variables, or where it looks by itself (section 34.1 of its
// manual).
static const struct {
    const char *keyword;
    const char *variable;
} files[] = {
    {"sslrootcert", "PGSSLROOTCERT"},
    {"sslcert", "PGSSLCERT"},
    {"sslkey", "PGSSLKEY"},
    {"sslcrl", "PGSSLCRL"},
    {"sslcrldir", "PGSSLCRLDIR"},
    {"passfile", "PGPASSFILE"},
    {"servicefile", "PGSERVICEFILE"},
};

static const char *const files_at_home[] = {".postgresql", ".pgpass", ".pg_service.conf"};

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *at = options; at != NULL && at->keyword != NULL; at++) {
        if (strcmp(at->keyword, keyword) == 0) {
            return at->val;
        }
    }
    return NULL;
}

void store_postgres_files(
    const char *url, void (*found)(void *arg, const char *path, bool alone), void *arg)
{
    PQconninfoOption *options = postgres.conninfoParse(url, NULL);
    const char *home = getenv("HOME");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *named = value_of(options, files[i].keyword);
        const char *path = named != NULL ? named : getenv(files[i].variable);
        if (path != NULL && path[0] != '\0') {
            found(arg, path, false);
        }
    }
    postgres.conninfoFree(options);
    for (size_t i = 0; home != NULL && i < sizeof files_at_home / sizeof files_at_home[0]; i++) {
        char path[PATH_MAX];
        int len = snprintf(path, sizeof path, "%s/%s", home, files_at_home[i]);
        if (len > 0 && (size_t)len < sizeof path) {
            found(arg, path, true);
        }
    }
}

struct platform_store *store_postgres_open(const struct platform_store_options *options)
{
    struct postgres_store *self = mem_zalloc(sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->url = mem_copy(options->url, strlen(options->url));
    if (self->url == NULL) {
        free_store(self);
        return NULL;
    }
    self->store = (struct platform_store){
        .ops = &ops,
        .worker = options->worker,
        .told = options->told,
        .arg = options->arg,
    };
    list_init(&self->freeing.node);
    self->host = name_in(self->url);
    pg_link_open(&self->writer, &(struct pg_link_options){
                                    .worker = options->worker,
                                    .url = self->url,
                                    .host = self->host,
                                    .greeting = greeting_of_writer,
                                    .ready = on_migrated,
                                    .arg = self,
                                });
    return &self->store;
}
