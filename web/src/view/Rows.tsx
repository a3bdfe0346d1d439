// SPDX-License-Identifier: Apache-2.0
// A long list of which only the rows in sight exist, all of one height. The Tab key comes to one row,
// the last that was used; Up, Down, Home, End and the page keys move from row to row.

import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { useNarrow } from '../state/narrow';

const LEAST = 8; // rows that are seen in a window that is low
const HEIGHT = 36;
const NARROW_HEIGHT = 56;
const REST_MS = 100;
const AGAIN_MS = 20_000;
const SPARE = 4; // rows above and below what is in sight

interface Props<T> {
  items: T[];
  keyOf: (item: T) => string;
  narrowHeight?: number;
  label: string;
  row: (item: T, tabIndex: number) => ComponentChildren;
  seen?: (items: T[]) => void;
  still?: boolean; // rows do nothing: the list itself takes the keys, and scrolls
}

function indexOf(event: Event): number | null {
  const index = (event.target as HTMLElement).closest('[data-index]')?.getAttribute('data-index') ?? null;
  return index === null ? null : Number(index);
}

export function Rows<T>({ items, keyOf, narrowHeight = NARROW_HEIGHT, label, row, seen, still = false }: Props<T>) {
  const frame = useRef<HTMLUListElement>(null);
  const wanted = useRef<number | null>(null);
  const [top, setTop] = useState(0);
  const [room, setRoom] = useState(600);
  const [used, setUsed] = useState(0);
  const height = useNarrow() ? narrowHeight : HEIGHT;
  const first = Math.max(0, Math.floor(top / height) - SPARE);
  const last = Math.min(items.length, Math.ceil((top + room) / height) + SPARE);
  const shown = items.slice(first, last);
  const current = used >= first && used < last ? used : Math.min(last - 1, Math.ceil(top / height));
  const shownKeys = shown.map(keyOf).join('\n');

  useLayoutEffect(() => {
    const element = frame.current;
    if (element === null) {
      return undefined;
    }
    const measure = (): void => setRoom(element.clientHeight);
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, []);

  // Not while rows fly past, and again from time to time: what is known of them grows old.
  const inSight = useRef(shown);
  inSight.current = shown;
  useEffect(() => {
    const tell = (): void => seen?.(inSight.current);
    const rest = window.setTimeout(tell, REST_MS);
    const again = window.setInterval(tell, AGAIN_MS);
    return () => {
      window.clearTimeout(rest);
      window.clearInterval(again);
    };
  }, [shownKeys]);

  useLayoutEffect(() => {
    if (wanted.current !== null) {
      const item = frame.current?.querySelector<HTMLElement>(`[data-index="${wanted.current}"] button`);
      if (item !== undefined && item !== null) {
        item.focus({ preventScroll: true });
        wanted.current = null;
      }
    }
  });

  function go(index: number): void {
    const element = frame.current;
    const to = Math.max(0, Math.min(items.length - 1, index));
    if (element === null || items.length === 0) {
      return;
    }
    if (to * height < element.scrollTop) {
      element.scrollTop = to * height;
    } else if ((to + 1) * height > element.scrollTop + element.clientHeight) {
      element.scrollTop = (to + 1) * height - element.clientHeight;
    }
    wanted.current = to;
    setTop(element.scrollTop);
    frame.current?.querySelector<HTMLElement>(`[data-index="${to}"] button`)?.focus({ preventScroll: true });
  }

  function onKey(event: KeyboardEvent): void {
    const index = indexOf(event);
    if (index === null) {
      return;
    }
    const page = Math.max(1, Math.floor(room / height) - 1);
    const moves: Record<string, number> = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      PageDown: index + page,
      PageUp: index - page,
      Home: 0,
      End: items.length - 1,
    };
    const to = moves[event.key];
    if (to !== undefined) {
      event.preventDefault();
      go(to);
    }
  }

  return (
    <ul
      ref={frame}
      class="rows"
      aria-label={label}
      tabIndex={still ? 0 : -1}
      style={{ maxHeight: `min(${items.length * height + 2}px, max(${LEAST * height}px, 75vh))` }}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown={onKey}
      onFocusIn={(event) => setUsed(indexOf(event) ?? used)}
    >
      {shown.map((item, offset) => (
        <li
          key={keyOf(item)}
          data-index={first + offset}
          aria-setsize={items.length}
          aria-posinset={first + offset + 1}
          style={{
            height: `${height}px`,
            marginTop: offset === 0 ? `${first * height}px` : '0',
            marginBottom: first + offset === last - 1 ? `${(items.length - last) * height}px` : '0',
          }}
        >
          {row(item, first + offset === current ? 0 : -1)}
        </li>
      ))}
    </ul>
  );
}
