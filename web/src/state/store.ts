// SPDX-License-Identifier: Apache-2.0
// Everything the page shows, in one place: tables that the monitor's socket tells, or, where none gets
// through, a document with the same that is asked for every five seconds. Views subscribe; nothing else
// keeps state of the monitor's.

import { useEffect, useState } from 'preact/hooks';
import { get, Refused, words } from '../net/api';
import { live, type Live, type Message } from '../net/live';
import { Tables } from './tables';
import {
  keyOf,
  type Dashboard,
  type Event,
  type EventRow,
  type Heatmap,
  type Machine,
  type MachineRow,
  type ResultRow,
  type Service,
  type ServiceRow,
  type Strip,
  type Summary,
} from './types';

const ASK_MS = 5000;
const FIRST_ASK_MS = 1500; // when the socket has told nothing by then
const STRIPS_MS = 60_000;
const STRIPS_AT_ONCE = 40;
const HEATMAP_MS = 300_000;

export type Connection = 'connecting' | 'live' | 'polling' | 'offline';

export interface State {
  tables: Tables;
  at: string | null; // of the last word
  dashboard: Dashboard | null;
  events: Event[];
  heatmap: Heatmap | null;
  roles: Map<string, string[]>;
  strips: Map<string, { strip: Strip; at: number }>;
  connection: Connection;
  wantsToken: boolean;
  problem: string | null;
}

const empty = (): State => ({
  tables: new Tables(),
  at: null,
  dashboard: null,
  events: [],
  heatmap: null,
  roles: new Map(),
  strips: new Map(),
  connection: 'connecting',
  wantsToken: false,
  problem: null,
});

// ---- Rows put together

const NO_RESULT: ResultRow = { last_checked: null, latency_ms: null, response_time_ms: null, uptime_24h: null };

// In the order of the machines, as the banner's row has them.
function sortedKeys(services: ReadonlyMap<string, ServiceRow>, machines: Machine[]): string[] {
  const places = new Map(machines.map((machine, place) => [machine.machine, place]));
  const place = (row: ServiceRow): number => places.get(row.machine) ?? places.size;
  const collator = new Intl.Collator();
  return [...services]
    .sort(([, a], [, b]) => place(a) - place(b) || collator.compare(a.service, b.service))
    .map(([key]) => key);
}

// Puts services together, again only those whose rows have changed, and sorts only when one came or
// went: thousands are told of four times a second.
class Joined {
  private keys: string[] = [];
  private order = '';
  private services = new Map<string, { row: ServiceRow; result: ResultRow; joined: Service }>();

  join(tables: Tables, machines: Machine[]): Service[] {
    const rows = tables.table<ServiceRow>('services');
    const results = tables.table<ResultRow>('results');
    const order = machines.map((machine) => machine.machine).join('\n');
    if (order !== this.order || rows.size !== this.keys.length || this.keys.some((key) => !rows.has(key))) {
      this.order = order;
      this.keys = sortedKeys(rows, machines);
      this.services.forEach((_, key) => rows.has(key) || this.services.delete(key));
    }
    return this.keys.map((key) => {
      const row = rows.get(key) as ServiceRow;
      const result = results.get(key) ?? NO_RESULT;
      const known = this.services.get(key);
      if (known !== undefined && known.row === row && known.result === result) {
        return known.joined;
      }
      const joined = { ...row, ...result };
      this.services.set(key, { row, result, joined });
      return joined;
    });
  }
}

function machinesOf(tables: Tables): Machine[] {
  const checked = new Map<string, string>();
  const results = tables.table<ResultRow>('results');
  tables.table<ServiceRow>('services').forEach((row, key) => {
    const time = results.get(key)?.last_checked ?? null;
    if (time !== null && time > (checked.get(row.machine) ?? '')) {
      checked.set(row.machine, time);
    }
  });
  return [...tables.table<MachineRow>('machines').values()]
    .sort((a, b) => a.place - b.place)
    .map((row) => ({ ...row, last_checked: checked.get(row.machine) ?? null }));
}

function eventsOf(tables: Tables): Event[] {
  return [...tables.table<EventRow>('events')]
    .sort(([a], [b]) => Number(b) - Number(a))
    .map(([id, row]) => ({ ...row, id, event_type: row.kind, timestamp: row.time, message: row.words }));
}

// ---- The store

