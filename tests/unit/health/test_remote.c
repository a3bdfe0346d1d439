// SPDX-License-Identifier: Apache-2.0
// What is handed to ssh: the arguments, and a script that a real shell reads back word for word.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "health/checks/remote.h"

static const struct machine far = {.name = "far",
    .address = "198.51.100.7",
    .ssh_host = "far.example",
    .ssh_user = "me",
    .ssh_key = "/k",
    .ssh_port = 2222};

static struct service service_of(const char *const *command)
{
    return (struct service){.name = "s",
        .machine = &far,
        .check = {.type = CHECK_EXEC, .command = command, .timeout_ns = 2500 * NS_PER_MS}};
}

static void names_everything_ssh_needs(void **state)
{
    (void)state;
    static const char *const expected[] = {"ssh", "-n", "-o", "BatchMode=yes", "-o",
        "ConnectTimeout=5", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-o",
        "ControlMaster=auto", "-o", "ControlPersist=60", "-o",
        "ControlPath=/run/x/%C", "-i", "/k", "-p", "2222", "me@far.example"};
    const char *const words[] = {"true", NULL};
    struct service service = service_of(words);
    struct remote_command command;
    assert_int_equal(remote_command_make(&command, &service, "/run/x"), WEIR_OK);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_string_equal(command.argv[i], expected[i]);
    }
    assert_true(strncmp(command.argv[21], "exec sh -c '", 12) == 0);
    assert_null(command.argv[22]);
    remote_command_fini(&command);
}

// Runs the string as ssh's far end would, and takes what it prints.
static void run(const struct service *service, char *output, size_t size)
{
    struct remote_command command;
    assert_int_equal(remote_command_make(&command, service, NULL), WEIR_OK);
    size_t last = 0;
    while (command.argv[last + 1] != NULL) {
        last++;
    }
    FILE *pipe = popen(command.argv[last], "r");
    assert_non_null(pipe);
    size_t len = fread(output, 1, size - 1, pipe);
    output[len] = '\0';
    pclose(pipe);
    remote_command_fini(&command);
}

static void quotes_every_word(void **state)
{
    (void)state;
    static const char *const words[] = {"printf", "[%s]", "a b", "", "it's", "''", "$HOME", "`id`",
        "$(id)", "\\", "\"", "*", ";", "&", "|", "\n", "~", "-n", "#", "!", "\xc3\xa9", NULL};
    static const char expected[] = "[a b][][it's][''][$HOME][`id`][$(id)][\\][\"][*][;][&][|][\n]"
                                   "[~][-n][#][!][\xc3\xa9]";
    static const char *const env[] = {"A=1 2", "B='", NULL};
    char output[512];
    struct service service = service_of(words);
    service.check.cwd = "/usr";
    service.check.env = env;
    run(&service, output, sizeof output);
    assert_string_equal(output, expected);
    static const char *const shell[] = {"/bin/sh", "-c", "echo \"$A,$B,$PWD\"", NULL};
    service.check.command = shell;
    run(&service, output, sizeof output);
    assert_string_equal(output, "1 2,',/usr\n");
}

static void leaves_a_tilde_to_the_other_side(void **state)
{
    (void)state;
    static const char *const shell[] = {"/bin/sh", "-c", "echo \"$PWD\"", NULL};
    char output[512];
    char expected[512];
    struct service service = service_of(shell);
    service.check.cwd = "~root/";
    run(&service, output, sizeof output);
    FILE *pipe = popen("cd ~root && pwd", "r");
    assert_non_null(fgets(expected, sizeof expected, pipe));
    pclose(pipe);
    assert_string_equal(output, expected);
    // What only looks like one is a name.
    service.check.cwd = "~$(echo root)";
    run(&service, output, sizeof output);
    assert_string_equal(output, "");
}

static void refuses_what_no_command_line_holds(void **state)
{
    (void)state;
    static char word[REMOTE_TEXT_MAX];
    memset(word, '\'', sizeof word - 1);
    const char *const words[] = {word, NULL};
    struct service service = service_of(words);
    struct remote_command command;
    assert_int_equal(remote_command_make(&command, &service, NULL), WEIR_TOO_LARGE);
    remote_command_fini(&command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_everything_ssh_needs),
        cmocka_unit_test(quotes_every_word),
        cmocka_unit_test(leaves_a_tilde_to_the_other_side),
        cmocka_unit_test(refuses_what_no_command_line_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
