// SPDX-License-Identifier: Apache-2.0
// Level L holds timers that are less than 64^(L+1) ticks away, in the slot of their tick's L-th
// base-64 digit. When the tick counter's lower digits wrap to zero, the level above hands the slot
// of its digit down.
//
// Invariants:
// 1. A timer on level L fires no sooner than 64^L ticks after the wheel's tick at its arming.
// 2. The slot a level-L timer sits in is reached before its tick is.
// 3. wheel_next_ns never lies behind the next tick at which something fires or is handed down.
#include "loop/timer.h"

#include "base/time.h"

#define TICK_SHIFT 23
#define DIGIT_BITS 6
#define DIGIT_MASK (WHEEL_SLOTS - 1)

void wheel_init(struct wheel *wheel, uint64_t now_ns)
{
    wheel->tick = now_ns >> TICK_SHIFT;
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (int slot = 0; slot < WHEEL_SLOTS; slot++) {
            list_init(&wheel->slots[level][slot]);
        }
    }
}

void timer_init(struct timer *timer, timer_fn *fire)
{
    list_init(&timer->node);
    timer->fire = fire;
}

static void place(struct wheel *wheel, struct timer *timer)
{
    uint64_t distance = timer->tick - wheel->tick;
    unsigned level = 0;
    while (level < WHEEL_LEVELS - 1 && distance >> (DIGIT_BITS * (level + 1)) != 0) {
        level++;
    }
    uint64_t tick = timer->tick;
    uint64_t farthest = wheel->tick + (UINT64_C(1) << (DIGIT_BITS * WHEEL_LEVELS)) - 1;
    if (tick > farthest) {
        tick = farthest; // handed down again from there
    }
    unsigned slot = (unsigned)(tick >> (DIGIT_BITS * level)) & DIGIT_MASK;
    list_push_back(&wheel->slots[level][slot], &timer->node);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

void wheel_arm(struct wheel *wheel, struct timer *timer, uint64_t deadline_ns)
{
    timer_cancel(timer);
    if (deadline_ns == TIME_NEVER) {
        return;
    }
    uint64_t tick =
        (deadline_ns >> TICK_SHIFT) + ((deadline_ns & ((UINT64_C(1) << TICK_SHIFT) - 1)) != 0);
    timer->tick = tick > wheel->tick ? tick : wheel->tick + 1;
    place(wheel, timer);
}

void timer_cancel(struct timer *timer)
{
    list_remove(&timer->node);
}

// Ticks from now to the next occupied slot of a level, in units of that level: 1 to 64.
static unsigned slots_ahead(uint64_t occupied, unsigned current)
{
    unsigned turn = (current + 1) & DIGIT_MASK;
    uint64_t ahead = turn == 0 ? occupied : (occupied >> turn) | (occupied << (64 - turn));
    return (unsigned)__builtin_ctzll(ahead) + 1;
}

static uint64_t next_tick(const struct wheel *wheel)
{
    uint64_t next = UINT64_MAX;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (wheel->occupied[level] == 0) {
            continue;
        }
        uint64_t current = wheel->tick >> (DIGIT_BITS * level);
        unsigned ahead = slots_ahead(wheel->occupied[level], (unsigned)current & DIGIT_MASK);
        uint64_t tick = (current + ahead) << (DIGIT_BITS * level);
        next = tick < next ? tick : next;
    }
    return next;
}

static void take_slot(struct wheel *wheel, unsigned level, struct list *taken)
{
    unsigned slot = (unsigned)(wheel->tick >> (DIGIT_BITS * level)) & DIGIT_MASK;
    struct list *from = &wheel->slots[level][slot];
    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
    for (struct list *node = list_pop_front(from); node != NULL; node = list_pop_front(from)) {
        list_push_back(taken, node);
    }
}

static void hand_down(struct wheel *wheel)
{
    for (unsigned level = 1; level < WHEEL_LEVELS; level++) {
        if ((wheel->tick & ((UINT64_C(1) << (DIGIT_BITS * level)) - 1)) != 0) {
            return;
        }
        struct list moved;
        list_init(&moved);
        take_slot(wheel, level, &moved);
        for (struct list *node = list_pop_front(&moved); node; node = list_pop_front(&moved)) {
            place(wheel, container_of(node, struct timer, node));
        }
    }
}

static void fire_due(struct wheel *wheel)
{
    struct list due;
    list_init(&due);
    take_slot(wheel, 0, &due);
    for (struct list *node = list_pop_front(&due); node != NULL; node = list_pop_front(&due)) {
        struct timer *timer = container_of(node, struct timer, node);
        timer->fire(timer);
    }
}

void wheel_advance(struct wheel *wheel, uint64_t now_ns)
{
    uint64_t target = now_ns >> TICK_SHIFT;
    while (wheel->tick < target) {
        uint64_t next = next_tick(wheel);
        if (next > target) {
            wheel->tick = target;
            return;
        }
        wheel->tick = next;
        hand_down(wheel);
        fire_due(wheel);
    }
}

uint64_t wheel_next_ns(const struct wheel *wheel)
{
    uint64_t tick = next_tick(wheel);
    return tick == UINT64_MAX ? TIME_NEVER : tick << TICK_SHIFT;
}
