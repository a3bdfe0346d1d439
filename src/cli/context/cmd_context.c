// SPDX-License-Identifier: Apache-2.0
// weir context: which engines there are, and which is meant when nothing is said.
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "auth/jws.h"
#include "cli/commands.h"
#include "cli/context/config_edit.h"
#include "cli/context/profile.h"
#include "cli/table.h"
#include "sys/clock.h"
#include "sys/file.h"

#define TOKEN_BYTES_MAX 8192 // spec section 7.1
#define OUTPUT_BYTES_MAX (16 * 1024 * 1024)
#define CONFIG_ROW                                                                                 \
    {                                                                                              \
        "--config", "FILE", "the contexts; ~/.rstream/config.yaml (RSTREAM_CONFIG)",               \
            .flags = OPTION_PATH                                                                   \
    }

// ---- What they share

struct run {
    const struct command *command;
    char path[CONFIG_PATH_SIZE];
    struct conf_problems problems;
};

static bool run_begin(struct run *run, const struct command *command, const char *config)
{
    *run = (struct run){.command = command};
    conf_problems_init(&run->problems);
    enum weir_result result = config_path(config, &conf_environment, run->path);
    if (result != WEIR_OK) {
        conf_error(&run->problems, "%s",
            result == WEIR_NOT_FOUND ? "there is no HOME: say --config FILE"
                                     : "the path of the configuration is too long");
    }
    return result == WEIR_OK;
}

// Says what is wrong.
static int run_end(struct run *run, bool ok)
{
    struct slice rest = buf_slice(&run->problems.errors);
    struct slice line;
    while (slice_split(&rest, '\n', &line) && line.len > 0) {
        command_complain(run->command, "%.*s", SLICE_ARG(line));
    }
    if (!ok && run->problems.errors.len == 0) {
        command_complain(run->command, "out of memory");
    }
    conf_problems_fini(&run->problems);
    return ok ? EXIT_FINE : EXIT_CONFIG;
}

// The only context of this name, in the document.
static json_t *find(json_t *root, const char *name, struct conf_problems *problems)
{
    json_t *list = json_object_get(root, "contexts");
    json_t *found = NULL;
    json_t *item;
    size_t index;
    json_array_foreach(list, index, item)
    {
        const char *its = json_string_value(json_object_get(item, "name"));
        if (its == NULL || strcmp(its, name) != 0) {
            continue;
        }
        if (found != NULL) {
            conf_error(problems,
                "context \"%s\" is ambiguous: there are several, with different apiUrls", name);
            return NULL;
        }
        found = item;
    }
    if (found == NULL) {
        conf_error(problems, "context \"%s\" not found; see weir context list", name);
    }
    return found;
}

static const char *default_of(const json_t *root)
{
    const json_t *defaults = json_object_get(root, "defaults");
    return json_string_value(json_object_get(json_object_get(defaults, "context"), "name"));
}

// The member of an object that is an object itself; made when it is not.
static json_t *ensure(json_t *object, const char *key)
{
    json_t *child = json_object_get(object, key);
    if (json_is_object(child)) {
        return child;
    }
    return json_object_set_new(object, key, json_object()) == 0 ? json_object_get(object, key)
                                                                : NULL;
}

static bool set_default(json_t *root, const char *name)
{
    json_t *context = ensure(ensure(root, "defaults"), "context");
    return json_object_set_new(context, "name", json_string(name)) == 0;
}

// ---- create and update

enum {
    SET_CONFIG,
    SET_ENGINE,
    SET_TOKEN,
    SET_TOKEN_STDIN,
    SET_TOKEN_FILE,
    SET_TOKEN_STORAGE,
    SET_DEFAULT,
    SET_API_URL,
    SET_NO_API_URL,
    SET_CA_FILE,
    SET_SERVER_NAME,
    SET_INSECURE,
    SET_OUTPUT,
    SET_COUNT
};

