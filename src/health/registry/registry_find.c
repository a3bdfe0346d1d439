// SPDX-License-Identifier: Apache-2.0
#include "health/registry/registry_find.h"

#include <stdio.h>

#include "conf/yaml.h"
#include "sys/file.h"

#define DOTENV_LEN_MAX 65536
#define DOTENV_BYTES_MAX (1024 * 1024)
#define DOTENV_LINES_MAX 1024

// ---- .env

static const char *get(void *arg, const char *name)
{
    const struct dotenv *dotenv = arg;
    const char *value = conf_environment.get(conf_environment.arg, name);
    for (size_t i = dotenv->line_count; value == NULL && i-- > 0;) {
        if (strcmp(dotenv->lines[i], name) == 0) {
            return dotenv->lines[i] + strlen(name) + 1;
        }
    }
    return value;
}

static bool file_exists(void *arg, const char *path)
{
    (void)arg;
    return sys_file_exists(path);
}

static struct slice unquote(struct slice text)
{
    bool quoted = text.len >= 2 && (text.at[0] == '"' || text.at[0] == '\'') &&
                  text.at[text.len - 1] == text.at[0];
    return quoted ? slice_of(text.at + 1, text.len - 2) : text;
}

static bool take_line(struct dotenv *dotenv, struct slice line)
{
    line = slice_trim(line);
    if (slice_starts_with(line, SLICE("export "))) {
        line = slice_trim(slice_skip(line, strlen("export ")));
    }
    ptrdiff_t equals = slice_find(line, '=');
    if (equals < 1 || line.at[0] == '#' || dotenv->line_count == DOTENV_LINES_MAX ||
        slice_find(line, '\0') >= 0) {
        return true;
    }
    struct slice name = slice_trim(slice_of(line.at, (size_t)equals));
    struct slice value = unquote(slice_trim(slice_skip(line, (size_t)equals + 1)));
    char *kept = arena_alloc(&dotenv->arena, name.len + value.len + 2);
    if (kept == NULL) {
        return false;
    }
    memcpy(kept, name.at, name.len);
    memcpy(kept + name.len + 1, value.at, value.len);
    dotenv->lines[dotenv->line_count++] = kept;
    return true;
}

enum weir_result dotenv_open(struct dotenv *dotenv)
{
    *dotenv = (struct dotenv){.source = {get, file_exists, dotenv}};
    arena_init(&dotenv->arena, DOTENV_BYTES_MAX);
    const char *skip = conf_environment.get(conf_environment.arg, "PORTOSER_SKIP_ENV");
    if (skip != NULL && skip[0] != '\0') {
        return WEIR_OK;
    }
    dotenv->lines = arena_alloc(&dotenv->arena, DOTENV_LINES_MAX * sizeof *dotenv->lines);
    if (dotenv->lines == NULL) {
        return WEIR_MEMORY;
    }
    struct buf text = BUF_INIT(DOTENV_LEN_MAX);
    enum weir_result result = sys_file_read_plain(".env", DOTENV_LEN_MAX, &text);
    struct slice rest = result == WEIR_OK ? buf_slice(&text) : SLICE_EMPTY;
    struct slice line;
    bool ok = result != WEIR_MEMORY;
    while (ok && slice_split(&rest, '\n', &line)) {
        ok = take_line(dotenv, line);
    }
    buf_reset(&text);
    return ok ? WEIR_OK : WEIR_MEMORY;
}

void dotenv_close(struct dotenv *dotenv)
{
    arena_reset(&dotenv->arena);
    dotenv->line_count = 0;
}

// ---- The path

static bool join(char path[REGISTRY_PATH_SIZE], const char *home, const char *rest)
{
    int len = snprintf(path, REGISTRY_PATH_SIZE, "%s%s", home, rest);
    return len > 0 && len < REGISTRY_PATH_SIZE;
}

// The key `registry` of ~/.portoser/config.yml.
static bool read_user_config(const char *home, char path[REGISTRY_PATH_SIZE])
{
    char config[REGISTRY_PATH_SIZE];
    struct yml_document document = {0};
    struct conf_problems problems;
    struct slice value;
    bool found = false;
    if (!join(config, home, "/.portoser/config.yml") || !sys_file_exists(config)) {
        return false;
    }
    conf_problems_init(&problems);
    if (yml_load(config, &yml_limits_default, &document, &problems) == WEIR_OK &&
        yml_text(yml_get(document.root, SLICE("registry")), &value) == WEIR_OK) {
        bool tilde = slice_starts_with(value, SLICE("~/"));
        char text[REGISTRY_PATH_SIZE];
        found = slice_to_text(slice_skip(value, tilde ? 1 : 0), text, sizeof text) &&
                join(path, tilde ? home : "", text);
    }
    conf_problems_fini(&problems);
    yml_close(&document);
    return found;
}

enum weir_result registry_find(const char *option, const struct conf_source *environment,
    char path[REGISTRY_PATH_SIZE], const char **ret_why)
{
    static const char *const variables[] = {
        "CADDY_REGISTRY_PATH", "PORTOSER_REGISTRY", "REGISTRY_FILE", "REGISTRY_PATH"};
    const char *home = environment->get(environment->arg, "HOME");
    *ret_why = "--registry";
    if (option != NULL) {
        return join(path, "", option) ? WEIR_OK : WEIR_TOO_LARGE;
    }
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *value = environment->get(environment->arg, variables[i]);
        if (value != NULL && value[0] != '\0') {
            *ret_why = variables[i];
            return join(path, "", value) ? WEIR_OK : WEIR_TOO_LARGE;
        }
    }
    if (home != NULL && read_user_config(home, path)) {
        *ret_why = "~/.portoser/config.yml";
        return WEIR_OK;
    }
    static const char *const places[] = {
        "./registry.yml", "~/.portoser/registry.yml", "/etc/portoser/registry.yml"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        bool tilde = places[i][0] == '~';
        *ret_why = places[i];
        if ((!tilde || home != NULL) && join(path, tilde ? home : "", places[i] + tilde) &&
            sys_file_exists(path)) {
            return WEIR_OK;
        }
    }
    return WEIR_NOT_FOUND;
}
