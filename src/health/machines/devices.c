// SPDX-License-Identifier: Apache-2.0
// 1. `all` and `by_name` hold the same devices: one for each machine that the registry declares.
// 2. A probe knows its machine by name: the device may be gone when it ends.
// 3. A round of probes that has not come to its end when the next is due goes on instead of it.
#include "health/machines/devices.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/host.h"

#define PROBES_MAX 10 // spec section 5.4
#define PROC_FILE_MAX 65536
#define FIRST_LOOK_NS NS_PER_S
#define AGE_LOOK_NS (5 * NS_PER_S)
#define BYTES_PER_GB (1024.0 * 1024.0 * 1024.0)

struct device *devices_find(const struct devices *devices, struct slice name)
{
    struct map_node *node = map_find(&devices->by_name, name);
    return node == NULL ? NULL : container_of(node, struct device, node);
}

static void tell(struct devices *devices, struct device *device, enum device_status old)
{
    if (devices->options.heard != NULL) {
        devices->options.heard(devices->options.arg, device, old);
    }
}

static void hear(struct devices *devices, struct device *device, const struct device_sample *sample)
{
    enum device_status old = device->status;
    device->status = DEVICE_OK;
    device->error[0] = '\0';
    device->seen_wall_ms = sys_wall_ms();
    device->seen_ns = worker_now(devices->worker);
    if (sample != NULL) {
        devices->samples++;
        device_add(device, sample);
    }
    tell(devices, device, old);
}

static void fail(struct devices *devices, struct device *device, const char *problem)
{
    enum device_status old = device->status;
    device->status = DEVICE_ERROR;
    snprintf(device->error, sizeof device->error, "%s", problem);
    tell(devices, device, old);
}

void devices_heartbeat(
    struct devices *devices, struct device *device, const struct device_sample *sample)
{
    device->heartbeats++;
    hear(devices, device, sample);
}

// ---- This machine

static struct buf read_proc(const char *path)
{
    struct buf text = BUF_INIT(PROC_FILE_MAX);
    // A file that cannot be read is a source that is missing.
    enum weir_result ignored = sys_file_read(path, PROC_FILE_MAX, &text);
    (void)ignored;
    return text;
}

static struct device_cpu read_cpu(void)
{
    struct device_cpu cpu;
    struct buf text = read_proc("/proc/stat");
    counters_read_stat(buf_slice(&text), &cpu);
    buf_reset(&text);
    return cpu;
}

static void read_part(struct device_sample *sample, const char *path,
    void (*take)(struct slice text, struct device_sample *sample))
{
    struct buf text = read_proc(path);
    take(buf_slice(&text), sample);
    buf_reset(&text);
}

static struct device_sample look_here(struct devices *devices)
{
    struct device_sample sample = device_sample_empty(sys_wall_ms());
    struct device_cpu cpu = read_cpu();
    struct sys_disk disk;
    sample.cpu_percent = counters_cpu_percent(&devices->cpu, &cpu);
    devices->cpu = cpu;
    read_part(&sample, "/proc/meminfo", counters_read_meminfo);
    read_part(&sample, "/proc/net/dev", counters_read_net);
    read_part(&sample, "/proc/loadavg", counters_read_loadavg);
    if (sys_disk_look("/", &disk) == WEIR_OK && disk.total_bytes > 0) {
        sample.disk_total_gb = (double)disk.total_bytes / BYTES_PER_GB;
        sample.disk_used_gb = (double)disk.used_bytes / BYTES_PER_GB;
    }
    return sample;
}

static void look_local(struct devices *devices)
{
    struct device_sample sample = look_here(devices);
    for (size_t i = 0; i < devices->count; i++) {
        if (devices->all[i]->machine->local) {
            hear(devices, devices->all[i], &sample);
        }
    }
}

static void on_local_look(struct timer *timer)
{
    struct devices *devices = container_of(timer, struct devices, local_look);
    look_local(devices);
    worker_arm_in(devices->worker, timer, devices->options.interval_ns);
}

bool devices_look_now(struct devices *devices, struct device *device)
{
    bool local = device->machine->local;
    if (local) {
        look_local(devices);
    }
    return local;
}

// ---- Other machines

static bool is_to_be_asked(const struct machine *machine)
{
    return !machine->local && !machine->disabled && machine->ssh_host != NULL;
}

static void ask_next(struct devices *devices);

static void on_probed(
    void *arg, struct slice machine, const struct device_sample *sample, const char *problem)
{
    struct devices *devices = arg;
    struct device *device = devices_find(devices, machine);
    devices->probe_count--;
    if (device != NULL && sample != NULL) {
        hear(devices, device, sample);
    } else if (device != NULL) {
        fail(devices, device, problem);
    }
    ask_next(devices);
}

static void ask_next(struct devices *devices)
{
    while (devices->next_remote < devices->count && devices->probe_count < PROBES_MAX) {
        struct device *device = devices->all[devices->next_remote++];
        char problem[DEVICE_ERROR_SIZE];
        if (!is_to_be_asked(device->machine)) {
            continue;
        }
        if (device_probe_start(devices->worker, &devices->probes, device->machine,
                devices->options.ssh_dir, on_probed, devices, problem, sizeof problem) != NULL) {
            devices->probe_count++;
        } else {
            fail(devices, device, problem);
        }
    }
}

static void on_remote_look(struct timer *timer)
{
    struct devices *devices = container_of(timer, struct devices, remote_look);
    if (devices->next_remote >= devices->count && devices->probe_count == 0) {
        devices->next_remote = 0;
        ask_next(devices);
    }
    worker_arm_in(devices->worker, timer, devices->options.remote_interval_ns);
}

// ---- Age

