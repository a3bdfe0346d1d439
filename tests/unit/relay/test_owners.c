// SPDX-License-Identifier: Apache-2.0
// The tables of a cell (section 7.3 of the specification; 14, 3): how long an entry lives, which
// one goes when the table is full, and that none outlives its connection.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/time.h"
#include "relay/owners.h"
#include "relay/remotes.h"

#define NOW (1000 * NS_PER_S)
#define TTL (120 * NS_PER_S)

static const struct siphash_key seed = {1, 2};

// The tables only compare and return owners, so any address stands for one.
struct holder {
    struct list entries;
};

static struct peer *peer_of(struct holder *owner)
{
    return (struct peer *)(void *)owner;
}

static void holder_init(struct holder *owner)
{
    list_init(&owner->entries);
}

static void set(struct owners *owners, const char *key, struct holder *owner, uint64_t now_ns)
{
    struct peer *peer = peer_of(owner);
    assert_int_equal(owners_set(owners, slice_str(key), peer, &owner->entries, now_ns), WEIR_OK);
}

static struct peer *find(struct owners *owners, const char *key, uint64_t now_ns)
{
    return owners_find(owners, slice_str(key), now_ns).peer;
}

static size_t entry_count(const struct holder *owner)
{
    size_t count = 0;
    list_for_each (node, &owner->entries) {
        count++;
    }
    return count;
}

static void test_find(void **state)
{
    struct owners owners;
    struct holder a;
    struct holder b;
    (void)state;
    holder_init(&a);
    holder_init(&b);
    owners_init(&owners, &seed, 10, TTL, false);
    assert_null(find(&owners, "k", NOW));
    set(&owners, "k", &a, NOW);
    set(&owners, "l", &b, NOW);
    assert_ptr_equal(find(&owners, "k", NOW), peer_of(&a));
    assert_ptr_equal(find(&owners, "k", NOW), peer_of(&a)); // finding does not remove
    assert_ptr_equal(find(&owners, "l", NOW), peer_of(&b));
    assert_null(find(&owners, " k", NOW));
    assert_null(find(&owners, "K", NOW));
    assert_null(find(&owners, "", NOW));
    owners_fini(&owners);
    assert_true(list_empty(&a.entries) && list_empty(&b.entries));
}

// The table keeps the bytes itself.
static void test_key_is_copied(void **state)
{
    char key[] = "key\0key";
    struct owners owners;
    struct holder a;
    (void)state;
    holder_init(&a);
    owners_init(&owners, &seed, 10, TTL, false);
    struct slice bytes = slice_of(key, sizeof key - 1);
    assert_int_equal(owners_set(&owners, bytes, peer_of(&a), &a.entries, NOW), WEIR_OK);
    key[0] = 'x';
    assert_null(owners_find(&owners, bytes, NOW).peer);
    assert_null(find(&owners, "key", NOW));
    assert_ptr_equal(owners_find(&owners, SLICE("key\0key"), NOW).peer, peer_of(&a));
    owners_fini(&owners);
}

static void test_new_owner(void **state)
{
    struct owners owners;
    struct holder a;
    struct holder b;
    (void)state;
    holder_init(&a);
    holder_init(&b);
    owners_init(&owners, &seed, 10, TTL, false);
    set(&owners, "k", &a, NOW);
    set(&owners, "k", &b, NOW + TTL - 1);
    assert_int_equal(owners.entries.count, 1);
    assert_true(list_empty(&a.entries));
    owners_forget_peer(&a.entries); // nothing is the old one's any more
    assert_ptr_equal(find(&owners, "k", NOW + TTL), peer_of(&b)); // and it is new
    owners_fini(&owners);
}

// An entry set, looked up (unless 0) and looked up again.
static void test_ttl(void **state)
{
    static const struct {
        bool refresh;
        uint64_t between_ns;
        uint64_t after_ns;
        bool there;
    } rows[] = {
        {false, 0, 0, true}, {false, 0, TTL - 1, true}, {false, 0, TTL, false},
        {false, TTL - 1, TTL, false}, {false, 0, 10 * TTL, false}, {true, 0, TTL - 1, true},
        {true, 0, TTL, false}, {true, TTL / 2, TTL, true}, {true, TTL / 2, TTL + TTL / 2 - 1, true},
        {true, TTL / 2, TTL + TTL / 2, false}, {true, TTL - 1, 2 * TTL - 2, true},
        {true, TTL, TTL + 1, false}, // too late to renew
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct owners owners;
        struct holder a;
        holder_init(&a);
        owners_init(&owners, &seed, 10, TTL, rows[i].refresh);
        set(&owners, "k", &a, NOW);
        if (rows[i].between_ns > 0) {
            struct peer *found = find(&owners, "k", NOW + rows[i].between_ns);
            assert_ptr_equal(found, rows[i].between_ns < TTL ? peer_of(&a) : NULL);
        }
        struct peer *found = find(&owners, "k", NOW + rows[i].after_ns);
        if (found != (rows[i].there ? peer_of(&a) : NULL)) {
            fail_msg("row %zu", i);
        }
        assert_int_equal(entry_count(&a), rows[i].there);
        owners_fini(&owners);
    }
}

