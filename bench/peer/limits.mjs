// SPDX-License-Identifier: Apache-2.0
// Limiters (docs/spec/relay.md, section 7.7): a fixed window and a token bucket, both keyed, both
// bounded in keys.

class Keyed {
  #keys = new Map();
  #max;

  constructor(max) {
    this.#max = max;
  }

  state(key, make) {
    let state = this.#keys.get(key);
    if (state === undefined) {
      if (this.#keys.size >= this.#max) this.#keys.delete(this.#keys.keys().next().value);
      state = make();
      this.#keys.set(key, state);
    }
    return state;
  }
}

export class Window {
  #keyed;
  #perMinute;

  constructor(perMinute, maxKeys) {
    this.#keyed = new Keyed(maxKeys);
    this.#perMinute = perMinute;
  }

  take(key) {
    const now = Date.now();
    const state = this.#keyed.state(key, () => ({ count: 0, resetAt: now + 60_000 }));
    if (now >= state.resetAt) {
      state.count = 0;
      state.resetAt = now + 60_000;
    }
    state.count += 1;
    return state.count <= this.#perMinute;
  }
}

export class Bucket {
  #keyed;
  #perMinute;

  constructor(perMinute, maxKeys) {
    this.#keyed = new Keyed(maxKeys);
    this.#perMinute = perMinute;
  }

  take(key) {
    const now = Date.now();
    const state = this.#keyed.state(key, () => ({ tokens: this.#perMinute, at: now }));
    const refill = ((now - state.at) * this.#perMinute) / 60_000;
    state.tokens = Math.min(this.#perMinute, state.tokens + refill);
    state.at = now;
    if (state.tokens < 1) return false;
    state.tokens -= 1;
    return true;
  }
}
