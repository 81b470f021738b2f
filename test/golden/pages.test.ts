import { format, resolveConfig } from 'prettier';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { alertsPage } from './pages/alerts-page.ts';
import { commandsPage } from './pages/commands-page.ts';
import { configurationPage } from './pages/configuration-page.ts';
import { metricsPage } from './pages/metrics-page.ts';

const BEGIN = '<!-- What follows is made: GOLDEN=write npx ava test/golden/pages.test.ts -->';
const END = '<!-- The end of what is made. -->';

/** Of each page that has a part made of the code, that part. */
const PAGES = {
  alerts: alertsPage,
  commands: commandsPage,
  configuration: configurationPage,
  metrics: metricsPage,
};

for (const [name, make] of Object.entries(PAGES)) {
  test(`docs/${name}.md tells what the code has`, async (t) => {
    const path = fileURLToPath(new URL(`../../docs/${name}.md`, import.meta.url));
    const text = readFileSync(path, 'utf8');
    const [before, after] = [text.indexOf(BEGIN), text.indexOf(END)];
    t.true(before >= 0 && after > before);
    const whole = `${text.slice(0, before + BEGIN.length)}\n\n${make()}\n${text.slice(after)}`;
    const options = { ...(await resolveConfig(path)), parser: 'markdown' };
    const made = await format(whole, options);
    if (process.env['GOLDEN'] === 'write') writeFileSync(path, made);
    t.is(made, readFileSync(path, 'utf8'));
  });
}