static const struct option_row set_options[] = {
    [SET_CONFIG] = CONFIG_ROW,
    [SET_ENGINE] = {"--engine", "HOST[:PORT]", "the engine's host, and port when it is not 443"},
    [SET_TOKEN] = {"--token", "JWT", "its token; it stays in the history of the shell",
        .flags = OPTION_SECRET},
    [SET_TOKEN_STDIN] = {"--token-stdin", NULL, "read the token from standard input"},
    [SET_TOKEN_FILE] = {"--token-file", "FILE", "read it from a file", .flags = OPTION_PATH},
    [SET_TOKEN_STORAGE] = {"--token-storage", "KIND", "where it is kept: in the file",
        .choices = "inline"},
    [SET_DEFAULT] = {"--default", NULL, "the one that is meant when none is named"},
    [SET_API_URL] = {"--api-url", "URL", "of a hosted control plane; not used"},
    [SET_NO_API_URL] = {"--no-api-url", NULL, "a self-hosted engine; as without --api-url"},
    [SET_CA_FILE] = {"--engine-tls-ca-file", "FILE", "trust these authorities for the engine",
        .alias = "--ca", .flags = OPTION_PATH},
    [SET_SERVER_NAME] = {"--engine-tls-server-name", "HOST", "what its certificate names"},
    [SET_INSECURE] = {"--engine-tls-insecure-skip-verify", NULL,
        "trust whoever answers: for trials only", .flags = OPTION_NEGATABLE},
    [SET_OUTPUT] = {"--output", "FORM", "show what is kept now", .alias = "-o",
        .choices = "none|json|yaml"},
    [SET_COUNT] = {NULL},
};

struct setting {
    const char *const *values;
    const char *name;
    const char *token; // NULL: as it is
    const char *ca_file;
    bool create;
    json_t *result; // owned; the context as it is kept
};

static bool set_text(json_t *object, const char *key, const char *text)
{
    return text == NULL || json_object_set_new(object, key, json_string(text)) == 0;
}

static bool set_transport(json_t *context, const struct setting *setting)
{
    const char *const *values = setting->values;
    bool any =
        setting->ca_file != NULL || values[SET_SERVER_NAME] != NULL || values[SET_INSECURE] != NULL;
    json_t *tls = any ? ensure(ensure(context, "transport"), "tls") : NULL;
    bool ok = set_text(tls, "caFile", setting->ca_file) &&
              set_text(tls, "serverName", values[SET_SERVER_NAME]);
    if (ok && values[SET_INSECURE] != NULL) {
        bool insecure = values[SET_INSECURE][0] == '1';
        ok = json_object_set_new(tls, "insecureSkipVerify", json_boolean(insecure)) == 0;
    }
    return ok;
}

static bool fill(json_t *context, const struct setting *setting)
{
    const char *const *values = setting->values;
    bool ok = set_text(context, "name", setting->name) &&
              set_text(context, "apiUrl", values[SET_API_URL]) &&
              set_text(context, "engine", values[SET_ENGINE]);
    if (values[SET_NO_API_URL] != NULL) {
        json_object_del(context, "apiUrl"); // fine when it is not there
    }
    if (ok && setting->token != NULL) {
        json_t *storage = json_pack("{s:s, s:s}", "kind", "inline", "value", setting->token);
        ok = storage != NULL &&
             json_object_set_new(ensure(ensure(context, "auth"), "token"), "storage", storage) == 0;
    }
    return ok && set_transport(context, setting);
}

static json_t *add_context(
    json_t *root, const struct setting *setting, struct conf_problems *problems)
{
    json_t *list = json_object_get(root, "contexts");
    json_t *item;
    size_t index;
    json_array_foreach(list, index, item)
    {
        const char *its = json_string_value(json_object_get(item, "name"));
        if (its != NULL && strcmp(its, setting->name) == 0) {
            conf_error(problems,
                "there is a context \"%s\" already: weir context update %s changes it",
                setting->name, setting->name);
            return NULL;
        }
    }
    if (!json_is_array(list) && json_object_set_new(root, "contexts", json_array()) != 0) {
        return NULL;
    }
    list = json_object_get(root, "contexts");
    return json_array_append_new(list, json_object()) == 0
               ? json_array_get(list, json_array_size(list) - 1)
               : NULL;
}

static bool change_context(json_t *root, void *arg, struct conf_problems *problems)
{
    struct setting *setting = arg;
    size_t errors = problems->errors.len;
    bool first = json_array_size(json_object_get(root, "contexts")) == 0;
    json_t *context = setting->create ? add_context(root, setting, problems)
                                      : find(root, setting->name, problems);
    bool ok = context != NULL && fill(context, setting);
    // The first one is meant, whether somebody says so or not.
    if (ok && (setting->values[SET_DEFAULT] != NULL || (first && default_of(root) == NULL))) {
        ok = set_default(root, setting->name);
    }
    if (ok) {
        setting->result = config_without_secrets(context);
    }
    if (!ok && problems->errors.len == errors) {
        conf_error(problems, "out of memory");
    }
    return ok;
}

