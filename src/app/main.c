// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/engine_command.h"
#include "app/health/cmd_portoser.h"
#include "obs/crash.h"
#include "sys/first.h"
#include "sys/process.h"

#define RSTREAM_NAME "rstream"

static bool is_one_of(const char *text, const char *a, const char *b)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

// The agent's specification knows two exit codes (section 11.1); a child's own code passes.
static int run_rstream(int argc, char **argv)
{
    command_set_program(RSTREAM_NAME);
    command_set_root(&command_rstream);
    int exit_code = command_dispatch(&command_rstream, argc, argv);
    return exit_code >= EXIT_USAGE && exit_code <= EXIT_CONFIG ? EXIT_FAILED : exit_code;
}

// What was printed may still wait in a buffer, for a disk that is full.
static int say_all(int exit_code)
{
    bool lost = fflush(stdout) != 0 || ferror(stdout) != 0;
    return lost && exit_code < EXIT_USAGE ? EXIT_OUTPUT : exit_code;
}

static int run(int argc, char **argv)
{
    sys_hold_standard_descriptors();
    sys_step_back_if_first();
    crash_install();
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = argc == 0 ? "" : slash == NULL ? argv[0] : slash + 1;
    int count = argc == 0 ? 0 : argc - 1;
    char **words = argv + (argc == 0 ? 0 : 1);
    if (strcmp(name, ENGINE_CE_NAME) == 0) {
        return engine_command_ce(count, words);
    }
    if (strcmp(name, PORTOSER_NAME) == 0) {
        return cmd_portoser(count, words);
    }
    if (count > 0 && is_one_of(words[0], "--version", "-v")) {
        puts(WEIR_VERSION);
        return EXIT_FINE;
    }
    command_set_root(&command_weir);
    return strcmp(name, RSTREAM_NAME) == 0 ? run_rstream(count, words)
                                           : command_dispatch(&command_weir, count, words);
}

int main(int argc, char **argv)
{
    return say_all(run(argc, argv));
}
