// SPDX-License-Identifier: Apache-2.0
#include "app/up/init_answers.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "base/hostname.h"
#include "base/slice.h"
#include "platform/certificate.h"
#include "sys/file.h"

#define FILE_BYTES_MAX 1048576

// ---- Judging. Each says what is wrong on standard error.

static bool take_parts(struct init_answers *answers, const char *text)
{
    struct slice rest = slice_str(text);
    struct slice word;
    const struct {
        const char *name;
        bool *wanted;
    } parts[] = {
        {"relay", &answers->relay}, {"engine", &answers->engine}, {"health", &answers->health}};
    size_t count = 0;
    answers->relay = answers->engine = answers->health = false;
    while (rest.len > 0 && slice_split(&rest, ',', &word)) {
        word = slice_trim(word);
        bool known = word.len == 0;
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            if (slice_eq_nocase(word, slice_str(parts[i].name))) {
                *parts[i].wanted = known = true;
                count++;
            }
        }
        if (!known) {
            fprintf(stderr,
                "weir init: there is no part \"%.*s\"; allowed: relay, engine, health\n",
                SLICE_ARG(word));
            return false;
        }
    }
    if (count == 0) {
        fputs("weir init: no part is wanted; allowed: relay, engine, health\n", stderr);
    }
    return count > 0;
}

static bool take_host(struct init_answers *answers, const char *text)
{
    char normal[HOSTNAME_SIZE];
    size_t len;
    if (hostname_normalize(slice_trim(slice_str(text)), normal, &len) == WEIR_OK &&
        len < sizeof answers->host) {
        snprintf(answers->host, sizeof answers->host, "%s", normal);
        return true;
    }
    fprintf(stderr, "weir init: \"%s\" is no host name; allowed: edge.example.com\n", text);
    return false;
}

static bool take_file(const char *what, const char *text, char *path)
{
    struct slice trimmed = slice_trim(slice_str(text));
    char given[INIT_TEXT_SIZE] = "";
    if (slice_to_text(trimmed, given, sizeof given) && trimmed.len > 0 &&
        sys_file_look_plain(given, FILE_BYTES_MAX) == WEIR_OK &&
        sys_absolute_path(given, path, INIT_TEXT_SIZE) == WEIR_OK) {
        return true;
    }
    fprintf(stderr, "weir init: %s \"%s\" %s\n", what, text,
        sys_file_exists(given) ? "is no plain file, or too large" : "does not exist");
    return false;
}

static bool take_certificate(struct init_answers *answers, const char *text)
{
    return take_file("the certificate", text, answers->cert_file);
}

static bool take_key(struct init_answers *answers, const char *text)
{
    static const char *const no_names[] = {NULL};
    struct certificate_paths paths;
    struct certificate_look look;
    if (!take_file("the key", text, answers->key_file)) {
        return false;
    }
    snprintf(paths.certificate, sizeof paths.certificate, "%s", answers->cert_file);
    snprintf(paths.key, sizeof paths.key, "%s", answers->key_file);
    certificate_look_at(&paths, no_names, &look);
    if (!look.belongs) {
        fprintf(stderr,
            "weir init: the key \"%s\" does not belong to the certificate \"%s\"; allowed: two PEM "
            "files that do, the key without a passphrase\n",
            answers->key_file, answers->cert_file);
    }
    return look.belongs;
}

// The usual one is made when it is not there.
static bool take_registry(struct init_answers *answers, const char *text)
{
    if (strcmp(text, INIT_REGISTRY) == 0 && !sys_file_exists(text)) {
        answers->registry[0] = '\0';
        return true;
    }
    return take_file("the registry", text, answers->registry);
}

// ---- Asking

struct question {
    const char *text;
    const char *fallback; // taken for an empty line; NULL: there is none
    const char *option;
    bool (*take)(struct init_answers *answers, const char *text);
};

// False: standard input has ended. What is too long for an answer is none, as a whole.
static bool read_line(char text[INIT_TEXT_SIZE])
{
    if (fgets(text, INIT_TEXT_SIZE, stdin) == NULL) {
        fputs("\nweir init: nobody answers; nothing was made\n", stderr);
        return false;
    }
    if (strchr(text, '\n') == NULL) {
        for (int c = getchar(); c != '\n' && c != EOF; c = getchar()) {
            text[0] = '\0';
        }
    }
    text[strcspn(text, "\r\n")] = '\0';
    return true;
}

