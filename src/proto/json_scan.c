// SPDX-License-Identifier: Apache-2.0
// The scanner. The members of the outermost object are walked by scan_members, which looks their
// keys up and notes their values; whatever is nested deeper is only checked, by scan_nested, whose
// stack is one bit a level: object or array. The current 64 levels sit in a word, so shallow
// values never touch the bitmap.
//
// Conventions: every scan_* function starts at the first byte of its thing and returns the byte
// after it, or NULL when the text breaks the grammar of RFC 8259 there. No byte at or past `end`
// is ever read. A string is searched 16 bytes at a time for what may not stand in it unescaped, and
// as wide.c can once it has turned out long; its last bytes are searched by a load that ends with
// the text and so overlaps what was seen.
//
// Rejected: a lookup by binary search (four unpredictable branches a key), and a perfect hash
// computed by a generator at build time (the table below finds a name in one probe as well).
#include "proto/json_scan.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/mem.h"
#include "proto/wide.h"

#define SLOT_COUNT 256
#define NAME_LEN_MAX 64
// "\uXXXX" is the longest way to write a byte, so a longer key is no name of ours.
#define ESCAPED_KEY_LEN_MAX (6 * NAME_LEN_MAX)
#define BLOCK 16
#define WORD_LEVELS 64

struct json_keys {
    struct slice names[JSON_KEYS_MAX]; // borrowed, static storage
    size_t count;
    uint8_t slots[SLOT_COUNT]; // index + 1, 0 is empty; a collision takes the next free slot
};

struct span {
    const char *begin;
    const char *end;
};

// ---- Keys

// Three characters and the length tell names apart well enough; what they do not, slice_eq does.
static inline size_t key_slot(struct slice key)
{
    const unsigned char *at = (const unsigned char *)key.at;
    size_t mixed = key.len * 7;
    if (key.len > 0) {
        mixed += at[0] * 3U + at[key.len / 2] * 31U + at[key.len - 1] * 5U;
    }
    return mixed % SLOT_COUNT;
}

static void add_key(struct json_keys *keys, struct slice name)
{
    weir_assert(name.len <= NAME_LEN_MAX);
    size_t slot = key_slot(name);
    while (keys->slots[slot] != 0) {
        slot = (slot + 1) % SLOT_COUNT;
    }
    keys->names[keys->count] = name;
    keys->count++;
    keys->slots[slot] = (uint8_t)keys->count;
}

struct json_keys *json_keys_new(const char *const *names, size_t count)
{
    weir_assert(count <= JSON_KEYS_MAX);
    struct json_keys *keys = mem_zalloc(sizeof *keys);
    if (keys == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        add_key(keys, slice_str(names[i]));
    }
    return keys;
}

void json_keys_free(struct json_keys *keys)
{
    mem_free(keys);
}

// The index of a key, or keys->count.
static inline size_t find_key(const struct json_keys *keys, struct slice key)
{
    size_t slot = key_slot(key);
    while (keys->slots[slot] != 0) {
        size_t index = keys->slots[slot] - 1U;
        if (slice_eq(keys->names[index], key)) {
            return index;
        }
        slot = (slot + 1) % SLOT_COUNT;
    }
    return keys->count;
}

static size_t find_escaped_key(const struct json_keys *keys, const struct json_value *key)
{
    char name[ESCAPED_KEY_LEN_MAX];
    if (key->text.len > sizeof name) {
        return keys->count;
    }
    return find_key(keys, slice_of(name, json_value_unescape(key, name)));
}

// ---- Strings

#if defined(__SSE2__)

// A bit for each byte that ends a run of plain characters: quote, backslash, control character.
// Flipping bit 1 sends the quote (0x22) to 0x20, right above the control characters.
static inline unsigned special_mask(const char *at)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i limit = _mm_set1_epi8(0x20);
    __m128i flipped = _mm_xor_si128(bytes, _mm_set1_epi8(0x02));
    __m128i low = _mm_cmpeq_epi8(_mm_max_epu8(flipped, limit), limit);
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, backslash));
}

#define SHORT_BLOCKS 4 // so many blocks are looked at one by one: most strings end there

// The first special byte at or after `at`, or end.
static inline const char *find_special(const char *at, const struct span *text)
{
    for (unsigned seen = 1; text->end - at >= BLOCK; seen++) {
        unsigned mask = special_mask(at);
        if (mask != 0) {
            return at + __builtin_ctz(mask);
        }
        at += BLOCK;
        if (seen == SHORT_BLOCKS) {
            at = wide_best()->skip_plain(at, text->end);
        }
    }
    if (text->end - text->begin >= BLOCK) {
        unsigned seen = (unsigned)(BLOCK - (text->end - at));
        unsigned mask = special_mask(text->end - BLOCK) >> seen;
        return mask != 0 ? at + __builtin_ctz(mask) : text->end;
    }
    while (at < text->end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20) {
        at++;
    }
    return at;
}

