// SPDX-License-Identifier: Apache-2.0
#include "cli/run/run_plan.h"

#include "base/mem.h"

#define KEY_MAX (512 * 1024)

static struct profile_ask ask_of(const struct run_context *context, const struct profile_ask *ask)
{
    struct profile_ask own = *ask;
    if (context == NULL) {
        return own;
    }
    own.context = context->external;
    own.engine = context->engine;
    own.token = context->token;
    own.ca_file = context->ca_file == NULL ? ask->ca_file : context->ca_file;
    own.server_name = context->server_name;
    own.insecure = context->insecure == WEIR_TUNNEL_UNSET ? ask->insecure
                   : context->insecure == WEIR_TUNNEL_YES ? "1"
                                                          : "0";
    own.transport = context->transport;
    return own;
}

// Lines of a profile say nothing of the file: each is put behind the tunnel's place.
static void report(struct run_plan *plan, const struct run_tunnel *tunnel,
    struct conf_problems *from, struct conf_problems *problems)
{
    struct slice rest = buf_slice(&from->errors);
    struct slice line;
    while (rest.len > 0 && slice_split(&rest, '\n', &line)) {
        yml_error(&plan->file.document, tunnel->node, problems, "%.*s", SLICE_ARG(line));
    }
    rest = buf_slice(&from->warnings);
    while (rest.len > 0 && slice_split(&rest, '\n', &line)) {
        conf_warning(problems, "%.*s", SLICE_ARG(line));
    }
}

static bool make_key(struct run_plan *plan, size_t at)
{
    const struct profile *profile = &plan->profiles[at];
    const char *const texts[] = {profile->engine, profile->token, profile->ca_file,
        profile->server_name, profile->insecure_skip_verify ? "1" : "0"};
    struct buf key = BUF_INIT(KEY_MAX);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct slice text = slice_str(texts[i]);
        buf_printf(&key, "%zu:%.*s;", text.len, SLICE_ARG(text)); // key.failed is looked at below
    }
    size_t engine_len = key.len;
    buf_append_slice(&key, plan->file.tunnels[at].signature);
    char *copy = key.failed ? NULL : arena_copy(&plan->file.arena, buf_slice(&key));
    plan->keys[at] = copy == NULL ? SLICE_EMPTY : slice_of(copy, key.len);
    plan->engine_keys[at] = copy == NULL ? SLICE_EMPTY : slice_of(copy, engine_len);
    buf_reset(&key);
    return copy != NULL;
}

static const char *get_given(void *arg, const char *name)
{
    const char *const *values = arg;
    return values[strcmp(name, "FORWARD") == 0];
}

static bool resolve(struct run_plan *ret_plan, bool good, const struct profile_ask *ask,
    const struct conf_source *variables, uint64_t wall_ms, struct conf_problems *problems)
{
    size_t count = ret_plan->file.tunnel_count;
    ret_plan->profiles = mem_zalloc((count + 1) * sizeof *ret_plan->profiles);
    ret_plan->keys = arena_alloc(&ret_plan->file.arena, (count + 1) * sizeof *ret_plan->keys);
    ret_plan->engine_keys = arena_alloc(&ret_plan->file.arena, (count + 1) * sizeof(struct slice));
    if (!good || ret_plan->profiles == NULL || ret_plan->keys == NULL ||
        ret_plan->engine_keys == NULL) {
        if (problems->errors.len == 0) {
            conf_error(problems, "out of memory");
        }
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct run_tunnel *tunnel = &ret_plan->file.tunnels[i];
        struct profile_ask own = ask_of(tunnel->context, ask);
        struct conf_problems found;
        conf_problems_init(&found);
        if (!profile_resolve(
                &own, PROFILE_WANTS_ALL, variables, wall_ms, &ret_plan->profiles[i], &found)) {
            good = false;
        } else if (!make_key(ret_plan, i)) {
            conf_error(&found, "out of memory");
            good = false;
        }
        report(ret_plan, tunnel, &found, problems);
        conf_problems_fini(&found);
    }
    return good;
}

bool run_plan_load(const char *path, const struct profile_ask *ask,
    const struct conf_source *variables, uint64_t wall_ms, struct run_plan *ret_plan,
    struct conf_problems *problems)
{
    *ret_plan = (struct run_plan){0};
    bool good = run_file_load(path, variables, &ret_plan->file, problems);
    return resolve(ret_plan, good, ask, variables, wall_ms, problems);
}

bool run_plan_parse(const struct run_text *text, const struct profile_ask *ask,
    const struct conf_source *variables, uint64_t wall_ms, struct run_plan *ret_plan,
    struct conf_problems *problems)
{
    *ret_plan = (struct run_plan){0};
    bool good = run_file_parse(text, variables, &ret_plan->file, problems);
    return resolve(ret_plan, good, ask, variables, wall_ms, problems);
}

bool run_plan_private(const char *name, const char *forward, const struct profile_ask *ask,
    const struct conf_source *variables, uint64_t wall_ms, struct run_plan *ret_plan,
    struct conf_problems *problems)
{
    static const char file[] = "version: 1\ntunnels:\n  - name: ${TUNNEL}\n"
                               "    forward: ${FORWARD}\n    tunnel: {publish: false}\n";
    const char *const values[] = {name, forward};
    const struct conf_source given = {.get = get_given, .arg = (void *)values};
    *ret_plan = (struct run_plan){0};
    const struct run_text text = {slice_of(file, sizeof file - 1), "-L and -R", RUN_SOURCE_APPLY};
    bool good = run_file_parse(&text, &given, &ret_plan->file, problems);
    return resolve(ret_plan, good, ask, variables, wall_ms, problems);
}

void run_plan_close(struct run_plan *plan)
{
    for (size_t i = 0; plan->profiles != NULL && i < plan->file.tunnel_count; i++) {
        profile_fini(&plan->profiles[i]);
    }
    mem_free(plan->profiles);
    run_file_close(&plan->file);
    *plan = (struct run_plan){0};
}
