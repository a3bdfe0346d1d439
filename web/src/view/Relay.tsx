// SPDX-License-Identifier: Apache-2.0
// The relay beside the monitor: who is there, how much passes, who was turned away and why, its log.

import { useMemo, useState } from 'preact/hooks';
import { relayStanding } from '../state/standing';
import type { State as Known } from '../state/store';
import { bytesText, rateText } from '../state/text';
import { ageText, useNow } from '../state/time';
import type { CellRow, LogRow, RelayRow } from '../state/types';
import { Standing } from './Banner';
import { Facts } from './Facts';
import { Lines } from './Happenings';
import { Neighbour, TextFilter } from './Neighbour';
import { Age, Choice, Section, State } from './parts';
import { Rows } from './Rows';

const LINES_SHOWN = 200;
const LEVELS = ['info', 'warn', 'error'] as const;

function Head({ relay, known }: { relay: RelayRow; known: Known }) {
  const now = useNow();
  const facts: [string, string][] = [
    ['connections', String(relay.connections)],
    ['cells', String(relay.cells)],
    ['daemons', String(relay.daemons)],
    ['up for', relay.startedAt === null ? 'not known' : ageText(now - Date.parse(relay.startedAt))],
    ['frames to daemons', rateText(relay.toDaemons)],
    ['frames to clients', rateText(relay.toClients)],
    ['queued', bytesText(relay.queuedBytes)],
    ['between relays', relay.backplaneMode],
  ];
  const { status } = relayStanding(known.tables);
  return (
    <header class={`banner ${status}`}>
      <h1>
        Relay: <State status={status} />
      </h1>
      <p class="soft">
        {relay.relayId}, <Standing known={known} />
      </p>
      {relay.downSince !== null && (
        <p>
          The way to other relays is down since <Age time={relay.downSince} />: {relay.problem ?? 'no reason is known'}.
          Who is on this relay goes on.
        </p>
      )}
      <Facts facts={facts} />
    </header>
  );
}

function CellLine({ name, cell }: { name: string; cell: CellRow }) {
  return (
    <div class="row cells">
      <span class="cell status">
        <State status={cell.daemonConnected ? 'healthy' : 'unknown'} word={cell.daemonConnected ? 'connected' : 'waiting'} />
      </span>
      <span class="cell name" title={name}>
        {name}
      </span>
      <span class="cell" title={cell.installId ?? undefined}>
        {cell.connectedAt === null ? (
          'no daemon'
        ) : (
          <>
            daemon since <Age time={cell.connectedAt} after="" />
            {cell.installId !== null && ` (${cell.installId})`}
          </>
        )}
      </span>
      <span class="cell number more">
        {cell.clientCount} client{cell.clientCount === 1 ? '' : 's'}
      </span>
      <span class="cell number">
        {cell.framesPerSecond === null ? '' : `${cell.framesPerSecond.toFixed(1)} frames/s`}
      </span>
    </div>
  );
}

function Cells({ known: { tables } }: { known: Known }) {
  const [text, setText] = useState('');
  const table = tables.table<CellRow>('cells');
  const wanted = text.toLowerCase();
  const cells = useMemo(
    () => [...table].filter(([name]) => name.toLowerCase().includes(wanted)),
    [tables.revision('cells'), wanted],
  );
  return (
    <Section title="Cells">
      <TextFilter text={text} change={setText} />
      <Rows
        items={cells}
        keyOf={([name]) => name}
        still
        label="cells"
        row={([name, cell]) => <CellLine name={name} cell={cell} />}
      />
      <p class="soft" role="status">
        {cells.length} of {table.size} cells shown.
      </p>
    </Section>
  );
}

// Why connections were turned away, the most frequent first.
function Failures({ known: { tables } }: { known: Known }) {
  const failures = [...tables.table<number>('failures')].sort(([, a], [, b]) => b - a);
  const most = failures[0]?.[1] ?? 1;
  return (
    <Section title="Turned away">
      {failures.length === 0 ? (
        <p class="soft">Nobody was turned away.</p>
      ) : (
        <ul class="counts">
          {failures.map(([reason, count]) => (
            <li key={reason}>
              <span>{reason.replaceAll('_', ' ')}</span>
              <meter min={0} max={most} value={count} aria-label={`${count} times`} />
              <span class="number">{count}</span>
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

function Log({ known: { tables } }: { known: Known }) {
  const [level, setLevel] = useState('');
  const [text, setText] = useState('');
  const wanted = text.toLowerCase();
  const lines = useMemo(
    () =>
      [...tables.table<LogRow>('relay_log')]
        .filter(
          ([, row]) =>
            (level === '' || row.level === level) && `${row.kind} ${row.words}`.toLowerCase().includes(wanted),
        )
        .slice(-LINES_SHOWN)
        .reverse()
        .map(([key, row]) => ({ ...row, key, what: '' })),
    [tables.revision('relay_log'), level, wanted],
  );
  return (
    <Section title="Log">
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <Choice name="Level" value={level} words={LEVELS} choose={setLevel} />
        <label>
          Text
          <input type="search" value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
      </form>
      <Lines lines={lines} label="log" />
    </Section>
  );
}

export function Relay() {
  return (
    <Neighbour
      name="relay"
      head={(known) => {
        const relay = known.tables.table<RelayRow>('relay').get('now');
        return relay !== undefined && <Head relay={relay} known={known} />;
      }}
      body={(known) => (
        <>
          <Cells known={known} />
          <Failures known={known} />
          <Log known={known} />
        </>
      )}
    />
  );
}
