// SPDX-License-Identifier: Apache-2.0
// A relay in Node on the npm package ws: the same admission, frame rules, limits and routing as
// weir's mode `single`, in one process and one thread. It is what weir is compared with, so it is
// written to be fast: no compression, messages forwarded as the bytes they came in, one parse a
// frame, one write a burst.
//
// Environment: PORT, RELAY_VALIDATE_URL, the RELAY_MAX_* and RELAY_*_PER_MINUTE names of the
// specification, RELAY_TLS_CERT_PATH and RELAY_TLS_KEY_PATH for TLS.
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { WebSocketServer } from 'ws';
import { admit } from './admission.mjs';
import { Registry } from './cells.mjs';
import { checkClientFrame, checkDaemonFrame, weaker } from './frames.mjs';
import { Bucket, Window } from './limits.mjs';

const number = (name, fallback) => Number(process.env[name] ?? fallback);
const config = {
  port: number('PORT', 7781),
  validateUrl: process.env.RELAY_VALIDATE_URL,
  totalMax: number('RELAY_MAX_TOTAL_CONNECTIONS', 2000),
  perIpMax: number('RELAY_MAX_CONNECTIONS_PER_IP', 50),
  clientsMax: number('RELAY_MAX_CLIENTS_PER_WORKSPACE', 100),
  frameMax: number('RELAY_MAX_FRAME_BYTES', 1_048_576),
  pendingMax: number('RELAY_MAX_PENDING_BYTES', 4_194_304),
  pingMs: number('RELAY_PING_INTERVAL_MS', 30_000),
};

const limits = {
  upgrade: new Window(number('RELAY_UPGRADE_RATE_PER_MINUTE', 120), 50_000),
  keyExchange: new Window(number('RELAY_KEX_INIT_RATE_PER_MINUTE', 60), 20_000),
  pairing: new Window(number('RELAY_PAIRING_RATE_PER_MINUTE', 30), 20_000),
  client: new Bucket(number('RELAY_RUNTIME_RATE_PER_MINUTE', 240), 20_000),
  workspace: new Bucket(number('RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE', 1200), 10_000),
  daemon: new Bucket(number('RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE', 2400), 10_000),
};

const registry = new Registry();
const perIp = new Map();
const metrics = { framesIn: 0, framesOut: 0, bytesIn: 0, bytesOut: 0, rejected: 0, dropped: 0 };
let total = 0;

// ---- Upgrade -----------------------------------------------------------------------------------

const id = /^[A-Za-z0-9._:-]{1,128}$/;

function queryOf(url) {
  const role = url.searchParams.get('role');
  const workspaceId = url.searchParams.get('workspaceId');
  const runtimeTargetId = url.searchParams.get('runtimeTargetId') ?? undefined;
  if (role !== 'workspace-daemon' && role !== 'client') return null;
  if (workspaceId === null || !id.test(workspaceId)) return null;
  if (runtimeTargetId !== undefined && !id.test(runtimeTargetId)) return null;
  return { role, workspaceId, runtimeTargetId };
}

function tokenOf(request) {
  const bearer = /^Bearer\s+(.+)$/i.exec(request.headers.authorization ?? '')?.[1].trim();
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',');
  const protocol = offered.map((name) => name.trim()).find((name) => name.startsWith('auth.'));
  return [bearer, protocol?.slice(5)].find((token) => token?.length >= 10 && token.length <= 4096);
}

