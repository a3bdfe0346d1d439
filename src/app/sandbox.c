// SPDX-License-Identifier: Apache-2.0
// There is one sandbox, as there is one process: what is chosen for it is kept here.
//
// 1. Files are touched as the user that the process will be from the first one on, so that what it
//    cannot read again after a SIGHUP it cannot read at the start either, where somebody looks.
// 2. A layer that the machine does not have is told once and left out, unless it was required.
#include "app/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/command.h"
#include "base/mem.h"
#include "sys/file.h"
#include "sys/sandbox.h"
#include "sys/spawner.h"

#define DEFAULT_USER "weir"

enum mode { MODE_ON, MODE_REQUIRE, MODE_OFF };

static const char *const mode_names[] = {
    [MODE_ON] = "on", [MODE_REQUIRE] = "require", [MODE_OFF] = "off"};

static struct {
    enum mode mode;
    const char *user;             // NULL: stays who it is
    struct sys_identity identity; // of the user
    bool stays_root;              // without being told to
} chosen;

// ---- Who

static bool find_mode(const char *off)
{
    const char *text = off != NULL ? mode_names[MODE_OFF] : getenv("WEIR_SANDBOX");
    chosen.mode = MODE_ON;
    if (text == NULL || text[0] == '\0') {
        return true;
    }
    for (unsigned i = 0; i < sizeof mode_names / sizeof mode_names[0]; i++) {
        if (strcmp(text, mode_names[i]) == 0) {
            chosen.mode = (enum mode)i;
            return true;
        }
    }
    fprintf(stderr, "weir: WEIR_SANDBOX \"%s\" is not usable; allowed: on, require, off\n", text);
    return false;
}

// The environment is the user's, as if the service had been started by that user.
static void take_environment(const struct sys_identity *identity, const char *user)
{
    bool fine = identity->home[0] == '\0' || setenv("HOME", identity->home, 1) == 0;
    fine = setenv("USER", user, 1) == 0 && setenv("LOGNAME", user, 1) == 0 && fine;
    weir_assert(fine); // only without memory, in the first moments of the process
    unsetenv("XDG_STATE_HOME");
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_RUNTIME_DIR");
}

static int take_user(const char *user)
{
    if (!sys_user_recall(user, &chosen.identity)) {
        return EXIT_FAILED;
    }
    if (chosen.identity.uid == 0) {
        return EXIT_FINE; // root was asked for
    }
    enum weir_result result = sys_files_as(&chosen.identity);
    if (result != WEIR_OK) {
        fprintf(stderr, "weir: cannot become the user %s: %s\n", user, weir_result_text(result));
        return EXIT_FAILED;
    }
    chosen.user = user;
    take_environment(&chosen.identity, user);
    return EXIT_FINE;
}

int sandbox_begin(const char *user, const char *off)
{
    const char *named = user != NULL ? user : getenv("WEIR_USER");
    bool given = named != NULL && named[0] != '\0';
    if (!find_mode(off)) {
        return EXIT_USAGE;
    }
    if (!sys_is_root()) {
        if (user != NULL) {
            fputs("weir: --user: only root can become somebody else; start weir as that user\n",
                stderr);
            return EXIT_USAGE;
        }
        return EXIT_FINE;
    }
    if (!given && chosen.mode == MODE_OFF) {
        return EXIT_FINE;
    }
    if (sys_user_learn(given ? named : DEFAULT_USER) == WEIR_OK) {
        return take_user(given ? named : DEFAULT_USER);
    }
    if (given) {
        fprintf(stderr, "weir: there is no user %s on this machine (--user, WEIR_USER)\n", named);
        return EXIT_USAGE;
    }
    chosen.stays_root = true;
    return EXIT_FINE;
}

bool sandbox_own_directory(const char *path)
{
    enum weir_result result = WEIR_OK;
    if (chosen.user == NULL) {
        return true;
    }
    if (!sys_is_directory(path)) {
        result = sys_dir_make_for(path, &chosen.identity);
    }
    if (result == WEIR_OK && sys_dir_is_writable(path)) {
        return true;
    }
    fprintf(stderr,
        "weir: the user %s, who weir becomes, cannot write to %s; as root: install -d -m 0700 -o "
        "%s %s, and chown -R %s what is there already; or name another user with --user\n",
        chosen.user, path, chosen.user, path, chosen.user);
    return false;
}

// ---- What

static void read_path(void *arg, const char *path)
{
    sys_landlock_read(arg, path);
}

void sandbox_reach_paths(
    const struct conf_row *rows, size_t count, const void *config, struct sys_landlock *landlock)
{
    conf_each_path(rows, count, config, read_path, landlock);
}

