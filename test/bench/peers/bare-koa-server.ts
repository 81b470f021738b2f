// A Koa route that gives one answer: bare-koa-server.ts PORT HEADERS-JSON BODY-FILE
import { readFileSync } from 'node:fs';
import { Router } from '@koa/router';
import Koa from 'koa';

const [port, headers = '{}', bodyFile = ''] = process.argv.slice(2);
const fields = JSON.parse(headers) as Record<string, string>;
const body = readFileSync(bodyFile);

const router = new Router();
router.get(/^\/v2\/(.+)\/manifests\/([^/]+)$/, (ctx) => {
  ctx.body = body;
  ctx.set(fields);
});
new Koa().use(router.routes()).listen(Number(port), '127.0.0.1');
