// SPDX-License-Identifier: Apache-2.0
// Cells: one daemon and its clients, and the tables that say which client an answer belongs to
// (docs/spec/relay.md, sections 5.2 and 7.3).

const requestsMax = 2048;
const requestTtlMs = 120_000;
const ownersMax = 4096;
const ownerTtlMs = 30 * 60_000;

// An insertion-ordered map with an age and a size limit.
class OwnerTable {
  #entries = new Map();
  #max;
  #ttlMs;

  constructor(max, ttlMs) {
    this.#max = max;
    this.#ttlMs = ttlMs;
  }

  set(key, owner) {
    if (this.#entries.has(key)) this.#remove(this.#entries.get(key));
    if (this.#entries.size >= this.#max) this.#remove(this.#entries.values().next().value);
    const entry = { table: this, key, owner, usedAt: Date.now() };
    this.#entries.set(key, entry);
    owner.entries.add(entry);
  }

  // The owner, whose entry is young again; undefined when there is none.
  touch(key) {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const now = Date.now();
    if (now - entry.usedAt > this.#ttlMs) {
      this.#remove(entry);
      return undefined;
    }
    entry.usedAt = now;
    return entry.owner;
  }

  take(key) {
    const owner = this.touch(key);
    if (owner !== undefined) this.#remove(this.#entries.get(key));
    return owner;
  }

  clear() {
    for (const entry of this.#entries.values()) this.#remove(entry);
  }

  #remove(entry) {
    this.#entries.delete(entry.key);
    entry.owner.entries.delete(entry);
  }

  static removeAllOf(owner) {
    for (const entry of owner.entries) entry.table.#remove(entry);
  }
}

class Cell {
  daemon = null;
  daemonGeneration = undefined;
  clients = new Set();
  keyExchanges = new OwnerTable(requestsMax, requestTtlMs);
  pairings = new OwnerTable(requestsMax, requestTtlMs);
  sessions = new OwnerTable(ownersMax, ownerTtlMs);

  constructor(key, workspaceId, runtimeTargetId) {
    this.key = key;
    this.workspaceId = workspaceId;
    this.runtimeTargetId = runtimeTargetId;
  }

  clearTables() {
    this.keyExchanges.clear();
    this.pairings.clear();
    this.sessions.clear();
  }
}

export class Registry {
  #cells = new Map();

  static key(workspaceId, runtimeTargetId) {
    return runtimeTargetId ? `${workspaceId}:${runtimeTargetId}` : workspaceId;
  }

  clientCount(key) {
    return this.#cells.get(key)?.clients.size ?? 0;
  }

  join(workspaceId, runtimeTargetId) {
    const key = Registry.key(workspaceId, runtimeTargetId);
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      cell = new Cell(key, workspaceId, runtimeTargetId);
      this.#cells.set(key, cell);
    }
    return cell;
  }

  leave(peer) {
    const { cell } = peer;
    if (cell.daemon === peer) {
      cell.daemon = null;
      cell.clearTables();
    }
    cell.clients.delete(peer);
    OwnerTable.removeAllOf(peer);
    if (cell.daemon === null && cell.clients.size === 0) this.#cells.delete(cell.key);
  }
}
