// SPDX-License-Identifier: Apache-2.0
#include "sys/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char dir[128];
    char path[160];
    char temporary[192]; // what is written first
    char other[160];
};

static void place_make(struct place *place)
{
    const char *base = getenv("TMPDIR");
    snprintf(place->dir, sizeof place->dir, "%s/weir-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(place->dir));
    snprintf(place->path, sizeof place->path, "%s/secret", place->dir);
    snprintf(place->temporary, sizeof place->temporary, "%s.%d.new", place->path, (int)getpid());
    snprintf(place->other, sizeof place->other, "%s/other", place->dir);
}

static void place_remove(const struct place *place)
{
    unlink(place->path);
    unlink(place->other);
    assert_int_equal(rmdir(place->dir), 0);
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void expect(const char *path, const char *text)
{
    struct buf found = BUF_INIT(64);
    assert_int_equal(sys_file_read(path, 64, &found), WEIR_OK);
    assert_true(slice_eq(buf_slice(&found), slice_str(text)));
    buf_reset(&found);
}

static void test_a_link_in_the_way_leads_nowhere(void **unused)
{
    (void)unused;
    struct place place;
    place_make(&place);
    put(place.other, "kept");
    assert_int_equal(symlink(place.other, place.temporary), 0);
    assert_int_equal(sys_file_write_private(place.path, SLICE("new")), WEIR_OK);
    expect(place.other, "kept");
    expect(place.path, "new");
    place_remove(&place);
}

static void test_a_file_in_the_way_does_not_lend_its_mode(void **unused)
{
    (void)unused;
    struct place place;
    struct stat status;
    place_make(&place);
    put(place.temporary, "of a process that died");
    assert_int_equal(chmod(place.temporary, 0666), 0);
    assert_int_equal(sys_file_write_private(place.path, SLICE("new")), WEIR_OK);
    assert_int_equal(stat(place.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    expect(place.path, "new");
    place_remove(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_link_in_the_way_leads_nowhere),
        cmocka_unit_test(test_a_file_in_the_way_does_not_lend_its_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