// Reads the token from where it is said to be; blanks around it are no part of it.
static bool read_token(struct run *run, struct setting *setting, struct buf *token)
{
    const char *const *values = setting->values;
    int count = (values[SET_TOKEN] != NULL) + (values[SET_TOKEN_STDIN] != NULL) +
                (values[SET_TOKEN_FILE] != NULL);
    if (count == 0) {
        return true;
    }
    if (count > 1) {
        conf_error(&run->problems, "--token, --token-stdin and --token-file exclude one another");
        return false;
    }
    enum weir_result result = WEIR_OK;
    struct buf raw = BUF_INIT(TOKEN_BYTES_MAX + 16);
    if (values[SET_TOKEN] != NULL) {
        buf_append_str(&raw, values[SET_TOKEN]);
    } else {
        const char *path = values[SET_TOKEN_FILE] != NULL ? values[SET_TOKEN_FILE] : "/dev/stdin";
        result = sys_file_read(path, TOKEN_BYTES_MAX + 16, &raw);
    }
    if (result == WEIR_OK) {
        buf_append_slice(token, slice_trim(buf_slice(&raw)));
        setting->token = buf_text(token);
    }
    buf_reset(&raw);
    if (result != WEIR_OK || setting->token == NULL || setting->token[0] == '\0') {
        conf_error(&run->problems, "there is no token to be read: %s",
            result == WEIR_OK ? "it is empty" : weir_result_text(result));
        return false;
    }
    return true;
}

// The context as it would be used: mistakes are found now, and not at the first tunnel.
static bool check_setting(struct run *run, const struct setting *setting)
{
    const char *engine = setting->values[SET_ENGINE];
    char host[PROFILE_HOST_SIZE];
    uint16_t port;
    const char *problem;
    if (engine != NULL && !profile_parse_engine(engine, host, &port, &problem)) {
        conf_error(&run->problems, "--engine is not usable: %s", problem);
        return false;
    }
    if (setting->create && engine == NULL) {
        conf_error(&run->problems, "--engine HOST[:PORT] is missing: which engine is it?");
        return false;
    }
    if (setting->token != NULL &&
        !profile_check_token(setting->token, "this command", sys_wall_ms(), &run->problems)) {
        return false;
    }
    if (setting->ca_file != NULL && !sys_file_exists(setting->ca_file)) {
        conf_error(
            &run->problems, "--engine-tls-ca-file %s: there is no such file", setting->ca_file);
        return false;
    }
    return true;
}

