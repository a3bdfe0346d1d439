// SPDX-License-Identifier: Apache-2.0
// A process check on this machine: the pid file names a living process. Everything is read at once;
// there is nothing to wait for. A zombie is dead: it serves nobody.
#include "base/number.h"
#include "health/checks/check_internal.h"
#include "sys/file.h"
#include "sys/spawn.h"

#define PID_FILE_LEN_MAX 32
#define KERNEL_NAME_LEN 15 // of a process's name the kernel keeps so much

static void look(struct check *check, int pid)
{
    struct sys_process process;
    const char *wanted = check->spec->process_name;
    enum weir_result result = sys_process_look(pid, &process);
    if (result == WEIR_NOT_FOUND) {
        check_end(check, OUTCOME_PROCESS, "pid %d not running", pid);
    } else if (result != WEIR_OK) {
        check_end(check, OUTCOME_PROCESS, "pid %d: %s", pid, weir_result_text(result));
    } else if (process.state == 'Z' || process.state == 'X') {
        check_end(check, OUTCOME_PROCESS, "pid %d is a zombie", pid);
    } else if (wanted != NULL && strncmp(wanted, process.name, KERNEL_NAME_LEN) != 0) {
        check_end(check, OUTCOME_PROCESS, "pid %d is %s, expected %s", pid, process.name, wanted);
    } else {
        check_end(check, OUTCOME_PASS, "pid %d is running", pid);
    }
}

static void start(struct check *check)
{
    struct buf text = BUF_INIT(PID_FILE_LEN_MAX + 1);
    uint64_t pid = 0;
    enum weir_result result = sys_file_read_plain(check->spec->pid_file, PID_FILE_LEN_MAX, &text);
    enum weir_result number =
        number_parse_u64(slice_trim(buf_slice(&text)), (uint64_t)sys_pid_max(), &pid);
    buf_reset(&text);
    if (result == WEIR_NOT_FOUND) {
        check_end(check, OUTCOME_PROCESS, "pid file missing");
    } else if (result == WEIR_INVALID) {
        check_end(check, OUTCOME_PROCESS, "pid file is no plain file");
    } else if (result != WEIR_OK && result != WEIR_TOO_LARGE) {
        check_end(check, OUTCOME_PROCESS, "pid file: %s", weir_result_text(result));
    } else if (result == WEIR_TOO_LARGE || number != WEIR_OK || pid < 2) {
        check_end(check, OUTCOME_PROCESS, "pid file does not hold a process id");
    } else {
        look(check, (int)pid);
    }
}

static void expire(struct check *check)
{
    check_end_timeout(check, "");
}

static void stop(struct check *check)
{
    check_gone(check);
}

const struct check_kind check_process = {sizeof(struct check), start, expire, stop};
