// SPDX-License-Identifier: Apache-2.0
// How the relay and the engine beside the monitor fare, in a state and in words.

import type { Tables } from './tables';
import { ageText } from './time';
import type { EngineRow, PartRow, RelayRow, Status } from './types';

const DAY_MS = 86_400_000;
const WARN_DAYS = 14; // before a certificate ends

export interface Standing {
  status: Status;
  words: string; // "" when there is nothing to say
}

const FINE: Standing = { status: 'healthy', words: '' };

function unheard(tables: Tables, name: string): Standing | null {
  const part = tables.table<PartRow>('parts').get(name);
  return part === undefined || part.problem === null ? null : { status: 'unknown', words: part.problem };
}

export function relayStanding(tables: Tables): Standing {
  const relay = tables.table<RelayRow>('relay').get('now');
  const silent = unheard(tables, 'relay');
  if (silent !== null || relay === undefined) {
    return silent ?? FINE;
  }
  if (!relay.ok) {
    return { status: 'unhealthy', words: 'it says that it is not well' };
  }
  return relay.downSince === null ? FINE : { status: 'degraded', words: 'the way to other relays is down' };
}

// How long its certificate is good for; null: nobody knows.
export function certificateLeft(tables: Tables, now: number): number | null {
  const ends = tables.table<EngineRow>('engine').get('now')?.certificateEnds ?? null;
  return ends === null ? null : ends * 1000 - now;
}

export function engineStanding(tables: Tables, now: number): Standing {
  const silent = unheard(tables, 'engine');
  const left = certificateLeft(tables, now);
  if (silent !== null || left === null || left >= WARN_DAYS * DAY_MS) {
    return silent ?? FINE;
  }
  return left < 0
    ? { status: 'unhealthy', words: 'its certificate has expired' }
    : { status: 'degraded', words: `its certificate is good for ${ageText(left)} more` };
}
