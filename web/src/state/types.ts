// SPDX-License-Identifier: Apache-2.0
// What the monitor's API says (docs/spec/health.md, sections 4.3 and 5.2).

export type Status = 'healthy' | 'degraded' | 'unhealthy' | 'unknown';
export const STATUSES: readonly Status[] = ['unhealthy', 'degraded', 'unknown', 'healthy'];

// ---- Rows of the page's tables (docs/health.md)

export interface ServiceRow {
  service: string;
  machine: string;
  status: Status;
  health_score: number;
  issues: string[];
  consecutive_failures: number;
  check_type: string;
  state_reason: string;
  maintenance: boolean;
  maintenance_reason: string | null;
  checked_by: string | null;
  stale: boolean;
  disabled: boolean;
  check: { type: string; interval: number; timeout: number; failure_threshold: number } | null;
}

// What every check changes.
export interface ResultRow {
  last_checked: string | null;
  latency_ms: number | null;
  response_time_ms: number | null;
  uptime_24h: number | null;
}

export interface MachineRow {
  machine: string;
  place: number;
  status: Status;
  services_count: number;
  healthy_services: number;
  cpu_usage: number | null;
  memory_usage: number | null;
  disk_usage: number | null;
  reachable: boolean | null;
}

export interface Summary {
  overall_status: Status;
  overall_health_score: number;
  total_services: number;
  healthy_services: number;
  degraded_services: number;
  unhealthy_services: number;
  unknown_services: number;
  generated_by: string;
  notice: string | null; // of the registry, for whoever looks
  left_out: number; // rows that found no room
  registry: { error: string | null };
}

export type Level = 'info' | 'warn' | 'error';

export interface EventRow {
  time: string;
  kind: string;
  level: Level;
  service: string | null;
  machine: string | null;
  previous_status: Status | null;
  new_status: Status | null;
  words: string | null;
}

// How a neighbour fares: whether it has said everything once, and why it says nothing now.
export interface PartRow {
  heard: boolean;
  problem: string | null;
  since: string | null;
}

export interface RelayRow {
  relayId: string;
  backplaneMode: string;
  ok: boolean;
  downSince: string | null; // the way to other relays
  problem: string | null;
  startedAt: string | null;
  connections: number;
  cells: number;
  daemons: number;
  queuedBytes: number;
  toDaemons: number | null; // frames a second
  toClients: number | null;
}

export interface CellRow {
  daemonConnected: boolean;
  clientCount: number;
  connectedAt: string | null;
  installId: string | null;
  framesPerSecond: number | null;
}

export interface LogRow {
  time: string;
  kind: string;
  level: Level;
  what?: string;
  words: string;
}

// Of an engine that tells its metrics; rates are a second's.
export interface EngineRow {
  streams: number;
  requests: number | null;
  p95Ms: number | null;
  slow: boolean; // p95Ms is longer than what is told apart
  fromVisitors: number | null;
  toVisitors: number | null;
  certificateEnds: number | null; // seconds since 1970
}

export interface TunnelRow {
  client_id?: string;
  name?: string;
  type?: string;
  protocol?: string;
  publish: boolean;
  hostname?: string;
  host?: string;
  creation_date?: string;
}

export interface ClientRow {
  agent?: string;
  version?: string;
  os?: string;
  arch?: string;
}

// ---- What the views make of them

export type Service = ServiceRow & ResultRow;

export interface Machine extends MachineRow {
  last_checked: string | null;
}

export interface Dashboard extends Summary {
  services: Service[];
  machines: Machine[];
}

export interface Result {
  time: string;
  ok: boolean;
  latency_ms: number;
  code: number;
  status: Status;
  message?: string;
}

export interface Bucket {
  t: string;
  checks: number;
  failures: number;
  avg_ms: number | null;
  p95_ms: number | null;
  max_ms: number | null;
  state: Status;
}

export interface Event {
  id: string;
  event_type: string;
  service: string | null;
  machine: string | null;
  timestamp: string;
  previous_status: Status | null;
  new_status: Status | null;
  message: string | null;
}

export interface Heatmap {
  dates: string[];
  data_points: { date: string; service: string; problem_count: number }[];
}

// The newest sixty results, null for a failure, and a letter for each half hour of a day.
export interface Strip {
  service: string;
  machine: string;
  latency_ms: (number | null)[];
  day: string;
}

export const keyOf = (row: { service: string; machine: string }): string => `${row.service}@${row.machine}`;
