// SPDX-License-Identifier: Apache-2.0
// Lines of what happened, newest first: the log of the relay, the timeline of all parts.

import { clockText } from '../state/time';
import type { Level } from '../state/types';

export interface Line {
  key: string;
  time: string;
  level: Level;
  part?: string;
  kind: string;
  what: string;
  words: string;
}

export function Lines({ lines, label }: { lines: Line[]; label: string }) {
  return (
    <ol class="events log" tabIndex={0} aria-label={label}>
      {lines.map((line) => (
        <li key={line.key}>
          <time dateTime={line.time}>{clockText(line.time)}</time>{' '}
          {line.part !== undefined && <span class="badge">{line.part}</span>}{' '}
          <span class={`level ${line.level}`}>{line.level}</span>{' '}
          <strong>{line.part === undefined ? line.kind : line.kind.replaceAll(/[_.]/g, ' ')}</strong> {line.what}{' '}
          <span class="soft">{line.words}</span>
        </li>
      ))}
    </ol>
  );
}
