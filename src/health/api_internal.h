// SPDX-License-Identifier: Apache-2.0
// Shared by the files of the API.
#ifndef WEIR_HEALTH_API_INTERNAL_H
#define WEIR_HEALTH_API_INTERNAL_H

#include "health/health.h"
#include "health/view.h"
#include "proto/json_write.h"

#define API_PARTS_MAX 2
#define API_PART_SIZE 512
#define API_DOCUMENT_MAX (32 * 1024 * 1024)

struct api_request {
    struct http_request *http;
    struct health *health;
    char parts[API_PARTS_MAX][API_PART_SIZE]; // what stood for {} in the path, decoded
    bool head;                                // HEAD
};

typedef void api_handler_fn(struct api_request *request);
#define API_ROUTE(method, path, access, handler) api_handler_fn handler;
#include "health/api_routes.def"
#undef API_ROUTE

// ---- Answers: exactly one for a request.

// Takes the document's storage.
void api_answer_json(struct api_request *request, unsigned status, struct buf *document);
void api_answer_text(
    struct api_request *request, const char *content_type, const char *headers, struct slice body);
// The error envelope of spec section 4.1.
void api_answer_error(struct api_request *request, unsigned status, const char *message);
// 422, for a parameter.
void api_answer_parameter(struct api_request *request, const char *name, const char *message);

// The same with headers of the route's own, whole lines.
void api_answer_json_with(
    struct api_request *request, unsigned status, const char *headers, struct buf *document);

// ---- Questions

// Who asks, by the token; everybody is an administrator where there are no tokens.
enum role api_role(struct api_request *request);

// A parameter as a whole number; fallback when it is not there. False after a 422.
bool api_number(
    struct api_request *request, const char *name, int64_t fallback, int64_t *ret_value);
// A parameter as true or false. False after a 422.
bool api_flag(struct api_request *request, const char *name, bool fallback, bool *ret_value);
// A parameter as text; "" when it is not there or too long.
void api_text(struct api_request *request, const char *name, char *text, size_t size);

// problem_type and its counts, the most frequent first, at most max.
void api_write_problems(
    const struct health *health, struct json_writer *writer, const char *key, size_t max);

// The newest results of a service, at most max.
void api_write_results(const struct health *health, const struct target *target,
    struct json_writer *writer, const char *key, size_t max);

#endif
