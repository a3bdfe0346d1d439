// SPDX-License-Identifier: Apache-2.0
// The relay beside the monitor: who is there, how much passes, who was turned away and why, its log.

import { useMemo, useState } from 'preact/hooks';
import {
  bytesText,
  lookAtRelay,
  rate,
  rateText,
  useLooks,
  type Cell,
  type LogLine,
  type RelayLook,
} from '../state/neighbour';
import { ageText, clockText } from '../state/time';
import { Facts } from './Facts';
import { Neighbour, TextFilter } from './Neighbour';
import { Age, Section, State } from './parts';
import { Rows } from './Rows';

const ROW_HEIGHT = 36;
const LINES_SHOWN = 200;

const nameOf = (cell: Cell): string =>
  cell.runtimeTargetId === null ? cell.workspaceId : `${cell.workspaceId}:${cell.runtimeTargetId}`;

const framesOf = (cell: Cell): number =>
  cell.daemons.reduce((sum, daemon) => sum + daemon.framesIn + daemon.framesOut, 0);

function Head({ now, before }: { now: RelayLook; before: RelayLook | null }) {
  const { state, health, metrics } = now;
  const ms = before === null ? 0 : now.at - before.at;
  const perSecond = (name: string): string => {
    const value = rate(metrics.sum(name), before?.metrics.sum(name), ms);
    return value === null ? '…' : `${rateText(value)} /s`;
  };
  const facts: [string, string][] = [
    ['connections', String(state.totalConnections)],
    ['cells', String(state.workspaces.length)],
    ['daemons', String(state.workspaces.filter((cell) => cell.daemonConnected).length)],
    ['up for', ageText(state.uptimeMs)],
    ['frames to daemons', perSecond('relay_frames_client_to_daemon_total')],
    ['frames to clients', perSecond('relay_frames_daemon_to_clients_total')],
    ['queued', bytesText(metrics.sum('relay_outbound_queue_bytes'))],
    ['between relays', state.backplaneMode],
  ];
  const degraded = health.backplaneDownSince !== undefined;
  return (
    <header class={`banner ${!health.ok ? 'unhealthy' : degraded ? 'degraded' : 'healthy'}`}>
      <h1>
        Relay: <State status={!health.ok ? 'unhealthy' : degraded ? 'degraded' : 'healthy'} />
      </h1>
      <p class="soft">{state.relayId}</p>
      {degraded && (
        <p>
          The way to other relays is down since <Age time={health.backplaneDownSince ?? null} />:{' '}
          {health.backplaneProblem ?? 'no reason is known'}. Who is on this relay goes on.
        </p>
      )}
      <Facts facts={facts} />
    </header>
  );
}

function CellRow({ cell, perSecond }: { cell: Cell; perSecond: number | null }) {
  const daemon = cell.daemons[0];
  return (
    <div class="row cells">
      <span class="cell status">
        <State status={cell.daemonConnected ? 'healthy' : 'unknown'} word={cell.daemonConnected ? 'connected' : 'waiting'} />
      </span>
      <span class="cell name" title={nameOf(cell)}>
        {nameOf(cell)}
      </span>
      <span class="cell" title={daemon?.installId ?? undefined}>
        {daemon === undefined ? (
          'no daemon'
        ) : (
          <>
            daemon since <Age time={daemon.connectedAt} after="" />
            {daemon.installId !== null && ` (${daemon.installId})`}
          </>
        )}
      </span>
      <span class="cell number">
        {cell.clientCount} client{cell.clientCount === 1 ? '' : 's'}
      </span>
      <span class="cell number">{perSecond === null ? '' : `${rateText(perSecond)} frames/s`}</span>
    </div>
  );
}

function Cells({ now, before }: { now: RelayLook; before: RelayLook | null }) {
  const [text, setText] = useState('');
  const old = useMemo(() => new Map(before?.state.workspaces.map((cell) => [nameOf(cell), framesOf(cell)])), [before]);
  const ms = before === null ? 0 : now.at - before.at;
  const wanted = text.toLowerCase();
  const cells = now.state.workspaces.filter((cell) => nameOf(cell).toLowerCase().includes(wanted));
  return (
    <Section title="Cells">
      <TextFilter text={text} change={setText} />
      <Rows
        items={cells}
        keyOf={nameOf}
        height={ROW_HEIGHT}
        still
        label="cells"
        row={(cell) => <CellRow cell={cell} perSecond={rate(framesOf(cell), old.get(nameOf(cell)), ms)} />}
      />
      <p class="soft" role="status">
        {cells.length} of {now.state.workspaces.length} cells shown.
      </p>
    </Section>
  );
}

// Why connections were turned away, the most frequent first; what never happened is left out.
function Failures({ now }: { now: RelayLook }) {
  const failures = now.metrics
    .all('relay_handshake_failures_total')
    .filter((sample) => sample.value > 0)
    .sort((a, b) => b.value - a.value);
  const most = failures[0]?.value ?? 1;
  return (
    <Section title="Turned away">
      {failures.length === 0 ? (
        <p class="soft">Nobody was turned away.</p>
      ) : (
        <ul class="counts">
          {failures.map((sample) => (
            <li key={sample.labels['reason']}>
              <span>{(sample.labels['reason'] ?? '').replaceAll('_', ' ')}</span>
              <meter min={0} max={most} value={sample.value} aria-label={`${sample.value} times`} />
              <span class="number">{sample.value}</span>
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

function Log({ lines }: { lines: LogLine[] }) {
  const [level, setLevel] = useState('');
  const [text, setText] = useState('');
  const wanted = text.toLowerCase();
  const shown = lines
    .filter((line) => (level === '' || line.level === level) && JSON.stringify(line).toLowerCase().includes(wanted))
    .slice(-LINES_SHOWN)
    .reverse();
  return (
    <Section title="Log">
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <label>
          Level
          <select value={level} onChange={(event) => setLevel(event.currentTarget.value)}>
            <option value="">all</option>
            <option>info</option>
            <option>warn</option>
            <option>error</option>
          </select>
        </label>
        <label>
          Text
          <input type="search" value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
      </form>
      <ol class="events log" tabIndex={0} aria-label="log">
        {shown.map((line, index) => (
          <li key={`${line.ts} ${shown.length - index}`}>
            <time dateTime={line.ts}>{clockText(line.ts)}</time> <span class={`level ${line.level}`}>{line.level}</span>{' '}
            <strong>{line.event}</strong>{' '}
            <span class="soft">
              {Object.entries(line.details ?? {})
                .map(([key, value]) => `${key}=${String(value)}`)
                .join(' ')}
            </span>
          </li>
        ))}
      </ol>
    </Section>
  );
}

export function Relay() {
  return (
    <Neighbour
      looks={useLooks(lookAtRelay)}
      name="relay"
      head={(now, before) => <Head now={now} before={before} />}
      body={(now, before) => (
        <>
          <Cells now={now} before={before} />
          <Failures now={now} />
          <Log lines={now.logs} />
        </>
      )}
    />
  );
}
