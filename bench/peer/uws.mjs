// SPDX-License-Identifier: Apache-2.0
// uWebSockets (its C++ library, driven from Node) as a forwarder of frames: it parses and unmasks
// every frame, joins the daemon and the first client of a cell, and sends each message on. No
// admission, no rules, no limits, no look at what is inside: less than a relay does.
//
// Environment: PORT.
import uWS from 'uwebsockets';

const FRAME_MAX = 1_048_576;
const PENDING_MAX = 4_194_304;
const cells = new Map();

function join(ws) {
  const me = ws.getUserData();
  const cell = cells.get(me.cell) ?? { daemon: null, client: null };
  cells.set(me.cell, cell);
  if (cell[me.side] !== null) return;
  cell[me.side] = ws;
  const other = me.side === 'daemon' ? cell.client : cell.daemon;
  if (other === null) return;
  me.partner = other;
  other.getUserData().partner = ws;
}

function leave(ws) {
  const me = ws.getUserData();
  const cell = cells.get(me.cell);
  if (cell[me.side] === ws) cell[me.side] = null;
  if (cell.daemon === null && cell.client === null) cells.delete(me.cell);
  if (me.partner !== null) me.partner.getUserData().partner = null;
}

uWS.App().ws('/ws', {
  compression: uWS.DISABLED,
  maxPayloadLength: FRAME_MAX,
  maxBackpressure: PENDING_MAX,
  idleTimeout: 0,
  upgrade(response, request, context) {
    const side = request.getQuery('role') === 'workspace-daemon' ? 'daemon' : 'client';
    const cell = `${request.getQuery('workspaceId')}:${request.getQuery('runtimeTargetId')}`;
    response.upgrade({ side, cell, partner: null }, request.getHeader('sec-websocket-key'),
      request.getHeader('sec-websocket-protocol'), request.getHeader('sec-websocket-extensions'), context);
  },
  open: join,
  message(ws, message, isBinary) {
    ws.getUserData().partner?.send(message, isBinary, false);
  },
  close: leave,
}).get('/health', (response) => {
  response.end('ok');
}).listen('127.0.0.1', Number(process.env.PORT), (socket) => {
  if (!socket) throw new Error(`cannot listen on ${process.env.PORT}`);
});