static void print_value(const json_t *value, bool yaml)
{
    struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    if (yaml) {
        config_write_yaml(value, &out);
        fputs(buf_text(&out) == NULL ? "" : out.at, stdout);
    } else {
        json_dumpf(value, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    buf_reset(&out);
}

static void say_done(const struct setting *setting)
{
    const char *form = setting->values[SET_OUTPUT];
    if (form == NULL) {
        printf("context \"%s\" is %s\n", setting->name, setting->create ? "made" : "changed");
    } else if (strcmp(form, "none") != 0) {
        print_value(setting->result, strcmp(form, "yaml") == 0);
    }
}

static int run_set(const struct command *command, int argc, char **argv)
{
    const char *values[SET_COUNT] = {NULL};
    char ca_file[CONFIG_PATH_SIZE];
    struct run run;
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count != 1 || argv[0][0] == '\0') {
        command_complain(
            command, "one NAME is wanted; see %s %s --help", command_program(), command->name);
        return EXIT_USAGE;
    }
    struct buf token = BUF_INIT(TOKEN_BYTES_MAX + 16);
    struct setting setting = {
        .values = values, .name = argv[0], .create = strcmp(command_word(command), "create") == 0};
    bool ok = run_begin(&run, command, values[SET_CONFIG]);
    if (ok && values[SET_CA_FILE] != NULL) {
        // The file is read from wherever somebody stands later.
        ok = sys_absolute_path(values[SET_CA_FILE], ca_file, sizeof ca_file) == WEIR_OK;
        setting.ca_file = ca_file;
    }
    ok = ok && read_token(&run, &setting, &token) && check_setting(&run, &setting) &&
         config_change(run.path, change_context, &setting, &run.problems);
    if (ok) {
        say_done(&setting);
    }
    json_decref(setting.result);
    buf_reset(&token);
    return run_end(&run, ok);
}

static const struct command_example create_examples[] = {
    {"context create home --engine edge.example.com --token-file agent.jwt --default",
        "an engine of your own, and a token of it"},
    {"context create trial --engine edge.localhost.rstream.test:18443 --ca edge.pem --token-stdin",
        "with an authority of its own; the token comes from a pipe"},
    {NULL},
};

static const struct command command_create = {
    .name = "context create",
    .summary = "Keep an engine and a token under a name",
    .usage = "NAME --engine HOST[:PORT]",
    .options = set_options,
    .run = run_set,
    .examples = create_examples,
};

static const struct command_example update_examples[] = {
    {"context update home --token-file agent.jwt", "when the token was renewed"},
    {NULL},
};

static const struct command command_update = {
    .name = "context update",
    .summary = "Change what is given; the rest stays",
    .usage = "NAME",
    .options = set_options,
    .run = run_set,
    .examples = update_examples,
};

// ---- use and delete

enum { NAME_CONFIG, NAME_COUNT };

static const struct option_row name_options[] = {
    [NAME_CONFIG] = CONFIG_ROW,
    [NAME_COUNT] = {NULL},
};

static bool change_default(json_t *root, void *arg, struct conf_problems *problems)
{
    return find(root, arg, problems) != NULL && set_default(root, arg);
}

static bool remove_context(json_t *root, void *arg, struct conf_problems *problems)
{
    const json_t *context = find(root, arg, problems);
    json_t *list = json_object_get(root, "contexts");
    for (size_t i = 0; context != NULL && i < json_array_size(list); i++) {
        if (json_array_get(list, i) == context) {
            json_array_remove(list, i);
            break;
        }
    }
    const char *meant = default_of(root);
    if (context != NULL && meant != NULL && strcmp(meant, arg) == 0) {
        json_object_del(root, "defaults"); // it is there
    }
    return context != NULL;
}

static int run_name(const struct command *command, int argc, char **argv)
{
    const char *values[NAME_COUNT] = {NULL};
    bool use = strcmp(command_word(command), "use") == 0;
    struct run run;
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count != 1) {
        command_complain(command, "one NAME is wanted; see %s context list", command_program());
        return EXIT_USAGE;
    }
    bool ok =
        run_begin(&run, command, values[NAME_CONFIG]) &&
        config_change(run.path, use ? change_default : remove_context, argv[0], &run.problems);
    if (ok) {
        printf("context \"%s\" is %s\n", argv[0], use ? "the default" : "deleted");
    }
    return run_end(&run, ok);
}

static const struct command_example use_examples[] = {
    {"context use home", "from now on commands mean this engine"},
    {NULL},
};

static const struct command command_use = {
    .name = "context use",
    .summary = "Make a context the one that is meant when none is named",
    .usage = "NAME",
    .options = name_options,
    .run = run_name,
    .examples = use_examples,
};

static const struct command_example delete_examples[] = {
    {"context delete trial", "its token is gone from the file, too"},
    {NULL},
};

static const struct command command_delete = {
    .name = "context delete",
    .summary = "Forget a context and its token",
    .usage = "NAME",
    .options = name_options,
    .run = run_name,
    .other_names = "rm",
    .examples = delete_examples,
};

// ---- list and get

enum { SHOW_CONFIG, SHOW_OUTPUT, SHOW_COUNT };

static const struct option_row show_options[] = {
    [SHOW_CONFIG] = CONFIG_ROW,
    [SHOW_OUTPUT] = {"--output", "FORM", "how it is shown", .alias = "-o",
        .choices = "table|json|yaml"},
    [SHOW_COUNT] = {NULL},
};

static const char *token_text(const struct config_context *context)
{
    struct jws jws = {0};
    int64_t expiry_s = INT64_MAX;
    const char *text = context->keychain != NULL ? "in a keychain" : context->mtls ? "mTLS" : "";
    if (context->token != NULL) {
        text = "stored";
        if (jws_parse(slice_str(context->token), &jws) == WEIR_OK &&
            jws_claim_time(&jws, "exp", &expiry_s) && expiry_s <= (int64_t)(sys_wall_ms() / 1000)) {
            text = "expired";
        }
        jws_fini(&jws);
    }
    return text;
}

static bool is_default(const struct config *config, const struct config_context *context)
{
    return config->default_context != NULL && context->name != NULL &&
           strcmp(config->default_context, context->name) == 0;
}

