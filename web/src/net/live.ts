// SPDX-License-Identifier: Apache-2.0
// The monitor's event socket, kept open: at once, then after 1 s doubling to 30 s, a quarter more or
// less. A "ping" every thirty seconds finds out about a connection that is none any more.

import { token } from './api';

const FIRST_MS = 1000;
const LONGEST_MS = 30_000;
const PING_MS = 30_000;

export interface Message {
  type: string;
  [key: string]: unknown;
}

export interface Live {
  close(): void;
}

export function live(heard: (message: Message) => void, changed: (open: boolean) => void): Live {
  let socket: WebSocket | null = null;
  let waiting = 0;
  let pinging = 0;
  let answered = true;
  let delay = FIRST_MS;
  let over = false;

  function ping(): void {
    if (!answered) {
      socket?.close();
      return;
    }
    answered = false;
    socket?.send('ping');
  }

  function lost(): void {
    window.clearInterval(pinging);
    changed(false);
    if (!over) {
      waiting = window.setTimeout(open, delay * (0.75 + Math.random() / 2));
      delay = Math.min(delay * 2, LONGEST_MS);
    }
  }

  function open(): void {
    const url = new URL('ws', location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    const known = token();
    socket = new WebSocket(url, known === null ? [] : [`bearer.${known}`]);
    socket.onopen = () => {
      delay = FIRST_MS;
      answered = true;
      pinging = window.setInterval(ping, PING_MS);
      changed(true);
    };
    socket.onmessage = (event: MessageEvent<string>) => {
      answered = true;
      heard(JSON.parse(event.data) as Message);
    };
    socket.onclose = lost;
  }

  open();
  return {
    close() {
      over = true;
      window.clearTimeout(waiting);
      window.clearInterval(pinging);
      socket?.close();
    },
  };
}
