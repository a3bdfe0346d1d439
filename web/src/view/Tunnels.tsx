// SPDX-License-Identifier: Apache-2.0
// The engine beside the monitor: agents, what they publish, how much passes.

import { useMemo, useState } from 'preact/hooks';
import { certificateLeft, engineStanding } from '../state/standing';
import type { State as Known } from '../state/store';
import { bytesText, rateText } from '../state/text';
import { ageText, msText, useNow } from '../state/time';
import type { ClientRow, EngineRow, TunnelRow } from '../state/types';
import { Standing } from './Banner';
import { Facts } from './Facts';
import { Neighbour, TextFilter } from './Neighbour';
import { Age, Section, State } from './parts';
import { Rows } from './Rows';

type Tunnel = [id: string, row: TunnelRow];

// How the metrics of single tunnels name them; they exist where metrics.tunnel_labels lets them.
function labelOf([id, row]: Tunnel): string {
  const name = row.name === undefined || row.name === '' ? id : row.name;
  return row.publish ? (row.hostname ?? row.host ?? name) : `private:${name}`;
}

function streamsText(known: Known, tunnel: Tunnel): string {
  const label = labelOf(tunnel);
  const all = known.tables.table<number>('streams').get(label);
  const live = known.tables.table<number>('streams_live').get(label) ?? 0;
  return all === undefined ? '' : `${live} live, ${all} in all`;
}

const quantileText = (engine: EngineRow): string =>
  engine.slow ? 'longer' : engine.p95Ms === null ? 'no request' : msText(engine.p95Ms);

const certificateText = (left: number | null): string =>
  left === null ? 'not known' : left < 0 ? 'has expired' : `for ${ageText(left)} more`;

function Head({ known }: { known: Known }) {
  const { tables } = known;
  const now = useNow();
  const engine = tables.table<EngineRow>('engine').get('now');
  const { status } = engineStanding(tables, now);
  const facts: [string, string][] = [
    ['agents', String(tables.table('clients').size)],
    ['tunnels', String(tables.table('tunnels').size)],
  ];
  if (engine !== undefined) {
    facts.push(
      ['live streams', String(engine.streams)],
      ['requests', rateText(engine.requests)],
      ['95 % answered within', quantileText(engine)],
      ['from visitors', `${bytesText(engine.fromVisitors ?? 0)}/s`],
      ['to visitors', `${bytesText(engine.toVisitors ?? 0)}/s`],
      ['certificate', certificateText(certificateLeft(tables, now))],
    );
  }
  return (
    <header class={`banner ${status}`}>
      <h1>
        Engine: <State status={status} />
      </h1>
      <Facts facts={facts} />
      {engine === undefined && <p class="soft">More is shown where the engine's metrics are enabled.</p>}
      <p class="soft">
        <Standing known={known} />
      </p>
    </header>
  );
}

function TunnelLine({ tunnel, agent, streams }: { tunnel: Tunnel; agent: ClientRow | undefined; streams: string }) {
  const [id, row] = tunnel;
  const address = row.host ?? row.hostname ?? row.name ?? id;
  return (
    <div class="row cells">
      <span class="cell status">{row.publish ? (row.protocol ?? row.type ?? '') : 'private'}</span>
      <span class="cell name" title={`${address} ${row.name ?? ''}`}>
        {address} {row.name !== undefined && <small class="soft">{row.name}</small>}
      </span>
      <span class="cell">
        {agent === undefined ? row.client_id : [agent.agent, agent.version, agent.os, agent.arch].filter(Boolean).join(' ')}
      </span>
      <span class="cell number">{streams}</span>
      <span class="cell number soft more">
        <Age time={row.creation_date ?? null} before="for " after="" />
      </span>
    </div>
  );
}

function List({ known }: { known: Known }) {
  const [text, setText] = useState('');
  const { tables } = known;
  const table = tables.table<TunnelRow>('tunnels');
  const clients = tables.table<ClientRow>('clients');
  const wanted = text.toLowerCase();
  const shown = useMemo(
    () => [...table].filter(([id, row]) => `${id} ${JSON.stringify(row)}`.toLowerCase().includes(wanted)),
    [tables.revision('tunnels'), wanted],
  );
  return (
    <Section title="Tunnels">
      <TextFilter text={text} change={setText} />
      <Rows
        items={shown}
        keyOf={([id]) => id}
        still
        label="tunnels"
        row={(tunnel) => (
          <TunnelLine
            tunnel={tunnel}
            agent={clients.get(tunnel[1].client_id ?? '')}
            streams={streamsText(known, tunnel)}
          />
        )}
      />
      <p class="soft" role="status">
        {shown.length} of {table.size} tunnels shown.
      </p>
    </Section>
  );
}

export function Tunnels() {
  return <Neighbour name="engine" head={(known) => <Head known={known} />} body={(known) => <List known={known} />} />;
}