export class Store {
  state: State = empty();
  private readonly listeners = new Set<() => void>();
  private joined = new Joined();
  private socket: Live | null = null;
  private made = -1; // the revision of what was made of the tables
  private told = false; // by the socket that is open
  private asking = false;
  private timers: number[] = [];

  start(): void {
    this.stop();
    void this.loadSlow();
    this.timers = [
      window.setTimeout(() => void this.refresh(), FIRST_ASK_MS),
      window.setInterval(() => void this.refresh(), ASK_MS),
      window.setInterval(() => void this.loadSlow(), HEATMAP_MS),
    ];
    this.socket = live(
      (message) => this.hear(message),
      () => {
        this.told = false;
        void this.refresh();
      },
    );
  }

  stop(): void {
    this.socket?.close();
    this.socket = null;
    this.told = false;
    this.timers.forEach((timer) => window.clearInterval(timer));
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private set(changes: Partial<State>): void {
    this.state = { ...this.state, ...changes };
    this.listeners.forEach((listener) => listener());
  }

  private hear(message: Message): boolean {
    const { tables } = this.state;
    if (!tables.take(message)) {
      return false;
    }
    if (tables.whole) {
      this.told = true;
      this.show('live');
    }
    return true;
  }

  // What is made of rows is made again only when they have changed, so that a view can tell by it.
  private remade(): Partial<State> {
    const { tables } = this.state;
    const revision = tables.revision('summary', 'services', 'results', 'machines', 'events', 'roles');
    const summary = tables.table<Summary>('summary').get('now');
    if (revision === this.made || summary === undefined) {
      return {};
    }
    this.made = revision;
    const machines = machinesOf(tables);
    const services = this.joined.join(tables, machines);
    return {
      dashboard: { ...summary, services, machines },
      events: eventsOf(tables),
      roles: new Map(tables.table<string[]>('roles')),
    };
  }

  private show(connection: Connection): void {
    this.set({
      ...this.remade(),
      at: this.state.tables.at,
      connection,
      problem: null,
      wantsToken: false,
    });
  }

  private fail(error: unknown): void {
    if (error instanceof Refused && error.status === 401) {
      this.stop();
      this.set({ wantsToken: true });
      return;
    }
    this.set({ problem: words(error), connection: error instanceof Refused ? 'polling' : 'offline' });
  }

  // Asks for everything, unless the socket tells it.
  async refresh(): Promise<void> {
    if (this.told || this.asking) {
      return;
    }
    this.asking = true;
    try {
      const document = await get<Message>('api/page');
      if (!this.told) {
        const wasAway = this.state.connection === 'offline';
        this.state.tables.take(document);
        this.show('polling');
        if (wasAway) {
          this.socket?.retry();
        }
      }
    } catch (error) {
      if (!this.told) {
        this.fail(error);
      }
    } finally {
      this.asking = false;
    }
  }

  private async loadSlow(): Promise<void> {
    try {
      const heatmap = await get<Heatmap>('api/health/heatmap?days=30');
      this.set({ heatmap });
    } catch {
      // Whether the monitor is there, and who may ask it, is told with everything else.
    }
  }

  // For the rows that are in sight.
  async wantStrips(rows: { service: string; machine: string }[]): Promise<void> {
    const now = Date.now();
    const missing = rows
      .filter((row) => now - (this.state.strips.get(keyOf(row))?.at ?? 0) > STRIPS_MS)
      .slice(0, STRIPS_AT_ONCE);
    if (missing.length === 0) {
      return;
    }
    const strips = new Map(this.state.strips);
    const blank = { latency_ms: [], day: '' };
    missing.forEach((row) => {
      const known = strips.get(keyOf(row))?.strip;
      strips.set(keyOf(row), { strip: known ?? { ...row, ...blank }, at: now });
    });
    this.set({ strips });
    try {
      const query = missing.map((row) => encodeURIComponent(keyOf(row))).join(',');
      const found = await get<{ strips: Strip[] }>(`api/health/strips?of=${query}`);
      const filled = new Map(this.state.strips);
      found.strips.forEach((strip) => filled.set(keyOf(strip), { strip, at: now }));
      this.set({ strips: filled });
    } catch {
      // Asked for again in a minute; until then the rows are without their pictures.
    }
  }
}

export const store = new Store();

export function useStore(): State {
  const [state, setState] = useState(store.state);
  useEffect(() => store.subscribe(() => setState(store.state)), []);
  return state;
}
