// SPDX-License-Identifier: Apache-2.0
// Everything the page shows, in one place: a snapshot of the dashboard, changed by what the socket
// tells until the next one. Views subscribe; nothing else keeps state of the monitor's.

import { useEffect, useState } from 'preact/hooks';
import { get, Refused, words } from '../net/api';
import { live, type Live, type Message } from '../net/live';
import { keyOf, type Dashboard, type Event, type Heatmap, type Status, type Strip } from './types';

const SNAPSHOT_MS = 5000; // also while the socket tells: ages and scores change without an event
const STRIPS_MS = 60_000;
const STRIPS_AT_ONCE = 40;
const EVENTS_KEPT = 200;
const HEATMAP_MS = 300_000;

export type Connection = 'connecting' | 'live' | 'polling' | 'offline';

export interface State {
  dashboard: Dashboard | null;
  events: Event[];
  heatmap: Heatmap | null;
  roles: Map<string, string[]>;
  strips: Map<string, { strip: Strip; at: number }>;
  connection: Connection;
  wantsToken: boolean;
  problem: string | null;
}

export class Store {
  state: State = {
    dashboard: null,
    events: [],
    heatmap: null,
    roles: new Map(),
    strips: new Map(),
    connection: 'connecting',
    wantsToken: false,
    problem: null,
  };
  private readonly listeners = new Set<() => void>();
  private socket: Live | null = null;
  private socketOpen = false;
  private answered = true;
  private timers: number[] = [];

  start(): void {
    this.stop();
    void this.refresh();
    void this.loadSlow();
    this.timers = [
      window.setInterval(() => void this.refresh(), SNAPSHOT_MS),
      window.setInterval(() => void this.loadSlow(), HEATMAP_MS),
    ];
    this.socket = live(
      (message) => this.hear(message),
      (open) => {
        this.socketOpen = open;
        if (open) {
          void this.refresh();
        }
        this.judge();
      },
    );
  }

  stop(): void {
    this.socket?.close();
    this.socket = null;
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

  private judge(): void {
    const connection = !this.answered ? 'offline' : this.socketOpen ? 'live' : 'polling';
    if (connection !== this.state.connection) {
      this.set({ connection });
    }
  }

  private fail(error: unknown): void {
    if (error instanceof Refused && error.status === 401) {
      this.stop();
      this.set({ wantsToken: true });
      return;
    }
    this.answered = error instanceof Refused;
    this.set({ problem: words(error) });
    this.judge();
  }

  async refresh(): Promise<void> {
    try {
      const [dashboard, timeline] = await Promise.all([
        get<Dashboard>('api/health/dashboard'),
        get<{ events: Event[] }>(`api/health/timeline?limit=${EVENTS_KEPT}`),
      ]);
      this.answered = true;
      this.set({ dashboard, events: timeline.events, problem: null, wantsToken: false });
      this.judge();
    } catch (error) {
      this.fail(error);
    }
  }

  private async loadSlow(): Promise<void> {
    try {
      const heatmap = await get<Heatmap>('api/health/heatmap?days=30');
      this.set({ heatmap });
      const { machines } = await get<{ machines: { name: string; roles: string[] }[] }>('api/machines');
      this.set({ roles: new Map(machines.map((machine) => [machine.name, machine.roles])) });
    } catch (error) {
      // Roles may want a token where health does not: the page goes on without them.
      if (!(error instanceof Refused)) {
        this.fail(error);
      }
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
    const empty = { latency_ms: [], day: '' };
    missing.forEach((row) => {
      const known = strips.get(keyOf(row))?.strip;
      strips.set(keyOf(row), { strip: known ?? { ...row, ...empty }, at: now });
    });
    this.set({ strips });
    try {
      const query = missing.map((row) => encodeURIComponent(keyOf(row))).join(',');
      const found = await get<{ strips: Strip[] }>(`api/health/strips?of=${query}`);
      const filled = new Map(this.state.strips);
      found.strips.forEach((strip) => filled.set(keyOf(strip), { strip, at: now }));
      this.set({ strips: filled });
    } catch (error) {
      this.fail(error);
    }
  }

  // ---- What the socket tells

  private hear(message: Message): void {
    switch (message.type) {
      case 'health_status_change':
        this.change(message as unknown as Event & Message);
        break;
      case 'health_summary':
        this.sum(message);
        break;
      case 'registry_reloaded':
        void this.refresh();
        break;
    }
  }

  private change(event: Event & Message): void {
    const dashboard = this.state.dashboard;
    if (dashboard === null || event.new_status === null) {
      return;
    }
    const status: Status = event.new_status;
    const services = dashboard.services.map((row) =>
      row.service === event.service && row.machine === event.machine
        ? {
            ...row,
            status,
            issues: status === 'healthy' || event.message === null ? [] : [event.message],
            consecutive_failures: status === 'healthy' ? 0 : row.consecutive_failures,
            last_checked: event.timestamp,
          }
        : row,
    );
    const told: Event = { ...event, id: `told-${event.timestamp}-${event.service}`, event_type: 'status_change' };
    this.set({
      dashboard: { ...dashboard, services },
      events: [told, ...this.state.events].slice(0, EVENTS_KEPT),
    });
  }

  private sum(message: Message): void {
    const dashboard = this.state.dashboard;
    if (dashboard === null) {
      return;
    }
    const fields = [
      'overall_status',
      'overall_health_score',
      'total_services',
      'healthy_services',
      'degraded_services',
      'unhealthy_services',
      'unknown_services',
    ] as const;
    const told = Object.fromEntries(fields.filter((field) => field in message).map((field) => [field, message[field]]));
    this.set({ dashboard: { ...dashboard, ...told } });
  }
}

export const store = new Store();

export function useStore(): State {
  const [state, setState] = useState(store.state);
  useEffect(() => store.subscribe(() => setState(store.state)), []);
  return state;
}
