// SPDX-License-Identifier: Apache-2.0
// Small things that several views use. A state is always a sign and a word; its colour is beside them.

import type { ComponentChildren } from 'preact';
import { ageText, useNow } from '../state/time';
import type { Status } from '../state/types';

const SIGNS: Record<Status, string> = { healthy: '✓', degraded: '!', unhealthy: '✕', unknown: '?' };

// word: instead of the state's name; "": the sign alone, which is read as the state's name.
export function State({ status, word = status }: { status: Status; word?: string }) {
  return (
    <span class={`state ${status}`}>
      {word === '' ? (
        <span class="sign" role="img" aria-label={status}>
          {SIGNS[status]}
        </span>
      ) : (
        <span class="sign" aria-hidden="true">
          {SIGNS[status]}
        </span>
      )}
      {word}
    </span>
  );
}

export function Age({ time, before = '', after = ' ago' }: { time: string | null; before?: string; after?: string }) {
  const now = useNow();
  return <>{time === null ? 'never' : `${before}${ageText(now - Date.parse(time))}${after}`}</>;
}

export function Section({ title, children }: { title: string; children: ComponentChildren }) {
  const id = title.toLowerCase().replace(/\W+/g, '-');
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  );
}

export function Choice(props: { name: string; value: string; words: readonly string[]; choose: (word: string) => void }) {
  return (
    <label>
      {props.name}
      <select value={props.value} onChange={(event) => props.choose(event.currentTarget.value)}>
        <option value="">all</option>
        {props.words.map((word) => (
          <option key={word} value={word}>
            {word}
          </option>
        ))}
      </select>
    </label>
  );
}

// Latencies as a line, failures as marks below it.
export function Spark({ values }: { values: (number | null)[] }) {
  const width = 120;
  const height = 24;
  const known = values.filter((value): value is number => value !== null);
  if (values.length === 0) {
    return <svg class="spark" width={width} height={height} aria-hidden="true" />;
  }
  const most = Math.max(...known, 1);
  const x = (index: number): number => (values.length === 1 ? 0 : (index * (width - 2)) / (values.length - 1)) + 1;
  const y = (value: number): number => height - 5 - (value / most) * (height - 7);
  const points = values.flatMap((value, index) => (value === null ? [] : [`${x(index).toFixed(1)},${y(value).toFixed(1)}`]));
  const failed = values.length - known.length;
  const label = `last ${values.length} results: ${failed} failed, at most ${Math.round(most)} ms`;
  return (
    <svg class="spark" width={width} height={height} role="img" aria-label={label}>
      <title>{label}</title>
      <polyline points={points.join(' ')} fill="none" stroke="currentColor" stroke-width="1.2" />
      {points.length > 0 && (
        <circle cx={points.at(-1)?.split(',')[0]} cy={points.at(-1)?.split(',')[1]} r="1.5" fill="currentColor" />
      )}
      {values.map((value, index) => value === null && <rect class="failed" x={x(index) - 1} y={height - 3} width="2" height="3" />)}
    </svg>
  );
}

const LETTERS: Record<string, Status> = { h: 'healthy', d: 'degraded', u: 'unhealthy', '?': 'unknown' };

// A day in half hours, as letters.
export function Day({ day }: { day: string }) {
  const cell = 4;
  const height = 16;
  const bad = [...day].filter((letter) => letter === 'u' || letter === 'd').length;
  const label = `last 24 hours: ${bad === 0 ? 'no' : bad} half hour${bad === 1 ? '' : 's'} with failures`;
  return (
    <svg class="day" width={cell * 48} height={height} role="img" aria-label={label}>
      <title>{label}</title>
      {[...day].map((letter, index) => {
        const status = LETTERS[letter];
        // Not by colour alone: the worse, the taller.
        const tall = status === 'unhealthy' ? height : status === 'degraded' ? 11 : status === undefined ? 2 : 6;
        return <rect class={status ?? 'none'} x={index * cell} y={height - tall} width={cell - 1} height={tall} />;
      })}
    </svg>
  );
}
