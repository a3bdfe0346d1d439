// SPDX-License-Identifier: Apache-2.0
// The socket that tells the page everything, kept open: at once, then after 1 s doubling to 30 s, a
// quarter more or less. The monitor says something every five seconds, so that a longer silence is a
// connection that is none any more.

import { token } from './api';

const FIRST_MS = 1000;
const LONGEST_MS = 30_000;
const SILENCE_MS = 20_000;

// A snapshot comes in parts, of which the last has no more; deltas may come between them.
export interface Message {
  type: 'snapshot' | 'delta';
  n: number;
  at: string;
  part?: number;
  more?: boolean;
  gone?: Record<string, string[]>;
  set: Record<string, [string, unknown][]>;
}

export interface Live {
  // Without waiting longer, when it is not open.
  retry(): void;
  close(): void;
}

// heard: false when a message is missing; then all is told anew over another connection.
export function live(heard: (message: Message) => boolean, lost: () => void): Live {
  let socket: WebSocket | null = null;
  let waiting = 0;
  let silence = 0;
  let delay = FIRST_MS;
  let over = false;

  function listen(): void {
    window.clearTimeout(silence);
    silence = window.setTimeout(() => socket?.close(), SILENCE_MS);
  }

  function end(): void {
    window.clearTimeout(silence);
    socket = null;
    if (!over) {
      waiting = window.setTimeout(open, delay * (0.75 + Math.random() / 2));
      delay = Math.min(delay * 2, LONGEST_MS);
      lost();
    }
  }

  function open(): void {
    const url = new URL('ws/page', location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    const known = token();
    const opening = new WebSocket(url, known === null ? [] : [`bearer.${known}`]);
    socket = opening;
    listen(); // for one that is neither refused nor opened, too
    opening.onmessage = (event: MessageEvent<string>) => {
      listen();
      delay = FIRST_MS;
      if (!heard(JSON.parse(event.data) as Message)) {
        opening.close();
      }
    };
    opening.onclose = end;
  }

  open();
  return {
    retry() {
      if (socket === null) {
        window.clearTimeout(waiting);
        delay = FIRST_MS;
        open();
      }
    },
    close() {
      over = true;
      window.clearTimeout(waiting);
      window.clearTimeout(silence);
      socket?.close();
    },
  };
}