// Until an answer is usable; an option is not asked again.
static int answer(struct init_answers *answers, const struct question *question, const char *option)
{
    char text[INIT_TEXT_SIZE];
    if (option != NULL) {
        return question->take(answers, option) ? EXIT_FINE : EXIT_USAGE;
    }
    if (!isatty(STDIN_FILENO)) {
        if (question->fallback != NULL) {
            return question->take(answers, question->fallback) ? EXIT_FINE : EXIT_USAGE;
        }
        fprintf(stderr, "weir init: %s is wanted where nobody can be asked\n", question->option);
        return EXIT_USAGE;
    }
    for (;;) {
        fprintf(stderr, "%s%s%s%s ", question->text, question->fallback == NULL ? "" : " [",
            question->fallback == NULL ? "" : question->fallback,
            question->fallback == NULL ? "" : "]");
        if (!read_line(text)) {
            return EXIT_USAGE;
        }
        bool empty = text[0] == '\0' && question->fallback != NULL;
        if (question->take(answers, empty ? question->fallback : text)) {
            return EXIT_FINE;
        }
    }
}

static bool take_yes(struct init_answers *answers, const char *text)
{
    struct slice word = slice_trim(slice_str(text));
    bool yes = slice_eq_nocase(word, SLICE("y")) || slice_eq_nocase(word, SLICE("yes")) ||
               slice_eq(word, SLICE("1"));
    bool no = slice_eq_nocase(word, SLICE("n")) || slice_eq_nocase(word, SLICE("no"));
    answers->self_signed = yes;
    if (!yes && !no) {
        fputs("weir init: allowed: yes, no\n", stderr);
    }
    return yes || no;
}

static int answer_certificate(struct init_answers *answers, const struct init_options *options)
{
    static const struct question self = {
        "Make a self-signed certificate? no: you have one, for the host and for *.t.<host>", "yes",
        "--self-signed", take_yes};
    static const struct question cert = {
        "File of the certificate chain, PEM:", NULL, "--cert", take_certificate};
    static const struct question key = {"File of its key, PEM:", NULL, "--key", take_key};
    bool given = options->cert_file != NULL || options->key_file != NULL;
    if (given && options->self_signed != NULL) {
        fputs("weir init: --self-signed, or --cert and --key\n", stderr);
        return EXIT_USAGE;
    }
    int exit_code = given ? EXIT_FINE : answer(answers, &self, options->self_signed);
    if (exit_code == EXIT_FINE && !answers->self_signed) {
        exit_code = answer(answers, &cert, options->cert_file);
        exit_code = exit_code == EXIT_FINE ? answer(answers, &key, options->key_file) : exit_code;
    }
    return exit_code;
}

// Who says something of a part that is not wanted has forgotten the part.
static bool options_have_parts(
    const struct init_options *options, const struct init_answers *answers)
{
    bool reached = answers->relay || answers->engine;
    const struct {
        const char *name;
        const char *value;
        bool counts;
        const char *parts;
    } rows[] = {
        {"--host", options->host, reached, "relay, engine"},
        {"--self-signed", options->self_signed, reached, "relay, engine"},
        {"--cert", options->cert_file, reached, "relay, engine"},
        {"--key", options->key_file, reached, "relay, engine"},
        {"--registry", options->registry, answers->health, "health"},
        {"--relay-listen", options->relay_listen, answers->relay, "relay"},
        {"--engine-listen", options->engine_listen, answers->engine, "engine"},
        {"--health-listen", options->health_listen, answers->health, "health"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].value != NULL && !rows[i].counts) {
            fprintf(stderr, "weir init: %s is of %s, which --parts does not have\n", rows[i].name,
                rows[i].parts);
            return false;
        }
    }
    return true;
}

int init_answers_read(const struct init_options *options, struct init_answers *ret_answers)
{
    static const struct question parts = {
        "Which parts: relay, engine, health?", "relay,engine,health", "--parts", take_parts};
    static const struct question host = {
        "Name by which others reach this machine (edge.example.com):", NULL, "--host", take_host};
    static const struct question registry = {
        "The registry of services to check:", INIT_REGISTRY, "--registry", take_registry};
    *ret_answers = (struct init_answers){0};
    int exit_code = answer(ret_answers, &parts, options->parts);
    bool reached = ret_answers->relay || ret_answers->engine;
    if (exit_code == EXIT_FINE && !options_have_parts(options, ret_answers)) {
        exit_code = EXIT_USAGE;
    }
    if (exit_code == EXIT_FINE && reached) {
        exit_code = answer(ret_answers, &host, options->host);
    }
    if (exit_code == EXIT_FINE && reached) {
        exit_code = answer_certificate(ret_answers, options);
    }
    if (exit_code == EXIT_FINE && ret_answers->health) {
        exit_code = answer(ret_answers, &registry, options->registry);
    }
    return exit_code;
}
