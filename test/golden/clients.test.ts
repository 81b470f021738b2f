import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { CLIENT_KINDS } from '../../src/clients/client-kinds.ts';
import { ClientsCommand } from '../cli/run-clients.ts';
import { matchGolden } from './golden.ts';
import { issueCertificates } from '../helpers/certificate.ts';

const DOCUMENT = join(import.meta.dirname, '..', '..', 'docs', 'clients.md');
/** A command, and what it printed. */
const RECIPE = /^```console\n\$ entrepot clients (.*)\n[^]*?^```$/gm;
const PEM = /(-----BEGIN CERTIFICATE-----\n)[^]*?( *-----END CERTIFICATE-----)/g;

const ACCESS = `upstreams: { docker.io: ~, ghcr.io: ~ }
access: { rules: [{ who: [anonymous], may: [pull], images: ['docker.io/library/**'] }] }
`;

test('what every kind of client needs where rules say who may pull', async (t) => {
  const { ca } = await issueCertificates({});
  const command = new ClientsCommand(t, ACCESS, { 'ca.crt': ca.toString() });
  const told: string[] = [];
  for (const kind of CLIENT_KINDS) {
    const line = [kind, '--address', 'https://mirror.example:5000', '--ca', 'ca.crt'];
    const { code, stdout, stderr } = await command.run(...line);
    t.is(code, 0, stderr);
    told.push(`$ entrepot clients ${line.join(' ')}\n${stdout.replace(PEM, '$1…\n$2')}\n`);
  }
  matchGolden(t, 'clients-access.txt', told.join(''));
});

test('the recipes of docs/clients.md are what the command prints, for every kind', async (t) => {
  const { ca } = await issueCertificates({});
  const yaml = 'upstreams: { docker.io: ~, ghcr.io: ~ }\n';
  const command = new ClientsCommand(t, yaml, { 'ca.crt': ca.toString() });
  const document = readFileSync(DOCUMENT, 'utf8');
  const kinds: string[] = [];
  let fresh = document;
  for (const [recipe, line = ''] of document.matchAll(RECIPE)) {
    const { code, stdout, stderr } = await command.run(...line.split(' '));
    t.is(code, 0, stderr);
    const printed = stdout.replace(PEM, '$1…\n$2');
    const shown = `\`\`\`console\n$ entrepot clients ${line}\n${printed}\`\`\``;
    fresh = fresh.replace(recipe, () => shown);
    kinds.push(line.split(' ')[0]!);
  }
  if (process.env['GOLDEN'] === 'write') writeFileSync(DOCUMENT, fresh);
  t.is(fresh, readFileSync(DOCUMENT, 'utf8'));
  t.deepEqual(kinds.toSorted(), CLIENT_KINDS.toSorted());
});
