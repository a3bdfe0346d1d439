// SPDX-License-Identifier: Apache-2.0
// The reference command line always asks for a name of its own making, <label>-<first>.t.<rest> for
// an engine at <first>.<rest>. That lies outside the zone, where neither DNS nor the certificate of
// a self-hosted engine reach, so it is moved to <label>-<first>.t.<first>.<rest>; the agent prints
// what comes back, and asks for the same again when it reconnects.
#include "engine/control/tunnel_host.h"

#include <stdint.h>
#include <stdio.h>

#define ZONE SLICE(".t.")
#define LABEL_LEN_MAX 63

// ---- Punycode (RFC 3492), as far as to know whether there is something sensible in it.

#define PUNY_BASE 36
#define PUNY_T_MIN 1
#define PUNY_T_MAX 26
#define PUNY_SKEW 38
#define PUNY_DAMP 700
#define PUNY_BIAS 72
#define PUNY_FIRST 128
#define CODE_POINT_MIN 0xa0 // controls before it
#define CODE_POINT_MAX 0x10ffff

static int puny_digit(char byte)
{
    if (byte >= 'a' && byte <= 'z') {
        return byte - 'a';
    }
    return byte >= '0' && byte <= '9' ? byte - '0' + 26 : -1;
}

static uint32_t puny_threshold(uint32_t k, uint32_t bias)
{
    if (k <= bias) {
        return PUNY_T_MIN;
    }
    return k - bias >= PUNY_T_MAX ? PUNY_T_MAX : k - bias;
}

static uint32_t puny_adapt(uint32_t delta, uint32_t points, bool first)
{
    delta = first ? delta / PUNY_DAMP : delta / 2;
    delta += delta / points;
    uint32_t k = 0;
    for (; delta > (PUNY_BASE - PUNY_T_MIN) * PUNY_T_MAX / 2; k += PUNY_BASE) {
        delta /= PUNY_BASE - PUNY_T_MIN;
    }
    return k + (PUNY_BASE - PUNY_T_MIN + 1) * delta / (delta + PUNY_SKEW);
}

// Reads one generalised variable-length integer off *rest. False when it is cut or too large.
static bool puny_delta(struct slice *rest, uint32_t bias, uint32_t *ret_delta)
{
    uint64_t delta = 0;
    uint64_t weight = 1;
    for (uint32_t k = PUNY_BASE;; k += PUNY_BASE) {
        int digit = rest->len == 0 ? -1 : puny_digit(rest->at[0]);
        uint32_t threshold = puny_threshold(k, bias);
        if (digit < 0) {
            return false;
        }
        *rest = slice_skip(*rest, 1);
        delta += (uint64_t)digit * weight;
        weight *= PUNY_BASE - threshold;
        if (delta > UINT32_MAX || weight > UINT32_MAX) {
            return false;
        }
        if ((uint32_t)digit < threshold) {
            *ret_delta = (uint32_t)delta;
            return true;
        }
    }
}

// text is what follows "xn--".
static bool puny_valid(struct slice text)
{
    size_t basic = 0;
    for (size_t i = 0; i < text.len; i++) {
        basic = text.at[i] == '-' ? i : basic;
    }
    struct slice rest = basic == 0 ? text : slice_skip(text, basic + 1);
    uint32_t points = (uint32_t)basic;
    uint64_t point = PUNY_FIRST;
    uint64_t at = 0;
    uint32_t bias = PUNY_BIAS;
    bool first = true;
    if (rest.len == 0 || text.at[0] == '-') {
        return false;
    }
    while (rest.len > 0) {
        uint32_t delta;
        if (!puny_delta(&rest, bias, &delta)) {
            return false;
        }
        points++;
        at += delta;
        bias = puny_adapt(delta, points, first);
        first = false;
        point += at / points;
        at = at % points + 1;
        if (point < CODE_POINT_MIN || point > CODE_POINT_MAX ||
            (point >= 0xd800 && point <= 0xdfff)) {
            return false;
        }
    }
    return true;
}

// ---- Labels and names.

static bool is_label_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-';
}

bool tunnel_host_label_valid(struct slice label)
{
    if (label.len == 0 || label.len > LABEL_LEN_MAX || label.at[0] == '-' ||
        label.at[label.len - 1] == '-') {
        return false;
    }
    char lower[LABEL_LEN_MAX];
    for (size_t i = 0; i < label.len; i++) {
        if (!is_label_byte(label.at[i])) {
            return false;
        }
        lower[i] = (char)(label.at[i] | (label.at[i] == '-' ? 0 : 0x20));
    }
    struct slice text = slice_of(lower, label.len);
    return !slice_starts_with(text, SLICE("xn--")) || puny_valid(slice_skip(text, 4));
}

static enum weir_result compose(
    struct slice label, struct slice host, char ret_name[TUNNEL_HOST_SIZE])
{
    int len =
        snprintf(ret_name, TUNNEL_HOST_SIZE, "%.*s.t.%.*s", SLICE_ARG(label), SLICE_ARG(host));
    if (len < 0 || len >= TUNNEL_HOST_SIZE) {
        ret_name[0] = '\0';
        return WEIR_TOO_LARGE;
    }
    for (size_t i = 0; i < label.len; i++) {
        if (ret_name[i] >= 'A' && ret_name[i] <= 'Z') {
            ret_name[i] = (char)(ret_name[i] | 0x20);
        }
    }
    return WEIR_OK;
}

// The label of <label>.t.<host>, in any case; empty when name is not that.
static struct slice label_in(struct slice name, struct slice host)
{
    size_t behind = ZONE.len + host.len;
    if (name.len <= behind) {
        return SLICE_EMPTY;
    }
    struct slice label = slice_of(name.at, name.len - behind);
    struct slice zone = slice_of(name.at + label.len, ZONE.len);
    struct slice rest = slice_skip(name, label.len + ZONE.len);
    bool fits = slice_eq_nocase(zone, ZONE) && slice_eq_nocase(rest, host);
    return fits && slice_find(label, '.') < 0 ? label : SLICE_EMPTY;
}

// The label of <label>-<first>.t.<rest>, with host being <first>.<rest>; empty when it is not that.
static struct slice label_beside(struct slice name, struct slice host)
{
    ptrdiff_t dot = slice_find(host, '.');
    if (dot < 0) {
        return SLICE_EMPTY;
    }
    struct slice first = slice_of(host.at, (size_t)dot);
    struct slice label = label_in(name, slice_skip(host, (size_t)dot + 1));
    if (label.len < first.len + 2) {
        return SLICE_EMPTY;
    }
    struct slice end = slice_skip(label, label.len - first.len);
    bool fits = end.at[-1] == '-' && slice_eq_nocase(end, first);
    return fits ? label : SLICE_EMPTY;
}

enum weir_result tunnel_host_assign(
    struct slice asked, struct slice host, char ret_name[TUNNEL_HOST_SIZE])
{
    if (asked.len > 0 && asked.at[asked.len - 1] == '.') {
        asked.len--;
    }
    struct slice label = slice_find(asked, '.') < 0 ? asked : label_in(asked, host);
    if (label.len == 0) {
        label = label_beside(asked, host);
    }
    if (!tunnel_host_label_valid(label)) {
        ret_name[0] = '\0';
        return WEIR_INVALID;
    }
    return compose(label, host, ret_name);
}

enum weir_result tunnel_host_generate(
    uint32_t random, struct slice host, char ret_name[TUNNEL_HOST_SIZE])
{
    char label[10];
    snprintf(label, sizeof label, "r%08x", random);
    return compose(slice_str(label), host, ret_name);
}