static void on_age_look(struct timer *timer)
{
    struct devices *devices = container_of(timer, struct devices, age_look);
    uint64_t now_ns = worker_now(devices->worker);
    for (size_t i = 0; i < devices->count; i++) {
        struct device *device = devices->all[i];
        if (device->status == DEVICE_OK &&
            now_ns - device->seen_ns > devices->options.heartbeat_timeout_ns) {
            device->status = DEVICE_OFFLINE;
            snprintf(device->error, sizeof device->error, "nothing was heard for %llu s",
                (unsigned long long)((now_ns - device->seen_ns) / NS_PER_S));
            tell(devices, device, DEVICE_OK);
        }
    }
    uint64_t wait_ns = devices->options.heartbeat_timeout_ns / 4 + 1;
    worker_arm_in(devices->worker, timer, wait_ns < AGE_LOOK_NS ? wait_ns : AGE_LOOK_NS);
}

// ---- The registry

static enum weir_result add_device(struct devices *devices, const struct machine *machine)
{
    struct slice name = slice_str(machine->name);
    struct device *device = devices_find(devices, name);
    if (device != NULL) {
        device->machine = machine;
        return WEIR_OK;
    }
    struct device **all = mem_realloc(devices->all, (devices->count + 1) * sizeof *all);
    if (all == NULL) {
        return WEIR_MEMORY;
    }
    devices->all = all;
    device = device_new(name);
    if (device == NULL ||
        map_insert(&devices->by_name, &device->node, slice_str(device->name)) != WEIR_OK) {
        device_free(device);
        return WEIR_MEMORY;
    }
    device->machine = machine;
    devices->all[devices->count++] = device;
    if (devices->options.met != NULL) {
        devices->options.met(devices->options.arg, device);
    }
    return WEIR_OK;
}

static void remove_strangers(struct devices *devices)
{
    size_t kept = 0;
    for (size_t i = 0; i < devices->count; i++) {
        struct device *device = devices->all[i];
        if (device->machine != NULL) {
            devices->all[kept++] = device;
        } else {
            map_remove(&devices->by_name, &device->node);
            device_free(device);
        }
    }
    devices->count = kept;
    devices->next_remote = kept; // a round that was under way ends here
}

enum weir_result devices_follow(struct devices *devices)
{
    const struct registry *registry = devices->options.monitor->registry;
    enum weir_result result = WEIR_OK;
    for (size_t i = 0; i < devices->count; i++) {
        devices->all[i]->machine = NULL;
    }
    for (size_t i = 0; i < registry->machine_count && result == WEIR_OK; i++) {
        if (registry->machines[i].declared) {
            result = add_device(devices, &registry->machines[i]);
        }
    }
    remove_strangers(devices);
    return result;
}

// ---- What is known

static enum view_reachable reachable_of(const struct device *device)
{
    static const enum view_reachable of[DEVICE_STATUS_COUNT] = {
        [DEVICE_UNAVAILABLE] = VIEW_NOT_ASKED,
        [DEVICE_OK] = VIEW_REACHABLE,
        [DEVICE_ERROR] = VIEW_UNREACHABLE,
        [DEVICE_OFFLINE] = VIEW_UNREACHABLE,
    };
    return of[device->status];
}

void devices_fill_view(const struct devices *devices, struct view *view)
{
    for (size_t i = 0; i < view->machine_count; i++) {
        struct view_machine *row = &view->machines[i];
        const struct device *device = devices_find(devices, slice_str(row->machine));
        const struct device_sample *sample = device == NULL ? NULL : device_newest(device, 0);
        if (device == NULL) {
            continue;
        }
        row->reachable = reachable_of(device);
        if (sample != NULL && device->status == DEVICE_OK) {
            row->cpu_percent = sample->cpu_percent;
            row->memory_percent = device_memory_percent(sample);
            row->disk_percent = device_disk_percent(sample);
            row->load1 = sample->load1;
        }
    }
}

void devices_forget(struct devices *devices, uint64_t before_wall_ms)
{
    for (size_t i = 0; i < devices->count; i++) {
        device_forget(devices->all[i], before_wall_ms);
    }
}

// ---- Life

void devices_set_interval(struct devices *devices, uint64_t interval_ns)
{
    devices->options.interval_ns = interval_ns;
    worker_arm_in(devices->worker, &devices->local_look, interval_ns);
}

enum weir_result devices_start(
    struct devices *devices, struct worker *worker, const struct devices_options *options)
{
    *devices = (struct devices){.worker = worker, .options = *options};
    map_init(&devices->by_name, &worker->seed);
    list_init(&devices->probes);
    timer_init(&devices->local_look, on_local_look);
    timer_init(&devices->remote_look, on_remote_look);
    timer_init(&devices->age_look, on_age_look);
    devices->cpu = read_cpu();
    uint64_t first_ns = options->interval_ns < FIRST_LOOK_NS ? options->interval_ns : FIRST_LOOK_NS;
    worker_arm_in(worker, &devices->local_look, first_ns);
    worker_arm_in(worker, &devices->age_look, AGE_LOOK_NS);
    if (options->remote_interval_ns > 0) {
        worker_arm_in(worker, &devices->remote_look, first_ns);
    }
    return devices_follow(devices);
}

void devices_stop(struct devices *devices)
{
    if (devices->worker == NULL) {
        return;
    }
    device_probes_stop(&devices->probes);
    worker_settle(devices->worker);
    weir_assert(list_empty(&devices->probes));
    timer_cancel(&devices->local_look);
    timer_cancel(&devices->remote_look);
    timer_cancel(&devices->age_look);
    for (size_t i = 0; i < devices->count; i++) {
        device_free(devices->all[i]);
    }
    mem_free(devices->all);
    map_fini(&devices->by_name);
    *devices = (struct devices){0};
}
