// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState } from 'preact/hooks';

// One clock for all ages on the page.
const listeners = new Set<() => void>();
window.setInterval(() => listeners.forEach((listener) => listener()), 1000);

export function useNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const tick = (): void => setNow(Date.now());
    listeners.add(tick);
    return () => {
      listeners.delete(tick);
    };
  }, []);
  return now;
}

export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) {
    return `${seconds} s`;
  }
  const minutes = Math.floor(seconds / 60);
  return minutes < 120 ? `${minutes} min` : minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
}

const DAY_AND_TIME: Intl.DateTimeFormatOptions = {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
};

export function clockText(time: string): string {
  const date = new Date(time);
  const today = new Date().toDateString() === date.toDateString();
  return today ? date.toLocaleTimeString() : date.toLocaleString(undefined, DAY_AND_TIME);
}

export const msText = (ms: number | null): string =>
  ms === null ? '' : ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
