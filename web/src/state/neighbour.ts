// SPDX-License-Identifier: Apache-2.0
// A relay or an engine beside the monitor, asked every two seconds while somebody looks.

import { useEffect, useState } from 'preact/hooks';
import { get, getText, words } from '../net/api';
import { Metrics, parse } from '../net/prometheus';

const ASK_MS = 2000;

export interface Neighbours {
  relay: boolean;
  engine: boolean;
}

export interface Cell {
  workspaceId: string;
  runtimeTargetId: string | null;
  daemonConnected: boolean;
  clientCount: number;
  lastActivityAt: string | null;
  daemons: { installId: string | null; machineId: string | null; connectedAt: string; framesIn: number; framesOut: number }[];
}

export interface RelayState {
  relayId: string;
  relayMode: string;
  backplaneMode: string;
  uptimeMs: number;
  totalConnections: number;
  workspaces: Cell[];
}

export interface RelayHealth {
  ok: boolean;
  status?: string;
  backplaneDownSince?: string;
  backplaneProblem?: string;
}

export interface LogLine {
  ts: string;
  level: 'info' | 'warn' | 'error';
  event: string;
  details?: Record<string, unknown>;
}

export interface Tunnel {
  id: string;
  client_id: string;
  name?: string;
  type?: string;
  protocol?: string;
  publish?: boolean;
  hostname?: string;
  host?: string;
  creation_date?: string;
  labels?: Record<string, string>;
}

export interface Client {
  id: string;
  agent?: string;
  version?: string;
  os?: string;
  arch?: string;
}

export interface RelayLook {
  at: number;
  state: RelayState;
  health: RelayHealth;
  logs: LogLine[];
  metrics: Metrics;
}

export interface EngineLook {
  at: number;
  clients: Client[];
  tunnels: Tunnel[];
  metrics: Metrics | null; // an engine without a listener for them
}

export async function lookAtRelay(): Promise<RelayLook> {
  const [state, health, logs, metrics] = await Promise.all([
    get<RelayState>('api/relay/state'),
    get<RelayHealth>('api/relay/health'),
    get<{ logs: LogLine[] }>('api/relay/logs'),
    getText('api/relay/metrics'),
  ]);
  return { at: Date.now(), state, health, logs: logs.logs, metrics: new Metrics(parse(metrics)) };
}

export async function lookAtEngine(): Promise<EngineLook> {
  const [clients, tunnels, metrics] = await Promise.all([
    get<Client[]>('api/engine/clients'),
    get<Tunnel[]>('api/engine/tunnels'),
    getText('api/engine/metrics').catch(() => null),
  ]);
  return { at: Date.now(), clients, tunnels, metrics: metrics === null ? null : new Metrics(parse(metrics)) };
}

// The newest look and the one before it, between which rates are taken.
export interface Looks<T> {
  now: T | null;
  before: T | null;
  problem: string | null;
}

export function useLooks<T>(look: () => Promise<T>): Looks<T> {
  const [looks, setLooks] = useState<Looks<T>>({ now: null, before: null, problem: null });
  useEffect(() => {
    let wanted = true;
    async function ask(): Promise<void> {
      if (document.hidden) {
        return;
      }
      try {
        const now = await look();
        if (wanted) {
          setLooks((last) => ({ now, before: last.now, problem: null }));
        }
      } catch (error) {
        if (wanted) {
          setLooks((last) => ({ ...last, problem: words(error) }));
        }
      }
    }
    void ask();
    const timer = window.setInterval(() => void ask(), ASK_MS);
    return () => {
      wanted = false;
      window.clearInterval(timer);
    };
  }, [look]);
  return looks;
}

export function useNeighbours(): Neighbours {
  const [neighbours, setNeighbours] = useState<Neighbours>({ relay: false, engine: false });
  useEffect(() => {
    // Who may not see them has no tabs for them.
    get<Neighbours>('api/neighbours').then(setNeighbours, () => undefined);
  }, []);
  return neighbours;
}

export function rate(now: number, before: number | undefined, ms: number): number | null {
  return before === undefined || ms <= 0 || now < before ? null : ((now - before) * 1000) / ms;
}

export const rateText = (value: number | null): string =>
  value === null ? '' : value >= 100 ? Math.round(value).toString() : value.toFixed(1);

export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
