// SPDX-License-Identifier: Apache-2.0
// Admission (docs/spec/relay.md, section 4.4): one POST to the platform turns a token into claims.
import http from 'node:http';

const timeoutMs = 2000;
const responseMax = 262_144;
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

// Resolves to the claims, or to null when the platform says no or cannot be asked.
export function admit(url, token, query) {
  const body = JSON.stringify({
    relayToken: token,
    role: query.role,
    workspaceId: query.workspaceId,
    runtimeTargetId: query.runtimeTargetId,
  });
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve) => {
    const request = http.request(url, { method: 'POST', agent, headers }, (response) => {
      const chunks = [];
      let size = 0;
      response.on('data', (chunk) => {
        size += chunk.length;
        if (size > responseMax) request.destroy(new Error('answer too large'));
        chunks.push(chunk);
      });
      response.on('end', () => resolve(claimsOf(response.statusCode, Buffer.concat(chunks))));
      response.on('error', () => resolve(null));
    });
    const timer = setTimeout(() => request.destroy(new Error('timed out')), timeoutMs);
    request.on('close', () => clearTimeout(timer));
    request.on('error', () => resolve(null));
    request.end(body);
  });
}

function claimsOf(status, bytes) {
  if (status < 200 || status > 299) return null;
  try {
    const answer = JSON.parse(bytes.toString('utf8'));
    return answer.ok === true && typeof answer.claims === 'object' ? answer.claims : null;
  } catch {
    return null;
  }
}
