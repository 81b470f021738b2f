// Puts a file where a registry takes it, from inside a namespace: put.ts URL MEDIA-TYPE FILE
import { readFileSync } from 'node:fs';
import { get } from '../helpers/client.ts';

const [url = '', type = '', file = ''] = process.argv.slice(2);
const headers = { 'Content-Type': type };
const { status, body } = await get(url, { method: 'PUT', headers, body: readFileSync(file) });
if (status !== 201) throw new Error(`PUT ${url}: ${status} ${body.toString()}`);
