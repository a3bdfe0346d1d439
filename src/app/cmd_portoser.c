// SPDX-License-Identifier: Apache-2.0
// The binary under the name "portoser": the words that existing scripts use, on the commands of
// `weir health`. What belongs to deployment is not here, and says so.
#include "app/cmd_portoser.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"

#define WORDS_MAX 64

static int run_health(const char *word, int argc, char **argv)
{
    char *words[WORDS_MAX];
    int count = 0;
    if (word != NULL) {
        words[count++] = (char *)(uintptr_t)word; // commands move pointers, and change no text
    }
    for (int i = 0; i < argc && count < WORDS_MAX; i++) {
        words[count++] = argv[i];
    }
    return command_dispatch(&command_health, count, words);
}

int cmd_portoser(int argc, char **argv)
{
    const char *first = argc > 0 ? argv[0] : "";
    const char *second = argc > 1 ? argv[1] : "";
    if (strcmp(first, "--version") == 0) {
        puts("Portoser v0.1.0");
        return EXIT_FINE;
    }
    if (strcmp(first, "health") == 0) {
        return run_health(NULL, argc - 1, argv + 1);
    }
    if (strcmp(first, "status") == 0) {
        return run_health("status", argc - 1, argv + 1);
    }
    if (strcmp(first, "cluster") == 0 && strcmp(second, "status") == 0) {
        return run_health("cluster-status", argc - 2, argv + 2);
    }
    if (strcmp(first, "cluster") == 0 && strcmp(second, "health") == 0) {
        return run_health(NULL, argc - 2, argv + 2);
    }
    if (strcmp(first, "registry") == 0) {
        return run_health("registry", argc - 1, argv + 1);
    }
    fprintf(argc == 0         ? stderr
            : first[0] == '-' ? stdout
                              : stderr,
        "portoser, by weir " WEIR_VERSION ": health, status, cluster status, cluster health, "
        "registry; see weir health --help\n");
    return strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 ? EXIT_FINE : EXIT_USAGE;
}