function refuse(socket, status) {
  socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\n\r\n`);
}

async function upgrade(server, request, socket, head) {
  socket.on('error', () => socket.destroy());
  const ip = socket.remoteAddress;
  if (!limits.upgrade.take(ip)) return refuse(socket, 429);
  if (total >= config.totalMax) return refuse(socket, 503);
  if ((perIp.get(ip) ?? 0) >= config.perIpMax) return refuse(socket, 429);
  const url = new URL(request.url, 'http://relay');
  if (url.pathname !== '/ws') return socket.destroy();
  const query = queryOf(url);
  if (query === null) return refuse(socket, 400);
  const token = tokenOf(request);
  if (token === undefined) return refuse(socket, 401);
  const key = Registry.key(query.workspaceId, query.runtimeTargetId);
  if (query.role === 'client' && registry.clientCount(key) >= config.clientsMax) {
    return refuse(socket, 429);
  }
  const claims = await admit(config.validateUrl, token, query);
  if (claims === null) return refuse(socket, 401);
  if (socket.destroyed) return undefined;
  return server.handleUpgrade(request, socket, head, (ws) => register(ws, ip, query, claims));
}

// ---- Registration ------------------------------------------------------------------------------

const scopes = new Set(['runtime', 'pairing']);

// The text a connection is closed with, or null when its claims fit.
function claimsProblem(query, claims) {
  if (!claims.workspaceId?.trim()) return 'missing workspace claim';
  if (claims.workspaceId.trim() !== query.workspaceId) return 'workspace claim mismatch';
  if (query.runtimeTargetId !== undefined && claims.runtimeTargetId?.trim() !== query.runtimeTargetId) {
    return 'runtime target claim mismatch';
  }
  if (query.role === 'client' && !scopes.has(claims.scope)) return 'invalid scope claim';
  return null;
}

function daemonProblem(cell, generation) {
  if (generation !== undefined && generation < cell.daemonGeneration) return 'stale daemon generation';
  return cell.daemon !== null ? 'daemon already connected' : null;
}

function register(ws, ip, query, claims) {
  const problem = claimsProblem(query, claims);
  if (problem !== null) return ws.close(4008, problem);
  const cell = registry.join(claims.workspaceId.trim(), claims.runtimeTargetId?.trim());
  const peer = {
    ws, ip, claims, cell, entries: new Set(), alive: true, corked: false,
    clientId: claims.clientId ?? 'client_unknown',
  };
  const daemon = query.role === 'workspace-daemon';
  if (daemon) {
    const taken = daemonProblem(cell, claims.daemonIssueGeneration);
    if (taken !== null) return ws.close(4008, taken);
    cell.daemon = peer;
    cell.daemonGeneration = claims.daemonIssueGeneration ?? cell.daemonGeneration;
    cell.clearTables();
  } else {
    cell.clients.add(peer);
  }
  total += 1;
  perIp.set(ip, (perIp.get(ip) ?? 0) + 1);
  ws.peer = peer;
  ws.on('message', daemon ? daemonMessage : clientMessage);
  ws.on('pong', alive);
  ws.on('error', ignore);
  ws.on('close', unregister);
  return undefined;
}

function alive() {
  this.peer.alive = true;
}

// ws closes the connection after an error by itself.
function ignore() {}

function unregister() {
  const { peer } = this;
  registry.leave(peer);
  total -= 1;
  const left = perIp.get(peer.ip) - 1;
  if (left > 0) perIp.set(peer.ip, left);
  else perIp.delete(peer.ip);
}

// ---- Frames ------------------------------------------------------------------------------------

const asText = { binary: false, compress: false };

function uncork(peer, socket) {
  peer.corked = false;
  socket.uncork();
}

// Sends the bytes as they came. Frames that arrive in one read leave in one write.
function deliver(peer, bytes) {
  const { ws } = peer;
  if (ws.readyState !== ws.OPEN) return false;
  if (ws.bufferedAmount > config.pendingMax) {
    ws.close(4008, 'buffer overflow');
    return false;
  }
  if (!peer.corked) {
    peer.corked = true;
    ws._socket.cork();
    process.nextTick(uncork, peer, ws._socket);
  }
  ws.send(bytes, asText);
  metrics.framesOut += 1;
  metrics.bytesOut += bytes.length;
  return true;
}

function status(peer, code, message, more) {
  const { workspaceId } = peer.cell;
  peer.ws.send(JSON.stringify({ type: 'relay_status', code, message, workspaceId, ...more }));
}

function clientMessage(bytes) {
  const { peer } = this;
  peer.alive = true;
  const checked = checkClientFrame(bytes);
  if (checked === null) {
    metrics.rejected += 1;
    status(peer, 'INVALID_FRAME', 'client frame must be a valid runtime or pairing control frame');
    return;
  }
  const problem = clientProblem(peer, checked.frame, checked.rule);
  if (problem !== null) {
    this.close(4008, problem);
    return;
  }
  metrics.framesIn += 1;
  metrics.bytesIn += bytes.length;
  if (peer.cell.daemon !== null && deliver(peer.cell.daemon, bytes)) return;
  metrics.dropped += 1;
  status(peer, 'DAEMON_UNAVAILABLE', 'No machine runtime is connected for this runtime target',
    { retryable: true, runtimeTargetId: peer.cell.runtimeTargetId });
}

// Scope, profile, limits and tables; the text to close with, or null.
function clientProblem(peer, frame, rule) {
  const { claims, cell } = peer;
  if (rule.scope !== claims.scope) return `${claims.scope} scope only`;
  if (claims.e2eeProfile !== undefined && frame.profile !== claims.e2eeProfile) {
    return 'client frame profile mismatch';
  }
  switch (rule.kind) {
    case 'envelope':
      return limits.client.take(peer.clientId) && limits.workspace.take(cell.workspaceId)
        ? null : 'runtime rate limit exceeded';
    case 'init':
      if (!limits.keyExchange.take(`${cell.workspaceId}:${peer.clientId}:${peer.ip}`)) {
        return 'key exchange rate limit exceeded';
      }
      if (frame.requestId.trim() !== '') cell.keyExchanges.set(frame.requestId.trim(), peer);
      return null;
    default: // pairing
      if (!limits.pairing.take(`${cell.workspaceId}:${peer.clientId}:${peer.ip}`)) {
        return 'pairing rate limit exceeded';
      }
      cell.pairings.set(frame.requestId.trim(), peer);
      return null;
  }
}

function daemonMessage(bytes) {
  const { peer } = this;
  peer.alive = true;
  if (!limits.daemon.take(peer.cell.workspaceId)) {
    this.close(4008, 'daemon rate limit exceeded');
    return;
  }
  const checked = checkDaemonFrame(bytes);
  if (checked === null) {
    metrics.rejected += 1;
    return;
  }
  const { frame, rule } = checked;
  const { e2eeProfile } = peer.claims;
  if (e2eeProfile !== undefined && frame.profile !== undefined && weaker(frame.profile, e2eeProfile)) {
    this.close(4008, 'daemon frame profile mismatch');
    return;
  }
  metrics.framesIn += 1;
  metrics.bytesIn += bytes.length;
  const owner = ownerOf(peer.cell, frame, rule.kind);
  if (owner === undefined || !deliver(owner, bytes)) metrics.dropped += 1;
}

function ownerOf(cell, frame, kind) {
  if (kind === 'session') return cell.sessions.touch(frame.sessionId);
  if (kind === 'pairing') return cell.pairings.take(frame.requestId.trim());
  const owner = cell.keyExchanges.take(frame.requestId.trim());
  if (owner !== undefined) cell.sessions.set(frame.sessionId.trim(), owner);
  return owner;
}

// ---- Process -----------------------------------------------------------------------------------

function heartbeat(server) {
  for (const ws of server.clients) {
    if (ws.peer === undefined) continue;
    if (!ws.peer.alive) {
      ws.terminate();
    } else {
      ws.peer.alive = false;
      ws.ping();
    }
  }
}

function answer(request, response) {
  const known = request.method === 'GET' && request.url === '/health';
  response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' });
  response.end(known ? '{"ok":true,"service":"relay"}' : '{"ok":false,"reason":"NOT_FOUND"}');
}

const listener = process.env.RELAY_TLS_CERT_PATH
  ? https.createServer({
      cert: fs.readFileSync(process.env.RELAY_TLS_CERT_PATH),
      key: fs.readFileSync(process.env.RELAY_TLS_KEY_PATH),
    }, answer)
  : http.createServer(answer);
const server = new WebSocketServer({
  noServer: true,
  perMessageDeflate: false,
  maxPayload: config.frameMax,
});
listener.on('upgrade', (request, socket, head) => {
  upgrade(server, request, socket, head).catch(() => socket.destroy());
});
listener.listen({ host: '127.0.0.1', port: config.port, backlog: 4096 });
setInterval(heartbeat, config.pingMs, server);
process.on('SIGTERM', () => process.exit(0));
