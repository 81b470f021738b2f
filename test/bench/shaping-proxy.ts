// A link with a bandwidth and a delay:
// shaping-proxy.ts PORT TARGET-PORT MB-PER-SECOND ROUND-TRIP-MS [EACH-MB-PER-SECOND] [BYTES-BETWEEN-STALLS]
//
// All connections share the bandwidth towards their clients, of which each may have a most of its own. A
// connection costs a round trip before its first byte, as a handshake does, and stands still for another one
// each time that so many bytes have come through it on average, as one that loses packets does. Asked by its parent it tells when the first byte since it was
// last asked came out of it (milliseconds of the system's monotonic clock), and how many did.
import { connect, createServer, type Socket } from 'node:net';

const [
  port = 0,
  targetPort = 0,
  megabytesPerSecond = 0,
  roundTripMs = 0,
  eachMegabytesPerSecond = Infinity,
  stallBytes = Infinity,
] = process.argv.slice(2).map(Number);
const bytesPerMs = megabytesPerSecond * 1000;
const eachBytesPerMs = eachMegabytesPerSecond * 1000;
/** Bytes that wait for their turn before those who send them are slowed down. */
const MAX_BACKLOG_MS = 30;
const MAX_UNREAD_BYTES = 1024 * 1024;

let freeAt = 0;
let stats = { bytes: 0, firstByteAt: 0 };

createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
  const target = connect({
    port: targetPort,
    host: '127.0.0.1',
    noDelay: true,
    allowHalfOpen: true,
  });
  const openedAt = performance.now() + roundTripMs;
  let ownFreeAt = 0;
  let untilStall = nextStall();
  carry(client, target, () => Math.max(performance.now(), openedAt) + roundTripMs / 2);
  carry(target, client, (bytes) => {
    const now = performance.now();
    freeAt = Math.max(now, freeAt) + bytes / bytesPerMs;
    ownFreeAt = Math.max(now, ownFreeAt) + bytes / eachBytesPerMs;
    for (untilStall -= bytes; untilStall < 0; untilStall += nextStall()) ownFreeAt += roundTripMs;
    return Math.max(freeAt, ownFreeAt) + roundTripMs / 2;
  });
}).listen(port, '127.0.0.1');

process.on('message', () => {
  process.send?.(stats);
  stats = { bytes: 0, firstByteAt: 0 };
});

function nextStall(): number {
  return -Math.log(1 - Math.random()) * stallBytes;
}

/** Delivers what comes from one end to the other when `arrival` says; in order. */
function carry(from: Socket, to: Socket, arrival: (bytes: number) => number): void {
  const isDownlink = arrival.length > 0;
  const underway: { at: number; chunk: Buffer | undefined }[] = [];
  let timer: NodeJS.Timeout | undefined;
  const deliver = (): void => {
    timer = undefined;
    for (let next = underway[0]; next && next.at <= performance.now(); next = underway[0]) {
      underway.shift();
      if (!next.chunk) to.end();
      else if (!to.write(next.chunk) && to.writableLength > MAX_UNREAD_BYTES) from.pause();
      if (isDownlink && next.chunk) count(next.chunk);
    }
    if (underway[0]) timer ??= setTimeout(deliver, Math.max(0, underway[0].at - performance.now()));
  };
  const send = (chunk: Buffer | undefined): void => {
    underway.push({ at: arrival(chunk?.length ?? 0), chunk });
    timer ??= setTimeout(deliver, Math.max(0, (underway[0]?.at ?? 0) - performance.now()));
    const backlogMs = (underway.at(-1)?.at ?? 0) - performance.now() - roundTripMs / 2;
    if (!isDownlink || backlogMs < MAX_BACKLOG_MS) return;
    from.pause();
    setTimeout(() => from.resume(), backlogMs / 2);
  };
  from.on('data', send);
  from.on('end', () => send(undefined));
  to.on('drain', () => from.resume());
  from.on('error', () => to.destroy());
  from.on('close', () => {
    if (!from.readableEnded) to.destroy();
  });
}

function count(chunk: Buffer): void {
  stats.firstByteAt ||= Number(process.hrtime.bigint()) / 1e6;
  stats.bytes += chunk.length;
}