#else

// The first special byte at or after `at`, or end.
static inline const char *find_special(const char *at, const struct span *text)
{
    at = wide_best()->skip_plain(at, text->end);
    while (at < text->end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20) {
        at++;
    }
    return at;
}

#endif

static inline bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// From the backslash on. Lone surrogates are legal (spec section 6.1).
static const char *scan_escape(const char *at, const char *end)
{
    if (end - at < 2) {
        return NULL;
    }
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return at + 2;
    case 'u':
        break;
    default:
        return NULL;
    }
    if (end - at < 6 || !is_hex(at[2]) || !is_hex(at[3]) || !is_hex(at[4]) || !is_hex(at[5])) {
        return NULL;
    }
    return at + 6;
}

static const char *scan_escaped_rest(const char *at, const struct span *text)
{
    while (at < text->end && *at == '\\') {
        at = scan_escape(at, text->end);
        if (at == NULL) {
            return NULL;
        }
        at = find_special(at, text);
    }
    return at < text->end && *at == '"' ? at : NULL;
}

// From the opening quote on.
static inline const char *scan_string(
    const char *at, const struct span *text, struct json_value *value)
{
    at++;
    const char *stop = find_special(at, text);
    bool escaped = stop == text->end || *stop != '"';
    if (__builtin_expect(escaped, false)) {
        stop = scan_escaped_rest(stop, text);
        if (stop == NULL) {
            return NULL;
        }
    }
    value->text = slice_of(at, (size_t)(stop - at));
    value->kind = JSON_KIND_STRING;
    value->escaped = escaped;
    return stop + 1;
}

// ---- White space, numbers, literals

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline const char *skip_space(const char *at, const char *end)
{
    while (at < end && is_space(*at)) {
        at++;
    }
    return at;
}

static inline const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

// At least one digit.
static inline const char *scan_digits(const char *at, const char *end)
{
    const char *stop = skip_digits(at, end);
    return stop == at ? NULL : stop;
}

static const char *scan_fraction(const char *at, const char *end)
{
    if (at < end && *at == '.') {
        at = scan_digits(at + 1, end);
    }
    if (at != NULL && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        at = scan_digits(at, end);
    }
    return at;
}

// A digit that follows a leading zero is left standing, where no caller expects one.
static inline const char *scan_number(const char *at, const char *end, struct json_value *value)
{
    const char *start = at;
    at += *at == '-';
    at = at < end && *at == '0' ? at + 1 : scan_digits(at, end);
    if (at != NULL && at < end && (*at == '.' || *at == 'e' || *at == 'E')) {
        at = scan_fraction(at, end);
    }
    if (at == NULL) {
        return NULL;
    }
    value->text = slice_of(start, (size_t)(at - start));
    value->kind = JSON_KIND_NUMBER;
    value->escaped = false;
    return at;
}

static const char *scan_literal(const char *at, const char *end, struct json_value *value)
{
    struct slice text;
    enum json_kind kind;
    switch (*at) {
    case 't':
        text = SLICE("true");
        kind = JSON_KIND_TRUE;
        break;
    case 'f':
        text = SLICE("false");
        kind = JSON_KIND_FALSE;
        break;
    default:
        text = SLICE("null");
        kind = JSON_KIND_NULL;
        break;
    }
    if (!slice_starts_with(slice_of(at, (size_t)(end - at)), text)) {
        return NULL;
    }
    *value = (struct json_value){.text = slice_of(at, text.len), .kind = kind};
    return at + text.len;
}

// Everything but objects and arrays.
static inline const char *scan_scalar(
    const char *at, const struct span *text, struct json_value *value)
{
    if (*at == '"') {
        return scan_string(at, text, value);
    }
    if (*at == '-' || (*at >= '0' && *at <= '9')) {
        return scan_number(at, text->end, value);
    }
    return scan_literal(at, text->end, value);
}

// ---- Nested values

// One bit a level: 1 is an object. The innermost level is bit 0 of word; each full word below it
// is in saved. Level 0 is the outermost array or object of the nested value.
struct nesting {
    uint64_t word;
    size_t depth;
    uint64_t saved[JSON_DEPTH_MAX / WORD_LEVELS]; // written before it is read, never cleared
};

// The text's own object is one level, so one less is left.
static inline bool nesting_push(struct nesting *nesting, bool object)
{
    if (nesting->depth == JSON_DEPTH_MAX - 1) {
        return false;
    }
    if (nesting->depth > 0 && nesting->depth % WORD_LEVELS == 0) {
        nesting->saved[nesting->depth / WORD_LEVELS - 1] = nesting->word;
    }
    nesting->word = nesting->word << 1 | object;
    nesting->depth++;
    return true;
}

