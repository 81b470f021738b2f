import { join } from 'node:path';
import { isIPv4, isIPv6 } from 'node:net';
import { hostname } from 'node:os';
import * as z from 'zod';
import { checkKeyPair, pemSchema } from './pem.ts';
import { ConfigError } from './problems.ts';
import type { Source } from './source.ts';
import { isLoopbackHost } from './proxy.ts';
import { converted } from './section.ts';
import { TEXTS } from './texts.ts';

export interface ListenAddress {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Paths, not contents: the files are read again when they change. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Of `admin`: the operator means it to be on a network, where whoever reaches it may do everything. */
  readonly open?: boolean;
}

/** The addresses of a file without them. */
export const DEFAULT_ADDRESSES = { listen: '0.0.0.0:5000', admin: '127.0.0.1:5001' } as const;

const ADDRESS = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/;
const HOST_NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?$/;

/**
 * `127.0.0.1:5000`, `[::]:5000` or `:5000`, which is every IPv4 address. Throws a `ConfigError`
 * that says what to write.
 */
export function parseListenAddress(text: string): ListenAddress {
  const [, ipv6, name, digits] = ADDRESS.exec(text) ?? [];
  const port = Number(digits);
  const host = ipv6 ?? (name === '' ? '0.0.0.0' : name);
  if (host === undefined || !isHost(host, ipv6 !== undefined) || !(port <= 65_535)) {
    throw new ConfigError([TEXTS.notThis({ advice: TEXTS.address, text })]);
  }
  return { host, port };
}

function isHost(host: string, isBracketed: boolean): boolean {
  if (isBracketed) return isIPv6(host);
  // Digits and dots that are no IPv4 address are a typing error and no name.
  return /^[\d.]+$/.test(host) ? isIPv4(host) : HOST_NAME.test(host);
}

export function formatListenAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Where others reach it: by the name of this machine where it listens at all its addresses. */
export function urlOf({ host, port, tls }: ListenAddress): string {
  const address = { host: isAnyAddress(host) ? hostname() : host, port };
  return `${tls ? 'https' : 'http'}://${formatListenAddress(address)}`;
}

/** An address, or an address and what it takes to serve HTTPS there. */
export function listenSchema(source: Source, defaultAddress: string) {
  return doorSchema(z.strictObject(doorShape(source, defaultAddress)), defaultAddress);
}

/** As `listenSchema`, for a listener that is only there when it is named. */
export function optionalListenSchema(source: Source) {
  const { address: _, ...shape } = doorShape(source, '');
  const address = ADDRESS_TEXT.describe('Address and port.');
  return writtenDoor(z.strictObject({ address, ...shape })).exactOptional();
}

/** As `listenSchema`, with the operator's word that it may stand open on a network. */
export function adminSchema(source: Source, defaultAddress: string) {
  const open = z
    .boolean()
    .default(false)
    .describe('true: it may listen on a network, for all there.');
  const shape = { ...doorShape(source, defaultAddress), open };
  return doorSchema(z.strictObject(shape), defaultAddress);
}

const ADDRESS_TEXT = z.string().meta({ title: 'address' }).transform(converted(parseListenAddress));

function doorShape(source: Source, defaultAddress: string) {
  return {
    address: ADDRESS_TEXT.prefault(defaultAddress).describe('Address and port.'),
    tls: tlsSchema(source).nullish().describe('Serve HTTPS.'),
  };
}

interface Door extends Pick<ListenAddress, 'open'> {
  readonly address: ListenAddress;
  readonly tls?: ListenAddress['tls'] | null | undefined;
}

function doorSchema(door: z.ZodType<Door>, defaultAddress: string) {
  return writtenDoor(door).prefault(defaultAddress);
}

function writtenDoor(door: z.ZodType<Door>) {
  const written = door.transform(({ address, tls, open }) => ({
    ...address,
    ...(tls && { tls }),
    ...(open && { open }),
  }));
  return z
    .union([ADDRESS_TEXT, written], { error: TEXTS.addressOrMap })
    .transform((address): ListenAddress => address);
}

/** Checks the files and keeps their paths. */
function tlsSchema(source: Source) {
  const pem = pemSchema(source);
  return z
    .strictObject({
      cert: pem.describe('PEM file of the certificate and its chain.'),
      key: pem.describe('PEM file of the key.'),
    })
    .transform(
      converted(({ cert, key }) => {
        checkKeyPair(cert.contents, key.contents);
        return { cert: cert.path, key: key.path };
      }),
    );
}

interface Doors {
  /** Whatever it is: who may do what at `admin` stands there. */
  readonly access?: unknown;
  readonly listen?: Partial<ListenAddress>;
  readonly admin?: Partial<ListenAddress>;
  readonly metrics?: { readonly listen?: Partial<ListenAddress> | undefined } | undefined;
}

/**
 * No two of `listen`, `admin` and `metrics.listen` can share a port, and `admin`, which asks for no
 * login without `access`, then stands on a network only by the operator's word; a name but `localhost`
 * may mean any address.
 * An address that is wrong has its own problem.
 */
export function checkDoors(
  { access, listen, admin, metrics }: Doors,
  context: z.RefinementCtx,
): void {
  const tell = (path: string[], message: string): void =>
    context.addIssue({ code: 'custom', path, message });
  const doors = [
    { door: 'listen', at: listen, path: ['listen'] },
    { door: 'admin', at: admin, path: ['admin'] },
    { door: 'metrics.listen', at: metrics?.listen, path: ['metrics', 'listen'] },
  ];
  for (const [place, { at, path }] of doors.entries()) {
    const taken = doors.slice(0, place).find((other) => haveOnePort(at, other.at));
    if (taken) tell(path, TEXTS.portTaken({ door: taken.door, port: at?.port ?? 0 }));
  }
  const { host, port = 0, open = false } = admin ?? {};
  if (host === undefined || open || access !== undefined || isLoopbackHost(host)) return;
  tell(['admin'], TEXTS.adminOpen({ address: formatListenAddress({ host, port }) }));
}

function haveOnePort(
  one: Partial<ListenAddress> = {},
  other: Partial<ListenAddress> = {},
): boolean {
  if (one.port === undefined || one.port === 0 || one.port !== other.port) return false;
  return one.host === other.host || isAnyAddress(one.host) || isAnyAddress(other.host);
}

function isAnyAddress(host: string | undefined): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** The socket of the admin API, where access control is configured: for commands of the store's own user. */
export function adminSocketPath({ store }: { readonly store: { readonly path: string } }): string {
  return join(store.path, 'admin.sock');
}
