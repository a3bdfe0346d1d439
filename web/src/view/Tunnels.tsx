// SPDX-License-Identifier: Apache-2.0
// The engine beside the monitor: agents, what they publish, how much passes.

import { useMemo, useState } from 'preact/hooks';
import {
  bytesText,
  lookAtEngine,
  rate,
  rateText,
  useLooks,
  type Client,
  type EngineLook,
  type Tunnel,
} from '../state/neighbour';
import { ageText } from '../state/time';
import { Facts } from './Facts';
import { Neighbour, TextFilter } from './Neighbour';
import { Age, Section, State } from './parts';
import { Rows } from './Rows';

const ROW_HEIGHT = 36;
const DAY_S = 86_400;
const WARN_DAYS = 14;

const LIVE = 'weir_engine_tunnel_streams_active';
const TOTAL = 'weir_engine_tunnel_streams_total';

// How the metrics of single tunnels name them; they exist where metrics.tunnel_labels lets them.
function labelOf(tunnel: Tunnel): string {
  const name = tunnel.name === undefined || tunnel.name === '' ? tunnel.id : tunnel.name;
  return tunnel.publish === false ? `private:${name}` : (tunnel.hostname ?? tunnel.host ?? name);
}

function streamsText(now: EngineLook, tunnel: Tunnel): string {
  const labels = { tunnel: labelOf(tunnel) };
  const known = now.metrics?.all(TOTAL).some((sample) => sample.labels['tunnel'] === labels.tunnel) ?? false;
  return known ? `${now.metrics?.sum(LIVE, labels)} live, ${now.metrics?.sum(TOTAL, labels)} in all` : '';
}

function certificate(now: EngineLook): [string, string] {
  const ends = now.metrics?.sum('weir_engine_cert_not_after_timestamp_seconds') ?? 0;
  const left = ends - now.at / 1000;
  return ['certificate', ends === 0 ? 'not known' : left < 0 ? 'has expired' : `for ${ageText(left * 1000)} more`];
}

function Head({ now, before }: { now: EngineLook; before: EngineLook | null }) {
  const { metrics } = now;
  const ms = before === null ? 0 : now.at - before.at;
  const perSecond = (name: string, labels: Record<string, string> = {}): number | null =>
    metrics === null ? null : rate(metrics.sum(name, labels), before?.metrics?.sum(name, labels), ms);
  const p95 = metrics?.quantile('weir_engine_http_request_duration_seconds', 0.95, before?.metrics ?? null) ?? null;
  const ends = metrics?.sum('weir_engine_cert_not_after_timestamp_seconds') ?? 0;
  const left = ends - now.at / 1000;
  const status = ends > 0 && left < 0 ? 'unhealthy' : ends > 0 && left < WARN_DAYS * DAY_S ? 'degraded' : 'healthy';
  const facts: [string, string][] = [
    ['agents', String(now.clients.length)],
    ['tunnels', String(now.tunnels.length)],
  ];
  if (metrics !== null) {
    facts.push(
      ['live streams', String(metrics.sum('weir_engine_streams_active'))],
      ['requests', `${rateText(perSecond('weir_engine_http_requests_total')) || '…'} /s`],
      ['95 % answered within', p95 === null ? 'no request' : p95 === Infinity ? 'longer' : `${p95 * 1000} ms`],
      ['from visitors', `${bytesText(perSecond('weir_engine_stream_bytes_total', { direction: 'to_agent' }) ?? 0)}/s`],
      ['to visitors', `${bytesText(perSecond('weir_engine_stream_bytes_total', { direction: 'from_agent' }) ?? 0)}/s`],
      certificate(now),
    );
  }
  return (
    <header class={`banner ${status}`}>
      <h1>
        Engine: <State status={status} />
      </h1>
      <Facts facts={facts} />
      {metrics === null && <p class="soft">More is shown where the engine's metrics are enabled.</p>}
    </header>
  );
}

const addressOf = (tunnel: Tunnel): string => tunnel.host ?? tunnel.hostname ?? tunnel.name ?? tunnel.id;

function TunnelRow({ tunnel, agent, streams }: { tunnel: Tunnel; agent: Client | undefined; streams: string }) {
  return (
    <div class="row cells">
      <span class="cell status">{tunnel.publish === false ? 'private' : (tunnel.protocol ?? tunnel.type ?? '')}</span>
      <span class="cell name" title={`${addressOf(tunnel)} ${tunnel.name ?? ''}`}>
        {addressOf(tunnel)} {tunnel.name !== undefined && <small class="soft">{tunnel.name}</small>}
      </span>
      <span class="cell">
        {agent === undefined ? tunnel.client_id : [agent.agent, agent.version, agent.os, agent.arch].filter(Boolean).join(' ')}
      </span>
      <span class="cell number">{streams}</span>
      <span class="cell number soft">
        <Age time={tunnel.creation_date ?? null} before="for " after="" />
      </span>
    </div>
  );
}

function List({ now }: { now: EngineLook }) {
  const [text, setText] = useState('');
  const agents = useMemo(() => new Map(now.clients.map((client) => [client.id, client])), [now]);
  const wanted = text.toLowerCase();
  const shown = now.tunnels.filter((tunnel) => JSON.stringify(tunnel).toLowerCase().includes(wanted));
  return (
    <Section title="Tunnels">
      <TextFilter text={text} change={setText} />
      <Rows
        items={shown}
        keyOf={(tunnel) => tunnel.id}
        height={ROW_HEIGHT}
        still
        label="tunnels"
        row={(tunnel) => (
          <TunnelRow tunnel={tunnel} agent={agents.get(tunnel.client_id)} streams={streamsText(now, tunnel)} />
        )}
      />
      <p class="soft" role="status">
        {shown.length} of {now.tunnels.length} tunnels shown.
      </p>
    </Section>
  );
}

export function Tunnels() {
  return (
    <Neighbour
      looks={useLooks(lookAtEngine)}
      name="engine"
      head={(now, before) => <Head now={now} before={before} />}
      body={(now) => (
        <List now={now} />
      )}
    />
  );
}