static inline void nesting_pop(struct nesting *nesting)
{
    nesting->depth--;
    nesting->word >>= 1;
    if (nesting->depth > 0 && nesting->depth % WORD_LEVELS == 0) {
        nesting->word = nesting->saved[nesting->depth / WORD_LEVELS - 1];
    }
}

static inline bool in_object(const struct nesting *nesting)
{
    return (nesting->word & 1) != 0;
}

// From a key's quote up to the first byte of its value, which may be end.
static inline const char *scan_key(const char *at, const struct span *text, struct json_value *key)
{
    if (at == text->end || *at != '"') {
        return NULL;
    }
    at = scan_string(at, text, key);
    if (at == NULL) {
        return NULL;
    }
    at = skip_space(at, text->end);
    return at < text->end && *at == ':' ? skip_space(at + 1, text->end) : NULL;
}

// After a value: closes what ends here, and goes to the first byte of the next value. Depth 0
// means that the outermost one has ended.
static inline const char *scan_after_value(
    const char *at, const struct span *text, struct nesting *nesting)
{
    struct json_value key;
    while (nesting->depth > 0) {
        at = skip_space(at, text->end);
        if (at == text->end) {
            return NULL;
        }
        if (*at == ',') {
            at = skip_space(at + 1, text->end);
            return in_object(nesting) ? scan_key(at, text, &key) : at;
        }
        if (*at != (in_object(nesting) ? '}' : ']')) {
            return NULL;
        }
        nesting_pop(nesting);
        at++;
    }
    return at;
}

// From an opening bracket to the first byte of the first value inside, or, when there is none, of
// the value that follows.
static inline const char *scan_open(
    const char *at, const struct span *text, struct nesting *nesting)
{
    bool object = *at == '{';
    if (!nesting_push(nesting, object)) {
        return NULL;
    }
    at = skip_space(at + 1, text->end);
    if (at < text->end && *at == (object ? '}' : ']')) {
        return scan_after_value(at, text, nesting);
    }
    struct json_value key;
    return object ? scan_key(at, text, &key) : at;
}

// From the opening bracket of an array or object that is a member of the text's own object.
static __attribute__((noinline)) const char *scan_nested(const char *at, const struct span *text)
{
    struct nesting nesting;
    nesting.word = 0;
    nesting.depth = 0;
    at = scan_open(at, text, &nesting);
    while (at != NULL && nesting.depth > 0) {
        if (at == text->end) {
            return NULL;
        }
        if (*at == '{' || *at == '[') {
            at = scan_open(at, text, &nesting);
            continue;
        }
        struct json_value value;
        at = scan_scalar(at, text, &value);
        if (at != NULL) {
            at = scan_after_value(at, text, &nesting);
        }
    }
    return at;
}

// ---- The text's own object

static inline const char *scan_value(
    const char *at, const struct span *text, struct json_value *value)
{
    if (at == text->end) {
        return NULL;
    }
    if (*at != '{' && *at != '[') {
        return scan_scalar(at, text, value);
    }
    const char *stop = scan_nested(at, text);
    if (stop != NULL) {
        *value = (struct json_value){.text = slice_of(at, (size_t)(stop - at)),
            .kind = *at == '{' ? JSON_KIND_OBJECT : JSON_KIND_ARRAY};
    }
    return stop;
}

// From a key on, over its value and the white space behind it.
static inline const char *scan_member(const char *at, const struct span *text,
    const struct json_keys *keys, struct json_value *values)
{
    struct json_value key;
    struct json_value unwanted;
    at = scan_key(at, text, &key);
    if (at == NULL) {
        return NULL;
    }
    size_t index = key.escaped ? find_escaped_key(keys, &key) : find_key(keys, key.text);
    at = scan_value(at, text, index < keys->count ? &values[index] : &unwanted);
    return at == NULL ? NULL : skip_space(at, text->end);
}

// From behind the opening brace to behind the closing one.
static const char *scan_members(const char *at, const struct span *text,
    const struct json_keys *keys, struct json_value *values)
{
    at = skip_space(at, text->end);
    if (at < text->end && *at == '}') {
        return at + 1;
    }
    for (;;) {
        at = scan_member(at, text, keys, values);
        if (at == NULL || at == text->end) {
            return NULL;
        }
        if (*at == '}') {
            return at + 1;
        }
        if (*at != ',') {
            return NULL;
        }
        at = skip_space(at + 1, text->end);
    }
}

enum weir_result json_scan(
    struct slice text, const struct json_keys *keys, struct json_value *values)
{
    struct span span = {text.at, text.at + text.len};
    memset(values, 0, keys->count * sizeof *values);
    const char *at = skip_space(span.begin, span.end);
    if (at == span.end || *at != '{') {
        return WEIR_MALFORMED;
    }
    at = scan_members(at + 1, &span, keys, values);
    if (at == NULL || skip_space(at, span.end) != span.end) {
        return WEIR_MALFORMED;
    }
    return WEIR_OK;
}