// What is too old is dropped as others are set, whether somebody asks for it or not.
static void test_old_ones_are_dropped(void **state)
{
    struct owners owners;
    struct holder a;
    (void)state;
    holder_init(&a);
    owners_init(&owners, &seed, 10, TTL, true);
    set(&owners, "1", &a, NOW);
    set(&owners, "2", &a, NOW + 1);
    set(&owners, "3", &a, NOW + 2);
    assert_non_null(find(&owners, "1", NOW + 3));
    set(&owners, "4", &a, NOW + 1 + TTL);
    assert_int_equal(owners.entries.count, 3);
    assert_null(find(&owners, "2", NOW + 1 + TTL));
    assert_non_null(find(&owners, "1", NOW + 1 + TTL));
    set(&owners, "5", &a, NOW + 2 + TTL);
    assert_int_equal(owners.entries.count, 3);
    assert_null(find(&owners, "3", NOW + 2 + TTL));
    owners_fini(&owners);
}

// Three entries in a table of three, something done to the first, one more: which one goes?
static void test_full(void **state)
{
    static const struct {
        bool refresh;
        bool look_up;
        bool set_again;
        const char *gone;
    } rows[] = {{false, false, false, "1"}, {false, true, false, "1"}, {true, false, false, "1"},
        {true, true, false, "2"}, {false, false, true, "2"}, {true, false, true, "2"}};
    static const char *const keys[] = {"1", "2", "3", "4"};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct owners owners;
        struct holder a;
        holder_init(&a);
        owners_init(&owners, &seed, 3, TTL, rows[i].refresh);
        set(&owners, "1", &a, NOW);
        set(&owners, "2", &a, NOW);
        set(&owners, "3", &a, NOW);
        assert_true(!rows[i].look_up || find(&owners, "1", NOW) == peer_of(&a));
        if (rows[i].set_again) {
            set(&owners, "1", &a, NOW);
        }
        assert_int_equal(entry_count(&a), 3);
        set(&owners, "4", &a, NOW);
        assert_int_equal(entry_count(&a), 3);
        for (size_t j = 0; j < sizeof keys / sizeof keys[0]; j++) {
            bool there = find(&owners, keys[j], NOW) != NULL;
            if (there == slice_eq(slice_str(keys[j]), slice_str(rows[i].gone))) {
                fail_msg("row %zu, key %s", i, keys[j]);
            }
        }
        owners_fini(&owners);
    }
}

static void test_take_once(void **state)
{
    struct owners owners;
    struct holder a;
    (void)state;
    holder_init(&a);
    owners_init(&owners, &seed, 10, TTL, false);
    assert_null(owners_take(&owners, SLICE("k"), NOW).peer);
    set(&owners, "k", &a, NOW);
    set(&owners, "l", &a, NOW);
    assert_ptr_equal(owners_take(&owners, SLICE("k"), NOW + TTL - 1).peer, peer_of(&a));
    assert_null(owners_take(&owners, SLICE("k"), NOW + TTL - 1).peer);
    assert_null(find(&owners, "k", NOW + TTL - 1));
    assert_int_equal(entry_count(&a), 1);
    assert_null(owners_take(&owners, SLICE("l"), NOW + TTL).peer); // too old
    assert_int_equal(entry_count(&a), 0);
    owners_fini(&owners);
}

static void test_forget_peer(void **state)
{
    struct owners tables[3];
    struct holder a;
    struct holder b;
    (void)state;
    holder_init(&a);
    holder_init(&b);
    for (size_t i = 0; i < 3; i++) {
        owners_init(&tables[i], &seed, 10, TTL, i == 1);
        set(&tables[i], "a1", &a, NOW);
        set(&tables[i], "b", &b, NOW);
        set(&tables[i], "a2", &a, NOW);
    }
    owners_forget_peer(&a.entries);
    assert_true(list_empty(&a.entries));
    for (size_t i = 0; i < 3; i++) {
        assert_null(find(&tables[i], "a1", NOW));
        assert_null(find(&tables[i], "a2", NOW));
        assert_ptr_equal(find(&tables[i], "b", NOW), peer_of(&b));
        assert_int_equal(tables[i].entries.count, 1);
    }
    owners_forget_peer(&a.entries); // has none: nothing happens
    assert_int_equal(entry_count(&b), 3);
    owners_fini(&tables[0]); // a table ends before its owners
    assert_int_equal(entry_count(&b), 2);
    owners_forget_peer(&b.entries);
    owners_fini(&tables[1]);
    owners_fini(&tables[2]);
}