static bool is_shown(const struct config_context *context, const char *name)
{
    return name == NULL || (context->name != NULL && strcmp(context->name, name) == 0);
}

static void print_table(const struct config *config, const char *name)
{
    static const char *const titles[] = {"", "NAME", "ENGINE", "TOKEN", "AUTHORITIES"};
    struct table table;
    struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    table_init(&table, titles, sizeof titles / sizeof titles[0]);
    for (size_t i = 0; i < config->count; i++) {
        const struct config_context *context = &config->contexts[i];
        if (!is_shown(context, name)) {
            continue;
        }
        table_add_str(&table, is_default(config, context) ? "*" : " ");
        table_add_str(&table, context->name);
        table_add_str(&table, context->engine);
        table_add_str(&table, token_text(context));
        table_add_str(&table, context->insecure          ? "none: trusts anybody"
                              : context->ca_file != NULL ? context->ca_file
                                                         : "the system's");
    }
    const char *text = table_write(&table, &out) == WEIR_OK ? buf_text(&out) : NULL;
    fputs(text == NULL ? "" : text, stdout);
    table_fini(&table);
    buf_reset(&out);
}

static json_t *shown_context(const struct config *config, const struct config_context *context)
{
    json_t *whole = config_to_json(context->node);
    json_t *shown = config_without_secrets(whole);
    json_decref(whole);
    if (is_default(config, context)) {
        json_object_set_new(shown, "default", json_true()); // without memory: not said
    }
    return shown;
}

static void print_json(const struct config *config, const char *name, bool one, bool yaml)
{
    json_t *list = json_array();
    for (size_t i = 0; i < config->count; i++) {
        if (is_shown(&config->contexts[i], name)) {
            json_array_append_new(list, shown_context(config, &config->contexts[i]));
        }
    }
    print_value(one ? json_array_get(list, 0) : list, yaml);
    json_decref(list);
}

static bool show(struct run *run, const char *const *values, const char *name, bool one)
{
    struct config config;
    const struct config_context *context;
    const char *form = values[SHOW_OUTPUT] == NULL ? "table" : values[SHOW_OUTPUT];
    bool ok = config_load(run->path, &config, &run->problems) == WEIR_OK;
    if (ok && one && name == NULL) {
        name = config.default_context;
        ok = name != NULL;
        if (!ok) {
            conf_error(&run->problems, "no context is the default: name one, or weir context use");
        }
    }
    if (ok && name != NULL && config_find(&config, name, &context) == 0) {
        conf_error(&run->problems, "context \"%s\" not found; see weir context list", name);
        ok = false;
    }
    if (ok && strcmp(form, "table") == 0) {
        print_table(&config, name);
    } else if (ok) {
        print_json(&config, name, one, strcmp(form, "yaml") == 0);
    }
    config_fini(&config);
    return ok;
}

static int run_show(const struct command *command, int argc, char **argv)
{
    const char *values[SHOW_COUNT] = {NULL};
    bool one = strcmp(command_word(command), "get") == 0;
    struct run run;
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > (one ? 1 : 0)) {
        command_complain(command, "\"%s\" is not understood; see %s %s --help", argv[count - 1],
            command_program(), command->name);
        return EXIT_USAGE;
    }
    bool ok = run_begin(&run, command, values[SHOW_CONFIG]) &&
              show(&run, values, count == 0 ? NULL : argv[0], one);
    return run_end(&run, ok);
}

static const struct command_example list_examples[] = {
    {"context list", "the one with a star is meant when none is named"},
    {"context list -o json", "for a program; tokens are hidden"},
    {NULL},
};

static const struct command command_list = {
    .name = "context list",
    .summary = "Show all contexts, without their tokens",
    .usage = "",
    .options = show_options,
    .run = run_show,
    .other_names = "ls",
    .examples = list_examples,
};

static const struct command_example get_examples[] = {
    {"context get home -o yaml", "everything that is kept, without the token"},
    {NULL},
};

static const struct command command_get = {
    .name = "context get",
    .summary = "Show one context, without its token; the default one when none is named",
    .usage = "[NAME]",
    .options = show_options,
    .run = run_show,
    .examples = get_examples,
};

static const struct command *const children[] = {
    &command_create,
    &command_list,
    &command_get,
    &command_use,
    &command_update,
    &command_delete,
    NULL,
};

const struct command command_context = {
    .name = "context",
    .summary = "Engines and tokens under names, in ~/.rstream/config.yaml",
    .usage = "COMMAND",
    .children = children,
};
