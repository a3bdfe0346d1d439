// SPDX-License-Identifier: Apache-2.0
// ssh hands one string to the login shell of the remote user. That string is "exec sh -c SCRIPT"
// with SCRIPT as one quoted word, so that only a POSIX shell reads what follows, whatever the login
// shell is. In the script every word of the registry's stands in single quotes.
//
// The script runs its command under timeout(1) where there is one: killing ssh here does not end a
// command there.
#include "health/checks/remote.h"

#include <stdio.h>

#include "base/time.h"

// Judges a pid file as process.c does; $f is the file, $want the name or nothing. The last line of
// output says what is wrong.
#define PROCESS_SCRIPT                                                                             \
    "no() { echo \"$1\"; exit 1; }\n"                                                              \
    "[ -e \"$f\" ] || no 'pid file missing'\n"                                                     \
    "p=$(head -c 32 \"$f\" | tr -d '[:space:]') || no 'pid file cannot be read'\n"                 \
    "case $p in ''|*[!0-9]*|0*|1) no 'pid file does not hold a process id';; esac\n"               \
    "if [ -r \"/proc/$p/stat\" ]; then\n"                                                          \
    "s=$(sed 's/^.*) //;s/ .*//' \"/proc/$p/stat\"); n=$(cat \"/proc/$p/comm\")\n"                 \
    "else s=$(ps -o stat= -p \"$p\"); n=$(ps -o comm= -p \"$p\"); n=${n##*/}; fi 2>/dev/null\n"    \
    "case $s in '') no \"pid $p not running\";; Z*|X*) no \"pid $p is a zombie\";; esac\n"         \
    "[ -z \"$want\" ] || [ \"$n\" = \"$want\" ] || no \"pid $p is $n, expected $want\"\n"          \
    "echo \"pid $p is running\"\n"

void remote_quote(struct buf *out, const char *word)
{
    (void)buf_append_byte(out, '\''); // out->failed is looked at in the end
    for (const char *at = word; *at != '\0'; at++) {
        if (*at == '\'') {
            (void)buf_append_str(out, "'\\''");
        } else {
            (void)buf_append_byte(out, *at);
        }
    }
    (void)buf_append_byte(out, '\'');
}

// A path whose "~" or "~user" is for the remote shell to replace.
static void put_path(struct buf *out, const char *path)
{
    size_t len = path[0] == '~' ? strcspn(path, "/") : 0;
    size_t plain =
        strspn(path, "~abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    if (len > 0 && plain >= len) {
        len += path[len] == '/'; // a slash in quotes would make the tilde one of a name
        (void)buf_append(out, path, len);
        path += len;
    }
    if (path[0] != '\0') {
        remote_quote(out, path);
    }
}

static void put_process(struct buf *out, const struct check_spec *spec)
{
    (void)buf_append_str(out, "f=");
    put_path(out, spec->pid_file);
    (void)buf_append_str(out, "\nwant=");
    // The kernel keeps 15 bytes of a name.
    char name[16] = "";
    if (spec->process_name != NULL) {
        snprintf(name, sizeof name, "%s", spec->process_name);
    }
    remote_quote(out, name);
    (void)buf_append_str(out, "\n" PROCESS_SCRIPT);
}

static void put_command(struct buf *out, const struct check_spec *spec)
{
    uint64_t seconds = (spec->timeout_ns + NS_PER_S - 1) / NS_PER_S;
    buf_printf(out,
        "if command -v timeout >/dev/null 2>&1; then set -- timeout -k 1 %llu; else set --; fi\n",
        (unsigned long long)seconds);
    if (spec->cwd != NULL) {
        (void)buf_append_str(out, "cd ");
        put_path(out, spec->cwd);
        (void)buf_append_str(out, " || exit 126\n");
    }
    (void)buf_append_str(out, "exec \"$@\" env");
    for (const char *const *at = spec->env; at != NULL && *at != NULL; at++) {
        (void)buf_append_byte(out, ' ');
        remote_quote(out, *at);
    }
    for (const char *const *at = spec->command; *at != NULL; at++) {
        (void)buf_append_byte(out, ' ');
        remote_quote(out, *at);
    }
    (void)buf_append_byte(out, '\n');
}

static enum weir_result quote_script(struct remote_command *command, struct buf *inner)
{
    const char *text = inner->failed ? NULL : buf_text(inner);
    (void)buf_append_str(&command->script, "exec sh -c ");
    if (text != NULL) {
        remote_quote(&command->script, text);
    }
    buf_reset(inner);
    return text == NULL || command->script.failed ? WEIR_TOO_LARGE : WEIR_OK;
}

// Everything but the script. Returns the number of arguments, 0 when the target is too long.
static size_t put_ssh(
    struct remote_command *command, const struct machine *machine, const char *ssh_dir)
{
    size_t count = 0;
    const char **argv = command->argv;
    snprintf(command->port, sizeof command->port, "%u", (unsigned)machine->ssh_port);
    int len = snprintf(command->target, sizeof command->target, "%s%s%s",
        machine->ssh_user == NULL ? "" : machine->ssh_user, machine->ssh_user == NULL ? "" : "@",
        machine->ssh_host);
    if (len < 0 || (size_t)len >= sizeof command->target) {
        return 0;
    }
    // A shared connection whose other end has gone without a word is noticed within 20 s, and the
    // next check makes another one.
    static const char *const fixed[] = {"ssh", "-n", "-o", "BatchMode=yes", "-o",
        "ConnectTimeout=5", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        argv[count++] = fixed[i];
    }
    if (ssh_dir != NULL) {
        static const char *const shared[] = {
            "-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o"};
        for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
            argv[count++] = shared[i];
        }
        snprintf(
            command->control_path, sizeof command->control_path, "ControlPath=%s/%%C", ssh_dir);
        argv[count++] = command->control_path;
    }
    if (machine->ssh_key != NULL) {
        argv[count++] = "-i";
        argv[count++] = machine->ssh_key;
    }
    argv[count++] = "-p";
    argv[count++] = command->port;
    argv[count++] = command->target;
    return count;
}

// Takes the storage of inner, the script.
static enum weir_result make(struct remote_command *command, const struct machine *machine,
    struct buf *inner, const char *ssh_dir)
{
    buf_init(&command->script, REMOTE_TEXT_MAX);
    enum weir_result result = quote_script(command, inner);
    size_t count = put_ssh(command, machine, ssh_dir);
    if (result != WEIR_OK || count == 0) {
        return WEIR_TOO_LARGE;
    }
    command->argv[count] = buf_text(&command->script);
    command->argv[count + 1] = NULL;
    return command->argv[count] == NULL ? WEIR_MEMORY : WEIR_OK;
}

enum weir_result remote_command_make(
    struct remote_command *command, const struct service *service, const char *ssh_dir)
{
    struct buf inner = BUF_INIT(REMOTE_TEXT_MAX);
    if (service->check.type == CHECK_PROCESS) {
        put_process(&inner, &service->check);
    } else {
        put_command(&inner, &service->check);
    }
    return make(command, service->machine, &inner, ssh_dir);
}

enum weir_result remote_script_make(struct remote_command *command, const struct machine *machine,
    const char *script, const char *ssh_dir)
{
    struct buf inner = BUF_INIT(REMOTE_TEXT_MAX);
    (void)buf_append_str(&inner, script); // inner.failed is looked at
    return make(command, machine, &inner, ssh_dir);
}

void remote_command_fini(struct remote_command *command)
{
    buf_reset(&command->script);
}