enum weir_result sandbox_prepare(struct part *const *parts, size_t count)
{
    bool spawns = false;
    for (size_t i = 0; i < count; i++) {
        spawns = spawns || parts[i]->ops->spawns;
    }
    if (!spawns || chosen.mode == MODE_OFF) {
        return WEIR_OK;
    }
    return sys_spawner_open(chosen.user == NULL ? NULL : &chosen.identity);
}

struct entering {
    struct part *const *parts;
    size_t count;
};

static void reach(void *arg, struct sys_landlock *landlock)
{
    const struct entering *entering = arg;
    for (size_t i = 0; i < entering->count; i++) {
        if (entering->parts[i]->ops->reach != NULL) {
            entering->parts[i]->ops->reach(entering->parts[i], landlock);
        }
    }
}

// A layer that is not there; false when it is required.
static bool note_gap(const char *layer, const char *text)
{
    struct log_line line;
    log_begin(&line, LOG_SANDBOX_GAP);
    log_text(&line, "layer", layer);
    log_text(&line, "text", text);
    log_end(&line);
    if (chosen.mode == MODE_REQUIRE) {
        fprintf(stderr, "weir: WEIR_SANDBOX=require, but %s\n", text);
    }
    return chosen.mode != MODE_REQUIRE;
}

static bool note_gaps(const struct sys_sandbox_state *state)
{
    const struct {
        bool there;
        const char *layer;
        const char *text;
    } rows[] = {
        {chosen.stays_root, "user",
            "weir was started by root and stays root, without what root may do beyond its files: "
            "there is no user " DEFAULT_USER "; make one, or name another with --user"},
        {state->capabilities != WEIR_OK, "capabilities",
            "who started weir gave it capabilities and forbids it to give them up (capset, in a "
            "filter of system calls)"},
        {state->landlock != WEIR_OK || state->landlock_version == 0, "landlock",
            "the kernel has no Landlock (Linux 5.13, and \"landlock\" in its list of lsm=): files "
            "are only kept by their permissions"},
        {state->seccomp == WEIR_NOT_FOUND, "seccomp",
            "libseccomp.so.2 is not there (Debian: libseccomp2): system calls are not filtered"},
        {state->seccomp != WEIR_OK && state->seccomp != WEIR_NOT_FOUND, "seccomp",
            "the kernel takes no filter of system calls"},
    };
    bool good = true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        good = (!rows[i].there || note_gap(rows[i].layer, rows[i].text)) && good;
    }
    return good;
}

static const char *const kept_names[] = {
    [0] = "",
    [SYS_BIND_LOW] = "CAP_NET_BIND_SERVICE",
    [SYS_NET_ADMIN] = "CAP_NET_ADMIN",
    [SYS_BIND_LOW | SYS_NET_ADMIN] = "CAP_NET_BIND_SERVICE, CAP_NET_ADMIN",
};

static void log_state(const struct sys_sandbox_state *state)
{
    bool on = chosen.mode != MODE_OFF;
    struct log_line line;
    log_begin(&line, LOG_SANDBOX);
    log_text(&line, "mode", mode_names[chosen.mode]);
    log_u64(&line, "uid", sys_user_id());
    log_bool(&line, "noNewPrivs", on);
    log_bool(&line, "capabilitiesDropped", on && state->capabilities == WEIR_OK);
    log_text(&line, "kept", kept_names[state->kept]);
    log_u64(&line, "landlock", on && state->landlock == WEIR_OK ? state->landlock_version : 0);
    log_bool(&line, "seccomp", on && state->seccomp == WEIR_OK);
    log_end(&line);
}

static enum weir_result confine(
    struct part *const *parts, size_t count, struct sys_sandbox_state *ret_state)
{
    struct entering entering = {parts, count};
    struct sys_sandbox sandbox = {
        .become = chosen.user == NULL ? NULL : &chosen.identity,
        .reach = reach,
        .arg = &entering,
    };
    *ret_state = (struct sys_sandbox_state){0};
    for (size_t i = 0; i < count; i++) {
        sandbox.parts |= parts[i]->ops->sys_part;
    }
    if (chosen.mode != MODE_OFF) {
        return sys_sandbox_enter(&sandbox, ret_state);
    }
    return sandbox.become == NULL ? WEIR_OK : sys_become(sandbox.become, 0);
}

enum weir_result sandbox_enter(struct part *const *parts, size_t count)
{
    struct sys_sandbox_state state;
    enum weir_result result = confine(parts, count, &state);
    if (result != WEIR_OK) {
        fprintf(stderr, "weir: cannot give up what root may do: %s\n", weir_result_text(result));
        return result;
    }
    log_state(&state);
    return chosen.mode == MODE_OFF || note_gaps(&state) ? WEIR_OK : WEIR_PERMISSION;
}
