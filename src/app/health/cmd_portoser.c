// SPDX-License-Identifier: Apache-2.0
// The binary under the name "portoser": the words that existing scripts use, on the commands of
// `weir health`. What belongs to deployment is not here, and says so.
#include "app/health/cmd_portoser.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"

#define WORDS_MAX 64

// What is said to portoser, and what `weir health` calls it; NULL: nothing more, or nothing at all.
static const struct {
    const char *first;
    const char *second;
    const char *words[2];
    const char *meaning;
} rows[] = {
    {"health", NULL, {NULL}, "the health of all services, or of one"},
    {"status", NULL, {"status"}, "services as a table"},
    {"cluster", "status", {"cluster-status"}, "counts, or with --json every service"},
    {"cluster", "health", {NULL}, "the same as health"},
    {"verify", NULL, {"verify"}, "every service's address, and whether it answers"},
    {"diagnose", NULL, {"diagnose"}, "one service and what it depends on, phase by phase"},
    {"machines", NULL, {"machines"}, "machines and their resources"},
    {"metrics", NULL, {"metrics"}, "the resources of machines"},
    {"uptime", NULL, {"uptime"}, "how long services were up"},
    {"history", NULL, {"history"}, "what a service's checks gave"},
    {"events", NULL, {"events"}, "what happened"},
    {"event", NULL, {"event"}, "tell the monitor of a deployment"},
    {"deploy-log", NULL, {"deploy-log"}, "tell it every line of a pipe"},
    {"maintenance", NULL, {"maintenance"}, "begin or end the maintenance of a service"},
    {"registry", NULL, {"registry"}, "validate, show or path"},
    {"check-config", NULL, {"registry", "validate"}, "the same as registry validate"},
    {"serve", NULL, {"serve"}, "run the monitor"},
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

static void print_help(FILE *out)
{
    fputs("portoser, by weir " WEIR_VERSION "; portoser COMMAND --help tells more\n\n", out);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%s%s", rows[i].first, rows[i].second == NULL ? "" : " ",
            rows[i].second == NULL ? "" : rows[i].second);
        fprintf(out, "  %-16s %s\n", name, rows[i].meaning);
    }
}

// Behind the words of a row, whatever the user said behind his.
static int run_row(size_t row, int argc, char **argv)
{
    char *words[WORDS_MAX];
    int count = 0;
    for (size_t i = 0; i < 2 && rows[row].words[i] != NULL; i++) {
        // Commands move pointers, and change no text.
        words[count++] = (char *)(uintptr_t)rows[row].words[i];
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
    bool help =
        strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0;
    if (strcmp(first, "--version") == 0) {
        puts("Portoser v0.1.0");
        return EXIT_FINE;
    }
    for (size_t i = 0; i < ROW_COUNT; i++) {
        int words = rows[i].second == NULL ? 1 : 2;
        if (strcmp(first, rows[i].first) == 0 &&
            (words == 1 || strcmp(second, rows[i].second) == 0)) {
            return run_row(i, argc - words, argv + words);
        }
    }
    if (!help && argc > 0) {
        fprintf(stderr,
            "portoser: there is no \"%s\" here: weir watches services, and deploys none\n\n",
            first);
    }
    print_help(help ? stdout : stderr);
    return help ? EXIT_FINE : EXIT_USAGE;
}