static void test_clear(void **state)
{
    struct owners owners;
    struct holder a;
    (void)state;
    holder_init(&a);
    owners_init(&owners, &seed, 10, TTL, false);
    owners_clear(&owners);
    set(&owners, "k", &a, NOW);
    set(&owners, "l", &a, NOW);
    owners_clear(&owners);
    assert_int_equal(owners.entries.count, 0);
    assert_true(list_empty(&a.entries));
    set(&owners, "k", &a, NOW); // and is as good as new
    assert_ptr_equal(find(&owners, "k", NOW), peer_of(&a));
    owners_fini(&owners);
}

#if WEIR_FAULTS
static void test_without_memory(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth <= 2; nth++) { // the entry, then the table
        struct owners owners;
        struct holder a;
        struct holder b;
        holder_init(&a);
        holder_init(&b);
        owners_init(&owners, &seed, 10, TTL, false);
        mem_fail_at(nth);
        enum weir_result result = owners_set(&owners, SLICE("k"), peer_of(&a), &a.entries, NOW);
        mem_fail_at(0);
        assert_int_equal(result, WEIR_MEMORY);
        assert_true(list_empty(&a.entries));
        assert_null(find(&owners, "k", NOW));
        set(&owners, "k", &a, NOW);
        mem_fail_at(1); // a new owner for an old key needs none
        set(&owners, "k", &b, NOW);
        result = owners_set(&owners, SLICE("l"), peer_of(&a), &a.entries, NOW);
        mem_fail_at(0);
        assert_int_equal(result, WEIR_MEMORY);
        assert_ptr_equal(find(&owners, "k", NOW), peer_of(&b));
        owners_fini(&owners);
    }
}
#endif

// An entry may be another relay's; the relay's name is kept as long as an entry, or who took one,
// needs it.
static void test_remote(void **state)
{
    struct map remotes;
    struct owners owners;
    struct holder a;
    (void)state;
    holder_init(&a);
    map_init(&remotes, &seed);
    owners_init(&owners, &seed, 10, TTL, false);
    struct remote *remote = remote_ref(&remotes, SLICE("relay-b"), 7);
    assert_ptr_equal(remote_ref(&remotes, SLICE("relay-b"), 8), remote);
    assert_int_equal(remote->route, 8);
    remote_unref(remote);
    assert_int_equal(owners_set_remote(&owners, SLICE("k"), remote, NOW), WEIR_OK);
    assert_int_equal(owners_set_remote(&owners, SLICE("l"), remote, NOW), WEIR_OK);
    remote_unref(remote);
    assert_int_equal(remotes.count, 1);
    assert_ptr_equal(owners_find(&owners, SLICE("k"), NOW).remote, remote);
    assert_null(owners_find(&owners, SLICE("k"), NOW).peer);
    // From one owner to another, and to the same again.
    set(&owners, "k", &a, NOW);
    assert_null(owners_find(&owners, SLICE("k"), NOW).remote);
    assert_int_equal(owners_set_remote(&owners, SLICE("l"), remote, NOW), WEIR_OK);
    assert_int_equal(remote->refs, 1);
    struct owner taken = owners_take(&owners, SLICE("l"), NOW);
    assert_ptr_equal(taken.remote, remote);
    assert_true(slice_eq(remote_id(taken.remote), SLICE("relay-b")));
    remote_unref(taken.remote);
    assert_int_equal(remotes.count, 0);
    remote = remote_ref(&remotes, SLICE("relay-c"), 0);
    assert_int_equal(owners_set_remote(&owners, SLICE("k"), remote, NOW), WEIR_OK);
    assert_true(list_empty(&a.entries));
    remote_unref(remote);
    owners_fini(&owners);
    assert_int_equal(remotes.count, 0);
    map_fini(&remotes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_key_is_copied),
        cmocka_unit_test(test_new_owner),
        cmocka_unit_test(test_ttl),
        cmocka_unit_test(test_old_ones_are_dropped),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_take_once),
        cmocka_unit_test(test_forget_peer),
        cmocka_unit_test(test_clear),
#if WEIR_FAULTS
        cmocka_unit_test(test_without_memory),
#endif
        cmocka_unit_test(test_remote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
