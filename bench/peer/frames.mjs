// SPDX-License-Identifier: Apache-2.0
// Frame rules: which messages a client and a daemon may send (docs/spec/relay.md, section 6.2).
// Session events and workers are left out: the bench sends none.
// A rule takes the parsed object and says whether it is well formed.

const strength = new Map([['noise-ik', 1], ['noise-ikpsk2', 2]]);

const text = (value) => typeof value === 'string';
const filled = (value) => typeof value === 'string' && value.trim() !== '';
const positive = (value) => Number.isInteger(value) && value >= 1;
const profile = (value) => strength.has(value);

function envelope(f) {
  return f.version === 2 && profile(f.profile) && filled(f.sessionId) && positive(f.epoch) &&
    positive(f.seq) && filled(f.iv) && filled(f.tag) && filled(f.ciphertext);
}

function keyExchangeInit(f) {
  if (!profile(f.profile) || !text(f.requestId)) return false;
  if (f.profile === 'noise-ikpsk2' && !filled(f.pairingPeerId)) return false;
  if (f.version === 3) return text(f.clientEphemeralPublicKey) && text(f.encryptedClientStatic);
  if (f.version === 2) return text(f.clientPublicKey) && text(f.clientNonce) && text(f.clientProof);
  return false;
}

function keyExchangeResponse(f) {
  if (!profile(f.profile) || !text(f.requestId) || !text(f.sessionId) || !text(f.proof)) return false;
  if (f.version === 3) {
    return text(f.daemonPublicKey) && text(f.daemonEphemeralPublicKey) &&
      text(f.encryptedMetadata) && positive(f.epoch);
  }
  return f.version === 2 && text(f.daemonNonce) && typeof f.epoch === 'number';
}

function keyUpdateRequired(f) {
  return text(f.sessionId) && typeof f.nextEpoch === 'number';
}

function pairingOfferRequest(f) {
  const ttl = f.ttlSeconds;
  return filled(f.requestId) && filled(f.clientChannelPublicKey) &&
    (ttl === undefined || (Number.isInteger(ttl) && ttl >= 30 && ttl <= 3600));
}

function pairingRedeemRequest(f) {
  return filled(f.requestId) && filled(f.offerId) && filled(f.encIv) && filled(f.encTag) &&
    filled(f.encCiphertext);
}

function pairingOfferResponse(f) {
  if (!filled(f.requestId)) return false;
  if (f.ok === false) return filled(f.errorCode);
  return f.ok === true && filled(f.daemonChannelPublicKey) && filled(f.encIv) &&
    filled(f.encTag) && filled(f.encCiphertext);
}

function pairingRedeemResponse(f) {
  return filled(f.requestId) && (f.ok === true || (f.ok === false && filled(f.errorCode)));
}

// kind: what routing does with it; scope: which client scope may send it.
const clientRules = new Map([
  ['e2ee', { valid: envelope, kind: 'envelope', scope: 'runtime' }],
  ['relay_key_exchange_init', { valid: keyExchangeInit, kind: 'init', scope: 'runtime' }],
  ['relay_pairing_offer_request', { valid: pairingOfferRequest, kind: 'pairing', scope: 'pairing' }],
  ['relay_pairing_redeem_request', { valid: pairingRedeemRequest, kind: 'pairing', scope: 'pairing' }],
]);

const daemonRules = new Map([
  ['e2ee', { valid: envelope, kind: 'session' }],
  ['relay_key_update_required', { valid: keyUpdateRequired, kind: 'session' }],
  ['relay_key_exchange_response', { valid: keyExchangeResponse, kind: 'response' }],
  ['relay_pairing_offer_response', { valid: pairingOfferResponse, kind: 'pairing' }],
  ['relay_pairing_redeem_response', { valid: pairingRedeemResponse, kind: 'pairing' }],
]);

// { frame, rule } for a message that may pass, null for any other.
function check(rules, bytes) {
  let frame;
  try {
    frame = JSON.parse(bytes.toString('utf8'));
  } catch {
    return null;
  }
  if (frame === null || typeof frame !== 'object' || Array.isArray(frame)) return null;
  const rule = rules.get(frame.type);
  return rule !== undefined && rule.valid(frame) ? { frame, rule } : null;
}

export const checkClientFrame = (bytes) => check(clientRules, bytes);
export const checkDaemonFrame = (bytes) => check(daemonRules, bytes);
export const weaker = (a, b) => strength.get(a) < strength.get(b);
